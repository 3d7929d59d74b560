"""Wall time of dynamic networks, routed against dense and static, and what static networks pay for it all.

    python -m benchmarks.routing --out results/dynamic/routing

Default encoders of several modalities of a kind. Of two, a gate that reads the taps of the first, which every route
computes, skips the second on half of the samples; of three, a gate that reads the first tap of each takes one of them.
A cascade of two stops after the first on half of the samples; one of three goes on to the second on two thirds, and to
the third on one.
Weights are those of initialisation and the routes are given, for time depends on neither. `dense` runs every route on
all samples, `static` is the dearest route by itself, without a gate. Rounds alternate between all that is compared, so
that whatever else the machine does hits all alike; in each everything is run once to warm caches and once against the
clock. Times are medians over rounds; on a CPU with one thread processor time, which is wall time where nothing else
runs. Freed memory is kept by the process, or fetching it anew would take a third of the time of large batches, more or
less as it happens to be laid out. The saving in time over that in multiply-adds, both against static,
says how much of what is skipped is really gained. `before` makes the calls of which a static forward pass consisted
before there were gates.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.pages import about, origin_told
from benchmarks.rows import write_rows
from nas.config import RunConfig
from nas.data import FusionData
from nas.data.batches import Batch, split_batch
from nas.device import pick_device
from nas.network.cost import CostTable
from nas.network.fusion_network import FusionNetwork
from nas.pipeline.search import make_space
from nas.routing.execution import Execution, cheaper_execution
from nas.routing.gates import Gate
from nas.routing.network import RoutedNetwork, build_routed
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.seeding import seeded
from nas.space.architecture import Architecture, Choice
from nas.training.build import build_network

SHAPES = {
    "maps 28 × 28": (1, 28, 28),
    "sequences 400 × 8": (400, 8),
    "sequences 64 × 16": (64, 16),
    "vectors 2000": (2000,),
    "vectors 128": (128,),
}

BATCHES = (1, 32, 256)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of `malloc.h`."""

SETUPS = {"second on half": 2, "one of three": 3, "cascade of two": 2, "cascade of three": 3}
"""What is skipped, to the number of modalities."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kind of modality at one batch size.

    Attributes:
        modalities: All of this form.
        setup: A name of `SETUPS`.
        batch: Samples.
        static_ms: Median time of a batch without a gate.
        routed_ms: Of the same where what a sample skips is not run.
        dense_ms: Of the same where every route runs on all.
        before_ms: Of the static one by the calls that its forward pass consists of, without asking for a gate.
        saved_multiply_adds: Share of the static ones that is skipped, gate included.
        saved_time: Share of the static time that routing saves.
        execution: What the network takes by itself; a cascade decides after every stage.
    """

    modalities: str
    setup: str
    batch: int
    static_ms: float
    routed_ms: float
    dense_ms: float
    before_ms: float
    saved_multiply_adds: float
    saved_time: float
    execution: str


def networks(
    shape: tuple[int, ...], setup: str, device: torch.device
) -> tuple[RoutedNetwork, FusionNetwork, FusionData]:
    """A dynamic network of a setup, the static one of its last route, and data for them."""
    count = SETUPS[setup]
    generator = np.random.default_rng(0)
    arrays = {name: generator.standard_normal((512, *shape)).astype(np.float32) for name in "abc"[:count]}
    splits = np.repeat([0, 1, 2], [128, 128, 256])
    data = FusionData.from_arrays(arrays, generator.integers(0, 10, 512), splits=splits, name="made up")
    space = make_space("experts", data)
    deepest = tuple(f"{name}@2" for name in arrays)
    static = Architecture.chain("experts", (("fusion2", Choice("additive", deepest)),))
    names = {1: "carry", 2: "additive", 3: "additive"}

    def late(*taps: str) -> Architecture:
        return Architecture.chain("experts", (("fusion2", Choice(names[len(taps)], taps)),))

    gated = {
        "second on half": Architecture.gated([late(deepest[0]), static], ["a@0", "a@1", "a@2"]),
        "one of three": Architecture.gated([*(late(tap) for tap in deepest), static], [f"{name}@0" for name in arrays]),
        "cascade of two": Architecture.cascaded([late(deepest[0]), static]),
        "cascade of three": Architecture.cascaded([late(deepest[0]), late(*deepest[:2]), static]),
    }[setup]
    config = RunConfig.of(preset="quick").training
    with seeded(0):
        routed = build_routed(space.only(gated), data, config).to(device).eval()
    with seeded(0):
        whole = build_network(space.only(static), data, config).to(device).eval()
    one_sample = split_batch(data, "test", device).take(slice(0, 1)).inputs
    routed.set_costs(CostTable.measure(routed.network, one_sample))
    return routed, whole, data


