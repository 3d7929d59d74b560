"""Plain DARTS with argmax where it fails: the mixing weights of a search that ends in nothing, as a picture.

    python -m benchmarks.collapse --out docs/collapse

On tasks of known answer first-order DARTS is run without guards and read out by argmax. Drawn are the weights of every
node over the search; told are the test scores, trained from scratch, of what argmax takes, of what the default finds,
and of the best architecture of the exhaustive table.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.known_answers import CPU, problem_of
from benchmarks.truth import Truth
from nas.config import SearchConfig
from nas.data.batches import split_batch
from nas.data.synthetic import KnownTask, known_tasks
from nas.discretize.discretize import discretize
from nas.metrics import score
from nas.network.prediction import predict
from nas.report.style import ACCENT, INK, figure_style, to_png
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.space.architecture import Architecture, Choice
from nas.strategies import STRATEGIES, SearchProblem

TASKS = ("staged-d1-m2-t1-n0.4-s0", "bilinear-d1-m2-t1-n0.4-s0")

COLOURS = {0: "#c9cdd8", 1: "#56b4e9", 2: "#009e73", 3: "#d55e00", 4: ACCENT}
"""Number of a choice's family, nothing, carry, additive, multiplicative and higher, to colour."""

FAMILIES = ("nothing", "one modality alone", "sum", "product", "mlp")


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """One search of one task.

    Attributes:
        task: Which.
        nodes: Names of the nodes.
        steps: At which weights were recorded.
        weights: Of every family at every node and step, (nodes, steps, families).
        argmax: What argmax took.
        default: What the default search found.
        scores: Test accuracy in % of both, and of the best in the table.
        mixture_loss: Cross-entropy of the mixture on the architecture split.
    """

    task: KnownTask
    nodes: Sequence[str]
    steps: Sequence[int]
    weights: np.ndarray[Any, np.dtype[np.float64]]
    argmax: Architecture
    default: Architecture
    scores: tuple[float, float, float]
    mixture_loss: float


def collapse(task: KnownTask, table: Truth, seed: int = 0) -> Collapse:
    """Searches by plain DARTS and by the default."""
    records: list[Mapping[str, Any]] = []
    problem = problem_of(task, seed)
    plain = replace(problem, search=SearchConfig(guards=False), log=records.append)
    mixed = STRATEGIES["darts"](plain)
    argmax = discretize(plain, mixed, "argmax").architecture
    default = discretize(problem, STRATEGIES["sampled"](problem), "one_standard_error").architecture
    families = [[family(choice) for choice in node.choices] for node in problem.space.nodes]
    weights = np.zeros((len(families), len(records), len(FAMILIES)))
    for step, record in enumerate(records):
        for number, node in enumerate(problem.space.nodes):
            np.add.at(weights[number, step], families[number], record["mixing_weights"][node.name])
    return Collapse(
        task=task,
        nodes=[node.name for node in problem.space.nodes],
        steps=[record["step"] for record in records],
        weights=weights,
        argmax=argmax,
        default=default,
        scores=(test_score(problem, argmax), test_score(problem, default), 100 * table.best()),
        mixture_loss=mixed.loss,
    )


def family(choice: Choice) -> int:
    """Which of `FAMILIES` a choice is of."""
    if not choice.inputs:
        return 0
    return {"carry": 1, "additive": 2, "multiplicative": 3}.get(choice.operation, 4)


def test_score(problem: SearchProblem, architecture: Architecture) -> float:
    """Test accuracy in % of an architecture that was trained from scratch."""
    network = problem.train_from_scratch(architecture).network
    outputs, targets = predict(network, split_batch(problem.data, "test", CPU), CPU)
    return 100 * score("accuracy", outputs.numpy(), targets.numpy())


