"""The first-order architecture gradient: dLval/da at the present weights, and of nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nas.network.prediction import losses
from nas.strategies import STRATEGIES
from nas.strategies.bilevel import first_order
from nas.supernet.relaxation import softmax
from tests.strategies.problems import same_tensors, state_of, tiny_problem, tiny_supernet


def _never() -> Tensor:
    raise AssertionError("the weights loss has no part in the first-order gradient")


def test_gradient_of_a_mixture_of_costs() -> None:
    """By hand: for Lval = p · c with p = softmax(a), dLval/da is p (c − p · c)."""
    supernet = tiny_supernet()
    costs = {name: torch.arange(len(logits)) + 1.0 for name, logits in supernet.arch_logits.items()}

    def architecture_loss() -> Tensor:
        return torch.stack([(softmax(supernet.logits())[name] * cost).sum() for name, cost in costs.items()]).sum()

    loss = first_order(supernet, _never, architecture_loss, 0.1)
    total = 0.0
    for name, logits in supernet.arch_logits.items():
        shares = torch.exp(logits.detach()) / torch.exp(logits.detach()).sum()
        mean = (shares * costs[name]).sum()
        assert logits.grad is not None
        torch.testing.assert_close(logits.grad, shares * (costs[name] - mean))
        total += float(mean)
    assert float(loss) == pytest.approx(total)
    assert not loss.requires_grad


def test_gradient_of_a_network_is_its_numerical_derivative_at_fixed_weights() -> None:
    supernet, batch = tiny_supernet(), tiny_problem().architecture
    supernet.eval()
    before = {key: value.clone() for key, value in supernet.network.state_dict().items()}

    def architecture_loss() -> Tensor:
        return losses("classification", supernet.network, batch, softmax(supernet.logits())).mean()

    first_order(supernet, _never, architecture_loss, 0.1)
    for logits in supernet.arch_logits.values():
        for index in range(len(logits)):
            with torch.no_grad():
                logits[index] += 0.1
                up = float(architecture_loss())
                logits[index] -= 0.2
                down = float(architecture_loss())
                logits[index] += 0.1
            assert logits.grad is not None
            assert abs(float(logits.grad[index])) > 1e-5
            # Losses near 0.7 carry 1e-7 of rounding, which a step of 0.2 turns into 5e-7; the curvature adds as much.
            assert float(logits.grad[index]) == pytest.approx((up - down) / 0.2, abs=3e-6, rel=1e-2)
    assert same_tensors(before, supernet.network.state_dict())
    assert all(weight.grad is None for weight in supernet.weights())


def test_an_architecture_parameter_without_influence_has_gradient_zero() -> None:
    supernet = tiny_supernet()
    first, second = supernet.arch_logits.values()
    second.grad = torch.ones_like(second)  # left from the step before
    first_order(supernet, _never, first.square().sum, 0.1)
    assert first.grad is not None
    torch.testing.assert_close(first.grad, 2 * first.detach())
    assert torch.equal(second.grad, torch.zeros_like(second))


def test_the_weights_follow_the_mixture() -> None:
    # Beliefs and the loss that is reported are those of the softmax mixture: it is the trained network's own.
    problem = tiny_problem()
    explored = STRATEGIES["darts"](problem)
    assert explored.network is not None
    assert state_of(explored)
    explored.network.eval()
    mixture = {name: torch.tensor(values) for name, values in explored.choice_weights.items()}
    with torch.no_grad():
        loss = losses("classification", explored.network, problem.architecture, mixture).mean()
    assert explored.loss == pytest.approx(float(loss), rel=1e-6)  # the same sum, rounded in float32
