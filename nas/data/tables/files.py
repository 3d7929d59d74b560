"""Files that the cells of a column name, or hold themselves, and the modality that they become.

Paths are relative to the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray

from nas.data.fusion_data import Kind, Modality
from nas.data.memory import in_units, refuse_too_large
from nas.data.paths import is_file, mode
from nas.data.tables.cells import held_bytes, row_numbers, words
from nas.errors import UserError

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


def some_files(column: pd.Series, folder: Path, most: int) -> Iterator[NamedFile]:
    """Files of a column, evenly spread over its rows, at most so many; see `named_files`."""
    known = column.dropna()
    return named_files(known.iloc[:: max(1, -(-len(known) // most))], folder)


def filled(
    kind: Kind,
    column: pd.Series,
    folder: Path,
    read: Callable[[NamedFile], NDArray[np.generic]],
    shape: Sequence[int],
    dtype: DTypeLike,
) -> Modality:
    """The modality of a column of files; a row without one does not have it.

    Args:
        kind: Of the modality.
        column: See `named_files`.
        folder: Likewise.
        read: From a file to what stands for it.
        shape: Of that.
        dtype: Likewise.

    Raises:
        UserError: If a file cannot be read, or all of it would not fit in memory.
    """
    needed = math.prod((len(column), *shape)) * np.dtype(dtype).itemsize
    told = f"column {column.name!r} would take {in_units(needed)} of memory"
    refuse_too_large(needed, told, "use fewer rows, or more memory")
    array = np.zeros((len(column), *shape), dtype=dtype)
    present = np.zeros(len(column), dtype=np.bool_)
    for file in named_files(column, folder):
        array[file.place] = read(file)
        present[file.place] = True
    return Modality(kind=kind, arrays=(array,), present=None if present.all() else present)


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
