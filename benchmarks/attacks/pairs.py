"""Two commands on one folder at once: one has it, and the other is told who."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.attacks.targets import EXPORT, OTHER_SEARCH, REPORT, RETRAIN, SEARCH, files_below, outcome
from benchmarks.attacks.world import World

WRITERS: Mapping[str, tuple[Sequence[str], str]] = {
    "search": (SEARCH, "static"),
    "search of another seed": (OTHER_SEARCH, "search"),
    "search --overwrite": ((*OTHER_SEARCH, "--overwrite"), "search"),
    "search --resume": ((*SEARCH, "--resume"), "static"),
    "retrain": (RETRAIN, "retrain"),
    "retrain --resume": ((*RETRAIN, "--resume"), "retrain"),
}
"""Name to command and to what it comes to."""

OTHERS: Mapping[str, Sequence[str]] = {
    "export": EXPORT,
    "report": REPORT,
    "report --out": ("report", "run", "--out", "page"),
    "evaluate": ("evaluate", "run", "--recombinations", "16"),
}


def attack(world: World, generator: random.Random) -> None:
    """One trial."""
    is_new = generator.random() < 0.4
    firsts = ("search", "search of another seed", "search --resume") if is_new else ("search --overwrite", "retrain")
    first = generator.choice(firsts)
    second = generator.choice((*WRITERS, *OTHERS))
    if not is_new:
        shutil.copytree(world.targets.run("static"), world.run)
    one = world.start(WRITERS[first][0], is_fresh=True)
    if generator.random() < 0.3:
        moment = generator.uniform(0, world.targets.seconds["search" if is_new else "overwrite"])
        one.wait(moment)
        when = f"after {moment:.1f} s"
    else:  # most of a command's time goes by before it has begun to train
        states = generator.randint(1, 6)
        while len(list(world.run.glob("checkpoints/*.state"))) < states and not one.wait(0.005):
            pass
        one.wait(generator.uniform(0, 0.2))
        when = f"after {states} trainings"
    was_locked = holds_lock(one.pid, world.run / ".lock") and not one.wait(0)
    before = world.snapshot(world.run, world.cwd / "page")
    # The second one is forked in most trials: it meets the first one sooner, at any moment of it.
    is_fresh = generator.random() < 0.3
    arguments = WRITERS[second][0] if second in WRITERS else OTHERS[second]
    other = world.start(list(arguments), is_fresh=is_fresh, figures=False)
    world.note(f"{first}, {when} {second}{' in a fresh interpreter' if is_fresh else ''}")
    other.wait()
    met = was_locked and holds_lock(one.pid, world.run / ".lock")  # which ends before its process does
    ends = world.judge(one.ended()), world.judge(other.ended())
    world.compare(before, world.run, world.cwd / "page")
    if met and second in WRITERS:
        if ends[1].code != 2:
            world.fault("lost or differing", f"the second one was not refused, it ended with {ends[1].code}")
        elif str(one.pid) not in ends[1].err.splitlines()[-1]:
            world.fault("lost or differing", f"it is not told that process {one.pid} has it: {ends[1].err[-200:]}")
    won = [name for name, end in zip((first, second), ends, strict=True) if end.code == 0 and name in WRITERS]
    if all(end.code != 0 for end in ends):
        world.fault("lost or differing", f"nobody won: {ends[0].err[-150:]!r} and {ends[1].err[-150:]!r}")
    if not won:  # a report or an export came first, and who would have changed the run was refused
        return
    if len(won) == 2 and first == "search of another seed" and WRITERS[second][1] == "retrain":
        return  # one after the other, and nobody knows what this search retrained comes to
    look(world, {WRITERS[name][1] for name in won} | ({"static"} if "search --resume" in won else set()))


def holds_lock(pid: int, lock: Path) -> bool:
    """Whether a process has a lock, by the kernel's list; to try the lock would disturb whoever wants it."""
    with suppress(OSError):
        inode = str(lock.lstat().st_ino)
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if str(pid) in fields and any(field.endswith(f":{inode}") for field in fields):
                return True
    return False


def look(world: World, comes_to: set[str]) -> None:
    """The folder holds the whole results of one command, and nothing is left over."""
    try:
        found = outcome(world.run)
    except (OSError, ValueError, KeyError) as error:
        world.fault("lost or differing", f"no results, {error!r}")
        return
    if not any(found == world.targets.outcomes[name] for name in comes_to):
        world.fault("lost or differing", f"other results than those of {' or '.join(sorted(comes_to))}")
    hidden = [name for name in files_below(world.run, ["."]) if name.rpartition("/")[2].startswith(".")]
    if left := [name for name in hidden if name != ".lock"]:
        world.fault("lost or differing", f"left over: {' '.join(left[:3])}")
