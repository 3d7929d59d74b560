"""What a search step costs as candidates are added: sampled paths run their own operations only.

    python -m benchmarks.path_cost --out results/path_cost

Times one training step of the supernet, on cached taps, with 2, 4, 6 and 12 fusing operations per node beside `none`
and `carry`, all in one run: sampled paths, one of every interaction order that the operations have, whose cost should
stay but for the number of orders, and the softmax mixture, whose cost should grow. Operations differ in cost, so the
twelve are divided among six supernets of two, three of four, and so on, and what is told for a number is the mean over
its supernets: the operations are the same in every line. Rounds alternate between all supernets, so that whatever else
the machine does hits all alike; a supernet's time is the median over rounds.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.pages import origin_told
from nas.config import RunConfig, TrainingConfig
from nas.data import FusionData
from nas.data.batches import split_batch
from nas.device import pick_device
from nas.network.prediction import losses
from nas.pipeline.search import make_space
from nas.records import plain
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.seeding import seeded
from nas.strategies.sampled import losses_of_paths
from nas.supernet.relaxation import fair_paths, softmax
from nas.training.build import build_network
from nas.training.epoch_loop import make_optimizer, step
from search_spaces import OPERATIONS

FUSING = [name for name in OPERATIONS if name not in ("none", "carry")][:12]
"""The first twelve, for no other number near has as many divisors; `single_stream` came later."""

SETS = {
    count: [FUSING[start :: len(FUSING) // count] for start in range(len(FUSING) // count)] for count in (2, 4, 6, 12)
}
"""Number of fusing operations to disjoint sets of so many that together are all of them."""

RELAXATIONS = ("sampled paths", "softmax mixture")

STEPS = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own default")
    parser.add_argument("--out", type=Path, default=Path("results/path_cost"))
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    origin = provenance("python -m benchmarks.path_cost")
    device = pick_device(given.device)
    generator = np.random.default_rng(0)
    data = FusionData.from_arrays(
        {name: [generator.standard_normal((320, 8, 64)).astype(np.float32) for _ in range(3)] for name in ("a", "b")},
        generator.integers(0, 10, 320),
        name="made up",
    )
    config = RunConfig.of(preset="quick").training
    variants = {
        (relaxation, count, number): _stepper(data, config, names, relaxation, device)
        for count, sets in SETS.items()
        for number, names in enumerate(sets)
        for relaxation in RELAXATIONS
    }
    seconds: dict[tuple[str, int, int], list[float]] = {variant: [] for variant in variants}
    for number in range(given.rounds + 1):
        for variant, run in variants.items():
            started = time.perf_counter()
            run()
            if number:  # the first round warms up
                seconds[variant].append((time.perf_counter() - started) / STEPS)
    mean = {
        (relaxation, count): statistics.mean(
            statistics.median(seconds[relaxation, count, number]) for number in range(len(sets))
        )
        for relaxation in RELAXATIONS
        for count, sets in SETS.items()
    }
    lines = [
        "| relaxation | fusing operations per node | paths per step | ms per step | × that with 2 |",
        "| --- " * 5 + "|",
    ]
    lines += [
        f"| {relaxation} | {count} | {_paths(count) if relaxation == 'sampled paths' else 'mixture'} "
        f"| {1000 * value:.2f} | {value / mean[relaxation, 2]:.2f} |"
        for (relaxation, count), value in mean.items()
    ]
    text = (
        "# path_cost: what a search step costs as candidates are added\n\n"
        + "\n".join(lines)
        + f"\n\n{origin_told(origin)}, median of {given.rounds} rounds of {STEPS} steps.\n"
    )
    print(text)
    write_atomically(given.out / "README.md", text.encode())
    rows = [
        {"relaxation": relaxation, "operations": SETS[count][number], "seconds_per_step": values}
        for (relaxation, count, number), values in seconds.items()
    ]
    write_atomically(
        given.out / "records.json", (json.dumps({"rows": rows, **plain(origin)}, indent=1) + "\n").encode()
    )


def _paths(count: int) -> str:
    """Mean number of orders of the sets of so many operations; `carry` brings order 1 into each."""
    numbers = [len({1, *(OPERATIONS[name].order for name in some)}) for some in SETS[count]]
    return f"{statistics.mean(numbers):.1f}"


def _stepper(
    data: FusionData, config: TrainingConfig, operations: Sequence[str], relaxation: str, device: torch.device
) -> Callable[[], None]:
    """A function that trains a supernet with these fusing operations at every node for a few steps."""
    space = make_space("layerwise", data, operations=operations)
    with seeded(0):
        network = build_network(space, data, config).to(device)
    optimizer, scheduler = make_optimizer(network, config, 100_000)
    batch = split_batch(data, "weights", device).take(slice(0, config.batch_size))
    choices = random.Random(0)
    logits = {node.name: torch.zeros(len(node.choices), device=device) for node in space.nodes}

    def run() -> None:
        for _ in range(STEPS):
            if relaxation == "sampled paths":
                loss = losses_of_paths(data.task, network, batch, fair_paths(space, choices)).mean()
            else:
                loss = losses(data.task, network, batch, softmax(logits)).mean()
            step(loss, optimizer, scheduler, config)

    return run


if __name__ == "__main__":
    main()
