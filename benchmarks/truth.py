"""Ground truth by exhaustion: every architecture of every known-answer task, trained from scratch.

    python -m benchmarks.truth --out results/known_answers/truth

Candidates are none, carry, and one operation of every order: additive, multiplicative, and mlp or, for `alignment`,
cross-attention. Of two modalities all 216 architectures are trained; of three (4096) those with at most as many active
nodes as the known answer has: 46 with one, 721 with two for `staged`. All are trained with seed 0; the `CONTENDERS`
with the highest test score of each task then with `FRESH` seeds, by which alone they are ranked: what was picked for
its luck with seed 0 has to do without it. One CSV file a task; rows that are there are not trained again, so that a
stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.many import evaluate_many, train_many
from benchmarks.rows import Index, index_of, index_text, read_rows, write_rows
from nas.config import RunConfig
from nas.data.batches import Batch
from nas.data.fusion_data import FusionData, Split
from nas.data.synthetic import KnownTask, known_tasks
from nas.encoders.base import Encoder, Standardize
from nas.network.cost import multiply_adds, num_parameters
from nas.pipeline.search import make_space
from nas.seeding import seeded
from nas.space.architecture import Choice, tap_depth, tap_modality
from nas.space.search_space import SearchSpace
from nas.training.build import build_network

TRAINING = RunConfig.of(preset="quick", channels=32).training
"""How everything on known-answer tasks is trained."""

AT_ONCE = 64
"""Networks that are trained side by side."""

CONTENDERS = 12
FRESH = (1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One training from scratch.

    Attributes:
        architecture: Choice index of every node, such as "0-3-0".
        seed: Of initialisation, order and dropout.
        score: Accuracy on the test split.
        loss: Cross-entropy there.
        architecture_loss: Cross-entropy on the architecture split, at the epoch that was kept.
        parameters: Of the network.
        multiply_adds: Per sample.
    """

    architecture: str
    seed: int
    score: float
    loss: float
    architecture_loss: float
    parameters: int
    multiply_adds: int

    @property
    def index(self) -> Index:
        """Choice index of every node."""
        return index_of(self.architecture)


def operations(task: KnownTask) -> list[str]:
    """The candidates beside none and carry: one of every order."""
    return ["additive", "multiplicative", "cross_attention" if task.kind == "alignment" else "mlp"]


@cache
def made(task: KnownTask) -> FusionData:
    """The data of a task."""
    return task.make()


@cache
def space_of(task: KnownTask) -> SearchSpace:
    """The space that a task is searched in."""
    return make_space("layerwise", made(task), operations=operations(task))


def enumerated(task: KnownTask) -> list[Index]:
    """Choice indices of every architecture that is trained with seed 0."""
    space = space_of(task)
    sizes = [range(len(node.choices)) for node in space.nodes]
    most = len(sizes) if task.modalities == 2 else max(1, len(task.answer().depths))
    return [index for index in itertools.product(*sizes) if len(_active_choices(space, index)) <= most]


