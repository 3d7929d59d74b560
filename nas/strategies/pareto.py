"""What is beaten by nothing cheaper."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (cost, gain), whether no other costs at most as much, gains at least as much and is better in one."""

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return one[0] <= other[0] and one[1] >= other[1] and one != other

    return [not math.isnan(sum(point)) and not any(beats(other, point) for other in points) for point in points]
