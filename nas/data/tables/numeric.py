"""A column of numbers: median and robust scale of the training split, and whether there is a number at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.data.tables.cells import numbers_of, row_numbers, words
from nas.data.tables.parts import FINITE, LARGEST, MAX_NAME, SCALE, robust_scale, softened
from nas.errors import UserError
from nas.fields import Flag, Form, Text


@dataclass(frozen=True, kw_only=True)
class NumberPart:
    """softened((x - center) / scale); where there is no number 0, as of the median, and 1 in a column of its own.

    Attributes:
        column: Name.
        center: Median of the training split.
        scale: Its deviation, see `robust_scale`.
        gaps: Whether numbers are missing in the training split, which gives them the column of their own.
    """

    column: str
    center: float
    scale: float
    gaps: bool

    @classmethod
    def forms(cls) -> Mapping[str, Form]:
        """What the fields may hold."""
        return {"column": Text(MAX_NAME), "center": FINITE, "scale": SCALE, "gaps": Flag()}

    @classmethod
    def fit(cls, column: pd.Series) -> NumberPart:
        """From the cells of the training split."""
        values = _values(column)
        known = ~np.isnan(values)
        center, scale = robust_scale(values[known])
        return cls(column=str(column.name), center=center, scale=scale, gaps=not known.all())

    @property
    def width(self) -> int:
        """How many numbers it gives for a row."""
        return 1 + self.gaps

    def apply(self, column: pd.Series) -> NDArray[np.float32]:
        """Numbers for every row, (n, width)."""
        values = _values(column)
        missing = np.isnan(values)
        scaled = softened((np.where(missing, self.center, values) - self.center) / self.scale)
        return np.stack([scaled, missing] if self.gaps else [scaled], axis=1).astype(np.float32)


def _values(column: pd.Series) -> NDArray[np.float64]:
    values, odd = numbers_of(column)
    if odd.any():
        place = int(np.flatnonzero(odd)[0])
        raise UserError(
            f"column {column.name!r} holds {words(column)[place]!r:.100} in row {row_numbers(column)[place]}; expected "
            f"a number or nothing: correct it, or search with --columns {column.name}:category"
        )
    return np.clip(values, -LARGEST, LARGEST)
