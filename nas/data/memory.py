"""How much memory this process may still take, and what would take too much of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nas.errors import UserError

MAX_SHARE = 0.5
"""Of the memory that is free. Splits, standardization and other number types each hold a copy of a part of the data, so
that what takes more than half of it cannot be worked on."""

_MEMINFO = Path("/proc/meminfo")
_STATM = Path("/proc/self/statm")
_CONTAINER = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def available_bytes() -> int | None:
    """The least of what the machine has left, its container may hold, and `ulimit -v` leaves; None if nobody says."""
    known = [_machine(), *(_number(path) for path in _CONTAINER), _address_space()]
    return min((value for value in known if value is not None), default=None)


def _machine() -> int | None:
    """Memory that can be had without swapping; where that is not told, all memory."""
    try:
        for line in _MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):  # another system than Linux
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows
        return None


def _number(path: Path) -> int | None:
    """A number in a file; None if there is no such file, or it says that there is no limit."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _address_space() -> int | None:
    """What `ulimit -v` leaves beyond what the process has mapped."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - which Windows does not have

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        mapped = int(_STATM.read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        mapped = 0
    return max(0, limit - mapped)


def refuse_too_large(num_bytes: int, told: str, remedy: str) -> None:
    """Compares what is about to be taken with the memory that is free.

    Args:
        num_bytes: That would be taken.
        told: What would take them, as the beginning of a sentence.
        remedy: What to do, as its end.

    Raises:
        UserError: If that is more than `MAX_SHARE` of what is free.
    """
    free = available_bytes()
    if free is not None and num_bytes > MAX_SHARE * free:
        raise UserError(f"{told}; expected at most {in_units(int(MAX_SHARE * free))}, half of what is free: {remedy}")


def in_units(size: int) -> str:
    """A number of bytes for people: "6.5 GB"."""
    value = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"
