"""Which gates make a curve."""

from __future__ import annotations

from benchmarks.dynamic_curves import upper_hull


def test_the_upper_hull_leaves_out_what_a_mixture_of_two_others_beats() -> None:
    # (1, 1) lies below the line from (0, 0) to (2, 3); (2, 1.2) and (4, 2) below a point that costs no more.
    assert upper_hull([(0, 0), (1, 1), (2, 1.2), (2, 3), (3, 3.5), (4, 2)]) == [0, 3, 4]
    assert upper_hull([(2, 3), (1, 2), (0, 0)]) == [2, 1, 0]
    assert upper_hull([(1, 5)]) == [0]
    assert upper_hull([(1, 5), (1, 5)]) == [0]
