"""What each column of a table is, told from its cells in the training split, each with a reason in one sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, get_args

import numpy as np
import pandas as pd

from nas.data.tables.audio import SUFFIXES as AUDIO_SUFFIXES
from nas.data.tables.cells import SEVERAL, Words, is_plain, numbers, row_numbers, shown, words
from nas.data.tables.dates import find_format
from nas.data.tables.images import SUFFIXES as IMAGE_SUFFIXES
from nas.data.tables.parts import MAX_NAME, MOSTLY, OneOf
from nas.data.tables.stored_table import Table
from nas.errors import UserError, unknown_name
from nas.fields import Form, Text

ColumnKind = Literal["image", "frames", "audio", "text", "number", "category", "date", "ignore"]
KINDS: tuple[ColumnKind, ...] = get_args(ColumnKind)

IN_TABLE: tuple[ColumnKind, ...] = ("number", "category", "date")
"""Kinds whose columns lie side by side in one vector."""

GIVEN_ROLES: Mapping[str, str] = {
    "split": "which rows train, decide and test",
    "group": "rows of one group are in one split",
    "weight": "how much rows count while weights learn",
}
"""What else a column may be named as, with what that does."""

ROLES = ("target", *GIVEN_ROLES)
"""What a column may be that no network reads."""

MAX_MISSING = 0.95
"""Share of empty cells above which a column is left out."""

MIN_ROWS = 20
"""With fewer rows, that all cells differ says little of an id."""

MAX_CATEGORIES = 100
"""Different words up to which a column may be a category; with more it is text, or an id."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        name: As the table has it.
        kind: One of `KINDS`, or of `ROLES`.
        reason: Why, for people.
    """

    name: str
    kind: str
    reason: str

    @classmethod
    def forms(cls) -> Mapping[str, Form]:
        """What the fields may hold."""
        return {"name": Text(MAX_NAME), "kind": OneOf((*KINDS, *ROLES)), "reason": Text(2 * MAX_NAME)}


def parse_columns(given: str | Sequence[str] | Mapping[str, str] | None) -> dict[str, str]:
    """Column to kind from "picture:image,title:text", a list of such parts, or a mapping.

    Raises:
        UserError: If a part has no kind, a kind is unknown, or a column is named twice.
    """
    found: dict[str, str] = {}
    if isinstance(given, Mapping):
        pairs = [(str(name), str(kind)) for name, kind in given.items()]
    else:
        parts = given.split(",") if isinstance(given, str) else [str(part) for part in given or ()]
        pairs = []
        for part in parts:
            name, colon, kind = part.strip().rpartition(":")
            if part.strip() and not (name and colon):
                raise UserError(
                    f"columns hold {part.strip()!r:.200}; expected a column and its kind, such as title:text"
                )
            if part.strip():
                pairs.append((name.strip(), kind.strip()))
    for name, kind in pairs:
        if kind not in KINDS:
            raise unknown_name(f"kind of column {name!r:.200}:", kind, KINDS)
        if name in found:
            raise UserError(f"column {name!r:.200} is given two kinds, {found[name]} and {kind}; name it once")
        found[name] = kind
    return found


def infer(rows: Table, given: Mapping[str, str]) -> list[Column]:
    """What each column is.

    Args:
        rows: Of the training split, without the target; the index counts the rows of the whole table from 0.
        given: Column to kind or to one of `GIVEN_ROLES`, where it is not to be told from the cells.

    Raises:
        UserError: If a column is named that is not there, or holds numbers but for a few words.
    """
    for name in given:
        if name not in rows.columns:
            raise unknown_name("column in columns:", name, rows.columns)
    found = []
    for name in rows.columns:
        kind: str
        cells = rows[name]
        if name in given:
            kind, reason = given[name], GIVEN_ROLES.get(given[name], "as you said")
        elif not is_plain(cells):
            kind, reason = "ignore", "its cells are no words, numbers or dates"
        else:
            kind, reason = _infer(cells)
        found.append(Column(name=name, kind=kind, reason=reason))
    return found


def _infer(column: pd.Series) -> tuple[ColumnKind, str]:
    cells = words(column)
    there = [cell for cell in cells if cell is not None]
    if len(there) < (1 - MAX_MISSING) * len(cells) or not there:
        return "ignore", f"{len(cells) - len(there)} of {len(cells)} cells are empty"
    counts = Counter(there)
    if len(counts) == 1:
        if len(there) == len(cells):
            return "ignore", "the same in every row"
        return "category", "one word, or nothing"
    if column.dtype.kind == "M":
        return "date", "holds dates"
    return _numeric(column, cells, there, counts) or _worded(there, counts)


def _numeric(
    column: pd.Series, cells: Words, there: Sequence[str], counts: Mapping[str, int]
) -> tuple[ColumnKind, str] | None:
    """Number, or an id of whole numbers; None if the cells are words."""
    values, odd = numbers(cells)
    if odd.all() or (odd.any() and odd.sum() > (1 - MOSTLY) * len(there)):
        return None
    if odd.any():
        place = int(np.flatnonzero(odd)[0])
        raise UserError(
            f"column {column.name!r} holds numbers, but {cells[place]!r:.100} in row {row_numbers(column)[place]} "
            f"({odd.sum()} such cells); correct or empty them, or say --columns {column.name}:category"
        )
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    whole = bool((known == np.round(known)).all())
    if whole and len(counts) == len(there) >= MIN_ROWS and bool((np.diff(known) > 0).all()):
        return "ignore", "an id: a whole number that rises from row to row"
    if whole and len(counts) == len(there) >= MIN_ROWS and _is_named_id(str(column.name)):
        return "ignore", "an id: named so, and another whole number in every row"
    if len(counts) == 2:
        return "number", "two different numbers"
    return "number", f"{len(counts)} different numbers"


def _worded(there: Sequence[str], counts: Mapping[str, int]) -> tuple[ColumnKind, str]:
    if find_format(there) is not None:
        return "date", f"dates, such as {shown(there[0])}"
    parts = [one.strip() for cell in there for one in cell.split(SEVERAL) if one.strip()]
    if len(parts) > len(there) and all(PurePosixPath(one).suffix.lower() in IMAGE_SUFFIXES for one in parts):
        return "frames", f"several pictures in a cell, such as {shown(there[0])}"
    for kind, suffixes, what in (("image", IMAGE_SUFFIXES, "pictures"), ("audio", AUDIO_SUFFIXES, "recordings")):
        if all(PurePosixPath(cell).suffix.lower() in suffixes for cell in there):
            return kind, f"paths of {what}, such as {shown(there[0])}"  # type: ignore[return-value]  # one of the literals
    num_words = sum(len(cell.split()) for cell in there) / len(there)
    if len(counts) <= MAX_CATEGORIES and 2 * len(counts) <= len(there):
        return "category", f"{len(counts)} different words"
    if len(there) >= MIN_ROWS and len(counts) == len(there) and num_words < 1.05:
        digits = sum(any(letter.isdigit() for letter in cell) for cell in there)
        if digits > MOSTLY * len(there):
            return "ignore", "an id: other letters and digits in every row"
    return "text", f"{len(counts)} different texts of {num_words:.1f} words"


def _is_named_id(name: str) -> bool:
    return bool(
        re.search(r"(?:^|[\W_])(?:id|idx|index|nr|no|uuid|guid)$", name, re.IGNORECASE)
        or re.search(r"[a-z]I[dD]$", name)
    )
