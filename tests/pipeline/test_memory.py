"""A search on data that is larger than it may be: what it finds, and what can be done with the run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
from nas import RunResult, UserError
from nas.data.batches import Batch, batch_of
from nas.data.stored import StoredArray
from nas.diagnostics import recombined
from nas.report import report
from nas.retraining import controls, preparation
from tests.interruptions import Interrupted, interrupted_at
from tests.strategies.problems import same_tensors
from tests.tiny_runs import DYNAMIC, TRAINING, no_report, tiny_search

COUNT = 90
MEMORY = 12_000
"""A batch of 24 samples fits; the sequences and the taps do not."""

NAMED: dict[str, Any] = {"modalities": "clip,shape", "target": "label", "split": "split"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Arrays of sequences and pictures that together tell four classes, one file each."""
    generator = np.random.default_rng(0)
    first, second = np.arange(COUNT) % 2, np.arange(COUNT) // 2 % 2
    clip = generator.normal(size=(COUNT, 8, 3)) + 2 * first[:, None, None]
    shape = generator.integers(0, 100, size=(COUNT, 6, 6)) + 100 * second[:, None, None]
    arrays: dict[str, Any] = {
        "clip": clip.astype(np.float32),
        "shape": shape.astype(np.uint8),
        "label": 2 * first + second,
    }
    arrays["split"] = np.repeat([0, 1, 2], [54, 18, 18])
    (tmp_path / "data").mkdir()
    for name, array in arrays.items():
        np.save(tmp_path / "data" / f"{name}.npy", array)
    return tmp_path / "data"


def _scores(run: RunResult) -> list[tuple[str, tuple[float, ...]]]:
    return [(row.name, row.scores) for row in run.summary.leaderboard]


@pytest.mark.parametrize(
    "options",
    [
        {"encoders": "pretrained"},
        {"encoders": "joint", "training": replace(TRAINING, preprocessing="auto")},
        {"encoders": "joint", "strategy": "darts", "baselines": "few"},
        pytest.param({"encoders": "joint", "training": DYNAMIC, "dynamic": ["modality"]}, marks=pytest.mark.slow),
        pytest.param({"encoders": "pretrained", "objective": "gradient_blending"}, marks=pytest.mark.slow),
    ],
    ids=["pretrained", "joint", "darts", "gate", "objective"],
)
def test_what_is_streamed_comes_to_the_same_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    taps: list[type] = []
    cached = preparation.cached_taps

    def spied(*given: Any) -> nas.FusionData:
        made = cached(*given)
        taps.extend(type(array) for one in made.modalities.values() for array in one.arrays)
        return made

    monkeypatch.setattr(preparation, "cached_taps", spied)
    whole = tiny_search(folder, **NAMED, **options)
    assert StoredArray not in taps
    streamed = tiny_search(folder, **NAMED, **options, memory_bytes=MEMORY)
    assert (StoredArray in taps) == (options["encoders"] == "pretrained")
    assert streamed.architecture == whole.architecture
    assert same_tensors(streamed.network.state_dict(), whole.network.state_dict())
    assert _scores(streamed) == _scores(whole)
    assert streamed.summary.diagnosis == whole.summary.diagnosis
    assert streamed.summary.data == whole.summary.data


@pytest.mark.slow
def test_a_run_keeps_to_its_memory_wherever_it_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = tiny_search(folder, **NAMED, out=tmp_path / "whole", memory_bytes=MEMORY)
    with interrupted_at(monkeypatch, 20), pytest.raises(Interrupted):
        tiny_search(folder, **NAMED, out=tmp_path / "run", memory_bytes=MEMORY)
    tiny_search(folder, **NAMED, out=tmp_path / "run", resume=True)  # with any memory
    run = Path(shutil.move(tmp_path / "whole", tmp_path / "elsewhere"))
    found = nas.load_run(run)
    assert found.config.source.memory_bytes == MEMORY
    for one in (found, nas.load_run(tmp_path / "run")):
        assert same_tensors(one.network.state_dict(), wanted.network.state_dict())
    assert nas.evaluate(run, device="cpu")["repeated"]
    read: list[bool] = []

    def noted(*given: Any, is_streamed: bool) -> Batch:
        read.append(is_streamed)
        return batch_of(*given, is_streamed=is_streamed)

    monkeypatch.setattr("nas.pipeline.predict.batch_of", noted)
    told = nas.predict(run, folder, device="cpu")
    held = nas.predict(run, folder, device="cpu", memory_bytes=10**9)
    np.testing.assert_array_equal(held.outputs, told.outputs)
    assert read[0] is True
    assert read[-1] is False
    arrays = {name: np.load(folder / f"{name}.npy") for name in ("clip", "shape")}
    np.testing.assert_array_equal(told.outputs, nas.predict(run, arrays, device="cpu").outputs)
    (made,) = nas.export(run, formats=["torch"])
    assert made.difference is not None
    assert made.difference < 1e-4


def test_memory_for_less_than_a_batch_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a batch of 64 samples takes 23\.8 kB, but data may take 12\.0 kB of memory"):
        nas.search(folder, **NAMED, memory_bytes=MEMORY, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_fewer_samples_are_fitted_and_diagnosed_where_memory_is_scarce(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controls, "FEWEST", 40)
    monkeypatch.setattr(recombined, "FEWEST", 10)
    lines: list[str] = []
    run = tiny_search(folder, **NAMED, memory_bytes=MEMORY, progress=lines.append, out=tmp_path / "run")
    assert [line for line in lines if "drawing" in line] == [
        "drawing 40 of 54 training samples for what is no network",
        "drawing 10 of 18 test samples for the diagnosis",
    ]
    assert run.summary.on_fewer == (
        "logistic regression and gradient boosting learned from 40 of 54 training samples",
        "diagnostics looked at 10 of 18 test samples",
    )
    page = report(tmp_path / "run").read_text()
    assert "Diagnostics looked at 10 of 18 test samples, drawn at random." in page
    assert run.summary.diagnosis.additivity.samples == 10
    assert nas.evaluate(tmp_path / "run", device="cpu")["repeated"]
