"""The controls without a network, fitted for real on tiny data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

import nas
from nas import FusionData, TrainingConfig
from nas.data.fusion_data import Kind
from nas.network.fusion_network import FusionNetwork
from nas.pipeline.search import RunResult, make_space
from nas.records import plain
from nas.retraining import controls
from nas.retraining.baselines import Contestant
from nas.retraining.controls import pooled
from nas.retraining.preparation import TrainingSetup
from nas.retraining.retrain import Entry, Judged
from nas.saved.run import contestants_of
from nas.space.architecture import Architecture
from tests.helpers import CPU, tiny_data
from tests.summaries import known
from tests.tiny_runs import finished_run

KINDS: dict[str, Kind] = {
    "steps": "sequence",
    "numbers": "vector",
    "words": "tokens",
    "picture": "map",
    "ready": "features",
}
_NOBODY = Architecture.chain("layerwise", ())
LIKE = Entry(
    contestant=Contestant("found", "found", _NOBODY),
    seed=0,
    architecture=_NOBODY,
    network=cast(FusionNetwork, None),
    architecture_score=0.0,
    train_seconds=0.0,
    full_length_seconds=0.0,
)


def _fit(data: FusionData, **training: Any) -> dict[str, Judged]:
    setup = TrainingSetup(
        data=data, space=make_space("layerwise", data), training=TrainingConfig(**training), device=CPU
    )
    return {one.entry.contestant.name: one for one in controls.controls(setup, LIKE)}


def _accuracy(judged: Judged, data: FusionData) -> float:
    return float((judged.outputs.argmax(axis=1) == data.targets[data.splits["test"]]).mean())


def _signs(count: int = 900, **changed: NDArray[Any]) -> dict[str, Any]:
    """A class that is the sign of a product, so that no sum over modalities tells it."""
    generator = np.random.default_rng(0)
    arrays = {name: generator.normal(size=(count, 2)).astype(np.float32) for name in ("sound", "sight")}
    label = (arrays["sound"][:, 0] * arrays["sight"][:, 1] > 0).astype(int)
    return {**arrays, "label": label, "split": np.arange(count) % 3, **changed}


def _as_data(arrays: dict[str, Any], **options: Any) -> FusionData:
    inputs = {name: arrays[name] for name in ("sound", "sight")}
    return FusionData.from_arrays(inputs, arrays["label"], splits=arrays["split"], **options)


def _only(data: FusionData, of: NDArray[Any], wanted: tuple[int, ...]) -> FusionData:
    """With nothing else left in the weights split, as where the samples that are drawn of it lack a rare class."""
    weights = data.splits["weights"]
    return replace(data, splits={**data.splits, "weights": weights[np.isin(of[weights], wanted)]})


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_every_task_and_kind_of_modality_has_both_twice_the_same(task: str) -> None:
    present = {name: np.arange(90) % 4 != place for place, name in enumerate(KINDS)}
    data = tiny_data(KINDS, count=90, task=task, present=present)
    first, again = _fit(data), _fit(data)
    linear = "ridge regression" if task == "regression" else "logistic regression"
    assert list(first) == [linear, "gradient boosting"]
    for name, judged in first.items():
        assert judged.outputs.shape == (len(data.splits["test"]), data.num_outputs)
        assert judged.outputs.dtype == np.float32
        assert np.isfinite(judged.outputs).all()
        np.testing.assert_array_equal(judged.outputs, again[name].outputs)
        assert judged.entry.held_out.shape == (len(data.splits["architecture"]), data.num_outputs)
        assert judged.entry.contestant == Contestant(name, "control", None)
        assert (judged.parameters, judged.multiply_adds) == (None, None)


def test_trees_solve_what_no_sum_can_tell() -> None:
    data = _as_data(_signs())
    found = _fit(data)
    assert _accuracy(found["gradient boosting"], data) > 0.9
    assert _accuracy(found["logistic regression"], data) < 0.65  # at chance: two standard errors are 6 points
    assert found["gradient boosting"].entry.architecture_score > 0.9


def test_numbers_and_labels_are_predicted_in_their_own_column() -> None:
    arrays = _signs()
    labels = np.stack([arrays["label"], arrays["sight"][:, 0] > 0.5], axis=1)
    data = _as_data({**arrays, "label": labels}, task="multilabel")
    for name, least in (("gradient boosting", (0.9, 0.9)), ("logistic regression", (0.4, 0.9))):
        right = ((_fit(data)[name].outputs > 0) == data.targets[data.splits["test"]]).mean(axis=0)
        assert (right > least).all()
    numbers = np.stack([100 + 7 * arrays["sound"][:, 0], -3 * arrays["sight"][:, 1]], axis=1)
    data = _as_data({**arrays, "label": numbers}, task="regression")
    found = _fit(data)
    for judged in found.values():
        error = np.abs(judged.outputs - data.targets[data.splits["test"]]).mean(axis=0)
        assert (error < 0.2 * numbers.std(axis=0)).all()
    assert np.abs(found["ridge regression"].outputs - data.targets[data.splits["test"]]).max() < 0.1  # it is linear


def test_the_test_split_has_no_say_in_the_fit() -> None:
    arrays = _signs()
    clean = _fit(_as_data(arrays))
    test = np.flatnonzero(arrays["split"] == 2)
    poisoned = _signs()
    poisoned["label"][test] = 1 - poisoned["label"][test]
    poisoned["sight"][test[:50]] = 1e6
    for name, judged in _fit(_as_data(poisoned)).items():
        assert judged.entry.architecture_score == clean[name].entry.architecture_score
        np.testing.assert_array_equal(judged.entry.held_out, clean[name].entry.held_out)
        np.testing.assert_array_equal(judged.outputs[50:], clean[name].outputs[50:])
        assert (judged.outputs[:50] != clean[name].outputs[:50]).any()  # the poison was there


def test_the_architecture_split_chooses_but_does_not_fit() -> None:
    arrays = _signs()
    held_out = np.flatnonzero(arrays["split"] == 1)
    one = _fit(_as_data(arrays))["gradient boosting"].entry
    arrays["label"][held_out] = 1 - arrays["label"][held_out]
    other = _fit(_as_data(arrays))["gradient boosting"].entry
    assert one.architecture_score > 0.9
    assert other.architecture_score < 0.6  # it never learned the turned labels


@pytest.mark.parametrize("seen", [(0, 2), (1,)])
def test_a_class_that_training_never_saw_is_the_least_probable(seen: tuple[int, ...]) -> None:
    arrays = _signs()
    arrays["label"] = np.digitize(arrays["sound"][:, 0], [-0.5, 0.5])
    for judged in _fit(_only(_as_data(arrays), arrays["label"], seen)).values():
        assert np.isfinite(judged.outputs).all()
        assert set(judged.outputs.argmax(axis=1)) == set(seen)
        np.testing.assert_allclose(np.exp(judged.outputs.astype(np.float64)).sum(axis=1), 1, atol=1e-5)
    labels = np.stack([np.ones(900), arrays["label"] == seen[0]], axis=1)
    labels[:9] = 0  # of which the weights split sees nothing
    data = _only(_as_data({**arrays, "label": labels}, task="multilabel"), labels[:, 0], (1,))
    for judged in _fit(data).values():
        assert (judged.outputs[:, 0] > 10).all()


def test_balanced_weights_find_more_of_a_rare_class() -> None:
    arrays = _signs()
    noise = np.random.default_rng(1).normal(size=900)
    arrays["label"] = (arrays["sound"][:, 0] + noise > 2.2).astype(int)
    data = _as_data(arrays)
    plain, balanced = _fit(data), _fit(data, class_weights="balanced")
    for name in plain:
        assert balanced[name].outputs.argmax(axis=1).sum() > 1.5 * plain[name].outputs.argmax(axis=1).sum()


def test_inputs_are_pooled_by_their_kind() -> None:
    generator = np.random.default_rng(0)
    steps = generator.normal(size=(12, 16, 2)).astype(np.float32)
    words = np.array([[3, 3, 0], [5, 3, 0], [5, 0, 0]] * 4)
    there = np.arange(12) != 1
    data = FusionData.from_arrays(
        {"steps": steps, "words": words},
        np.arange(12) % 2,
        kinds={"words": "tokens"},
        splits=np.repeat([0, 1, 2], 4),
        present={"words": there},
    )
    known = np.arange(4)
    x = pooled(data, known)["weights"]
    assert x.shape == (4, 1 + (3 + 8) * 2 + 2 + 1)
    raw = np.hstack([steps[:4].mean(axis=1), steps[:4].std(axis=1), steps[:4].max(axis=1), steps[:4, :2].mean(axis=1)])
    np.testing.assert_allclose(x[:, 1:9], (raw - raw.mean(axis=0)) / raw.std(axis=0), rtol=1e-4)
    # Samples 0, 2 and 3 have two, none and two of word 3, and none, one and none of word 5; sample 1 has no words.
    some, none = [0.5**0.5, -(0.5**0.5), 1], [-(2**0.5), 2**0.5, 1]
    np.testing.assert_allclose(x[:, -3:], np.array([some, [0, 0, 0], none, some], dtype=np.float64))


def test_what_is_wide_or_long_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "FEATURES", 8)
    monkeypatch.setattr(controls, "COLUMNS", 50)
    monkeypatch.setattr(controls, "SAMPLES", 40)
    monkeypatch.setattr(controls, "TREES", 9)
    data = tiny_data({"picture": "map", "numbers": "vector"}, count=120)
    features = pooled(data, data.splits["weights"])
    assert {some.shape[1] for some in features.values()} == {1 + 4 + 3}  # zeros, components, and what is narrow
    column = data.targets[data.splits["weights"]]
    told = list(controls._boosting(features["weights"], column, 3, 3, None, None)(features["test"]))
    assert len(told) == 3
    assert set(_fit(data)) == {"logistic regression", "gradient boosting"}


@pytest.fixture
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return finished_run(tmp_path_factory)


def test_a_run_shows_both_and_never_finds_them(finished: RunResult) -> None:
    board = [row for row in finished.summary.leaderboard if row.kind == "control"]
    assert [row.name for row in board] == ["logistic regression", "gradient boosting"]
    for row in board:
        assert row.scores[0] == row.scores[1]  # one fit stands for both seeds
        assert row.name not in known(finished.summary.tournament).errors_behind
        assert row.in_words == "all inputs, no network"
        gap = known(row.difference)
        assert gap.low <= gap.mean <= gap.high
    assert "control" not in {one.kind for one in contestants_of(finished.summary)}
    assert finished.report is not None
    assert finished.folder is not None
    page = finished.report.read_text()
    for row in board:
        assert row.name in page
        assert f"{row.name},control," in (finished.folder / "figures" / "leaderboard.csv").read_text()
    assert plain(nas.load_run(finished.folder).summary.leaderboard) == plain(finished.summary.leaderboard)
    cost = (finished.folder / "figures" / "cost.csv").read_text()
    assert "gradient boosting,control,,," in cost  # it has no place on an axis of multiply-adds
