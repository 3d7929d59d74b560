"""Files that the cells of a column name, such as pictures and recordings; paths are relative to the table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from nas.data.paths import is_file, mode
from nas.errors import UserError
from nas.tables.cells import row_numbers, words

MAX_BYTES = 256 * 1024**2
"""Of one file."""


def named_files(column: pd.Series, folder: Path) -> Iterator[tuple[int, Path, str]]:
    """The file of every row that names one.

    Args:
        column: Paths, absolute or relative to the folder.
        folder: Of the table.

    Yields:
        Place of the row among those given, the file, and words for an error, such as "row 3: picture 'a.png'".

    Raises:
        UserError: If there is no regular file, or it is larger than `MAX_BYTES`.
    """
    rows = row_numbers(column)
    for place, cell in enumerate(words(column)):
        if cell is None:
            continue
        label = f"column {column.name!r}, row {rows[place]}: {cell!r:.300}"
        if "://" in cell:
            raise UserError(f"{label} is an address; expected the path of a file: download it first")
        try:
            path = folder / cell
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
        yield place, path, label
