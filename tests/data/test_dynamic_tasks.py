"""Dynamic tasks: what is needed is needed, and what is not says nothing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from nas.data.dynamic_tasks import DynamicTask
from nas.errors import UserError


def arrays(task: DynamicTask) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    data, needed = task.make()
    return {name: modality.arrays[0].mean(axis=1) for name, modality in data.modalities.items()}, data.targets, needed


def accuracy(inputs: np.ndarray, targets: np.ndarray) -> float:
    half = len(targets) // 2
    forest = RandomForestClassifier(60, random_state=0).fit(inputs[:half], targets[:half])
    return float(forest.score(inputs[half:], targets[half:]))


@pytest.mark.parametrize(
    ("kind", "shares"),
    [("half", [1.0, 0.5]), ("corrupted", [1.0, 0.6]), ("one_of_three", [1 / 3, 1 / 3, 1 / 3])],
)
def test_the_shares_that_are_needed_are_those_that_are_said(kind: str, shares: list[float]) -> None:
    _, _, needed = arrays(DynamicTask(kind=kind))  # type: ignore[arg-type]
    # Of 7500 samples a share has a standard error of 0.006.
    assert needed.mean(axis=0) == pytest.approx(shares, abs=0.02)


def test_without_a_modality_that_is_not_needed_as_much_is_known() -> None:
    """Where m1 is not needed, m0 alone predicts as well as both; where it is, it predicts much worse."""
    for kind in ("half", "corrupted"):
        inputs, targets, needed = arrays(DynamicTask(kind=kind))
        both = np.concatenate(list(inputs.values()), axis=1)
        for rows, gap in ((~needed[:, 1], (-0.04, 0.04)), (needed[:, 1], (0.1, 1.0))):
            gained = accuracy(both[rows], targets[rows]) - accuracy(inputs["m0"][rows], targets[rows])
            assert gap[0] < gained < gap[1], (kind, gained)


def test_one_of_three_is_told_by_its_own_modality_alone() -> None:
    inputs, targets, needed = arrays(DynamicTask(kind="one_of_three"))
    for number, name in enumerate(inputs):
        rows = needed[:, number]
        assert accuracy(inputs[name][rows], targets[rows]) > 0.6
        assert accuracy(inputs[name][~rows], targets[~rows]) < 0.32  # chance is 25 %


@pytest.mark.parametrize(("kind", "marked"), [("half", "m0"), ("corrupted", "m1"), ("one_of_three", "m2")])
def test_what_is_needed_can_be_recognised_where_it_is_said(kind: str, marked: str) -> None:
    inputs, _, needed = arrays(DynamicTask(kind=kind))  # type: ignore[arg-type]
    assert accuracy(inputs[marked], needed[:, -1]) > 0.97


def test_equal_tasks_are_equal_and_seeds_differ() -> None:
    one, same, other = (DynamicTask(kind="half", seed=seed).make()[0] for seed in (0, 0, 1))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()


def test_what_makes_no_task_is_refused() -> None:
    with pytest.raises(UserError, match="half"):
        DynamicTask(kind="halve")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="noise"):
        DynamicTask(kind="half", noise=-1.0)
    with pytest.raises(UserError, match="100 samples"):
        DynamicTask(kind="half", samples=10)
