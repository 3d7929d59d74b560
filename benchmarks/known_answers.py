"""Searches marked right or wrong: every strategy and discretization on tasks of known answer, beside the truth.

    python -m benchmarks.truth
    python -m benchmarks.known_answers

What a search found is looked up in the tables of `benchmarks.truth`, and trained there with the same seeds if it is not
among them. Regret is the mean test score of the best architecture minus that of the one that was found, in points; see
`Truth.best` for what the best one scores. One CSV file a strategy and discretization holds a row per search; searches
that are there are not run again, so that a stopped run goes on where it was.

Which strategy runs on what is in `PLAN`; no rule of any strategy was made by the tasks that are held out. A search's
cost is its processor time by that of training late fusion at full length, measured right after it in the same process;
with `--threads 1` that is its wall time on an idle machine. Strategies that train every candidate, but for `random`,
are not run but looked up: a training is its row with seed 0 in the table, where its loss on the architecture split
stands, and costs one; so they run on the tasks of two modalities, whose tables hold every architecture.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr, ttest_1samp
from torch import Tensor

from benchmarks.pages import origin_told
from benchmarks.rows import Index, index_of, index_text, read_rows, write_rows
from benchmarks.truth import FRESH, TRAINING, Job, Truth, complete, groups, made, marked_tasks, space_of
from nas.config import SearchConfig
from nas.data.batches import split_batch
from nas.data.synthetic import KnownTask
from nas.discretize.discretize import discretize
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.space.architecture import Architecture, tap_depth
from nas.strategies import STRATEGIES, SearchProblem, StrategyResult
from nas.supernet.candidates import score_candidates
from nas.supernet.guards import discretization_after
from nas.supernet.path_scorer import PathScorer

CPU = torch.device("cpu")

SUPERNET_READ_OUTS = ("one_standard_error", "argmax", "perturbation")


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one strategy is run on.

    Attributes:
        strategy: A name of `STRATEGIES`.
        discretizations: Each reads out the same supernet, in this order; ("none",) for a strategy without one.
        tasks: Which of the known tasks.
        seeds: How many searches of each.
        guards: Whether a search that collapses is stopped.
        is_looked_up: Whether trainings are looked up in the table.
    """

    strategy: str
    discretizations: tuple[str, ...]
    tasks: str
    seeds: int
    guards: bool = False
    is_looked_up: bool = False


TASKS: dict[str, Callable[[KnownTask], bool]] = {
    "all": lambda task: task.seed == 0,
    "one a kind": lambda task: task.seed == 0 and task.noise == 0.4,
    "two modalities": lambda task: task.seed == 0 and task.modalities == 2,
    "held out": lambda task: task.seed == 1,
}
"""Which tasks: the 40 known ones; the noisiest of every kind; the 30 of two modalities; those held out, one a kind."""

PLAN = (
    Part(strategy="sampled", discretizations=("one_standard_error",), tasks="all", seeds=5),
    Part(strategy="sampled", discretizations=("one_standard_error",), tasks="held out", seeds=5),
    Part(strategy="random", discretizations=("none",), tasks="all", seeds=2),
    *(
        Part(strategy=name, discretizations=("none",), tasks="two modalities", seeds=5, is_looked_up=True)
        for name in ("evolution", "tpe", "nsga2", "mfas", "exhaustive")
    ),
    Part(strategy="sampled", discretizations=("argmax",), tasks="one a kind", seeds=2),
    *(
        Part(strategy=name, discretizations=SUPERNET_READ_OUTS, tasks="one a kind", seeds=2)
        for name in ("darts", "gdas", "pc_darts", "drnas", "fair_darts", "beta_darts")
    ),
    Part(strategy="darts", discretizations=("argmax",), tasks="one a kind", seeds=2, guards=True),
    Part(strategy="darts_second_order", discretizations=SUPERNET_READ_OUTS, tasks="one a kind", seeds=1),
)


