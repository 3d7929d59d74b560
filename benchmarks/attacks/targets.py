"""What is attacked: tiny finished runs, a stopped one, their data, and what undisturbed commands come to."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATA = "tiny.npz"

SOURCE = ("--modalities", "sound,sight", "--target", "label", "--split", "split")

OPTIONS = (
    *("--operations", "additive,multiplicative", "--epochs", "3", "--retrain-seeds", "1", "--baselines", "few"),
    *("--device", "cpu", "--checkpoint-every", "0s"),
)

SEARCH = ("search", DATA, *SOURCE, *OPTIONS, "--out", "run")
"""The search that made the static run."""

OTHER_SEARCH = (*SEARCH, "--seed", "7")
"""One that comes to other bytes."""

RETRAIN = ("retrain", "run", "--seed", "4", "--checkpoint-every", "0s", "--device", "cpu")

EXPORT = ("export", "run", "--format", "json", "--format", "graph", "--format", "card")

REPORT = ("report", "run")

TABLE = "rows.csv"

ENCODER = ("--encoder", "title=hf:./network")

TABLE_SEARCH = (
    *("search", TABLE, "--target", "label", *ENCODER, "--columns", "title:text", "--baselines", "few"),
    *("--operations", "additive", "--epochs", "2", "--retrain-seeds", "1", "--device", "cpu", "--out", "run"),
)
"""The search on a table, whose titles are read by a frozen network."""

KINDS = ("static", "gate", "cascade")
"""Finished runs."""

Outcome = dict[str, Any]
"""What a run came to, without times."""

SIZES = (72, 24, 24)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What is attacked.

    Attributes:
        folder: Holds a working folder for each finished run, with the run and its data, and for a stopped one.
        outcomes: Command to what it comes to when nobody disturbs it.
        seconds: Command to how long it takes in an interpreter of its own.
    """

    folder: Path
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """A file of two modalities."""
        return self.folder / DATA

    @property
    def bomb(self) -> Path:
        """A zip file of megabytes whose arrays take gigabytes."""
        return self.folder / "bomb.npz"

    @property
    def matplotlib(self) -> Path:
        """Where matplotlib keeps its list of fonts."""
        return self.folder / "matplotlib"

    def run(self, kind: str) -> Path:
        """A finished run, or the stopped one."""
        return self.folder / kind / "run"


def tiny_arrays() -> dict[str, NDArray[Any]]:
    """Two vectors that both tell three classes, one better than the other; the splits follow one another."""
    generator = np.random.default_rng(0)
    count = sum(SIZES)
    label = np.arange(count) % 3
    return {
        "sound": (generator.normal(size=(count, 4)) + 2 * np.eye(3, 4)[label]).astype(np.float32),
        "sight": (generator.normal(size=(count, 3)) + 3 * np.eye(3)[label]).astype(np.float32),
        "label": label,
        "split": np.repeat([0, 1, 2], SIZES),
    }


def make_targets(folder: Path, *, few: bool = False) -> Targets:
    """Makes all of them, which takes about a minute, forking from a process that must have no threads.

    Args:
        folder: An empty one.
        few: Whether only the static and the stopped run are needed, which takes seconds.
    """
    from benchmarks.attacks.processes import Watched, call, command, fresh  # noqa: PLC0415

    targets = Targets(folder=folder)
    np.savez(targets.data, **tiny_arrays())  # type: ignore[arg-type]
    write_bomb(targets.bomb)
    targets.matplotlib.mkdir()
    logs = folder / "logs"
    logs.mkdir()
    environment = {
        **{"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LANG": "C.UTF-8"},
        **{"OMP_NUM_THREADS": "1", "MPLCONFIGDIR": str(targets.matplotlib)},
    }

    def place(name: str, source: str | None = None) -> Path:
        cwd = folder / name
        cwd.mkdir()
        shutil.copy(targets.data, cwd)
        if source is not None:
            shutil.copytree(targets.run(source), cwd / "run")
        return cwd

    def watched(name: str, body: Any) -> None:
        ended = Watched(body, cwd=folder / name, logs=logs, environment=environment).ended()
        assert ended.code == 0, ended
        targets.seconds[name] = ended.seconds

    place("static")
    watched("static", command(SEARCH))
    for name, source, arguments in (
        ("search", None, OTHER_SEARCH),
        ("overwrite", "static", (*OTHER_SEARCH, "--overwrite")),
        ("retrain", "static", RETRAIN),
        ("export", "static", (*EXPORT, "--format", "safetensors")),
        ("report", "static", REPORT),
        ("networks", "static", ("export", "run", "--format", "python", "--format", "onnx")),
    )[: 0 if few else None]:
        place(name, source)
        watched(name, fresh(arguments, environment))
    if not few:
        place("table")
        watched("table", call(_make_table(folder / "table")))
        watched("table", command(TABLE_SEARCH))
    for name in () if few else ("gate", "cascade"):
        place(name, "static")
        watched(name, call(_make_dynamic(folder / name / "run", is_cascade=name == "cascade")))
        shutil.rmtree(targets.run(name) / "exports", ignore_errors=True)
        watched(name, command(["export", "run", "--format", "json", "--format", "graph", "--format", "safetensors"]))
    stopped = place("stopped")
    process = Watched(command(SEARCH), cwd=stopped, logs=logs, environment=environment)
    while len(list((stopped / "run").glob("checkpoints/*.state"))) < 3 and not process.wait(0.01):
        pass
    process.send(9)
    assert process.ended().code == -9
    (folder / "seconds.json").write_text(json.dumps(targets.seconds))
    return read_targets(folder)


