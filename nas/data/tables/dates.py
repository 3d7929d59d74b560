"""A column of dates: how late, and the time of year, week and day as points on a circle."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.data.tables.cells import row_numbers, words
from nas.data.tables.parts import FINITE, MAX_NAME, SCALE, OneOf, robust_scale, softened
from nas.errors import UserError
from nas.fields import Flag, Form, Several, Text

ISO = "iso"

FORMATS = (ISO, "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%Y-%m", "%Y%m%d", "%Y")
"""Forms of dates that are read: ISO 8601, or as `strptime` names them. The first that fits all cells is taken."""

CYCLES: Mapping[str, int] = {"year": 366, "week": 7, "day": 24}
"""What comes again to how many steps it has: days, days, hours."""

_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].*)?")


def find_format(cells: Sequence[str]) -> str | None:
    """The first of `FORMATS` in which every cell is a date; None if there is none."""
    return next((form for form in FORMATS if cells and all(_parse(cell, form) is not None for cell in cells)), None)


def _parse(cell: str, form: str) -> datetime | None:
    try:
        if form != ISO:
            return datetime.strptime(cell, form)
        if not _ISO_DATE.fullmatch(cell):
            return None
        found = datetime.fromisoformat(cell)
        return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    except (OverflowError, ValueError):
        return None


@dataclass(frozen=True, kw_only=True)
class DatePart:
    """The day, standardized as a number is, and sine and cosine of each cycle; 0 everywhere where there is no date.

    Attributes:
        column: Name.
        format: One of `FORMATS`.
        center: Median of the training split, in days since 1970.
        scale: Its deviation, see `robust_scale`.
        cycles: Those of `CYCLES` in which dates of the training split differ.
        gaps: Whether dates are missing in the training split, which gives them a column of their own.
    """

    column: str
    format: str
    center: float
    scale: float
    cycles: tuple[str, ...]
    gaps: bool

    @classmethod
    def forms(cls) -> Mapping[str, Form]:
        """What the fields may hold."""
        return {
            "column": Text(MAX_NAME),
            "format": OneOf(FORMATS),
            "center": FINITE,
            "scale": SCALE,
            "cycles": Several(OneOf(tuple(CYCLES)), 0, len(CYCLES)),
            "gaps": Flag(),
        }

    @classmethod
    def fit(cls, column: pd.Series) -> DatePart:
        """From the cells of the training split.

        Raises:
            UserError: If no form of dates fits them all.
        """
        cells = words(column)
        form = find_format([cell for cell in cells if cell is not None])
        if form is None:
            raise UserError(
                f"column {column.name!r} holds no dates of one form; expected such as 2024-01-31 in every row: rewrite "
                f"them, or say --columns {column.name}:category"
            )
        dates = _dates(column, form)
        known = [date for date in dates if date is not None]
        center, scale = robust_scale(np.array([_days(date) for date in known]))
        varying = tuple(name for name in CYCLES if len({_phase(date, name) for date in known}) > 1)
        return cls(
            column=str(column.name),
            format=form,
            center=center,
            scale=scale,
            cycles=varying,
            gaps=len(known) < len(dates),
        )

    @property
    def width(self) -> int:
        """How many numbers it gives for a row."""
        return 1 + 2 * len(self.cycles) + self.gaps

    def apply(self, column: pd.Series) -> NDArray[np.float32]:
        """Numbers for every row, (n, width)."""
        dates = _dates(column, self.format)
        days = np.array([self.center if date is None else _days(date) for date in dates])
        found = [softened((days - self.center) / self.scale)]
        missing = np.array([date is None for date in dates])
        for name in self.cycles:
            angle = np.array([0.0 if date is None else 2 * np.pi * _phase(date, name) / CYCLES[name] for date in dates])
            found += [np.where(missing, 0.0, np.sin(angle)), np.where(missing, 0.0, np.cos(angle))]
        if self.gaps:
            found.append(missing)
        return np.stack(found, axis=1).astype(np.float32)


def _dates(column: pd.Series, form: str) -> list[datetime | None]:
    cells = words(column)
    found = [None if cell is None else _parse(cell, form) for cell in cells]
    for place, (cell, date) in enumerate(zip(cells, found, strict=True)):
        if cell is not None and date is None:
            wanted = "an ISO date such as 2024-01-31" if form == ISO else f"a date like {datetime(2024, 1, 31):{form}}"
            raise UserError(
                f"column {column.name!r} holds {cell!r:.100} in row {row_numbers(column)[place]}; expected {wanted} or "
                "nothing: correct it"
            )
    return found


def _days(date: datetime) -> float:
    return (date - datetime(1970, 1, 1)).total_seconds() / 86_400


def _phase(date: datetime, cycle: str) -> int:
    return {"year": date.timetuple().tm_yday - 1, "week": date.weekday(), "day": date.hour}[cycle]
