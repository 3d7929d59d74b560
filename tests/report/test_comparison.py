"""Several runs side by side: what may be compared is, what may not stands apart, and nothing is claimed too much."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.errors import UserError
from nas.records import plain
from nas.report import report
from nas.report.comparison import groups
from nas.report.tables import on_front
from nas.summary import Summary
from tests.report.fabricate import fabricate_run
from tests.report.test_report import _Reader
from tests.summaries import change_row, make_data, spread, write_summary


def _summary(
    folder: Path, mean: float, *, margin: float = 0.01, cost: int = 100, metric: str = "accuracy", **changes: Any
) -> Summary:
    """A run whose found architecture scores and costs so much."""
    made = fabricate_run(folder, metric=metric, task="regression" if metric == "mae" else "classification")
    summary = replace(change_row(made, 0, score=spread(mean, margin), multiply_adds=cost), **changes)
    write_summary(folder, summary)
    return summary


def test_the_best_comes_first_and_what_overlaps_with_it_is_not_told_apart(tmp_path: Path) -> None:
    summaries = {name: _summary(tmp_path / name, mean) for name, mean in (("low", 0.7), ("near", 0.885), ("best", 0.9))}
    (group,) = groups(summaries, {})
    assert [run.row.name for run in group.runs] == ["best", "near", "low"]
    assert group.in_words() == (
        "best has the best accuracy, 90.0 % (89.0 to 91.0), but its interval overlaps with that of near: "
        "this does not tell them apart."
    )


def test_what_lies_apart_is_said_to_and_of_errors_the_lowest_is_best(tmp_path: Path) -> None:
    summaries = {name: _summary(tmp_path / name, mean, metric="mae") for name, mean in (("a", 0.5), ("b", 0.4))}
    (group,) = groups(summaries, {})
    assert [run.row.name for run in group.runs] == ["b", "a"]
    assert group.in_words().endswith("0.4 (0.39 to 0.41), and its interval lies apart from all others.")


def test_other_data_and_other_metrics_are_never_in_one_group(tmp_path: Path) -> None:
    summaries = {name: _summary(tmp_path / name, 0.8) for name in "abcd"}
    summaries["b"] = replace(summaries["b"], data=make_data(fingerprint="other"))
    summaries["c"] = replace(summaries["c"], metric="micro_f1")
    found = groups(summaries, {})
    assert [(group.title, group.metric, [run.row.name for run in group.runs]) for group in found] == [
        ("emoji (9f2c7a31)", "accuracy", ["a", "d"]),
        ("emoji (other)", "accuracy", ["b"]),
        ("emoji (9f2c7a31)", "micro_f1", ["c"]),
    ]
    assert found[1].in_words().endswith("no other run is of the same data and metric.")


def test_what_is_beaten_by_a_cheaper_run_is_not_on_the_front(tmp_path: Path) -> None:
    runs = {"dear": (0.9, 300), "beaten": (0.8, 200), "cheap": (0.85, 100)}
    summaries = {name: _summary(tmp_path / name, mean, cost=cost) for name, (mean, cost) in runs.items()}
    (group,) = groups(summaries, {})
    front = on_front([run.row for run in group.runs], group.metric)
    assert dict(zip((run.row.name for run in group.runs), front, strict=True)) == {
        "dear": True,
        "cheap": True,
        "beaten": False,
    }


def test_gains_are_over_the_best_modality_of_the_architecture_split_and_over_late_fusion(tmp_path: Path) -> None:
    summary = change_row(_summary(tmp_path, 0.9), "image", architecture_score=0.3)
    summary = change_row(summary, "words", architecture_score=0.4)
    rows = {row.name: row for row in summary.leaderboard}
    (run,) = groups({"one": summary}, {})[0].runs
    assert run.over_modality is not None
    assert run.over_late is not None
    assert run.over_modality == rows["words"].difference
    assert run.over_late == rows["late fusion"].difference


def test_the_gain_over_no_network_is_over_the_control_that_the_architecture_split_prefers(tmp_path: Path) -> None:
    summary = change_row(_summary(tmp_path, 0.9), "gradient boosting", architecture_score=0.3)
    summary = change_row(summary, "logistic regression", architecture_score=0.4)
    rows = {row.name: row for row in summary.leaderboard}
    (run,) = groups({"one": summary}, {})[0].runs
    assert run.over_control is not None
    assert run.over_control == rows["logistic regression"].difference


def test_the_page_holds_figures_tables_and_links_to_the_runs(tmp_path: Path) -> None:
    bad = "<b>x</b>"
    _summary(tmp_path / "a run: 1", 0.8, strategy=bad)
    _summary(tmp_path / "other", 0.9)
    _summary(tmp_path / "houses", 0.4, metric="mae")
    (tmp_path / "a run: 1" / "report.html").write_text("its own page")
    page = report([tmp_path / name for name in ("a run: 1", "other", "houses")], tmp_path / "out")
    reader = _Reader(page.read_text())
    assert page == tmp_path / "out" / "report.html"
    assert "3 runs compared" in reader.text
    assert bad in reader.text
    assert [one for one in reader.addresses if not one.startswith(("#", "data:"))] == ["../a%20run%3A%201/report.html"]
    assert (page.parent / "../a run: 1/report.html").is_file()
    assert "script" not in reader.tags
    assert reader.tags.count("svg") == 3  # a run by itself has no costs to be held against
    assert len(reader.ids) == len(set(reader.ids))
    figures = {file.name for file in (page.parent / "figures").iterdir()}
    names = ("scores-1", "cost-1", "scores-2")
    assert figures == {f"{name}.{end}" for name in names for end in ("svg", "png", "csv")}
    rows = list(csv.DictReader((page.parent / "figures" / "scores-1.csv").read_text().splitlines()))
    assert [(row["name"], row["mean"]) for row in rows] == [("other", "0.9"), ("a run: 1", "0.8")]


def test_runs_of_the_same_name_bear_their_parents_too(tmp_path: Path) -> None:
    for parent in ("one", "two"):
        _summary(tmp_path / parent / "run", 0.8)
    page = report([tmp_path / "one" / "run", tmp_path / "two" / "run"], tmp_path / "out").read_text()
    assert '<th scope="row">one/run' in page
    assert '<th scope="row">two/run' in page


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    summary = _summary(tmp_path / "a", 0.8)
    _summary(tmp_path / "b", 0.8)
    both = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(UserError, match="needs a folder of its own; name one with --out"):
        report(both)
    with pytest.raises(UserError, match="is a run, whose own report would be lost"):
        report(both, tmp_path / "b")
    with pytest.raises(UserError, match="expected different runs"):
        report([tmp_path / "a", tmp_path / "b" / ".." / "a"], tmp_path / "out")
    with pytest.raises(UserError, match="expected different runs to compare, got \\[\\]"):
        report([], tmp_path / "out")
    write_summary(tmp_path / "a", {**plain(summary), "leaderboard": []})
    with pytest.raises(UserError, match="leaderboard must be a list of 1 to"):
        report(both, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_run_in_a_list_gives_its_own_report(tmp_path: Path) -> None:
    _summary(tmp_path, 0.8)
    assert report([tmp_path]) == tmp_path / "report.html"
