"""How many seeds or samples would tell: against the interval's own formula."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from nas.report.planning import plan
from nas.statistics import Interval


def _margin(per_seed: float, per_sample: float, seeds: int, samples: int) -> float:
    """Of `nas.statistics`: Welch and Satterthwaite."""
    parts = {seeds - 1: per_seed / seeds, samples - 1: per_sample / samples}
    variance = sum(parts.values())
    return float(t.ppf(0.975, variance**2 / sum(v**2 / k for k, v in parts.items())) * variance**0.5)


def _around(mean: float, margin: float) -> Interval:
    return Interval(mean, mean - margin, mean + margin)


DIFFERENCES = (0.01, 0.05, 0.03)  # variance 0.0004


@pytest.mark.parametrize("mean", [0.035, 0.025, 0.02])
def test_the_fewest_seeds_that_make_the_difference_measurable(mean: float) -> None:
    """With 0.16 of variance per sample and 4000 samples, as of a paired difference in accuracy."""
    margin = _margin(0.0004, 0.16, 3, 4000)
    found = plan(_around(mean, margin), DIFFERENCES, 4000, score=0.8)
    assert found is not None
    assert (found.halves, found.samples) == (False, 4000)
    assert _margin(0.0004, 0.16, found.seeds, 4000) < mean * 1.02  # the variance over samples is found on a grid
    assert _margin(0.0004, 0.16, found.seeds - 1, 4000) > mean * 0.98


def test_seeds_that_agree_leave_it_to_the_samples() -> None:
    """Without variance over seeds the margin falls with the root: 0.06 to 0.03 takes four times the samples."""
    found = plan(_around(0.03, 0.06), (0.03, 0.03, 0.03), 200, score=0.8)
    assert found is not None
    assert found.seeds == 3
    assert found.samples == pytest.approx(4 * 200, rel=0.05)


def test_of_next_to_no_difference_the_interval_is_halved() -> None:
    found = plan(_around(0.001, 0.06), (0.001, 0.001, 0.001), 200, score=0.8)
    assert found is not None
    assert found.halves
    assert found.samples == pytest.approx(4 * 200, rel=0.05)


def test_what_no_practical_number_would_tell_is_not_promised() -> None:
    """Three seeds a whole point apart: thirty of them still have a margin of 0.19 for a mean of 0.05."""
    differences = tuple(np.array([-0.5, 0.0, 0.5]) + 0.05)
    margin = _margin(0.25, 1e-6, 3, 1000)
    assert plan(_around(0.05 + margin / 4, margin), differences, 1000, score=0.5) is not None
    assert plan(_around(0.05, 0.19), differences, 1000, score=0.5) is None
