"""A folder whose content nobody vouches for: nothing in it is read or written through a link.

Every name is resolved from the folder itself, one part after the other, each relative to the open folder before it and
refusing links. So what a stranger planted cannot lead a write elsewhere, not even while the write goes on. All files of
a run are written by this class and by nothing else.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import IO, Any

from nas.errors import UserError

TEMPORARY = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}\.part")
"""Name of a file that is not yet written whole; one stays behind where a process was killed while it wrote."""

MAX_BYTES = 64 * 1024 * 1024
"""Largest file of text that is read."""

MAX_JSON_BYTES = 700_000_000
"""Most memory that the values of a JSON file may take."""

MAX_NESTING = 64
"""Depth of JSON; ours is a dozen deep at most."""

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | _NO_LINK | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

_HAS_HANDLES = os.open in os.supports_dir_fd
"""Whether names can be resolved relative to an open folder; elsewhere links are looked for first."""


class Folder:
    """Reads and writes the files of one folder.

    Names are relative and use "/", such as "figures/mixing.svg". The folder itself is taken as the caller
    names it; every part of a name below it must be no link.

    Args:
        path: Of the folder; it need not be there before something is written.
        inside: A folder within it that names are relative to, "" for itself. It, too, must be reached without a link.

    Attributes:
        path: Of the folder that names are relative to.
    """

    def __init__(self, path: str | Path, inside: str = "") -> None:
        self._root = Path(path)
        self._inside = _parts(inside, self._root) if inside else ()
        self.path = self._root.joinpath(*self._inside)

    def inner(self, name: str) -> Folder:
        """A folder in this one."""
        return Folder(self._root, "/".join((*self._inside, name)))

    def file(self, name: str) -> Path:
        """Where a file lies.

        Raises:
            UserError: If the name leads out of the folder.
        """
        return self.path.joinpath(*_parts(name, self.path))

    def is_file(self, name: str) -> bool:
        """Whether there is a regular file of this name; a link is none."""
        return stat.S_ISREG(self._mode(name))

    def is_folder(self, name: str = "") -> bool:
        """Whether there is a folder of this name; a link to one is none."""
        return stat.S_ISDIR(self._mode(name)) if name or self._inside else self.path.is_dir()

    def exists(self, name: str) -> bool:
        """Whether there is anything of this name, be it a link that leads nowhere."""
        return self._mode(name) != 0

    def names(self, name: str = "") -> list[str]:
        """Names in the folder, or in one inside it, sorted; none if it is not there."""
        try:
            with self._in(_parts(name, self.path) if name else ()) as place:
                return sorted(place.beside())
        except FileNotFoundError:
            return []

    def read_bytes(self, name: str, *, max_bytes: int = MAX_BYTES) -> bytes:
        """Content of a file.

        Raises:
            UserError: If it is missing, unreadable, a link, no regular file, or larger than `max_bytes`.
        """
        with self.reading(name, max_bytes=max_bytes) as file:
            return file.read(os.fstat(file.fileno()).st_size)  # what has been added since it was measured can wait

    def read_text(self, name: str, *, max_bytes: int = MAX_BYTES) -> str:
        """Content of a UTF-8 text file; see `read_bytes` for errors."""
        try:
            return self.read_bytes(name, max_bytes=max_bytes).decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{str(self.file(name))!r} is not UTF-8 text; was the file damaged?") from error

    def read_json(self, name: str) -> Any:
        """Values of a JSON file.

        Raises:
            UserError: If it is missing, too large, would take too much memory, is cut off, nested too deep or not JSON.
        """
        text = self.read_text(name)
        refuse_vast(text.encode(), self.file(name))
        try:
            return shallow(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{str(self.file(name))!r} is not JSON: {error}; was the file cut off?") from error

    def read_start(self, name: str, num_bytes: int) -> tuple[bytes, int]:
        """The first bytes of a file of any size, and how many it has in all; see `read_bytes` for errors."""
        with self.reading(name, max_bytes=sys.maxsize) as file:
            return file.read(num_bytes), os.fstat(file.fileno()).st_size

    @contextmanager
    def reading(self, name: str, *, max_bytes: int) -> Iterator[BufferedReader]:
        """A file to read from, whose size has been checked; see `read_bytes` for errors."""
        path = self.file(name)
        try:
            with self._at(name) as place, _handle(place.open(_READ)) as handle:
                found = os.fstat(handle)
                if not stat.S_ISREG(found.st_mode):
                    raise UserError(f"{str(path)!r} is no regular file, which no run of ours writes")
                if found.st_size > max_bytes:
                    raise UserError(f"{str(path)!r} is larger than {max_bytes} bytes, which no run of ours writes")
                with os.fdopen(handle, "rb", closefd=False) as file:
                    yield file
        except FileNotFoundError as error:
            raise UserError(f"{str(path)!r} is missing; was the run finished?") from error
        except OSError as error:
            raise UserError(f"cannot read {str(path)!r}: {error.strerror}") from error

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Writes a file whole or not at all: to a new one beside it, flushed to disk, then renamed over the old.

        Folders are made as needed. A link of this name is replaced, and what it leads to is left alone. The caller owns
        the folder (`nas.runs.locking`).

        Raises:
            UserError: If a part of the name is a link or no folder, or a folder has the file's name.
            OSError: If the disk is full or the folder may not be written to.
        """
        temporary = f".{PurePosixPath(name).name}.{secrets.token_hex(4)}.part"
        with self._at(name, make=True) as place:
            for left in place.beside():  # by a process that was killed, for nobody else may write here now
                if (found := TEMPORARY.fullmatch(left)) and found["name"] == place.name:
                    place.sibling(left).unlink()
            handle = place.sibling(temporary).open(_NEW, 0o666)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                place.sibling(temporary).rename(place)
            except BaseException:
                place.sibling(temporary).unlink()
                raise
            place.sync()  # a rename, too, is lost with the power until then
        return self.file(name)

    def stream(self, name: str) -> IO[bytes]:
        """A new file to write to bit by bit, without a buffer, in place of one of this name; see `write_bytes`."""
        with self._at(name, make=True) as place:
            place.unlink()
            return os.fdopen(place.open(_NEW, 0o666), "wb", buffering=0)

    def make(self, name: str = "") -> None:
        """Makes the folder, or one inside it, with those it lies in, as needed."""
        with self._in(_parts(name, self.path) if name else (), make=True):
            pass

    def remove(self, name: str) -> None:
        """Removes a file, a link, or a folder with all that is in it; if there is nothing, nothing is done."""
        if self.is_folder(name):
            with self._at(name) as place:
                place.remove_tree()
        elif self.exists(name):
            with self._at(name) as place:
                place.unlink()

    def rename(self, name: str, new: str) -> None:
        """Moves a file or folder within the folder."""
        with self._at(name) as place, self._at(new) as target:
            place.rename(target)

    def open_lock(self, name: str) -> int:
        """A file to lock, made if there is none, as a handle for reading and writing.

        Raises:
            UserError: If it is a link, no regular file, or has a second name elsewhere.
            OSError: If it cannot be made.
        """
        flags = os.O_RDWR | os.O_CREAT | _READ
        with self._at(name, make=True) as place:
            handle = place.open(flags, 0o666)
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            os.close(handle)
            raise UserError(f"{str(self.file(name))!r} is no file of ours; remove it")
        return handle

    def identity(self, name: str) -> tuple[int, int] | None:
        """Device and number of a file, by which it is known under any name; None if there is none."""
        try:
            with self._at(name) as place:
                found = place.stat()
        except (FileNotFoundError, UserError):
            return None
        return found.st_dev, found.st_ino

    def remove_temporaries(self) -> None:
        """Removes what a killed process left half written."""
        for name in self.names():
            if TEMPORARY.fullmatch(name):
                self.remove(name)

    def _mode(self, name: str) -> int:
        """Type and permissions, 0 where there is nothing to be reached."""
        try:
            with self._at(name) as place:
                return place.stat().st_mode
        except (OSError, UserError):
            return 0

    @contextmanager
    def _at(self, name: str, *, make: bool = False) -> Iterator[_Place]:
        """The place that a name stands for; `make` makes the folders on the way."""
        *parents, last = _parts(name, self.path)
        with self._in(parents, last, make=make) as place:
            yield place

    @contextmanager
    def _in(self, parts: Sequence[str], last: str = ".", *, make: bool = False) -> Iterator[_Place]:
        """A name in the folder that is reached by some parts, which is held open."""
        if make:
            self._root.mkdir(parents=True, exist_ok=True)
        place = _Place(None, self._root, last)
        try:
            if _HAS_HANDLES:
                place.handle = os.open(self._root, _FOLDER)
            for part in (*self._inside, *parts):
                place.enter(part, make=make)
            yield place
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise UserError(_no_link(place.path / place.name)) from error
            raise
        finally:
            place.close()


