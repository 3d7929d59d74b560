"""FairDARTS: the zero-one loss in value and gradient, the sparse read-out, and what the search makes of them."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

from nas.space.architecture import Choice
from nas.space.node import FusionNode
from nas.strategies import STRATEGIES
from nas.strategies.bilevel import Penalty, bilevel
from nas.strategies.fair_darts import choice_weights, read_out, sparse, zero_one_loss
from tests.strategies.problems import SEARCH, tiny_problem, tiny_supernet

_NODE = FusionNode("n", (Choice("none"), Choice("carry", ("a@0",)), Choice("carry", ("b@0",)), Choice("mlp", ("a@0",))))


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def test_the_zero_one_loss_in_value_and_gradient() -> None:
    """By hand, over ten sigmoids: 0.9 and 0.1 give 0.16 each, 0.7 gives 0.04, ½ nothing.

    The derivative for one logit is −2 (s − ½) s (1 − s) / 10.
    """
    supernet = tiny_supernet()
    first, second = supernet.arch_logits.values()
    shares = [[0.9, 0.1, 0.5, 0.5, 0.5], [0.7, 0.5, 0.5, 0.5, 0.5]]
    with torch.no_grad():
        for logits, some in zip((first, second), shares, strict=True):
            logits.copy_(torch.tensor([_logit(share) for share in some]))
    loss = zero_one_loss(supernet)
    assert float(loss.detach()) == pytest.approx(-(0.16 + 0.16 + 0.04) / 10)
    for gradient, some in zip(torch.autograd.grad(loss, [first, second]), shares, strict=True):
        assert gradient.tolist() == pytest.approx([-2 * (s - 0.5) * s * (1 - s) / 10 for s in some], abs=1e-7)


def test_the_zero_one_loss_is_lowest_where_all_are_decided() -> None:
    supernet = tiny_supernet()
    with torch.no_grad():
        for logits in supernet.arch_logits.values():
            logits.copy_(torch.tensor([30.0, -30.0, 30.0, -30.0, -30.0]))
    assert float(zero_one_loss(supernet).detach()) == pytest.approx(-0.25)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0.2, 0.9, 0.3, 0.4], [0, 1, 0, 0]),
        ([0.2, 0.9, 0.3, 0.85], [0, 0.9 / 1.75, 0, 0.85 / 1.75]),  # 0.85 itself is kept
        ([0.2, 0.84, 0.84, 0.84], [1, 0, 0, 0]),
        ([0.99, 0.9, 0.3, 0.4], [0, 1, 0, 0]),  # what adds nothing to the mixture has no say while another passes
        ([0.99, 0.1, 0.3, 0.4], [1, 0, 0, 0]),
    ],
)
def test_what_passes_the_threshold_shares_the_belief_and_else_nothing_does(
    shares: list[float], expected: list[float]
) -> None:
    assert sparse(_NODE, torch.tensor(shares, dtype=torch.float64)).tolist() == pytest.approx(expected)


def test_the_gradient_of_the_sparse_read_out() -> None:
    """By hand: of p = s / Σs over the kept two, 0.9 and 0.85, dp₁/ds₁ = 0.85 / 1.75² and dp₁/ds₃ = −0.9 / 1.75²."""
    shares = torch.tensor([0.2, 0.9, 0.3, 0.85], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(sparse(_NODE, shares)[1], [shares])
    assert gradient.tolist() == pytest.approx([0, 0.85 / 1.75**2, 0, -0.9 / 1.75**2])


def test_a_node_that_has_to_do_something_believes_in_its_sigmoids() -> None:
    node = FusionNode("n", _NODE.choices[1:])
    assert sparse(node, torch.tensor([0.1, 0.3, 0.4])).tolist() == pytest.approx([1 / 8, 3 / 8, 4 / 8])


def test_on_the_way_there_is_no_threshold() -> None:
    supernet = tiny_supernet()
    with torch.no_grad():
        for logits in supernet.arch_logits.values():
            logits.copy_(torch.tensor([3.0, _logit(0.2), _logit(0.3), _logit(0.4), _logit(0.6)]))
    for on_the_way, in_the_end in zip(choice_weights(supernet).values(), read_out(supernet).values(), strict=True):
        assert on_the_way.tolist() == pytest.approx([0, 0.2 / 1.5, 0.3 / 1.5, 0.4 / 1.5, 0.6 / 1.5])
        assert in_the_end.tolist() == [1, 0, 0, 0, 0]


def test_the_search_adds_ten_times_the_zero_one_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Penalty] = []

    def spied(*arguments: Any, penalty: Penalty, **options: Any) -> Any:
        found.append(penalty)
        return bilevel(*arguments, penalty=penalty, **options)

    monkeypatch.setattr(sys.modules["nas.strategies.fair_darts"], "bilevel", spied)
    STRATEGIES["fair_darts"](tiny_problem())
    supernet = tiny_supernet()
    with torch.no_grad():
        for logits in supernet.arch_logits.values():
            logits.fill_(_logit(0.8))
    for progress in (0.0, 1.0):
        assert float(found[0](supernet, progress).detach()) == pytest.approx(-10 * 0.09)


def test_the_search_ends_with_the_sparse_read_out() -> None:
    # Four steps of 3e-3 leave every sigmoid near ½, far from the threshold.
    records: list[Any] = []
    explored = STRATEGIES["fair_darts"](tiny_problem(search=replace(SEARCH, guards=False), log=records.append))
    assert list(explored.choice_weights.values()) == [[1, 0, 0, 0, 0]] * 2
    for weights in records[0]["mixing_weights"].values():
        assert weights == pytest.approx([0, 0.25, 0.25, 0.25, 0.25], abs=0.01)
