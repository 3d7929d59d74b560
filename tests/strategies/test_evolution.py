"""Ageing evolution: who becomes a parent, how a child differs, and who dies."""

from __future__ import annotations

import random

from nas.config import SearchConfig
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.strategies import STRATEGIES
from nas.strategies.evolution import Ageing
from tests.strategies.problems import tiny_problem, tiny_space
from tests.strategies.tables import Table, additive, medium_space


def _distance(space: SearchSpace, one: Architecture, other: Architecture) -> int:
    return sum(a != b for a, b in zip(space.index(one), space.index(other), strict=True))


def test_the_oldest_dies_and_not_the_worst() -> None:
    space = tiny_space()
    sampler = Ageing(space, random.Random(0), population_size=3, sample_size=2)
    told = [(space.at((0, 0)), 0.1), (space.at((1, 1)), 0.9), (space.at((2, 2)), 0.5), (space.at((3, 3)), 0.7)]
    for architecture, loss in told:
        sampler.tell(architecture, loss)
    # The first one was the best of all and is dead; the second is the worst and lives.
    assert list(sampler.population) == told[1:]
    sampler.tell(space.at((4, 4)), 0.8)
    assert sampler.members() == [space.at((2, 2)), space.at((3, 3)), space.at((4, 4))]


def test_the_best_of_the_drawn_members_becomes_the_parent() -> None:
    space = tiny_space()
    # So many are drawn that the best member, at 0.1, is among them all but surely: it is missed with (2/3)^100.
    sampler = Ageing(space, random.Random(0), population_size=3, sample_size=100)
    for index, loss in enumerate((0.5, 0.1, 0.3)):
        sampler.tell(space.at((index, index)), loss)
    children = [sampler.ask() for _ in range(30)]
    assert all(_distance(space, child, space.at((1, 1))) == 1 for child in children)
    assert len(set(children)) == 8  # two nodes with four other choices each


def test_of_a_sample_of_one_any_member_becomes_the_parent() -> None:
    space = tiny_space()
    sampler = Ageing(space, random.Random(0), population_size=2, sample_size=1)
    sampler.tell(space.at((0, 0)), 0.1)
    sampler.tell(space.at((4, 4)), 0.9)
    children = [sampler.ask() for _ in range(60)]
    near = [tuple(_distance(space, child, space.at((i, i))) for i in (0, 4)) for child in children]
    assert set(near) == {(1, 2), (2, 1), (1, 1)}  # of the one, of the other, and of either


def test_what_comes_after_the_start_is_a_member_with_one_node_changed() -> None:
    space = medium_space()
    landscape = additive(space)
    sampler = Ageing(space, random.Random(3))
    for number in range(60):
        members = sampler.members()
        asked = sampler.ask()
        if number >= 10:
            assert len(members) == 10
            assert min(_distance(space, asked, member) for member in members) <= 1
        sampler.tell(asked, landscape(asked))
    assert all(_distance(space, space.mutate(asked, random.Random(seed)), asked) == 1 for seed in range(20))


def test_beliefs_are_those_of_the_living() -> None:
    space = medium_space()
    table = Table(additive(space))
    explored = STRATEGIES["evolution"](tiny_problem(space=space, evaluator=table, search=SearchConfig(max_trials=80)))
    best = space.path(min(table.asked, key=table.loss))
    # After eight generations the population has gathered around what is good; among all that was tried it has not.
    tried = [
        sum(space.path(one)[node] == index for one in table.asked) / len(table.asked) for node, index in best.items()
    ]
    living = [explored.choice_weights[node][index] for node, index in best.items()]
    assert sum(living) > sum(tried)
    assert all(
        round(10 * share, 6) == int(round(10 * share, 6)) for row in explored.choice_weights.values() for share in row
    )