@dataclass(frozen=True, kw_only=True)
class Search:
    """One search.

    Attributes:
        task: Its name.
        seed: Of the search.
        architecture: Choice index of every node, such as "0-3-0".
        seconds: Of search and read-out, of the processor.
        training_seconds: Of late fusion at full length; of looked-up searches 1, as every training.
        discretization_loss: Supernet's loss of the path that was taken minus that of the mixture, or of the best path.
        rank_correlation: Spearman's, of the supernet's losses and those of the table over what both hold.
        tripped: The guard that tripped, if any.
    """

    task: str
    seed: int
    architecture: str
    seconds: float
    training_seconds: float
    discretization_loss: float
    rank_correlation: float
    tripped: str

    @property
    def index(self) -> Index:
        """Choice index of every node."""
        return index_of(self.architecture)


class Records:
    """The searches of one strategy and discretization: a CSV file that is added to."""

    def __init__(self, folder: Path, part: Part, discretization: str) -> None:
        self.name = f"{part.strategy}-{discretization}" + ("-guarded" if part.guards else "")
        self.path = folder / f"{self.name}.csv"
        self.rows = {(row.task, row.seed): row for row in read_rows(self.path, Search)}

    def add(self, row: Search) -> None:
        """Takes in a search and writes all."""
        self.rows[row.task, row.seed] = row
        write_rows(self.path, Search, [one for _, one in sorted(self.rows.items())], digits=4)


def problem_of(task: KnownTask, seed: int) -> SearchProblem:
    """A search's problem; the test split is not in it."""
    data = made(task)
    return SearchProblem(
        space=space_of(task),
        data=data,
        weights=split_batch(data, "weights", CPU),
        architecture=split_batch(data, "architecture", CPU),
        training=TRAINING,
        search=SearchConfig(),
        seed=seed,
        device=CPU,
    )


def run(part: Part, task: KnownTask, seed: int, table: Truth) -> list[Search]:
    """One search, read out in every way."""
    problem = replace(problem_of(task, seed), search=SearchConfig(guards=part.guards))
    if part.is_looked_up:
        return [_looked_up(part, problem, table)]
    started = time.process_time()
    explored = STRATEGIES[part.strategy](problem)
    searched = time.process_time() - started
    tripped = (explored.guards.tripped or "") if explored.guards is not None else ""
    found: list[tuple[Architecture, float, float]] = []
    rank = _rank_correlation(problem, explored, table)
    for method in part.discretizations:
        started = time.process_time()
        if explored.network is None:
            assert explored.architecture is not None
            found.append((explored.architecture, float("nan"), searched))
            continue
        read = discretize(problem, explored, discretization_after(explored.guards, method))
        found.append((read.architecture, read.loss, searched + time.process_time() - started))
    late = next(reference.architecture for reference in problem.space.references if reference.kind == "late")
    started = time.process_time()
    trained = problem.train_from_scratch(late)
    full_length = (time.process_time() - started) / trained.num_epochs * TRAINING.num_epochs(len(problem.weights))
    return [
        Search(
            task=task.name,
            seed=seed,
            architecture=index_text(problem.space.index(architecture)),
            seconds=seconds,
            training_seconds=full_length,
            discretization_loss=loss,
            rank_correlation=rank,
            tripped=tripped,
        )
        for architecture, loss, seconds in found
    ]


def _looked_up(part: Part, problem: SearchProblem, table: Truth) -> Search:
    asked = []

    def evaluator(_problem: SearchProblem, architecture: Architecture) -> Tensor:
        index = problem.space.index(architecture)
        asked.append(index)
        return torch.full((len(problem.architecture),), table.rows[index, 0].architecture_loss)

    explored = STRATEGIES[part.strategy](replace(problem, evaluator=evaluator))
    assert explored.architecture is not None
    return Search(
        task=table.task.name,
        seed=problem.seed,
        architecture=index_text(problem.space.index(explored.architecture)),
        seconds=len(asked),
        training_seconds=1.0,
        discretization_loss=float("nan"),
        rank_correlation=float("nan"),
        tripped="",
    )


