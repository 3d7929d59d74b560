"""A preset sets what its table says, whatever is given wins over it, and the default one sets nothing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
from nas import RunConfig, TrainingConfig, UserError
from nas.data.fusion_data import FusionData
from nas.encoders import build_encoders
from tests.helpers import tiny_data
from tests.tiny_runs import TRAINING, as_data, no_report, tiny_arrays, tiny_search

QUICK: dict[str, Any] = {"epochs": 2, "channels": 8, "batch_size": 24}


def test_the_default_preset_changes_nothing() -> None:
    assert RunConfig.of() == RunConfig.of(preset="default") == RunConfig()
    assert RunConfig.of(training=TRAINING).training is TRAINING
    assert RunConfig.of(**QUICK).training == TrainingConfig(epochs=2, channels=8, batch_size=24)


def test_what_recorded_results_rest_on_is_as_it_was() -> None:
    # As on the day when they were recorded; to change one of these means to record them anew.
    assert asdict(RunConfig.of(preset="quick").training) == {
        "epochs": 0,
        "max_epochs": 40,
        "batch_size": 64,
        "learning_rate": 3e-3,
        "weight_decay": 1e-2,
        "patience": 10,
        "gradient_clip": 5.0,
        "channels": 48,
        "dropout_rate": 0.2,
        "shift": 0.0,
        "peaks": False,
        "regions": False,
        "preprocessing": "standardize",
        "compile": False,
        "objective": "",
        "class_weights": "none",
        "metric": "",
        "gate": "soft",
        "gate_temperature": "exponential",
        "cost_weight": 0.1,
        "max_multiply_adds": 0.0,
        "label_smoothing": 0.0,
    }


def test_best_trains_longer() -> None:
    assert RunConfig.of(preset="best").training == TrainingConfig(max_epochs=100)


def test_what_is_given_wins_over_the_preset() -> None:
    found = RunConfig.of(preset="best", label_smoothing=0.0, epochs=5)
    assert found.training == TrainingConfig(label_smoothing=0.0, epochs=5, max_epochs=100)


@pytest.mark.parametrize(
    ("preset", "given", "message"),
    [
        ("bset", {}, "unknown preset 'bset'.*best"),
        ("best", {"epoch": 3}, "unknown option 'epoch'; did you mean 'epochs'"),
        ("best", {"training": {"epochs": 3}}, "training must be a TrainingConfig, got .*; give single options by"),
        ("best", {"patience": -1}, "patience must be 0"),
    ],
)
def test_mistakes_are_told(preset: str, given: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        nas.search(as_data(tiny_arrays()), preset=preset, **given)


@pytest.mark.parametrize("peaks", [False, True])
def test_peaks_are_told_by_default_encoders_of_sequences_alone(*, peaks: bool) -> None:
    data = tiny_data({"moves": "sequence", "numbers": "vector"})
    plain, found = build_encoders(data), build_encoders(data, peaks=peaks)
    assert found["moves"].channels == tuple((1 + peaks) * width for width in plain["moves"].channels)
    assert found["numbers"].blueprint == plain["numbers"].blueprint
    blueprint = found["moves"].blueprint
    assert blueprint is not None
    assert ("peaks" in blueprint) is peaks  # without them it is what it has always been


def with_moves() -> FusionData:
    arrays = tiny_arrays()
    noise = np.random.default_rng(1).normal(size=(len(arrays["label"]), 12, 2))
    moves = (noise + arrays["label"][:, None, None]).astype(np.float32)
    return as_data({**arrays, "moves": moves})


def test_a_run_records_what_the_preset_comes_to_and_goes_on_by_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_report(monkeypatch)
    data, out = with_moves(), tmp_path / "run"
    result = tiny_search(data, preset="best", training=None, **QUICK, retrain_seeds=2, encoders="pretrained", out=out)
    config = nas.load_run(out).config
    assert config.training == RunConfig.of(preset="best", **QUICK).training
    assert config.evaluation.ensemble is True
    assert "preset" not in (out / "config.toml").read_text()
    board = result.summary.leaderboard
    assert [row.kind for row in board[-3:]] == ["ensemble", "control", "control"]
    again = nas.retrain(out, data=data, device="cpu", out=tmp_path / "again").summary.leaderboard
    assert [(row.kind, row.scores) for row in again] == [(row.kind, row.scores) for row in board]
    assert nas.evaluate(out, data=data, device="cpu")["repeated"]


@pytest.mark.parametrize(
    ("options", "ensemble"), [({"retrain_seeds": 1}, False), ({"retrain_seeds": 2, "ensemble": False}, False)]
)
def test_the_ensemble_of_a_preset_gives_way(
    options: dict[str, Any], *, ensemble: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_report(monkeypatch)
    tiny_search(as_data(tiny_arrays()), preset="best", training=None, **QUICK, out=tmp_path / "run", **options)
    assert nas.load_run(tmp_path / "run").config.evaluation.ensemble is ensemble
