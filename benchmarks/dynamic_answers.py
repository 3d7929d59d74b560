"""Dynamic searches marked on tasks whose routing is known: who is routed rightly, what it scores, and what it spends.

    python -m benchmarks.dynamic_answers --searches 5 --out results/dynamic/answers

Search number s is of the task of seed s, with three operations; `half` in `layerwise` at the modality level, the others
in `experts`. What was found and the same without its gate are trained once from scratch. A search agrees on a sample if
its route reads the modalities that the sample needs and no other. The known minimum is what the found network would
spend if every sample took the cheapest of its routes that reads all that the sample needs, gate included. Rows that are
there already are not measured again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.pages import about, origin_told
from benchmarks.rows import read_rows, write_rows
from nas.config import RunConfig, SearchConfig, TrainingConfig
from nas.data.dynamic_tasks import DynamicKind, DynamicTask
from nas.device import pick_device
from nas.pipeline.search import find, let_decide, make_space
from nas.retraining.baselines import Contestant
from nas.retraining.preparation import TrainingSetup
from nas.retraining.retrain import judge, train_all
from nas.routing.network import RoutedNetwork
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.statistics import Interval, amount
from nas.summary import Provenance

SPACES: dict[DynamicKind, str] = {"half": "layerwise", "corrupted": "experts", "one_of_three": "experts"}

OPERATIONS = ("additive", "multiplicative", "mlp")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One search.

    Attributes:
        kind: Of the task.
        seed: Of task and search.
        in_words: What was found.
        agreement: Share of test samples that are routed as is known to be right.
        score: Accuracy on the test split.
        static_score: The same without a gate.
        multiply_adds: Of a sample, mean over the test split, gate included.
        minimum: The known minimum of these.
        static_multiply_adds: Without a gate.
        search_seconds: Wall time.
    """

    kind: str
    seed: int
    in_words: str
    agreement: float
    score: float
    static_score: float
    multiply_adds: float
    minimum: float
    static_multiply_adds: int
    search_seconds: float


def measure(kind: DynamicKind, seed: int, config: TrainingConfig) -> Row:
    """Searches one task and marks what was found."""
    task = DynamicTask(kind=kind, seed=seed)
    data, needed = task.make()
    needed = needed[data.splits["test"]]
    space = make_space(SPACES[kind], data, None, OPERATIONS, ["modality"])
    setup = TrainingSetup(data=data, space=space, training=config, device=pick_device("cpu"), progress=print)
    result = let_decide(setup, find(setup, SearchConfig(), seed))
    routes = result.architecture.routes()
    rows = [Contestant("found", "found", result.architecture), Contestant("static", "static", routes[-1])]
    (found, static), targets = judge(setup, train_all(setup, result.prepared, rows))
    picked = np.zeros(len(targets), dtype=np.int64) if found.picked is None else found.picked
    network = found.entry.network
    costs = np.array([static.multiply_adds])
    if isinstance(network, RoutedNetwork):
        costs = network.router.costs.cpu().numpy()
    reads = np.array([[name in route.modalities() for name in task.modalities] for route in routes])
    suffices = (reads[None] >= needed[:, None]).all(axis=2)
    return Row(
        kind=kind,
        seed=seed,
        in_words=result.architecture.in_words(),
        agreement=float((reads[picked] == needed).all(axis=1).mean()),
        score=float((found.outputs.argmax(axis=1) == targets).mean()),
        static_score=float((static.outputs.argmax(axis=1) == targets).mean()),
        multiply_adds=float(costs[picked].mean()),
        minimum=float(np.where(suffices, costs, np.inf).min(axis=1).mean()),
        static_multiply_adds=static.multiply_adds or 0,
        search_seconds=result.seconds,
    )


def readme(rows: Sequence[Row], origin: Provenance) -> str:
    """The table over searches."""
    lines = [
        "| task | searches | agreement, lowest | dynamic, % | static, % | dynamic is better by | multiply-adds / known "
        "minimum, highest | multiply-adds / static |",
        "| --- " * 8 + "|",
    ]
    for kind in SPACES:
        some = [row for row in rows if row.kind == kind]
        if not some:
            continue
        gains = np.array([row.score - row.static_score for row in some])
        margin = 1.96 * float(gains.std(ddof=1)) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
        mean = float(gains.mean())
        beyond = [row.multiply_adds / row.minimum for row in some]
        lines.append(
            f"| {kind} | {len(some)} | {100 * np.mean([r.agreement for r in some]):.1f} %, "
            f"{100 * min(r.agreement for r in some):.1f} % | {100 * np.mean([r.score for r in some]):.1f} "
            f"| {100 * np.mean([r.static_score for r in some]):.1f} "
            f"| {amount('accuracy', Interval(mean, mean - margin, mean + margin))} "
            f"| {np.mean(beyond):.3f}, {max(beyond):.3f} "
            f"| {np.mean([r.multiply_adds / r.static_multiply_adds for r in some]):.2f} |"
        )
    return (
        "# dynamic_answers: dynamic searches on tasks whose routing is known\n\n"
        + about(__doc__)
        + "\n\n"
        + "\n".join(lines)
        + f"\n\nMargins are 1.96 standard errors over searches. {origin_told(origin)}. Rows: `rows.csv`.\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own default")
    parser.add_argument("--out", type=Path, default=Path("results/dynamic/answers"))
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    origin = provenance(f"python -m benchmarks.dynamic_answers --searches {given.searches}")
    rows = read_rows(given.out / "rows.csv", Row)
    done = {(row.kind, row.seed) for row in rows}
    for seed in range(given.searches):
        for kind in SPACES:
            if (kind, seed) not in done:
                rows.append(measure(kind, seed, RunConfig.of(preset="quick").training))
                write_rows(given.out / "rows.csv", Row, rows, digits=4)
                write_atomically(given.out / "README.md", readme(rows, origin).encode())


if __name__ == "__main__":
    main()
