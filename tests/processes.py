"""The command line in a process of its own that can be killed, forked from a server that has torch loaded already."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorboard.summary.writer.record_writer  # noqa: F401  # loaded here once, and not by each process in turn
import torch
import torch._dynamo

import cli
import nas.files

KILLS = ("half a write", "before a rename")
"""Moments within the writing of a file at which a process can be told to kill itself."""


@dataclass(frozen=True)
class Ended:
    """How a process ended: minus the number of a signal that killed it, or its exit code."""

    code: int
    out: str
    err: str


class Command:
    """A command line, running.

    Args:
        folder: Where it runs, and where what it prints is kept.
        arguments: Of the command.
        kill: One of `KILLS` and in which write, from 1.
        file_bytes: Largest file that it may write; 0 for no limit.
        report: Whether figures are drawn, which takes longer than everything else.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str],
        *,
        kill: tuple[str, int] | None = None,
        file_bytes: int = 0,
        report: bool = False,
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._folder = folder
        self._process = context.Process(target=_run, args=(folder, list(arguments), kill, file_bytes, report))
        self._process.start()

    def send(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        assert self._process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def wait_for(self, condition: Callable[[], bool], *, seconds: float = 60) -> None:
        """Waits until something is so, or the command has ended."""
        end = time.monotonic() + seconds
        while not condition() and self._process.is_alive():
            assert time.monotonic() < end
            time.sleep(0.002)

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until it ends, or for some time; returns whether it has ended."""
        self._process.join(seconds)
        return not self._process.is_alive()

    def ended(self) -> Ended:
        """Waits until it ends, and says how."""
        self._process.join(120)
        code = self._process.exitcode
        assert code is not None
        self._process.close()
        # One that is killed before it has opened them has said nothing.
        return Ended(
            code, *(path.read_text() if path.exists() else "" for path in (self._folder / "out", self._folder / "err"))
        )


def _run(folder: Path, arguments: list[str], kill: tuple[str, int] | None, file_bytes: int, report: bool) -> None:
    """The process."""
    os.chdir(folder)
    for name, handle in (("out", 1), ("err", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), handle)
    torch.set_num_threads(1)
    if file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    if not report:
        search = sys.modules["nas.search"]  # by name: `nas.search` in code is the function
        search.draw_report = lambda _run, target: target.path / "report.html"  # type: ignore[attr-defined]
    written = _kill_in_write(*(kill or ("never", 0)))
    sys.argv = ["fusenas", *arguments]
    try:
        cli.main()
    finally:
        with Path("writes").open("w") as file:
            file.write(str(written[0]))


def _kill_in_write(moment: str, number: int) -> list[int]:
    """Makes the process kill itself in its n-th atomic write; returns a list with the number of writes so far."""
    written, fdopen, fsync = [0], os.fdopen, os.fsync

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    class Half:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Half:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, content: bytes) -> None:
            written[0] += 1
            if moment == "half a write" and written[0] == number:
                self.file.write(content[: len(content) // 2])
                self.file.flush()
                die()
            self.file.write(content)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    def dying_fsync(handle: int) -> None:
        fsync(handle)
        if moment == "before a rename" and written[0] == number:
            die()

    nas.files.os.fdopen = lambda *arguments: Half(fdopen(*arguments))  # type: ignore[attr-defined]
    nas.files.os.fsync = dying_fsync  # type: ignore[attr-defined]
    return written
