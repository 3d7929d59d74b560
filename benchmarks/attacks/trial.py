"""One attack by its number, from an empty folder to what came of it."""

from __future__ import annotations

import os
import random
import resource
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import tensorboard.summary.writer.record_writer  # noqa: F401  # loaded here once, and not by each process in turn
import torch
import transformers  # noqa: F401
import typer  # noqa: F401

import benchmarks.export  # noqa: F401
import cli  # noqa: F401
from benchmarks.attacks import data_files, folders, lines, pairs, signals, tables
from benchmarks.attacks.targets import Targets, make_targets, read_targets
from benchmarks.attacks.world import World
from nas.report.serve import server  # noqa: F401

KINDS: Mapping[str, tuple[int, Callable[[World, random.Random], None]]] = {
    "folders": (36, folders.attack),
    "data files": (20, data_files.attack),
    "tables": (20, tables.attack),
    "command lines": (12, lines.attack),
    "pairs": (6, pairs.attack),
    "signals": (6, signals.attack),
}
"""Name to share in percent and to what makes one trial."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One attack and what came of it.

    Attributes:
        number: With the seed, all that decides it.
        kind: A key of `KINDS`.
        what: What was done, in words.
        faults: Category and what was seen, of all that went wrong.
        seconds: Wall time.
        processor_seconds: What its processes used.
    """

    number: int
    kind: str
    what: str
    faults: tuple[tuple[str, str], ...]
    seconds: float
    processor_seconds: float


def kept_targets(folder: Path) -> Targets:
    """What is attacked, made now unless it was before."""
    torch.set_num_threads(1)
    if not folder.is_dir():
        folder.mkdir(parents=True)
        return make_targets(folder)
    return read_targets(folder)


def kind_of(number: int) -> str:
    """The kind of a trial; every hundred of them has its share of each, evenly spread."""
    at = number * 37 % 100
    for kind, (share, _) in KINDS.items():
        if at < share:
            return kind
        at -= share
    raise AssertionError("shares add up to 100")


def attempt(number: int, seed: int, targets: Targets, folder: Path) -> Trial:
    """Makes one trial, in a folder of its own that is removed afterwards."""
    torch.set_num_threads(1)
    started, used, kind = time.monotonic(), _used(), kind_of(number)
    world = World(folder / f"trial-{number}", targets)
    try:
        KINDS[kind][1](world, random.Random(f"{seed} {number}"))
    except Exception:  # a fault of these attacks, and not of what is attacked
        world.faults.append(("attack broken", traceback.format_exc()[-1500:]))
    finally:
        _remove(world.root)
    return Trial(
        number=number,
        kind=kind,
        what="; ".join(world.notes),
        faults=tuple(world.faults),
        seconds=time.monotonic() - started,
        processor_seconds=_used() - used,
    )


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _remove(folder: Path) -> None:
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