def _rank_correlation(problem: SearchProblem, explored: StrategyResult, table: Truth) -> float:
    if explored.network is None:
        return float("nan")
    scorer = PathScorer(explored.network, problem.data.task, problem.architecture, CPU)
    candidates = explored.candidates or score_candidates(problem.space, scorer)
    means = candidates.losses.mean(dim=1).tolist()
    pairs = [
        (mean, table.rows[index, 0].architecture_loss)
        for index, mean in zip(map(tuple, candidates.indices.tolist()), means, strict=True)
        if (index, 0) in table.rows
    ]
    if len(pairs) < 2:
        return float("nan")
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What a search is worth.

    Attributes:
        regret: Of the test score, in points; see the module.
        regret_of_highest: The same against the highest mean of the table, which is high partly by luck.
        score: Mean test score of what was found, in points.
        right_depth: Whether it reads where there is something to read; for `nothing`, whether it reads nothing.
        right_order: Whether its highest interaction order is the lowest that suffices.
        right_modalities: Whether it reads all that has to be read.
        collapsed: Whether it reads nothing though there is something to read.
    """

    regret: float
    regret_of_highest: float
    score: float
    right_depth: bool
    right_order: bool
    right_modalities: bool
    collapsed: bool


def mark(search: Search, table: Truth) -> Mark:
    """Marks a search by the table of its task."""
    space, answer = space_of(table.task), table.task.answer()
    found = space.at(search.index)
    depths = {tap_depth(tap) for tap in found.taps()}
    score = table.mean(search.index)
    return Mark(
        regret=100 * (table.best() - score),
        regret_of_highest=100 * (table.highest()[1] - score),
        score=100 * score,
        right_depth=set(answer.depths) <= depths if answer.depths else not depths,
        right_order=space.interaction_order(found) == answer.order,
        right_modalities=set(answer.modalities) <= set(found.modalities()),
        collapsed=bool(answer.depths) and not depths,
    )


def line(name: str, searches: Sequence[Search], tables: dict[str, Truth]) -> str:
    """One line of a table."""
    marks = [mark(search, tables[search.task]) for search in searches]
    regrets = [one.regret for one in marks]

    def share(values: Sequence[bool]) -> str:
        return f"{100 * float(np.mean(values)):.0f} %"

    def mean(values: Sequence[float]) -> str:
        known = [value for value in values if not np.isnan(value)]
        return f"{float(np.mean(known)):.2f}" if known else ""

    cost = [search.seconds / search.training_seconds for search in searches]
    cells = [
        name,
        str(len(searches)),
        share([regret <= 1 for regret in regrets]),
        share([one.regret_of_highest <= 1 for one in marks]),
        mean(regrets),
        f"{float(np.percentile(regrets, 95)):.1f}",
        share([one.right_depth for one in marks]),
        share([one.right_order for one in marks]),
        share([one.right_modalities for one in marks]),
        share([one.collapsed for one in marks]),
        mean(cost),
        mean([search.rank_correlation for search in searches]),
        share([bool(search.tripped) for search in searches]),
    ]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| searches of | how many | regret ≤ 1 | ≤ 1 of the highest | mean regret | 95th percentile | depth right | "
    "order right | modalities right | collapsed | cost | rank correlation | guard tripped |\n" + "| --- " * 13 + "|"
)


def report(folder: Path, tables: dict[str, Truth], command: str) -> str:
    """The page of all records."""
    lines, own, control = [HEAD], None, None
    for part in PLAN:
        for discretization in part.discretizations:
            records = Records(folder / "searches", part, discretization)
            rows = [row for row in records.rows.values() if TASKS[part.tasks](tables[row.task].task)]
            if not rows:
                continue
            lines.append(line(f"{records.name} ({part.tasks})", rows, tables))
            if records.name == "sampled-one_standard_error":
                own = records
            if part.strategy == "random":
                control = records
    text = "\n".join(lines) + "\n"
    if own is not None:
        kinds = dict.fromkeys(table.task.kind for table in tables.values())
        by_kind = [(tables[row.task].task, row) for row in own.rows.values()]
        of_kind = {kind: [row for task, row in by_kind if task.kind == kind and TASKS["all"](task)] for kind in kinds}
        text += "\n## The default, by kind of task\n\n" + "\n".join(
            [HEAD, *(line(kind, rows, tables) for kind, rows in of_kind.items() if rows)]
        )
        text += "\n"
    if own is not None and control is not None:
        text += "\n" + _paired(own, control, tables)
    return (
        f"{_OPENING}\n{text}\n{origin_told(provenance(command))}. Regrets in points of test accuracy, chance is 25; "
        "cost in trainings of late fusion at full length.\n"
    )


def _paired(own: Records, control: Records, tables: dict[str, Truth]) -> str:
    """The default against random search, by task: the mean over seeds of each is one pair."""
    differences = []
    for name, table in tables.items():
        both = [key for key in own.rows if key[0] == name and key in control.rows]
        if both:
            scores = [[mark(records.rows[key], table).score for key in both] for records in (own, control)]
            differences.append(float(np.mean(scores[0]) - np.mean(scores[1])))
    test = ttest_1samp(differences, 0.0)
    low, high = test.confidence_interval()
    return (
        f"Against `random`, which trains three architectures: {np.mean(differences):+.2f} points of test accuracy, "
        f"95 % interval [{low:+.2f}, {high:+.2f}], p = {test.pvalue:.1g} (paired t-test over {len(differences)} "
        "tasks).\n"
    )


_OPENING = """# known_answers: does the search find what is known to be right?

