"""Guards: a gradient search that collapses is seen while it runs, stopped, and read out by what was validated.

Every so often four numbers are taken on a fixed part of the architecture split, which cost a small share of an epoch:

- `none_share`: mean over nodes of the weight on choices that read nothing;
- `nothing_nodes`: how many nodes give their largest weight to such a choice;
- `eigenvalue`: dominant eigenvalue of the Hessian of the loss with respect to the architecture parameters;
- `discretization`: loss of the path of the largest weights, with the supernet's weights, minus that of the mixture.

Three guards judge them, see `NAMES`. Zela et al. 2020, "Understanding and Robustifying Differentiable Architecture
Search", found that where the eigenvalue rises, discretizing costs more and what is found generalises worse, and stop
before the rise. Departures from their rule: the eigenvalue is taken on one fixed batch without dropout and by few steps
of power iteration, each going on from the last; it counts while discretizing would lose all that the mixture knows,
since as weights learn it rises in many a search that does well; and what is restored is the last look whose own
eigenvalue had not risen, instead of one a window earlier.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from nas.data.batches import Batch
from nas.metrics import constant_losses
from nas.network.fusion_network import Selection
from nas.network.prediction import evaluation_losses, losses
from nas.supernet.curvature import dominant_eigenvalue
from nas.supernet.path_scorer import PathScorer, scored_samples, standard_errors
from nas.supernet.supernet import Supernet
from nas.tasks import Task

NAMES: Mapping[str, str] = {
    "nothing": "every fusion node came to prefer doing nothing, though the supernet knows more than a constant answer",
    "curvature": "the loss grew ever more sharply curved in the architecture, which makes discretizing unsafe",
    "discretization": "the path of the largest weights did no better than a constant answer, though the mixture did",
}
"""Guard to what it has seen when it trips."""

FALLBACK = "one_standard_error"
"""The discretization of a search that has tripped: it judges paths by themselves, and trains where it has to."""

LOOKS = 14
"""At most so many looks a search, evenly spaced: every third of the 40 epochs of a small data set."""

SAMPLES = 128
"""Of the architecture split, for losses: a standard error of a tenth of the losses' deviation."""

CURVATURE_SAMPLES = 64
"""Of these, for the Hessian: as many as a step of the search has."""

ITERATIONS = 4
"""Of power iteration a look: the Hessian changes little between looks, and each goes on from the last."""

WARM_UP = 1 / 3
"""Share of the search in which no guard trips and no state is good: the learning rate of the weights has its peak at
0.15 of it, and eigenvalue and paths of a supernet that has hardly learned say nothing."""

WINDOW = 3
"""Looks that are averaged, nine epochs where there are 40; Zela et al. average over five of 50."""

RATIO = 0.75
"""Trips where the mean of the window before, divided by that of this window, is below it; theirs."""

IN_A_ROW = 3
"""Looks at which all nodes prefer nothing: one may be passing, as weights that lie close change places."""

STANDARD_ERRORS = 2.0
"""By which a loss must differ from a constant answer's to count as better or worse, paired by sample."""

BEST_STANDARD_ERRORS = 4.0
"""The same for the best of many paths: of a hundred of no worth one would be that good in three of a thousand cases."""


