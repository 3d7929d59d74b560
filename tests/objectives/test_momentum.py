"""Momentum distillation: known values, what gets gradients, and how the model follows."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nas.objectives.momentum import DISTILLED, MOMENTUM, distilled_loss, follow, share_distilled

LOGITS = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
"""Probabilities (¾, ¼) and (½, ½)."""


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (0.0, -(math.log(0.25) + math.log(0.5)) / 2),
        (1.0, -(0.5 * math.log(0.75) + 0.5 * math.log(0.25) + math.log(0.5)) / 2),
        (0.4, -(0.2 * math.log(0.75) + 0.8 * math.log(0.25) + math.log(0.5)) / 2),
    ],
)
def test_targets_are_softened_by_the_share_of_the_momentum_model(alpha: float, expected: float) -> None:
    """Of two classes the second is the right one, and the momentum model is undecided between them."""
    found = distilled_loss(LOGITS, torch.tensor([1, 1]), torch.zeros(2, 2), alpha)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_only_the_trained_model_gets_a_gradient() -> None:
    live, slow = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    distilled_loss(live, torch.tensor([1, 0]), slow, 0.4).backward()
    assert live.grad is not None
    assert live.grad.abs().min() > 0
    assert slow.grad is None


def test_the_gradient_is_that_of_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    momentum = torch.randn(3, 4, generator=generator, dtype=torch.float64)

    def loss(logits: Tensor) -> Tensor:
        return distilled_loss(logits, torch.tensor([1, 3, 0]), momentum, 0.4)

    assert torch.autograd.gradcheck(loss, logits)


def test_the_share_rises_over_the_first_tenth() -> None:
    found = [share_distilled(progress) for progress in (0.0, 0.05, 0.1, 0.9)]
    assert found == pytest.approx([0, DISTILLED / 2, DISTILLED, DISTILLED])


def test_the_momentum_model_moves_a_two_hundredth_of_the_way() -> None:
    slow, live = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        live.weight.fill_(3.0)
        live.running_mean.fill_(7.0)  # type: ignore[union-attr]
    follow(slow, live)
    assert slow.weight.tolist() == pytest.approx([0.995 * 1 + 0.005 * 3] * 2)
    assert slow.running_mean.tolist() == [7.0, 7.0]  # type: ignore[union-attr]  # statistics are copied
    assert MOMENTUM == 0.995
