"""The modality `table`: numbers, categories and dates side by side in one vector per row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nas.data.fusion_data import Modality
from nas.data.tables.categories import CategoryPart
from nas.data.tables.dates import DatePart
from nas.data.tables.numeric import NumberPart
from nas.data.tables.parts import Listed, from_plain, to_plain
from nas.data.tables.stored_table import Table
from nas.errors import UserError, unknown_name
from nas.fields import Form, told

PARTS: Mapping[str, type[NumberPart] | type[CategoryPart] | type[DatePart]] = {
    "number": NumberPart,
    "category": CategoryPart,
    "date": DatePart,
}
"""Kind of a column to what is made of it."""

MAX_PARTS = 10_000


@dataclass(frozen=True, kw_only=True)
class VectorRecipe:
    """A vector for every row.

    Attributes:
        parts: One per column.
    """

    parts: tuple[NumberPart | CategoryPart | DatePart, ...]

    @classmethod
    def fit(cls, rows: Table, kinds: Mapping[str, str], folder: Path) -> VectorRecipe:  # noqa: ARG003
        """From the rows of the training split, of the columns of the modality alone."""
        return cls(parts=tuple(PARTS[kinds[name]].fit(rows[name]) for name in rows.columns))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return tuple(part.column for part in self.parts)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of what a row becomes."""
        return (sum(part.width for part in self.parts),)

    def apply(self, frame: pd.DataFrame, folder: Path) -> Modality:  # noqa: ARG002
        """A vector for every row, (n, features); whatever is missing is imputed."""
        array = np.concatenate([part.apply(frame[part.column]) for part in self.parts], axis=1)
        return Modality(kind="vector", arrays=(array,))

    @classmethod
    def forms(cls) -> Mapping[str, Form]:
        """What the fields may hold."""
        return {"parts": Listed(1, MAX_PARTS)}

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        kinds = {made: kind for kind, made in PARTS.items()}
        return {"kind": "table", "parts": [to_plain(part, kinds[type(part)]) for part in self.parts]}

    @classmethod
    def from_dict(cls, values: Any, label: str) -> VectorRecipe:
        """From what `to_dict` gave.

        Raises:
            UserError: If it is something else.
        """
        listed = from_plain(cls, values, label).parts
        parts = []
        for value in listed:
            kind = value.get("kind") if isinstance(value, Mapping) else None
            if not isinstance(kind, str) or kind not in PARTS:
                raise unknown_name(f"kind of a column in {label}:", told(kind), PARTS)
            parts.append(from_plain(PARTS[kind], value, f"{label}, {kind}"))
        made = cls(parts=tuple(parts))
        if not made.sample_shape[0]:
            raise UserError(f"{label} gives no numbers at all")
        return made
