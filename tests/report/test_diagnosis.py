"""What the page says on whether fusion helps: numbers behind the drawing, and a page that tells them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from nas.report import report
from nas.report.diagnosis import cures_of, diagnosis_of, overfitting_panels
from nas.runs import RunFolder
from tests.report.fabricate import fabricate_run


def test_bars_are_the_numbers_of_the_summary(tmp_path: Path) -> None:
    told = diagnosis_of(fabricate_run(tmp_path))
    assert told is not None
    found = {(bar.group, bar.name): bar.value.mean for bar in told.bars}
    assert found["with and without interaction", "as trained"] == 0.88
    assert found["with and without interaction", "additive projection"] == 0.86
    assert found["Shapley value", "image"] == 0.15
    assert found["loss if exchanged", "words"] == 0.1
    assert found["loss if left out", "words"] == 0.05
    assert told.unit == "points"


def test_nested_models_stand_side_by_side(tmp_path: Path) -> None:
    told = diagnosis_of(fabricate_run(tmp_path))
    assert told is not None
    assert [term.name for term in told.terms] == ["constant", "image", "words", "image × words"]
    assert told.terms[-1].cells == (("", ""), ("", ""), ("0.5 ± 0.1", "p 0.03"))
    assert told.fits == (("R² 0.200", ""), ("R² 0.300", "χ² 20, p < 0.001"), ("R² 0.400", "χ² 4.5, p 0.034"))


def test_a_run_without_a_diagnosis_says_nothing_of_it(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    del summary["diagnosis"]
    assert diagnosis_of(summary) is None
    assert overfitting_panels(summary, []) == []


def test_every_modality_has_its_losses_and_its_ratio(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    metrics = RunFolder.open(tmp_path).read_metrics()
    panels = overfitting_panels(summary, metrics)
    assert [panel.title for panel in panels] == [
        "image alone: loss (overfitting ratio 0.5)",
        "words alone: loss (overfitting ratio 1)",
    ]
    assert {curve.group for curve in panels[0].curves} == {"while training", "held out"}


def test_a_ratio_without_bound_is_said_to_be_so(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    summary["diagnosis"]["overfitting"]["image"][0]["ratio"] = None  # as JSON holds infinity
    metrics = RunFolder.open(tmp_path).read_metrics()
    assert overfitting_panels(summary, metrics)[0].title.endswith("(overfitting ratio ∞)")


@pytest.mark.parametrize("metric", ["accuracy", "mae"])
def test_the_page_tells_it(tmp_path: Path, metric: str) -> None:
    task = "classification" if metric == "accuracy" else "regression"
    summary = fabricate_run(tmp_path, metric=metric, task=task)
    page = report(tmp_path).read_text()
    section = page[page.index("Does fusion help, and why?") :]
    assert section.index(summary["verdict"]["headline"]) < section.index("come from cross-modal interaction.")
    assert "2.0 ± 1.0 points of this accuracy come from cross-modal interaction." in page
    assert ("Logistic regression" in page) == (metric == "accuracy")
    rows = list(csv.DictReader((tmp_path / "figures" / "contributions.csv").read_text().splitlines()))
    assert rows[0] == {
        "what": "with and without interaction",
        "of": "as trained",
        "mean": "0.88",
        "low": "0.87",
        "high": "0.89",
    }


def test_what_was_tried_stands_in_a_table_with_what_was_taken(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    assert cures_of(summary) is None
    plain = {"objective": "", "architecture_score": 0.8, "mean": 0.7, "low": 0.6, "high": 0.8, "difference": None}
    summary["objectives"] = {"chosen": "", "tried": [plain], "left_out": []}
    RunFolder.open(tmp_path).write_json("summary.json", summary)
    assert "calls for another training objective, so that none was tried" in report(tmp_path).read_text()
    gap = {"mean": 0.03, "low": 0.01, "high": 0.05}
    summary["advice"] = [{"in_words": "audio overfits: try --objective align"}]
    summary["objectives"] = {
        "chosen": "align",
        "tried": [
            plain,
            {
                "objective": "align",
                "architecture_score": 0.9,
                "mean": 0.73,
                "low": 0.63,
                "high": 0.83,
                "difference": gap,
            },
        ],
        "left_out": ["rubi:words"],
    }
    RunFolder.open(tmp_path).write_json("summary.json", summary)
    told = cures_of(summary)
    assert told is not None
    assert [(row.name, row.is_chosen, row.held_out, row.score, row.difference, row.tone) for row in told.rows] == [
        ("plain training", False, "80.0", "70.0 [60.0 to 80.0]", "", ""),
        ("align", True, "90.0", "73.0 [63.0 to 83.0]", "+3.0 [+1.0 to +5.0]", "better"),
    ]
    page = report(tmp_path).read_text()
    assert "<li>audio overfits: try --objective align.</li>" in page
    assert "align (taken)" in page
    assert "There was no time for rubi:words." in page
