"""A column of categories: one number per category that the training split holds several times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.data.tables.cells import words
from nas.data.tables.parts import MAX_CELL, MAX_NAME
from nas.fields import Flag, Form, Several, Text

MIN_COUNT = 2
"""Rows of the training split from which a category has a number of its own; rarer ones share one."""

MAX_KEPT = 64
"""Categories with a number of their own, the most frequent ones."""


@dataclass(frozen=True, kw_only=True)
class CategoryPart:
    """1 in the place of the row's category, 0 elsewhere.

    What the training split did not hold is all zeros, or counts as rare if there were rare categories.

    Attributes:
        column: Name.
        values: Categories, the most frequent one first.
        rare: Whether the training split has rarer ones, which share a place behind these.
        gaps: Whether there are empty cells in the training split, which have the last place.
    """

    column: str
    values: tuple[str, ...]
    rare: bool
    gaps: bool

    @classmethod
    def forms(cls) -> Mapping[str, Form]:
        """What the fields may hold."""
        return {
            "column": Text(MAX_NAME),
            "values": Several(Text(MAX_CELL), 0, MAX_KEPT),
            "rare": Flag(),
            "gaps": Flag(),
        }

    @classmethod
    def fit(cls, column: pd.Series) -> CategoryPart:
        """From the cells of the training split."""
        cells = words(column)
        counts = Counter(cell[:MAX_CELL] for cell in cells if cell is not None)
        ordered = sorted(counts, key=lambda value: (-counts[value], value))
        frequent = [value for value in ordered if counts[value] >= MIN_COUNT] or ordered
        kept = tuple(frequent[:MAX_KEPT])
        return cls(column=str(column.name), values=kept, rare=len(kept) < len(ordered), gaps=None in cells)

    @property
    def width(self) -> int:
        """How many numbers it gives for a row."""
        return len(self.values) + self.rare + self.gaps

    def apply(self, column: pd.Series) -> NDArray[np.float32]:
        """Numbers for every row, (n, width)."""
        places = {value: place for place, value in enumerate(self.values)}
        found = np.zeros((len(column), self.width), dtype=np.float32)
        for row, cell in enumerate(words(column)):
            place = places.get(cell[:MAX_CELL]) if cell is not None else None
            if place is None and cell is not None and self.rare:
                place = len(self.values)
            if cell is None and self.gaps:
                place = self.width - 1
            if place is not None:
                found[row, place] = 1
        return found
