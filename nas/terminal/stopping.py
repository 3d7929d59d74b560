"""How a command ends that is stopped: by a signal, a full disk or a limit of the machine."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from nas.errors import UserError, is_full_disk, told_of_the_machine
from nas.terminal.output import give_up

AGAIN_SECONDS = 0.05
"""After which a signal is sent again that came where Python swallows exceptions, as in a weak reference's callback."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """SIGINT or SIGTERM, on its way out: whoever holds something unwritten writes it as this passes.

    Not a KeyboardInterrupt, which typer turns into a line of its own.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def held_back() -> Iterator[None]:
    """Holds signals back until the block ends, where the system can."""
    can_hold = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS) if can_hold else set()
    try:
        yield
    finally:
        if can_hold:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def resumable(out: Path) -> Iterator[None]:
    """Ends a command that a signal, a full disk or a limit stops with one line that says how to resume it.

    Args:
        out: The run folder that the command writes.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    def stop_again(swallowed: Any) -> None:
        if not isinstance(swallowed.exc_value, Stopped):
            hook(swallowed)
            return
        again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), swallowed.exc_value.number))
        again.daemon = True
        again.start()

    hook, sys.unraisablehook = sys.unraisablehook, stop_again
    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    except Stopped as stopped:
        print(f"fusenas: stopped{_how_to_resume(out)}", file=sys.stderr)  # whole, however long the command is
        raise SystemExit(128 + stopped.number) from None
    except BrokenPipeError:
        raise
    except Exception as error:
        told = told_of_the_machine(error)
        if told is None or isinstance(error, UserError):
            raise
        if isinstance(error, OSError) and is_full_disk(error):
            told = f"cannot write to {str(out)!r}: {(error.strerror or str(error)).lower()}"
        give_up(f"{told}{_how_to_resume(out)}")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook


def _how_to_resume(out: Path) -> str:
    """The command that resumes a run, if there is anything to resume."""
    from nas.runs.checkpoint import status  # noqa: PLC0415  # it needs torch

    try:
        if status(out / "checkpoints") != "stopped":
            return ""
    except UserError:
        return ""
    given = [word for word in sys.argv[1:] if word not in ("--resume", "--overwrite")]
    return f"; go on with: {shlex.join(['fusenas', *given, '--resume'])}"
