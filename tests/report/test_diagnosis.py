"""What the page says on whether fusion helps: numbers behind the drawing, and a page that tells them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from nas.records import plain
from nas.report import report
from nas.report.diagnosis import cures_of, diagnosis_of, overfitting_panels
from nas.report.words import advice_in_words
from nas.runs.folder import RunFolder
from nas.statistics import Interval
from nas.summary import Advice, Objectives, TriedObjective
from tests.report.fabricate import fabricate_run
from tests.summaries import known, spread, write_summary


def test_bars_are_the_numbers_of_the_summary(tmp_path: Path) -> None:
    told = diagnosis_of(fabricate_run(tmp_path))
    found = {(bar.group, bar.name): bar.value.mean for bar in told.bars}
    assert found["with and without interaction", "as trained"] == 0.88
    assert found["with and without interaction", "additive projection"] == 0.86
    assert found["Shapley value", "image"] == 0.15
    assert found["loss if exchanged", "words"] == 0.1
    assert found["loss if left out", "words"] == 0.05
    assert told.unit == "points"


def test_nested_models_stand_side_by_side(tmp_path: Path) -> None:
    told = diagnosis_of(fabricate_run(tmp_path))
    assert [term.name for term in told.terms] == ["constant", "image", "words", "image × words"]
    assert told.terms[-1].cells == (("", ""), ("", ""), ("0.5 ± 0.1", "p 0.03"))
    assert told.fits == (("R² 0.200", ""), ("R² 0.300", "χ² 20, p < 0.001"), ("R² 0.400", "χ² 4.5, p 0.034"))


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
    summary = plain(fabricate_run(tmp_path))
    summary["diagnosis"]["overfitting"]["image"][0]["ratio"] = None  # as JSON holds infinity
    write_summary(tmp_path, summary)
    read = RunFolder.open(tmp_path).read_summary()
    metrics = RunFolder.open(tmp_path).read_metrics()
    assert overfitting_panels(read, metrics)[0].title.endswith("(overfitting ratio ∞)")


@pytest.mark.parametrize("metric", ["accuracy", "mae"])
def test_the_page_tells_it(tmp_path: Path, metric: str) -> None:
    task = "classification" if metric == "accuracy" else "regression"
    summary = fabricate_run(tmp_path, metric=metric, task=task)
    page = report(tmp_path).read_text()
    section = page[page.index("Does fusion help, and why?") :]
    assert section.index(known(summary.verdict).headline) < section.index("come from cross-modal interaction.")
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
    plainly = TriedObjective(
        objective="", architecture_score=0.8, score=spread(0.7, 0.1), difference=None, train_seconds=1.0
    )
    write_summary(tmp_path, replace(summary, objectives=Objectives(chosen="", tried=(plainly,), left_out=())))
    assert "calls for another training objective, so that none was tried" in report(tmp_path).read_text()
    align = replace(
        plainly,
        objective="align",
        architecture_score=0.9,
        score=spread(0.73, 0.1),
        difference=Interval(0.03, 0.01, 0.05),
    )
    summary = replace(
        summary,
        advice=(Advice(objective="align", because="audio overfits"),),
        objectives=Objectives(chosen="align", tried=(plainly, align), left_out=("rubi:words",)),
    )
    write_summary(tmp_path, summary)
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


def test_what_has_one_reason_is_advised_in_one_sentence() -> None:
    given = [
        Advice(objective="gradient_blending", because="audio overfits"),
        Advice(objective="residual", because="it does both"),
        Advice(objective="gradient_modulation", because="audio overfits"),
    ]
    assert advice_in_words(given) == [
        "audio overfits: try --objective gradient_blending or gradient_modulation",
        "it does both: try --objective residual",
    ]
