"""Rows of a benchmark as a CSV file: one dataclass of texts and numbers, there and back."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, TypeVar

from nas.runs.folder import write_atomically

Index = tuple[int, ...]
"""Choice index of every node."""

RowT = TypeVar("RowT")

_READ: dict[str, Callable[[str], Any]] = {"str": str, "int": int, "float": float}


def read_rows(path: Path, kind: type[RowT]) -> list[RowT]:
    """The rows of a file, none if it is not there; one that was cut off is left out."""
    if not path.exists():
        return []
    columns = {field.name: _READ[str(field.type)] for field in fields(kind)}  # type: ignore[arg-type]
    lines = csv.DictReader(path.read_text().splitlines())
    return [kind(**{name: read(line[name]) for name, read in columns.items()}) for line in lines if _is_whole(line)]


def _is_whole(line: dict[str, Any]) -> bool:
    return None not in line.values()


def write_rows(path: Path, kind: type[RowT], rows: Iterable[RowT], *, digits: int) -> None:
    """Writes rows, whole or not at all; numbers that are not whole with so many digits after the point."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(kind)])  # type: ignore[arg-type]
    for row in rows:
        values = astuple(row)  # type: ignore[call-overload]
        writer.writerow([f"{value:.{digits}f}" if isinstance(value, float) else value for value in values])
    write_atomically(path, text.getvalue().encode())


def index_text(index: Index) -> str:
    """Such as "0-3-0"."""
    return "-".join(map(str, index))


def index_of(text: str) -> Index:
    """The inverse of `index_text`."""
    return tuple(int(part) for part in text.split("-"))
