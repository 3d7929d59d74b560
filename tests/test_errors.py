"""What the machine or a limit on it refuses is one line; what may be a mistake of ours stays a traceback."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.errors import UserError, told_of_the_machine, unknown_name

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a"), "cannot write 'a': no space left on device; make room"),
        (OSError(errno.EROFS, "Read-only file system", b"a"), "cannot use b'a': read-only file system; name another"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), "cannot use 'a': permission denied; name another"),
        (OSError(errno.EMFILE, "Too many open files"), r"cannot use: too many open files; raise .*ulimit -n"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 10**6), "cannot use 'a{199}…: file name too long"),
        (MemoryError(), "there is not enough memory; choose fewer channels"),
        (np.exceptions.AxisError("no"), None),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"), "enough memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "there is not enough memory"),
        (RuntimeError("can't start new thread"), r"cannot load what it needs .can't start new thread.; raise"),
        (
            ImportError("libtorch_cpu.so: failed to map segment from shared object"),
            "cannot load what it needs .libtorch",
        ),
        (RuntimeError("The size of tensor a (3) must match"), None),
        (FileNotFoundError(errno.ENOENT, "No such file", "a"), None),
        (ImportError("cannot import name 'x' from 'nas'"), None),
        (OSError("without a number"), None),
        (ValueError("failed to map segment"), None),
        (KeyError("a"), None),
    ],
    ids=str,
)
def test_only_what_no_program_could_avoid_is_told(error: Exception, words: str | None) -> None:
    told = told_of_the_machine(error)
    assert (told is None) == (words is None)
    if words is not None and told is not None:
        assert re.search(words, told)
        assert "\n" not in told
        assert len(told) < 500


def test_torch_and_numpy_say_so_when_there_is_no_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert "not enough memory" in (told_of_the_machine(caught.value) or "")
    with pytest.raises(MemoryError) as refused:
        np.empty(2**60, dtype=np.uint8)
    assert "not enough memory" in (told_of_the_machine(refused.value) or "")


def _shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a line of bash in which "$@" is the console command."""
    command = ["bash", "-c", line, "bash", sys.executable, "-m", "cli"]
    own = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=folder, env=own, capture_output=True, timeout=120, check=False)


ONE_LINE = rb"fusenas: [^\n]*%b[^\n]*\n"


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (
            'ulimit -v 300000; exec "$@" list',
            2,
            rb"cannot load what it needs .*; raise the limits on memory, files and processes",
        ),
        ('"$@" list > /dev/full', 2, b"cannot write: no space left on device; make room"),
        ('"$@" report "$(printf "\\377%0100000d")"', 2, b"file name too long; choose a shorter name"),
        ('"$@" list | true; exit ${PIPESTATUS[0]}', 1, None),
        ('"$@" list >&-', 0, None),
    ],
)
def test_limits_and_closed_streams_end_in_one_line(tmp_path: Path, line: str, code: int, words: bytes | None) -> None:
    done = _shell(line, tmp_path)
    assert done.returncode == code, done.stderr
    assert re.fullmatch(ONE_LINE % words if words else b"", done.stderr, re.DOTALL), done.stderr[-2000:]
    assert len(done.stderr) < 2100


def test_a_terminal_that_lacks_characters_gets_escapes(tmp_path: Path) -> None:
    line = '"$@" list; "$@" list --json >&2'
    done = _shell(line, tmp_path, PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")
    assert done.returncode == 0
    assert rb"W1 x1 + \u2026 + Wn xn" in done.stdout
    assert "W1 x1 + … + Wn xn" in json.loads(done.stderr)["operations"]["additive"]


def test_a_mistake_is_told_in_one_line_of_bounded_length() -> None:
    assert str(UserError("one\ntwo\r\nthree")) == "one two three"
    assert len(str(unknown_name("key", "x" * 100_000, ["a", "b"]))) <= 2001


def test_what_would_command_a_terminal_is_escaped() -> None:
    assert (
        str(UserError("column \x1b[2J\u202egnp.\udcff of é 名前 \t…"))
        == "column \\x1b[2J\\u202egnp.\\udcff of é 名前 \\t…"
    )
