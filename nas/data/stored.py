"""Arrays that stay on disk: their rows are read when they are asked for, and only these.

Rows are read into memory of their own and not through a mapping, for mapped pages would count as memory of the process
until the system takes them back.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nas.errors import UserError

CHUNK_NUMBERS = 2**23
"""Numbers of an array that are worked on at once where all of it is looked at: 64 MB as float64."""


@dataclass(frozen=True, eq=False)
class Source:
    """Rows that lie one after another in a file, which is closed with the last array that reads them.

    Attributes:
        file: Unbuffered.
        offset: Of the first row, in bytes.
        count: How many rows there are.
        told: What it is, for an error.
    """

    file: BinaryIO
    offset: int
    count: int
    told: str

    def __post_init__(self) -> None:
        weakref.finalize(self, self.file.close)


@dataclass(frozen=True, eq=False, repr=False)
class StoredArray:
    """An array on disk, (n, …), of which rows are read as a numpy array's are: `array[5:9]`, `array[[3, 1]]`.

    Attributes:
        sources: Where its rows are, one source after another.
        stored_shape: Of one row there.
        stored_dtype: Likewise.
        shape: Of all of it, as it is read.
        dtype: Likewise.
        order: Which of the rows it consists of, (n,); None for all in their order.
        present: Rows that are read as they are, (n,); others are zero. None for all.
        memory: What others remember of it, such as its statistics, for as long as it is there.
    """

    sources: tuple[Source, ...]
    stored_shape: tuple[int, ...]
    stored_dtype: np.dtype[Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: NDArray[np.int64] | None = None
    present: NDArray[np.bool_] | None = None
    memory: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, sources: Sequence[Source], shape: Sequence[int], dtype: DTypeLike) -> StoredArray:
        """All rows of some sources.

        Args:
            sources: One after another.
            shape: Of one row.
            dtype: Of its numbers as they are stored; they are read in this machine's order of bytes.
        """
        stored, count = np.dtype(dtype), sum(source.count for source in sources)
        return cls(tuple(sources), tuple(shape), stored, (count, *shape), stored.newbyteorder("="))

    def __repr__(self) -> str:
        return f"<StoredArray {self.dtype} {self.shape}>"

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Numbers in it."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Memory that all of it would take."""
        return self.size * self.dtype.itemsize

    def __getitem__(self, rows: slice | Sequence[int] | NDArray[Any]) -> NDArray[Any]:
        """Reads some rows, in the order in which they are named.

        Raises:
            UserError: If the file has become shorter.
        """
        wanted = np.arange(len(self))[rows]
        places = wanted if self.order is None else self.order[wanted]
        with np.errstate(over="ignore"):  # what overflows becomes infinite, which is told where values are checked
            found = self._read(places).astype(self.dtype, copy=False).reshape(len(places), *self.shape[1:])
        if self.present is not None:
            found[~self.present[wanted]] = 0
        return found

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """All of it in memory."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def astype(self, dtype: DTypeLike) -> StoredArray:
        """The same array, read as other numbers."""
        return replace(self, dtype=np.dtype(dtype), memory={})

    def reshaped(self, shape: Sequence[int]) -> StoredArray:
        """The same array, its rows read in another shape with as many numbers."""
        assert prod(shape) == prod(self.shape[1:])
        return replace(self, shape=(len(self), *shape), memory={})

    def blanked(self, present: NDArray[np.bool_]) -> StoredArray:
        """The same array with zeros where a mask, (n,), is false."""
        both = present if self.present is None else self.present & present
        return replace(self, present=both, memory={})

    def rows(self, wanted: NDArray[np.int64]) -> StoredArray:
        """Some rows as an array that is on disk, too; for the same rows it is the same one."""
        key = wanted.tobytes()
        if key not in self.memory:
            self.memory[key] = replace(
                self,
                shape=(len(wanted), *self.shape[1:]),
                order=wanted if self.order is None else self.order[wanted],
                present=None if self.present is None else self.present[wanted],
                memory={},
            )
        found: StoredArray = self.memory[key]
        return found

    def _read(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """Rows as they are stored. Those that lie side by side are read at once."""
        found = np.empty((len(places), *self.stored_shape), dtype=self.stored_dtype)
        row_bytes = prod(self.stored_shape) * self.stored_dtype.itemsize
        if not found.nbytes:
            return found
        order = np.argsort(places, kind="stable")
        ascending = bool((np.diff(order) == 1).all())
        sorted_places, target = places[order], found if ascending else np.empty_like(found)
        bytes_of = target.reshape(-1).data.cast("B")
        starts = np.cumsum([0, *(source.count for source in self.sources)])
        number = np.searchsorted(starts, sorted_places, side="right") - 1
        breaks = np.flatnonzero((np.diff(sorted_places) != 1) | (np.diff(number) != 0)) + 1
        for first, end in zip([0, *breaks.tolist()], [*breaks.tolist(), len(places)], strict=True):
            source = self.sources[number[first]]
            at = source.offset + int(sorted_places[first] - starts[number[first]]) * row_bytes
            _fill(source, at, bytes_of[first * row_bytes : end * row_bytes])
        if not ascending:
            found[order] = target
        return found


Array = NDArray[Any] | StoredArray
"""In memory or on disk; rows are taken out of both in the same way."""


def _fill(source: Source, at: int, target: memoryview) -> None:
    """Reads bytes of a file from a place on until the target is full."""
    done = 0
    source.file.seek(at)
    while done < len(target):
        count = source.file.readinto(target[done:])  # type: ignore[attr-defined]  # which unbuffered files have
        if not count:
            raise UserError(f"{source.told} has become shorter since it was opened; begin again")
        done += count


def chunks(array: Array) -> Iterator[NDArray[Any]]:
    """Rows of an array, from the first to the last, so many at once as `CHUNK_NUMBERS` allows, be it on disk or not."""
    step = max(1, CHUNK_NUMBERS // max(1, prod(array.shape[1:])))
    for start in range(0, len(array), step):
        yield array[start : start + step]


def some_rows(array: Array, wanted: NDArray[np.int64]) -> Array:
    """Some rows of an array: a copy of those in memory, while those on disk stay there."""
    return array.rows(wanted) if isinstance(array, StoredArray) else array[wanted]


def mapped(array: Any) -> StoredArray | None:
    """What a memory map shows, read without it; None for anything else, and for a map that is not row after row."""
    if not isinstance(array, np.memmap) or not array.flags.c_contiguous or not array.ndim or not array.size:
        return None
    whole = array
    while isinstance(whole.base, np.memmap):
        whole = whole.base
    if not isinstance(whole.base, mmap.mmap) or whole.filename is None or whole.mode == "c":
        return None
    within = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    file = Path(whole.filename).open("rb", buffering=0)  # noqa: SIM115  # for as long as the array is there
    source = Source(file, whole.offset + within, len(array), repr(str(whole.filename)))
    return StoredArray.of([source], array.shape[1:], array.dtype)


class Spool:
    """Rows that come one after another, kept in memory, or in a file where they would take more than they may.

    The file has no name and is gone with the array. It is in the folder that `TMPDIR` names, else in `/var/tmp`, which
    is on a disk where `/tmp` may be memory.

    Args:
        count: Rows that will come.
        room: Bytes that they may take in memory; None for any number.
    """

    def __init__(self, count: int, room: int | None) -> None:
        self._count = count
        self._room = room
        self._came = 0
        self._array: NDArray[Any] | None = None
        self._on_disk: StoredArray | None = None

    def add(self, rows: NDArray[Any]) -> None:
        """Adds rows, (some, …), of one shape and type."""
        if self._array is None and self._on_disk is None:
            self._begin(rows)
        if self._array is not None:  # made as a whole: kept parts would leave holes in memory that nothing fits into
            self._array[self._came : self._came + len(rows)] = rows
        else:
            assert self._on_disk is not None
            left = np.ascontiguousarray(rows).reshape(-1).data.cast("B")
            while left:
                left = left[self._on_disk.sources[0].file.write(left) :]
        self._came += len(rows)

    def array(self) -> Array:
        """All rows, when they have come."""
        assert self._came == self._count
        found = self._array if self._on_disk is None else self._on_disk
        assert found is not None
        return found

    def _begin(self, rows: NDArray[Any]) -> None:
        shape = (self._count, *rows.shape[1:])
        if self._room is None or prod(shape) * rows.dtype.itemsize <= self._room:
            self._array = np.empty(shape, dtype=rows.dtype)
        else:
            file: Any = tempfile.TemporaryFile(buffering=0, dir=_scratch())  # noqa: SIM115
            self._on_disk = StoredArray.of([Source(file, 0, self._count, "a temporary file")], shape[1:], rows.dtype)


def _scratch() -> str | None:
    """Folder of files without a name; None for the system's own choice."""
    beside = "/var/tmp"
    return beside if "TMPDIR" not in os.environ and os.access(beside, os.W_OK) else None


__all__ = ["CHUNK_NUMBERS", "Array", "Source", "Spool", "StoredArray", "chunks", "mapped", "some_rows"]
