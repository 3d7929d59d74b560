"""An earlier run that is set aside within its folder while another one takes its place.

Files are moved one by one, and a process may be killed between any two of them. So they move to and from `MOVING`:
while that folder is there, the earlier run is in both places together and nothing else has begun. One rename turns it
into `ASIDE`, the whole earlier run, beside which a new one is written. One rename likewise makes it `DISCARDED`, which
is only still to be deleted. Links are not followed: the folder may come from a stranger.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

FILES = ("config.toml", "architecture.json", "weights.safetensors", "summary.json", "metrics.jsonl", "report.html")
FOLDERS = ("tensorboard", "figures", "checkpoints", "exports")

ASIDE = ".replaced"
MOVING = ".replaced.moving"
DISCARDED = ".replaced.discarded"

TEMPORARY = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}\.part")
"""Name of a file that is not yet written whole; one stays behind where a process was killed while it wrote."""


def set_aside(folder: Path) -> None:
    """Moves a run's own files to `ASIDE`; if one is there already, that is the one to keep, and they are removed."""
    if is_folder(folder / ASIDE):
        remove_own_files(folder)
        return
    moving = folder / MOVING
    moving.mkdir()
    for name in (*FILES, *FOLDERS):
        file = folder / name
        if file.is_symlink():
            file.unlink()
        elif file.exists():
            file.rename(moving / name)
    moving.rename(folder / ASIDE)


def put_back(folder: Path) -> None:
    """Puts the run of `ASIDE` in the place of what has been written beside it."""
    if is_folder(folder / ASIDE):
        remove_own_files(folder)
        (folder / ASIDE).rename(folder / MOVING)
        finish_moving(folder)


def finish_moving(folder: Path) -> None:
    """Makes a run whole again that was on the move, to or fro, when a process was killed."""
    moving = folder / MOVING
    if is_folder(moving):
        for name in (*FILES, *FOLDERS):
            if (moving / name).exists():
                (moving / name).rename(folder / name)
        shutil.rmtree(moving)


def discard(folder: Path) -> None:
    """Deletes the run of `ASIDE`."""
    finish_discarding(folder)
    if is_folder(folder / ASIDE):
        (folder / ASIDE).rename(folder / DISCARDED)
        finish_discarding(folder)


def finish_discarding(folder: Path) -> None:
    """Deletes the rest of a run whose deletion was cut short."""
    if is_folder(folder / DISCARDED):
        shutil.rmtree(folder / DISCARDED)


def is_folder(path: Path) -> bool:
    """Whether it is a folder and no link to one."""
    return path.is_dir() and not path.is_symlink()


def remove_own_files(folder: Path) -> None:
    """Removes the files and folders of a run, and nothing else."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    for name in FOLDERS:
        path = folder / name
        if path.is_symlink():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)


def remove_temporaries(folder: Path) -> None:
    """Removes what a killed process left half written: of a run's own files, and in its own folders."""
    for path in list(_temporaries(folder)):
        path.unlink(missing_ok=True)


def _temporaries(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        found = TEMPORARY.fullmatch(path.name)
        if found is not None and found["name"] in FILES:
            yield path
    for name in FOLDERS:
        own = folder / name
        if is_folder(own):
            yield from (path for path in own.iterdir() if TEMPORARY.fullmatch(path.name))
