"""What preprocessing is decided on: made sets on which one tells what the other does not, and a choice that holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nas
from nas import TrainingConfig, UserError
from nas.config import EncoderMode
from nas.data.fusion_data import FusionData
from nas.encoders.preprocessing import parse_preprocessing, write_preprocessing
from nas.pipeline.preprocessing import MAX_COLUMNS, candidates, decide_preprocessing
from nas.pipeline.search import make_space
from nas.retraining.preparation import TrainingSetup
from nas.training.build import build_network
from tests.helpers import CPU, tiny_data
from tests.tiny_runs import OPERATIONS, Arrays, as_data, no_report, tiny_search

TRAINING = TrainingConfig(epochs=12, channels=8, batch_size=16, learning_rate=1e-2)

SIZES = (120, 60, 60)


def made_data(*names: str) -> FusionData:
    """Random signs times 1, 1.15 or 1.3; counts from 1 to 10 000 whose class changes at every step; two plain vectors.

    Magnitudes tell the first exactly, sums of a few signs hardly. On a plain scale most counts are the same.
    """
    generator = np.random.default_rng(0)
    label = np.arange(sum(SIZES)) % 3
    swings = generator.choice([-1.0, 1.0], size=(len(label), 24, 2)) * np.array([1, 1.15, 1.3])[label][:, None, None]
    steps = label + 3 * generator.integers(0, 3, size=len(label))
    counts = 10 ** (steps[:, None] / 2) * np.exp(generator.normal(size=(len(label), 6)) / 5)
    plain = generator.normal(size=(len(label), 4)) + 2 * np.eye(3, 4)[label]
    switches = generator.random(size=(len(label), 5)) < 0.2 + 0.3 * label[:, None]
    arrays = {"swings": swings, "counts": counts, "plain": plain, "switches": switches}
    return as_data(
        {
            **{name: arrays[name].astype(np.float32) for name in names or arrays},
            "label": label,
            "split": np.repeat([0, 1, 2], SIZES),
        }
    )


def setup_of(data: FusionData, training: TrainingConfig = TRAINING, **options: Any) -> TrainingSetup:
    space = make_space("layerwise", data, operations=OPERATIONS)
    return TrainingSetup(data=data, space=space, training=training, device=CPU, **options)


def test_what_tells_more_is_chosen_and_said_in_a_line() -> None:
    lines: list[str] = []
    setup, told = decide_preprocessing(setup_of(made_data(), progress=lines.append), "auto", seed=0)
    assert {name: one.chosen for name, one in told.items()} == {
        "swings": "magnitudes",
        "counts": "piecewise",
        "plain": "standardize",
        "switches": "standardize",
    }
    assert setup.training.preprocessing == "swings:magnitudes,counts:piecewise"
    assert not told["switches"].scores  # of two values bins tell nothing
    scores = told["swings"].scores
    assert scores["magnitudes"] > scores["standardize"] + 0.1
    plain, reached = 100 * scores["standardize"], 100 * scores["magnitudes"]
    assert (
        f"swings: magnitudes beside the signal, {reached:.1f} instead of {plain:.1f} % on the architecture split"
        in lines
    )
    assert any(line.startswith("plain: standardized, ") for line in lines)
    network: Any = build_network(setup.space, setup.data, setup.training)
    blueprints = {name: encoder.blueprint for name, encoder in network.encoders.items()}
    assert blueprints["swings"]["magnitudes"] is True
    assert blueprints["counts"]["bins"] == 8
    assert "bins" not in blueprints["plain"]


@pytest.mark.parametrize(
    ("mode", "preprocessing", "expected"),
    [
        ("joint", "auto", "standardize"),
        ("auto", "standardize", "standardize"),
        ("pretrained", "plain:piecewise", "plain:piecewise"),
    ],
)
def test_nothing_is_tried_where_it_is_decided_or_encoders_are_joint(
    mode: EncoderMode, preprocessing: str, expected: str
) -> None:
    lines: list[str] = []
    training = replace(TRAINING, preprocessing=preprocessing)
    setup, told = decide_preprocessing(setup_of(made_data(), training, progress=lines.append), mode, seed=0)
    assert setup.training.preprocessing == expected
    assert write_preprocessing({name: one.chosen for name, one in told.items()}) == expected
    assert not lines


def test_what_cannot_gain_is_not_tried() -> None:
    data = tiny_data({"numbers": "vector", "steps": "sequence", "scan": "map", "words": "tokens"})
    plain = setup_of(data)
    found = {name: candidates(plain, name) for name in data.modalities}
    assert found == {
        "numbers": ["standardize", "piecewise"],
        "steps": ["standardize", "magnitudes"],
        "scan": ["standardize"],
        "words": ["standardize"],
    }
    own = replace(plain, builders={"steps": lambda *_: pytest.fail("an encoder of the user's own")})
    assert candidates(own, "steps") == ["standardize"]
    wide = np.random.default_rng(0).normal(size=(30, MAX_COLUMNS + 1)).astype(np.float32)
    other = np.arange(30, dtype=np.float32)[:, None]
    arrays: Arrays = {"wide": wide, "other": other, "label": np.arange(30) % 2, "split": np.repeat([0, 1, 2], 10)}
    assert candidates(setup_of(as_data(arrays)), "wide") == ["standardize"]


def test_the_choice_holds_from_the_search_to_a_retraining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    data, folder = made_data("swings", "plain"), tmp_path / "run"
    result = tiny_search(data, training=TRAINING, retrain_seeds=2, refit=True, encoders="pretrained", out=folder)
    assert result.summary.preprocessing["swings"].chosen == "magnitudes"
    loaded = nas.load_run(folder)
    assert loaded.config.training.preprocessing == "auto"
    network: Any = loaded.network
    for name, encoder in network.encoders.items():
        inner = encoder.blueprint.get("inner", encoder.blueprint)  # a frozen encoder holds it
        assert inner.get("magnitudes", False) is (name == "swings")
    assert nas.evaluate(folder, data=data, device="cpu")["repeated"]
    again = nas.retrain(folder, data=data, device="cpu", out=tmp_path / "again")
    board = [[(row.name, row.scores) for row in run.summary.leaderboard] for run in (result, again)]
    assert board[0] == board[1]
    assert again.summary.preprocessing == result.summary.preprocessing
    state = result.network.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in again.network.state_dict().items())


@pytest.mark.parametrize("text", ["auto", "standardize"])
def test_a_word_names_no_modality(text: str) -> None:
    assert parse_preprocessing(text) == {}


def test_pairs_are_read_and_written() -> None:
    chosen = parse_preprocessing(" emg : magnitudes,genes:piecewise, gyro:standardize")
    assert chosen == {"emg": "magnitudes", "genes": "piecewise", "gyro": "standardize"}
    assert write_preprocessing(chosen) == "emg:magnitudes,genes:piecewise"
    assert write_preprocessing({"gyro": "standardize"}) == write_preprocessing({}) == "standardize"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("magnitudes", "preprocessing must be auto, standardize, or pairs such as emg:magnitudes"),
        ("", "preprocessing must be auto"),
        ("plain:magnitude", "unknown preprocessing 'magnitude'.*magnitudes"),
        ("plane:piecewise", "unknown modality in preprocessing: 'plane'.*plain"),
        ("plain:magnitudes", "preprocessing magnitudes is for a sequence, but 'plain' is of kind vector"),
    ],
)
def test_mistakes_are_told(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        nas.search(made_data(), preprocessing=text)
