"""Searches that take a second or two, and one finished run that several modules share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import nas
from benchmarks.export import with_gate
from nas import FusionData, RunResult, TrainingConfig
from nas.runs.files import Folder
from nas.runs.folder import RunFolder
from nas.space.architecture import Architecture, Choice
from search_spaces import layerwise

SIZES = (72, 24, 24)
"""Of weights, architecture and test; 40 samples of each class."""

OPERATIONS = ("additive", "multiplicative")

TRAINING = TrainingConfig(epochs=3, channels=8, batch_size=24, preprocessing="standardize")

DYNAMIC = replace(TRAINING, epochs=6, learning_rate=0.03, cost_weight=20.0)
"""At so high a price of multiply-adds a search in a dynamic space ends in an architecture with a gate."""

Arrays = dict[str, NDArray[Any]]


def tiny_arrays(*, seed: int = 0) -> Arrays:
    """Two vectors that both tell three classes, one better than the other; the splits follow one another."""
    generator = np.random.default_rng(seed)
    count = sum(SIZES)
    label = np.arange(count) % 3
    sound = generator.normal(size=(count, 4)) + 2 * np.eye(3, 4)[label]
    sight = generator.normal(size=(count, 3)) + 3 * np.eye(3)[label]
    return {
        "sound": sound.astype(np.float32),
        "sight": sight.astype(np.float32),
        "label": label,
        "split": np.repeat([0, 1, 2], SIZES),
    }


def as_data(arrays: Arrays, **options: Any) -> FusionData:
    """Arrays as `tiny_arrays` gives them as a data set."""
    inputs = {name: array for name, array in arrays.items() if name not in ("label", "split")}
    return FusionData.from_arrays(inputs, arrays["label"], splits=arrays["split"], **options)


def tiny_search(data: FusionData | str | Path, **options: Any) -> RunResult:
    """Searches two operations at three depths, with one seed, on the processor."""
    given: dict[str, Any] = {
        "operations": OPERATIONS,
        "preset": "quick",
        "training": TRAINING,
        "retrain_seeds": 1,
        "device": "cpu",
    }
    return nas.search(data, **{**given, **options})


def write_npz(folder: Path) -> Path:
    """The arrays of `tiny_arrays` as a file."""
    path = folder / "tiny.npz"
    np.savez(path, **tiny_arrays())  # type: ignore[arg-type]  # the stub takes the keys for its own argument
    return path


@cache
def _finished(folder: Path) -> RunResult:
    folder.mkdir()
    return tiny_search(
        write_npz(folder),
        modalities="sound,sight",
        target="label",
        split="split",
        encoders="pretrained",
        retrain_seeds=2,
        seed=3,
        length=2.0,
        out=folder / "run",
        command="the command",
    )


def finished_run(factory: pytest.TempPathFactory) -> RunResult:
    """A run of two seeds, 3 and 4, with pretrained encoders; the same one for the whole session, so only to be read."""
    return _finished(factory.getbasetemp() / "finished")


@cache
def _dynamic(folder: Path, finished: Path) -> Path:
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("exports", "figures", "tensorboard", "report.html"))
    found = nas.load_run(folder).architecture
    data = nas.load_data(write_npz(folder.parent), modalities="sound,sight", target="label", split="split")
    cheap = Architecture.chain(found.space, [("fusion0", Choice("carry", ("sight@0",)))])
    both = Architecture.chain(found.space, [("fusion2", Choice("additive", ("sound@2", "sight@2")))])
    with pytest.MonkeyPatch.context() as patch:
        no_report(patch)
        space = layerwise(dict.fromkeys(data.modalities, 3), operations=OPERATIONS)
        with_gate(folder, space, Architecture.gated([cheap, both], ["sight@0"]), data)
        nas.retrain(folder, data=data, retrain_seeds=1, device="cpu")
    return folder


def dynamic_run(factory: pytest.TempPathFactory) -> Path:
    """A finished run of two routes, the same one for the whole session, so only to be read; without a report."""
    finished = finished_run(factory).folder
    assert finished is not None
    return _dynamic(factory.getbasetemp() / "dynamic" / "run", finished)


def no_report(patch: pytest.MonkeyPatch) -> None:
    """Leaves out the figures, which take longer than everything else together."""
    nothing: Callable[[RunFolder, Folder], Path] = lambda _run, target: target.path / "report.html"  # noqa: E731
    patch.setattr("nas.pipeline.search.draw_report", nothing)
