"""The one error that a person can mend, and the words to tell it in."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

LONGEST = 2000
"""Characters of a line that tells of an error."""


class UserError(ValueError):
    """A mistake in what was given: data, a name, an option, a file.

    The message is one line that says what was given, what was expected and how to mend it. The command line prints it
    and exits with code 2. It is cut at `LONGEST`: what was given may be as long as a stranger likes. What cannot be
    printed is escaped, for it may command a terminal.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.splitlines())
        shortened = line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
        super().__init__("".join(one if one.isprintable() else repr(one)[1:-1] for one in shortened))


class DataWarning(UserWarning):
    """Something in the data that may be a mistake, or be meant: one line that says how to mend it."""


def is_full_disk(error: OSError) -> bool:
    """Whether a write failed for want of room, or for a limit on it: nobody's mistake, and it can be mended."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


_FILES = "raise the limit on open files (ulimit -n)"
_MEMORY = "choose fewer channels, smaller batches or less data, or raise the limit on memory (ulimit -v)"
_PLACE = "name another place, or change its permissions"
_ROOM = "make room and try again"
_NAME = "choose a shorter name"

_REMEDIES: Mapping[int, str] = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EROFS: _PLACE,
    errno.EACCES: _PLACE,
    errno.EPERM: _PLACE,
    errno.ENOTDIR: _PLACE,
    errno.EISDIR: _PLACE,
    errno.ELOOP: _PLACE,
    errno.ENAMETOOLONG: _NAME,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: "end other programs, or raise the limit on processes (ulimit -u)",
    errno.EIO: "look after the disk",
    errno.ESTALE: "look after the disk",
}

_MEMORY_WORDS = ("can't allocate memory", "out of memory", "std::bad_alloc", "not enough memory")
"""In the errors that torch raises on the processor and on a GPU; on the processor they are no class of their own."""

_LIMIT_WORDS = ("failed to map segment", "cannot allocate memory", "can't start new thread", "too many open files")
"""In the errors of loading a shared library, or of starting a thread."""


def told_of_the_machine(error: BaseException) -> str | None:
    """What the machine, or a limit on it, has refused, with a remedy, in one line; None for any other error.

    Only errors that no correct program could avoid are told: whatever else comes up may be a mistake of ours.
    """
    words = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno is not None and error.errno in _REMEDIES:
        where = f" {_shortened(error.filename)}" if error.filename is not None else ""
        doing = "cannot write" if is_full_disk(error) else "cannot use"
        return f"{doing}{where}: {(error.strerror or words).lower()}; {_REMEDIES[error.errno]}"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _has(words, _MEMORY_WORDS)):
        return f"there is not enough memory; {_MEMORY}"
    if isinstance(error, ImportError | OSError | RuntimeError) and _has(words, _LIMIT_WORDS):
        return (
            f"cannot load what it needs ({words[-120:]}); raise the limits on memory, files and processes (ulimit -a)"
        )
    return None


def _has(words: str, some: Iterable[str]) -> bool:
    return any(one in words.lower() for one in some)


def _shortened(name: object) -> str:
    text = repr(name)
    return text if len(text) <= 200 else f"{text[:200]}…"


def one_line(error: BaseException | str) -> str:
    """What an error of another library says, in one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def unknown_name(kind: str, given: str, known: Iterable[str]) -> UserError:
    """An error for a name that is not registered, listing the known names and the nearest.

    Args:
        kind: What the name stands for, such as "operation".
        given: The name as it was given.
        known: Every name that would have been accepted.
    """
    names = sorted(known)
    near = get_close_matches(given, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return UserError(f"unknown {kind} {given!r}{hint} Known: {', '.join(names)}")
