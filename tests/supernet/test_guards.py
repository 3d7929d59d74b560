"""Guards: each rule on made-up looks, the numbers of a look, and searches that collapse on purpose or do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.data.fusion_data import FusionData
from nas.network.prediction import losses
from nas.strategies import STRATEGIES, SearchProblem, StrategyResult
from nas.strategies.bilevel import bilevel, first_order, plain_softmax
from nas.supernet.guards import (
    FALLBACK,
    ITERATIONS,
    Guarded,
    GuardReading,
    Guards,
    discretization_after,
    judge,
    warning_sign,
)
from nas.supernet.path_scorer import standard_errors
from nas.supernet.relaxation import softmax
from nas.supernet.supernet import Supernet
from tests.strategies.problems import CPU, SEARCH, TRAINING, same_tensors, state_of, tiny_problem, tiny_supernet

_HEALTHY = GuardReading(
    epoch=1,
    progress=0.5,
    none_share=0.2,
    nothing_nodes=0,
    num_nodes=2,
    eigenvalue=1.0,
    discretization=0.1,
    path_gain=5.0,
    mixture_gain=6.0,
)
_POOR = replace(_HEALTHY, path_gain=0.0)
_NOTHING = replace(_POOR, nothing_nodes=2)
"""Nothing is a constant answer, whose gain over one is 0; the mixture is better."""


def _curved(*eigenvalues: float, of: GuardReading = _POOR) -> list[GuardReading]:
    return [replace(of, eigenvalue=value) for value in eigenvalues]


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        (_curved(1, 1, 1, 1.3, 1.35, 1.4), "curvature"),  # 3 / 4.05 = 0.74
        (_curved(1, 1, 1, 1.2, 1.3, 1.4), None),  # 3 / 3.9 = 0.77
        (_curved(9, 1, 1, 1, 1.3, 1.35, 1.4), "curvature"),  # only two windows count
        (_curved(-1, -1, -1, -1.3, 1.35, -1.4), "curvature"),  # whichever the sign
        (_curved(4, 3, 2, 1.5, 1, 0.5), None),  # it falls
        (_curved(1, 1, 1.3, 1.35, 1.4), None),  # two windows are not full yet
        (_curved(1, 1, 1, 1.3, 1.35, 1.4, of=_HEALTHY), None),  # the path does well: discretizing is safe
        (_curved(1, 1, 1, 1.3, 1.35, 1.4, of=replace(_POOR, mixture_gain=1.9)), None),  # nothing is known yet
        ([*_curved(1, 1, 1, 1.3, 1.35), replace(_HEALTHY, eigenvalue=1.4)], None),
        ([replace(_POOR, progress=0.3), *_curved(1, 1, 1.3, 1.35, 1.4)], None),  # one of them is of the warm-up
    ],
)
def test_curvature_trips_by_the_ratio_of_two_windows(looks: Sequence[GuardReading], expected: str | None) -> None:
    assert judge(looks, is_last=False) == expected


@pytest.mark.parametrize(
    ("looks", "is_last", "expected"),
    [
        ([_NOTHING] * 3, False, "nothing"),
        ([_NOTHING] * 2, False, None),
        ([_NOTHING, _NOTHING, _HEALTHY, _NOTHING], False, None),
        ([_HEALTHY, _NOTHING], True, "nothing"),  # what is read out now is nothing
        ([replace(_NOTHING, nothing_nodes=1)] * 3, False, None),  # one node does something
        ([replace(_NOTHING, progress=0.3), _NOTHING, _NOTHING], False, None),
        ([replace(_NOTHING, progress=0.3)] * 3, True, None),
        ([replace(_NOTHING, mixture_gain=1.9)] * 3, False, None),  # there may be nothing to know
        ([replace(_NOTHING, mixture_gain=-9.0, best_gain=3.9)] * 3, True, None),  # the best of many is good by luck
        ([replace(_NOTHING, mixture_gain=-9.0, best_gain=4.1)] * 3, False, "nothing"),
    ],
)
def test_nothing_everywhere_trips_where_more_is_known(
    looks: Sequence[GuardReading], is_last: bool, expected: str | None
) -> None:
    assert judge(looks, is_last=is_last) == expected


@pytest.mark.parametrize(
    ("last", "is_last", "expected"),
    [
        (replace(_POOR, path_gain=-8.0), True, "discretization"),
        (_POOR, True, "discretization"),
        (_POOR, False, None),  # it often mends itself
        (replace(_POOR, path_gain=2.1), True, None),
        (replace(_POOR, path_gain=-8.0, mixture_gain=1.9), True, None),  # there was nothing to lose
        (_HEALTHY, True, None),
    ],
)
def test_discretizing_trips_at_the_end_where_it_loses_everything(
    last: GuardReading, is_last: bool, expected: str | None
) -> None:
    assert judge([_HEALTHY, last], is_last=is_last) == expected


def test_a_state_is_good_while_its_own_eigenvalue_has_not_risen() -> None:
    assert warning_sign(_curved(1, 1, 1, 1.3), is_last=False) is None
    assert warning_sign(_curved(1, 1, 1, 1.4), is_last=False) == "curvature"
    assert warning_sign(_curved(1, 1, 1, 1.4, of=_HEALTHY), is_last=False) is None


def test_standard_errors_of_paired_gains() -> None:
    # Mean 2, deviation sqrt((4 + 0 + 4) / 2) = 2 over three: a standard error of 2 / sqrt(3).
    assert float(standard_errors(torch.tensor([0.0, 2.0, 4.0]))) == pytest.approx(math.sqrt(3))
    assert standard_errors(torch.zeros(4)) == 0


def test_the_fallback_decides_after_a_guard_has_tripped() -> None:
    quiet = Guarded(tripped=None, epoch=9, restored_epoch=None, values={})
    tripped = replace(quiet, tripped="nothing", restored_epoch=6)
    assert discretization_after(None, "argmax") == "argmax"
    assert discretization_after(quiet, "argmax") == "argmax"
    assert discretization_after(tripped, "argmax") == FALLBACK == "one_standard_error"
    assert quiet.in_words(fell_back=False) == ("No guard tripped: the search showed no sign of collapse up to epoch 9.")
    assert tripped.in_words(fell_back=True) == (
        "The search was stopped by the guard 'nothing' in epoch 9: every fusion node came to prefer doing nothing, "
        "though the supernet knows more than a constant answer, it went back to epoch 6, and one_standard_error "
        "decided instead of what was asked for."
    )


def _guards(supernet: Supernet, problem: SearchProblem) -> Guards:
    return Guards(supernet, plain_softmax, "classification", problem.architecture, problem.weights.targets, CPU)


def _set(supernet: Supernet, first: list[float], second: list[float]) -> None:
    with torch.no_grad():
        for logits, shares in zip(supernet.arch_logits.values(), (first, second), strict=True):
            logits.copy_(torch.tensor(shares).log())


def test_the_numbers_of_a_look() -> None:
    supernet, problem = tiny_supernet(), tiny_problem()
    _set(supernet, [0.5, 0.2, 0.1, 0.1, 0.1], [0.2, 0.1, 0.1, 0.5, 0.1])
    guards = _guards(supernet, problem)
    weights = softmax(supernet.logits())
    for epoch in range(1, 16):
        values = guards.look(epoch, weights, progress=0.5, is_last=False)
    assert values["none_share"] == pytest.approx((0.5 + 0.2) / 2)
    assert values["nothing_nodes"] == 1

    batch, network = problem.architecture, supernet.network
    names = list(supernet.arch_logits)
    with torch.no_grad():
        mixed = losses("classification", network, batch, weights).mean()
        path = losses("classification", network, batch, dict(zip(names, (0, 3), strict=True))).mean()
    assert values["discretization"] == pytest.approx(float(path - mixed), abs=1e-6)

    # The whole Hessian, ten by ten, and its eigenvalues; power iteration has gone on from look to look.
    def loss_at(flat: Tensor) -> Tensor:
        selection = dict(zip(names, (part.softmax(dim=0) for part in flat.split(5)), strict=True))
        return losses("classification", network, batch, selection).mean()

    flat = torch.cat([logits.detach() for logits in supernet.arch_logits.values()])
    hessian = torch.autograd.functional.hessian(loss_at, flat)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    assert values["eigenvalue"] == pytest.approx(float(eigenvalues[eigenvalues.abs().argmax()]), rel=0.02)
    assert ITERATIONS < 15


def test_a_look_leaves_the_search_as_it_was() -> None:
    supernet, problem = tiny_supernet(dropout_rate=0.3), tiny_problem()
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    random_state = torch.get_rng_state()
    _guards(supernet, problem).look(1, softmax(supernet.logits()), progress=0.5, is_last=True)
    assert same_tensors(before, supernet.state_dict())
    assert torch.equal(random_state, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in supernet.parameters())


@pytest.mark.parametrize("name", ["darts", "gdas", "pc_darts", "drnas", "fair_darts", "beta_darts"])
def test_a_search_that_does_not_trip_is_the_one_without_guards(name: str) -> None:
    problem = tiny_problem()
    unguarded = STRATEGIES[name](replace(problem, search=replace(SEARCH, guards=False)))
    assert unguarded.guards is None
    guarded = STRATEGIES[name](problem)
    assert guarded.guards is not None
    assert guarded.guards.tripped is None
    assert guarded.choice_weights == unguarded.choice_weights
    assert same_tensors(state_of(guarded), state_of(unguarded))


def _learnable(count: tuple[int, int, int] = (256, 128, 12)) -> FusionData:
    """Two vectors whose first features add up to the class."""
    generator = np.random.default_rng(0)
    sound, sight = (generator.normal(size=(sum(count), width)).astype(np.float32) for width in (3, 2))
    return FusionData.from_arrays(
        {"sound": sound, "sight": sight},
        (sound[:, 0] + sight[:, 0] > 0).astype(np.int64),
        splits=np.repeat([0, 1, 2], count),
    )


_TRAINING = replace(TRAINING, epochs=24, batch_size=32, learning_rate=0.02)
_FAST = replace(SEARCH, architecture_learning_rate=0.05, architecture_weight_decay=0.0)
_NOTHING_AT_ALL, _ADDITIVE = 0, 3
"""Indices of choices, the same ones at every node."""


def _pulled(to: int) -> Callable[..., Tensor]:
    """An architecture gradient that pulls every node to the additive operation for 40 steps, after 72 to a choice."""
    done = 0

    def gradient(
        supernet: Supernet,
        weights_loss: Callable[[], Tensor],
        architecture_loss: Callable[[], Tensor],
        learning_rate: float,
    ) -> Tensor:
        nonlocal done
        loss = first_order(supernet, weights_loss, architecture_loss, learning_rate)
        done += 1
        for logits in supernet.arch_logits.values():
            logits.grad = torch.zeros_like(logits) if 40 < done <= 72 else torch.ones_like(logits)
            logits.grad[_ADDITIVE if done <= 72 else to] *= -1
        return loss

    return gradient


def _search(
    *, to: int, guards: bool = True
) -> tuple[StrategyResult, list[dict[str, Any]], dict[int, dict[str, Tensor]]]:
    """A search of 24 epochs of eight steps, its records, and the states after every epoch."""
    records: list[dict[str, Any]] = []
    states: dict[int, dict[str, Tensor]] = {}
    seen: list[Supernet] = []

    def select(supernet: Supernet, _generator: torch.Generator, _progress: float) -> dict[str, Tensor]:
        seen.append(supernet)
        return softmax(supernet.logits())

    def log(record: Any) -> None:
        records.append(dict(record))
        states[record["epoch"]] = {name: value.clone() for name, value in seen[-1].network.state_dict().items()}

    problem = tiny_problem(data=_learnable(), training=_TRAINING, search=replace(_FAST, guards=guards), log=log)
    return bilevel(problem, select, _pulled(to)), records, states


def test_a_search_that_comes_to_prefer_nothing_is_stopped_at_its_last_good_state() -> None:
    explored, records, states = _search(to=_NOTHING_AT_ALL)
    guarded = explored.guards
    assert guarded is not None
    assert guarded.tripped == "nothing"
    assert guarded.values["nothing_nodes"] == 2
    assert records[-1]["epoch"] == guarded.epoch < 24
    assert guarded.restored_epoch is not None
    assert 8 <= guarded.restored_epoch < guarded.epoch
    assert same_tensors(state_of(explored), states[guarded.restored_epoch])
    assert not same_tensors(state_of(explored), states[guarded.epoch])
    for weights in explored.choice_weights.values():  # the logits, too, are those of before
        assert max(range(5), key=weights.__getitem__) == _ADDITIVE

    unguarded, more_records, _ = _search(to=_NOTHING_AT_ALL, guards=False)
    assert len(more_records) == 24
    assert "guards" not in more_records[-1]
    assert all(weights[0] == max(weights) for weights in unguarded.choice_weights.values())


def test_a_search_that_comes_to_prefer_what_works_is_left_alone() -> None:
    explored, records, _ = _search(to=_ADDITIVE)
    assert explored.guards == Guarded(tripped=None, epoch=24, restored_epoch=None, values={**records[-1]["guards"]})
    assert len(records) == 24
    assert all(weights[_ADDITIVE] == max(weights) for weights in explored.choice_weights.values())


def test_where_there_is_nothing_to_know_nothing_may_win() -> None:
    # Labels by lot, and so few steps that nothing is learned by heart: preferring nothing is right.
    data = _learnable()
    by_lot = replace(data, targets=np.random.default_rng(1).integers(0, 2, size=len(data.targets)))
    problem = tiny_problem(data=by_lot, training=replace(_TRAINING, learning_rate=1e-4), search=_FAST)
    explored = bilevel(problem, lambda supernet, _g, _p: softmax(supernet.logits()), _pulled(_NOTHING_AT_ALL))
    assert all(weights[0] == max(weights) for weights in explored.choice_weights.values())
    assert explored.guards is not None
    assert explored.guards.values["nothing_nodes"] == 2
    assert explored.guards.tripped is None


@pytest.mark.parametrize("seed", range(3))
def test_healthy_searches_do_not_trip(seed: int) -> None:
    for name in ("gdas", "drnas"):
        explored = STRATEGIES[name](tiny_problem(data=_learnable(), training=_TRAINING, seed=seed))
        assert explored.guards is not None
        assert explored.guards.tripped is None, (name, explored.guards)
