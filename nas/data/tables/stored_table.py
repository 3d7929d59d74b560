"""A Parquet table that stays on disk: a column, or a block of rows, is read when it is asked for.

What is asked of it is a part of what can be asked of a pandas frame, so that both are read by the same code: `columns`,
`len`, a column by its name, several columns, and `take` for rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.data.memory import in_units, refuse_too_large
from nas.errors import UserError, one_line

BLOCK_ROWS = 256
"""Rows of a block at most."""

BLOCK_BYTES = 2**25
"""Of a block, if rows are about as large as they are in the mean."""

BUFFER = 2**20
"""Bytes of a column that are read ahead."""

EXPANSION = 4
"""Memory per byte of a column that is not compressed."""


@dataclass(frozen=True, eq=False)
class ParquetSource:
    """An open Parquet file, and what was read of it and kept.

    Attributes:
        file: Of pyarrow.
        told: Its path for an error.
        fields: Column to its name in the file, without what pandas kept as an index.
        kept: Name of a column of whole files to these, which are not read yet.
        gaps: Name of a column of whole numbers to whether a cell of it is empty.
    """

    file: Any
    told: str
    fields: Mapping[str, str]
    kept: dict[str, list[HeldFile | None]] = field(default_factory=dict)
    gaps: dict[str, bool] = field(default_factory=dict)

    def starts(self) -> NDArray[np.int64]:
        """The first row of every row group, and the number of all rows."""
        return np.cumsum([0, *(group.num_rows for group in row_groups(self.file))])

    def row_bytes(self, names: Sequence[str]) -> float:
        """Of some columns, not compressed, for a row in the mean."""
        wanted = tuple(f"{self.fields[name]}." for name in names)
        size = sum(size for path, size in self._sizes.items() if f"{path}.".startswith(wanted))
        return float(size / max(1, self.file.metadata.num_rows))

    def block_rows(self, names: Sequence[str]) -> int:
        """Rows of some columns that are read at once."""
        return max(1, min(BLOCK_ROWS, int(BLOCK_BYTES / max(1.0, self.row_bytes(names)))))

    @cached_property
    def _sizes(self) -> Mapping[str, int]:
        """Column, such as picture.bytes, to its bytes, not compressed; counted once, of maybe a million chunks."""
        found: Counter[str] = Counter()
        for group in row_groups(self.file):
            for chunk in map(group.column, range(group.num_columns)):
                found[chunk.path_in_schema] += chunk.total_uncompressed_size
        return found

    def holds_files(self, name: str) -> bool:
        """Whether the cells of a column are whole files, as those of a Hugging Face `Dataset`."""
        types = import_module("pyarrow.types")
        kind = self.file.schema_arrow.field(self.fields[name]).type
        if not types.is_struct(kind) or {one.name for one in kind} != {"bytes", "path"}:
            return False
        return bool(types.is_binary(kind.field("bytes").type) or types.is_large_binary(kind.field("bytes").type))

    def column(self, name: str) -> pd.Series:
        """All cells of a column; of whole files what reads them.

        Raises:
            UserError: If the file is damaged, or the column would not fit in memory.
        """
        if self.holds_files(name):
            if name not in self.kept:
                self.kept[name] = self._held(name)
            return pd.Series(self.kept[name], dtype=object, name=name)
        needed = round(EXPANSION * self.row_bytes([name]) * self.file.metadata.num_rows)
        refuse_too_large(needed, f"column {name!r} would take about {in_units(needed)} of memory", "use fewer rows")
        with reading(self.told):
            read = self.file.read(columns=[self.fields[name]]).select([self.fields[name]])
            found: pd.Series = read.to_pandas().iloc[:, 0]
        self.check_rows(len(found))
        return found.rename(name).reset_index(drop=True)

    def batches(self, names: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Some columns in blocks of consecutive rows, from the first to the last, whole files with their content."""
        wanted = [self.fields[name] for name in names]
        # Whole numbers beside an empty cell are float64 to pandas. So they are in blocks without one, too: above 1e16
        # the words of the two differ, and a category would not be found again.
        with_gaps = [name for name in names if self._has_gaps(name)]
        with reading(self.told):
            start = 0
            for batch in self.file.iter_batches(batch_size=self.block_rows(names), columns=wanted):
                read = batch.select(wanted).to_pandas().set_axis(list(names), axis=1)
                frame = read.astype({name: float for name in with_gaps if isinstance(read[name].dtype, np.dtype)})
                yield frame.set_axis(range(start, start + len(frame)), axis=0)
                start += len(frame)
        self.check_rows(start)

    def check_rows(self, count: int) -> None:
        """Refuses a file of which other rows are read than it says that it has.

        Raises:
            UserError: If it is so.
        """
        said = self.file.metadata.num_rows
        if count != said:
            raise UserError(
                f"{self.told} is damaged: it says that it has {said:,} rows, and {count:,} can be read; write it again"
            )

    def _has_gaps(self, name: str) -> bool:
        """Whether it is a column of whole numbers of which a cell is empty, in whichever row."""
        column = self.fields[name]
        if name not in self.gaps:
            is_whole = import_module("pyarrow.types").is_integer(self.file.schema_arrow.field(column).type)
            with reading(self.told):
                self.gaps[name] = is_whole and any(
                    batch.column(column).null_count for batch in self.file.iter_batches(columns=[column])
                )
        return self.gaps[name]

    def _held(self, name: str) -> list[HeldFile | None]:
        """What reads the file of every row; None where there is none."""
        column = self.fields[name]
        with reading(self.told):
            cells = self.file.read(columns=[f"{column}.path"]).column(column).to_pylist()
        self.check_rows(len(cells))
        contents = _Contents(self, column, self.block_rows([name]))
        return [None if cell is None else HeldFile(contents, row, cell["path"]) for row, cell in enumerate(cells)]


