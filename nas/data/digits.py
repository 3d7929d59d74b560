"""Embedded sets of known character, made from the 1797 digits of 8 × 8 pixels that scikit-learn brings along.

Pictures, never pairs, are divided among the splits first, so that no picture is in two of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from nas.data.fusion_data import SPLITS, FusionData, Split
from nas.data.splits import make_splits
from nas.data.targets import make_targets

PAIRS: dict[Split, int] = {"weights": 6000, "architecture": 1500, "test": 2000}
"""Pairs drawn within each split; multiples of 100, so that every pair of digits comes up equally often."""


def digits_halves(seed: int = 0) -> FusionData:
    """Upper and lower half of a digit, to tell the digit: each alone says most, both together a little more.

    `upper` and `lower`: 32 values from 0 to 16 each, row by row. 1797 samples, 10 classes.

    Args:
        seed: Of the splits.
    """
    pictures, digits = _pictures()
    return FusionData.from_arrays(
        {"upper": pictures[:, :32], "lower": pictures[:, 32:]}, digits, name="digits_halves", seed=seed
    )


def digits_mixed(seed: int = 0) -> FusionData:
    """Two digits a and b, to tell (a + 5 · [b is odd]) mod 10: `a` narrows it to two, `b` alone says nothing.

    `a` and `b`: 64 values from 0 to 16 each. 9500 pairs, 10 classes.

    Args:
        seed: Of the splits and pairs.
    """
    return _pairs("digits_mixed", lambda a, b: (a + 5 * (b % 2)) % 10, seed)


def digits_sum(seed: int = 0) -> FusionData:
    """Two digits a and b, to tell (a + b) mod 10: either alone says nothing at all.

    `a` and `b`: 64 values from 0 to 16 each. 9500 pairs, 10 classes.

    Args:
        seed: Of the splits and pairs.
    """
    return _pairs("digits_sum", lambda a, b: (a + b) % 10, seed)


Rule = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]


def _pairs(name: str, rule: Rule, seed: int) -> FusionData:
    pictures, digits = _pictures()
    first, second, assigned = draw_pairs(digits, seed)
    return FusionData.from_arrays(
        {"a": pictures[first], "b": pictures[second]}, rule(digits[first], digits[second]), splits=assigned, name=name
    )


def draw_pairs(digits: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of pictures of one split, in which all 100 pairs of digits come up equally often.

    Args:
        digits: What each picture shows, (pictures,), all ten in every split.
        seed: Of the splits and pairs.

    Returns:
        Index of the first picture, of the second, and the split (0 weights, 1 architecture, 2 test), each (pairs,).
    """
    generator = np.random.default_rng(seed)
    splits = make_splits(None, make_targets(digits), seed)
    parts = []
    for number, split in enumerate(SPLITS):
        combination = generator.permutation(np.arange(PAIRS[split]) % 100)
        pools = [splits[split][digits[splits[split]] == digit] for digit in range(10)]
        chosen = [_pick(pools, wanted, generator) for wanted in divmod(combination, 10)]
        parts.append((*chosen, np.full(PAIRS[split], number)))
    first, second, assigned = (np.concatenate(part) for part in zip(*parts, strict=True))
    return first, second, assigned


def _pick(
    pools: list[NDArray[np.int64]], wanted: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """For each wanted digit a random picture of its pool."""
    sizes = np.array([len(pool) for pool in pools])[wanted]
    places = generator.integers(sizes)
    return np.array([pools[digit][place] for digit, place in zip(wanted, places, strict=True)])


def _pictures() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    bunch = load_digits()
    return bunch.data.astype(np.uint8), bunch.target.astype(np.int64)
