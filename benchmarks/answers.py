"""Whole searches on tasks of known answer, with the default operations, beside the answer itself.

    python -m benchmarks.answers --seed 1 --out results/answers
    python -m benchmarks.answers --seed 1 --tasks crossed --space graph --out results/crossed

Every task of `nas.data.synthetic.wide_tasks`, or of `crossed_tasks`, is searched as `fusenas search` does it, but for
two things that would not change what is found: fewer retrainings, and no final training on both splits. Then the
answer is trained with the same seeds: where something has to be read, every operation there on what has to be read,
and on all modalities; where taps of different depths have to meet, every operation on these, and again where further
taps meet what became of them. So is every network of the leaderboard. The *regret* is by how much the best of all these
is better than what was found, where half of the test samples say which one is the best, and the other half by how much
it is better; then the halves change places, and the mean is taken. So it may be negative. The highest score of all
samples is high partly by luck, and stands in the rows only. Searches that are there already are not run again.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import ttest_1samp

import nas
from benchmarks.pages import about, origin_told
from benchmarks.rows import read_rows, write_rows
from benchmarks.searches import cost_of
from nas.config import RunConfig
from nas.data.synthetic import CROSSED, KnownTask, crossed_tasks, wide_tasks
from nas.metrics import Outputs, score
from nas.pipeline.search import make_space
from nas.records import plain
from nas.retraining.baselines import Contestant
from nas.retraining.preparation import TrainingSetup, raw
from nas.retraining.retrain import judge, train_all
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.space.architecture import Architecture, Choice, tap_name
from nas.space.search_space import SearchSpace
from search_spaces import DEFAULT_OPERATIONS

CPU = torch.device("cpu")

METRIC = {"rare": "average_precision", "regression": "r2"}
"""Target to the metric that networks are judged by; those of other targets are the task's own."""

POINTS = 100.0

TASKS = {"wide": wide_tasks, "crossed": crossed_tasks}
"""What makes the tasks of a seed."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One search.

    Attributes:
        task: Its name.
        space: That was searched.
        group: What it is counted with.
        search: Its seed.
        score: Mean test score of what was found, in points.
        best: The highest one that is known, partly by luck.
        regret: By how much another one is better in the mean, see above; in points.
        random: Of random search.
        cost: Of the search and of what it proposed besides, in trainings of late fusion.
        seconds: Of the processor, for the whole run.
        won: Name of the row that won the tournament.
        found: In words.
        answer: The best known, in words.
        reads: How many modalities what was found reads.
    """

    task: str
    space: str
    group: str
    search: int
    score: float
    best: float
    regret: float
    random: float
    cost: float
    seconds: float
    won: str
    found: str
    answer: str
    reads: int


def group_of(task: KnownTask) -> str:
    """Other targets and missing modalities are groups of their own; the rest goes by the number of modalities."""
    if task.kind == "nothing":
        return "nothing to learn"
    if task.kind in CROSSED:
        return task.kind
    if task.missing:
        return "missing modalities"
    if task.target not in ("quartiles", "sign"):
        return task.target
    return f"{task.modalities} modalities"


def answers(task: KnownTask, space: SearchSpace) -> Iterator[Architecture]:
    """Every operation where something has to be read, on what has to be read and on all modalities.

    Args:
        task: Whose answer is known.
        space: `graph` where taps of different depths have to meet; else `layerwise`.
    """
    answer = task.answer()
    if answer.joins:
        yield from _chains(answer.joins, space)
        return
    if not answer.depths:
        return
    for modalities in dict.fromkeys([answer.modalities, space.modalities]):
        for name in DEFAULT_OPERATIONS if len(modalities) > 1 else ["carry"]:
            read = {depth: Choice(name, tuple(tap_name(one, depth) for one in modalities)) for depth in answer.depths}
            yield space.compose({space.nodes[depth].name: choice for depth, choice in read.items()})


def _chains(joins: Sequence[tuple[str, ...]], space: SearchSpace) -> Iterator[Architecture]:
    """Every operation on the taps that meet first, and the same one or an MLP on what meets what became of them."""
    first, *others = joins
    for name in DEFAULT_OPERATIONS:
        if not others:
            yield space.compose({"final": Choice(name, first)})
        for then in dict.fromkeys((name, "mlp")) if others else ():
            choices = {"step1": Choice(name, first), "final": Choice(then, (*others[0], "step1"))}
            yield space.compose(choices)


