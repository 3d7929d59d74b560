"""Intervals: cases worked by hand, and how often they hold what they should."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from nas.metrics import score
from nas.records import plain
from nas.statistics import Interval, interval, paired_interval, sample_statistics

_Statistics = list[NDArray[np.float64]]


def _of(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """What single samples add to a mean of these values: a right or wrong answer, or an error."""
    return np.stack([np.asarray(values, dtype=np.float64), np.ones(len(values))], axis=1)


def test_what_a_sample_adds_to_each_metric() -> None:
    logits, classes = np.array([[2.0, 1.0], [0.0, 1.0]]), np.array([0, 0])
    assert sample_statistics("accuracy", logits, classes).tolist() == [[1, 1], [0, 1]]
    errors = sample_statistics("mae", np.array([[1.0, 2.0]]), np.array([[0.0, 5.0]], dtype=np.float32))
    assert errors.tolist() == [[2, 1]]
    labels = sample_statistics("micro_f1", np.array([[1.0, 1.0, -1.0]]), np.array([[1.0, 0.0, 1.0]], dtype=np.float32))
    assert labels.tolist() == [[2 * 1, 2 + 2]]  # one hit; two predicted, two true


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1", "auroc", "average_precision", "log_loss"])
def test_the_interval_of_a_metric_that_is_no_mean_is_that_of_resampling_it(name: str) -> None:
    generator = np.random.default_rng(0)
    outputs = generator.normal(size=(400, 3))
    targets = (outputs + generator.normal(size=outputs.shape)).argmax(axis=1)
    found = interval(name, [sample_statistics(name, outputs, targets)])
    assert found.mean == pytest.approx(score(name, outputs, targets))
    draws = [generator.integers(0, 400, 400) for _ in range(300)]
    assert found.margin == pytest.approx(1.966 * np.std([score(name, outputs[d], targets[d]) for d in draws]), rel=0.15)


@given(
    st.sampled_from(["accuracy", "micro_f1", "mae"]),
    st.integers(1, 3),
    arrays(np.float32, (9, 3), elements=st.floats(-4, 4, width=32)),
    arrays(np.int64, (9, 3), elements=st.integers(0, 1)),
)
def test_the_middle_is_the_score(metric: str, width: int, outputs: NDArray[np.float32], raw: NDArray[np.int64]) -> None:
    columns = outputs[:, :width]
    targets = raw[:, 0] % width if metric == "accuracy" else raw[:, :width].astype(np.float32)
    found = interval(metric, [sample_statistics(metric, columns, targets)])
    assert found.mean == pytest.approx(score(metric, columns, targets), rel=1e-5, abs=1e-6)  # float32 errors in `score`
    assert found.low <= found.mean <= found.high


def test_seeds_alone_give_the_interval_of_student() -> None:
    # Every sample has the same error, so only the seeds vary: 1, 2 and 3 have variance 1 and their mean a standard
    # error of 1/√3. The 97.5 % quantile of Student's t with 2 degrees of freedom is 4.302653 in any table.
    found = interval("mae", [_of([error] * 8) for error in (1.0, 2.0, 3.0)])
    margin = 4.302653 / math.sqrt(3)
    assert (found.mean, found.high) == pytest.approx((2, 2 + margin), rel=1e-6)
    assert found.low == 0  # 2 − 2.48, but no error is negative
    higher = interval("mae", [_of([error] * 8) for error in (11.0, 12.0, 13.0)])
    assert (higher.low, higher.margin) == pytest.approx((12 - margin, margin), rel=1e-6)


def test_samples_alone_give_the_interval_of_a_mean() -> None:
    # 60 right of 80 by one seed: the standard error is √(0.75 · 0.25 / 80) = 0.04841, the quantile with 79 degrees of
    # freedom 1.99045. A variance over 1000 resamples has a relative standard error of √(2/1000), its root half of that:
    # 2.2 %, of which four are allowed.
    found = interval("accuracy", [_of([1.0] * 60 + [0.0] * 20)])
    assert found.mean == 0.75
    assert found.margin == pytest.approx(1.99045 * 0.04841, rel=0.09)


def test_seeds_and_samples_add_up() -> None:
    # Errors are e + 10 for half of 50 samples, e − 10 for the rest, with e of 21, 22, 24 and 25 by seed. The variance
    # over samples is 100 / 50 = 2 whatever the seed; over seeds it is (4 + 1 + 1 + 4) / 3 = 10/3, of their mean 5/6.
    # Degrees of freedom: (17/6)² / ((5/6)² / 3 + 2² / 49) = 25.64, for which the quantile is 2.0569.
    found = interval("mae", [_of([error + 10] * 25 + [error - 10] * 25) for error in (21.0, 22.0, 24.0, 25.0)])
    assert found.mean == pytest.approx(23)
    # The bootstrap variance, 2 of 17/6, is good to √(2/1000): four of them are 13 % of the sum, 6.3 % of its root.
    assert found.margin == pytest.approx(2.0569 * math.sqrt(17 / 6), rel=0.07)


def test_a_ratio_is_resampled_as_a_ratio() -> None:
    # Half of the samples have one label and miss it, half have 9 and hit them all: F1 = 18 / (1 + 18) = 0.947. By the
    # delta method its variance over n samples is that of (2 hits − F1 · (predicted + true)) / mean of the latter.
    hits, counts = np.array([0.0, 18.0] * 40), np.array([1.0, 18.0] * 40)
    f1 = hits.sum() / counts.sum()
    deviation = float((hits - f1 * counts).std() / counts.mean()) / math.sqrt(80)
    found = interval("micro_f1", [np.stack([hits, counts], axis=1)])
    assert found.mean == pytest.approx(18 / 19)
    assert found.margin == pytest.approx(1.99045 * deviation, rel=0.15)  # 9 % as above, and a curve is not its tangent


def _drawn(generator: np.random.Generator, middle: float, samples: NDArray[np.float64]) -> _Statistics:
    """Errors over three seeds that share how hard each sample is; seeds and samples matter about alike."""
    num_samples = len(samples)
    seeds = generator.normal(scale=0.25, size=3)
    return [_of(middle + seed + samples + generator.normal(scale=0.5, size=num_samples)) for seed in seeds]


def test_ninety_five_of_a_hundred_intervals_hold_the_truth() -> None:
    generator, num_trials, num_samples = np.random.default_rng(0), 300, 40
    held = held_difference = 0
    for _ in range(num_trials):
        samples = generator.normal(size=num_samples)
        ours, theirs = _drawn(generator, 10.0, samples), _drawn(generator, 10.7, samples)
        found, difference = interval("mae", ours), paired_interval("mae", ours, theirs)
        held += found.low <= 10.0 <= found.high
        held_difference += difference.low <= 0.7 <= difference.high
    # Four standard errors, √(0.95 · 0.05 / 300) = 1.3 % each. Without the seeds' share some 80 % would hold it.
    assert held / num_trials == pytest.approx(0.95, abs=0.05)
    assert held_difference / num_trials == pytest.approx(0.95, abs=0.05)


def test_shared_errors_cancel_in_a_paired_difference() -> None:
    generator = np.random.default_rng(0)
    samples = generator.normal(size=200)
    ours, theirs = ([_of(10 + samples + 0.1 * generator.normal(size=200))] for _ in range(2))
    unpaired = math.hypot(interval("mae", ours).margin, interval("mae", theirs).margin)
    # Each has a deviation of 1 by itself and 0.1 of its own, so a paired interval is a tenth as wide.
    assert paired_interval("mae", ours, theirs).margin == pytest.approx(unpaired / 10, rel=0.2)


def test_errors_that_are_not_shared_do_not_cancel() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = ([_of(10 + generator.normal(size=200))] for _ in range(2))
    unpaired = math.hypot(interval("mae", ours).margin, interval("mae", theirs).margin)
    assert paired_interval("mae", ours, theirs).margin == pytest.approx(unpaired, rel=0.2)


def test_better_is_positive_whatever_the_metric() -> None:
    few, many = [_of([0.0, 0.0, 1.0, 0.0])], [_of([1.0, 1.0, 1.0, 0.0])]
    assert paired_interval("accuracy", many, few).mean == 0.5
    assert paired_interval("accuracy", few, many).mean == -0.5
    assert paired_interval("mae", many, few).mean == -0.5
    assert paired_interval("mae", few, many).mean == 0.5


def test_a_difference_and_its_reverse_mirror_each_other() -> None:
    generator = np.random.default_rng(0)
    samples = generator.normal(size=30)
    ours, theirs = _drawn(generator, 10, samples), _drawn(generator, 11, samples)
    there, back = paired_interval("mae", ours, theirs), paired_interval("mae", theirs, ours)
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low))


def test_seeds_are_paired_too() -> None:
    # The second is worse by exactly 1 under every seed and in every sample, however much the seeds differ.
    ours, theirs = ([_of([error + extra] * 6) for error in (1.0, 5.0, 9.0)] for extra in (0.0, 1.0))
    assert paired_interval("mae", ours, theirs) == Interval(1, 1, 1)


def test_without_any_variance_the_interval_is_a_point() -> None:
    right = [_of([1.0] * 5)] * 2
    assert interval("accuracy", right) == Interval(1, 1, 1)
    assert paired_interval("accuracy", right, right) == Interval(0, 0, 0)
    assert interval("micro_f1", [np.zeros((4, 2))]) == Interval(0, 0, 0)  # no label anywhere


def test_one_sample_says_nothing_about_samples() -> None:
    assert interval("mae", [_of([3.0])]) == Interval(3, 3, 3)


def test_shares_stay_between_nothing_and_everything() -> None:
    nearly_all, nearly_none = [_of([1.0] * 9 + [0.0])], [_of([0.0] * 9 + [1.0])]
    assert interval("accuracy", nearly_all).high == 1
    assert interval("accuracy", nearly_none).low == 0
    worse = paired_interval("accuracy", nearly_none, nearly_all)
    assert worse.low < -1 < worse.high < 0  # a difference is not cut, so that it stays symmetric
    assert interval("mae", [_of([0.0, 30.0, 30.0])]).high > 1


def test_an_interval_is_the_same_every_time() -> None:
    statistics = [_of(np.random.default_rng(seed).random(20)) for seed in range(3)]
    assert interval("mae", statistics) == interval("mae", statistics)


def test_an_interval_tells_its_margin_and_its_plain_values() -> None:
    found = Interval(0.5, 0.25, 1.0)
    assert found.margin == 0.375
    assert plain(found) == {"mean": 0.5, "low": 0.25, "high": 1.0}
