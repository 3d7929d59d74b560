"""Optuna's samplers behind the ask/tell interface: a categorical parameter per node, the index of its choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import optuna

from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace

Objectives = Callable[[Architecture, float], Sequence[float]]
"""From an architecture and its loss to all that shall become small."""


class OptunaSampler:
    """A study in memory.

    Args:
        space: Of the architectures.
        sampler: Of Optuna, seeded.
        objectives: What is minimised, from an architecture and its loss.
        num_objectives: How many numbers that is.
    """

    def __init__(
        self,
        space: SearchSpace,
        sampler: optuna.samplers.BaseSampler,
        *,
        objectives: Objectives = lambda _architecture, loss: [loss],
        num_objectives: int = 1,
    ) -> None:
        self.space = space
        self.objectives = objectives
        with _quiet():
            self.study = optuna.create_study(sampler=sampler, directions=["minimize"] * num_objectives)
        self._choices: dict[str, optuna.distributions.BaseDistribution] = {
            node.name: optuna.distributions.CategoricalDistribution(range(len(node.choices))) for node in space.nodes
        }

    def ask(self) -> Architecture:
        """What the study suggests."""
        self._trial = self.study.ask(self._choices)
        return self.space.at(tuple(self._trial.params[node.name] for node in self.space.nodes))

    def tell(self, architecture: Architecture, loss: float) -> None:
        """Ends the trial that was asked for last."""
        self.study.tell(self._trial, self.objectives(architecture, loss))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Optuna from announcing the study on stderr, and leaves its level as it was."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
