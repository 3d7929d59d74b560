"""Exhaustive search: everything, once, or nothing at all."""

from __future__ import annotations

import pytest

from nas.config import SearchConfig
from nas.errors import UserError
from nas.strategies import STRATEGIES
from nas.strategies.exhaustive import LARGEST_SPACE
from search_spaces import layerwise
from tests.strategies.problems import tiny_problem, tiny_space
from tests.strategies.tables import Table, additive


def test_it_tries_every_architecture_once_and_takes_the_best() -> None:
    space = tiny_space()
    for seed in range(3):
        table = Table(additive(space, seed))
        explored = STRATEGIES["exhaustive"](tiny_problem(evaluator=table, search=SearchConfig()))
        assert table.asked == list(space.enumerate())
        assert explored.architecture == min(space.enumerate(), key=table.loss)
        assert explored.loss == pytest.approx(min(map(table.loss, space.enumerate())))
        assert explored.choice_weights == {node.name: [0.2] * 5 for node in space.nodes}


def test_a_space_of_more_architectures_than_may_be_trained_is_refused_before_anything_is_trained() -> None:
    table = Table(lambda _: 1.0)
    allowed = tiny_problem(evaluator=table, search=SearchConfig(max_trials=25))
    refused = tiny_problem(evaluator=table, search=SearchConfig(max_trials=24))
    with pytest.raises(UserError, match="'layerwise' has 25 architectures, more than the 24 trainings allowed; name"):
        STRATEGIES["exhaustive"](refused)
    assert not table.asked
    assert STRATEGIES["exhaustive"](allowed).architecture is not None


def test_a_thousand_is_the_most_that_is_taken_without_a_word() -> None:
    space = layerwise({"sound": 4, "sight": 4}, operations=["additive", "multiplicative", "mlp"])  # 6^4 = 1 296
    table = Table(lambda _: 1.0)
    assert LARGEST_SPACE == 1000
    with pytest.raises(UserError, match="1,296 architectures, more than the 1,000"):
        STRATEGIES["exhaustive"](tiny_problem(space=space, evaluator=table, search=SearchConfig()))
    STRATEGIES["exhaustive"](tiny_problem(space=space, evaluator=table, search=SearchConfig(max_trials=1296)))
    assert len(table.asked) == 1296