def folder_to_write(path: str | Path) -> Folder:
    """A folder that the user names to write to.

    Raises:
        UserError: If it is a link or no folder.
    """
    found = Path(path)
    if found.is_symlink() or (found.exists() and not found.is_dir()):
        raise UserError(f"{str(found)!r} is not a folder; choose another with --out")
    return Folder(found)


@contextmanager
def _handle(handle: int) -> Iterator[int]:
    """Closes a handle after the block."""
    try:
        yield handle
    finally:
        os.close(handle)


class _Place:
    """A name in a folder that is held open, where the system can do that."""

    def __init__(self, handle: int | None, path: Path, name: str) -> None:
        self.handle = handle
        self.path = path
        self.name = name

    @property
    def _target(self) -> str | Path:
        return self.name if self.handle is not None else self.path / self.name

    def open(self, flags: int, mode: int = 0o777) -> int:
        return os.open(self._target, flags, mode, dir_fd=self.handle)

    def stat(self) -> os.stat_result:
        return os.stat(self._target, dir_fd=self.handle, follow_symlinks=False)

    def unlink(self) -> None:
        try:
            os.unlink(self._target, dir_fd=self.handle)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError) as error:
            if not stat.S_ISDIR(self.stat().st_mode):
                raise
            raise UserError(f"{str(self.path / self.name)!r} is a folder where a file belongs; remove it") from error

    def remove_tree(self) -> None:
        shutil.rmtree(self._target, dir_fd=self.handle)

    def rename(self, new: _Place) -> None:
        try:
            os.replace(self._target, new._target, src_dir_fd=self.handle, dst_dir_fd=new.handle)
        except (IsADirectoryError, NotADirectoryError) as error:
            raise UserError(f"{str(new.path / new.name)!r} is a folder where a file belongs; remove it") from error

    def beside(self) -> list[str]:
        """All names in the folder."""
        return os.listdir(self.path if self.handle is None else self.handle)  # noqa: PTH208  # a handle is no path

    def sibling(self, name: str) -> _Place:
        return _Place(self.handle, self.path, name)

    def enter(self, part: str, *, make: bool) -> None:
        """Goes on to a folder in the one that is held open."""
        folder = self.sibling(part)
        if make:
            with suppress(FileExistsError):
                os.mkdir(folder._target, dir_fd=self.handle)
        if not stat.S_ISDIR(folder.stat().st_mode):
            raise UserError(_no_link(folder.path / part))
        if self.handle is not None:
            inner = folder.open(_FOLDER | _NO_LINK)
            self.close()
            self.handle = inner
        self.path /= part

    def sync(self) -> None:
        if self.handle is not None:
            os.fsync(self.handle)

    def close(self) -> None:
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None


