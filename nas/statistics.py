"""Intervals: how sure a mean over seeds is, for any metric.

Two things make a score uncertain: the seeds (initialisation, order, dropout) and the test samples. Both are counted:
SE² = (variance over seeds) / (seeds) + (bootstrap variance over test samples of the mean over seeds), with the degrees
of freedom of Welch (1947) and Satterthwaite (1946). With one seed only the samples count. A metric that is no ratio of
sums over samples is made a mean of what each sample adds to it, see `nas.influence`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from nas.influence import INFLUENCES
from nas.metrics import METRICS, higher_is_better, score

RESAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; NaN where unknown."""

    mean: float
    low: float
    high: float

    @property
    def margin(self) -> float:
        """Half of its width."""
        return (self.high - self.low) / 2

    @property
    def is_known(self) -> bool:
        """Whether none of it is NaN."""
        return not math.isnan(self.mean + self.low + self.high)

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


def amount(metric: str, difference: Interval) -> str:
    """A difference with its margin: in points of what is told in percent, else with the metric's name."""
    if not METRICS[metric].percent:
        return f"{difference.mean:.3g} ± {difference.margin:.2g} of {METRICS[metric].title}"
    mean = round(100 * difference.mean, 1) + 0.0  # minus zero becomes zero
    return f"{mean:.1f} ± {100 * difference.margin:.1f} points"


def sample_statistics(metric: str, outputs: NDArray[np.floating], targets: NDArray[Any]) -> NDArray[np.float64]:
    """What each sample adds to the sums that a metric is made of, (n, terms).

    Args:
        metric: A name of `nas.metrics.METRICS`.
        outputs: Logits or predictions, (n, outputs).
        targets: (n,) classes, (n, labels) or (n, outputs).
    """
    if metric == "accuracy":
        return np.stack([outputs.argmax(axis=1) == targets, np.ones(len(targets))], axis=1).astype(np.float64)
    if metric == "mae":
        errors = np.abs(outputs.astype(np.float64) - targets).mean(axis=1)
        return np.stack([errors, np.ones(len(targets))], axis=1)
    if metric == "micro_f1":
        predicted, true = outputs > 0, targets > 0
        hits = (predicted & true).sum(axis=1)
        return np.stack([2 * hits, predicted.sum(axis=1) + true.sum(axis=1)], axis=1).astype(np.float64)
    return np.stack(
        [score(metric, outputs, targets) + INFLUENCES[metric](outputs, targets), np.ones(len(targets))], axis=1
    )


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every metric is the first sum over the second; F1 of nothing is 0, as scikit-learn has it."""
    return sums[..., 0] / np.maximum(sums[..., 1], 1e-300)


def interval(metric: str, statistics: Sequence[NDArray[np.float64]]) -> Interval:
    """The mean score over seeds with its 95 % interval.

    Args:
        metric: A name of `nas.metrics.METRICS`.
        statistics: Per seed what `sample_statistics` gave, on the same test samples in the same order.
    """
    found = _interval(_ratio(np.stack([s.sum(axis=0) for s in statistics])), _resampled(statistics), len(statistics[0]))
    bounds = METRICS[metric]
    return Interval(found.mean, max(bounds.lowest, found.low), min(bounds.highest, found.high))


def paired_interval(
    metric: str, found: Sequence[NDArray[np.float64]], other: Sequence[NDArray[np.float64]]
) -> Interval:
    """How much better `found` is than `other`, over the same seeds and the same test samples.

    Positive is better whatever the metric: for an error the sign is turned round.
    """
    return combination(metric, [(1.0, found), (-1.0, other)])


def combination(metric: str, terms: Sequence[tuple[float, Sequence[NDArray[np.float64]]]]) -> Interval:
    """A weighted sum of scores with its interval, over the same seeds and the same test samples.

    Positive is better whatever the metric: for an error the sign is turned round.

    Args:
        metric: A name of `nas.metrics.METRICS`.
        terms: Weights, and for each per seed what `sample_statistics` gave.
    """
    sign = 1.0 if higher_is_better(metric) else -1.0
    scores = sum(sign * weight * _ratio(np.stack([s.sum(axis=0) for s in one])) for weight, one in terms)
    resampled = sum(sign * weight * _resampled(one) for weight, one in terms)
    return _interval(np.asarray(scores), np.asarray(resampled), len(terms[0][1][0]))


def _resampled(statistics: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The mean score over seeds under each bootstrap resample of the test samples, (resamples,)."""
    num_samples = len(statistics[0])
    generator = np.random.default_rng(0)
    total = np.zeros(RESAMPLES)
    # One draw for all rows, so that differences are paired; in blocks, so that memory stays small.
    for start in range(0, RESAMPLES, 100):
        counts = generator.multinomial(num_samples, np.full(num_samples, 1 / num_samples), size=100).astype(np.float64)
        total[start : start + 100] = sum(_ratio(counts @ one) for one in statistics) / len(statistics)
    return total


def _interval(scores: NDArray[np.float64], resampled: NDArray[np.float64], num_samples: int) -> Interval:
    num_seeds = len(scores)
    of_samples = float(resampled.var())
    of_seeds = float(scores.var(ddof=1)) / num_seeds if num_seeds > 1 else 0.0
    variance = of_samples + of_seeds
    mean = float(scores.mean())
    if variance == 0:
        return Interval(mean, mean, mean)
    freedom = variance**2 / (of_seeds**2 / max(1, num_seeds - 1) + of_samples**2 / max(1, num_samples - 1))
    margin = float(t.ppf(0.975, freedom)) * variance**0.5
    return Interval(mean, mean - margin, mean + margin)
