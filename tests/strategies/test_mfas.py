"""MFAS: temperatures, levels, the surrogate and the draws."""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from typing import Any

import pytest

from nas.config import SearchConfig
from nas.space.architecture import Architecture
from nas.strategies import STRATEGIES
from nas.strategies.mfas import Progressive, drawn, features, predicted, temperature
from search_spaces import layerwise
from tests.strategies.problems import DEPTHS, tiny_problem, tiny_space
from tests.strategies.tables import Table, additive, medium_space, uneven_space

# (10 − 0.2) · exp(−(t + 1)² / 16) + 0.2 for t = 0 to 5, with the exponentials 0.939413, 0.778801, 0.569783, 0.367879,
# 0.209611 and 0.105399.
_TEMPERATURES = (9.40625, 7.83225, 5.78387, 3.80522, 2.25419, 1.23291)


def _active(architecture: Architecture) -> int:
    return len(architecture.steps)


def _next(sampler: Progressive, count: int) -> set[tuple[int, ...]]:
    asked = [sampler.ask() for _ in range(count)]
    return {sampler.space.index(architecture) for architecture in asked if architecture is not None}


@pytest.mark.parametrize(("step", "expected"), list(enumerate(_TEMPERATURES)))
def test_the_temperature_of_a_step_is_what_is_worked_by_hand(step: int, expected: float) -> None:
    assert temperature(step) == pytest.approx(expected, abs=1e-5)


def test_the_temperature_ends_at_a_fifth() -> None:
    assert temperature(40) == pytest.approx(0.2)


