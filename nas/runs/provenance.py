"""Where a result comes from: command, commit, versions, hardware, time."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from nas.isolation import run
from nas.summary import Provenance

_PACKAGES = ("fusenas", "torch", "numpy", "scikit-learn", "networkx", "optuna")


def provenance(command: str | None = None) -> Provenance:
    """What has to be known to repeat a result.

    Args:
        command: The command line; None takes that of this process.
    """
    if command is None:
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    versions = {name: found for name in _PACKAGES if (found := _version(name))}
    return Provenance(
        command=command,
        commit=_commit(),
        versions={"python": platform.python_version(), **versions},
        hardware=hardware(),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def hardware() -> str:
    """The processor, how many cores and threads are used, and the GPU if there is one."""
    model = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        names = [line.split(":", 1)[1].strip() for line in listing.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    text = f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{text}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else text


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout that this code lies in, marked when files differ from it."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    # Without taking locks, for others may be at work in the checkout, and without the programs that it may name.
    git = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(root)]
    try:
        failed, commit, _ = run([*git, "rev-parse", "--short=12", "HEAD"])
        unknown, changed, _ = run([*git, "status", "--porcelain", "--untracked-files=no"])
    except OSError:
        return None
    if failed or unknown:
        return None
    return f"{commit.strip()}, changed" if changed.strip() else commit.strip()
