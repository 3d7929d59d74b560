"""Where a result comes from, as far as it can be known."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

import nas
from nas.records import from_plain, plain
from nas.runs import provenance as module
from nas.runs.provenance import hardware, provenance
from nas.summary import Provenance


def test_it_tells_all_that_is_needed_to_repeat_a_result() -> None:
    origin = provenance("fusenas search emoji --seed 3")
    assert list(plain(origin)) == ["command", "commit", "versions", "hardware", "started_at"]
    assert origin.command == "fusenas search emoji --seed 3"
    assert origin.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert origin.versions["numpy"] == np.__version__
    assert origin.versions["torch"].split("+")[0] == torch.__version__.split("+", maxsplit=1)[0]
    assert from_plain(Provenance, json.loads(json.dumps(plain(origin)))) == origin


def test_the_time_is_now_in_utc() -> None:
    started_at = datetime.fromisoformat(provenance("").started_at)
    assert started_at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - started_at) < timedelta(minutes=1)


def test_the_command_of_this_process_is_quoted_so_that_a_shell_takes_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/fusenas", "search", "my data.npz", "--task", "x;y"])
    command = provenance().command
    assert shlex.split(command) == ["fusenas", "search", "my data.npz", "--task", "x;y"]


def test_the_hardware_names_cores_and_threads() -> None:
    assert f", {torch.get_num_threads()} threads" in hardware()
    assert "\n" not in hardware()


def test_a_package_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACKAGES", ("numpy", "surely-not-installed"))
    assert set(provenance("").versions) == {"python", "numpy"}


def _git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which this code seems to lie."""
    code = tmp_path / Path(str(module.__file__)).relative_to(Path(nas.__file__).parents[1])
    code.parent.mkdir(parents=True)
    code.write_text("# code\n")
    monkeypatch.setattr(module, "__file__", str(code))
    return tmp_path


def test_the_commit_is_that_of_the_checkout_and_changes_are_told(checkout: Path) -> None:
    assert provenance("").commit is None  # no checkout at all
    _git(checkout, "init", "--quiet")
    assert provenance("").commit is None  # nothing committed yet
    _git(checkout, "add", "nas")
    _git(checkout, "commit", "--quiet", "--message", "Begin")
    commit = _git(checkout, "rev-parse", "HEAD")[:12]
    assert provenance("").commit == commit
    (checkout / "results.csv").write_text("a,b\n")
    assert provenance("").commit == commit  # files that are no part of the project change no result
    (checkout / "nas" / "runs" / "provenance.py").write_text("# other code\n")
    assert provenance("").commit == f"{commit}, changed"


def test_without_git_there_is_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _git(checkout, "init", "--quiet")
    monkeypatch.setenv("PATH", str(checkout))
    assert provenance("").commit is None
