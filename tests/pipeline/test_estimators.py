"""The scikit-learn estimators: scikit-learn's own checks, and what they add to a search.

A search takes a second or two, and the checks fit some two hundred times, so that here `light_search` stands in for
`nas.search`: late fusion, trained as ever, without rivals. Two tests at the end search in earnest.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import nas
from nas import FusionClassifier, FusionData, FusionRegressor, RunResult, UserError
from nas.config import RunConfig
from nas.data.batches import split_batch
from nas.pipeline.estimators import FILE
from nas.records import from_plain
from nas.retraining.preparation import TrainingSetup, training_batches
from nas.seeding import seeded
from nas.summary import DataDescription
from nas.training.build import build_network
from nas.training.train import train
from search_spaces import layerwise
from tests.summaries import make_summary
from tests.tiny_runs import OPERATIONS, no_report, tiny_arrays

HALVES = {"even": slice(0, None, 2), "odd": slice(1, None, 2)}
"""Columns of any array of two or more, for checks that bring arrays of their own."""

LIGHT = {"epochs": 12, "channels": 8, "batch_size": 16, "learning_rate": 0.02, "label_smoothing": 0.0}

REAL: dict[str, Any] = {
    "preset": "quick",
    "operations": list(OPERATIONS),
    "training": {"epochs": 8, "channels": 8, "batch_size": 12, "learning_rate": 0.03},
    "retrain_seeds": 1,
    "device": "cpu",
}


def light_search(data: FusionData, **options: Any) -> RunResult:
    """Trains late fusion and nothing else."""
    run_config = RunConfig.of(**options)
    config, seed = run_config.training, run_config.search.seed
    depths = dict.fromkeys(data.modalities, 3)
    space = layerwise(depths, operations=OPERATIONS)
    architecture = next(one.architecture for one in space.references if one.kind == "late")
    cpu = torch.device("cpu")
    with seeded(seed):
        network = build_network(space.only(architecture), data, config)
    setup = TrainingSetup(data=data, space=space, training=config, device=cpu)
    weights, _ = training_batches(setup, data)
    done = train(
        network,
        data.task,
        weights,
        split_batch(data, "architecture", cpu),
        config,
        seed=seed,
        device=cpu,
    )
    summary = make_summary(architecture, depths, data=from_plain(DataDescription, data.describe()))
    return RunResult(
        architecture=architecture,
        network=done.network.eval(),
        summary=summary,
        config=run_config,
        folder=None,
        report=None,
    )


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """`light_search` in the place of the search."""
    monkeypatch.setattr("nas.pipeline.estimators.search", light_search)


ROUNDED = "it asks for 1e-7; networks compute in float32, where sums of batches of another size differ by about 1e-6"

HELD_OUT = "it asks a weight of 2 to be the same as a second copy; of other samples others are held out and drawn"

EXPECTED_TO_FAIL = {
    "check_methods_subset_invariance": ROUNDED,
    "check_methods_sample_order_invariance": ROUNDED,
    "check_sample_weight_equivalence_on_dense_data": HELD_OUT,
}
"""Whether the first two do depends on the machine. `test_batches_do_not_show` asks for what holds on all."""


@pytest.mark.usefixtures("light")
@parametrize_with_checks(  # type: ignore[untyped-decorator]  # scikit-learn has no types
    [FusionClassifier(modalities=HALVES, training=LIGHT), FusionRegressor(modalities=HALVES, training=LIGHT)],
    expected_failed_checks=lambda _estimator: EXPECTED_TO_FAIL,
)
def test_it_is_an_estimator_of_scikit_learn(estimator: Any, check: Any) -> None:
    """All other checks are passed; two do not apply and skip themselves.

    `check_array_api_input` needs SCIPY_ARRAY_API, and one check of the representation of labels needs a
    `decision_function`, which a network that tells probabilities does not have.
    """
    check(estimator)


def sums(count: int = 60, *, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """A table of two modalities of two columns, and words for the sign of a sum over both."""
    values = np.random.default_rng(seed).normal(size=(count, 4))
    frame = pd.DataFrame(values, columns=["l0", "l1", "r0", "r1"])
    return frame, np.where(values[:, 0] + values[:, 2] > 0, "up", "down")


NAMED = {"left": ["l0", "l1"], "right": ["r0", "r1"]}


@pytest.mark.usefixtures("light")
def test_columns_are_named_numbered_or_sliced() -> None:
    frame, y = sums()
    numbered = {"left": [0, 1], "right": [-2, -1]}
    sliced = {"left": slice(2), "right": slice(2, None)}
    by_name = FusionClassifier(modalities=NAMED, training=LIGHT).fit(frame, y)
    assert by_name.columns_ == {"left": [0, 1], "right": [2, 3]}
    assert list(by_name.feature_names_in_) == ["l0", "l1", "r0", "r1"]
    assert by_name.score(frame, y) > 0.9
    expected = by_name.predict_proba(frame)
    for modalities in (numbered, sliced):
        model = FusionClassifier(modalities=modalities, training=LIGHT).fit(frame.to_numpy(), y)
        np.testing.assert_array_equal(model.predict_proba(frame.to_numpy()), expected)
    as_dict = FusionClassifier(training=LIGHT, kinds={"left": "vector"})
    as_dict.fit({"left": frame[["l0", "l1"]].to_numpy(), "right": frame[["r0", "r1"]].to_numpy()}, y)
    both = {"left": frame[["l0", "l1"]], "right": frame[["r0", "r1"]]}
    np.testing.assert_array_equal(as_dict.predict_proba(both), expected)
    assert as_dict.score(both, y) == by_name.score(frame, y)


def test_fit_takes_sample_weights_and_holds_out_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[FusionData] = []

    def remember(data: FusionData, **options: Any) -> RunResult:
        seen.append(data)
        return light_search(data, **options)

    monkeypatch.setattr("nas.pipeline.estimators.search", remember)
    frame, y = sums()
    groups = np.arange(60) // 4
    model = FusionClassifier(modalities=NAMED, training=LIGHT)
    model.fit(frame, y, np.arange(60) + 1.0, groups=groups)
    np.testing.assert_array_equal(seen[0].sample_weights, np.arange(60) + 1.0)
    held = [set(groups[indices]) for indices in seen[0].splits.values()]
    assert sum(map(len, held)) == 15
    assert [len(indices) for indices in seen[0].splits.values()] == pytest.approx([42, 12, 6], abs=4)
    with pytest.raises(UserError, match=r"sample_weights hold -1\.0 at sample 2"):
        model.fit(frame, y, [1.0, 1.0, -1.0, *[1.0] * 57])


@pytest.mark.usefixtures("light")
def test_it_is_tuned_and_piped_like_any_other() -> None:
    frame, y = sums()
    model = make_pipeline(StandardScaler(), FusionClassifier(modalities=HALVES))
    grid = {"fusionclassifier__training": [{**LIGHT, "epochs": 1}, LIGHT]}
    search = GridSearchCV(model, grid, cv=2).fit(frame, y)
    assert search.best_params_["fusionclassifier__training"] == LIGHT
    assert set(search.predict(frame)) == {"up", "down"}


@pytest.mark.usefixtures("light")
def test_labels_and_several_numbers_are_learned_too() -> None:
    frame, _ = sums()
    numbers = frame[["l0", "r0"]].to_numpy()
    labels = (numbers > 0).astype(int)
    classifier = FusionClassifier(modalities=NAMED, training=LIGHT).fit(frame, labels)
    assert classifier.predict_proba(frame).shape == classifier.predict(frame).shape == (60, 2)
    np.testing.assert_array_equal(classifier.predict(frame), classifier.predict_proba(frame) > 0.5)
    assert classifier.classes_.tolist() == [0, 1]
    assert (classifier.predict(frame) == labels).mean() > 0.9
    regressor = FusionRegressor(modalities=NAMED, training=LIGHT).fit(frame, numbers)
    assert regressor.predict(frame).shape == (60, 2)
    assert regressor.score(frame, numbers) > 0.5


@pytest.mark.usefixtures("light")
def test_a_dict_marks_what_samples_lack() -> None:
    frame, y = sums()
    arrays: dict[str, Any] = {"left": frame[["l0", "l1"]].to_numpy(copy=True), "right": frame[["r0", "r1"]].to_numpy()}
    arrays["left"][::3] = np.nan
    arrays["present/left"] = np.arange(60) % 3 > 0
    model = FusionClassifier(training=LIGHT).fit(arrays, y)
    assert model.predict(arrays).shape == (60,)
    with pytest.raises(UserError, match="modality 'left' has NaN"):
        model.predict({name: arrays[name] for name in ("left", "right")})


@pytest.mark.usefixtures("light")
def test_seven_tenths_train_and_a_tenth_is_held_out_for_the_leaderboard() -> None:
    frame, y = sums(100)
    model = FusionClassifier(modalities=NAMED, training=LIGHT).fit(frame, y)
    assert model.run_.summary.data.splits == {"weights": 70, "architecture": 20, "test": 10}


@pytest.mark.usefixtures("light")
def test_a_seed_repeats_and_another_one_does_not() -> None:
    frame, y = sums()
    states = (0, 0, 1, np.random.RandomState(0), np.random.RandomState(0))
    models = [FusionClassifier(modalities=NAMED, training=LIGHT, random_state=state) for state in states]
    told = [model.fit(frame, y).predict_proba(frame) for model in models]
    np.testing.assert_array_equal(told[0], told[1])
    np.testing.assert_array_equal(told[3], told[4])
    assert (told[0] != told[2]).any()
    assert (told[0] != told[3]).any()


MISTAKES: dict[str, tuple[Any, Any, str]] = {
    "columns that nobody shares out": (None, None, "X is one array; share out its columns"),
    "unknown name": ({**NAMED, "left": ["l0", "l2"]}, None, "unknown column of modality 'left': 'l2'. Known: l0, l1"),
    "number out of range": ({**NAMED, "left": [4]}, None, "column 4 of modality 'left' is not there; X has 4 columns"),
    "no list": ({**NAMED, "left": "l0"}, None, "columns of modality 'left' are 'l0'; expected a list"),
    "no column": ({**NAMED, "left": slice(9, None)}, None, "modality 'left' has no column"),
    "one modality": ({"left": ["l0"]}, None, "fusion needs two or more modalities, got left"),
    "bad name": ({"a b": [0], "right": [1]}, None, "modality name 'a b' cannot be used"),
    "a dict beside columns": (NAMED, {"left": np.zeros((60, 2)), "right": np.zeros((60, 2))}, "leave modalities out"),
    "unequal length": (
        None,
        {"left": np.zeros((60, 2)), "right": np.zeros((59, 2))},
        "modality 'right' has 59 samples",
    ),
}


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line(mistake: str) -> None:
    modalities, given, message = MISTAKES[mistake]
    frame, y = sums()
    with pytest.raises(UserError, match=message):
        FusionClassifier(modalities=modalities, training=LIGHT).fit(frame if given is None else given, y)


@pytest.mark.usefixtures("light")
def test_what_is_predicted_has_the_form_of_what_was_fitted() -> None:
    frame, y = sums()
    both = {"left": frame[["l0", "l1"]].to_numpy(), "right": frame[["r0", "r1"]].to_numpy()}
    of_columns = FusionClassifier(modalities=NAMED, training=LIGHT).fit(frame, y)
    with pytest.raises(UserError, match="leave modalities out"):
        of_columns.predict(both)
    of_dict = FusionClassifier(training=LIGHT).fit(both, y)
    with pytest.raises(UserError, match="was fitted to a dict of arrays"):
        of_dict.predict(frame)
    with pytest.raises(UserError, match="the data has no modality 'right'"):
        of_dict.predict({"left": both["left"]})


def test_a_real_search_is_scored_across_folds() -> None:
    arrays = tiny_arrays()
    X, y = np.hstack([arrays["sound"], arrays["sight"]]), arrays["label"]  # noqa: N806
    modalities = {"sound": slice(4), "sight": slice(4, None)}
    model = make_pipeline(StandardScaler(), FusionClassifier(modalities=modalities, **REAL))
    scores = cross_val_score(model, X, y, cv=2)
    assert scores.shape == (2,)
    assert scores.min() > 0.5  # a third of the samples are of each class


def test_a_real_search_is_saved_and_loaded_without_pickling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    arrays = tiny_arrays()
    X = {name: arrays[name] for name in ("sound", "sight")}  # noqa: N806
    y = np.array(["none", "some", "much"])[arrays["label"]]
    model = FusionClassifier(**{**REAL, "random_state": 7}).fit(X, y)
    assert model.leaderboard_[0].kind == "found"
    assert {"sound", "sight", "late fusion"} <= {row.name for row in model.leaderboard_}
    assert model.verdict_.startswith("Can't tell yet")  # of one seed, on a tenth of 120 samples
    assert model.run_.summary.seeds == (7,)

    def never(*_arguments: object, **_options: object) -> None:
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, never)
    model.save(tmp_path / "model")
    loaded = FusionClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert set(loaded.predict(X)) <= set(y)
    assert loaded.get_params() == model.get_params()
    assert clone(loaded).get_params() == model.get_params()
    assert (loaded.leaderboard_, loaded.verdict_) == (model.leaderboard_, model.verdict_)
    # It is a run like any other.
    found = nas.predict(tmp_path / "model", X)
    np.testing.assert_array_equal(found.probabilities, model.predict_proba(X))
    assert set(map(str, found.labels if found.labels is not None else ())) <= set(y)
    with pytest.raises(UserError, match="is not empty"):
        model.save(tmp_path / "model")
    model.save(tmp_path / "model", overwrite=True)
    with pytest.raises(UserError, match="damaged, or of another estimator: 'FusionClassifier', not FusionRegressor"):
        FusionRegressor.load(tmp_path / "model")
    whole = json.loads((tmp_path / "model" / FILE).read_text())
    for key, value in {
        "format_version": 2,
        "params": {"nothing": 1},
        "classes": ["a"],
        "dtype": "|V9",
        "columns": [1],
        "n_features_in": "many",
    }.items():
        (tmp_path / "model" / FILE).write_text(json.dumps({**whole, key: value}))
        with pytest.raises(UserError, match="is damaged, or of another estimator"):
            FusionClassifier.load(tmp_path / "model")
    (tmp_path / "model" / FILE).unlink()
    with pytest.raises(UserError, match=r"was not saved by an estimator; nas\.predict takes any run"):
        FusionClassifier.load(tmp_path / "model")


def test_a_regressor_of_columns_is_saved_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    frame, _ = sums(30)
    y = (frame["l0"] + frame["r0"]).to_numpy()
    model = FusionRegressor(modalities={"left": ["l0", "l1"], "right": slice(2, 4)}, **REAL).fit(frame, y)
    model.save(tmp_path)
    loaded = FusionRegressor.load(tmp_path)
    np.testing.assert_array_equal(loaded.predict(frame), model.predict(frame))
    assert loaded.predict(frame).shape == (30,)
    assert loaded.get_params() == model.get_params()
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.predict(frame[["r1", "l0", "l1", "r0"]])


def test_what_is_no_plain_value_cannot_be_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.pipeline.estimators.search", light_search)
    frame, y = sums()
    state = np.random.RandomState(0)
    model = FusionClassifier(modalities=NAMED, training=LIGHT, random_state=state).fit(frame, y)
    with pytest.raises(UserError, match="parameter random_state is a RandomState, which is no plain value"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
