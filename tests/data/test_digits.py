"""The digit sets: what either input says alone, and that no picture is in two splits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifier

from nas.data import FusionData
from nas.data.digits import PAIRS, digits_halves, digits_mixed, digits_sum, draw_pairs
from nas.data.fusion_data import SPLITS


def _array(data: FusionData, name: str) -> NDArray[np.float64]:
    array: NDArray[np.float64] = data.modalities[name].arrays[0].astype(np.float64)
    return array


def _probe(data: FusionData, inputs: NDArray[np.float64]) -> float:
    """Test accuracy in percent of a linear classifier in closed form, which costs milliseconds."""
    train, test = data.splits["weights"], data.splits["test"]
    score = RidgeClassifier().fit(inputs[train], data.targets[train]).score(inputs[test], data.targets[test])
    return 100 * float(score)


@pytest.mark.parametrize("make", [digits_sum, digits_mixed])
@pytest.mark.parametrize("seed", [0, 1])
def test_pairs_are_many_and_balanced(make: Callable[[int], FusionData], seed: int) -> None:
    data = make(seed)
    assert data.describe()["splits"] == PAIRS
    assert data.describe()["modalities"]["a"] == {
        "kind": "vector",
        "shapes": [[64]],
        "dtype": "uint8",
        "present_share": 1.0,
    }
    assert (data.task, data.class_names) == ("classification", tuple("0123456789"))
    assert data.modalities["a"].arrays[0].max() == 16
    for split in SPLITS:
        # All 100 pairs of digits come up equally often, so that every class does too, whatever one of the digits is.
        assert set(np.bincount(data.targets[data.splits[split]])) == {PAIRS[split] // 10}


def test_all_pairs_of_digits_come_up_equally_often_and_no_picture_is_in_two_splits() -> None:
    digits = np.arange(200) % 10
    first, second, assigned = draw_pairs(digits, seed=0)
    used = [set(first[assigned == number]) | set(second[assigned == number]) for number in range(3)]
    assert len(used[0] | used[1] | used[2]) == sum(len(pictures) for pictures in used)
    assert len(used[0]) == 120  # the weights split uses all of its 60 %
    for number, split in enumerate(SPLITS):
        chosen = assigned == number
        pairs = np.bincount(digits[first[chosen]] * 10 + digits[second[chosen]], minlength=100)
        assert set(pairs) == {PAIRS[split] // 100}


@pytest.mark.parametrize("make", [digits_sum, digits_mixed])
def test_no_picture_of_the_whole_set_is_in_two_splits(make: Callable[[int], FusionData]) -> None:
    data = make(0)
    seen = [
        {row.tobytes() for name in ("a", "b") for row in data.modalities[name].arrays[0][data.splits[split]]}
        for split in SPLITS
    ]
    assert [len(pictures) > 300 for pictures in seen] == [True, True, True]
    assert len(seen[0] | seen[1] | seen[2]) == sum(len(pictures) for pictures in seen)


@pytest.mark.parametrize(
    ("make", "rule"), [(digits_sum, lambda a, b: (a + b) % 10), (digits_mixed, lambda a, b: (a + 5 * (b % 2)) % 10)]
)
def test_pictures_show_the_digits_of_their_label(
    make: Callable[[int], FusionData], rule: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]
) -> None:
    halves, data = digits_halves(), make(0)
    known = np.concatenate([_array(halves, "upper"), _array(halves, "lower")], axis=1)
    digit_of = {picture.tobytes(): digit for picture, digit in zip(known, halves.targets, strict=True)}
    a, b = (np.array([digit_of[row.tobytes()] for row in _array(data, name)]) for name in ("a", "b"))
    np.testing.assert_array_equal(data.targets, rule(a, b))


def test_sets_are_reproducible_and_follow_the_seed() -> None:
    prints = [make(seed).fingerprint() for make in (digits_halves, digits_mixed, digits_sum) for seed in (0, 0, 1)]
    assert [prints[i] == prints[i + 1] != prints[i + 2] for i in (0, 3, 6)] == [True, True, True]


def test_either_digit_says_nothing_of_the_sum() -> None:
    data = digits_sum()
    for name in ("a", "b"):
        # Chance is 10 %; on 2000 test pairs its standard error is 0.67 points.
        assert _probe(data, _array(data, name)) == pytest.approx(10, abs=3)
    # Both together, but added up, are hardly better: the sum of digits alone is linear, not its last digit.
    assert _probe(data, np.concatenate([_array(data, "a"), _array(data, "b")], axis=1)) < 20


def test_one_digit_narrows_the_mixed_task_to_two_and_the_other_says_nothing() -> None:
    data = digits_mixed()
    assert 40 < _probe(data, _array(data, "a")) < 55  # two of ten are left: 50 % at best, less what is misread
    assert _probe(data, _array(data, "b")) == pytest.approx(10, abs=3)


def test_each_half_says_most_of_the_digit_and_both_a_little_more() -> None:
    data = digits_halves()
    # 1797 samples dealt out by fives, of which three, one and one: 359 times, then one to the first and the second.
    assert [len(data.splits[split]) for split in SPLITS] == [1078, 360, 359]
    upper, lower = _array(data, "upper"), _array(data, "lower")
    both = _probe(data, np.concatenate([upper, lower], axis=1))
    assert 70 < _probe(data, upper) < both
    assert 70 < _probe(data, lower) < both
    assert both > 90


def test_the_sum_can_be_told_from_both_digits() -> None:
    data = digits_sum()
    halves = digits_halves()
    pictures = np.concatenate([_array(halves, "upper"), _array(halves, "lower")], axis=1)
    train = {row.tobytes() for row in _array(data, "a")[data.splits["weights"]]}
    known = np.array([row.tobytes() in train for row in pictures])
    reader = RidgeClassifier().fit(pictures[known], halves.targets[known])
    test = data.splits["test"]
    read = reader.predict(_array(data, "a")[test]) + reader.predict(_array(data, "b")[test])
    assert (read % 10 == data.targets[test]).mean() > 0.7  # that of reading one digit, about 0.93, squared
