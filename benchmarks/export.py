"""How far exported networks agree with their originals, and how fast they are: every operation, several data sets.

    python -m benchmarks.export FOLDER --out results/export

On the embedded set and on three of a folder, networks of fixed architectures, chosen so that every operation of the
catalogue is in one of them, are trained for one epoch, written as runs and exported in every format that holds a
network. What is told is the largest difference of an output over up to 64 test samples, in units of the largest output
or of 1, as `fusenas export` measures it in a fresh process. Latency is that of the first network of each set.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnxruntime
import torch
from torch import Tensor

import nas
from benchmarks.datasets import SOURCES
from nas.architecture import Architecture, Choice, tap_name
from nas.data import FusionData
from nas.data.batches import split_batch
from nas.export import export
from nas.export.check import imported
from nas.export.formats import FORMATS
from nas.export.portable import Portable
from nas.export.verify import TOLERANCE
from nas.provenance import provenance
from nas.runs import write_atomically
from nas.search import make_space
from nas.space import SearchSpace
from nas.training import TrainingConfig
from search_spaces import OPERATIONS

NETWORKS = [name for name, format_ in FORMATS.items() if format_.holds_network]

DATA = ("emoji", "isl_myo", "omniglot8", "wikipedia10")

BATCHES = (1, 256)

CALLS = 30


@dataclass(frozen=True)
class RoundTrip:
    """One network in one format."""

    data: str
    operations: tuple[str, ...]
    format: str
    difference: float


@dataclass(frozen=True)
class Latency:
    """One way to run one network, the median of `CALLS` calls."""

    data: str
    way: str
    batch: int
    milliseconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds a folder per data set, as for benchmarks.datasets")
    parser.add_argument("--only", nargs="*", default=DATA, help="names of the data sets")
    parser.add_argument("--out", type=Path, default=Path("results/export"))
    given = parser.parse_args(arguments)
    origin = provenance("python -m benchmarks.export FOLDER")
    trips: list[RoundTrip] = []
    latencies: list[Latency] = []
    for name in given.only:
        data = load(name, given.folder)
        space = make_space("layerwise", data)
        for number, architecture in enumerate(architectures(space)):
            with TemporaryDirectory() as folder:
                found = round_trips(data, space.only(architecture), architecture, Path(folder))
                trips += found
                print(name, architecture.in_words(), {trip.format: f"{trip.difference:.1e}" for trip in found})
                if not number:
                    latencies += measure(data, Path(folder))
    write_atomically(given.out / "README.md", page(trips, latencies, origin).encode())
    rows = {"round_trips": [asdict(trip) for trip in trips], "latencies": [asdict(one) for one in latencies]}
    write_atomically(given.out / "records.json", (json.dumps({**rows, **origin}, indent=1) + "\n").encode())


def load(name: str, folder: Path) -> FusionData:
    """The embedded set, or one of the folder."""
    if name == "emoji":
        return nas.load_data(name)
    (source,) = (source for source in SOURCES if Path(source.path).stem == name)
    path = folder / source.path
    return nas.load_data(path, modalities=source.modalities, target=source.target, split=source.split)


def architectures(space: SearchSpace) -> Iterator[Architecture]:
    """Networks of as many operations as there are nodes, all on all modalities; the last one idles and carries."""
    names = [name for name in OPERATIONS if name not in ("none", "carry")]
    modalities, depths = list(space.depths), range(len(space.nodes))
    rows = [
        [Choice(name, tuple(tap_name(m, depth) for m in modalities)) for depth, name in zip(depths, some, strict=False)]
        for some in (names[start : start + len(depths)] for start in range(0, len(names), len(depths)))
    ]
    rows.append([Choice("none"), *(Choice("carry", (tap_name(modalities[depth % 2], depth),)) for depth in depths[1:])])
    for row in rows:
        choices = [*row, *[Choice("none")] * (len(depths) - len(row))]
        yield Architecture(
            space.name, tuple((node.name, choice) for node, choice in zip(space.nodes, choices, strict=True))
        )


def round_trips(data: FusionData, space: SearchSpace, architecture: Architecture, folder: Path) -> list[RoundTrip]:
    """Trains a network for one epoch, writes it as a run into the folder and exports it."""
    nas.search(
        data,
        space=replace(space, references=(), warm_up=None),
        encoders="joint",
        training=TrainingConfig(epochs=1),
        seeds=1,
        device="cpu",
        out=folder / "run",
    )
    files = export(folder / "run", NETWORKS, out=folder, data=data)
    differences = {file.format: file.difference for file in files}
    operations = tuple(choice.operation for _, choice in architecture.choices)
    return [RoundTrip(data.name, operations, name, value) for name, value in differences.items() if value is not None]


def measure(data: FusionData, folder: Path) -> list[Latency]:
    """How long an exported network takes, in every way to run it here."""
    network = Portable(nas.load_run(folder / "run").network).eval()
    batch = split_batch(data, "test", torch.device("cpu"))
    session = onnxruntime.InferenceSession(folder / "network.onnx", providers=["CPUExecutionProvider"])
    ways: Mapping[str, Callable[..., Any]] = {
        "eager": network,
        "torch": torch.export.load(folder / "network.pt2").module(),
        "onnx": lambda *inputs: session.run(
            None, {name: tensor.numpy() for name, tensor in zip(network.names, inputs, strict=True)}
        ),
        "python": imported(folder / "network.py").load(folder / "network.safetensors"),
    }
    found = []
    for size in BATCHES:
        inputs = network.inputs(batch.take(torch.arange(size) % len(batch)))
        found += [Latency(data.name, way, size, _milliseconds(run, inputs)) for way, run in ways.items()]
    return found


@torch.no_grad()
def _milliseconds(run: Callable[..., Any], inputs: Sequence[Tensor]) -> float:
    taken = []
    for _ in range(CALLS + 3):
        started = time.perf_counter()
        run(*inputs)
        taken.append(time.perf_counter() - started)
    return 1000 * statistics.median(taken[3:])  # the first ones warm up


def page(trips: Sequence[RoundTrip], latencies: Sequence[Latency], origin: Mapping[str, Any]) -> str:
    """The tables as Markdown."""
    by_network: dict[tuple[str, tuple[str, ...]], dict[str, float]] = {}
    for trip in trips:
        by_network.setdefault((trip.data, trip.operations), {})[trip.format] = trip.difference
    lines = [f"| data | operations by depth | {' | '.join(NETWORKS)} |", "| --- " * (2 + len(NETWORKS)) + "|"]
    for (data, operations), found in by_network.items():
        cells = " | ".join(f"{found[name]:.1e}" for name in NETWORKS)
        lines.append(f"| {data} | {', '.join(operations)} | {cells} |")
    worst = " | ".join(f"{max(found[name] for found in by_network.values()):.1e}" for name in NETWORKS)
    lines.append(f"| **largest** | | {worst} |")
    ways = list(dict.fromkeys(one.way for one in latencies))
    times = [f"| data | batch | {' | '.join(ways)} |", "| --- " * (2 + len(ways)) + "|"]
    for data, size in dict.fromkeys((one.data, one.batch) for one in latencies):
        some = {one.way: one.milliseconds for one in latencies if (one.data, one.batch) == (data, size)}
        times.append(f"| {data} | {size} | {' | '.join(f'{some[way]:.2f}' for way in ways)} |")
    table, timing = "\n".join(lines), "\n".join(times)
    return f"""# export: what is handed out computes what was found

Largest difference of an output from the network's, in units of the largest output or of 1, over up to 64 test samples
in a fresh process, where `fusenas` is hidden from all but safetensors. An export fails above {TOLERANCE:.0e}. Every
operation of the catalogue is in one of the networks, each trained for one epoch.

{table}

Milliseconds per batch of the first network of every data set, median of {CALLS} calls in one process:

{timing}

`{origin["command"]}`, commit {origin["commit"]}, {origin["started_at"]}, {origin["hardware"]}, load
{os.getloadavg()[0]:.1f}, torch {origin["versions"]["torch"]}, onnxruntime {onnxruntime.__version__}.
"""


if __name__ == "__main__":
    main()
