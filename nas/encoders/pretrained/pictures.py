"""What a network of pictures wants to be shown, by what the files beside its weights say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nas.data.tables.needs import Needs
from nas.fields import Number, Several, Whole, check

SIZE = Several(Whole(1, 4096), 0, 2)
"""Height and width of pictures, pixels; nothing for other kinds."""

MEAN = Several(Number("a number", low=-1e6, high=1e6, below=False), 0, 3)
"""Of every channel of pictures between 0 and 1; nothing for other kinds."""

DEVIATION = Several(Number("positive", above=True, below=False), 0, 3)
"""Likewise."""


def picture_needs(size: Any, mean: Any, deviation: Any, where: str) -> Needs:
    """From what was read, which may be anything.

    Args:
        size: Pixels, one number or height and width.
        mean: Three numbers.
        deviation: Likewise.
        where: The network, for an error.

    Raises:
        UserError: If no picture can be brought to that.
    """
    sides = size if isinstance(size, Sequence) else [size, size]
    for name, value, form in (("size", sides, SIZE), ("mean", mean, MEAN), ("deviation", deviation, DEVIATION)):
        count = 2 if name == "size" else 3
        check(f"the {name} of pictures for {where}", value, Several(form.form, count, count))
    return Needs(height=int(sides[0]), width=int(sides[1]), mean=tuple(mean), deviation=tuple(deviation))
