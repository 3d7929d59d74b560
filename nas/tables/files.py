"""Files that the cells of a column name, or hold themselves; paths are relative to the table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

import pandas as pd

from nas.data.paths import is_file, mode
from nas.errors import UserError
from nas.tables.cells import held_bytes, row_numbers, words

MAX_BYTES = 256 * 1024**2
"""Of one file."""


@dataclass(frozen=True, kw_only=True)
class NamedFile:
    """The file of a row.

    Attributes:
        place: Of the row among those given.
        source: Its path, or its content.
        suffix: Ending of its name, in small letters.
        label: For an error, such as "column 'p', row 3: 'a.png'".
    """

    place: int
    source: Path | BytesIO
    suffix: str
    label: str


def named_files(column: pd.Series, folder: Path) -> Iterator[NamedFile]:
    """The file of every row that has one.

    Args:
        column: Paths, absolute or relative to the folder; or content.
        folder: Of the table.

    Raises:
        UserError: If there is no regular file, or it is larger than `MAX_BYTES`.
    """
    rows = row_numbers(column)
    for place, (name, cell) in enumerate(zip(words(column), column.tolist(), strict=True)):
        if name is None:
            continue
        label = f"column {column.name!r}, row {rows[place]}: {name!r:.300}"
        content = held_bytes(cell)
        yield NamedFile(
            place=place,
            source=_found(name, folder, label) if content is None else BytesIO(content),
            suffix=PurePosixPath(name).suffix.lower(),
            label=label,
        )


def _found(name: str, folder: Path, label: str) -> Path:
    if "://" in name:
        raise UserError(f"{label} is an address; expected the path of a file: download it first")
    path = folder / name
    try:
        there = mode(path) is not None
    except UserError as error:
        raise UserError(f"{label} cannot be read: {error}") from error
    if not there:
        raise UserError(
            f"{label} is not there; paths are relative to the table, in {str(folder)!r}: correct or empty it"
        )
    if not is_file(path):
        raise UserError(f"{label} is no file; correct or empty the cell")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise UserError(f"{label} has {size:,} bytes; expected at most {MAX_BYTES:,}")
    return path
