"""The console command, run within the process of a test."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from cli import main


class Printed(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


Run = Callable[..., Printed]
"""Takes the words after `fusenas`."""


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs command lines through the console command's entry point."""

    def run(*arguments: str | Path) -> Printed:
        monkeypatch.setattr(sys, "argv", ["fusenas", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        code = caught.value.code
        assert code is None or isinstance(code, int)
        return Printed(code or 0, captured.out, captured.err)

    return run
