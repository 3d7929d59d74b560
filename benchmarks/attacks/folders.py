"""Run folders as a stranger may hand them over: damaged, garbled, linked, planted with code."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomli_w

from benchmarks.attacks.processes import Ended, call
from benchmarks.attacks.targets import KINDS, OTHER_SEARCH, SEARCH, files_below, outcome
from benchmarks.attacks.values import NAMES, as_json, mutated
from benchmarks.attacks.world import World

FILES = ("config.toml", "architecture.json", "weights.safetensors", "summary.json", "metrics.jsonl", "report.html")

FOLDERS = ("exports", "figures", "tensorboard", "checkpoints")

INNER = ("checkpoints/run.json", "exports/architecture.json", "figures/space.svg", "figures/leaderboard.csv")

ODD_NAMES = (
    *(".lock", ".replaced", ".replaced.moving", ".replaced.discarded", ".summary.json.abcdefgh.part"),
    *("checkpoints/.run.json.abcdefgh.part", "checkpoints/x.state", "figures/mixing.svg.part", ".git", "nul\n"),
)

MODULES = (
    *("ruff", "torch", "sysconfig", "usercustomize", "sitecustomize", "numpy", "nas", "cli", "json", "typing"),
    *("random", "safetensors", "onnx", "onnxruntime", "sklearn", "matplotlib", "scipy", "typer", "check", "network"),
    *("search_spaces", "evil", "encodings", "_distutils_hack", "tomllib", "struct", "site"),
)

SETTINGS = {
    "matplotlibrc": "text.usetex: True\nlines.linewidth: 20\nbackend: module://evil\n",
    "pyproject.toml": '[tool.ruff]\nline-length = 10\n[project]\nname = "x"\n',
    "ruff.toml": "line-length = 10\nindent-width = 1\n",
    ".ruff.toml": "line-length = [\n",
    "python._pth": ".\nimport site\n",
    "pyvenv.cfg": "home = .\ninclude-system-site-packages = true\n",
    "setup.cfg": "[x\n",
}
"""Files that other programs look for in the current folder."""


def attack(world: World, generator: random.Random) -> None:
    """One trial."""
    if generator.random() < 0.1:
        planted(world, generator)
        return
    is_stopped = generator.random() < 0.12
    kind = "stopped" if is_stopped else generator.choice(KINDS)
    shutil.copytree(world.targets.run(kind), world.run, symlinks=True)
    world.note(f"{kind} run")
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        mutate(world, generator)
    commands = RESUMED if is_stopped else COMMANDS
    if not is_stopped and any(" a link to " in note for note in world.notes) and generator.random() < 0.6:
        commands = {name: commands[name] for name in WRITING}
    (name,) = generator.choices(list(commands), [weight for weight, _ in commands.values()])
    world.note(name)
    commands[name][1](world, generator)


# What is done to a folder


def mutate(world: World, generator: random.Random) -> None:
    """One change to the run folder."""
    with suppress(OSError, ValueError, LookupError, TypeError):  # what a change before has garbled already
        (way,) = generator.choices(list(_WAYS), list(_WAYS.values()))
        way(world, generator)


def _some_file(world: World, generator: random.Random) -> Path:
    there = [name for name in (*FILES, *FILES[:5], *INNER) if (world.run / name).is_file()]
    states = [str(path.relative_to(world.run)) for path in sorted(world.run.glob("checkpoints/*.state"))]
    return world.run / generator.choice([*there, *states, "config.toml"])


def _bytes(world: World, generator: random.Random) -> None:
    path = _some_file(world, generator)
    content = bytearray(path.read_bytes())
    match generator.randrange(4):
        case 0:
            for _ in range(generator.choice((1, 1, 8, 100))):
                content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
            done = "bits flipped"
        case 1:
            del content[generator.randrange(len(content)) :]
            done = f"cut to {len(content)} bytes"
        case 2:
            content += generator.choice((b"\0" * 100, b"\n{", b"x" * 1000, b"\xff\xfe", b"\n\n[x]\n"))
            done = "with more at its end"
        case _:
            at = generator.randrange(len(content))
            content[at:at] = generator.choice((b"\0", b"\n", b"\xff", b'"', b"[" * 5000, b"9" * 5000))
            done = f"with something at byte {at}"
    path.write_bytes(content)
    world.note(f"{path.name} {done}")


def _delete(world: World, generator: random.Random) -> None:
    path = _some_file(world, generator)
    path.unlink()
    world.note(f"{path.name} deleted")


def _swap(world: World, generator: random.Random) -> None:
    kind, path = generator.choice(KINDS), _some_file(world, generator)
    name = str(path.relative_to(world.run))
    shutil.copy(world.targets.run(kind) / name, path)
    world.note(f"{name} of the {kind} run")


def _json(world: World, generator: random.Random) -> None:
    name = generator.choice(
        ("summary.json", "summary.json", "summary.json", "architecture.json", "checkpoints/run.json")
    )
    path = world.run / name
    try:
        document, words = mutated(json.loads(path.read_text()), generator)
    except RecursionError:  # it has been nested deeply by a mutation before
        return
    path.write_text(as_json(document, generator), encoding="utf-8", errors="surrogatepass")
    world.note(f"{name}: {words}")


def _metrics(world: World, generator: random.Random) -> None:
    path = world.run / "metrics.jsonl"
    lines = path.read_text().splitlines()
    at = generator.randrange(len(lines))
    document, words = mutated(json.loads(lines[at]), generator)
    lines[at] = json.dumps(document)
    times = generator.choice((1, 1, 1, 1, 50))
    path.write_text("\n".join(lines * times) + "\n")
    world.note(f"metrics.jsonl line {at}: {words}{f', {times} times' if times > 1 else ''}")


def _toml(world: World, generator: random.Random) -> None:
    path = world.run / "config.toml"
    document, words = mutated(tomllib.loads(path.read_text()), generator)
    try:
        text = tomli_w.dumps(document)
    except (TypeError, ValueError, AttributeError, RecursionError):  # such as None, which TOML does not know
        text = "x = " + generator.choice(("[" * 3000, "{a=" * 3000, "9" * 5000, '"' * 7, "1979-05-27", "nan", "1e400"))
        words = ascii(text[:20])
    mark = path.read_text().splitlines()[0] + "\n" if generator.random() < 0.8 else ""
    path.write_text(mark + text, encoding="utf-8", errors="surrogatepass")
    world.note(f"config.toml: {words}")


def _safetensors(world: World, generator: random.Random) -> None:
    path = generator.choice([world.run / "weights.safetensors", *world.run.glob("checkpoints/*.state")])
    content = path.read_bytes()
    start = content.index(b"\n") + 1 if path.suffix == ".state" else 0  # after the seal
    size = int.from_bytes(content[start : start + 8], "little")
    header, rest = json.loads(content[start + 8 : start + 8 + size]), content[start + 8 + size :]
    if "fusenas" in header["__metadata__"] and generator.random() < 0.75:
        inner, words = mutated(json.loads(header["__metadata__"]["fusenas"]), generator)
        header["__metadata__"]["fusenas"] = as_json(inner, generator)
        words = f"blueprint {words}"
    else:
        header, words = mutated(header, generator)
    told = json.dumps(header).encode("utf-8", errors="surrogatepass")
    length = generator.choice((len(told), len(told), len(told), len(told), 2**62, 0, size))
    sealed = content[:start]
    if start:  # as a stranger would seal it
        body = length.to_bytes(8, "little") + told + rest
        sealed = b"fusenas checkpoint 1 " + hashlib.sha256(body).hexdigest().encode() + b"\n"
    path.write_bytes(sealed + length.to_bytes(8, "little") + told + rest)
    world.note(f"{path.name}: {words}{'' if length == len(told) else f', header of {length} bytes'}")


def _link_targets(world: World, path: Path) -> dict[str, str]:
    copied = world.outside / f"copy-{path.name}"
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, copied, dirs_exist_ok=True)
    elif path.is_file():
        shutil.copy(path, copied)
    return {
        "a copy outside": str(copied),
        "a folder outside": str(world.outside / "folder"),
        "a file outside": str(world.outside / "secret.txt"),
        "a file outside, relative": "../../outside/secret.txt",
        "nothing outside": str(world.outside / "new"),
        "itself": path.name,
        "its folder": ".",
        "another file": "summary.json",
        "/dev/zero": "/dev/zero",
        "/dev/full": "/dev/full",
        "the home folder": str(world.home),
        "/proc/self/environ": "/proc/self/environ",
    }


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link(world: World, generator: random.Random) -> None:
    names = [
        *FOLDERS,
        *FOLDERS,
        *FOLDERS,
        *FOLDERS,
        *FILES,
        *INNER,
        *ODD_NAMES[:6],
        "checkpoints/run.json",
        "exports/card.md",
    ]
    path = world.run / generator.choice(names)
    targets = _link_targets(world, path)
    kind = generator.choice([*targets, *list(targets)[:3], *list(targets)[:3]])  # the first ones are the worst
    _remove(path)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(targets[kind])
    world.note(f"{path.relative_to(world.run)} a link to {kind}")


def _hard_link(world: World, generator: random.Random) -> None:
    path = _some_file(world, generator)
    other = world.outside / f"hard-{path.name}"
    path.rename(other)
    os.link(other, path)
    world.note(f"{path.name} a hard link to a file outside")


def _whole_link(world: World, _generator: random.Random) -> None:
    moved = world.outside / "whole"
    if not world.run.is_symlink():
        world.run.rename(moved)
        world.run.symlink_to(moved)
        world.note("the run folder itself a link")


def _odd_kind(world: World, generator: random.Random) -> None:
    path = world.run / generator.choice((*FILES, *FOLDERS, *INNER, *ODD_NAMES))
    _remove(path)
    path.parent.mkdir(exist_ok=True)
    match generator.randrange(5):
        case 0:
            os.mkfifo(path)
            done = "a pipe"
        case 1:
            path.mkdir()
            done = "an empty folder"
        case 2:
            path.mkdir()
            (path / "inner").mkdir()
            (path / "inner" / "file").write_text("x")
            done = "a folder"
        case 3:
            path.write_bytes(b"x")
            done = "a file of one byte"
        case _:
            with path.open("wb") as file:
                file.truncate(generator.choice((70 << 20, 10 << 30, 1 << 40)))
            done = f"a file of {path.stat().st_size >> 20} MB of holes"
    world.note(f"{str(path.relative_to(world.run))!a} is {done}")


def _mode(world: World, generator: random.Random) -> None:
    path = world.run / generator.choice((".", *FILES, *FOLDERS, *INNER))
    mode = generator.choice((0o000, 0o444, 0o555, 0o200, 0o111))
    path.chmod(mode)
    world.note(f"{path.name} of mode {mode:o}")


def _named(world: World, generator: random.Random) -> None:
    name = generator.choice([one for one in NAMES if 0 < len(one) < 60 and "/" not in one and one not in (".", "..")])
    folder = world.run / generator.choice((".", *FOLDERS))
    path = os.fsencode(folder) + b"/" + name.encode("utf-8", errors="surrogatepass")
    with open(path, "wb") as file:  # noqa: PTH123  # no name of a Path
        file.write(b"x")
    world.note(f"a file {name!a} in {folder.name}")


def _pickle(world: World, generator: random.Random) -> None:
    path = world.run / generator.choice(("weights.safetensors", "checkpoints/x.state", "architecture.json"))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickled(world))
    world.note(f"{path.name} a pickle that runs code")


def pickled(world: World) -> bytes:
    """A pickle that tells that it was read."""
    code = world.planted("pickle")
    return b"cbuiltins\nexec\n(V" + code.encode("unicode_escape") + b"\ntR."


_WAYS: dict[Callable[[World, random.Random], None], int] = {
    _bytes: 14,
    _delete: 4,
    _swap: 6,
    _json: 20,
    _metrics: 7,
    _toml: 9,
    _safetensors: 14,
    _link: 20,
    _hard_link: 3,
    _whole_link: 1,
    _odd_kind: 14,
    _mode: 4,
    _named: 3,
    _pickle: 2,
}


# What is then done with it


def judged(
    world: World, body: Any, *may_write: Path, is_fresh: bool = False, codes: Sequence[int] = (0, 2), **options: Any
) -> Ended:
    """Runs a command on the folder and looks at everything afterwards.

    Args:
        world: Of the trial.
        body: A command line or a function.
        may_write: What it may write.
        is_fresh: Whether it runs in an interpreter of its own.
        codes: How it may end.
        options: Of `World.start`.
    """
    # A lock is taken in passing, and a run that was on the move is put back in its place.
    run = world.outside / "whole" if world.run.is_symlink() else world.run  # who names a link means what it leads to
    may_write = tuple(run if path == world.run else path for path in may_write)
    may_write = (*may_write, run if (run / ".replaced.moving").exists() else run / ".lock")
    before, kept = world.snapshot(*may_write), world.results()
    ended = world.start(body, is_fresh=is_fresh, figures=False, powerless=True, **options).ended()
    world.judge(ended, codes=codes)
    world.look_for_code()
    world.compare(before, *may_write)
    if ended.code != 0 and "summary.json" in kept:  # what was stopped has no results yet
        now = world.results()
        for name, content in kept.items():
            if now.get(name) != content:
                words = "changed" if name in now else "gone"
                world.fault("lost or differing", f"{name} is {words} though the command failed")
                break
    return ended


def _load(world: World, _generator: random.Random) -> None:
    import nas  # noqa: PLC0415

    judged(world, call(lambda: nas.load_run("run")))


def _evaluate(world: World, _generator: random.Random) -> None:
    judged(world, ["evaluate", "run", "--recombinations", "100"])


def _report(world: World, _generator: random.Random) -> None:
    judged(world, ["report", "run"], world.run)


def _report_elsewhere(world: World, _generator: random.Random) -> None:
    judged(world, ["report", "run", "--out", "page"], world.cwd / "page")


def _compare(world: World, _generator: random.Random) -> None:
    shutil.copytree(world.targets.run("gate"), world.cwd / "other")
    judged(world, ["compare", "run", "other", "--out", "page"], world.cwd / "page")


def _serve(world: World, _generator: random.Random) -> None:
    def page() -> None:
        from nas.report.serve import server  # noqa: PLC0415

        with server("run"):
            pass

    judged(world, call(page), world.run)


def _export(world: World, generator: random.Random) -> None:
    names = generator.sample(("json", "graph", "card"), k=generator.choice((1, 2, 3)))
    formats = [word for name in names for word in ("--format", name)]
    judged(world, ["export", "run", *formats], world.run)


def _export_network(world: World, generator: random.Random) -> None:
    name = generator.choice(("safetensors", "safetensors", "python", "python", "torch", "onnx"))
    world.note(name)
    if generator.random() < 0.5:
        judged(world, ["export", "run", "--format", name], world.run)
    else:
        judged(world, ["export", "run", "--format", name, "--out", "files"], world.cwd / "files")


def _retrain(world: World, generator: random.Random) -> None:
    more = generator.choice(((), ("--resume",)))
    judged(world, ["retrain", "run", "--seed", "4", "--checkpoint-every", "0s", *more], world.run)


def _retrain_elsewhere(world: World, _generator: random.Random) -> None:
    judged(world, ["retrain", "run", "--seed", "4", "--out", "new"], world.cwd / "new")


def _overwrite(world: World, _generator: random.Random) -> None:
    ended = judged(world, [*OTHER_SEARCH, "--overwrite"], world.run)
    _same(world, ended, "search")


def _resume(world: World, _generator: random.Random) -> None:
    ended = judged(world, [*SEARCH, "--resume"], world.run)
    if "finished" not in ended.err:  # there is nothing to do, and what is damaged stays so
        _same(world, ended, "static")


def _refused(world: World, _generator: random.Random) -> None:
    before = world.snapshot(world.run / ".lock")
    world.judge(world.start(list(SEARCH), figures=False, powerless=True).ended(), codes=(2,))
    world.compare(before, world.run / ".lock")


def _same(world: World, ended: Ended, name: str) -> None:
    """A run that went well came to what it does when nobody garbles the folder."""
    if ended.code == 0:
        try:
            found = outcome(world.run)
        except (OSError, ValueError, KeyError) as error:
            world.fault("lost or differing", f"no results, {error!r}")
            return
        if found != world.targets.outcomes[name]:
            world.fault("lost or differing", f"other results than those of the undisturbed {name}")


COMMANDS: dict[str, tuple[int, Callable[[World, random.Random], None]]] = {
    "load": (14, _load),
    "evaluate": (20, _evaluate),
    "report": (14, _report),
    "report --out": (5, _report_elsewhere),
    "compare": (3, _compare),
    "report --serve": (6, _serve),
    "export": (16, _export),
    "export network": (3, _export_network),
    "retrain": (6, _retrain),
    "retrain --out": (4, _retrain_elsewhere),
    "search --overwrite": (6, _overwrite),
    "search --resume": (3, _resume),
    "search": (3, _refused),
}

WRITING = ("report", "export", "retrain", "search --overwrite")

RESUMED: dict[str, tuple[int, Callable[[World, random.Random], None]]] = {
    "search --resume": (12, _resume),
    "search --overwrite": (3, _overwrite),
    "report --serve": (3, _serve),
    "report": (1, _report),
    "load": (1, _load),
    "search": (1, _refused),
}


# Planted code


def planted(world: World, generator: random.Random) -> None:
    """Modules with the names of ours and of others' in the current folder and in the run folder."""
    shutil.copytree(world.targets.run("static"), world.run)
    is_inside = generator.random() < 0.5
    names = MODULES if generator.random() < 0.5 else tuple(generator.sample(MODULES, k=5))
    for folder in (world.cwd, world.run):
        for name in names:
            (folder / f"{name}.py").write_text(world.planted(name))
        for name in generator.sample(sorted(SETTINGS), k=generator.choice((0, 0, 3))):
            (folder / name).write_text(SETTINGS[name])
            names = (*names, name)
    if is_inside:
        shutil.copy(world.targets.data, world.run)
    world.note(f"planted {' '.join(dict.fromkeys(names[-8:]))}…; in {'the run folder' if is_inside else 'a folder'}")
    run = "." if is_inside else "run"
    cwd = world.run if is_inside else world.cwd
    (name,) = generator.choices(
        ("python", "graph", "report", "evaluate", "retrain", "overwrite", "list"), (6, 2, 3, 2, 1, 1, 1)
    )
    world.note(name)
    arguments = {
        "python": ["export", run, "--format", "python"],
        "graph": ["export", run, "--format", "graph", "--format", "json", "--format", "card"],
        "report": ["report", run],
        "evaluate": ["evaluate", run],
        "retrain": ["retrain", run, "--out", "new", "--seed", "4"],
        "overwrite": [*OTHER_SEARCH[:-3], run, *OTHER_SEARCH[-2:], "--overwrite"],
        "list": ["list"],
    }[name]
    may_write = (world.run, world.cwd / "new")
    before = world.snapshot(*may_write)
    ended = world.judge(world.start(arguments, is_fresh=True, cwd=cwd).ended(), codes=(0,))
    world.look_for_code()
    world.compare(before, *may_write)
    undisturbed = {
        "python": ("networks", ("exports/network.py",)),
        "graph": ("export", ("exports",)),
        "report": ("static", ("figures", "report.html")),
    }.get(name)
    if undisturbed and ended.code == 0:
        source, below = undisturbed
        expected = files_below(world.targets.folder / source / "run", below)
        found = files_below(world.run, below)
        different = [
            file for file in expected if found.get(file) != expected[file] and not file.endswith("safetensors")
        ]
        if different and not (is_inside and different == ["report.html"]):  # which bears the name of the folder
            world.fault("lost or differing", f"{', '.join(different[:3])} differ")
    if name == "overwrite":
        _same(world, ended, "search")
