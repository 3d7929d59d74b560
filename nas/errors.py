"""The one error that a person can mend, and the words to tell it in."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake in what was given: data, a name, an option, a file.

    The message is one line that says what was given, what was expected and how to mend it. The command line prints it
    and exits with code 2.
    """


def is_full_disk(error: OSError) -> bool:
    """Whether a write failed for want of room, or for a limit on it: nobody's mistake, and it can be mended."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
