"""What a search costs as its space grows: time and memory of `graph` with one step to four.

    python -m benchmarks.space_sizes --out results/space_sizes

The same task of known answer, two modalities of three taps, is searched in `graph` with one step to four: a hundred
to a thousand million architectures. Every search runs in a process of its own, so that the peak of its memory is its
own. Seconds are those of the processor, for the encoders, the supernet, its scoring and three trainings; the tournament
does not depend on the size of the space, and is left out (`--baselines few`).
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import nas
from benchmarks.pages import about, origin_told
from benchmarks.rows import read_rows, write_rows
from nas.data.synthetic import crossed_tasks
from nas.pipeline.search import make_space
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance

KIND = "chain"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One search.

    Attributes:
        steps: Most steps of an architecture.
        search: Its seed.
        size: Architectures of the space.
        choices: Of all nodes together, which the supernet holds.
        scored: Paths that the supernet was asked about.
        seconds: Of the processor.
        memory: Peak of the process, MiB.
        score: Of what was read out, in points, on the test split.
    """

    steps: int
    search: int
    size: int
    choices: int
    scored: int
    seconds: float
    memory: float
    score: float


def run(seed: int, steps: int, search: int) -> Row:
    """One search in this process, whose memory it tells."""
    torch.set_num_threads(1)
    data = next(task for task in crossed_tasks(seed) if task.kind == KIND and task.modalities == 2).make()
    name = f"graph:steps={steps}"
    space = make_space(name, data)
    started = time.process_time()
    result = nas.search(
        data, space=name, seed=search, retrain_seeds=1, baselines="few", refit=False, ensemble=False, device="cpu"
    )
    seconds = time.process_time() - started
    summary = result.summary
    return Row(
        steps=steps,
        search=search,
        size=space.size(),
        choices=sum(len(node.choices) for node in space.nodes),
        scored=summary.search.candidates or 0,
        seconds=seconds,
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        score=100 * summary.leaderboard[0].score.mean,
    )


def page(rows: Sequence[Row], command: str) -> str:
    """The table: a line per size, means over searches."""
    first = np.mean([row.seconds for row in rows if row.steps == min(one.steps for one in rows)])
    lines = [
        "| steps | architectures | choices in the supernet | paths scored | processor, s | × the first | peak, MiB |",
        "| --- " * 7 + "|",
    ]
    for steps in sorted({row.steps for row in rows}):
        some = [row for row in rows if row.steps == steps]
        seconds, scored, memory = (
            np.mean([getattr(row, key) for row in some]) for key in ("seconds", "scored", "memory")
        )
        lines.append(
            f"| {steps} | {some[0].size:,} | {some[0].choices:,} | {scored:,.0f} | {seconds:.0f} | "
            f"{seconds / first:.2f} | {memory:,.0f} |"
        )
    text = "\n".join(lines)
    return f"# space_sizes: what a search costs as its space grows\n\n{about(__doc__)}\n\n{text}\n\n{command}.\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the task")
    parser.add_argument("--steps", type=int, nargs="*", default=[1, 2, 3, 4])
    parser.add_argument("--searches", type=int, default=1, help="of every size")
    parser.add_argument("--out", type=Path, default=Path("results/space_sizes"))
    given = parser.parse_args(arguments)
    file = given.out / "rows.csv"
    rows = read_rows(file, Row)
    command = f"python -m benchmarks.space_sizes --seed {given.seed} --searches {given.searches}"
    for search in range(given.searches):
        for steps in given.steps:
            if any((row.steps, row.search) == (steps, search) for row in rows):
                continue
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                rows.append(pool.apply(run, (given.seed, steps, search)))
            print(rows[-1], flush=True)
            write_rows(file, Row, rows, digits=2)
            write_atomically(given.out / "README.md", page(rows, origin_told(provenance(command))).encode())


__all__ = ["Row", "page", "run"]

if __name__ == "__main__":
    main()