def run(task: KnownTask, search: int, seeds: int, space: str = "layerwise") -> Row:
    """One whole search, and the answer beside it."""
    data, metric = task.make(), METRIC.get(task.target)
    started = time.process_time()
    result = nas.search(
        data, space=space, seed=search, retrain_seeds=seeds, refit=False, ensemble=False, metric=metric, device="cpu"
    )
    seconds = time.process_time() - started
    board = result.summary.leaderboard
    training = RunConfig.of(metric=metric).training
    known_in = "graph" if task.kind in CROSSED else "layerwise"
    setup = TrainingSetup(data=data, space=make_space(known_in, data), training=training, device=CPU)
    found, *others = [
        Contestant(one.name, one.kind, one.architecture, one.separate) for one in board if one.read is not None
    ]
    rows = [found, *others, *(Contestant(one.in_words(), "operation", one) for one in answers(task, setup.space))]
    outputs: dict[str, list[Outputs]] = {row.name: [] for row in rows}
    for seed in range(search, search + seeds):
        judged, targets = judge(setup, train_all(setup, raw(setup, seed), rows))
        for row, one in zip(rows, judged, strict=True):
            outputs[row.name].append(one.outputs)

    def scores(samples: slice) -> dict[str, float]:
        return {
            name: float(np.mean([score(setup.metric, one[samples], targets[samples]) for one in some]))
            for name, some in outputs.items()
        }

    every = scores(slice(None))
    best = max(every, key=every.__getitem__)
    random = next(row.score.mean for row in board if row.kind == "random")
    return Row(
        task=task.name,
        space=space,
        group=group_of(task),
        search=search,
        score=POINTS * board[0].score.mean,
        best=POINTS * every[best],
        regret=POINTS * regret(found.name, scores(slice(0, None, 2)), scores(slice(1, None, 2))),
        random=POINTS * random,
        cost=cost_of(plain(result.summary)),
        seconds=seconds,
        won=result.summary.tournament.winner if result.summary.tournament else "",
        found=result.summary.in_words,
        answer=best,
        reads=len(result.architecture.modalities()),
    )


def regret(found: str, *halves: Mapping[str, float]) -> float:
    """By how much the best one of one half of the samples beats what was found on the other half, mean of both ways.

    Args:
        found: Its name.
        halves: Name to score, of the one half and of the other.
    """
    gaps = []
    for half, other in zip(halves, reversed(halves), strict=True):
        best = max(half, key=half.__getitem__)
        gaps.append(other[best] - other[found])
    return float(np.mean(gaps))


def page(rows: Sequence[Row], command: str, notes: str = "") -> str:
    """The table: a line per group, and one of all.

    Args:
        rows: Of all searches.
        command: For the record.
        notes: Written by people, taken over as they are.
    """
    lines = [
        "| tasks | searches | regret ≤ 1 point | mean regret | worst | reads nothing | found − random, points | "
        "cost: median | worst |",
        "| --- " * 9 + "|",
    ]
    spaces = list(dict.fromkeys(row.space for row in rows))
    for group, space in itertools.product([*dict.fromkeys(row.group for row in rows), "all"], spaces):
        some = [row for row in rows if group in (row.group, "all") and row.space == space]
        if not some:
            continue
        regrets = [row.regret for row in some]
        near = POINTS * float(np.mean([one <= 1 for one in regrets]))
        gains = [row.score - row.random for row in some]
        margin = ""
        if len(some) > 2 and np.std(gains) > 0:
            low, high = ttest_1samp(gains, 0.0).confidence_interval()
            margin = f" [{low:.1f}, {high:.1f}]"
        costs = [row.cost for row in some]
        label = f"{group}, {space}" if len(spaces) > 1 else group
        lines.append(
            f"| {label} | {len(some)} | {near:.0f} % | {np.mean(regrets):.2f} | "
            f"{max(regrets):.1f} | {sum(not row.reads for row in some)} | {np.mean(gains):.1f}{margin} | "
            f"{np.median(costs):.1f} | {max(costs):.1f} |"
        )
    worst = sorted(rows, key=lambda row: -row.regret)[:8]
    lines += ["", "The largest regrets:", "", "| task | search | regret | found | best known |", "| --- " * 5 + "|"]
    lines += [f"| {one.task} | {one.search} | {one.regret:.1f} | {one.found} | {one.answer} |" for one in worst]
    text = "\n".join(lines)
    return f"# answers: whole searches on tasks of known answer\n\n{about(__doc__)}\n\n{text}\n\n{notes}{command}.\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the tasks: other seeds are other tasks")
    parser.add_argument("--tasks", choices=list(TASKS), default="wide")
    parser.add_argument("--space", default="layerwise")
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of task names; all if absent")
    parser.add_argument("--searches", type=int, default=1, help="of every task")
    parser.add_argument("--seeds", type=int, default=2, help="retrainings of every search, and of the answers")
    parser.add_argument("--out", type=Path, default=Path("results/answers"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    file = given.out / "rows.csv"
    rows = read_rows(file, Row)
    command = (
        f"python -m benchmarks.answers --seed {given.seed} --tasks {given.tasks} --space {given.space} "
        f"--searches {given.searches} --seeds {given.seeds}"
    )
    for task in TASKS[given.tasks](given.seed):
        for number in range(given.searches):
            search = 10 * number
            wanted = not given.only or task.name.startswith(tuple(given.only))
            if not wanted or any((row.task, row.search, row.space) == (task.name, search, given.space) for row in rows):
                continue
            rows.append(run(task, search, given.seeds, given.space))
            one = rows[-1]
            print(
                f"{one.task}: regret {one.regret:.1f}, found {one.found}, best {one.answer}, {one.seconds:.0f} s",
                flush=True,
            )
            write_rows(file, Row, rows, digits=2)
            notes = given.out / "notes.md"
            told = f"{notes.read_text().strip()}\n\n" if notes.exists() else ""
            write_atomically(given.out / "README.md", page(rows, origin_told(provenance(command)), told).encode())


__all__ = ["Row", "answers", "page", "regret", "run"]

if __name__ == "__main__":
    main()
