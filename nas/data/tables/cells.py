"""What stands in the cells of a column, whatever library or file it came from: words, numbers, or nothing.

A CSV holds text alone, a data frame has types. Both come to the same here, so that a table gives the same arrays from
either: 3, 3.0 and "3.0" are the word "3", and a blank, "NA" and NaN are nothing.
"""

from __future__ import annotations

import datetime
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.errors import UserError

MISSING_WORDS = frozenset(
    ["", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "#N/A", "#N/A N/A", "#NA", "<NA>", "N/A", "NA"]
) | {"NULL", "NaN", "None", "n/a", "nan", "null"}
"""What stands for nothing: the words that `pandas.read_csv` takes for it."""

NO_NUMBER = frozenset(("?", "-", "--", ".", "inf", "-inf", "Infinity", "-Infinity"))
"""What stands for nothing among numbers besides."""

SEVERAL = "|"
"""Between the words of a cell that holds several, as a list in a cell is written."""

Words = Sequence[str | None]
"""The cells of a column as words, None where there is nothing."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"(-?[0-9]+)\.0+")
_AS_NUMBER: Mapping[str, float] = {"true": 1.0, "false": 0.0}
_FLAGS: Mapping[str, str] = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}


def words(column: pd.Series) -> list[str | None]:
    """The cells of a column as words, None where there is nothing.

    Raises:
        UserError: If a cell holds no word, number, flag or date, such as a list; or bytes that are not UTF-8.
    """
    return [_word(cell, column.name, row) for row, cell in zip(row_numbers(column), column.tolist(), strict=True)]


def row_numbers(rows: pd.Series | pd.DataFrame) -> list[int]:
    """Numbers of rows for people, counted from 1 in the whole table; the header does not count.

    Args:
        rows: Whose index counts the rows of the table from 0; with another index they are counted as they come.
    """
    places = rows.index.tolist()
    return [place + 1 for place in (places if all(type(place) is int for place in places) else range(len(places)))]


def held_bytes(cell: Any) -> bytes | None:
    """The content of a file that a cell holds itself, as those of a Hugging Face `Dataset` do; None for any other."""
    return cell["bytes"] if _is_file(cell) and isinstance(cell["bytes"], bytes) else None


def _is_file(cell: Any) -> bool:
    return isinstance(cell, Mapping) and cell.keys() == {"bytes", "path"}


def _is_list(cell: Any) -> bool:
    """Whether it is a list of names of files, as JSON lines and Parquet hold them."""
    if not isinstance(cell, list | tuple | np.ndarray) or np.ndim(cell) != 1:
        return False
    return all(isinstance(one, str) and PurePosixPath(one).suffix for one in cell)


def _name_of_file(cell: Mapping[str, Any]) -> str | None:
    """Its path; without one a name after its content, with the ending of its format."""
    if isinstance(cell["path"], str):
        return cell["path"] or None
    if (content := held_bytes(cell)) is None:
        return None
    ending = next((ending for start, ending in _BEGINNINGS.items() if content.startswith(start)), "")
    if content.startswith(b"RIFF"):
        ending = ".webp" if content[8:12] == b"WEBP" else ".wav"
    return f"{zlib.crc32(content):08x}{ending}"


_BEGINNINGS: Mapping[bytes, str] = {
    b"\x89PNG": ".png",
    b"\xff\xd8": ".jpg",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"fLaC": ".flac",
    b"OggS": ".ogg",
    b"ID3": ".mp3",
    b"FORM": ".aiff",
}
"""First bytes of a format to the ending of its files."""


def shown(text: str) -> str:
    """A cell or a name for people, on one line of at most 60 characters; what cannot be printed is escaped."""
    shortened = text if len(text) <= 60 else f"{text[:59]}…"
    return shortened if shortened.isprintable() else repr(shortened)


def is_plain(column: pd.Series) -> bool:
    """Whether every cell holds a word, a list of files, a number, a flag, a date, a whole file or nothing."""
    if column.dtype.kind in "biufM":
        return True
    return all(
        cell is None
        or isinstance(cell, str | bytes | Real | datetime.date | np.bool_)
        or _is_file(cell)
        or _is_list(cell)
        or _is_missing(cell)
        or _is_decimal(cell)
        for cell in column.tolist()
    )


def numbers_of(column: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The cells of a column as numbers; see `numbers`."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        values = column.to_numpy(dtype=np.float64)
        return np.where(np.isfinite(values), values, np.nan), np.zeros(len(values), dtype=np.bool_)
    return numbers(words(column))


def numbers(some: Words) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Words as numbers.

    Returns:
        The numbers, NaN where there is none, (n,); and which cells hold something else than a number or nothing, (n,).
    """
    values = np.full(len(some), np.nan)
    odd = np.zeros(len(some), dtype=np.bool_)
    for place, word in enumerate(some):
        if word is None or word in NO_NUMBER:
            continue
        if word in _AS_NUMBER:
            values[place] = _AS_NUMBER[word]
        elif _NUMBER.fullmatch(word):
            values[place] = float(word)
        else:
            odd[place] = True
    values[~np.isfinite(values)] = np.nan  # beyond the range of numbers
    return values, odd


def _word(cell: Any, column: object, row: int) -> str | None:
    if isinstance(cell, str):
        return _word_of_text(cell)
    if _is_list(cell):
        return SEVERAL.join(cell) or None
    if isinstance(cell, bytes):
        try:
            return _word_of_text(cell.decode())
        except UnicodeDecodeError as error:
            raise UserError(
                f"column {column!r} holds bytes that are not UTF-8 in row {row}; decode them, or leave it out with "
                f"--columns {column}:ignore"
            ) from error
    if cell is None or _is_missing(cell):
        return None
    if _is_file(cell):
        return _name_of_file(cell)
    word = _word_of_value(cell)
    if word is None:
        raise UserError(
            f"column {column!r} holds a {type(cell).__name__} in row {row}; expected a word, a number or a date: leave "
            f"it out with --columns {column}:ignore"
        )
    return word


def _word_of_text(text: str) -> str | None:
    word = text.strip()
    if word in MISSING_WORDS:
        return None
    found = _WHOLE.fullmatch(word)
    return found[1] if found else _FLAGS.get(word, word)


def _word_of_value(cell: Any) -> str | None:
    """The word for a flag, a number or a date; None for anything else."""
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    if isinstance(cell, Integral):
        return str(int(cell))
    if isinstance(cell, Real) or _is_decimal(cell):
        return _word_of_text(repr(float(cell)))
    return cell.isoformat() if isinstance(cell, datetime.date) else None


def _is_missing(cell: Any) -> bool:
    """Whether a cell is NaN, NaT or pandas' NA."""
    return cell is pd.NaT or cell is pd.NA or (isinstance(cell, Real) and math.isnan(float(cell)))


def _is_decimal(cell: Any) -> bool:
    return type(cell).__name__ == "Decimal"
