"""The worst of `benchmarks.attacks`, each by hand: a stranger's folder and data, odd surroundings, two at once.

Every attack runs in a folder of its own among files that must not change; see `benchmarks.attacks.world`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.attacks import trial
from benchmarks.attacks.data_files import load
from benchmarks.attacks.folders import judged, pickled
from benchmarks.attacks.pairs import look
from benchmarks.attacks.processes import call
from benchmarks.attacks.targets import EXPORT, OTHER_SEARCH, RETRAIN, SEARCH, SOURCE, Targets, make_targets, tiny_arrays
from benchmarks.attacks.world import World

pytestmark = pytest.mark.slow

Attack = Callable[[World], None]

MODULES = (
    "ruff",
    "torch",
    "sysconfig",
    "usercustomize",
    "sitecustomize",
    "numpy",
    "nas",
    "json",
    "onnxruntime",
    "evil",
)


def finished(world: World) -> None:
    shutil.copytree(world.targets.run("static"), world.run)


def stopped(world: World) -> None:
    shutil.copytree(world.targets.run("stopped"), world.run)


def in_place_of(path: Path, target: str | Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.symlink_to(target)


# Links


def links(world: World, *, name: str, to: str, arguments: list[str]) -> None:
    """A link in the place of something of a run's own, and a command that writes there."""
    finished(world)
    if name == "exports":
        for file in ("architecture.json", "architecture.graphml", "card.md"):
            (world.outside / "folder" / file).write_text("mine\n")
    in_place_of(world.run / name, world.outside / to)
    judged(world, arguments, world.run)


def linked_metrics(world: World, *, is_hard: bool) -> None:
    stopped(world)
    mine = world.outside / "secret.txt"
    (world.run / "metrics.jsonl").unlink()
    if is_hard:
        os.link(mine, world.run / "metrics.jsonl")
    else:
        (world.run / "metrics.jsonl").symlink_to(mine)
    judged(world, [*SEARCH, "--resume"], world.run)


def locks(world: World, *, kind: str) -> None:
    """A lock that is none."""
    finished(world)
    lock = world.run / ".lock"
    lock.unlink(missing_ok=True)
    match kind:
        case "link":
            lock.symlink_to(world.outside / "secret.txt")
        case "dangling":
            lock.symlink_to(world.outside / "new")
        case "pipe":
            os.mkfifo(lock)
        case "folder":
            lock.mkdir()
    judged(world, [*EXPORT], world.run)


# Code


def plant(world: World, folder: Path) -> None:
    for name in MODULES:
        (folder / f"{name}.py").write_text(world.planted(name))
    (folder / "matplotlibrc").write_text("backend: module://evil\nlines.linewidth: 20\n")


def planted(world: World, *, arguments: list[str]) -> None:
    """Modules in the run folder, which is the current one."""
    finished(world)
    plant(world, world.run)
    shutil.copy(world.targets.data, world.run)
    figure = (world.run / "figures" / "mixing.svg").read_bytes()
    judged(world, arguments, world.run, is_fresh=True, cwd=world.run, codes=(0,))
    if (world.run / "figures" / "mixing.svg").read_bytes() != figure:
        world.fault("lost or differing", "a figure is drawn by settings of the folder")


def pickles(world: World) -> None:
    finished(world)
    (world.run / "weights.safetensors").write_bytes(pickled(world))
    judged(world, ["evaluate", "run"], codes=(2,))
    (world.cwd / "given.npz").write_bytes(pickled(world))
    judged(world, call(partial(load, "given.npz", named=True)), codes=(2,))


# Sizes


def bomb(world: World) -> None:
    judged(world, call(partial(load, str(world.targets.bomb), named=True)), codes=(2,))


def endless(world: World) -> None:
    (world.cwd / "given.npz").symlink_to("/dev/zero")
    judged(world, call(partial(load, "given.npz", named=True)), codes=(2,))
    finished(world)
    in_place_of(world.run / "summary.json", "/dev/zero")
    judged(world, ["evaluate", "run"], codes=(2,))
    with (world.run / "weights.safetensors").open("wb") as file:
        file.truncate(1 << 40)
    judged(world, ["evaluate", "run"], codes=(2,))


def pipes(world: World) -> None:
    finished(world)
    for name in ("summary.json", "config.toml"):
        (world.run / name).unlink()
        os.mkfifo(world.run / name)
        judged(world, ["report", "run", "--out", "page"], world.cwd / "page", codes=(2,))
    os.mkfifo(world.cwd / "given.npz")
    judged(world, call(partial(load, "given.npz", named=True)), codes=(2,))


