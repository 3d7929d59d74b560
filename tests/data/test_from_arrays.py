"""From arrays to a data set: what is kept, and what is refused in one clear line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from nas.data import FusionData
from nas.data.from_arrays import check_name
from tests.data.helpers import AUDIO, COUNT, IMAGE, LABEL, SPLIT, WORDS, refused, small

HALF = np.arange(COUNT) % 4 < 2
"""Samples that have a modality; both classes and all splits are among them and among the others."""


def test_everything_given_is_kept() -> None:
    data = FusionData.from_arrays(
        {"image": IMAGE, "audio": AUDIO, "words": WORDS, "text": [IMAGE * 2, AUDIO * 2]},
        LABEL,
        splits=SPLIT,
        kinds={"words": "tokens"},
        present={"audio": HALF},
        name="mine",
        class_names=["off", "on"],
    )
    assert (data.name, data.task, data.class_names, len(data)) == ("mine", "classification", ("off", "on"), COUNT)
    assert [(name, modality.kind) for name, modality in data.modalities.items()] == [
        ("image", "vector"),
        ("audio", "sequence"),
        ("words", "tokens"),
        ("text", "features"),
    ]
    np.testing.assert_array_equal(data.modalities["image"].arrays[0], IMAGE)
    np.testing.assert_array_equal(data.modalities["words"].arrays[0], WORDS)
    np.testing.assert_array_equal(data.modalities["text"].arrays[1], AUDIO * 2)
    np.testing.assert_array_equal(data.modalities["audio"].arrays[0], AUDIO * HALF[:, None, None])
    np.testing.assert_array_equal(data.modalities["audio"].present, HALF)
    assert data.modalities["image"].present is None
    assert {split: indices.tolist() for split, indices in data.splits.items()} == {
        "weights": list(range(12)),
        "architecture": list(range(12, 16)),
        "test": list(range(16, 20)),
    }


@pytest.mark.parametrize(
    ("targets", "task", "expected", "num_outputs"),
    [
        (np.arange(COUNT) % 3, None, "classification", 3),
        (np.array(["off", "on"])[LABEL], None, "classification", 2),
        (np.stack([LABEL, 1 - LABEL, HALF], axis=1), None, "multilabel", 3),
        (np.linspace(0, 1, COUNT), None, "regression", 1),
        (IMAGE * 2, None, "regression", 3),
        (np.arange(COUNT), "regression", "regression", 1),
    ],
)
def test_the_three_tasks(targets: Any, task: str | None, expected: str, num_outputs: int) -> None:
    data = small(targets=targets, task=task)
    assert (data.task, data.num_outputs) == (expected, num_outputs)


def test_a_mask_that_is_always_true_is_no_mask() -> None:
    assert small(present={"image": np.ones(COUNT, dtype=np.int8)}).modalities["image"].present is None


def test_a_mask_of_numbers_is_a_mask() -> None:
    present = small(present={"image": HALF.astype(int).tolist()}).modalities["image"].present
    assert present is not None
    assert present.dtype == np.bool_
    assert present.tolist() == HALF.tolist()


def test_drawn_splits_follow_the_seed() -> None:
    weights = [small(splits=None, seed=seed).splits["weights"].tolist() for seed in (0, 0, 1)]
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize("name", ["image", "image_2", "Bild", "größe", "_a", "fusio"])
def test_names_that_can_be_used(name: str) -> None:
    check_name(name)
    assert list(small(modalities={name: IMAGE, "audio": AUDIO}).modalities) == [name, "audio"]


@pytest.mark.parametrize("name", ["", "2d", "a b", "a-b", "a.b", "x/a", "a__b", "fusion", "fusion0", "a\nb", 3, None])
def test_names_that_cannot_be_used(name: Any) -> None:
    with refused("modality name .* cannot be used; expected letters, digits and single underscores.*rename it"):
        small(modalities={name: IMAGE, "audio": AUDIO})


@pytest.mark.parametrize("name", ["keys", "type", "training", "float", "forward"])
def test_names_that_torch_keeps_for_itself(name: str) -> None:
    with refused(f"modality name '{name}' is a word that PyTorch keeps for itself; rename it, say {name}_input"):
        check_name(name)
    torch.nn.ModuleDict({f"{name}_input": torch.nn.Identity()})  # what the message advises does work


@pytest.mark.parametrize(
    ("name", "form"),
    [("ｓｅｌｆ", "self"), ("ﬁ", "fi"), ("ｆｕｓｉｏｎ", "fusion"), ("cafe\u0301", "café"), ("ª", "a")],
)
def test_names_that_python_would_read_as_others_are_refused(name: str, form: str) -> None:
    with refused(f"modality name '{name}' is not in NFKC form; rename it to '{form}', as Python would read it"):
        small(modalities={name: IMAGE, "audio": AUDIO})


def _with(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array[0] = value
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": {"image": IMAGE}}, "two or more modalities, got image; give every kind of input its own name"),
        ({"modalities": {}}, "two or more modalities, got none"),
        ({"modalities": [IMAGE, AUDIO]}, "modalities is a list; expected a mapping from name to array"),
        ({"modalities": {"image": 3.0, "audio": AUDIO}}, "modality 'image' is empty"),
        ({"modalities": {"image": IMAGE[1:], "audio": AUDIO}}, "'image' has 19 samples, but the target has 20; align"),
        ({"modalities": {"image": [IMAGE, IMAGE[1:]], "audio": AUDIO}}, "'image' has 19 samples, but .* 20; align"),
        ({"modalities": {"image": _with(IMAGE, np.nan), "audio": AUDIO}}, "'image' has NaN or infinity in 1 of 20"),
        ({"modalities": {"image": IMAGE, "audio": LABEL}}, "modality 'audio' is the target itself; leave it out"),
        ({"modalities": {"image": IMAGE, "audio": LABEL[:, None] * 1.0}}, "modality 'audio' is the target itself"),
        ({"modalities": {"image": IMAGE, "audio": np.eye(2)[LABEL]}}, "modality 'audio' is the target itself"),
        ({"modalities": {"image": IMAGE, "audio": [AUDIO, np.eye(2)[LABEL]]}}, "modality 'audio' is the target itself"),
        ({"targets": LABEL + 5, "modalities": {"image": IMAGE, "audio": LABEL + 5}}, "'audio' is the target itself"),
        ({"targets": IMAGE * 2, "modalities": {"image": IMAGE * 2, "audio": AUDIO}}, "'image' is the target itself"),
        ({"kinds": {"imag": "map"}}, "unknown modality in kinds: 'imag'; did you mean 'image'"),
        ({"kinds": {"image": "mapp"}}, "unknown kind of modality 'image': 'mapp'; did you mean 'map'"),
        ({"present": {"imag": HALF}}, "unknown modality in present: 'imag'; did you mean 'image'"),
        ({"present": {"image": HALF[1:]}}, r"present of modality 'image' is bool of shape \(19,\); expected \(20,\)"),
        ({"present": {"image": HALF * 2}}, "present of modality 'image' is int64 .* of true and false"),
        ({"present": {"image": HALF * 1.0}}, "present of modality 'image' is float64"),
        ({"present": {"image": np.where(HALF, "yes", "no")}}, "present of modality 'image' is <U3"),
        ({"present": {"image": np.stack([HALF, HALF])}}, r"present of modality 'image' is bool of shape \(2, 20\)"),
        ({"present": {"image": HALF, "audio": ~HALF & (LABEL == 0)}}, "leaves 5 samples without any .* first is 3"),
        ({"present": {"image": np.arange(COUNT) >= 12}}, "'image' is present in no sample of the weights split; leave"),
        ({"targets": LABEL[1:]}, r"'image' has 20 samples, but the target has 19; align them"),
        ({"targets": LABEL * 0}, "the target is constant in the weights split; .*check target and split"),
        ({"targets": np.ones(COUNT)}, "the target is constant in the weights split"),
        ({"targets": (np.arange(COUNT) >= 12).astype(int)}, "the target is constant in the weights split"),
        (
            {"targets": np.where(np.arange(COUNT) < 16, LABEL, 7)},
            r"class '7' is absent from the weights split \(1 of 3 classes are\); put samples of it there, drop it, or",
        ),
        ({"class_names": ["a", "b", "c"]}, "class 'c' is absent from the weights split"),
        (
            {"targets": np.stack([LABEL, np.arange(COUNT) >= 12], axis=1), "class_names": ["rain", "wind"]},
            "column 'wind' of the target is constant in the weights split; drop it or move samples",
        ),
        ({"targets": np.stack([IMAGE[:, 0], IMAGE[:, 0] * 0], axis=1)}, "column '1' of the target is constant"),
        ({"targets": np.arange(COUNT), "splits": None}, "several of a class: .*task='regression' for a quantity"),
        ({"splits": SPLIT[1:]}, r"split has shape \(19,\), but there are 20 samples"),
        ({"splits": SPLIT + 1}, "split holds 3; expected 0, 1, 2"),
        ({"task": "clasification"}, "unknown task 'clasification'; did you mean 'classification'"),
        ({"task": "regression", "class_names": ["a"]}, "class_names were given, but a regression target has no"),
    ],
)
def test_malformed_input_is_told_in_one_line(changes: dict[str, Any], message: str) -> None:
    with refused(message):
        small(**changes)
