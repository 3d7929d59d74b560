"""What goes to the standard streams: JSON, progress, and the last line of a command that gives up."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column

from nas.errors import LONGEST
from nas.terminal.course import Course

PLAIN_WIDTH = 120
"""Characters of a line where no terminal says how wide it is."""


def console_for(stream: TextIO) -> Console:
    """A console that writes to a standard stream, as wide as the terminal."""
    return Console(file=stream, highlight=False, width=None if stream.isatty() else PLAIN_WIDTH)


def print_json(values: Any, *, indent: int | None = 2) -> None:
    """Prints values as JSON. Characters that the terminal cannot show become JSON's own escapes."""
    text = json.dumps(values, indent=indent, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(values, indent=indent, allow_nan=False)
    print(text)


@contextmanager
def show_progress(console: Console, *, as_json: bool, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Shows on stderr what is being done: the last line beside a spinner on a terminal, plain lines in a pipe.

    Args:
        console: Of stderr.
        as_json: Whether the command prints JSON, which a spinner would disturb.
        quiet: Whether to show nothing.

    Yields:
        What takes a line for people.
    """
    if quiet:
        yield lambda _line: None
        return
    if as_json or not console.is_terminal:
        yield lambda line: print(line, file=sys.stderr, flush=True)
        return
    with console.status("starting") as status:
        yield lambda line: status.update(escape(line))


class Shown(NamedTuple):
    """Where a run tells how it goes.

    Attributes:
        line: Takes a line for people whenever something new begins.
        record: Takes every record that is logged.
    """

    line: Callable[[str], None]
    record: Callable[[Mapping[str, Any]], None]


@contextmanager
def show_run(console: Console, *, as_json: bool, quiet: bool) -> Iterator[Shown]:
    """As `show_progress`; on a terminal with a bar: what is trained, its epoch and score, the time left for all.

    Args:
        console: Of stderr.
        as_json: Whether the command prints JSON, which a bar would disturb.
        quiet: Whether to show nothing.
    """
    if quiet or as_json or not console.is_terminal:
        with show_progress(console, as_json=as_json, quiet=quiet) as progress:
            yield Shown(progress, lambda _record: None)
        return
    started = time.perf_counter()
    course = Course(started)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        TextColumn("{task.fields[epoch]}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task("starting", total=None, epoch="", left="")

        def show() -> None:
            now = time.perf_counter()
            share, left = course.share(now, started), course.seconds_left(now)
            if share is not None and left is not None:
                bar.update(task, total=1.0, completed=share, left=f"{_rounded(left)} left")
            bar.update(task, epoch=course.words)

        def line(text: str) -> None:
            bar.update(task, description=escape(text))
            show()

        def record(values: Mapping[str, Any]) -> None:
            course.note(values, time.perf_counter())
            show()

        yield Shown(line, record)


def _rounded(seconds: float) -> str:
    """A duration as coarse as it is known, such as "about 4 min"."""
    if seconds < 90:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"


@contextmanager
def show_bar(label: str, *, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """Shows on stderr how far a command has come, on a terminal only.

    Args:
        label: What is being done.
        as_json: Whether the command prints JSON; then nothing is shown.

    Yields:
        What takes the number of steps done and of all; every other number of all has a bar of its own.
    """
    hidden = as_json or not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=hidden) as bar:
        bars: dict[int, TaskID] = {}

        def show(done: int, total: int) -> None:
            if total not in bars:
                bars[total] = bar.add_task(label, total=total)
            bar.update(bars[total], completed=done)

        yield show


def give_up(reason: str, code: int = 2) -> NoReturn:
    """Ends the process with one line on stderr.

    Raises:
        SystemExit: Always.
    """
    print(f"fusenas: {reason if len(reason) <= LONGEST else reason[:LONGEST] + '…'}", file=sys.stderr)
    raise SystemExit(code) from None


def mend_streams() -> None:
    """Lets what the terminal cannot show be printed as escapes, and what is written to a closed stream go nowhere."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w"))  # noqa: SIM115  # until the end
        elif isinstance(stream, io.TextIOWrapper) and name != "stdin":
            stream.reconfigure(errors="backslashreplace")


def leave_stdout() -> None:
    """Sends what is still unwritten nowhere: at its exit, Python would try again and complain."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # not a real file, or no file can be opened
        return
