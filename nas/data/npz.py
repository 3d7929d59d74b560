"""Arrays of an `.npz` or of a folder of `.npy`, measured before memory is taken for them and never unpickled."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nas.data.memory import in_units, refuse_too_large
from nas.data.paths import is_file
from nas.data.stored import Source, StoredArray
from nas.errors import UserError, one_line

MAX_EXPANSION = 100
"""Times the size of the file. Real data shrinks tenfold at the most, a file made to exhaust memory a thousandfold."""

HARMLESS_BYTES = 1024**3
"""So much may come of a file however small it is, as of masks and one-hot rows."""

_HEADER_BYTES = 10_000
"""As much of a header as numpy parses by default; one of numbers takes some eighty bytes."""

_LENGTHS, _LOCAL_HEADER = 26, 30
"""Of a member of a zip: where its header tells the lengths of name and extra field, and how long it is without them."""

_BARE_ARRAY = b"\x93NUMPY"
"""How an `.npy` begins."""

_DAMAGED = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What zipfile, zlib and numpy raise on damaged, encrypted or crafted archives and headers."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """An array in an `.npz`, of which nothing but the name has been read.

    Attributes:
        path: Of the file.
        key: Name of the array.
    """

    writer: ClassVar[str] = "numpy.savez"

    path: Path
    key: str

    def num_bytes(self) -> int:
        """Memory that the array will take, by its header.

        Raises:
            UserError: If the header is damaged, or tells of Python objects or of more than the file holds.
        """
        try:
            with self._opened() as (member, held):
                shape, dtype, _, _ = _header(member.read(_HEADER_BYTES))
        except _DAMAGED as error:
            raise self._unreadable(error) from error
        if dtype.hasobject:
            raise UserError(
                f"key {self.key!r} of {str(self.path)!r} holds Python objects, which would have to be unpickled; "
                "store numbers or fixed-width words, as with astype(str)"
            )
        places = math.prod(list[int](shape))
        size = places * dtype.itemsize
        if min(shape, default=0) < 0 or size > held or (places and not dtype.itemsize):
            raise self._unreadable(f"its header tells of {dtype} of shape {shape}, the file holds {held} bytes of it")
        return size

    def read(self) -> NDArray[Any]:
        """The array.

        Raises:
            UserError: If it is damaged.
        """
        try:
            with self._opened() as (member, _), _quiet():
                return np.lib.format.read_array(member, allow_pickle=False, max_header_size=_HEADER_BYTES)
        except _DAMAGED as error:
            raise self._unreadable(error) from error

    def stored(self) -> StoredArray:
        """The array as one that stays on disk.

        Raises:
            UserError: If it is damaged, compressed, a single value, or not stored row after row.
        """
        self.num_bytes()  # tells headers that promise too much
        try:
            with self._opened() as (member, _):
                shape, dtype, is_fortran, length = _header(member.read(_HEADER_BYTES))
            start = self._start()
        except _DAMAGED as error:
            raise self._unreadable(error) from error
        if start is None or (is_fortran and len(shape) > 1) or not shape:
            why = "is compressed" if start is None else "is not stored row after row (C order)"
            raise UserError(
                f"key {self.key!r} of {str(self.path)!r} takes more memory than it may and {why}, so that it cannot be "
                "read in parts: write it with numpy.savez, or as an .npy of its own"
            )
        source = Source(self.path.open("rb", buffering=0), start + length, shape[0], repr(str(self.path)))
        return StoredArray.of([source], shape[1:], dtype)

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], int]]:
        """The array as an `.npy`, and of how many bytes."""
        name = f"{self.key}.npy"
        with zipfile.ZipFile(self.path) as archive, archive.open(name) as member:
            yield member, archive.getinfo(name).file_size

    def _start(self) -> int | None:
        """Where in the file it begins; None if it is compressed."""
        with zipfile.ZipFile(self.path) as archive:
            about = archive.getinfo(f"{self.key}.npy")
        if about.compress_type != zipfile.ZIP_STORED:
            return None
        with self.path.open("rb") as file:
            file.seek(about.header_offset + _LENGTHS)
            return about.header_offset + _LOCAL_HEADER + int(sum(struct.unpack("<HH", file.read(4))))

    def _unreadable(self, why: BaseException | str) -> UserError:
        return UserError(
            f"key {self.key!r} of {str(self.path)!r} cannot be read: {one_line(why)}; write it again with {self.writer}"
        )


class NpyFile(Member):
    """An array that is a file of its own."""

    writer: ClassVar[str] = "numpy.save"

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], int]]:
        with self.path.open("rb") as file:
            yield file, self.path.stat().st_size

    def _start(self) -> int | None:
        return 0


def _header(start: bytes) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Shape, number type, whether columns come first, and where numbers begin, from the first bytes of an `.npy`."""
    file = io.BytesIO(start)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of format {version}, which only structured arrays need")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with _quiet():
        shape, is_fortran, dtype = read(file, max_header_size=_HEADER_BYTES)
    return shape, dtype, is_fortran, file.tell()


