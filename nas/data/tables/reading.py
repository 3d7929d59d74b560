"""A table from a file or from memory, as a pandas frame; nothing is unpickled, and sizes are checked first."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, overload

import pandas as pd

from nas.data.fusion_data import fits
from nas.data.memory import in_units, refuse_too_large
from nas.data.paths import is_file
from nas.data.tables.parts import MAX_NAME
from nas.data.tables.stored_table import EXPANSION, StoredTable, Table, num_bytes, open_parquet, reading
from nas.errors import UserError, one_line

MAX_COLUMNS = 10_000
"""Wide enough for anything that a person has named."""

MAX_CELL = 1_000_000
"""Characters of a cell. A quotation mark that is never closed would swallow the rest of a file."""

MAX_CELLS = 10**8
"""Of JSON lines, where a few bytes can name a column that every other line then has a cell of."""

_SEPARATORS = ",;\t|"

_TEXT_EXPANSION = 30
"""Memory per byte of a file of text: a cell of two letters takes some sixty bytes."""


def suffix_of(path: Path) -> str:
    """The ending of a file's name that says what it is, in small letters."""
    return path.suffix.lower()


@overload
def read_table(path: Path, memory: None = None) -> pd.DataFrame: ...


@overload
def read_table(path: Path, memory: int | None) -> Table: ...


def read_table(path: Path, memory: int | None = None) -> Table:
    """Reads a file of one of `READERS`; cells of text files stay text.

    Args:
        path: Of the file.
        memory: Bytes that data may take; a Parquet file that takes more stays on disk. None for any number.

    Raises:
        UserError: If it cannot be read, is empty or garbled, or would not fit in memory.
    """
    if not is_file(path):
        raise UserError(f"{str(path)!r} is no file; expected a table: {', '.join(READERS)}")
    try:
        if suffix_of(path) in _PARQUET:
            return _read_parquet(path, memory)
        _refuse_vast(path, path.stat().st_size * _TEXT_EXPANSION)
        return checked(_TEXT_READERS[suffix_of(path)](path), repr(str(path)))
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {one_line(error)}") from error


def table_of(source: Any) -> pd.DataFrame:
    """A pandas frame from one in memory: pandas' own, or anything that turns itself into one by `to_pandas()`.

    Raises:
        UserError: If it is no table, or malformed.
    """
    frame = source.to_pandas() if hasattr(source, "to_pandas") else source
    if not isinstance(frame, pd.DataFrame):
        raise UserError(
            f"a {type(source).__name__} is no data that can be searched; expected a data frame, a FusionData, or the "
            "path of a file: for arrays use FusionData.from_arrays, of several tables hand over one"
        )
    return checked(frame, "the data frame")


def checked(frame: pd.DataFrame, label: str) -> pd.DataFrame:
    """The frame with names of columns as text and rows counted from 0.

    Raises:
        UserError: If it has no rows or columns, or a name is empty, twice there or longer than `MAX_NAME`.
    """
    names = _checked_names(frame.columns, label)
    if frame.empty:
        raise UserError(f"{label} has no rows below its header; expected one per sample")
    return frame.set_axis(names, axis=1).reset_index(drop=True)


def _checked_names(columns: pd.Index, label: str) -> list[str]:
    """Names of columns as text."""
    if columns.nlevels > 1:
        raise UserError(f"{label} has column names of {columns.nlevels} levels; join them into one")
    if not 1 <= len(columns) <= MAX_COLUMNS:
        raise UserError(f"{label} has {len(columns)} columns; expected 1 to {MAX_COLUMNS}")
    names = [str(name).strip() or f"Unnamed: {place}" for place, name in enumerate(columns)]
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UserError(f"{label} has two columns named {name!r:.300}; rename one of them")
        if len(name) > MAX_NAME:
            raise UserError(f"{label} has a column name of {len(name)} characters; expected at most {MAX_NAME}")
        seen.add(name)
    return names


