"""beta-DARTS: the penalty in value and gradient, and its weight over the search."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch

from nas.strategies import STRATEGIES
from nas.strategies.beta_darts import beta_penalty
from nas.strategies.bilevel import Penalty, bilevel
from tests.strategies.problems import tiny_problem, tiny_supernet


def test_the_penalty_in_value_and_gradient() -> None:
    """By hand: log(e^log 3 + e^log 2 + 3) = log 8 and log 5; their mean has half of each softmax as its gradient."""
    supernet = tiny_supernet()
    first, second = supernet.arch_logits.values()
    with torch.no_grad():
        first.copy_(torch.tensor([math.log(3), math.log(2), 0, 0, 0]))
        second.zero_()
    penalty = beta_penalty(supernet)
    assert float(penalty.detach()) == pytest.approx((math.log(8) + math.log(5)) / 2)
    for gradient, softmax in zip(
        torch.autograd.grad(penalty, [first, second]),
        ([3 / 8, 2 / 8, 1 / 8, 1 / 8, 1 / 8], [1 / 5] * 5),
        strict=True,
    ):
        assert gradient.tolist() == pytest.approx([share / 2 for share in softmax])


def test_its_weight_rises_linearly_from_nothing_to_fifty(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Penalty] = []

    def spied(*arguments: Any, penalty: Penalty) -> Any:
        found.append(penalty)
        return bilevel(*arguments, penalty=penalty)

    monkeypatch.setattr(sys.modules["nas.strategies.beta_darts"], "bilevel", spied)
    STRATEGIES["beta_darts"](tiny_problem())
    supernet = tiny_supernet()
    with torch.no_grad():
        for logits in supernet.arch_logits.values():
            logits.zero_()
    for progress in (0.0, 0.3, 1.0):
        assert float(found[0](supernet, progress).detach()) == pytest.approx(50 * progress * math.log(5))
