"""A command from its first to its last moment: one line and an exit code for everything that is not a bug."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import warnings
from typing import Any, NoReturn

import typer

from nas.errors import DataWarning, UserError, told_of_the_machine
from nas.terminal.output import give_up, leave_stdout, mend_streams
from nas.terminal.stopping import Stopped


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Tells of data in one line, and of anything else as Python does."""
    if issubclass(category, DataWarning):
        print(f"fusenas: note: {message}", file=sys.stderr)
    else:
        _python_shows(message, category, *place, **more)


_python_shows = warnings.showwarning

UsageError: Any = typer.BadParameter.__base__
"""What typer raises for a wrong option; it comes from click, which some versions of typer carry inside them."""


def run_command(app: typer.Typer) -> NoReturn:
    """Runs the command line of this process.

    Args:
        app: Its commands; without any argument their help is shown.

    Raises:
        SystemExit: Always: with code 2 for a mistake of the user's, 128 and more for a signal.
    """
    # OpenMP's threads spin while they wait. Where other processes want the cores too, that makes small steps many times
    # slower; to wait asleep costs next to nothing where they do not. It is read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Should a library start a Python of its own, that shall not look for modules in the current folder either.
    os.environ["PYTHONSAFEPATH"] = "1"
    # What has ended cannot be stopped any more: an interrupt while Python takes itself down would say that it was.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    mend_streams()
    warnings.showwarning = _show_warning
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="fusenas", standalone_mode=False)
        sys.stdout.flush()
    except UserError as error:
        give_up(str(error))
    except UsageError as error:
        give_up(f"{' '.join(error.format_message().split()).removesuffix('.')}; see --help")
    except (KeyboardInterrupt, typer.Abort):
        give_up("stopped", 130)
    except Stopped as stopped:  # it came just as the command had done its work
        give_up("stopped", 128 + stopped.number)
    except BrokenPipeError:
        leave_stdout()
        raise SystemExit(1) from None  # as typer does, where a command is told so while it prints
    except Exception as error:
        told = told_of_the_machine(error)
        if told is None:
            raise
        leave_stdout()
        give_up(told)
    raise SystemExit(code or 0)