def draw(found: Sequence[Collapse]) -> Figure:
    """One row a task, one column a node: shares of the families over the steps of the search."""
    columns = len(found[0].nodes)
    figure = Figure(figsize=(9.6, 2.9 * len(found) + 0.5))
    axes = figure.subplots(len(found), columns, sharey=True, squeeze=False)
    for row, one in zip(axes, found, strict=True):
        for number, (panel, node) in enumerate(zip(row, one.nodes, strict=True)):
            _stack(panel, one, number)
            panel.set_title(f"{one.task.kind}: {node.replace('fusion', 'depth ')}", loc="left", fontsize=10)
        row[0].set_ylabel("mixing weight")
    for panel in axes[-1]:
        panel.set_xlabel("step of the search")
    figure.legend(axes[0, 0].collections, FAMILIES, loc="upper center", ncols=len(FAMILIES), frameon=False, fontsize=9)
    figure.subplots_adjust(left=0.08, right=0.985, top=0.88, bottom=0.09, hspace=0.38, wspace=0.1)
    return figure


def _stack(panel: Axes, one: Collapse, number: int) -> None:
    panel.stackplot(one.steps, one.weights[number].T, colors=list(COLOURS.values()), linewidth=0)
    panel.set(xlim=(one.steps[0], one.steps[-1]), ylim=(0, 1))
    panel.grid(visible=False)
    made = {step.name: step.choice for step in one.argmax.steps}
    taken = FAMILIES[family(made.get(one.nodes[number], Choice("none")))]
    panel.text(
        0.97, 0.06, f"argmax: {taken}", transform=panel.transAxes, ha="right", fontsize=9, color=INK, weight="bold"
    )


def page(found: Sequence[Collapse], command: str) -> str:
    """The figure's page."""
    lines = [
        "| task | loss of the mixture | plain darts, argmax | test | the default | test | best of the table |",
        "| --- " * 7 + "|",
        *(
            f"| {one.task.kind} | {one.mixture_loss:.2f} | {one.argmax.in_words()} | {one.scores[0]:.1f} % | "
            f"{one.default.in_words()} | {one.scores[1]:.1f} % | {one.scores[2]:.1f} % |"
            for one in found
        ),
    ]
    origin = provenance(command)
    return _TEXT.format(
        table="\n".join(lines),
        command=command,
        commit=origin.commit,
        started_at=origin.started_at,
        hardware=origin.hardware,
    )


_TEXT = """# Why not plain DARTS

Two tasks whose best fusion is known: one product of both modalities at depth 1 (*bilinear*), and one at depth 1 plus
another at the last (*staged*). First-order DARTS without guards mixes all choices of a node by a softmax and takes the
largest weights in the end (argmax). The picture shows the weights of every node over the search, choices of one family
added up.

![Mixing weights over the search](darts.png)

{table}

The mixture learns: a constant answer has a loss of log 4 = 1.39. But the share of *nothing* grows at every node all the
same, and argmax takes it. In a mixture every choice is trained as a part of the whole, never by itself; the weights say
what each contributes *there*, the network's own weights can make up for a share that shrinks, and how good an
architecture made of the largest shares would be, nothing ever asks.

The guards (`nas.supernet.guards`) see this while the search runs: the path of the largest weights does no better than a
constant answer though the mixture does. They stop it, and the validated read-out decides. The default goes another way:
it trains paths, not mixtures, and lets short trainings decide between what the paths propose. How often either is right
is in [`results/known_answers`](../../results/known_answers/README.md).

`{command}`, commit {commit}, {started_at}, {hardware}. Test accuracy, one training from scratch; chance is 25 %.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own default")
    parser.add_argument("--truth", type=Path, default=Path("results/known_answers/truth"))
    parser.add_argument("--out", type=Path, default=Path("docs/collapse"))
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    tasks = {task.name: task for task in known_tasks()}
    found = [collapse(tasks[name], Truth(given.truth, tasks[name])) for name in TASKS]
    with figure_style():
        write_atomically(given.out / "darts.png", to_png(draw(found)))
    text = page(found, "python -m benchmarks.collapse")
    print(text)
    write_atomically(given.out / "README.md", text.encode())


if __name__ == "__main__":
    main()