def test_steps_are_counted_through_over_levels_and_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two levels, three iterations: the steps are 0 to 5.

    The iteration times the number of iterations, instead of levels, would make it 0, 1, 3, 4, 6, 7.
    """
    module = sys.modules["nas.strategies.mfas"]
    real, heats, levels = module.__dict__["drawn"], [], []

    def spied(candidates: Any, scores: Any, size: int, heat: float, generator: random.Random) -> list[Architecture]:
        heats.append(heat)
        levels.append({_active(candidate) for candidate in candidates})
        found: list[Architecture] = real(candidates, scores, size, heat, generator)
        assert len(found) == size
        return found

    monkeypatch.setattr(module, "drawn", spied)
    space = layerwise(DEPTHS)  # two nodes of 16 choices
    table = Table(additive(space))
    STRATEGIES["mfas"](tiny_problem(space=space, evaluator=table, search=SearchConfig(max_trials=40)))
    # The first step draws 10 without a surrogate, each of the other five a fifth of the 30 that are left.
    assert heats == pytest.approx(_TEMPERATURES[1:], abs=1e-5)
    assert levels == [{2}, {1}, {2}, {1}, {2}]
    assert [_active(one) for one in table.asked] == [1] * 10 + [2] * 6 + [1] * 6 + [2] * 6 + [1] * 6 + [2] * 6


def test_a_node_is_added_to_the_two_best_of_the_level_below() -> None:
    space = tiny_space()  # choice 0 is nothing, at both nodes
    sampler = Progressive(space, random.Random(0), trainings=100)
    for index, loss in (((1, 0), 0.5), ((2, 0), 0.3), ((0, 3), 0.4), ((0, 4), 0.9)):
        sampler.tell(space.at(index), loss)
    sampler.tell(space.at((2, 3)), 0.1)  # the best of all is of the wrong level, and what was tried is not asked again
    sampler.step = 1
    assert _next(sampler, 6) == {(2, 1), (2, 2), (2, 4), (1, 3), (3, 3), (4, 3)}


def test_only_the_level_below_is_extended() -> None:
    space = medium_space()
    sampler = Progressive(space, random.Random(0), trainings=100)
    for index, loss in (((1, 0, 0), 0.1), ((0, 2, 0), 0.2), ((1, 1, 0), 0.8), ((0, 2, 2), 0.9)):
        sampler.tell(space.at(index), loss)
    sampler.step = 2
    extended = {(1, 1, choice) for choice in range(1, 7)} | {(choice, 2, 2) for choice in range(1, 7)}
    asked = _next(sampler, 10)
    assert len(asked) == 10
    assert asked <= extended


def test_what_the_surrogate_foretells_is_drawn_once_it_is_cold() -> None:
    space = medium_space()
    sampler = Progressive(space, random.Random(0), trainings=18)  # two a step behind the first
    for index in range(1, 7):
        architecture = space.at((index, 0, 0))
        sampler.tell(architecture, float(architecture["fusion0"].operation != "multiplicative"))
    sampler.step = 30
    column = [choice.operation for choice in space.nodes[0].choices].index("multiplicative")
    assert _next(sampler, 2) == {(0, column, 0), (0, 0, column)}


def test_a_row_is_a_node_that_leaves_the_choice_which_reads_least() -> None:
    space = uneven_space()  # its first two nodes offer no `none`: carrying sound, and the sum, stand for it
    sampler = Progressive(space, random.Random(0), trainings=400)
    assert _next(sampler, 6) == {(1, 0, 0), (0, 1, 0), (0, 2, 0), (0, 3, 0), (0, 0, 1), (0, 0, 2)}


def test_it_ends_when_no_level_has_anything_left() -> None:
    space = tiny_space()
    sampler, landscape, asked = Progressive(space, random.Random(0), trainings=99), additive(space), []
    while (architecture := sampler.ask()) is not None:
        asked.append(architecture)
        sampler.tell(architecture, landscape(architecture))
    # All eight of one node, and of two nodes what extends the two best of these.
    assert len(asked) == len(set(asked))
    assert sum(_active(one) == 1 for one in asked) == 8
    assert 4 <= sum(_active(one) == 2 for one in asked) <= 8


def test_the_surrogate_sees_operations_and_inputs_node_by_node() -> None:
    space = tiny_space()
    carried = space.at((1, 3))
    assert [step.choice.in_words() for step in carried.steps] == ["sound@0 alone", "sound@1 + sight@1"]
    assert features(space, carried) == Counter(
        {
            "carry": 1,
            "fusion0 carry": 1,
            "fusion0 sound@0": 1,
            "additive": 1,
            "fusion1 additive": 1,
            "fusion1 sound@1": 1,
            "fusion1 sight@1": 1,
        }
    )
    assert features(space, space.at((3, 3)))["additive"] == 2


def test_the_surrogate_learns_a_landscape_without_interactions() -> None:
    space = medium_space()
    landscape = additive(space)
    architectures = list(space.enumerate())
    random.Random(0).shuffle(architectures)
    known, others = architectures[:60], architectures[60:]
    found = predicted(space, {one: landscape(one) for one in known}, others)
    true = [landscape(one) for one in others]
    mean = math.fsum(map(landscape, known)) / len(known)
    deviation = math.sqrt(math.fsum((landscape(one) - mean) ** 2 for one in known) / len(known))
    # Predictions come in standard deviations above the mean of what is known; an error of a tenth is small in these.
    errors = [abs(one - (other - mean) / deviation) for one, other in zip(found, true, strict=True)]
    assert sum(errors) / len(errors) < 0.1


def test_the_surrogate_copes_with_one_loss_and_with_equal_losses() -> None:
    space = tiny_space()
    for losses in ({space.at((1, 0)): 0.5}, {space.at((1, 0)): 0.5, space.at((2, 0)): 0.5}):
        assert predicted(space, losses, [space.at((1, 1)), space.at((3, 3))]) == pytest.approx([0, 0])


def test_draws_are_proportional_to_the_exponential_of_the_score_over_the_temperature() -> None:
    space, generator = tiny_space(), random.Random(0)
    pair = [space.at((0, 1)), space.at((0, 2))]
    # exp(−0.6 · log 3 / 0.6) = 1 / 3, so three of four draws are of the first; of 4 000 within four standard errors.
    first = sum(drawn(pair, [0.0, 0.6 * math.log(3)], 1, 0.6, generator) == pair[:1] for _ in range(4000))
    assert first / 4000 == pytest.approx(0.75, abs=4 * math.sqrt(0.75 * 0.25 / 4000))


def test_nothing_is_drawn_twice_and_cold_draws_take_the_best() -> None:
    every = list(tiny_space().enumerate())
    scores = [float(index) for index in range(25)]
    assert sorted(drawn(every, scores, 99, 5.0, random.Random(0)), key=every.index) == every
    assert drawn(every, scores, 3, 1e-3, random.Random(0)) == every[:3]
