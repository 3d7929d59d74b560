"""Programs that we start: none finds code in the current folder or a run folder, or is led by the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from nas.errors import UserError

_KEPT = frozenset(
    [
        *("PATH", "HOME", "TMPDIR", "TEMP", "TMP", "LANG", "LC_ALL", "SYSTEMROOT", "LD_LIBRARY_PATH"),
        *("DYLD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS"),
    ]
)
"""What of the environment programs are told: where things lie on this machine, and how many cores to use."""

_PYTHON = """\
import os, runpy, sys
sys.path += sys.argv.pop(1).split(os.pathsep)
program = sys.argv.pop(1)
(runpy.run_path if program.endswith(".py") else runpy.run_module)(program, run_name="__main__")
"""


Ended = tuple[int, str, str]
"""Exit code, and what was printed to standard output and to standard error."""


def run_python(
    program: str, arguments: Sequence[str], *, given: str = "", seconds: float = 300, beside: Sequence[Path] = ()
) -> Ended:
    """Runs a Python program in a process and a folder of its own.

    Python is isolated (`-I`): neither the current folder nor `PYTHONPATH` nor the user's own site folder is searched
    for modules. Packages are found where this process found torch and this package, after all others.

    Args:
        program: Path of a file that ends in ".py", or the name of a module.
        arguments: Of the program; paths among them must be absolute.
        given: What it reads from its standard input.
        seconds: How long it may take.
        beside: Folders of further packages, which are searched last.

    Raises:
        UserError: If it takes longer.
    """
    packages = [str(Path(file).resolve().parents[1]) for file in (torch.__file__, __file__)] + [
        str(folder) for folder in beside
    ]
    command = [sys.executable, "-I", "-c", _PYTHON, os.pathsep.join(packages), program, *arguments]
    return run(command, given=given, seconds=seconds)


def run(command: Sequence[str], *, given: str = "", seconds: float = 300) -> Ended:
    """Runs a program in a folder of its own, with what it needs of the environment; see `run_python`."""
    environment = {name: value for name, value in os.environ.items() if name in _KEPT}
    with TemporaryDirectory() as empty:
        try:
            done = subprocess.run(
                command,
                input=given,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
                timeout=seconds,
                cwd=empty,
                env=environment,
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"{Path(command[0]).name} did not end within {seconds:.0f} s; is the machine busy?"
            ) from error
    return done.returncode, done.stdout, done.stderr
