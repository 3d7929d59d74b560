"""How many more seeds or test samples it would take to measure a difference that is not measurable yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from nas.statistics import Interval

MOST_SEEDS = 30
"""Nobody trains every network more often than this."""

MOST_TIMES = 100
"""Nor collects so many times the test samples."""


FEW_SEEDS = 3
"""Fewer say too little about how far seeds lie apart to plan by."""

ENOUGH_SEEDS = 5
"""What is recommended then."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would tell.

    Attributes:
        halves: Whether it halves the interval; otherwise the difference, if it stays as it is, becomes measurable.
        seeds: Trainings of each network; as many as now if more of them would not do.
        samples: Test samples; as many as now if more seeds alone will do.
    """

    halves: bool
    seeds: int
    samples: int


def plan(gap: Interval, differences: Sequence[float], num_samples: int, *, score: float) -> Plan | None:
    """The fewest seeds that would do, or else the fewest test samples; None where neither would.

    The variance of a mean difference is that over seeds, divided by their number, and that over test samples, divided
    by theirs; see `nas.statistics`. What the scores of the seeds do not explain of the interval is put down to the
    samples.

    Args:
        gap: The mean difference with its 95 % interval.
        differences: One per seed, at least `FEW_SEEDS`.
        num_samples: Of the test split.
        score: Of one of both networks, as a share; NaN for an error, which has no such scale.
    """
    seeds = len(differences)
    halves = abs(gap.mean) < gap.margin / 4
    per_seed = float(np.var(differences, ddof=1))
    guess = score * (1 - score) / num_samples if 0 < score < 1 else gap.margin**2 / 4
    per_sample = num_samples * _of_samples(gap.margin, per_seed / seeds, seeds, num_samples, guess)
    target = gap.margin / 2 if halves else abs(gap.mean)

    def is_enough(seeds: int, samples: int) -> bool:
        return _margin(per_seed / seeds, per_sample / samples, seeds, samples) < target

    for more in range(seeds + 1, MOST_SEEDS + 1):
        if is_enough(more, num_samples):
            return Plan(halves=halves, seeds=more, samples=num_samples)
    for trained in (seeds, *(more for more in (5, 10, MOST_SEEDS) if more > seeds)):
        for tenths in range(11, 10 * MOST_TIMES + 1):
            if is_enough(trained, num_samples * tenths // 10):
                return Plan(halves=halves, seeds=trained, samples=_rounded(num_samples * tenths // 10))
    return None


def _margin(of_seeds: float, of_samples: float, seeds: int, samples: int) -> float:
    """Half the width of a 95 % interval, with the degrees of freedom of Welch and Satterthwaite."""
    variance = of_seeds + of_samples
    if variance == 0:
        return 0.0
    freedom = variance**2 / (of_seeds**2 / max(1, seeds - 1) + of_samples**2 / max(1, samples - 1))
    return float(t.ppf(0.975, freedom) * variance**0.5)


def _of_samples(margin: float, of_seeds: float, seeds: int, samples: int, guess: float) -> float:
    """The variance over test samples that gives an interval its width.

    There may be two: a little of it adds degrees of freedom and narrows the interval, more of it widens it again. The
    one nearer to the guess is taken.
    """
    grid = np.geomspace(1e-6, 1.0, 400) * max(margin, 1e-9) ** 2
    off = np.array([_margin(of_seeds, one, seeds, samples) - margin for one in grid])
    crossings = np.flatnonzero(np.sign(off[1:]) != np.sign(off[:-1]))
    if not len(crossings):
        return float(grid[np.abs(off).argmin()])
    return float(min(grid[crossings], key=lambda one: abs(np.log(one / guess))))


def _rounded(samples: int) -> int:
    """To two digits, for more would pretend to be exact."""
    unit = int(10 ** max(0, len(str(samples)) - 2))
    return round(samples / unit) * unit
