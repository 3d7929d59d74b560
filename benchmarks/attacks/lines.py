"""Command lines and surroundings that nobody should have to think of."""

from __future__ import annotations

import random
import resource
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.attacks.targets import EXPORT, OTHER_SEARCH, REPORT, RETRAIN, SEARCH
from benchmarks.attacks.values import NAMES
from benchmarks.attacks.world import World

WORDS = (
    *(name for name in NAMES if "\0" not in name and name != "\ud800"),
    *("\udcff\udcfe.npz", "\udc80", "9" * 400, "-1", "0", "1e999", "nan", "inf", "1.5", "0x10", "１２", "auto", "none"),
    *(
        "run",
        "tiny.npz",
        ".",
        "/",
        "/dev/null",
        "/proc/self/mem",
        "~",
        "cuda",
        "cuda:99",
        "cuda:-1",
        "mps",
        "x" * 130_000,
    ),
    *(
        "sound,sound",
        "sound,,sight",
        ",",
        "sound:tokens,sight:map",
        "a:b:c",
        "100%",
        "0%",
        "200%",
        "0s",
        "1h",
        "1d",
        "٣s",
    ),
)

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "search": (
        *("--modalities", "--target", "--split", "--task", "--space", "--operations", "--dynamic", "--cost-weight"),
        *("--max-multiply-adds", "--gate", "--gate-temperature", "--objective", "--strategy"),
        *("--discretization", "--encoders", "--baselines", "--seed", "--retrain-seeds", "--search-seeds", "--epochs"),
        *("--budget", "--max-trials", "--device", "--out", "--checkpoint-every"),
    ),
    "retrain": ("--seed", "--retrain-seeds", "--epochs", "--objective", "--device", "--out", "--checkpoint-every"),
    "evaluate": ("--data", "--recombinations", "--device"),
    "export": ("--format", "--data", "--out"),
    "report": ("--out",),
    "compare": ("--out",),
    "list": (),
}

FLAGS: Mapping[str, tuple[str, ...]] = {
    "search": ("--overwrite", "--resume", "--json", "--help", "--no-such"),
    "retrain": ("--overwrite", "--resume", "--json", "--help"),
    "evaluate": ("--json", "--jsn"),
    "export": ("--taps-only", "--json"),
    "report": ("--json", "--serve"),
    "compare": ("--json",),
    "list": ("--json",),
}

LIMITS = {
    "10 files": {resource.RLIMIT_NOFILE: 10},
    "4 files": {resource.RLIMIT_NOFILE: 4},
    "1 GB of addresses": {resource.RLIMIT_AS: 1 << 30},
    "300 MB of addresses": {resource.RLIMIT_AS: 300 << 20},
    "files of 10 kB": {resource.RLIMIT_FSIZE: 10_000},
}

