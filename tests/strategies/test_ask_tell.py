"""The loop of the black-box strategies: who is trained, who is told what, and when it ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.config import SearchConfig
from nas.metrics import sample_losses
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.strategies import STRATEGIES, SearchProblem, StrategyResult
from nas.strategies.ask_tell import MAX_REPEATS, ask_tell, shares
from tests.strategies.problems import SEARCH, tiny_problem, tiny_space
from tests.strategies.tables import Table, additive, costs_of_inputs, medium_space, uneven_space

BLACK_BOX = ("random", "evolution", "tpe", "nsga2", "mfas", "exhaustive")
LEARNING = ("evolution", "tpe", "nsga2", "mfas")


class Scripted:
    """Asks for given architectures, then for nothing; remembers what it is told."""

    def __init__(self, architectures: Sequence[Architecture]) -> None:
        self.left = list(architectures)
        self.told: list[tuple[Architecture, float]] = []

    def ask(self) -> Architecture | None:
        return self.left.pop(0) if self.left else None

    def tell(self, architecture: Architecture, loss: float) -> None:
        self.told.append((architecture, loss))


def _explored(name: str, table: Table, *, space: SearchSpace | None = None, **options: Any) -> StrategyResult:
    return STRATEGIES[name](_problem(table, space or tiny_space(), **options))


def _problem(table: Any, space: SearchSpace, *, seed: int = 0, trainings: int = 0, **options: Any) -> SearchProblem:
    """A problem of a table, whose costs are a table too: each choice costs as many as it has inputs."""
    problem = tiny_problem(
        seed=seed, space=space, evaluator=table, search=SearchConfig(max_trials=trainings), **options
    )
    vars(problem)["cost"] = lambda: costs_of_inputs(space)  # no network is made, for some of the spaces fit no data
    return problem


def test_what_was_tried_is_told_again_and_not_trained_again() -> None:
    space = tiny_space()
    one, other = space.at((1, 2)), space.at((3, 0))
    sampler, table = Scripted([one, other, one, one]), Table({one: 0.5, other: 0.25}.__getitem__)
    records: list[Mapping[str, Any]] = []
    tried = ask_tell(tiny_problem(evaluator=table, log=records.append), sampler, trainings=9)
    assert table.asked == [one, other]
    assert sampler.told == [(one, 0.5), (other, 0.25), (one, 0.5), (one, 0.5)]
    assert list(tried.losses) == [one, other]
    assert tried.best() == other
    assert [record["step"] for record in records] == [1, 2]
    assert [record["architecture_loss"] for record in records] == [0.5, 0.25]


def test_beliefs_are_the_shares_of_what_was_tried_or_of_the_population() -> None:
    space = tiny_space()
    asked = [space.at((1, 2)), space.at((1, 0)), space.at((3, 0)), space.at((1, 4))]
    records: list[Mapping[str, Any]] = []
    problem = tiny_problem(evaluator=Table(lambda _: 1.0), log=records.append)
    tried = ask_tell(problem, Scripted(asked), trainings=9)
    # Of four architectures three make choice 1 at the first node, and two make choice 0 at the second.
    assert tried.choice_weights == {"fusion0": [0, 0.75, 0, 0.25, 0], "fusion1": [0.5, 0, 0.25, 0, 0.25]}
    assert records[1]["mixing_weights"] == {"fusion0": [0, 1, 0, 0, 0], "fusion1": [0.5, 0, 0.5, 0, 0]}
    assert records[1]["entropy"] == pytest.approx({"fusion0": 0, "fusion1": math.log(2)}, abs=1e-6)

    tried = ask_tell(problem, Scripted(asked), trainings=9, believed=lambda: asked[2:])
    assert tried.choice_weights == {"fusion0": [0, 0.5, 0, 0.5, 0], "fusion1": [0.5, 0, 0, 0, 0.5]}


def test_shares_of_nothing_are_all_alike() -> None:
    assert shares({"node": [0, 0, 0, 0], "other": [1, 3]}) == {"node": [0.25] * 4, "other": [0.25, 0.75]}


def test_it_ends_with_the_trainings_with_the_space_with_the_budget_or_with_nothing_new() -> None:
    space = tiny_space()
    every = list(space.enumerate())

    def count(asked: Sequence[Architecture], trainings: int, **options: Any) -> int:
        table = Table(lambda _: 1.0)
        ask_tell(tiny_problem(evaluator=table, **options), Scripted(asked), trainings=trainings)
        return len(table.asked)

    assert count(every, 7) == 7
    assert count(every + every, 99) == 25
    assert count(every, 99, search=replace(SEARCH, budget_seconds=10), already_seconds=11) == 1
    assert count(every[:3], 99) == 3
    assert count([*every[:2], *every[:1] * (MAX_REPEATS - 1), every[2]], 99) == 3
    assert count([*every[:2], *every[:1] * MAX_REPEATS, every[2]], 99) == 2
    few = every[:1] * (MAX_REPEATS - 1)  # twice so many in all, but never too many in a row
    assert count([*every[:2], *few, every[2], *few, every[3]], 99) == 4


def test_without_a_table_the_losses_are_those_of_a_training_from_scratch() -> None:
    problem, architecture = tiny_problem(), tiny_space().at((3, 4))
    trained = problem.train_from_scratch(architecture)
    losses = problem.evaluate(architecture)
    assert losses.shape == (len(problem.architecture),)
    assert float(losses.mean()) == trained.architecture_loss
    targets = problem.architecture.targets
    assert torch.equal(losses, sample_losses("classification", trained.held_out, targets))


@pytest.mark.parametrize("name", BLACK_BOX)
def test_no_architecture_is_trained_twice(name: str) -> None:
    table = Table(additive(tiny_space()))
    _explored(name, table)
    assert len(set(table.asked)) == len(table.asked) > 0


@pytest.mark.parametrize("name", BLACK_BOX)
def test_every_node_draws_on_its_own_choices_and_on_all_of_them(name: str) -> None:
    """A random search that reuses the last row's options for every row makes other choices than its nodes offer."""
    space = uneven_space()
    table = Table(additive(space))
    explored = _explored(name, table, space=space, trainings=24)
    for architecture in table.asked:
        space.validate(architecture)
    for node in space.nodes:
        seen = {space.choices(architecture)[node.name] for architecture in table.asked}
        assert seen == set(node.choices)
        assert len(explored.choice_weights[node.name]) == len(node.choices)


