"""The Pareto front, against points judged by hand."""

from __future__ import annotations

import math

from nas.strategies.pareto import pareto_front


def test_the_pareto_front_is_beaten_by_nothing_cheaper() -> None:
    # (cost, gain): the third costs more than the second and gains less; of two equal points both stay.
    points = [(1.0, 1.0), (2.0, 3.0), (3.0, 2.0), (4.0, 4.0), (4.0, 4.0), (4.0, 3.5), (1.0, math.nan)]
    assert pareto_front(points) == [True, True, False, True, True, False, False]