@torch.no_grad()
def measure(kind: str, setup: str, device: torch.device, rounds: int) -> list[Row]:
    """Times one kind of modality at every batch size; each of the first two or three routes is taken equally often."""
    count = SETUPS[setup]
    dynamic, static, data = networks(SHAPES[kind], setup, device)
    # Of one thread the time on the processor is the wall time that it would have the machine to itself.
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    whole = split_batch(data, "test", device)
    rows = []
    for size in BATCHES:
        batch = whole.take(slice(0, size))

        def route(turn: int, size: int = size) -> Tensor:
            return (torch.arange(size, device=device) + turn) % count

        def as_it_is(_turn: int, batch: Batch = batch) -> Tensor:
            outputs: Tensor = static(batch.inputs)
            return outputs

        def before(_turn: int, batch: Batch = batch) -> Tensor:
            chosen = static.selection
            return static.fuse(static.taps(batch.inputs, static.needed_taps(chosen)), chosen, batch_size=len(batch))

        def along(execution: Execution, turn: int, batch: Batch = batch) -> None:
            dynamic.run(batch.inputs, route=route(turn), execution=execution)

        runs: dict[str, Callable[[int], object]] = {
            "static": as_it_is,
            "before": before,
            "routed": partial(along, "routed"),
            "dense": partial(along, "dense"),
        }
        assert torch.equal(as_it_is(0), before(0))
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(count * rounds + 2 * count):  # a batch of one takes the routes in turn
            for name, run in runs.items():
                run(turn)
                started = clock()
                run(turn)
                if device.type == "cuda":
                    torch.cuda.synchronize()
                if turn >= 2 * count:  # the first rounds warm up
                    seconds[name].append(clock() - started)
        # Of so many rounds in a row a batch of one takes every route once: their mean counts.
        median = {
            name: statistics.median(statistics.mean(turns) for turns in batched(some, count))
            for name, some in seconds.items()
        }
        rows.append(
            Row(
                modalities=kind,
                setup=setup,
                batch=size,
                static_ms=1000 * median["static"],
                routed_ms=1000 * median["routed"],
                dense_ms=1000 * median["dense"],
                before_ms=1000 * median["before"],
                saved_multiply_adds=1 - float(dynamic.router.shares()[:count].mean()),
                saved_time=1 - median["routed"] / median["static"],
                execution=cheaper_execution(
                    dynamic.router, torch.bincount(route(0), minlength=len(dynamic.routes)).tolist()
                )
                if isinstance(dynamic.router, Gate)
                else "stage by stage",
            )
        )
    return rows


def keep_memory() -> None:
    """Asks the allocator of a glibc system not to hand freed memory back; elsewhere nothing."""
    with suppress(AttributeError, OSError, TypeError):
        allocator = ctypes.CDLL(None)
        allocator.mallopt(M_TRIM_THRESHOLD, 1 << 30)
        allocator.mallopt(M_MMAP_THRESHOLD, 1 << 25)


def batched(values: Sequence[float], count: int) -> list[list[float]]:
    """So many at a time."""
    turns = iter(values)
    return [some for _ in range(len(values) // count) if (some := list(islice(turns, count)))]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own default")
    parser.add_argument("--out", type=Path, default=Path("results/dynamic/routing"))
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    origin = provenance(f"python -m benchmarks.routing --rounds {given.rounds} --threads {given.threads}")
    device = pick_device(given.device)
    keep_memory()
    rows = [row for setup in SETUPS for kind in SHAPES for row in measure(kind, setup, device, given.rounds)]
    write_rows(given.out / "rows.csv", Row, rows, digits=4)
    lines = [
        "| skipped | modalities | batch | static, ms | routed, ms | dense, ms | multiply-adds saved | time saved "
        "| of that | taken by itself | static before / now |",
        "| --- " * 11 + "|",
    ]
    lines += [
        f"| {row.setup} | {row.modalities} | {row.batch} | {row.static_ms:.2f} | {row.routed_ms:.2f} "
        f"| {row.dense_ms:.2f} | {100 * row.saved_multiply_adds:.0f} % | {100 * row.saved_time:.0f} % "
        f"| {100 * row.saved_time / row.saved_multiply_adds:.0f} % | {row.execution} "
        f"| {row.before_ms / row.static_ms:.3f} |"
        for row in rows
    ]
    text = (
        "# routing: wall time of dynamic networks\n\n"
        + about(__doc__)
        + "\n\n"
        + "\n".join(lines)
        + f"\n\n{origin_told(origin)}. Rows: `rows.csv`.\n"
    )
    write_atomically(given.out / "README.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
