"""How far exported networks agree with their originals, and how fast they are: every operation, several data sets.

    python -m benchmarks.export FOLDER --out results/export

On the embedded set and on three of a folder, networks of fixed architectures, chosen so that every operation of the
catalogue is in one of them, are trained for one epoch, written as runs and exported in every format that holds a
network. Each set has a dynamic network besides, in which a gate picks one modality alone or a static one of these
networks, another one for every set; its gate is then balanced, so that all routes are taken. What is told is the
largest difference of an output over up to 64 test samples, in units of the largest output or of 1, as `fusenas export`
measures it in a fresh process. Latency is that of the first network of each set, and of the dynamic one. Networks that
are in the records already are not tried again, unless their latency is measured.
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
from benchmarks.datasets import SOURCES, read
from nas.config import RunConfig
from nas.data import FusionData
from nas.data.batches import split_batch
from nas.export import export
from nas.export.check import imported
from nas.export.formats import FORMATS
from nas.export.portable import Portable
from nas.export.verify import TOLERANCE
from nas.network.cost import CostTable
from nas.pipeline.search import make_space
from nas.records import plain
from nas.routing.gates import Gate
from nas.routing.network import RoutedNetwork, build_routed
from nas.routing.training import train_routed
from nas.runs.folder import RunFolder, write_atomically
from nas.runs.provenance import provenance
from nas.saved.weights import save_weights
from nas.seeding import seeded
from nas.space.architecture import Architecture, Choice, tap_name
from nas.space.search_space import SearchSpace
from nas.summary import Provenance
from search_spaces import DEFAULT_OPERATIONS

NETWORKS = [name for name, format_ in FORMATS.items() if format_.holds_network]

DATA = ("emoji", "isl_myo", "omniglot8", "wikipedia10")

BATCHES = (1, 256)

CALLS = 30


@dataclass(frozen=True)
class RoundTrip:
    """One network in one format."""

    data: str
    network: str
    format: str
    difference: float
    commit: str


@dataclass(frozen=True)
class Latency:
    """One way to run one network: processor time, the median of `CALLS` calls."""

    data: str
    kind: str
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
    trips, latencies = recorded(given.out / "records.json")
    latencies = [one for one in latencies if one.data not in given.only]
    for name in given.only:
        data = load(name, given.folder)
        space = make_space("layerwise", data)
        found = list(architectures(space))
        known = {trip.network for trip in trips if trip.data == name}
        for architecture in [*found, dynamic(space, found[DATA.index(name) % len(found)])]:
            is_timed = architecture == found[0] or architecture.gating is not None
            if in_words(architecture) in known and not is_timed:
                continue
            with TemporaryDirectory() as folder:
                run = train(data, space, architecture, Path(folder))
                tried = round_trips(data, run, architecture, Path(folder), str(origin.commit))
                trips = [trip for trip in trips if (trip.data, trip.network) != (name, tried[0].network)] + tried
                print(name, tried[0].network, {trip.format: f"{trip.difference:.1e}" for trip in tried}, flush=True)
                if is_timed:
                    latencies += measure(data, run, Path(folder))
        write_atomically(given.out / "README.md", page(trips, latencies, origin).encode())
        rows = {"round_trips": [asdict(trip) for trip in trips], "latencies": [asdict(one) for one in latencies]}
        write_atomically(given.out / "records.json", (json.dumps({**rows, **plain(origin)}, indent=1) + "\n").encode())


def recorded(file: Path) -> tuple[list[RoundTrip], list[Latency]]:
    """What is on record, if anything is."""
    if not file.is_file():
        return [], []
    rows = json.loads(file.read_text(encoding="utf-8"))
    return [RoundTrip(**row) for row in rows["round_trips"]], [Latency(**row) for row in rows["latencies"]]


def load(name: str, folder: Path) -> FusionData:
    """The embedded set, or one of the folder."""
    if name == "emoji":
        return nas.load_data(name)
    (source,) = (source for source in SOURCES if source.name == name)
    return read(source, folder)


def architectures(space: SearchSpace) -> Iterator[Architecture]:
    """Networks of as many operations as there are nodes, all on all modalities; the last one idles and carries."""
    names = DEFAULT_OPERATIONS
    modalities, depths = list(space.depths), range(len(space.nodes))
    rows = [
        [Choice(name, tuple(tap_name(m, depth) for m in modalities)) for depth, name in zip(depths, some, strict=False)]
        for some in (names[start : start + len(depths)] for start in range(0, len(names), len(depths)))
    ]
    rows.append([Choice("none"), *(Choice("carry", (tap_name(modalities[depth % 2], depth),)) for depth in depths[1:])])
    for row in rows:
        yield space.compose(dict(zip((node.name for node in space.nodes), row, strict=False)))


def dynamic(space: SearchSpace, last: Architecture) -> Architecture:
    """A gate on the first taps picks the first modality at depth 0, the second one at depth 1, or an architecture."""
    first, second, *_ = space.depths
    cheap = [
        (Choice("carry", (tap_name(first, 0),)), Choice("none")),
        (Choice("none"), Choice("carry", (tap_name(second, 1),))),
    ]
    routes = [space.compose(dict(zip((node.name for node in space.nodes), some, strict=False))) for some in cheap]
    return Architecture.gated([*routes, last], [tap_name(name, 0) for name in space.depths])


def train(data: FusionData, space: SearchSpace, architecture: Architecture, folder: Path) -> Path:
    """Trains a network for one epoch and writes it as a run into the folder; of a dynamic one, for two.

    Returns:
        The run.
    """
    run = folder / "run"
    nas.search(
        data,
        space=replace(space.only(architecture.routes()[-1]), references=(), warm_up=None),
        encoders="joint",
        training=RunConfig.of(preset="quick", epochs=1).training,
        retrain_seeds=1,
        device="cpu",
        out=run,
    )
    if architecture.gating is not None:
        with_gate(run, space, architecture, data)
        balance(run, data)
    return run


def with_gate(run: Path, space: SearchSpace, architecture: Architecture, data: FusionData) -> None:
    """Makes the run of an architecture that of a dynamic one, whose network is trained for two epochs.

    Scores and costs in its summary stay those of the static one; exporting reads none of them.
    """
    config = RunConfig.of(preset="quick", epochs=2).training
    weights, held_out = (split_batch(data, split, torch.device("cpu")) for split in ("weights", "architecture"))
    with seeded(0):
        network = build_routed(space.only(architecture), data, config)
    network.set_costs(CostTable.measure(network.network, weights.take(slice(0, 1)).inputs))
    trained = train_routed(network, data.task, weights, held_out, config, seed=0, device=torch.device("cpu"))
    folder = RunFolder(run)
    save_weights(folder, trained.network, data)
    summary = folder.read_summary()
    found, *others = summary.leaderboard
    board = (replace(found, architecture=architecture), *others)
    folder.write_json("summary.json", replace(summary, architecture=architecture, leaderboard=board))
    folder.write_json("architecture.json", architecture)


@torch.no_grad()
def balance(run: Path, data: FusionData) -> None:
    """Shifts and scales the logits of a run's gate so that about as many test samples take every route."""
    network = nas.load_run(run).network
    assert isinstance(network, RoutedNetwork)
    gate = network.router
    assert isinstance(gate, Gate)
    batch = split_batch(data, "test", torch.device("cpu"))
    logits = gate(network.encode(batch.inputs))
    scale = logits.std(dim=0).clamp(min=1e-6)
    gate.output.weight /= scale[:, None]
    gate.output.bias.copy_((gate.output.bias - logits.mean(dim=0)) / scale)
    save_weights(RunFolder(run), network, data)


