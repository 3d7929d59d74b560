"""Commands stopped at random moments, done again, and read by another process all the while."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.attacks.pairs import look
from benchmarks.attacks.processes import Watched, call
from benchmarks.attacks.targets import EXPORT, OTHER_SEARCH, REPORT, RETRAIN, files_below, outcome
from benchmarks.attacks.world import World


@dataclass(frozen=True)
class _Stopped:
    """A command that is stopped.

    Attributes:
        arguments: Of the command.
        again: Of the command that goes on with it.
        target: What it comes to, and how long it takes.
        is_new: Whether it begins with no run.
    """

    arguments: Sequence[str]
    again: Sequence[str]
    target: str
    is_new: bool = False


_EXPORT = (*EXPORT, "--format", "safetensors")

COMMANDS: Mapping[str, tuple[int, _Stopped]] = {
    "search": (4, _Stopped(OTHER_SEARCH, (*OTHER_SEARCH, "--resume"), "search", is_new=True)),
    "search --overwrite": (3, _Stopped((*OTHER_SEARCH, "--overwrite"), (*OTHER_SEARCH, "--resume"), "overwrite")),
    "retrain": (4, _Stopped(RETRAIN, (*RETRAIN, "--resume"), "retrain")),
    "export": (2, _Stopped(_EXPORT, _EXPORT, "export")),
    "report": (2, _Stopped(REPORT, REPORT, "report")),
}

_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def attack(world: World, generator: random.Random) -> None:
    """One trial."""
    (name,) = generator.choices(list(COMMANDS), [weight for weight, _ in COMMANDS.values()])
    stopped, number = COMMANDS[name][1], generator.choice(_SIGNALS)
    if not stopped.is_new:
        shutil.copytree(world.targets.run("static"), world.run)
    before = world.snapshot(world.run, world.cwd / "page")
    reader = _reader(world) if generator.random() < 0.4 else None
    process = world.start(stopped.arguments, is_fresh=True)
    seconds = world.targets.seconds[stopped.target]
    # Most of a command's time goes by as modules are loaded. Before that the interpreter itself tells of an interrupt.
    library = "numpy" if number == signal.SIGINT else generator.choice(("", "libtorch_cpu", "libtorch_cpu"))
    while library and not process.has(library):
        process.wait(0.02)
    moment = generator.uniform(0, 0.8 * seconds if library else seconds)
    process.wait(moment)
    process.send(number)
    world.note(f"{name}, {signal.Signals(number).name} after {moment:.1f} s{', while it is read' if reader else ''}")
    codes = {signal.SIGKILL: (-9,), signal.SIGTERM: (143, -15), signal.SIGINT: (130,)}[number]
    world.judge(process.ended(), codes=(0, *codes))
    ended = world.judge(world.start(list(stopped.again), figures=stopped.target == "report").ended())
    if ended.code == 2 and name == "search --overwrite":  # it had not begun; then the old run is whole
        if not (world.run / "summary.json").exists() or outcome(world.run) != world.targets.outcomes["static"]:
            world.fault("lost or differing", f"the old run is not whole and the new one not gone on with: {ended.err}")
        ended = world.judge(world.start(list(stopped.arguments), figures=False).ended())
    if reader is not None:
        (world.root / "tmp" / "stop").touch()
        world.judge(reader.ended(), codes=(0,))
    world.compare(before, world.run, world.cwd / "page")
    if ended.code != 0:
        world.fault("lost or differing", f"it does not go on: {ended.err[-200:]}")
        return
    look(world, {stopped.target} if stopped.target not in ("export", "report") else {"static"})
    below = {"export": ("exports",), "report": ("figures", "report.html")}.get(stopped.target, ())
    expected = files_below(world.targets.folder / stopped.target / "run", below)
    found = files_below(world.run, below)
    if different := [file for file in expected if found.get(file) != expected[file]]:
        world.fault("lost or differing", f"{', '.join(different[:3])} differ")


def _reader(world: World) -> Watched:
    """Reads the run again and again until it is told to stop: all of it comes, or one line of an error."""
    stop, run = world.root / "tmp" / "stop", world.run
    parent = os.getpid()

    def read() -> None:
        import nas  # noqa: PLC0415

        turn = 0
        while not stop.exists() and os.getppid() == parent:
            turn += 1
            time.sleep(0.03)
            try:
                if turn % 10 == 0:
                    nas.report(run, world.cwd / "page")
                else:
                    nas.load_run(run)
            except nas.UserError as error:
                if "\n" in str(error):
                    raise

    return world.start(call(read))
