"""The command line in a process of its own that can be killed: a new interpreter, or a fork of a server.

A fork starts at once, for its server has torch loaded already. It is for what is not killed: a process that is killed
is to be one as people start it.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import tensorboard.summary.writer.record_writer  # noqa: F401  # loaded here once, and not by each process in turn
import torch
import torch._dynamo

import benchmarks.export  # noqa: F401  # with all of nas
import cli  # noqa: F401
from tests import dying

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
        kill: One of `KILLS` and in which write or rename, from 1.
        file_bytes: Largest file that it may write; 0 for no limit.
        report: Whether figures are drawn, which takes longer than everything else.
        fresh: Whether it is a new interpreter.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str],
        *,
        kill: tuple[str, int] | None = None,
        file_bytes: int = 0,
        report: bool = False,
        fresh: bool = False,
    ) -> None:
        self._folder = folder
        moment, number = kill or ("never", 0)
        self._process: _Fork | subprocess.Popen[bytes]
        if fresh:
            words = [moment, str(number), "yes" if report else "no", *arguments]
            with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", str(Path(dying.__file__)), *words],
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                    start_new_session=True,
                )
        else:
            self._process = _Fork(folder, list(arguments), moment, number, file_bytes, report)
        self.pid = self._process.pid

    def send(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait_for(self, condition: Callable[[], bool], *, seconds: float = 60) -> None:
        """Waits until something is so, or the command has ended."""
        end = time.monotonic() + seconds
        while not condition() and self.is_running():
            assert time.monotonic() < end
            time.sleep(0.002)

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until it ends, or for some time; returns whether it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return not self.is_running()

    def ended(self) -> Ended:
        """Waits until it ends, and says how."""
        code = self._process.wait(120)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # what it has started, if it was killed itself
        # One that is killed before it has opened them has said nothing.
        return Ended(
            code, *(path.read_text() if path.exists() else "" for path in (self._folder / "out", self._folder / "err"))
        )


class _Fork:
    """A process forked from the server, as `subprocess.Popen` has it."""

    def __init__(
        self, folder: Path, arguments: list[str], moment: str, number: int, file_bytes: int, report: bool
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._process = context.Process(target=_run, args=(folder, arguments, moment, number, file_bytes, report))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a fork", timeout or 0)
        return self._process.exitcode


def _run(folder: Path, arguments: list[str], moment: str, number: int, file_bytes: int, report: bool) -> None:
    """The forked process."""
    os.setsid()
    os.chdir(folder)
    for name, handle in (("out", 1), ("err", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), handle)
    torch.set_num_threads(1)
    if file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    dying.run(arguments, dying.die_in(moment, number), Path("writes").absolute(), figures=report)
