"""Rows of a benchmark as a CSV file: one dataclass of texts and numbers, there and back."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

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


def as_text(right: NDArray[np.bool_]) -> str:
    """Which samples were answered rightly, (samples,), in base64."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def statistics_of(text: str, samples: int) -> NDArray[np.float64]:
    """Of what `as_text` gave for so many samples what accuracy is made of, (samples, 2); see `nas.statistics`."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(text), dtype=np.uint8), count=samples)
    return np.stack([bits, np.ones(samples)], axis=1).astype(np.float64)


def index_text(index: Index) -> str:
    """Such as "0-3-0"."""
    return "-".join(map(str, index))


def index_of(text: str) -> Index:
    """The inverse of `index_text`."""
    return tuple(int(part) for part in text.split("-"))
