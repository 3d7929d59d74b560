"""Random search: what is drawn, trained and kept."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from nas.strategies import STRATEGIES
from tests.strategies.problems import SEARCH, tiny_problem, tiny_space


def test_the_lowest_loss_on_the_architecture_split_wins() -> None:
    records: list[Mapping[str, Any]] = []
    explored = STRATEGIES["random"](tiny_problem(search=replace(SEARCH, max_trials=4), log=records.append))
    trained = [record["architecture_loss"] for record in records]
    generator, space = random.Random(0), tiny_space()
    drawn = [space.sample(generator) for _ in range(4)]
    assert len(set(trained)) > 1
    assert explored.loss == min(trained)
    assert explored.architecture == drawn[trained.index(min(trained))]


def test_beliefs_are_how_often_each_choice_was_drawn() -> None:
    explored = STRATEGIES["random"](tiny_problem(search=replace(SEARCH, max_trials=4)))
    generator, space = random.Random(0), tiny_space()
    drawn = [space.sample(generator) for _ in range(4)]
    for node in space.nodes:
        counts = Counter(space.choices(architecture)[node.name] for architecture in drawn)
        assert explored.choice_weights[node.name] == pytest.approx([counts[choice] / 4 for choice in node.choices])
