"""Gates and their relaxations: values and gradients worked by hand, and what an absent modality forces."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nas.routing.gates import Gate, exponential, gumbel, linear, mask_routes, reinforce, soft

PRICES = torch.tensor([[1.0, 3.0], [2.0, 0.5]], dtype=torch.float64)

LOG3 = math.log(3)
LOGITS = torch.tensor([[LOG3, 0.0], [0.0, 0.0]], dtype=torch.float64)
"""Softmax (3/4, 1/4) and (1/2, 1/2)."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gate(reads: tuple[str, ...] = ("image@0",), routes: tuple[tuple[str, ...], ...] = (("image",), ("audio",))) -> Gate:
    torch.manual_seed(0)
    return Gate(reads, [3] * len(reads), routes).double()


def test_soft_is_the_expected_price() -> None:
    # 3/4 · 1 + 1/4 · 3 and (2 + 0.5) / 2
    torch.testing.assert_close(soft(PRICES, LOGITS), torch.tensor([1.5, 1.25], dtype=torch.float64))


def test_soft_has_the_gradient_of_the_expectation() -> None:
    logits = LOGITS.clone().requires_grad_()
    soft(PRICES, logits).sum().backward()
    # d/dlogit_k Σ p·c = p_k (c_k − mean): 3/4 · (1 − 1.5), 1/4 · (3 − 1.5); 1/2 · (2 − 1.25), 1/2 · (0.5 − 1.25)
    expected = torch.tensor([[-0.375, 0.375], [0.375, -0.375]], dtype=torch.float64)
    torch.testing.assert_close(logits.grad, expected)


def test_gumbel_has_the_value_of_one_route_and_draws_it_as_often_as_the_softmax_says() -> None:
    logits = LOGITS[:1].expand(20_000, 2)
    drawn = gumbel(PRICES[:1].expand(20_000, 2), logits, temperature=0.3, generator=generator())
    is_first = torch.isclose(drawn, torch.tensor(1.0, dtype=torch.float64))
    assert (is_first | torch.isclose(drawn, torch.tensor(3.0, dtype=torch.float64))).all()
    # A share of 20 000 draws has a standard error of 0.003.
    assert is_first.double().mean() == pytest.approx(0.75, abs=0.012)


def test_gumbel_has_the_gradient_of_the_perturbed_softmax() -> None:
    logits = LOGITS.clone().requires_grad_()
    gumbel(PRICES, logits, temperature=0.7, generator=generator()).sum().backward()
    uniform = torch.rand(2, 2, generator=generator(), dtype=torch.float64)
    p = ((LOGITS.log_softmax(1) - torch.log(-torch.log(uniform))) / 0.7).softmax(1)
    expected = p * (PRICES - (p * PRICES).sum(1, keepdim=True)) / 0.7  # log_softmax shifts all alike and adds nothing
    torch.testing.assert_close(logits.grad, expected)


def test_gumbel_refuses_a_temperature_that_is_not_positive() -> None:
    with pytest.raises(ValueError, match=r"temperature must be positive, got 0\.0"):
        gumbel(PRICES, LOGITS, temperature=0.0, generator=generator())


def test_reinforce_has_the_score_function_gradient_with_the_others_mean_as_baseline() -> None:
    logits = LOGITS.clone().requires_grad_()
    value = reinforce(PRICES, logits, generator=generator())
    drawn = [0 if value[0] == 1 else 1, 0 if value[1] == 2 else 1]
    torch.testing.assert_close(value.detach(), PRICES[[0, 1], drawn])
    value.sum().backward()
    p = LOGITS.softmax(1)
    advantage = torch.stack([value[0] - value[1], value[1] - value[0]]).detach()  # of two, the other is the baseline
    expected = advantage[:, None] * (torch.eye(2, dtype=torch.float64)[drawn] - p)
    torch.testing.assert_close(logits.grad, expected)


def test_reinforce_is_the_expectation_s_gradient_on_average() -> None:
    many = 40_000
    logits = LOGITS[:1].expand(many, 2).clone().requires_grad_()
    reinforce(PRICES[:1].expand(many, 2), logits, generator=generator()).sum().backward()
    assert logits.grad is not None
    # Standard error of the mean: |advantage| · deviation / √n is below 2 · 0.5 / 200 = 0.005.
    torch.testing.assert_close(logits.grad.mean(0), torch.tensor([-0.375, 0.375]).double(), rtol=0, atol=0.02)


