"""The embedded emoji: sizes, splits, and what the set promises of them."""

from __future__ import annotations

from collections import defaultdict
from importlib.resources import files

import numpy as np

from nas.data.emoji import emoji
from nas.data.fusion_data import SPLITS

PERSONS_AND_JOINERS = {"1F9D1", "1F468", "1F469", "200D", "FE0F", "2640", "2642"}
"""Code points that make a woman, man or person variant, or colour, of the base code point that they stand with."""


def test_sizes_and_kinds() -> None:
    description = emoji().describe()
    assert description["modalities"] == {
        "image": {"kind": "map", "shapes": [[3, 32, 32]], "dtype": "uint8", "present_share": 1.0},
        "words": {"kind": "tokens", "shapes": [[12]], "dtype": "int16", "present_share": 1.0},
    }
    assert description["splits"] == {"weights": 1078, "architecture": 163, "test": 395}
    assert description["class_names"] == [
        "Activities",
        "Animals & Nature",
        "Food & Drink",
        "Objects",
        "People & Body",
        "Smileys & Emotion",
        "Symbols",
        "Travel & Places",
    ]


def test_the_seed_changes_nothing() -> None:
    assert emoji(0).fingerprint() == emoji(7).fingerprint()


def test_every_split_has_every_class() -> None:
    data = emoji()
    for split in SPLITS:
        assert np.bincount(data.targets[data.splits[split]], minlength=8).min() > 0


def test_many_names_of_the_test_split_have_no_known_word() -> None:
    data = emoji()
    words = data.modalities["words"].arrays[0][data.splits["test"]]
    assert round(100 * float((words <= 1).all(axis=1).mean())) == 39


def test_emoji_of_one_base_code_point_are_in_one_split() -> None:
    with np.load(str(files("nas.data") / "embedded" / "emoji.npz"), allow_pickle=False) as archive:
        codepoints, split = archive["codepoints"].tolist(), archive["split"].tolist()
    found: defaultdict[str, set[int]] = defaultdict(set)
    for code, part in zip(codepoints, split, strict=True):
        base = [point for point in code.split("-") if point not in PERSONS_AND_JOINERS]
        found[base[0] if base else code].add(part)
    assert len(found) == 1395
    assert all(len(parts) == 1 for parts in found.values())