@dataclass(frozen=True, kw_only=True)
class GuardReading:
    """What was seen at one look.

    Attributes:
        epoch: Counted from 1.
        progress: Of the search, 0 to 1.
        none_share: See the module, 0 to 1.
        nothing_nodes: See the module.
        num_nodes: All of them.
        eigenvalue: See the module.
        discretization: See the module.
        path_gain: Standard errors by which the path of the largest weights is better than a constant answer.
        mixture_gain: The same of the mixture.
        best_gain: The same of the best path in which one node reads something, where all nodes prefer nothing; else −∞.
    """

    epoch: int
    progress: float
    none_share: float
    nothing_nodes: int
    num_nodes: int
    eigenvalue: float
    discretization: float
    path_gain: float
    mixture_gain: float
    best_gain: float = -math.inf

    @property
    def knows_more(self) -> bool:
        """Whether the mixture is better than a constant answer."""
        return self.mixture_gain > STANDARD_ERRORS

    @property
    def is_lossy(self) -> bool:
        """Whether that would be lost: the mixture is better than a constant answer, and the path is not."""
        return self.knows_more and self.path_gain <= STANDARD_ERRORS

    def values(self) -> dict[str, float]:
        """What is logged."""
        return {
            "none_share": self.none_share,
            "nothing_nodes": self.nothing_nodes,
            "eigenvalue": self.eigenvalue,
            "discretization": self.discretization,
        }


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """How a guarded search ended.

    Attributes:
        tripped: Name of the guard, or None.
        epoch: Of the look at which it tripped, or of the last look.
        restored_epoch: Of the state that was restored; None if none was, as where no look was good.
        values: Of that look.
    """

    tripped: str | None
    epoch: int
    restored_epoch: int | None
    values: Mapping[str, float]

    def in_words(self, *, fell_back: bool) -> str:
        """One sentence.

        Args:
            fell_back: Whether another discretization than the fallback had been asked for.
        """
        if self.tripped is None:
            return f"No guard tripped: the search showed no sign of collapse up to epoch {self.epoch}."
        state = "" if self.restored_epoch is None else f", it went back to epoch {self.restored_epoch}"
        read = f", and {FALLBACK} decided instead of what was asked for" if fell_back else ""
        return (
            f"The search was stopped by the guard {self.tripped!r} in epoch {self.epoch}: {NAMES[self.tripped]}"
            f"{state}{read}."
        )


def discretization_after(guarded: Guarded | None, asked: str) -> str:
    """The discretization to use: what was asked for, unless a guard has tripped."""
    return asked if guarded is None or guarded.tripped is None else FALLBACK


def warning_sign(looks: Sequence[GuardReading], *, is_last: bool) -> str | None:
    """The guard that the last of the looks alone gives reason to suspect, or None if its state is good.

    Args:
        looks: In order, at least one.
        is_last: Whether the search ends with it; what discretizing costs counts only then, since it often falls late.
    """
    now = looks[-1]
    if now.nothing_nodes == now.num_nodes and (now.knows_more or now.best_gain > BEST_STANDARD_ERRORS):
        return "nothing"
    before = [abs(look.eigenvalue) for look in looks[:-1]][-WINDOW:]
    if before and now.is_lossy and sum(before) / len(before) < RATIO * abs(now.eigenvalue):
        return "curvature"
    return "discretization" if is_last and now.is_lossy else None


def judge(looks: Sequence[GuardReading], *, is_last: bool) -> str | None:
    """The guard that trips at the last of the looks, or None.

    Args:
        looks: In order, at least one; those of the warm-up may be among them and are passed over.
        is_last: Whether the search ends with it.
    """
    looks = [look for look in looks if look.progress >= WARM_UP]
    if not looks:
        return None
    found = warning_sign(looks, is_last=is_last)
    if found == "nothing":
        recent = [warning_sign(looks[: i + 1], is_last=False) for i in range(len(looks))][-IN_A_ROW:]
        return found if is_last or recent == ["nothing"] * IN_A_ROW else None
    if len(looks) >= 2 * WINDOW and looks[-1].is_lossy:
        eigenvalues = [abs(look.eigenvalue) for look in looks[-2 * WINDOW :]]
        if sum(eigenvalues[:WINDOW]) < RATIO * sum(eigenvalues[WINDOW:]):
            return "curvature"
    return found if found == "discretization" else None


