"""The embedded set `emoji`: a picture, its name in words, eight categories."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np

from nas.data.fusion_data import FusionData


def emoji(seed: int = 0) -> FusionData:  # noqa: ARG001 - every embedded set is a function of a seed
    """Picture and name of an emoji, to tell its category: 1636 samples, 8 classes.

    `image`: (3, 32, 32) uint8, on white. `words`: 12 token ids, 0 for padding, 1 for a word that the weights split does
    not have twice. The splits, 1078/163/395, keep emoji of one base code point together. Sources and licences are in
    `embedded/NOTICE.md`.

    Args:
        seed: Without effect, since the set has splits of its own.
    """
    with as_file(files("nas.data") / "embedded" / "emoji.npz") as path, np.load(path, allow_pickle=False) as archive:
        return FusionData.from_arrays(
            {"image": archive["image"], "words": archive["tokens"]},
            archive["label"],
            splits=archive["split"],
            kinds={"words": "tokens"},
            name="emoji",
            class_names=archive["label_names"].tolist(),
        )