@pytest.mark.parametrize("relax", [soft, reinforce, gumbel])
def test_routes_learn_by_the_share_that_takes_them(relax: object) -> None:
    prices = PRICES.clone().requires_grad_()
    options = {} if relax is soft else {"generator": generator()}
    if relax is gumbel:
        options["temperature"] = 0.5  # type: ignore[assignment]
    relax(prices, LOGITS, **options).sum().backward()  # type: ignore[operator]
    assert prices.grad is not None
    torch.testing.assert_close(prices.grad.sum(1), torch.ones(2, dtype=torch.float64))
    if relax is soft:
        torch.testing.assert_close(prices.grad, LOGITS.softmax(1))
    else:
        assert set(prices.grad.flatten().tolist()) <= {0.0, 1.0}


def test_temperatures_fall_from_one_to_a_tenth() -> None:
    for schedule in (exponential, linear):
        assert schedule(0.0) == pytest.approx(1.0)
        assert schedule(1.0) == pytest.approx(0.1)
    assert exponential(0.5) == pytest.approx(math.sqrt(0.1))
    assert linear(0.5) == pytest.approx(0.55)


def test_an_absent_modality_forces_the_gate() -> None:
    logits = torch.zeros(3, 3)
    routes = (("image",), ("audio",), ("image", "audio"))
    there = torch.tensor([True, False, False])
    masked = mask_routes(logits, routes, {"audio": there})
    assert masked.isneginf().tolist() == [[False] * 3, [False, True, True], [False, True, True]]
    both = mask_routes(logits, routes, {"audio": there, "image": torch.tensor([True, True, False])})
    assert both.isneginf().tolist()[2] == [False] * 3  # nothing is there: the gate is free
    assert mask_routes(logits, routes, {}) is logits


def test_what_is_masked_has_no_weight_and_no_gradient() -> None:
    free = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    logits = mask_routes(free, (("image",), ("audio",)), {"audio": torch.tensor([False])})
    for value in (
        soft(PRICES[:1], logits),
        gumbel(PRICES[:1], logits, temperature=0.5, generator=generator()),
        reinforce(PRICES[:1], logits, generator=generator()),
    ):
        assert float(value.detach()) == 1.0
        (gradient,) = torch.autograd.grad(value, free, retain_graph=True)
        assert gradient.tolist() == [[0.0, 0.0]]


def test_a_gate_reads_zeros_of_an_absent_modality() -> None:
    built = gate()
    taps = torch.randn(4, 2, 3, generator=generator(), dtype=torch.float64)
    there = {"image": torch.tensor([True, False, True, False])}
    free = built.output(torch.relu(built.hidden(torch.zeros(1, 3, dtype=torch.float64))))
    logits = built({"image@0": taps}, there)
    torch.testing.assert_close(logits[1, 1], free[0, 1])
    torch.testing.assert_close(logits[0], built({"image@0": taps})[0])


def test_a_gate_sees_means_over_time_and_no_batch_mates() -> None:
    built = gate(("image@0", "audio@1"))
    image = torch.randn(5, 4, 3, generator=generator(), dtype=torch.float64)
    audio = torch.randn(5, 2, 3, generator=generator(1), dtype=torch.float64)
    logits = built({"image@0": image, "audio@1": audio})
    by_hand = torch.cat([image.mean(1), audio.mean(1)], 1)
    torch.testing.assert_close(logits, built.output(torch.relu(built.hidden(by_hand))))
    unimodal = built({"image@0": image[2:3], "audio@1": audio[2:3]})
    torch.testing.assert_close(logits[2:3], unimodal, rtol=0, atol=1e-12)


def test_a_gate_counts_its_multiply_adds() -> None:
    assert gate(("image@0", "audio@1")).multiply_adds() == 6 * 16 + 16 * 2


def test_shares_are_of_the_static_architecture() -> None:
    built = gate()
    built.costs.copy_(torch.tensor([30.0, 90.0]))
    built.static_cost.fill_(60.0)
    assert built.shares().tolist() == [0.5, 1.5]


def test_gradients_of_the_gate_are_those_of_its_value() -> None:
    built = gate()
    taps = torch.randn(3, 2, 3, generator=generator(), dtype=torch.float64)

    def price(hidden: Tensor) -> Tensor:
        logits = torch.func.functional_call(built, {"hidden.weight": hidden}, ({"image@0": taps},))
        assert isinstance(logits, Tensor)
        return soft(PRICES[:1].expand(3, 2), logits)

    assert torch.autograd.gradcheck(price, (built.hidden.weight.detach().clone().requires_grad_(),))