def _quiet() -> warnings.catch_warnings[None]:
    """Silences what Python and numpy have to say of the style of a header."""
    return warnings.catch_warnings(action="ignore")


def open_npz(path: Path) -> dict[str, Member]:
    """The arrays of a file by key, none of them read.

    Raises:
        UserError: If it is no `.npz`, is damaged, or its keys cannot be told apart.
    """
    if not is_file(path):
        raise UserError(f"{str(path)!r} is no file; expected an .npz")
    try:
        with path.open("rb") as file:
            start = file.read(len(_BARE_ARRAY))
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {one_line(error)}") from error
    if not start:
        raise UserError(f"{str(path)!r} is empty; write it again with numpy.savez")
    if start == _BARE_ARRAY:
        raise UserError(f"{str(path)!r} holds one bare array; expected an .npz with named arrays: use numpy.savez")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _DAMAGED as error:
        raise UserError(
            f"{str(path)!r} is no .npz, or is damaged: {one_line(error)}; write it again with numpy.savez"
        ) from error
    keys = [member.filename.removesuffix(".npy") for member in members if member.filename.endswith(".npy")]
    if not keys:
        raise UserError(f"{str(path)!r} holds no arrays; write it again with numpy.savez")
    if len(set(keys)) < len(keys):
        raise UserError(f"{str(path)!r} holds an array twice under one name; write it again with numpy.savez")
    if odd := [key for key in keys if not key.isprintable()]:
        raise UserError(f"{str(path)!r} holds an array under the name {odd[0]!r}; rename it in printable letters")
    # numpy writes no others; their decompressors take memory by what the file says.
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
        raise UserError(f"{str(path)!r} is compressed in a way that numpy does not; write it again with numpy.savez")
    return {key: Member(path=path, key=key) for key in keys}


def open_folder(path: Path) -> dict[str, NpyFile]:
    """The arrays of a folder of `.npy` by key, none of them read: names of files, after those of folders within it.

    Raises:
        UserError: If a name cannot be a key.
    """
    found = sorted(file for pattern in _PATTERNS for file in path.glob(pattern) if is_file(file))
    keys = {file.relative_to(path).with_suffix("").as_posix(): file for file in found}
    if odd := [key for key in keys if not key.isprintable()]:
        raise UserError(f"{str(path)!r} holds an array under the name {odd[0]!r}; rename it in printable letters")
    return {key: NpyFile(path=file, key=key) for key, file in keys.items()}


_PATTERNS = ("*.npy", "x/*.npy", "x/*/*.npy", "present/*.npy")
"""Where arrays of a folder lie: by any name, or by the keys that need no further names."""


def check_size(members: Sequence[Member]) -> None:
    """Compares what arrays will take with what there is, before any of them is read.

    Args:
        members: All that will be read, of one file or several.

    Raises:
        UserError: If they take more than half of the free memory, or grow out of all proportion to their files.
    """
    if not members:
        return
    sizes = [member.num_bytes() for member in members]
    total, largest = sum(sizes), members[int(np.argmax(sizes))]
    told = (
        f"the arrays named of {str(largest.path)!r} would take {in_units(total)} of memory, "
        f"the largest is {largest.key!r} with {in_units(max(sizes))}"
    )
    stored = sum(path.stat().st_size for path in {member.path for member in members})
    if total > max(HARMLESS_BYTES, MAX_EXPANSION * stored):
        raise UserError(
            f"{told}; from {in_units(stored)} on disk expected at most {MAX_EXPANSION} times as much: if the data is "
            "right, write it with numpy.savez, uncompressed"
        )
    remedy = "stream them with --memory 2G, or use a smaller number type, fewer samples, or more memory"
    refuse_too_large(total, told, remedy)
