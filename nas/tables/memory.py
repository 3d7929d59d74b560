"""Refuses what a whole table of pictures or recordings would take, before it is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nas.data.memory import available_bytes, in_units
from nas.data.npz import MAX_SHARE
from nas.errors import UserError


def refuse_too_large(column: str, shape: Sequence[int], num_bytes: int) -> None:
    """Compares an array with the memory that is free.

    Args:
        column: That it is made of.
        shape: Of the array.
        num_bytes: Of each number.

    Raises:
        UserError: If it would take more than half of what is free.
    """
    needed, free = math.prod(shape) * num_bytes, available_bytes()
    if free is not None and needed > MAX_SHARE * free:
        raise UserError(
            f"column {column!r} would take {in_units(needed)} of memory; expected at most "
            f"{in_units(int(MAX_SHARE * free))}, half of what is free: use fewer rows, or more memory"
        )