def _read_csv(path: Path) -> pd.DataFrame:
    lines = _lines(path)
    first = next(lines, None)
    if first is None or not first.strip():
        raise UserError(f"{str(path)!r} is empty or begins with a blank line; expected the names of its columns")
    separator = "\t" if suffix_of(path) != ".csv" else max(_SEPARATORS, key=first.count)
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(_with(first, lines), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    try:
        header = next(reader)
        for row in reader:
            if not row:  # a blank line
                continue
            if len(row) != len(header):
                raise UserError(
                    f"row {len(rows) + 1} of {str(path)!r} (line {reader.line_num}) has {len(row)} cells, but the "
                    f"header has {len(header)}; give every row one cell per column, and quote a cell "
                    f"that holds {separator!r}"
                )
            rows.append(row)
    except csv.Error as error:
        raise UserError(
            f"{str(path)!r} is no well-formed CSV: {one_line(error)} (line {reader.line_num}); is a quotation mark not "
            "closed?"
        ) from error
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    data = {place: pd.Series(list(cells), dtype=object) for place, cells in enumerate(columns)}
    return pd.DataFrame(data).set_axis(header, axis=1)


def _read_json_lines(path: Path) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {}
    count = 0
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"line {number} of {str(path)!r} is not JSON: {one_line(error)}; expected one object a line"
            ) from error
        if not isinstance(row, dict):
            raise UserError(f"line {number} of {str(path)!r} holds a {type(row).__name__}; expected one object a line")
        for name, cell in row.items():
            columns.setdefault(name, [None] * count).append(cell)
        count += 1
        if len(columns) > MAX_COLUMNS or len(columns) * count > MAX_CELLS:
            raise UserError(
                f"{str(path)!r} has {len(columns)} different names in the first {count} lines; expected one per "
                f"column, at most {MAX_COLUMNS} of them and {MAX_CELLS:,} cells: is every line of the same table?"
            )
        for name in columns.keys() - row.keys():
            columns[name].append(None)
    return pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})


def _read_parquet(path: Path, memory: int | None) -> Table:
    file, told = open_parquet(path), repr(str(path))
    if file.metadata.num_rows and not fits(num_bytes(file), memory):
        with reading(told):
            names = file.schema_arrow.empty_table().to_pandas().columns
        return StoredTable.of(file, told, _checked_names(names, told))
    with file:
        _refuse_vast(path, EXPANSION * num_bytes(file))
        with reading(told):
            frame = file.read().to_pandas()
    return checked(frame, told)


_TEXT_READERS = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".tab": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
}
"""Ending of a file's name to what reads it."""

_PARQUET = (".parquet", ".pq")

READERS = (*_TEXT_READERS, *_PARQUET)
"""Endings of the names of files that are read."""

OTHER_TABLES = (
    ".xlsx",
    ".xls",
    ".ods",
    ".json",
    ".feather",
    ".arrow",
    ".orc",
    ".dta",
    ".sav",
    ".rds",
    ".db",
    ".sqlite",
)
"""Endings of tables that are not read, for a line that says so."""


def _lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file with their ends, so that quoted cells keep theirs.

    Raises:
        UserError: If a byte is not UTF-8, or there is a null character.
    """
    with path.open("rb") as file:
        number = 0
        for number, line in enumerate(file, start=1):
            if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise UserError(f"{str(path)!r} is UTF-16 text; save it as UTF-8")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{str(path)!r} is not UTF-8 text (line {number}, byte {line[error.start]:#04x}); save it as UTF-8"
                ) from error
            if "\0" in text:
                raise UserError(f"{str(path)!r} holds a null character in line {number}; is it a text file?")
            yield text


def _with(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


def _refuse_vast(path: Path, needed: int) -> None:
    told = f"{str(path)!r} would take about {in_units(needed)} of memory"
    refuse_too_large(needed, told, "use fewer rows or columns, or more memory")
