"""DrNAS: concentrations, the Dirichlet draw and its pathwise gradient, and the rest at the beginning."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import beta

from nas.strategies.drnas import mean_weights
from nas.supernet.relaxation import concentrations, dirichlet
from tests.strategies.problems import tiny_supernet


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_concentrations_are_elu_plus_one_in_value_and_gradient() -> None:
    logits = torch.tensor([2.0, 0.0, -1.0, -50.0], dtype=torch.float64, requires_grad=True)
    (found,) = concentrations({"n": logits}).values()
    assert found.tolist() == pytest.approx([3, 1, math.exp(-1), math.exp(-50)])
    assert (found > 0).all()
    (gradient,) = torch.autograd.grad(found.sum(), [logits])
    assert gradient.tolist() == pytest.approx([1, 1, math.exp(-1), math.exp(-50)])
    assert torch.autograd.gradcheck(lambda at: concentrations({"n": at})["n"], (logits,))


@pytest.mark.parametrize("logits", [[0.0, 0.0], [1.5, -0.4], [-1.0, 0.7], [3.0, 4.0]])
def test_the_pathwise_gradient_is_that_of_the_quantile_function(logits: list[float]) -> None:
    """For two choices the draw is one of a Beta distribution, whose quantile function scipy knows.

    Let x be the first weight and u = F(x; c) its quantile. The pathwise derivative keeps u: dx/dc = dF⁻¹(u; c)/dc, here
    by central differences, times dc/da, which is 1 above zero and exp(a) below.
    """
    for seed in range(20):
        at = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
        (weights,) = dirichlet({"n": at}, generator=_generator(seed)).values()
        (gradient,) = torch.autograd.grad(weights[0], [at])
        assert float(weights.sum().detach()) == pytest.approx(1)
        one, other = (a + 1 if a > 0 else math.exp(a) for a in logits)
        x, step = float(weights[0].detach()), 1e-4
        u = beta.cdf(x, one, other)
        expected = [
            (beta.ppf(u, one + step, other) - beta.ppf(u, one - step, other)) / (2 * step),
            (beta.ppf(u, one, other + step) - beta.ppf(u, one, other - step)) / (2 * step),
        ]
        expected = [slope * (1 if a > 0 else math.exp(a)) for slope, a in zip(expected, logits, strict=True)]
        # torch approximates the derivative of the distribution function in its concentrations, to about 1e-3.
        assert gradient.tolist() == pytest.approx(expected, rel=5e-3, abs=1e-4)


def test_draws_have_the_mean_and_the_spread_of_the_distribution() -> None:
    # Concentrations 3, 1 and ½: means c / 4.5, variances m (1 − m) / 5.5.
    logits = {"n": torch.tensor([2.0, 0.0, math.log(0.5)], dtype=torch.float64)}
    generator, count = _generator(0), 4000
    drawn = torch.stack([dirichlet(logits, generator=generator)["n"] for _ in range(count)])
    means = torch.tensor([3.0, 1.0, 0.5], dtype=torch.float64) / 4.5
    variances = means * (1 - means) / 5.5
    assert ((drawn.mean(dim=0) - means).abs() < 4 * (variances / count).sqrt()).all()  # four standard errors
    torch.testing.assert_close(drawn.var(dim=0), variances, rtol=0.15, atol=0)  # its own error is 2 to 4 %


def test_a_draw_comes_from_its_generator_alone() -> None:
    logits = {"one": torch.zeros(3), "other": torch.zeros(3)}
    before = torch.get_rng_state()
    first = dirichlet(logits, generator=_generator(0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    again, another = dirichlet(logits, generator=_generator(0)), dirichlet(logits, generator=_generator(1))
    for node, weights in first.items():
        assert torch.equal(weights, again[node])
        assert not torch.equal(weights, another[node])
    assert not torch.equal(first["one"], first["other"])


def test_extreme_logits_give_finite_draws_and_gradients() -> None:
    for values in ([-30.0, 5.0], [-30.0, -30.0], [60.0, -3.0]):
        logits = torch.tensor(values, requires_grad=True)
        (weights,) = dirichlet({"n": logits}, generator=_generator(0)).values()
        (gradient,) = torch.autograd.grad(weights[0], [logits])
        assert weights.isfinite().all()
        assert gradient.isfinite().all()


def test_beliefs_are_the_mean_of_the_distribution() -> None:
    supernet = tiny_supernet()
    with torch.no_grad():
        for logits in supernet.arch_logits.values():
            logits.copy_(torch.tensor([2.0, 0.0, math.log(0.5), 0.0, math.log(0.5)]))
    for weights in mean_weights(supernet).values():
        assert weights.tolist() == pytest.approx([3 / 6, 1 / 6, 0.5 / 6, 1 / 6, 0.5 / 6])
