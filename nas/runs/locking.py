"""A folder that is written to has one owner: whoever comes second is told who that is, before anything is touched."""

from __future__ import annotations

import errno
import json
import logging
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from nas.errors import UserError
from nas.runs.files import Folder

try:
    import fcntl
except ImportError:  # a system without it, such as Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
"""The file that is locked. The system releases it with the process, so that one left behind blocks nobody."""

_MAX_BYTES = 4096
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextmanager
def owned(folder: Folder) -> Iterator[None]:
    """Owns a folder for as long as the block runs; it is made if it is not there, and removed if it stays empty.

    Raises:
        UserError: If another process, or another part of this one, owns it, or it cannot be written to.
    """
    was_there = folder.is_folder()
    handle = _acquire(folder)
    try:
        yield
    finally:
        with suppress(OSError, UserError):  # while it is still ours: who opened it meanwhile sees that it has gone
            folder.remove(LOCK)
            if not was_there:
                folder.path.rmdir()  # refused if there is anything in it
        if handle is not None:
            os.close(handle)


def refuse_owned(folder: Folder) -> None:
    """Refuses a folder that somebody owns; nothing is written.

    Raises:
        UserError: If it is owned, with who owns it.
    """
    if fcntl is None:
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(folder.reading(LOCK, max_bytes=_MAX_BYTES))
        except UserError:  # there is none, or none of ours
            return
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(folder, file.fileno()) from None
        except OSError:  # it cannot be locked at all
            return


def _in_use(folder: Folder, handle: int) -> UserError:
    owner = _read(handle)
    return UserError(f"{str(folder.path)!r} is in use{owner}; wait until that has ended, or choose another folder")


def _acquire(folder: Folder) -> int | None:
    """The locked file; None where this system cannot lock."""
    if fcntl is None:
        return None
    while True:
        try:
            handle = folder.open_lock(LOCK)
        except OSError as error:
            raise UserError(f"cannot write to {str(folder.path)!r}: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            in_use = _in_use(folder, handle)
            os.close(handle)
            raise in_use from None
        except OSError as error:
            os.close(handle)
            if error.errno not in _UNSUPPORTED:
                raise
            logging.getLogger(__name__).warning("%s cannot be locked: %s", folder.path, error.strerror)
            return None
        found = os.fstat(handle)
        if folder.identity(LOCK) == (found.st_dev, found.st_ino):
            _write(handle)
            return handle
        os.close(handle)  # its owner has ended and removed it in between


def _write(handle: int) -> None:
    about = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:1000],
    }
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(about).encode(errors="backslashreplace"), 0)


def _read(handle: int) -> str:
    """Who holds the lock, in words; "" if its file does not say, as when it is just being written."""
    try:
        about: dict[str, Any] = json.loads(os.pread(handle, _MAX_BYTES, 0))
        words = {key: "".join(c for c in str(about[key])[:300] if c.isprintable()) for key in about}
        return f" by process {words['process']} on {words['host']} since {words['since']} ({words['command']})"
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return " by another process"