@pytest.mark.parametrize("name", [name for name in BLACK_BOX if name != "exhaustive"])
def test_as_many_are_trained_as_allowed_and_a_number_of_its_own_if_none_is_said(name: str) -> None:
    for trainings, expected in ((17, 17), (0, 3 if name == "random" else 40)):
        table = Table(additive(medium_space()))
        _explored(name, table, space=medium_space(), trainings=trainings)
        assert len(table.asked) == expected


@pytest.mark.parametrize("name", LEARNING)
def test_what_it_tries_depends_on_what_it_is_told(name: str) -> None:
    space = medium_space()
    landscape = additive(space)
    table, other = Table(landscape), Table(lambda architecture: -landscape(architecture))
    for one in (table, other):
        _explored(name, one, space=space)
    agreeing = [a == b for a, b in zip(table.asked, other.asked, strict=True)]
    first_difference = agreeing.index(False)
    assert 8 <= first_difference <= 10  # what comes before any guidance


@pytest.mark.parametrize("name", BLACK_BOX)
def test_it_goes_the_same_way_again_with_evaluations_that_are_remembered(name: str) -> None:
    """So a search that was stopped may be run again, its trainings so far taken from a memory."""
    space = uneven_space()
    remembered: dict[Architecture, Tensor] = {}
    generator = torch.Generator().manual_seed(0)

    def first(_problem: SearchProblem, architecture: Architecture) -> Tensor:
        remembered[architecture] = torch.rand(6, generator=generator)
        return remembered[architecture]

    def second(_problem: SearchProblem, architecture: Architecture) -> Tensor:
        return remembered[architecture]  # an architecture that was not tried before is a KeyError

    one, other = (STRATEGIES[name](_problem(evaluator, space, trainings=24)) for evaluator in (first, second))
    assert (one.architecture, one.loss, one.choice_weights, one.pareto) == (
        other.architecture,
        other.loss,
        other.choice_weights,
        other.pareto,
    )


@pytest.mark.parametrize("name", ["evolution", "tpe", "mfas"])
def test_without_interactions_the_optimum_is_found_in_a_sixth_of_the_trainings(name: str) -> None:
    space = medium_space()
    landscape = additive(space, 1)
    reference = _explored("exhaustive", Table(landscape), space=space)
    found, trainings = 0, space.size() // 6
    for seed in range(5):
        table = Table(landscape)
        explored = _explored(name, table, space=space, seed=seed, trainings=trainings)
        assert len(table.asked) <= trainings
        found += explored.architecture == reference.architecture
    # Random search finds it in one of six.
    assert found >= 4


@pytest.mark.parametrize("name", BLACK_BOX)
def test_a_space_of_one_architecture_has_one_answer(name: str) -> None:
    space = tiny_space().restrict(tiny_space().at((1, 3)))
    table = Table(lambda _: 0.5)
    assert _explored(name, table, space=space).architecture == space.at((0, 0))
    assert len(table.asked) == 1
