"""The overfitting-to-generalization ratio, worked by hand."""

from __future__ import annotations

import math

import pytest

from nas.diagnostics import overfitting_ratio


def test_a_case_worked_by_hand() -> None:
    # The gap grows from 0.1 to 0.4 while the held-out loss falls from 1.1 to 0.9; after that it only rises.
    found = overfitting_ratio([1.0, 0.7, 0.5, 0.1], [1.1, 1.0, 0.9, 1.5])
    assert found.overfitting == pytest.approx(0.3)
    assert found.generalization == pytest.approx(0.2)
    assert found.ratio == pytest.approx(1.5)
    assert found.best_epoch == 2


def test_a_gap_that_closes_counts_by_its_size() -> None:
    found = overfitting_ratio([1.0, 0.8], [2.0, 1.5])
    assert found.overfitting == pytest.approx(-0.3)
    assert found.ratio == pytest.approx(0.6)


def test_what_never_generalizes_has_an_infinite_ratio() -> None:
    found = overfitting_ratio([1.0, 0.5, 0.1], [1.0, 1.2, 1.4])
    assert [found.overfitting, found.generalization] == pytest.approx([1.3, -0.4])
    assert (found.ratio, found.best_epoch) == (math.inf, 0)


@pytest.mark.parametrize(
    ("train", "held_out", "message"),
    [
        ([1.0], [1.0], "two epochs or more, got 1 and 1"),
        ([1.0, 2.0], [1.0], "got 2 and 1"),
        ([1.0, math.nan], [1.0, 1.0], "not finite"),
    ],
)
def test_what_is_no_course_of_a_training_is_refused(train: list[float], held_out: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        overfitting_ratio(train, held_out)
