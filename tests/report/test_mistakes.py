"""Where the found network is wrong, on the page: counts of the summary, the worst in words."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest

from nas.errors import UserError
from nas.records import plain
from nas.report import report
from nas.report.mistakes import Confusion, confusion, draw_confusion, draw_residuals, residual_points
from tests.report.fabricate import fabricate_run
from tests.summaries import known, write_summary

MATRIX = Confusion(("cat", "dog", "newt"), ((6, 4, 0), (1, 8, 0), (0, 0, 0)), 0)


def test_the_worst_comes_first_with_its_share_of_the_true_class() -> None:
    assert MATRIX.worst(1) == [("cat", "dog", 0.4)]
    assert (
        MATRIX.in_words() == "Most often it takes cat for dog (40 % of its samples), dog for cat (11 % of its samples)."
    )
    assert math.isnan(MATRIX.share(2, 0))


def test_no_mistake_is_said_to_be_none() -> None:
    assert Confusion(("a", "b"), ((3, 0), (0, 4)), 0).in_words() == "It makes no mistake on this split."


def test_the_drawing_bears_the_shares_and_the_samples_of_every_row() -> None:
    texts = [text.get_text() for text in draw_confusion(MATRIX).axes[0].texts]
    assert texts[:3] == ["60", "40", "10"]
    assert {"11", "89", "9", "0"} <= set(texts)


def test_many_classes_are_drawn_without_numbers() -> None:
    counts = tuple(tuple(10 if i == j else 1 for j in range(20)) for i in range(20))
    texts = [
        text.get_text() for text in draw_confusion(Confusion(tuple("abcdefghijklmnopqrst"), counts, 0)).axes[0].texts
    ]
    assert texts == ["29"] * 20 + ["samples"]


def test_a_residual_is_prediction_minus_target() -> None:
    points = draw_residuals([[(1.0, 1.5), (4.0, 3.0)]]).axes[0].lines[1]
    assert list(map(float, points.get_xdata())) == [1.5, 3.0]  # type: ignore[arg-type]
    assert list(map(float, points.get_ydata())) == [0.5, -1.0]  # type: ignore[arg-type]


@pytest.mark.parametrize(("task", "metric"), [("classification", "accuracy"), ("regression", "mae")])
def test_page_and_table_tell_it(tmp_path: Path, task: str, metric: str) -> None:
    summary = fabricate_run(tmp_path, task=task, metric=metric)
    page = report(tmp_path).read_text()
    rows = list(csv.DictReader((tmp_path / "figures" / "mistakes.csv").read_text().splitlines()))
    assert "Where it is wrong" in page
    if task == "classification":
        assert "class 2 for class 5 (" in page
        assert rows[2 * 8 + 5]["samples"] == "4"
        assert float(rows[2 * 8 + 5]["share"]) == 4 / sum(known(summary.mistakes).counts[2])
    else:
        assert (float(rows[7]["target"]), float(rows[7]["prediction"])) == known(summary.mistakes).points[0][7]


def test_labels_have_no_such_section(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path, task="multilabel", metric="micro_f1")
    assert (confusion(summary), residual_points(summary)) == (None, ())
    assert "Where it is wrong" not in report(tmp_path).read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ["a"]},
        {"counts": [[1, -2], [0, 1]], "classes": ["a", "b"]},
        {"counts": [[1] * 3000] * 3000, "classes": ["a"] * 3000},
    ],
)
def test_counts_that_do_not_fit_are_told(tmp_path: Path, change: dict[str, Any]) -> None:
    summary = plain(fabricate_run(tmp_path))
    summary["mistakes"] |= change
    write_summary(tmp_path, summary)
    with pytest.raises(UserError, match="is damaged: mistakes"):
        report(tmp_path)
