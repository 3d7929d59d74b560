"""FusionData: its description and the fingerprint of its content."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nas.data import FusionData
from tests.data.helpers import AUDIO, COUNT, IMAGE, LABEL, SPLIT, WORDS, small

HALF = np.arange(COUNT) % 4 < 2


def test_description_is_plain_and_complete() -> None:
    data = small(
        modalities={"image": IMAGE, "text": [AUDIO.astype(np.float16), IMAGE], "words": WORDS},
        splits={"train": range(10), "val": range(10, 16), "test": range(16, 19)},
        kinds={"words": "tokens"},
        present={"image": HALF},
        name="mine",
        class_names=["off", "on"],
    )
    description = data.describe()
    assert description == {
        "name": "mine",
        "task": "classification",
        "classes": 2,
        "class_names": ["off", "on"],
        "fingerprint": data.fingerprint(),
        "modalities": {
            "image": {"kind": "vector", "shapes": [[3]], "dtype": "float32", "present_share": 0.5},
            "text": {"kind": "features", "shapes": [[4, 2], [3]], "dtype": "float16/float32", "present_share": 1.0},
            "words": {"kind": "tokens", "shapes": [[5]], "dtype": "int16", "present_share": 1.0},
        },
        "splits": {"weights": 10, "architecture": 6, "test": 3},
    }
    assert json.loads(json.dumps(description)) == description


def _changed(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[-1] += 1
    return array


DIFFERENT: list[dict[str, Any]] = [
    {"modalities": {"image": _changed(IMAGE), "audio": AUDIO}},
    {"modalities": {"image": IMAGE, "audio": _changed(AUDIO)}},
    {"modalities": {"image": IMAGE.astype(np.float16), "audio": AUDIO}},
    {"modalities": {"audio": AUDIO, "image": IMAGE}},
    {"modalities": {"picture": IMAGE, "audio": AUDIO}},
    {"modalities": {"image": [IMAGE], "audio": AUDIO}},
    {"modalities": {"image": [IMAGE, IMAGE], "audio": AUDIO}},
    {"modalities": {"image": IMAGE, "audio": AUDIO.reshape(COUNT, 2, 4)}},
    {"modalities": {"image": IMAGE, "audio": AUDIO}, "kinds": {"audio": "map"}},
    {"modalities": {"image": IMAGE, "audio": AUDIO, "more": AUDIO}},
    {"present": {"image": HALF}},
    {"present": {"image": ~HALF}},
    {"present": {"audio": HALF}},
    {"targets": 1 - LABEL},
    {"targets": LABEL * 1.0},
    {"targets": np.eye(2)[LABEL]},
    {"splits": np.roll(SPLIT, 2)},
    {"splits": {"train": range(12), "val": range(12, 16), "test": range(16, 19)}},
    {"class_names": ["off", "on"]},
]


def test_fingerprint_changes_with_any_content() -> None:
    prints = [small().fingerprint(), *(small(**changes).fingerprint() for changes in DIFFERENT)]
    assert len(set(prints)) == len(prints)
    assert all(len(print_) == 12 and int(print_, 16) >= 0 for print_ in prints)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": "elsewhere"},
        {"seed": 5},  # nothing is drawn
        {"splits": np.array(["train", "val", "test"])[SPLIT]},
        {"modalities": {"image": IMAGE.astype(np.float64), "audio": AUDIO}},
        {"modalities": {"image": np.asfortranarray(IMAGE), "audio": AUDIO}},
        {"modalities": {"image": IMAGE.astype(">f4"), "audio": AUDIO}},
        {"targets": LABEL.astype(np.uint8)},
        {"present": {"image": [True] * COUNT}},
    ],
)
def test_fingerprint_of_the_same_content_is_the_same(changes: dict[str, Any]) -> None:
    assert small(**changes).fingerprint() == small().fingerprint()


def test_fingerprint_leaves_out_what_stood_where_a_modality_is_absent() -> None:
    garbage = IMAGE.copy()
    garbage[~HALF] = np.nan
    first, second = (
        small(modalities={"image": image, "audio": AUDIO}, present={"image": HALF}) for image in (IMAGE, garbage)
    )
    assert first.fingerprint() == second.fingerprint()


def test_fingerprint_stays_the_same_over_time() -> None:
    # Recorded from this code itself: were it to change, no earlier run would know its data again.
    data = FusionData.from_arrays(
        {"a": np.arange(12, dtype=np.uint8).reshape(6, 2), "b": np.arange(6, dtype=np.float32)[:, None]},
        [0, 1, 0, 1, 0, 1],
        splits=[0, 0, 1, 1, 2, 2],
    )
    assert data.fingerprint() == "d7167c392fa8"
