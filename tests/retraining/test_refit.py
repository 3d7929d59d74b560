"""The found network on both training splits, and the networks of all seeds together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nas
from nas.config import EncoderMode, TrainingConfig
from nas.data.batches import Batch, split_batch
from nas.data.fusion_data import FusionData
from nas.errors import UserError
from nas.network.prediction import predict
from nas.pipeline.search import make_space
from nas.retraining.baselines import Contestant
from nas.retraining.ensemble import average
from nas.retraining.preparation import TrainingSetup, prepare
from nas.retraining.refit import refit, unimodal_epochs
from nas.retraining.retrain import Entry, train_all
from nas.routing.network import static_part
from nas.tasks import Task
from nas.training import epoch_loop
from nas.training.train import train as train_once
from tests.helpers import CPU
from tests.summaries import known
from tests.tiny_runs import OPERATIONS, as_data, no_report, tiny_arrays, tiny_search, write_npz

CONFIG = TrainingConfig(epochs=5, channels=8, batch_size=16, learning_rate=1e-2)


def found_of(data: FusionData, mode: EncoderMode) -> tuple[TrainingSetup, Entry, dict[str, int]]:
    """Late fusion, trained on the weights split."""
    setup = TrainingSetup(
        data=data, space=make_space("layerwise", data, operations=OPERATIONS), training=CONFIG, device=CPU
    )
    prepared, _ = prepare(setup, mode, 0)
    late = next(one.architecture for one in setup.space.references if one.kind == "late")
    return setup, train_all(setup, prepared, [Contestant("found", "found", late)])[0], unimodal_epochs(prepared)


@pytest.mark.parametrize("mode", ["pretrained", "joint"])
def test_every_training_sees_both_splits_for_as_many_epochs_as_were_chosen(
    mode: EncoderMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, found, unimodal = found_of(as_data(tiny_arrays()), mode)
    assert unimodal.keys() == ({"sound", "sight"} if mode == "pretrained" else set())
    unimodal = {name: number for number, name in enumerate(unimodal, start=2)}
    found = replace(found, chosen_epochs=4)
    seen: list[tuple[int, int, bool]] = []
    records: list[Any] = []

    def train(*arguments: Any, **options: Any) -> Any:
        weights: Batch = arguments[2]
        trained = original(*arguments, **options)
        seen.append((len(weights), trained.num_epochs, trained.chosen_epochs == trained.num_epochs))
        return trained

    original = train_once
    monkeypatch.setattr("nas.retraining.preparation.train", train)
    monkeypatch.setattr("nas.retraining.retrain.train", train)
    again = refit(replace(setup, log=records.append), found, unimodal)
    assert seen == [*((96, epochs, True) for epochs in unimodal.values()), (96, 4, True)]  # 72 and 24 samples
    assert again.contestant.kind == "refit"
    assert again.architecture == found.architecture
    outputs, _ = predict(static_part(again.network), split_batch(setup.data, "test", CPU), CPU)
    before, _ = predict(static_part(found.network), split_batch(setup.data, "test", CPU), CPU)
    assert outputs.shape == before.shape
    assert not torch.equal(outputs, before)


def test_the_course_of_the_learning_rate_is_that_of_a_whole_training(monkeypatch: pytest.MonkeyPatch) -> None:
    setup, found, unimodal = found_of(as_data(tiny_arrays()), "joint")
    steps: list[int] = []
    original = epoch_loop.one_cycle
    monkeypatch.setattr(
        "nas.training.epoch_loop.one_cycle",
        lambda *given: (steps.append(given[2]), original(*given))[1],  # type: ignore[func-returns-value]
    )
    refit(setup, replace(found, chosen_epochs=1), unimodal)
    assert steps == [5 * 6]  # five epochs of 96 samples, 16 a step; one of them is run


def test_a_run_keeps_the_network_of_both_splits_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    options = {"modalities": "sound,sight", "target": "label", "split": "split", "encoders": "pretrained"}
    result = tiny_search(
        write_npz(tmp_path), **options, retrain_seeds=2, refit=True, ensemble=True, out=tmp_path / "run"
    )
    *board, _, last = result.summary.leaderboard
    assert last.kind == "control"
    assert [row.kind for row in board[-2:]] == ["refit", "ensemble"]
    assert result.summary.saved == board[-2]
    assert board[-1].multiply_adds == 2 * known(board[0].multiply_adds)
    judged = nas.evaluate(tmp_path / "run", device="cpu")
    assert judged["recorded"] == board[-2].scores[0]
    assert judged["repeated"]
    card = (tmp_path / "run/exports/card.md").read_text()
    assert "The weights handed out were then trained on both." in card
    assert 'of the row "found, trained on both splits", which scored' in card
    again = nas.retrain(tmp_path / "run", device="cpu", out=tmp_path / "again").summary.leaderboard
    assert [(row.kind, row.scores) for row in again[:-2]] == [(row.kind, row.scores) for row in board]


def test_an_ensemble_of_one_is_refused() -> None:
    with pytest.raises(UserError, match="an ensemble averages the networks of several seeds, got retrain_seeds 1"):
        tiny_search(as_data(tiny_arrays()), retrain_seeds=1, ensemble=True)


@pytest.mark.parametrize(
    ("task", "outputs", "wanted"),
    [
        # Probabilities 0.9 and 0.3 have the mean 0.6.
        ("classification", [[[np.log(0.9), np.log(0.1)]], [[np.log(0.3) + 5, np.log(0.7) + 5]]], np.log([0.6, 0.4])),
        ("multilabel", [[[np.log(9)]], [[np.log(3 / 7)]]], np.log([1.5])),
        ("regression", [[[3.0]], [[5.0]]], [4.0]),
    ],
)
def test_probabilities_and_numbers_are_averaged(task: Task, outputs: Any, wanted: Any) -> None:
    found = average(task, [np.array(one, dtype=np.float32) for one in outputs])
    np.testing.assert_allclose(found, [wanted], rtol=1e-5)