class Truth:
    """The table of one task: a CSV file that is added to.

    Args:
        folder: Of the tables.
        task: Whose table it is.
    """

    def __init__(self, folder: Path, task: KnownTask) -> None:
        self.task = task
        self.path = folder / f"{task.name}.csv"
        self.rows = {(row.index, row.seed): row for row in read_rows(self.path, Row)}

    def add(self, rows: Iterable[Row]) -> None:
        """Takes in rows, without writing them."""
        self.rows.update({(row.index, row.seed): row for row in rows})

    def write(self) -> None:
        """Writes the table, in order."""
        write_rows(self.path, Row, [row for _, row in sorted(self.rows.items())], digits=5)

    def contenders(self) -> list[Index]:
        """The architectures with the highest test score with seed 0, best first."""
        first = [(row.score, index) for (index, seed), row in self.rows.items() if seed == 0]
        return [index for _, index in sorted(first, key=lambda pair: (-pair[0], pair[1]))[:CONTENDERS]]

    def scores(self, index: Index, seeds: Sequence[int] = FRESH) -> list[float]:
        """Test scores of an architecture with these seeds.

        Raises:
            KeyError: If it was not trained with one of them.
        """
        return [self.rows[index, seed].score for seed in seeds]

    def mean(self, index: Index, seeds: Sequence[int] = FRESH) -> float:
        """Mean of these."""
        return float(np.mean(self.scores(index, seeds)))

    def highest(self) -> tuple[Index, float]:
        """The architecture of the highest mean over the fresh seeds, and that mean: high partly by luck."""
        return max(((index, self.mean(index)) for index in self.contenders()), key=lambda pair: pair[1])

    def best(self) -> float:
        """What the best architecture scores: picked by one half of the fresh seeds, judged by the other, and back.

        The highest of two dozen means is high partly by luck; a mean that did not pick it is not.
        """
        half = len(FRESH) // 2
        halves = (FRESH[:half], FRESH[half:])
        found = []
        for picking, judging in (halves, halves[::-1]):
            picked = max(self.contenders(), key=lambda index: self.mean(index, picking))
            found.append(self.mean(picked, judging))
        return float(np.mean(found))


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training that is wanted.

    Attributes:
        task: Number of the table.
        index: Choice index of every node.
        seed: Of initialisation, order and dropout.
    """

    task: int
    index: Index
    seed: int


Signature = tuple[tuple[str, int], ...]
"""Operation and number of inputs of every active node, in a fixed order: what a network's kernels depend on.