def _parts(name: str, folder: Path) -> tuple[str, ...]:
    """The parts of a name.

    Raises:
        UserError: If it leads out of the folder.
    """
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute() or {"\\", "\0"} & set(name):
        raise UserError(f"file name {name!r} leads out of {str(folder)!r}; expected a name such as 'summary.json'")
    return parts


def shallow(values: Any) -> Any:
    """Values of JSON as they are, for whoever goes through them to their depths.

    Raises:
        ValueError: If lists and objects are nested more than `MAX_NESTING` deep.
    """
    level = [values]
    for _ in range(MAX_NESTING):
        level = [
            inner
            for one in level
            if isinstance(one, list | dict)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return values
    raise ValueError(f"it is nested more than {MAX_NESTING} deep")


def refuse_vast(text: bytes, path: Path) -> None:
    """Refuses JSON that would take far more memory than its text does, such as millions of empty lists.

    Args:
        text: The JSON.
        path: Of its file, for the error.

    Raises:
        UserError: If it would take more than `MAX_JSON_BYTES`.
    """
    needed = 232 * text.count(b"{") + 64 * text.count(b"[") + 36 * text.count(b",")  # bytes, about
    if needed > MAX_JSON_BYTES:
        raise UserError(f"{str(path)!r} would take {needed / 1e9:.1f} GB of memory, which no run of ours does")


def _no_link(path: Path) -> str:
    what = "a link" if path.is_symlink() else "no folder"
    return f"{str(path)!r} is {what}, and nothing of a run is read or written through a link; put a copy in its place"
