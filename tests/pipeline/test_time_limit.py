"""The time limit of a whole run: what fits is left as it is, what does not is left out, and the report says so."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import nas
from nas import RunConfig, UserError
from nas.pipeline import time_limit
from nas.pipeline.timing import Pace
from nas.pipeline.workload import workload
from nas.retraining.preparation import TrainingSetup
from nas.runs.checkpoint import Checkpoints
from search_spaces import layerwise
from tests.command import runner
from tests.helpers import CPU, contents
from tests.tiny_runs import OPERATIONS, TRAINING, as_data, no_report, tiny_arrays, tiny_search, write_npz

SLOW = Pace(epochs={"unimodal": (1.0, 2.0), "fused": (1.0, 5.0), "search": (1.0, 5.0)})


def _never(*_given: Any) -> Pace:
    raise AssertionError("it was timed again")


def test_a_limit_that_is_far_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    data = as_data(tiny_arrays())
    plain = tiny_search(data, out=tmp_path / "plain")
    limited = tiny_search(data, out=tmp_path / "limited", time_limit_seconds=600)
    assert limited.summary.left_out == ()
    weights = [load_file(tmp_path / name / "weights.safetensors") for name in ("plain", "limited")]
    assert all(tensor.equal(weights[1][name]) for name, tensor in weights[0].items())
    assert [row.score for row in plain.summary.leaderboard] == [row.score for row in limited.summary.leaderboard]


def test_what_does_not_fit_is_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limit, "measure", lambda *_given: SLOW)
    data = as_data(tiny_arrays())
    options: dict[str, Any] = {"retrain_seeds": 3, "refit": True, "time_limit_seconds": 30}
    found = tiny_search(data, out=tmp_path / "run", **options)
    assert found.summary.left_out == (
        "2 of 3 seeds of every training",
        "2 of 3 epochs of every training",
        "single operations, random search, and variations of what was found",
    )
    assert found.summary.seeds == (0,)
    rows = {row.kind for row in found.summary.leaderboard}
    assert rows == {"found", "modality", "late", "refit", "control"}
    assert (found.config.evaluation.retrain_seeds, found.config.training.epochs) == (3, 3)  # as it was asked for
    page = (tmp_path / "run" / "report.html").read_text()
    assert "To keep its time limit, this run left out 2 of 3 seeds of every training; 2 of 3 epochs" in page
    assert nas.load_run(tmp_path / "run").summary.left_out == found.summary.left_out


def test_when_time_is_up_what_was_trained_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    fast = Pace(epochs={"unimodal": (0.0, 0.0), "fused": (0.0, 0.0), "search": (0.0, 0.0)})
    monkeypatch.setattr(time_limit, "measure", lambda *_given: fast)
    lines: list[str] = []

    def progress(line: str) -> None:
        lines.append(line)
        if line.startswith("training late fusion"):  # the clock jumps in the middle of the first seed
            time_up.append(True)

    time_up: list[bool] = []
    monkeypatch.setattr(Checkpoints, "time_is_up", lambda _self: bool(time_up))
    found = tiny_search(
        as_data(tiny_arrays()), retrain_seeds=2, time_limit_seconds=600, encoders="joint", progress=progress
    )
    assert "late fusion (seed 0)" in found.summary.left_out
    assert "seed 1" in found.summary.left_out
    assert "the training on both splits" not in found.summary.left_out  # it was not asked for
    assert "late" not in {row.kind for row in found.summary.leaderboard}
    assert found.summary.seeds == (0,)


def test_a_resumed_run_decides_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    monkeypatch.setattr(time_limit, "measure", lambda *_given: SLOW)
    options: dict[str, Any] = {"retrain_seeds": 2, "time_limit_seconds": 60, "out": tmp_path / "run"}

    def stop(line: str) -> None:
        if line.startswith("judging"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny_search(as_data(tiny_arrays()), progress=stop, **options)
    monkeypatch.setattr(time_limit, "measure", _never)
    found = tiny_search(as_data(tiny_arrays()), resume=True, **options)
    assert "1 of 2 seeds of every training" in found.summary.left_out


def test_a_retraining_keeps_a_limit_and_says_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    no_report(monkeypatch)
    data = str(write_npz(tmp_path))
    named = {"modalities": "sound,sight", "target": "label", "split": "split"}
    tiny_search(data, retrain_seeds=2, baselines="few", out=tmp_path / "run", **named)
    run = runner(monkeypatch, capsys)
    before = contents(tmp_path)
    told = json.loads(run("retrain", tmp_path / "run", "--dry-run", "--json").out)
    assert contents(tmp_path) == before
    lines: list[str] = []
    nas.retrain(tmp_path / "run", out=tmp_path / "again", progress=lines.append)
    planned = {stage["words"]: stage["most"] for stage in told["stages"]}
    assert planned["each modality alone"] == 4
    assert planned["every row of the leaderboard"] == sum("from scratch" in line for line in lines)
    assert 0 < told["seconds"][0] <= told["expected_seconds"] <= told["seconds"][1]
    assert "nothing is searched again" in run("retrain", tmp_path / "run", "--dry-run").out
    monkeypatch.setattr(time_limit, "measure", lambda *_given: SLOW)
    found = nas.retrain(tmp_path / "run", time_limit_seconds=30, out=tmp_path / "limited")
    assert found.summary.left_out == ("1 of 2 seeds of every training",)
    assert found.summary.seeds == (0,)
    assert found.config.training.epochs == 3  # as it was asked for
    assert nas.load_run(tmp_path / "limited").summary.left_out == found.summary.left_out
    assert "time_limit_seconds is 5; expected 20 or more" in run("retrain", tmp_path / "run", "--time-limit", "5s").err


def test_reductions_come_one_after_the_other_until_it_fits() -> None:
    data = as_data(tiny_arrays())
    config = RunConfig.of(epochs=16, preprocessing="standardize", retrain_seeds=2, operations=OPERATIONS)
    space = layerwise({"sound": 3, "sight": 3}, operations=OPERATIONS)
    setup = TrainingSetup(data=data, space=space, training=config.training, device=CPU)
    found = [time_limit._fitting(setup, config, SLOW, seconds)[0] for seconds in (10_000, 600, 300, 100, 0)]
    assert found[0] == {}
    assert found[1] == {"retrain_seeds": 1, "ensemble": False}
    assert found[2] == {"retrain_seeds": 1, "ensemble": False, "epochs": 8}
    assert found[3].keys() == {"retrain_seeds", "ensemble", "epochs", "baselines"}
    assert (found[4]["epochs"], found[4]["refit"]) == (1, False)
    counted = {one.words: (one.fewest, one.most) for one in workload(setup, config)}
    assert counted["each modality alone"] == (4, 4)


def test_a_limit_that_nothing_fits_is_refused() -> None:
    with pytest.raises(UserError, match="time_limit_seconds is 5; expected 20 or more"):
        RunConfig.of(time_limit_seconds=5)


@pytest.mark.slow
def test_a_long_run_ends_in_time() -> None:
    started = time.perf_counter()
    found = tiny_search(as_data(tiny_arrays()), training=TRAINING, epochs=100_000, time_limit_seconds=20)
    assert time.perf_counter() - started < 25
    assert found.summary.left_out


def test_a_dry_run_tells_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_npz(tmp_path)
    monkeypatch.chdir(tmp_path)
    run = runner(monkeypatch, capsys)
    given = ["search", path.name, "--modalities", "sound,sight", "--target", "label", "--split", "split", "--dry-run"]
    before = sorted(tmp_path.rglob("*"))
    printed = run(*given)
    assert printed.code == 0
    for words in ("tiny: classification, 3 outputs; samples: 72 weights", "VectorEncoder", "the first seed", "It will"):
        assert words in printed.out
    told = json.loads(run(*given, "--json").out)
    assert told["data"]["splits"] == {"weights": 72, "architecture": 24, "test": 24}
    low, high = told["seconds"]
    assert 0 < low <= told["expected_seconds"] <= high
    assert sorted(tmp_path.rglob("*")) == before
    planned = nas.plan(path, modalities="sound,sight", target="label", split="split")
    assert planned.architectures == told["architectures"]
