"""The loop that black-box strategies share: ask a sampler for an architecture, train it from scratch, tell its loss.

A sampler sees losses alone, so the loop is a function of the seed and of what the evaluations came to: run again with
evaluations that are remembered, it goes the same way. No architecture is trained twice: to be asked for again costs
nothing, and the sampler is told what was found the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.strategies.base import SearchProblem, StrategyResult

TRAININGS = 40
"""Automatic number of trainings for a sampler that learns: `START` to learn from, three times as many that it guides.

With fewer it is random search in the main. More would find better architectures still, but each is a whole training,
and 40 of them already cost more than ten times what a search with a supernet does."""

START = 10
"""How many architectures a sampler that learns draws at random before anything guides it."""

MAX_REPEATS = 100
"""After so many architectures in a row that were tried before, the sampler has nothing new to say."""


class Sampler(Protocol):
    """What a black-box strategy consists of."""

    def ask(self) -> Architecture | None:
        """The next architecture to try, which may have been tried before; None if there is nothing left to try."""

    def tell(self, architecture: Architecture, loss: float) -> None:
        """Takes the mean loss on the architecture split of the architecture that was asked for last."""


Believed = Callable[[], Iterable[Architecture]]
"""The architectures whose choices a strategy's choice weights are the shares of."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tried:
    """What the loop came to.

    Attributes:
        losses: Architecture to its losses on the samples of the architecture split, (samples,), in the order in which
            they were trained.
        choice_weights: Node to the shares of its choices.
    """

    losses: Mapping[Architecture, Tensor]
    choice_weights: Mapping[str, list[float]]

    def best(self) -> Architecture:
        """The one of the lowest mean loss; of equals the first."""
        return min(self.losses, key=lambda architecture: float(self.losses[architecture].mean()))

    def explored(self) -> StrategyResult:
        """The best one as a strategy's decision."""
        best = self.best()
        return StrategyResult(
            network=None, choice_weights=self.choice_weights, architecture=best, loss=float(self.losses[best].mean())
        )


def ask_tell(problem: SearchProblem, sampler: Sampler, *, trainings: int, believed: Believed | None = None) -> Tried:
    """Asks, trains and tells until enough was trained, the budget is spent, or nothing new is asked for.

    Args:
        problem: With the budget.
        sampler: Asked for architectures of the problem's space.
        trainings: At most so many, at least one.
        believed: What choice weights are the shares of; None for all that was tried.
    """
    losses: dict[Architecture, Tensor] = {}
    repeats, counts = 0, _no_counts(problem.space)
    while len(losses) < min(trainings, problem.space.size()) and repeats < MAX_REPEATS:
        architecture = sampler.ask()
        if architecture is None:
            break
        is_new = architecture not in losses
        repeats = 0 if is_new else repeats + 1
        if is_new:
            losses[architecture] = problem.evaluate(architecture)
        loss = float(losses[architecture].mean())
        sampler.tell(architecture, loss)
        if not is_new:
            continue
        if believed is not None:
            counts = _no_counts(problem.space)
        for one in [architecture] if believed is None else believed():
            for node, index in problem.space.path(one).items():
                counts[node][index] += 1
        choice_weights = shares(counts)
        problem.log_search(
            problem.log,
            step=len(losses),
            epoch=len(losses),
            train_loss=None,
            architecture_loss=loss,
            choice_weights=choice_weights,
        )
        if problem.spent() >= 1:
            break
    return Tried(losses=losses, choice_weights=shares(counts))


def _no_counts(space: SearchSpace) -> dict[str, list[int]]:
    return {node.name: [0] * len(node.choices) for node in space.nodes}


def shares(counts: Mapping[str, Sequence[int]]) -> dict[str, list[float]]:
    """For every node the counts of its choices as shares that sum to one; all alike where nothing was counted."""
    return {
        node: [count / sum(values) if any(values) else 1 / len(values) for count in values]
        for node, values in counts.items()
    }
