"""What is written while a search runs: line by line, and as TensorBoard's curves."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nas.runs.folder import RunFolder
from nas.runs.metrics_log import MetricsLog


def test_log_writes_lines_and_tensorboard(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    with MetricsLog(run, {"fusion0": ["nothing", "image × words"]}) as log:
        log(
            {
                "phase": "search",
                "step": 10,
                "epoch": 1,
                "train_loss": math.nan,
                "architecture_loss": 0.5,
                "mixing_weights": {"fusion0": [0.25, 0.75], "fusion1": [1.0]},
                "entropy": {"fusion0": 0.56},
                "guards": {"eigenvalue": 1.5, "none_share": math.nan},
            }
        )
        assert run.read_metrics()[0]["train_loss"] is None  # flushed while still open
        log({"phase": "retrain", "row": "found", "seed": 3, "epoch": 2, "train_loss": 0.25})
    assert [record["phase"] for record in run.read_metrics()] == ["search", "retrain"]

    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        "search/architecture_loss",
        "mixing_weights/fusion0/nothing",
        "mixing_weights/fusion0/image × words",
        "mixing_weights/fusion1/0",
        "entropy/fusion0",
        "guards/eigenvalue",
        "retrain/found/3/train_loss",
    }
    assert [(event.step, event.value) for event in events.Scalars("mixing_weights/fusion0/image × words")] == [
        (10, 0.75)
    ]


def test_one_of_several_searches_has_curves_of_its_own(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    record = {"phase": "search", "step": 1, "train_loss": 0.5, "mixing_weights": {"a": [1.0]}, "entropy": {"a": 0.0}}
    with MetricsLog(run, {"a": ["nothing"]}) as log:
        log({**record, "search": 4})
        log({**record, "search": 5})
    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        f"search {seed}/{tag}"
        for seed in (4, 5)
        for tag in ("search/train_loss", "mixing_weights/a/nothing", "entropy/a")
    }


def test_a_log_begins_anew_for_a_resumed_run_writes_all_of_it_again(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for steps in ([1, 2, 3], [4]):
        with MetricsLog(run) as log:
            for step in steps:
                log({"phase": "search", "step": step, "train_loss": 1.0})
    assert [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()] == [4]
    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    assert [event.step for event in events.Scalars("search/train_loss")] == [4]


def test_a_closed_log_refuses_records(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not open"):
        MetricsLog(RunFolder(tmp_path))({"phase": "search"})