Every node reads taps of its own depth and its output is added to the others', so architectures of one signature differ
in which taps they are fed alone, and train side by side.
"""


def signature(space: SearchSpace, index: Index) -> Signature:
    """Of an architecture of `layerwise`."""
    return tuple((choice.operation, len(choice.inputs)) for choice in _active_choices(space, index))


def _active_choices(space: SearchSpace, index: Index) -> list[Choice]:
    choices = [node.choices[i] for node, i in zip(space.nodes, index, strict=True)]
    return sorted((c for c in choices if c.inputs), key=lambda choice: (choice.operation, len(choice.inputs)))


def taps_of(space: SearchSpace, index: Index) -> list[str]:
    """The taps that an architecture reads, in the order of its signature."""
    return [tap for choice in _active_choices(space, index) for tap in choice.inputs]


class Ready(Encoder):
    """An encoder of taps that are ready: hands on what it is given."""

    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
        """The first arrays of the batch."""
        return list(inputs[:num_taps])


def trained(tasks: Sequence[KnownTask], jobs: Sequence[Job]) -> list[Row]:
    """Trains architectures of one signature on tasks of one form at once.

    Args:
        tasks: Of one time and width.
        jobs: What is wanted of them.
    """
    space = space_of(tasks[jobs[0].task])
    first = space.restrict(space.at(jobs[0].index))
    data = made(tasks[jobs[0].task])
    networks = []
    for job in jobs:
        with seeded(job.seed):
            network = build_network(first, data, TRAINING)
        for name in network.encoders:
            network.encoders[name] = Ready()
        networks.append(network)
    splits = {split: _fed(tasks, jobs, split) for split in ("weights", "architecture", "test")}
    seeds = [job.seed for job in jobs]
    done = train_many(networks, splits["weights"], splits["architecture"], TRAINING, seeds=seeds)
    names = dict(networks[0].named_parameters())
    losses, right = evaluate_many(
        networks[0].to("meta"),
        {name: value for name, value in done.states.items() if name in names},
        {name: value for name, value in done.states.items() if name not in names},
        splits["test"],
        torch.arange(len(jobs)),
    )
    example = build_network(first, data, TRAINING).eval()
    one = {name: tuple(torch.zeros(1, *a.shape[1:]) for a in m.arrays) for name, m in data.modalities.items()}
    parameters, cost = num_parameters(example), multiply_adds(example, one)
    return [
        Row(
            architecture=index_text(job.index),
            seed=job.seed,
            score=float(right[row].float().mean()),
            loss=float(losses[row].mean()),
            architecture_loss=float(done.losses[row].mean()),
            parameters=parameters,
            multiply_adds=cost,
        )
        for row, job in enumerate(jobs)
    ]


@cache
def _standardized(task: KnownTask, tap: str, split: Split) -> Tensor:
    """One tap as the encoder of ready features hands it on, (samples, time, features)."""
    data = made(task)
    array = data.modalities[tap_modality(tap)].arrays[tap_depth(tap)]
    standardize = Standardize.fit(array[data.splits["weights"]], channel_axis=-1)
    standardized: Tensor = standardize(torch.from_numpy(array[data.splits[split]]))
    return standardized


def _fed(tasks: Sequence[KnownTask], jobs: Sequence[Job], split: Split) -> Batch:
    """What every network is fed: its own taps in place of those of the first, all else but a filler."""
    spaces = [space_of(tasks[job.task]) for job in jobs]
    targets = [made(tasks[job.task]).targets[made(tasks[job.task]).splits[split]] for job in jobs]
    filler = torch.zeros(len(jobs), len(targets[0]), 1, 1)
    inputs = {name: [filler] * depths for name, depths in spaces[0].depths.items()}
    own_taps = [taps_of(space, job.index) for space, job in zip(spaces, jobs, strict=True)]
    for place, tap in enumerate(own_taps[0]):
        arrays = [_standardized(tasks[job.task], own[place], split) for job, own in zip(jobs, own_taps, strict=True)]
        inputs[tap_modality(tap)][tap_depth(tap)] = torch.stack(arrays)
    return Batch({k: tuple(v) for k, v in inputs.items()}, {}, torch.from_numpy(np.stack(targets)))


def complete(tables: Sequence[Truth], wanted: Sequence[Job], *, every_seconds: float = 60) -> None:
    """Trains what is missing and writes it to the tables.

    Args:
        tables: Of tasks of one time and width.
        wanted: What they shall hold.
        every_seconds: How often tables are written on the way.
    """
    alike: dict[Signature, list[Job]] = {}
    for job in wanted:
        if (job.index, job.seed) not in tables[job.task].rows:
            alike.setdefault(signature(space_of(tables[job.task].task), job.index), []).append(job)
    parts = [jobs[start : start + AT_ONCE] for jobs in alike.values() for start in range(0, len(jobs), AT_ONCE)]
    written = time.perf_counter()
    for count, jobs in enumerate(parts, start=1):
        for row, job in zip(trained([table.task for table in tables], jobs), jobs, strict=True):
            tables[job.task].add([row])
        if time.perf_counter() - written > every_seconds or count == len(parts):
            for table in tables:
                table.write()
            written = time.perf_counter()
            print(f"{tables[0].task.name} and {len(tables) - 1} more: {count} of {len(parts)}", flush=True)


def groups(tasks: Sequence[KnownTask]) -> list[list[KnownTask]]:
    """Tasks of one form together: equal time and width, and as many samples."""
    found: dict[tuple[int, ...], list[KnownTask]] = {}
    for task in tasks:
        form = (task.samples, task.test_samples, *made(task).modalities["m0"].arrays[0].shape[1:])
        found.setdefault(form, []).append(task)
    return list(found.values())


def marked_tasks() -> list[KnownTask]:
    """The forty known tasks, by which the default was made, and the noisiest of every kind made with another seed."""
    return known_tasks() + [task for task in known_tasks(seed=1) if task.noise == 0.4]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", default="0/1", help="which share of the tasks, such as 0/2 and 1/2")
    parser.add_argument("--kinds", nargs="*", help="of the tasks; all if absent")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own default")
    parser.add_argument("--out", type=Path, default=Path("results/known_answers/truth"))
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    part, parts = (int(number) for number in given.part.split("/"))
    wanted = [task for task in marked_tasks() if not given.kinds or task.kind in given.kinds]
    for group in groups(wanted):
        tables = [Truth(given.out, task) for task in group[part::parts]]
        complete(tables, [Job(task=n, index=i, seed=0) for n, t in enumerate(tables) for i in enumerated(t.task)])
        contenders = [(n, index) for n, table in enumerate(tables) for index in table.contenders()]
        complete(tables, [Job(task=n, index=index, seed=seed) for n, index in contenders for seed in FRESH])


if __name__ == "__main__":
    main()