Forty made tasks of ten kinds (`nas.data.synthetic.known_tasks`) say by construction where there is something to read,
of which modalities, and by which interaction order. [`truth/`](truth) holds every architecture of their spaces,
trained from scratch (`python -m benchmarks.truth`; what is in it says `benchmarks/truth.py`), and
[`searches/`](searches) a row per search.

*Regret* is the mean test accuracy of the best architecture minus that of the one that was found, over four trainings
each, in points. Which one is best is picked by half of the trainings and judged by the other half; the highest mean
of the table, which is high partly by luck, stands beside it. *Order right* is strict: to add a second modality where
one would do counts as wrong, though it may cost nothing. *Collapsed* reads nothing where there is something to read.
*Cost* is in trainings of late fusion at full length. *Rank correlation* is Spearman's, of the supernet's losses and
those of trainings from scratch.

`evolution`, `tpe`, `nsga2`, `mfas` and `exhaustive` look their trainings up in the tables and ran on the thirty tasks
of two modalities; gradient strategies ran, without guards but for the line that says so, on the noisiest task of
every kind. *Held out* are the noisiest tasks made with another seed, at which nobody looked before the default was what
it is.
"""


def missing(folder: Path, tables: dict[str, Truth]) -> list[list[tuple[Truth, Index]]]:
    """What was found and is not trained yet with the fresh seeds, by form of task."""
    found: dict[str, set[Index]] = {}
    for part in PLAN:
        for discretization in part.discretizations:
            for search in Records(folder / "searches", part, discretization).rows.values():
                found.setdefault(search.task, set()).add(search.index)
    return [
        [(tables[task.name], index) for task in group for index in sorted(found.get(task.name, ()))]
        for group in groups([table.task for table in tables.values()])
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--strategies", nargs="*", help="strategies to run; all of the plan if absent")
    parser.add_argument("--seeds", type=int, nargs="*", help="of the searches to run; all of the plan if absent")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own default")
    parser.add_argument("--search-only", action="store_true", help="leave the table to another call")
    parser.add_argument("--out", type=Path, default=Path("results/known_answers"))
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    tables = {task.name: Truth(given.out / "truth", task) for task in marked_tasks()}
    for part in PLAN:
        if given.strategies and part.strategy not in given.strategies:
            continue
        records = [Records(given.out / "searches", part, method) for method in part.discretizations]
        for task in marked_tasks():
            for seed in range(part.seeds) if given.seeds is None else given.seeds:
                if TASKS[part.tasks](task) and any((task.name, seed) not in one.rows for one in records):
                    for one, row in zip(records, run(part, task, seed, tables[task.name]), strict=True):
                        one.add(row)
                        print(one.name, *astuple(row), flush=True)
    if given.search_only:
        return
    for some in missing(given.out, tables):
        own = list(dict.fromkeys(table.task.name for table, _ in some))
        jobs = [Job(task=own.index(table.task.name), index=index, seed=seed) for table, index in some for seed in FRESH]
        complete([tables[name] for name in own], jobs)
    text = report(given.out, tables, "python -m benchmarks.known_answers")
    print(text)
    write_atomically(given.out / "README.md", text.encode())


if __name__ == "__main__":
    main()
