"""Whole searches beside the answers of made tasks."""

from __future__ import annotations

import pytest

from benchmarks.answers import answers, page, regret, run
from nas.data.synthetic import KnownTask, wide_tasks
from search_spaces import graph, layerwise


def test_answers_read_what_has_to_be_read_and_all_modalities() -> None:
    task = KnownTask(kind="bilinear", depth=2, modalities=3)
    space = layerwise({"m0": 3, "m1": 3, "m2": 3})
    found = list(answers(task, space))
    assert {one.modalities() for one in found} == {("m0", "m1"), ("m0", "m1", "m2")}
    assert all(space.offers(one) for one in found)
    assert {tap[-1] for one in found for tap in one.taps()} == {"2"}
    staged = next(answers(KnownTask(kind="staged", depth=0), layerwise({"m0": 3, "m1": 3})))
    assert [step.name for step in staged.steps] == ["fusion0", "fusion2"]
    assert not list(answers(KnownTask(kind="nothing"), space))


def test_answers_of_crossed_tasks_join_taps_of_different_depths() -> None:
    space = graph({"m0": 3, "m1": 3})
    chains = list(answers(KnownTask(kind="chain", depth=0), space))
    assert all(space.offers(one) for one in chains)
    assert {tuple(step.inputs for step in one.steps) for one in chains} == {(("m0@0", "m1@2"), ("m0@2", "step1"))}
    products = answers(KnownTask(kind="crossed_product", depth=2), space)
    assert {one.taps() for one in products} == {("m0@2", "m1@0")}


def test_a_search_is_compared_with_the_best_known() -> None:
    row = run(KnownTask(kind="unimodal", samples=100, test_samples=200), 0, 1)
    assert row.best >= row.score
    assert row.regret <= row.best
    assert row.group == "2 modalities"
    told = page([row], "command")
    assert "| 2 modalities | 1 |" in told
    assert "| all | 1 |" in told


@pytest.mark.parametrize("seed", [1, 2])
def test_wide_tasks_are_of_all_kinds_and_others_for_another_seed(seed: int) -> None:
    tasks = wide_tasks(seed)
    names = {task.name for task in tasks}
    assert len(names) == len(tasks)
    assert {task.modalities for task in tasks} == {2, 3, 6}
    assert {task.target for task in tasks} == {"quartiles", "sign", "rare", "regression", "multilabel"}
    assert names.isdisjoint(task.name for task in wide_tasks(seed + 10))


def test_what_looks_best_on_one_half_is_judged_by_the_other() -> None:
    """`lucky` is the best of the first half and 4 points worse than what was found on the other."""
    first, second = {"found": 70.0, "lucky": 75.0, "good": 72.0}, {"found": 70.0, "lucky": 66.0, "good": 73.0}
    assert regret("found", first, second) == ((66 - 70) + (72 - 70)) / 2
    assert regret("found", {"found": 70.0, "other": 60.0}, {"found": 71.0, "other": 65.0}) == 0
