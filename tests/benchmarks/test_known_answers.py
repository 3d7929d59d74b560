"""Marks of searches: worked by hand on small made-up tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.known_answers import PLAN, TASKS, Part, Records, Search, line, mark, run
from benchmarks.rows import Index
from benchmarks.truth import FRESH, Row, Truth, enumerated, marked_tasks
from nas.data.synthetic import KnownTask
from nas.strategies import STRATEGIES

TASK = KnownTask(kind="multiplicative", depth=1, samples=130, test_samples=100)
"""Choice indices of a node: nothing, two carries, additive, multiplicative, mlp."""

RIGHT, WRONG_DEPTH, SUM, NOTHING = (0, 4, 0), (4, 0, 0), (0, 3, 0), (0, 0, 0)


def row(index: Index, seed: int, score: float, architecture_loss: float = 1.0) -> Row:
    return Row(
        architecture="-".join(map(str, index)),
        seed=seed,
        score=score,
        loss=1.0,
        architecture_loss=architecture_loss,
        parameters=1,
        multiply_adds=1,
    )


@pytest.fixture
def table(tmp_path: Path) -> Truth:
    found = Truth(tmp_path, TASK)
    for index, score in ((RIGHT, 0.8), (WRONG_DEPTH, 0.6), (SUM, 0.5), (NOTHING, 0.25)):
        found.add(row(index, seed, score) for seed in (0, *FRESH))
    return found


def search(index: Index, task: str = TASK.name, seed: int = 0) -> Search:
    return Search(
        task=task,
        seed=seed,
        architecture="-".join(map(str, index)),
        seconds=3.0,
        training_seconds=1.5,
        discretization_loss=0.25,
        rank_correlation=0.5,
        tripped="",
    )


def test_the_right_architecture_has_no_regret_and_everything_right(table: Truth) -> None:
    found = mark(search(RIGHT), table)
    assert found.regret == pytest.approx(0)
    assert found.regret_of_highest == pytest.approx(0)
    assert found.score == pytest.approx(80)
    assert (found.right_depth, found.right_order, found.right_modalities, found.collapsed) == (True, True, True, False)


@pytest.mark.parametrize(
    ("index", "regret", "right_depth", "right_order", "right_modalities", "collapsed"),
    [
        (WRONG_DEPTH, 20, False, True, True, False),
        (SUM, 30, True, False, True, False),
        (NOTHING, 55, False, False, False, True),
    ],
)
def test_what_is_wrong_is_marked_so(
    table: Truth,
    index: Index,
    regret: float,
    right_depth: bool,
    right_order: bool,
    right_modalities: bool,
    collapsed: bool,
) -> None:
    found = mark(search(index), table)
    assert found.regret == pytest.approx(regret)
    assert (found.right_depth, found.right_order) == (right_depth, right_order)
    assert (found.right_modalities, found.collapsed) == (right_modalities, collapsed)


def test_where_there_is_nothing_to_read_to_read_nothing_is_right(tmp_path: Path) -> None:
    nothing = Truth(tmp_path, replace(TASK, kind="nothing"))
    nothing.add(row(index, seed, 0.25) for index in (NOTHING, SUM) for seed in (0, *FRESH))
    found = mark(search(NOTHING), nothing)
    assert (found.right_depth, found.right_order, found.collapsed) == (True, True, False)
    assert not mark(search(SUM), nothing).right_depth


def test_a_line_holds_shares_and_means(table: Truth) -> None:
    cells = line("some", [search(RIGHT), search(SUM, seed=1)], {TASK.name: table}).split(" | ")
    # Half has a regret of at most a point; regrets 0 and 30 have the mean 15 and the 95th percentile 28.5.
    assert cells[0] == "| some"
    assert cells[1:6] == ["2", "50 %", "50 %", "15.00", "28.5"]
    assert cells[6:11] == ["100 %", "50 %", "100 %", "0 %", "2.00"]


def test_records_are_read_back_and_go_on(tmp_path: Path) -> None:
    part = Part(strategy="random", discretizations=("none",), tasks="all", seeds=1)
    records = Records(tmp_path, part, "none")
    records.add(search(RIGHT, seed=1))
    records.add(replace(search(SUM), discretization_loss=float("nan")))
    again = Records(tmp_path, part, "none")
    assert list(again.rows) == [(TASK.name, 0), (TASK.name, 1)]
    assert again.rows[TASK.name, 1] == search(RIGHT, seed=1)
    assert np.isnan(again.rows[TASK.name, 0].discretization_loss)


def test_a_looked_up_search_trains_nothing_and_finds_the_lowest_loss(tmp_path: Path) -> None:
    table = Truth(tmp_path, TASK)
    table.add(row(index, 0, 0.5, architecture_loss=2.0 - 0.001 * i) for i, index in enumerate(enumerated(TASK)))
    part = Part(strategy="exhaustive", discretizations=("none",), tasks="all", seeds=1, is_looked_up=True)
    (found,) = run(part, TASK, 0, table)
    assert found.index == (5, 5, 5)
    assert (found.seconds, found.training_seconds) == (216, 1)


def test_the_plan_holds_every_strategy_and_kinds_are_alike() -> None:
    assert {part.strategy for part in PLAN} == set(STRATEGIES)
    for name, is_among in TASKS.items():
        kinds = Counter(task.kind for task in marked_tasks() if is_among(task))
        assert len(set(kinds.values())) == 1, name
        assert len(kinds) == 10
