"""However much a summary holds, its page comes soon, in little memory, shows a part and says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.errors import UserError
from nas.records import plain
from nas.report.extent import MAX_NODES, MAX_ROWS, drawable
from nas.runs.folder import RunFolder
from tests.report.fabricate import fabricate_run
from tests.report.vast import VAST, vast_run

MEASURED = """
import sys, cli
try:
    cli.main()
finally:
    with open("/proc/self/status") as file:
        print(next(line.split()[1] for line in file if line.startswith("VmHWM")), file=sys.stderr)
"""
"""A command that tells the most memory that it took, in kilobytes; `ru_maxrss` would be at least that of its parent."""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the system does not tell a process's peak of memory"
)
def test_a_run_of_everything_too_much_gives_a_page(tmp_path: Path) -> None:
    kinds = ("rows", "classes", "depth", "tables", "records", "nodes")
    vast_run(tmp_path, *kinds)
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "report", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kilobytes = float(done.stderr)
    assert kilobytes < 1.5e6
    page = (tmp_path / "report.html").read_text()
    assert [words for kind in kinds if (words := VAST[kind][1]) not in page] == []


@pytest.mark.parametrize("kind", [kind for kind in VAST if kind != "records"])
def test_what_is_drawn_of_a_vast_run_is_bounded_and_told(tmp_path: Path, kind: str) -> None:
    words = vast_run(tmp_path, kind)
    folder = RunFolder(tmp_path)
    records = folder.read_metrics() if folder.metrics.exists() else []
    summary, records, left_out = drawable(folder.read_summary(), records)
    assert words in "; ".join(left_out)
    assert bool(words) == bool(left_out)
    assert len(summary.leaderboard) <= MAX_ROWS
    assert summary.found.kind == "found"
    assert max(len(summary.search.nodes), len(summary.architecture.steps)) <= MAX_NODES
    names = {node.name for node in summary.search.nodes}
    assert all(set(record.get("entropy") or ()) <= names for record in records)


def test_of_an_ordinary_run_nothing_is_left_out(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path, num_searches=5)
    metrics = RunFolder(tmp_path).read_metrics()
    found, records, left_out = drawable(summary, metrics)
    assert left_out == ()
    assert plain(found) == plain(summary)
    assert records == metrics


def test_modalities_that_are_read_are_drawn_before_others(tmp_path: Path) -> None:
    vast_run(tmp_path, "modalities")
    depths = drawable(RunFolder(tmp_path).read_summary(), [])[0].search.depths
    assert "m99" in depths
    assert list(depths)[:3] == ["m0", "m1", "m2"]


@pytest.mark.parametrize("text", ["[[],", '{"a":{},', '"a",'])
def test_texts_that_would_take_gigabytes_are_refused_before_they_are_read(tmp_path: Path, text: str) -> None:
    fabricate_run(tmp_path)
    (tmp_path / "summary.json").write_text("[" + text * (60 * 10**6 // len(text)))
    if text == '"a",':
        with pytest.raises(UserError, match="is not JSON"):
            RunFolder(tmp_path).read_summary()
        return
    with pytest.raises(UserError, match="GB of memory, which no run of ours does"):
        RunFolder(tmp_path).read_summary()
    (tmp_path / "metrics.jsonl").write_text("{}\n" * 20 * 10**6)
    with pytest.raises(UserError, match="GB of memory, which no run of ours does"):
        RunFolder(tmp_path).read_metrics()