class Guards:
    """Looks at a search, and remembers its last good state.

    Nothing here draws from the generators of the search,
    which goes on as if it had not been looked at.

    Args:
        supernet: That is searched.
        mixture: What it is judged by.
        task: What the target is.
        architecture: The architecture split.
        targets: Of the weights split, for the constant answer.
        device: Where the supernet is.
    """

    def __init__(
        self,
        supernet: Supernet,
        mixture: Callable[[Supernet], Selection],
        task: Task,
        architecture: Batch,
        targets: Tensor,
        device: torch.device,
    ) -> None:
        self.supernet = supernet
        self.mixture = mixture
        self.task: Task = task
        self.device = device
        self.batch = scored_samples(architecture, SAMPLES).to(device)
        self.constant = constant_losses(task, self.batch.targets.cpu(), targets.cpu())
        self.looks: list[GuardReading] = []
        size = sum(parameter.numel() for parameter in supernet.architecture_parameters())
        self.vector = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(device)
        self.good: tuple[int, dict[str, Tensor]] | None = None
        self.tripped: str | None = None

    def state_dict(self) -> dict[str, Any]:
        """What is remembered between looks."""
        return {
            "looks": [asdict(look) for look in self.looks],
            "vector": self.vector,
            "good": self.good,
            "tripped": self.tripped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remembers what another one did."""
        self.looks = [GuardReading(**look) for look in state["looks"]]
        self.vector = state["vector"].to(self.device)
        self.good = None if state["good"] is None else (int(state["good"][0]), dict(state["good"][1]))
        self.tripped = state["tripped"]

    def look(self, epoch: int, weights: Mapping[str, Tensor], *, progress: float, is_last: bool) -> dict[str, float]:
        """Takes the numbers, judges them, and keeps the state if it is good.

        Args:
            epoch: Counted from 1.
            weights: Node to a distribution over its choices, (choices,): what would be read out now.
            progress: Of the search, 0 to 1.
            is_last: Whether the search ends now.

        Returns:
            What is logged.
        """
        self.looks.append(self._look(epoch, weights, progress))
        self.tripped = judge(self.looks, is_last=is_last)
        if progress >= WARM_UP and warning_sign(self.looks, is_last=is_last) is None and self.tripped is None:
            self.good = epoch, {name: value.clone() for name, value in self.supernet.state_dict().items()}
        return self.looks[-1].values()

    def end(self) -> Guarded | None:
        """Restores the last good state if a guard has tripped and there is one, and tells how the search ended.

        Without a single look there is nothing to tell: None.
        """
        if not self.looks:
            return None
        restored = None
        if self.tripped is not None and self.good is not None:
            restored, state = self.good
            self.supernet.load_state_dict(state)
        last = self.looks[-1]
        return Guarded(tripped=self.tripped, epoch=last.epoch, restored_epoch=restored, values=last.values())

    def _look(self, epoch: int, weights: Mapping[str, Tensor], progress: float) -> GuardReading:
        network = self.supernet.network.eval()
        nodes = network.space.nodes
        weights = {name: values.detach() for name, values in weights.items()}
        path = {node.name: int(weights[node.name].argmax()) for node in nodes}
        preferring = [path[node.name] in node.idle for node in nodes]
        with torch.no_grad():
            mixed = self._losses(self.mixture(self.supernet))
        chosen = self._losses(path)
        eigenvalue, self.vector = dominant_eigenvalue(
            self._curved_loss, self.supernet.architecture_parameters(), self.vector, num_iterations=ITERATIONS
        )
        return GuardReading(
            epoch=epoch,
            progress=progress,
            none_share=sum(float(weights[node.name][node.idle].sum()) for node in nodes) / len(nodes),
            nothing_nodes=sum(preferring),
            num_nodes=len(nodes),
            eigenvalue=eigenvalue,
            discretization=float(chosen.mean() - mixed.mean()),
            path_gain=float(standard_errors(self.constant - chosen)),
            mixture_gain=float(standard_errors(self.constant - mixed)),
            best_gain=self._best_gain(path) if all(preferring) else -math.inf,
        )

    def _losses(self, selection: Selection) -> Tensor:
        return evaluation_losses(self.task, self.supernet.network, self.batch, self.device, selection)

    def _curved_loss(self) -> Tensor:
        part = self.batch.take(slice(0, CURVATURE_SAMPLES))
        return losses(self.task, self.supernet.network, part, self.mixture(self.supernet)).mean()

    def _best_gain(self, idle: Mapping[str, int]) -> float:
        """Of the paths that differ from an idle one at one node."""
        network = self.supernet.network
        rows = [
            tuple(index if other is node else idle[other.name] for other in network.space.nodes)
            for node in network.space.nodes
            for index, choice in enumerate(node.choices)
            if choice.inputs
        ]
        scorer = PathScorer(network, self.task, self.batch, self.device)
        return max((float(standard_errors(self.constant - row)) for row in scorer.losses(rows)), default=-math.inf)
