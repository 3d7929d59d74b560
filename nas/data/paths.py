"""What lies at a path that a person gave, however odd the path is."""

from __future__ import annotations

import stat
from pathlib import Path

from nas.errors import UserError


def mode(path: Path) -> int | None:
    """Type and permissions of what lies there, links followed; None if nothing does.

    Raises:
        UserError: If that cannot be told: the path is too long, leads in a circle or through a closed folder.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # ValueError of a null character
        why = getattr(error, "strerror", None) or str(error)
        raise UserError(f"the path {_shortened(path)!r} cannot be read: {why}; give another one") from error


def is_file(path: Path) -> bool:
    """Whether a regular file lies there: what can be read to its end."""
    found = mode(path)
    return found is not None and stat.S_ISREG(found)


def is_folder(path: Path) -> bool:
    """Whether a folder lies there."""
    found = mode(path)
    return found is not None and stat.S_ISDIR(found)


def printable(name: str) -> str:
    r"""A name as text that can be written anywhere: bytes of it that are no UTF-8 are shown as "\udcff"."""
    return name.encode("utf-8", "backslashreplace").decode()


def _shortened(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 200 else f"{text[:100]}…{text[-60:]}"
