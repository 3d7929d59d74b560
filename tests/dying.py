"""The command line in an interpreter of its own, told when to die: `python -P dying.py MOMENT NUMBER FIGURES WORD …`.

MOMENT is one of `tests.processes.KILLS` or "never", NUMBER counts such moments from 1, FIGURES is yes or no. It patches
what all writing ends in, whoever does it: `os.fsync` of a file, and `os.rename` or `os.replace`.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

FILES = ("fsync", "fdatasync")
RENAMES = ("rename", "replace")


def main(words: Sequence[str]) -> None:
    """Entry point."""
    moment, number, figures, *arguments = words
    counts = Path("writes").absolute()
    counted = die_in(moment, int(number))
    run(arguments, counted, counts, figures=figures == "yes")


def run(arguments: Sequence[str], counted: dict[str, int], counts: Path, *, figures: bool) -> None:
    """Runs the command line and notes in a file how many files it wrote and renamed.

    Args:
        arguments: Without the name of the program.
        counted: As `die_in` returned it.
        counts: The file.
        figures: Whether the report is drawn, which takes longer than everything else.
    """
    import cli  # noqa: PLC0415

    if not figures:
        search: Any = import_module("nas.pipeline.search")  # by name: `nas.search` in code is the function
        search.draw_report = lambda _run, target: target.path / "report.html"
    sys.argv = ["fusenas", *arguments]
    try:
        cli.main()
    finally:
        counts.write_text(" ".join(str(counted[name]) for name in ("files", "renames")))


def die_in(moment: str, number: int) -> dict[str, int]:
    """Makes this process kill itself; returns how many files it has flushed and renamed so far.

    Args:
        moment: "half a write" dies as the n-th file is flushed, with half of it on disk; "before a rename" before the
            n-th file or folder is renamed.
        number: n, from 1.
    """
    counted = {"files": 0, "renames": 0}

    def flushing(flush: Callable[[int], None]) -> Callable[[int], None]:
        def flush_or_die(handle: int) -> None:
            about = os.fstat(handle if isinstance(handle, int) else handle.fileno())
            if stat.S_ISREG(about.st_mode):
                counted["files"] += 1
                if moment == "half a write" and counted["files"] == number:
                    os.ftruncate(handle, about.st_size // 2)
                    os.kill(os.getpid(), signal.SIGKILL)
            flush(handle)

        return flush_or_die

    def renaming(rename: Callable[..., None]) -> Callable[..., None]:
        def rename_or_die(*arguments: Any, **options: Any) -> None:
            counted["renames"] += 1
            if moment == "before a rename" and counted["renames"] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            rename(*arguments, **options)

        return rename_or_die

    for name in FILES:
        setattr(os, name, flushing(getattr(os, name)))
    for name in RENAMES:
        setattr(os, name, renaming(getattr(os, name)))
    return counted


if __name__ == "__main__":
    main(sys.argv[1:])
