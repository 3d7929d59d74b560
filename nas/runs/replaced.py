"""An earlier run that is set aside within its folder while another one takes its place.

Files are moved one by one, and a process may be killed between any two of them. So they move to and from `MOVING`:
while that folder is there, the earlier run is in both places together and nothing else has begun. One rename turns it
into `ASIDE`, the whole earlier run, beside which a new one is written. One rename likewise makes it `DISCARDED`, which
is only still to be deleted. Whoever calls these functions owns the folder (`nas.runs.locking`).
"""

from __future__ import annotations

from nas.runs.files import TEMPORARY, Folder

FILES = (
    "config.toml",
    "architecture.json",
    "preprocessing.json",
    "weights.safetensors",
    "summary.json",
    "metrics.jsonl",
    "report.html",
    "estimator.json",
)
FOLDERS = ("tensorboard", "figures", "checkpoints", "exports", "members", "taps")

ASIDE = ".replaced"
MOVING = ".replaced.moving"
DISCARDED = ".replaced.discarded"


def set_aside(folder: Folder) -> None:
    """Moves a run's own files to `ASIDE`; if one is there already, that is the one to keep, and they are removed.

    Links are removed, for a run of ours has none.
    """
    if folder.is_folder(ASIDE):
        remove_own_files(folder)
        return
    for name in (ASIDE, MOVING):  # no folders: neither is ours, and both would be in the way
        folder.remove(name)
    folder.make(MOVING)
    for name in (*FILES, *FOLDERS):
        if folder.is_file(name) or folder.is_folder(name):
            folder.rename(name, f"{MOVING}/{name}")
        else:
            folder.remove(name)
    folder.rename(MOVING, ASIDE)


def put_back(folder: Folder) -> None:
    """Puts the run of `ASIDE` in the place of what has been written beside it."""
    if folder.is_folder(ASIDE):
        remove_own_files(folder)
        folder.rename(ASIDE, MOVING)
        finish_moving(folder)


def finish_moving(folder: Folder) -> None:
    """Makes a run whole again that was on the move, to or fro, when a process was killed."""
    if folder.is_folder(MOVING):
        for name in (*FILES, *FOLDERS):
            if folder.exists(f"{MOVING}/{name}"):
                folder.rename(f"{MOVING}/{name}", name)
        folder.remove(MOVING)


def discard(folder: Folder) -> None:
    """Deletes the run of `ASIDE`."""
    finish_discarding(folder)
    if folder.is_folder(ASIDE):
        folder.rename(ASIDE, DISCARDED)
        finish_discarding(folder)


def finish_discarding(folder: Folder) -> None:
    """Deletes the rest of a run whose deletion was cut short, or what else has that name and would be in the way."""
    folder.remove(DISCARDED)


def remove_own_files(folder: Folder) -> None:
    """Removes the files and folders of a run, and nothing else."""
    for name in (*FILES, *FOLDERS):
        folder.remove(name)


def remove_temporaries(folder: Folder) -> None:
    """Removes what a killed process left half written: of a run's own files, and in its own folders."""
    for name in folder.names():
        if is_own_temporary(name):
            folder.remove(name)
    for inner in FOLDERS:
        if folder.is_folder(inner):
            folder.inner(inner).remove_temporaries()


def is_own_temporary(name: str) -> bool:
    """Whether a file is one of a run's own that is not yet written whole."""
    found = TEMPORARY.fullmatch(name)
    return found is not None and found["name"] in FILES
