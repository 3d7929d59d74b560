"""Sample weights: what they are, who uses them, and that scores count samples alike unless they are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import nas
from nas import FusionData, TrainingConfig
from nas.errors import DataWarning
from nas.metrics import METRICS, sample_losses, score, weighted_importance
from nas.retraining.baselines import Contestant
from nas.retraining.controls import controls
from nas.retraining.preparation import TrainingSetup, prepare, raw
from nas.retraining.retrain import train_all
from search_spaces import layerwise
from tests.data.helpers import refused, small
from tests.helpers import CPU
from tests.tiny_runs import OPERATIONS, as_data, tiny_arrays, tiny_search

COUNT = 120


def _setup(data: FusionData, **options: Any) -> TrainingSetup:
    space = layerwise({"sound": 3, "sight": 3}, operations=OPERATIONS)
    return TrainingSetup(data=data, space=space, training=TrainingConfig(**{"channels": 8, **options}), device=CPU)


def test_weights_by_hand() -> None:
    found = weighted_importance(torch.tensor([0, 1, 1]), torch.tensor([1.0, 4.0, 1.0]))
    assert found.tolist() == [0.5, 2.0, 0.5]
    balanced = torch.tensor([[2.0, 1.0], [1.0, 1.0], [1.0, 3.0]])
    found = weighted_importance(torch.zeros(3, 2), torch.tensor([1.0, 4.0, 1.0]), balanced)
    assert found.tolist() == [[1.0, 0.5], [2.0, 2.0], [0.5, 1.5]]


def test_squared_errors_are_weighted_by_output() -> None:
    outputs, targets = torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    importance = torch.tensor([[1.0, 1.0], [3.0, 3.0]])
    found = sample_losses("regression", outputs, targets, torch.tensor([1.0, 2.0]), importance=importance)
    assert found.tolist() == [(1 + 1) / 2, 3 * (4 + 0) / 2]


@pytest.mark.parametrize("mode", ["joint", "pretrained"])
def test_the_weights_split_has_them_also_as_cached_taps(mode: Any) -> None:
    counts = np.arange(COUNT) + 1.0
    data = as_data(tiny_arrays(), sample_weights=counts)
    prepared, _ = prepare(_setup(data, epochs=1), mode, 0)
    expected = counts[data.splits["weights"]]
    assert prepared.weights.importance is not None
    np.testing.assert_allclose(prepared.weights.importance, expected / expected.mean(), rtol=1e-6)
    assert prepared.architecture.importance is None


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_controls_learn_what_counts(task: str) -> None:
    arrays = tiny_arrays()
    flipped = np.arange(COUNT) % 2 == 1
    answer = np.where(flipped, 2 - arrays["label"], arrays["label"])
    arrays["label"] = answer if task == "classification" else answer.astype(np.float32)
    for counted in (~flipped, flipped):
        setup = _setup(as_data(arrays, sample_weights=counted + 1e-3), epochs=1)
        late = next(one for one in setup.space.references if one.kind == "late")
        entry = train_all(setup, raw(setup, 0), [Contestant("late", "late", late.architecture)])[0]
        here = counted[setup.data.splits["test"]].astype(float)
        targets = setup.data.targets[setup.data.splits["test"]]
        for judged in controls(setup, entry):
            own, other = (score(setup.metric, judged.outputs, targets, some) for some in (here, 1 - here))
            assert (own - other > 0.4) if task == "classification" else (other - own > 0.05)


@pytest.mark.parametrize("metric", METRICS)
def test_a_weight_of_two_is_a_sample_twice(metric: str) -> None:
    generator = np.random.default_rng(0)
    task = METRICS[metric].tasks[0]
    outputs = generator.normal(size=(40, 3))
    targets: Any = {
        "classification": generator.integers(0, 3, size=40),
        "multilabel": generator.integers(0, 2, size=(40, 3)).astype(np.float32),
        "regression": generator.normal(size=(40, 3)),
    }[task]
    counts = generator.integers(0, 4, size=40)
    again = np.repeat(np.arange(40), counts)
    found = score(metric, outputs, targets, counts.astype(float))
    assert found == pytest.approx(score(metric, outputs[again], targets[again]))
    assert found != pytest.approx(score(metric, outputs, targets))


@pytest.mark.parametrize("metric", [name for name, one in METRICS.items() if "classification" in one.tasks])
def test_a_class_of_weight_zero_is_as_if_it_were_not_there(metric: str) -> None:
    generator = np.random.default_rng(0)
    outputs, targets = generator.normal(size=(40, 3)), np.arange(40) % 3
    counts = (targets != 1).astype(float)
    found = score(metric, outputs, targets, counts)
    assert found == pytest.approx(score(metric, outputs[targets != 1], targets[targets != 1]))
    with refused("all samples to be judged have weight 0"):
        score(metric, outputs, targets, np.zeros(40))


def test_columns_of_a_table_are_groups_and_weights(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(90, 4)), columns=["a", "b", "c", "d"])
    frame["label"] = np.where(frame["a"] > 0, "yes", "no")
    frame["patient"] = [f"p{number // 3}" for number in range(90)]
    frame["count"] = np.arange(90) % 4 + 1
    options: dict[str, Any] = {"modalities": "left=a+b,right=c+d", "group": "patient", "weight": "count"}
    found = tiny_search(frame, target="label", out=tmp_path / "run", **options)
    assert found.recipe is not None
    kinds = {column.name: column.kind for column in found.recipe.columns}
    assert (kinds["patient"], kinds["count"]) == ("group", "weight")
    run = nas.load_run(tmp_path / "run")
    assert (run.config.source.group, run.config.source.weight) == ("patient", "count")
    judged = nas.evaluate(tmp_path / "run", data=frame)
    assert judged["repeated"]
    data = nas.load_data(frame, target="label", **options)
    assert data.groups is not None
    held = [set(data.groups[indices].tolist()) for indices in data.splits.values()]
    assert sum(map(len, held)) == 30
    assert judged["weighted_metrics"].keys() == judged["metrics"].keys()
    assert judged["weighted_metrics"] != judged["metrics"]
    for changes, message in (
        ({"patient": None}, "group 'patient' is empty in row 1;"),
        ({"count": "x"}, "weight 'count' holds 'x' in row 1;"),
    ):
        (name, value), broken = next(iter(changes.items())), frame.astype({"count": object})
        broken.loc[0, name] = value
        with refused(message):
            nas.load_data(broken, target="label", **options)
    with refused("column 'patient' is named as group and as weight; name two"):
        nas.load_data(frame, target="label", **{**options, "weight": "patient"})


def test_arrays_of_a_file_are_groups_and_weights(tmp_path: Path) -> None:
    arrays = tiny_arrays()
    arrays["patient"], arrays["count"] = np.arange(COUNT) // 2, np.arange(COUNT) + 1.0
    del arrays["split"]
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]  # the stub takes the keys for its own argument
    (tmp_path / "data.toml").write_text('modalities = "sound,sight"\ntarget = "label"\ngroup = "patient"\n')
    data = nas.load_data(path, weight="count")
    np.testing.assert_array_equal(data.sample_weights, arrays["count"])
    assert data.groups is not None
    assert sum(len(set(data.groups[indices])) for indices in data.splits.values()) == COUNT // 2
    assert data.fingerprint() != nas.load_data(path).fingerprint()
    with refused("key 'sound' is the weight and among the modalities"):
        nas.load_data(path, weight="sound")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_weights": [1.0]}, r"sample_weights are float64 of shape \(1,\); expected \(20,\)"),
        ({"sample_weights": np.full(20, -1.0)}, "sample_weights hold -1.0 at sample 0"),
        ({"sample_weights": np.full(20, np.inf)}, "sample_weights hold inf at sample 0"),
        ({"sample_weights": np.eye(1, 20)[0]}, "all samples of the weights split but one"),
        ({"groups": [1, 2]}, r"groups are int64 of shape \(2,\); expected \(20,\)"),
        ({"groups": np.full(20, np.nan)}, "groups hold NaN"),
        ({"groups": np.zeros(20)}, "samples 0 and 12 are of one group but in two splits"),
        ({"groups": np.zeros(20), "splits": None}, "1 groups are too few for 3 splits"),
    ],
)
def test_malformed_groups_and_weights_are_told_in_one_line(changes: dict[str, Any], message: str) -> None:
    with refused(message):
        small(**changes)


def test_whole_numbers_that_look_like_quantities_are_told_of() -> None:

    small(targets=np.arange(20) % 4 * 70 + 199)  # four different ones
    many = np.arange(120) // 4 * 7 + 199
    arrays = {"image": np.eye(120), "audio": np.eye(120)[::-1]}
    splits = np.resize([0, 0, 1, 2], 120)
    with pytest.warns(DataWarning, match="30 different whole numbers, 199 to 402, which are taken for classes") as told:
        FusionData.from_arrays(arrays, many, splits=splits)
    assert told[0].filename == __file__
    FusionData.from_arrays(arrays, many, task="classification", splits=splits)
    FusionData.from_arrays(arrays, np.arange(120) % 24, splits=np.repeat([0, 1, 2], 40))  # counted, five of each
