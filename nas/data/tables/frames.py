"""A modality of several pictures in a row, such as frames of a video: a sequence, of which each step is a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nas.data.fusion_data import Modality
from nas.data.memory import in_units, refuse_too_large
from nas.data.tables.cells import SEVERAL, words
from nas.data.tables.files import named_files
from nas.data.tables.images import CHANNELS, ImageRecipe
from nas.data.tables.parts import MAX_NAME, OneOf, from_plain, to_plain
from nas.data.tables.stored_table import Table
from nas.fields import Form, Text, Whole

MAX_SIDE = 16
"""Height and width that pictures are brought to at most: all pixels of one are the features of a step."""

MAX_STEPS = 32
"""Pictures of a row that are read; of more, as many are taken evenly."""


@dataclass(frozen=True, kw_only=True)
class FramesRecipe:
    """Pixels of 8 bits, one picture after the other; a shorter row repeats its last picture.

    Attributes:
        column: Name of the column of paths, several in a cell.
        mode: L (grey) or RGB.
        height: Pixels.
        width: Pixels.
        steps: Pictures.
    """

    column: str
    mode: str
    height: int
    width: int
    steps: int

    @classmethod
    def forms(cls) -> Mapping[str, Form]:
        """What the fields may hold."""
        side = Whole(1, MAX_SIDE)
        return {
            "column": Text(MAX_NAME),
            "mode": OneOf(tuple(CHANNELS)),
            "height": side,
            "width": side,
            "steps": Whole(1, MAX_STEPS),
        }

    @classmethod
    def fit(cls, rows: Table, kinds: Mapping[str, str], folder: Path) -> FramesRecipe:
        """From the rows of the training split: their median size, at most `MAX_SIDE`, and the most that a row has.

        Raises:
            UserError: If a picture is missing or broken, or there is none.
        """
        (name,) = rows.columns
        each, steps = _exploded(rows[name])
        one = ImageRecipe.fit(each.to_frame(), kinds, folder)
        shrink = min(1.0, MAX_SIDE / max(one.height, one.width))
        return cls(
            column=name,
            mode=one.mode,
            height=max(1, round(one.height * shrink)),
            width=max(1, round(one.width * shrink)),
            steps=min(MAX_STEPS, max(steps)),
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return (self.column,)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of what a row becomes."""
        return (self.steps, CHANNELS[self.mode] * self.height * self.width)

    def apply(self, frame: pd.DataFrame, folder: Path) -> Modality:
        """Pixels, (n, steps, features) of uint8; a row without a path does not have the modality.

        Raises:
            UserError: If a picture is missing or broken, or they would not fit in memory.
        """
        needed = len(frame) * int(np.prod(self.sample_shape))
        told = f"column {self.column!r} would take {in_units(needed)} of memory"
        refuse_too_large(needed, told, "use fewer rows, or more memory")
        each, counts = _exploded(frame[self.column])
        reader = ImageRecipe(column=self.column, mode=self.mode, height=self.height, width=self.width)
        array = np.zeros((len(frame), *self.sample_shape), dtype=np.uint8)
        files = iter(named_files(each, folder))
        for row, count in enumerate(counts):
            pictures = [next(files) for _ in range(count)]
            if pictures:
                wanted = np.arange(self.steps)
                if count > self.steps:
                    wanted = np.linspace(0, count - 1, self.steps).round().astype(int)
                read = {place: reader.pixels(pictures[place]).ravel() for place in {*np.minimum(wanted, count - 1)}}
                array[row] = [read[min(place, count - 1)] for place in wanted]
        present = np.array(counts) > 0
        return Modality(kind="sequence", arrays=(array,), present=None if present.all() else present)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return to_plain(self, "frames")

    @classmethod
    def from_dict(cls, values: Any, label: str) -> FramesRecipe:
        """From what `to_dict` gave.

        Raises:
            UserError: If it is something else.
        """
        return from_plain(cls, values, label)


def _exploded(column: pd.Series) -> tuple[pd.Series, list[int]]:
    """Every path of a column as a row of its own, under the number of its row; and how many each row has."""
    parts = [
        [] if cell is None else [one for one in words(pd.Series(cell.split(SEVERAL), dtype=object)) if one is not None]
        for cell in words(column)
    ]
    index = [number for number, some in zip(column.index, parts, strict=True) for _ in some]
    return pd.Series([one for some in parts for one in some], index=index, name=column.name, dtype=object), [
        len(some) for some in parts
    ]


__all__ = ["FramesRecipe"]
