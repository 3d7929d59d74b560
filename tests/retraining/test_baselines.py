"""Who stands on the leaderboard, and that the test split has no say in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import cast

import pytest

from nas.retraining.baselines import RANDOM_TRAININGS, Contestant, contestants, random_architectures
from nas.space.architecture import Architecture, Choice
from nas.supernet.path_scorer import PathScorer
from search_spaces import layerwise
from tests.strategies.problems import CPU, tiny_data, tiny_problem, tiny_space

_OPERATIONS = ("additive", "multiplicative", "bilinear", "mlp", "modality_shift")
_SPACE = layerwise({"image": 3, "sound": 3}, operations=_OPERATIONS)
_FOUND = next(iter(_SPACE.enumerate()))


class _Opinion:
    """Stands for a supernet: a loss for every operation at every depth, a little lower if sound comes first."""

    def __init__(self, losses: Mapping[tuple[str, int], float]) -> None:
        self.losses = losses

    def loss(self, architecture: Architecture) -> float:
        (step,) = architecture.steps
        depth = int(step.name.removeprefix("fusion"))
        return self.losses[step.operation, depth] - (0.01 if step.inputs[0].startswith("sound") else 0)


# Depth by depth; the lowest of all is mlp at depth 1, where bilinear is at its worst.
_LOSSES = {
    "additive": (0.9, 0.8, 0.7),
    "multiplicative": (0.5, 0.6, 0.7),
    "bilinear": (0.3, 0.95, 0.3),
    "mlp": (0.8, 0.1, 0.8),
    "modality_shift": (0.9, 0.7, 0.6),
}


def _scorer() -> PathScorer:
    return cast(PathScorer, _Opinion({(name, i): x for name, losses in _LOSSES.items() for i, x in enumerate(losses)}))


def _of(rows: list[Contestant], kind: str) -> dict[str, Architecture | None]:
    return {row.name: row.architecture for row in rows if row.kind == kind}


def _alone(depth: int, choice: Choice) -> Architecture:
    return Architecture.chain("layerwise", [(f"fusion{depth}", choice)])


def _pair(operation: str, depth: int, *, turned: bool = False) -> Architecture:
    inputs = (f"image@{depth}", f"sound@{depth}")
    return _alone(depth, Choice(operation, inputs[::-1] if turned else inputs))


def test_the_found_one_comes_first_and_everything_simple_stands_beside_it() -> None:
    rows = contestants(_SPACE, _FOUND, _scorer())
    assert rows[0] == Contestant("found", "found", _FOUND)
    assert _of(rows, "modality") == {
        "image": _alone(2, Choice("carry", ("image@2",))),
        "sound": _alone(2, Choice("carry", ("sound@2",))),
    }
    assert _of(rows, "late") == {"late fusion": _pair("additive", 2)}
    assert _of(rows, "sum") == {"sum of single networks": _pair("additive", 2)}
    kinds = [row.kind for row in rows]
    assert kinds.index("sum") > max(i for i, kind in enumerate(kinds) if kind == "modality")  # it is made of those
    assert _of(rows, "early") == {"early fusion": _pair("mlp", 0)}
    assert _of(rows, "random") == {"random search": None}
    counts = Counter(row.kind for row in rows)
    operations = counts.pop("operation")
    assert counts == {"found": 1, "modality": 2, "sum": 1, "late": 1, "early": 1, "random": 1}
    assert operations == len(_OPERATIONS) - 1  # additive at its best depth is late fusion


def test_every_operation_is_there_at_its_own_best_depth() -> None:
    rows = contestants(_SPACE, _FOUND, _scorer())
    assert _of(rows, "operation") == {
        "multiplicative": _pair("multiplicative", 0),
        "bilinear": _pair("bilinear", 0),  # as good at depth 2; the first of equals stays
        "mlp": _pair("mlp", 1),
        "modality_shift": _pair("modality_shift", 2, turned=True),  # with the better of both as its primary
    }


def test_without_a_supernet_deeper_is_taken_for_better() -> None:
    full = _of(contestants(_SPACE, _FOUND, None), "operation")
    assert full == {name: _pair(name, 2) for name in _OPERATIONS if name != "additive"}


@pytest.mark.parametrize(
    ("best", "operations"),
    [
        ({}, {}),  # both at the last depth: late fusion and the late-fusion transformer
        ({"additive": 1}, {"additive": 1}),
        ({"single_stream": 0}, {"single_stream": 0}),
        ({"mlp": 0}, {}),  # early fusion
        ({"mlp": 1}, {"mlp": 1}),
    ],
)
def test_an_operation_that_stands_there_by_another_name_is_no_row_of_its_own(
    best: Mapping[str, int], operations: Mapping[str, int]
) -> None:
    space = layerwise({"image": 3, "sound": 3}, operations=["additive", "single_stream", *(["mlp"] * ("mlp" in best))])
    losses = {(one, d): float(d != best.get(one, 2)) for one in ("additive", "single_stream", "mlp") for d in range(3)}
    rows = contestants(space, next(iter(space.enumerate())), cast(PathScorer, _Opinion(losses)))
    assert _of(rows, "transformer") == {"late-fusion transformer": _pair("single_stream", 2)}
    assert _of(rows, "operation") == {name: _pair(name, depth) for name, depth in operations.items()}


def test_every_modality_is_judged_alone_however_many_there_are() -> None:
    space = layerwise({"image": 2, "sound": 1, "touch": 3}, operations=["mlp"])
    rows = contestants(space, next(iter(space.enumerate())), None)
    assert {name: one.modalities() for name, one in _of(rows, "modality").items() if one} == {
        "image": ("image",),
        "sound": ("sound",),
        "touch": ("touch",),
    }
    (late,) = _of(rows, "late").values()
    assert late is not None
    assert late.taps() == ("image@1", "sound@0", "touch@2")  # all of them, each as deep as it goes


def test_a_real_supernet_has_an_opinion_of_every_operation_and_none_of_the_test_split() -> None:
    space, chosen = tiny_space(), []
    for poisoned in (False, True):
        problem = tiny_problem(data=tiny_data(poisoned_test=poisoned))
        scorer = PathScorer(problem.make_network(), "classification", problem.architecture, CPU)
        chosen.append(contestants(space, next(iter(space.enumerate())), scorer))
    assert chosen[0] == chosen[1]
    assert "multiplicative" in _of(chosen[0], "operation")


def test_random_architectures_come_from_the_seed_and_the_space() -> None:
    drawn = [random_architectures(_SPACE, seed) for seed in range(40)]
    assert drawn[3] == random_architectures(_SPACE, 3)
    assert len({tuple(some) for some in drawn}) == 40
    for some in drawn:
        assert len(some) == RANDOM_TRAININGS
        for architecture in some:
            _SPACE.validate(architecture)
    # Every row of choices is drawn from its own node: 120 draws miss one of 9 choices with probability 7e-7 each.
    for node in _SPACE.nodes:
        assert {_SPACE.choices(one)[node.name] for some in drawn for one in some} == set(node.choices)