class HeldFile(Mapping[str, Any]):
    """A cell that is a whole file, with the keys `bytes` and `path`; its content is read when it is asked for.

    Args:
        contents: Of all rows.
        row: Of this one.
        path: Its name; None if it has none.
    """

    def __init__(self, contents: _Contents, row: int, path: str | None) -> None:
        self._contents = contents
        self._row = row
        self._path = path

    def __getitem__(self, key: str) -> Any:
        if key == "path":
            return self._path
        if key == "bytes":
            return self._contents.at(self._row)
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(("bytes", "path"))

    def __len__(self) -> int:
        return 2


class _Contents:
    """The contents of a column of whole files. Whoever asks row after row has every row group decoded once.

    Args:
        source: The file.
        column: Name there.
        size: Rows that are read at once.
    """

    def __init__(self, source: ParquetSource, column: str, size: int) -> None:
        self._source = source
        self._column = column
        self._size = size
        self._starts = source.starts()
        self._group = -1
        self._first = 0  # row of the table that the first of the present ones is
        self._present: list[bytes | None] = []
        self._next: Iterator[Any] = iter(())

    def at(self, row: int) -> bytes | None:
        """Of a row."""
        if row < self._first or row >= self._first + len(self._present):
            with reading(self._source.told):
                self._go_to(row)
        return self._present[row - self._first]

    def _go_to(self, row: int) -> None:
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        if group != self._group or row < self._first:
            self._group, self._first, self._present = group, int(self._starts[group]), []
            self._next = self._source.file.iter_batches(
                batch_size=self._size, row_groups=[group], columns=[f"{self._column}.bytes"]
            )
        while row >= self._first + len(self._present):
            self._first += len(self._present)
            batch: Any = next(self._next, None)
            if batch is None:  # rows below the one that is wanted are all that there are
                self._source.check_rows(self._first)
            self._present = batch.column(self._column).field("bytes").to_pylist()


@dataclass(frozen=True, eq=False)
class StoredTable:
    """Some columns and rows of a Parquet file.

    Attributes:
        source: The file.
        columns: Names, in order.
        rows: Places in the file, (n,).
    """

    source: ParquetSource
    columns: tuple[str, ...]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, file: Any, told: str, names: Sequence[str]) -> StoredTable:
        """All of an open file.

        Args:
            file: Of pyarrow.
            told: Its path for an error.
            names: Of its columns, without what pandas kept as an index.

        Raises:
            UserError: If the numbers of its rows alone would not fit in memory.
        """
        needed = 8 * file.metadata.num_rows
        refuse_too_large(
            needed, f"the numbers of the rows of {told} would take {in_units(needed)} of memory", "use fewer rows"
        )
        index = (file.schema_arrow.pandas_metadata or {}).get("index_columns", [])
        fields = [name for name in file.schema_arrow.names if name not in index]
        source = ParquetSource(file, told, dict(zip(names, fields, strict=True)))
        return cls(source, tuple(names), np.arange(file.metadata.num_rows))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> Any:
        """A column as a series, whose index counts the rows of the file; or a table of several columns."""
        if isinstance(key, str):
            return self.source.column(key).take(self.rows)
        return replace(self, columns=tuple(key))

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> StoredTable:
        """The rows at these places among those that it has."""
        return replace(self, rows=self.rows[np.asarray(rows, dtype=np.int64)])

    def blocks(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Some columns of all rows, in their order in the file, some rows at a time; the index counts rows there."""
        wanted = np.zeros(self.source.file.metadata.num_rows, dtype=np.bool_)
        wanted[self.rows] = True
        for block in self.source.batches(columns):
            if len(chosen := np.flatnonzero(wanted[block.index])):
                yield block.take(chosen)


def open_parquet(path: Path) -> Any:
    """Opens a file with pyarrow.

    Raises:
        UserError: If pyarrow is not installed, or the file is damaged.
    """
    told = repr(str(path))
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError as error:
        raise UserError(
            f"{told} is Parquet, which needs pyarrow: pip install 'fusenas[tables]', or save the table as CSV"
        ) from error
    with reading(told):
        return parquet.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)


def row_groups(file: Any) -> list[Any]:
    """What an open file says of its row groups."""
    return [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]


def num_bytes(file: Any) -> int:
    """Of all columns of an open file, not compressed."""
    return sum(group.total_byte_size for group in row_groups(file))


Table: TypeAlias = pd.DataFrame | StoredTable
"""In memory or on disk; columns and rows are taken out of both in the same way."""


def blocks(table: Table, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Some columns of all rows, some rows at a time."""
    if isinstance(table, StoredTable):
        yield from table.blocks(columns)
    else:
        for start in range(0, len(table), BLOCK_ROWS):
            yield table.iloc[start : start + BLOCK_ROWS]


@contextmanager
def reading(told: str) -> Iterator[None]:
    """Tells what pyarrow says of a damaged file in one line."""
    try:
        yield
    except UserError:
        raise
    except (ArithmeticError, LookupError, MemoryError, NotImplementedError, OSError, TypeError, ValueError) as error:
        raise UserError(f"{told} is no Parquet, or is damaged: {one_line(error)}; write it again") from error


__all__ = [
    "BLOCK_ROWS",
    "EXPANSION",
    "HeldFile",
    "ParquetSource",
    "StoredTable",
    "Table",
    "blocks",
    "num_bytes",
    "open_parquet",
    "reading",
]