def outcome(run: Path) -> Outcome:
    """What a run came to; that of a network of the same bytes is the same."""
    told = json.loads((run / "summary.json").read_text())
    rows = [{key: row[key] for key in ("name", "scores", "architecture_score")} for row in told["leaderboard"]]
    files = {name: (run / name).read_bytes() for name in ("architecture.json", "weights.safetensors")}
    return {**files, "rows": rows}


def files_below(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The files of some folders, by path; a picture is left out, for its bytes hold the time."""
    found = {}
    for name in names:
        path = folder / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and not file.is_symlink():
                found[str(file.relative_to(folder))] = file.read_bytes()
    return found


def _make_table(folder: Path) -> Any:
    def make() -> None:
        from benchmarks.attacks.tables import write_table  # noqa: PLC0415

        write_table(folder)

    return make


def _make_dynamic(run: Path, *, is_cascade: bool) -> Any:
    def make() -> None:
        import nas  # noqa: PLC0415
        from benchmarks.export import with_gate  # noqa: PLC0415
        from nas.space.architecture import Architecture, Choice  # noqa: PLC0415
        from search_spaces import layerwise  # noqa: PLC0415

        found = nas.load_run(run).architecture
        data = nas.load_data(run.parent / DATA, modalities="sound,sight", target="label", split="split")
        cheap = Architecture.chain(found.space, [("fusion0", Choice("carry", ("sight@0",)))])
        both = Architecture.chain(found.space, [("fusion2", Choice("additive", ("sound@2", "sight@2")))])
        space = layerwise(dict.fromkeys(data.modalities, 3), operations=("additive", "multiplicative"))
        routes = [cheap, both]
        dynamic = Architecture.cascaded(routes) if is_cascade else Architecture.gated(routes, ["sight@0"])
        with_gate(run, space, dynamic, data)
        nas.retrain(run, data=data, retrain_seeds=1, device="cpu")

    return make


def write_bomb(path: Path, *, gigabytes: int = 7) -> None:
    """Writes an .npz whose `sound` is zeros of so many gigabytes; at a thousandth of that in the file."""
    chunk = bytes(1 << 26)
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = compressor.compress(chunk) + compressor.flush(zlib.Z_FULL_FLUSH)
    times = gigabytes * 16
    head = io.BytesIO()
    rows = times * len(chunk) // 16
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (rows, 4)})
    start = compressor.compress(head.getvalue()) + compressor.flush(zlib.Z_FULL_FLUSH)
    # Blocks that are flushed in full know nothing of those before them, so that they can stand in any order.
    stream = start + packed * times + b"\x03\x00"
    arrays = tiny_arrays()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("sound.npy", stream)
        for name in ("sight", "label", "split"):
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, arrays[name])
        about = archive.getinfo("sound.npy")
        about.compress_type = zipfile.ZIP_DEFLATED
        about.file_size = len(head.getvalue()) + times * len(chunk)
    # The header before the member says "stored" still; readers take the central directory's word.
    content = bytearray(path.read_bytes())
    content[8:10] = (8).to_bytes(2, "little")
    path.write_bytes(content)


def read_targets(folder: Path) -> Targets:
    """What was made before."""
    targets = Targets(folder=folder, seconds=json.loads((folder / "seconds.json").read_text()))
    for name in targets.seconds:
        targets.outcomes[name] = outcome(folder / name / "run")
    return targets