CHANGES: Mapping[str, Mapping[str, str | None]] = {
    "ascii output": {"PYTHONIOENCODING": "ascii"},
    "latin output": {"PYTHONIOENCODING": "latin-1:strict"},
    "LANG=C": {"LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "an unknown LANG": {"LANG": "xx_YY.KOI8-R", "LC_ALL": "xx_YY"},
    "no HOME": {"HOME": None},
    "a HOME that is not there": {"HOME": "/nowhere/at/all"},
    "no TMPDIR": {"TMPDIR": "/nowhere/at/all"},
    "no PATH": {"PATH": None},
    "no MPLCONFIGDIR": {"MPLCONFIGDIR": "/nowhere/at/all"},
    "a narrow terminal": {"COLUMNS": "1", "TERM": "dumb"},
    "warnings as errors": {"PYTHONWARNINGS": "error::UserWarning"},
    "no variables at all": {"HOME": None, "TMPDIR": None, "LANG": None, "PATH": None, "MPLCONFIGDIR": None},
    "matplotlib's settings": {"MPLBACKEND": "module://evil"},
    "numbers of threads": {"OMP_NUM_THREADS": "x"},
}


def attack(world: World, generator: random.Random) -> None:
    """One trial: two of three with odd words, one of three in odd surroundings."""
    for name in ("run", "other"):
        shutil.copytree(world.targets.run(generator.choice(("static", "gate"))), world.cwd / name)
    if generator.random() < 0.67:
        words(world, generator)
    else:
        surroundings(world, generator)


def words(world: World, generator: random.Random) -> None:
    """Odd words after each other."""
    name = generator.choice(list(OPTIONS))
    base: dict[str, list[str]] = {
        "search": [*SEARCH[:-1], "new"],
        "retrain": ["retrain", "run", "--out", "new", "--epochs", "1"],
        "evaluate": ["evaluate", "run", "--recombinations", "16"],
        "export": [*EXPORT, "--out", "new"],
        "report": ["report", "run", "--out", "new"],
        "compare": ["compare", "run", "other", "--out", "new"],
        "list": ["list"],
    }
    given = base[name]
    for _ in range(generator.choice((1, 1, 2))):
        match generator.randrange(8):
            case 0:
                given.insert(generator.randrange(len(given) + 1), generator.choice(WORDS))
            case 1 if given:
                del given[generator.randrange(len(given))]
            case 2 if len(given) > 1:
                given[generator.randrange(1, len(given))] = generator.choice(WORDS)
            case 3:
                given.append(generator.choice(FLAGS[name]))
            case _ if OPTIONS[name]:
                option = generator.choice(OPTIONS[name])
                value = generator.choice(WORDS)
                given += [option, value] if generator.random() < 0.8 else [f"{option}={value}"]
            case _:
                given.append(generator.choice(WORDS))
    world.note(" ".join(ascii(word)[:60] for word in given))
    if "--serve" in given:  # which has no end
        given.append("other")
    # What is named with --out may be written, and so may the runs if nothing is named.
    before = world.snapshot(world.cwd)
    world.judge(world.start(given, figures=False).ended())
    world.look_for_code()
    world.compare(before, world.cwd)


def surroundings(world: World, generator: random.Random) -> None:
    """An environment, limits, handles or a folder that are out of the ordinary, in an interpreter of its own."""
    commands: Mapping[str, Any] = {
        "search": [*SEARCH[:-1], "new"],
        "resume": [*SEARCH, "--resume"],
        "overwrite": [*OTHER_SEARCH, "--overwrite"],
        "retrain": list(RETRAIN),
        "evaluate": ["evaluate", "run"],
        "export": list(EXPORT),
        "python": ["export", "run", "--format", "python"],
        "report": list(REPORT),
        "list": ["list"],
        "help": ["--help"],
        "wrong": ["search", "tiny.npz", "--modalities", "söund,sight", "--target", "label", "--out", "n€w"],
    }
    name = generator.choices(list(commands), (2, 2, 1, 1, 4, 4, 2, 3, 4, 2, 4))[0]
    kind = generator.choice(("limit", "limit", "change", "change", "change", "handle", "folder"))
    options: dict[str, Any] = {}
    codes: tuple[int, ...] = (0, 2)
    undo: Callable[[], None] = lambda: None  # noqa: E731
    match kind:
        case "limit":
            told = generator.choice(list(LIMITS))
            options["limits"] = LIMITS[told]
        case "change":
            told = generator.choice(list(CHANGES))
            options["changes"] = CHANGES[told]
        case "handle":
            closed = generator.choice(((1,), (2,), (0,), (0, 1, 2)))
            told = f"closed {closed}"
            options["closed"] = closed
        case _:
            told = generator.choice(
                ("read-only folder", "read-only run", "read-only files", "read-only temporary folder")
            )
            options["powerless"] = True
            path = {"f": world.cwd, "r": world.run, "t": world.root / "tmp"}[told.split()[1][0]]
            path = world.run / "metrics.jsonl" if told == "read-only files" else path
            path.chmod(0o500 if path.is_dir() else 0o400)
            undo = lambda: path.chmod(0o700)  # noqa: E731
    world.note(f"{name}, {told}")
    before = world.snapshot(world.cwd)
    ended = world.start(commands[name], is_fresh=True, **options).ended()
    undo()
    world.compare(before, world.cwd)
    if 2 in options.get("closed", ()):  # nothing can be told there
        if ended.code not in (0, 1, 2, 120):
            world.judge(ended, codes=codes)
    else:
        world.judge(ended, codes=codes)
    world.look_for_code()