def configured(world: World, *, field: str, value: str) -> None:
    """A training that no machine can hold, or that is none."""
    finished(world)
    config = world.run / "config.toml"
    lines = [
        f"{field} = {value}" if line.startswith(f"{field} =") else line for line in config.read_text().splitlines()
    ]
    assert f"{field} = {value}" in lines
    config.write_text("\n".join(lines))
    judged(world, ["retrain", "run", "--out", "new"], world.cwd / "new", codes=(2,))


def summary(world: World, change: Callable[[dict[str, Any]], None]) -> None:
    """A summary of a stranger's, drawn."""
    finished(world)
    path = world.run / "summary.json"
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))
    judged(world, ["report", "run", "--out", "page"], world.cwd / "page")


def many_rows(told: dict[str, Any]) -> None:
    told["leaderboard"] += [told["leaderboard"][-1]] * 3000


def many_mistakes(told: dict[str, Any]) -> None:
    told["mistakes"] = {"classes": [str(number) for number in range(3000)], "counts": [[1] * 3000] * 3000, "others": 0}


def many_nodes(told: dict[str, Any]) -> None:
    told["nodes"] = told["nodes"] * 400


def deep(world: World) -> None:
    finished(world)
    for name in ("summary.json", "architecture.json", "checkpoints/run.json"):
        (world.run / name).write_text("[" * 200_000)
        judged(world, ["report", "run"], world.run, codes=(2,) if name == "summary.json" else (0, 2))
        judged(world, [*RETRAIN, "--resume"], world.run, codes=(2,))


# Data


def data(world: World, change: Callable[[dict[str, Any]], None], *, is_searched: bool) -> None:
    """Arrays of a stranger's."""
    arrays: dict[str, Any] = dict(tiny_arrays())
    change(arrays)
    np.savez(world.cwd / "given.npz", **arrays)
    body: Any = call(partial(load, "given.npz", named=True))
    if is_searched:
        options = ("--operations", "additive", "--epochs", "1", "--retrain-seeds", "1", "--device", "cpu")
        body = ["search", "given.npz", *SOURCE, *options, "--out", "new"]
    judged(world, body, world.cwd / "new")


def structured(arrays: dict[str, Any]) -> None:
    arrays["sound"] = np.zeros(120, dtype=[("a", "<f4"), ("b", "<i4")])


def byte_labels(arrays: dict[str, Any]) -> None:
    arrays["label"] = np.array([b"a", b"\xff", b"c"] * 40)


def far_tokens(arrays: dict[str, Any]) -> None:
    arrays["sound"] = np.random.default_rng(0).integers(0, 10**6, size=(120, 5))


def modality_names(world: World) -> None:
    arrays = tiny_arrays()
    for name in ("self", "ｓｅｌｆ", "ﬁ", "a\nb", "__class__", "é" * 200, "\x1b[31m"):
        keys = {f"x/{name}": arrays["sound"], "x/sight": arrays["sight"], "y": arrays["label"]}
        np.savez(world.cwd / "given.npz", **keys)  # type: ignore[arg-type]
        judged(world, ["search", "given.npz", "--epochs", "x", "--out", "new"], codes=(2,))
        judged(world, call(partial(load, "given.npz", named=False)))


def paths(world: World) -> None:
    """Names that are not UTF-8, or longer than a file system allows."""
    shutil.copy(world.targets.data, world.cwd / "\udcff\udcfe.npz")
    options = ("--operations", "additive", "--epochs", "1", "--retrain-seeds", "1", "--device", "cpu")
    judged(world, ["search", "\udcff\udcfe.npz", *SOURCE, *options, "--out", "new"], world.cwd / "new")
    for long in ("x" * 300, "x" * 5000, "x/" * 3000):
        judged(world, ["search", f"{long}.npz", *SOURCE, "--out", "new"], codes=(2,))
        judged(world, ["evaluate", long], codes=(2,))
        judged(world, ["search", "tiny.npz", *SOURCE, "--out", long], codes=(2,))


# Surroundings


def limited(world: World, *, limits: dict[int, int], arguments: list[str]) -> None:
    finished(world)
    judged(world, arguments, world.run, is_fresh=True, limits=limits)


def encoded(world: World) -> None:
    finished(world)
    changes = {"PYTHONIOENCODING": "ascii:strict", "LANG": "C", "HOME": None, "TMPDIR": "/nowhere/at/all"}
    judged(world, ["evaluate", "run"], world.run, is_fresh=True, changes=changes, codes=(0,))


def read_only(world: World) -> None:
    stopped(world)
    folders = [Path(path) for path, _, _ in os.walk(world.run)]
    for folder in folders:
        folder.chmod(0o500)
    judged(world, [*SEARCH, "--resume"], codes=(2,))
    for folder in folders:
        folder.chmod(0o700)


