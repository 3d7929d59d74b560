"""One command in a process of its own, watched: its end, its words, its time and its memory."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

SECONDS = 60.0
"""A command that takes longer hangs, unless it is short of processor time on a busy machine."""

_BUSY_SECONDS, _IDLE_SECONDS, _MOST_SECONDS = 120.0, 10.0, 600.0
"""Processor time that no command takes, also where cores are shared and slow; time in which a live one takes some."""

BYTES = 4 * 1024**3
"""Memory that no command on a tiny run may take."""

_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_PR_CAPBSET_DROP = 24
_CAPABILITY_VERSION_3 = 0x20080522


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended.

    Attributes:
        code: Exit code, or minus the signal that killed it.
        out: What it printed.
        err: What it printed as an error.
        seconds: Wall time.
        peak: Most bytes of memory that it, or a process that it waited for, ever held.
        hung: Whether it was killed because it took too long.
        bloated: Whether it was killed because it took too much memory.
    """

    code: int
    out: str
    err: str
    seconds: float
    peak: int
    hung: bool = False
    bloated: bool = False


class Watched:
    """A process that has been started.

    Args:
        body: What it does; its exit code is what this returns, if it returns.
        cwd: Where it runs.
        logs: Folder that keeps what it prints.
        environment: All of its environment.
        limits: Resource limits, such as `{resource.RLIMIT_NOFILE: 10}`.
        closed: File descriptors that are closed when it begins.
        powerless: Whether permission bits hold for it, which they do not for root.
    """

    def __init__(
        self,
        body: Callable[[], int | None],
        *,
        cwd: Path,
        logs: Path,
        environment: Mapping[str, str],
        limits: Mapping[int, int] | None = None,
        closed: Sequence[int] = (),
        powerless: bool = False,
    ) -> None:
        self._logs = Path(tempfile.mkdtemp(dir=logs))
        self._started = time.monotonic()
        self._ended: Ended | None = None
        self._used = (0.0, self._started)  # processor time when it last grew, and when that was
        self.pid = os.fork()
        if self.pid == 0:
            _child(body, cwd, self._logs, environment, limits or {}, closed, powerless)

    def send(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self._ended is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until it ends, or for some time; whether it has ended."""
        end = None if seconds is None else time.monotonic() + seconds
        pause = 0.002
        while self._ended is None:
            self._look()
            if self._ended is None and end is not None and time.monotonic() >= end:
                return False
            time.sleep(pause)
            pause = min(0.05, 1.5 * pause)
        return True

    def ended(self) -> Ended:
        """Waits until it ends."""
        self.wait()
        assert self._ended is not None
        return self._ended

    def has(self, library: str) -> bool:
        """Whether it has loaded a library, or has ended."""
        self._look()
        with suppress(OSError):
            if b"forkserver" in Path(f"/proc/{self.pid}/cmdline").read_bytes():
                return self._ended is not None  # it is yet to become the command, and has what the server has loaded
            return self._ended is not None or library in Path(f"/proc/{self.pid}/maps").read_text()
        return True

    def _is_stuck(self, seconds: float) -> bool:
        """Whether it has had its share of the processor, or wants none."""
        used, now = _processor_seconds(self.pid), time.monotonic()
        if used > self._used[0] + 0.05:
            self._used = used, now
        return (
            used > _BUSY_SECONDS
            or now - max(self._used[1], self._started + SECONDS) > _IDLE_SECONDS
            or (seconds > _MOST_SECONDS)
        )

    def _look(self) -> None:
        if self._ended is not None:
            return
        done, status, usage = os.wait4(self.pid, os.WNOHANG)
        seconds = time.monotonic() - self._started
        hung = bloated = False
        if not done:
            hung, bloated = seconds > SECONDS and self._is_stuck(seconds), _resident(self.pid) > BYTES
            if not (hung or bloated):
                return
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            done, status, usage = os.wait4(self.pid, 0)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # processes that it left behind
        out, err = (
            path.read_bytes()[-200_000:].decode(errors="backslashreplace") if path.exists() else ""
            for path in (self._logs / "out", self._logs / "err")
        )
        self._ended = Ended(
            code=os.waitstatus_to_exitcode(status),
            out=out,
            err=err,
            seconds=seconds,
            peak=usage.ru_maxrss * 1024,
            hung=hung,
            bloated=bloated,
        )


def command(arguments: Sequence[str], *, figures: bool = True) -> Callable[[], int | None]:
    """The command line as a forked process runs it.

    Args:
        arguments: Without the name of the program.
        figures: Whether a search draws its report, which takes longer than everything else.
    """

    def body() -> int | None:
        import cli  # noqa: PLC0415

        if not figures:
            search: Any = import_module("nas.pipeline.search")  # by name: `nas.search` in code is the function
            search.draw_report = lambda _run, target: target.path / "report.html"
        sys.argv = ["fusenas", *arguments]
        cli.main()
        return None

    return body


def call(function: Callable[[], object]) -> Callable[[], int | None]:
    """A function of the library whose errors are told as the command line tells them."""

    def body() -> int | None:
        from nas import UserError  # noqa: PLC0415

        try:
            function()
        except UserError as error:
            print(f"fusenas: {error}", file=sys.stderr)
            return 2
        return 0

    return body


def fresh(arguments: Sequence[str], environment: Mapping[str, str]) -> Callable[[], int | None]:
    """The installed command in an interpreter of its own.

    Args:
        arguments: Without the name of the program.
        environment: All of its environment.
    """
    program = [sys.executable, str(Path(sys.executable).with_name("fusenas"))]
    given = [os.fsencode(word) for word in (*program, *arguments)]

    def body() -> int | None:
        os.execve(given[0], given, dict(environment))

    return body


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _processor_seconds(session: int) -> float:
    """What all processes of a session have used, those that have ended among them."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _child(
    body: Callable[[], int | None],
    cwd: Path,
    logs: Path,
    environment: Mapping[str, str],
    limits: Mapping[int, int],
    closed: Sequence[int],
    powerless: bool,
) -> None:
    """The process itself; it does not return."""
    code: int | None = 1
    try:
        os.setsid()
        os.chdir(cwd)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for name, handle in (("out", 1), ("err", 2)):
            os.dup2(os.open(logs / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), handle)
        os.closerange(3, 256)
        for handle in closed:
            os.close(handle)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None  # looked up again in this environment
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        # As an interpreter of its own would have them: the parent's may be pipes of another encoding.
        for name, handle in (("stdout", 1), ("stderr", 2)):
            stream = None if handle in closed else open(handle, "w", encoding="utf-8", errors="backslashreplace")  # noqa: PTH123, SIM115
            setattr(sys, name, stream)
        for limit, value in limits.items():
            resource.setrlimit(limit, (value, value))
        if powerless:
            _drop_powers()
        code = body()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # whatever it is, the interpreter would print it
        traceback.print_exc()
    finally:
        for opened in (sys.stdout, sys.stderr):
            with suppress(Exception):  # a closed one is None
                opened.flush()
        os._exit(code or 0)


def _drop_powers() -> None:
    """Lets permission bits hold for root, too, here and in what is started from here."""
    library = ctypes.CDLL(None)
    dropped = 1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH
    for number in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        library.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then those of higher numbers
    library.capget(header, sets)
    for index in range(3):
        sets[index] &= ~dropped & 0xFFFFFFFF
    library.capset(header, sets)
