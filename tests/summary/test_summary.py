"""The summary: written and read back it is the same, damage is told by its path, and nobody reads it by keys."""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas import RunResult
from nas.errors import UserError
from nas.records import from_plain, plain
from nas.runs.folder import RunFolder
from nas.summary import Summary
from tests.report.fabricate import fabricate_run
from tests.summaries import NO_GAP, change_row, write_summary
from tests.tiny_runs import dynamic_run, finished_run

ROOT = Path(__file__).parents[2]
PARTS = ("nas", "benchmarks", "examples", "search_spaces")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A finished run, only to be read."""
    return finished_run(tmp_path_factory)


def test_a_run_is_read_back_as_it_was_made(finished: RunResult, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert finished.folder is not None
    for folder in (finished.folder, dynamic_run(tmp_path_factory)):
        written = json.loads((folder / "summary.json").read_text())
        assert plain(RunFolder(folder).read_summary()) == written
    assert plain(finished.summary) == json.loads((finished.folder / "summary.json").read_text())


def test_every_part_of_a_summary_is_read_back(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path, late_won=True, num_searches=5, with_attention=True)
    assert repr(RunFolder(tmp_path).read_summary()) == repr(summary)


def _fields(values: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every field; of a list only to its first entry."""
    entries = values.items() if isinstance(values, dict) else enumerate(values[:1]) if isinstance(values, list) else ()
    for key, value in entries:
        yield (*way, key)
        yield from _fields(value, (*way, key))


def test_every_damaged_field_is_refused_in_one_line_that_names_it(tmp_path: Path) -> None:
    values = plain(fabricate_run(tmp_path, late_won=True, num_searches=3, with_attention=True))
    for way in _fields(values):
        if way[0] == "higher_is_better" or "architecture" in way[:-1] or "proposed" in way[:-1]:
            continue
        damaged = copy.deepcopy(values)
        inner = damaged
        for key in way[:-1]:
            inner = inner[key]
        inner[way[-1]] = [object] if isinstance(inner[way[-1]], dict) else {"x": object}
        with pytest.raises(UserError) as caught:  # noqa: PT012  # so that it tells which field was not
            from_plain(Summary, damaged)
            pytest.fail(f"{way} was not refused")
        told = str(caught.value)
        assert told.startswith(str(way[0])), told
        assert str(way[-1]) in told
        assert "\n" not in told
        assert len(told) < 500


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"metric": "speed"}, "metric must be one of accuracy,"),
        ({"leaderboard": []}, "leaderboard must be a list of 1 to"),
        ({"seeds": [-1]}, r"seeds\[0\] must be 0 or more"),
        ({"seeds": []}, "seeds must be a list of 1 to"),
        (
            {"calibration": {"temperature": 0}},
            "calibration.temperature",
        ),
        ({"format_version": 2}, "has format version 2, expected 1"),
        ({"depths": {"image": 0}}, r"depths\['image'\] must be at least 1"),
        ({"encoders": "none"}, "encoders must be one of"),
    ],
)
def test_what_no_run_of_ours_says_is_told_with_the_file(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    write_summary(tmp_path, {**plain(fabricate_run(tmp_path)), **change})
    with pytest.raises(UserError, match=rf"summary\.json'.*{told}"):
        RunFolder(tmp_path).read_summary()


def test_a_run_from_before_attention_was_told_is_read(tmp_path: Path) -> None:
    values = plain(fabricate_run(tmp_path))
    del values["attention"]
    write_summary(tmp_path, values)
    assert RunFolder(tmp_path).read_summary().attention is None


@pytest.mark.parametrize(
    ("place", "change", "told"),
    [
        (("weights", 0), [], "expected weights of 4 queries and 17 keys for every sample"),
        (("weights", 1, 0), [0.5, 0.5], "expected weights of 4 queries and 17 keys for every sample"),
        (("weights", 0, 0, 0), 1.5, r"weights\[0\]\[0\]\[0\] must be from 0 to 1"),
        (("asking", 0, "labels"), [["a"] * 65] * 2, "65 queries and 17 keys; expected at most 64 of each"),
        (("asked", 0, "grid"), [3, 4], "'image@0' has another number of tokens than labels"),
        (("asked", 0, "pictures", 0, "height"), 65, "height must be"),
    ],
)
def test_attention_that_does_not_fit_is_told(tmp_path: Path, place: tuple[Any, ...], change: Any, told: str) -> None:
    values = plain(fabricate_run(tmp_path, with_attention=True))
    inner = values["attention"]["maps"][0]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = change
    with pytest.raises(UserError, match=rf"attention\.maps\[0\].*{told}"):
        from_plain(Summary, values)


def test_the_found_row_comes_first(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    with pytest.raises(UserError, match=r"leaderboard\[0\]\.kind must be 'found', got 'modality'"):
        replace(summary, leaderboard=summary.leaderboard[1:])


def test_a_row_is_the_found_network_again_only_if_nothing_sets_them_apart(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    same = {"architecture": summary.architecture, "difference": NO_GAP}
    again = change_row(summary, "late fusion", **same)
    assert [row.name for row in again.leaderboard if again.is_found_again(row)] == ["late fusion"]
    for change in ({"separate": True}, {"kind": "random"}, {"difference": None}, {"architecture": None}):
        other = change_row(again, "late fusion", **change)
        assert not any(other.is_found_again(row) for row in other.leaderboard)


def test_the_sense_is_that_of_the_metric(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    assert (summary.higher_is_better, summary.sense) == (True, 1)
    assert (replace(summary, metric="mae").higher_is_better, replace(summary, metric="mae").sense) == (False, -1)


def _is_summary(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == "summary") or (
        isinstance(node, ast.Attribute) and node.attr == "summary"
    )


def _keyed(source: str) -> list[int]:
    """Lines that read a summary by a key: `summary["metric"]`, `run.summary.get("metric")` and the like."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and _is_summary(node.value):
            found.append(node.lineno)
        if isinstance(node, ast.Attribute) and node.attr in ("get", "items", "keys") and _is_summary(node.value):
            found.append(node.lineno)
    return found


def test_a_reader_by_keys_is_seen() -> None:
    assert _keyed('x = summary["metric"]\ny = run.summary.get("data")\nz = summary.metric\n') == [1, 2]


def test_nothing_reads_a_summary_by_keys() -> None:
    files = [
        ROOT / "cli.py",
        *(file for part in PARTS for file in (ROOT / part).rglob("*.py")),
    ]
    assert len(files) > 100
    assert {str(file): lines for file in files if (lines := _keyed(file.read_text()))} == {}