# Two at once


def second(world: World, *, arguments: list[str]) -> None:
    """A second command while a search goes on: it is told who has the folder, and the search does not notice."""
    finished(world)
    one = world.start([*OTHER_SEARCH, "--overwrite"], figures=False)
    while len(list(world.run.glob("checkpoints/*.state"))) < 2 and not one.wait(0.005):
        pass
    ended = world.judge(world.start(arguments, figures=False).ended(), codes=(2,))
    if one.wait(0):
        world.fault("hangs", "the second one waited for the first one")
    if str(one.pid) not in ended.err:
        world.fault("lost or differing", f"it is not told who has the folder: {ended.err}")
    world.judge(one.ended(), codes=(0,))
    look(world, {"search"})


ATTACKS: dict[str, Attack] = {
    "exports a link": partial(links, name="exports", to="folder", arguments=[*EXPORT]),
    "exports a link, retrained": partial(links, name="exports", to="folder", arguments=[*RETRAIN]),
    "figures a link": partial(links, name="figures", to="folder", arguments=["report", "run"]),
    "tensorboard a link": partial(links, name="tensorboard", to="folder", arguments=[*OTHER_SEARCH, "--overwrite"]),
    "checkpoints a link": partial(links, name="checkpoints", to="folder", arguments=[*RETRAIN]),
    "checkpoints a dangling link": partial(links, name="checkpoints", to="new", arguments=[*RETRAIN, "--resume"]),
    "checkpoints a link to a file": partial(links, name="checkpoints", to="secret.txt", arguments=[*RETRAIN]),
    "report a link": partial(links, name="report.html", to="secret.txt", arguments=["report", "run"]),
    "metrics a link": partial(linked_metrics, is_hard=False),
    "metrics a hard link": partial(linked_metrics, is_hard=True),
    **{f"lock a {kind}": partial(locks, kind=kind) for kind in ("link", "dangling", "pipe", "folder")},
    "planted modules, code exported": partial(planted, arguments=["export", ".", "--format", "python"]),
    "planted modules, report": partial(planted, arguments=["report", "."]),
    "pickles": pickles,
    "zip bomb": bomb,
    "endless files": endless,
    "pipes": pipes,
    "20,000 channels": partial(configured, field="channels", value="20000"),
    "48.5 channels": partial(configured, field="channels", value="48.5"),
    "compile = yes": partial(configured, field="compile", value='"yes"'),
    "3,000 rows": partial(summary, change=many_rows),
    "3,000 classes": partial(summary, change=many_mistakes),
    "1,200 nodes": partial(summary, change=many_nodes),
    "deep nesting": deep,
    "structured arrays": partial(data, change=structured, is_searched=False),
    "labels in bytes": partial(data, change=byte_labels, is_searched=False),
    "token ids far apart": partial(data, change=far_tokens, is_searched=True),
    "names of modalities": modality_names,
    "odd paths": paths,
    "ten files": partial(limited, limits={resource.RLIMIT_NOFILE: 10}, arguments=["evaluate", "run"]),
    "little memory": partial(limited, limits={resource.RLIMIT_AS: 300 << 20}, arguments=["evaluate", "run"]),
    "ascii output": encoded,
    "read-only folder": read_only,
    "a second search": partial(second, arguments=[*SEARCH, "--overwrite"]),
    "a second search that resumes": partial(second, arguments=[*OTHER_SEARCH, "--resume"]),
    "a retraining beside a search": partial(second, arguments=[*RETRAIN]),
}


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """A process with torch loaded and no threads, from which the others are forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([trial.__name__])
    with ProcessPoolExecutor(1, mp_context=context) as found:
        yield found


def make(folder: Path) -> Targets:
    targets = make_targets(folder, few=True)
    from benchmarks.attacks.targets import outcome  # noqa: PLC0415

    world = World(folder / "other", targets)
    finished(world)
    assert world.start([*OTHER_SEARCH, "--overwrite"], figures=False).ended().code == 0
    targets.outcomes["search"] = outcome(world.run)
    return targets


@pytest.fixture(scope="module")
def targets(pool: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Targets:
    return pool.submit(make, tmp_path_factory.mktemp("targets")).result()


def attempt(name: str, folder: Path, targets: Targets) -> list[tuple[str, str]]:
    world = World(folder, targets)
    ATTACKS[name](world)
    return world.faults


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_comes_to_nothing(name: str, pool: ProcessPoolExecutor, tmp_path: Path, targets: Targets) -> None:
    assert pool.submit(attempt, name, tmp_path / "world", targets).result() == []
