"""A tiny search in a process of its own, what it comes to when nobody stops it, and what is left when somebody does."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from nas.runs.checkpoint import status
from tests.interruptions import timeless
from tests.processes import Command, Ended
from tests.tiny_runs import write_npz

SEARCH = (
    *("search", "tiny.npz", "--modalities", "sound,sight", "--target", "label", "--split", "split"),
    *("--operations", "additive,multiplicative", "--epochs", "4", "--retrain-seeds", "1", "--out", "run"),
    *("--device", "cpu", "--checkpoint-every", "0s"),
)

RESULTS = ("architecture.json", "weights.safetensors", "exports/architecture.graphml")


class Whole(NamedTuple):
    """An uninterrupted search.

    Attributes:
        folder: Where it ran.
        results: What it came to.
        seconds: How long it took, forked.
        writes: How many files it wrote atomically.
        renames: How many files it renamed.
    """

    folder: Path
    results: dict[str, Any]
    seconds: float
    writes: int
    renames: int


def results(folder: Path) -> dict[str, Any]:
    """What must not depend on whether a run was stopped: files byte by byte, records and scores without times."""
    run = folder / "run"
    summary = json.loads((run / "summary.json").read_text())
    rows = [{key: row[key] for key in ("name", "scores", "architecture_score")} for row in summary["leaderboard"]]
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = {name: (run / name).read_bytes() for name in RESULTS}
    return {**kept, "rows": rows, "records": timeless(records), "nodes": summary["nodes"]}


def assert_clean(folder: Path) -> None:
    """Nothing is left over of a run that was killed and has ended well."""
    run = folder / "run"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["run.json"]
    assert [path for path in run.rglob("*") if path.name.startswith(".") and path.name != ".lock"] == []
    assert status(run / "checkpoints") == "finished"


def run(folder: Path, *arguments: str, **options: Any) -> Ended:
    """A command line from its start to its end."""
    return Command(folder, arguments, **options).ended()


def whole_search(folder: Path) -> Whole:
    """Runs the search undisturbed."""
    write_npz(folder)
    for _ in range(2):  # the first one pays for the server that the others are forked from
        shutil.rmtree(folder / "run", ignore_errors=True)
        started = time.monotonic()
        ended = run(folder, *SEARCH)
        seconds = time.monotonic() - started
        assert (ended.code, ended.err.count("Traceback")) == (0, 0), ended.err
    assert_clean(folder)
    writes, renames = map(int, (folder / "writes").read_text().split())
    return Whole(folder, results(folder), seconds, writes, renames)