def round_trips(data: FusionData, run: Path, architecture: Architecture, folder: Path, commit: str) -> list[RoundTrip]:
    """Exports a run into the folder."""
    files = export(run, NETWORKS, out=folder, data=data)
    differences = {file.format: file.difference for file in files}
    network = in_words(architecture)
    return [
        RoundTrip(data.name, network, name, value, commit) for name, value in differences.items() if value is not None
    ]


def in_words(architecture: Architecture) -> str:
    """Its operations by depth, of every route."""
    return " or ".join(", ".join(step.operation for step in route.steps) for route in architecture.routes())


def measure(data: FusionData, run: Path, folder: Path) -> list[Latency]:
    """How long an exported network takes, in every way to run it here."""
    network = Portable(nas.load_run(run).network).eval()
    kind = "dynamic" if isinstance(network.network, RoutedNetwork) else "static"
    batch = split_batch(data, "test", torch.device("cpu"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(folder / "network.onnx", options, providers=["CPUExecutionProvider"])
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
        found += [Latency(data.name, kind, way, size, _milliseconds(run, inputs)) for way, run in ways.items()]
    return found


@torch.no_grad()
def _milliseconds(run: Callable[..., Any], inputs: Sequence[Tensor]) -> float:
    taken = []
    for _ in range(CALLS + 3):
        started = time.process_time()  # wall time says on a busy machine how busy it is
        run(*inputs)
        taken.append(time.process_time() - started)
    return 1000 * statistics.median(taken[3:])  # the first ones warm up


def page(trips: Sequence[RoundTrip], latencies: Sequence[Latency], origin: Provenance) -> str:
    """The tables as Markdown."""
    by_network: dict[tuple[str, str], dict[str, float]] = {}
    trips = sorted(
        trips, key=lambda trip: (trip.data, " or " in trip.network)
    )  # a network tried anew stays in its place
    for trip in trips:
        by_network.setdefault((trip.data, trip.network), {})[trip.format] = trip.difference
    commits = {(trip.data, trip.network): trip.commit for trip in trips}
    lines = [f"| data | operations by depth | {' | '.join(NETWORKS)} | commit |", "| --- " * (3 + len(NETWORKS)) + "|"]
    for (data, network), found in by_network.items():
        cells = " | ".join(f"{found[name]:.1e}" for name in NETWORKS)
        lines.append(f"| {data} | {network} | {cells} | {commits[data, network]} |")
    worst = " | ".join(f"{max(found[name] for found in by_network.values()):.1e}" for name in NETWORKS)
    lines.append(f"| **largest** | | {worst} | |")
    latencies = sorted(latencies, key=lambda one: one.data)
    ways = list(dict.fromkeys(one.way for one in latencies))
    times = [f"| data | network | batch | {' | '.join(ways)} |", "| --- " * (3 + len(ways)) + "|"]
    for data, kind, size in dict.fromkeys((one.data, one.kind, one.batch) for one in latencies):
        some = {one.way: one.milliseconds for one in latencies if (one.data, one.kind, one.batch) == (data, kind, size)}
        times.append(f"| {data} | {kind} | {size} | {' | '.join(f'{some[way]:.2f}' for way in ways)} |")
    table, timing = "\n".join(lines), "\n".join(times)
    return f"""# export: what is handed out computes what was found

Largest difference of an output from the network's, in units of the largest output or of 1, over up to 64 test samples
in a fresh process, where `fusenas` is hidden from all but safetensors. An export fails above {TOLERANCE:.0e}. Every
operation of the catalogue is in one of the networks, each trained for one epoch. Where there is an "or", a gate picks
one of three routes for every sample; all are taken.

{table}

Milliseconds of processor time per batch of the first network of every data set, and of the dynamic one, of which about
a third of the samples take every route; median of {CALLS} calls in one process, {torch.get_num_threads()} thread each:

{timing}

`{origin.command}`, commit {origin.commit}, {origin.started_at}, {origin.hardware}, load
{os.getloadavg()[0]:.1f}, torch {origin.versions["torch"]}, onnxruntime {onnxruntime.__version__}.
"""


if __name__ == "__main__":
    main()
