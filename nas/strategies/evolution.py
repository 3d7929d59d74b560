"""Ageing evolution: mutate the best of a few members, add the child, let the oldest die.

Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search", Algorithm 1. Departures: a
population of 10 and samples of 4 instead of 100 and 25, since there are tens of trainings and not twenty thousand; the
fitness is the loss on the architecture split instead of accuracy; a mutation gives one node another choice
(`SearchSpace.mutate`), there is no identity mutation; and a child that was trained before joins with the loss of then.
"""

from __future__ import annotations

import random
from collections import deque

from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.strategies.ask_tell import START, TRAININGS, ask_tell
from nas.strategies.base import SearchProblem, StrategyResult

SAMPLE_SIZE = 4
"""Of how many members the best becomes the parent."""


class Ageing:
    """A population that is a queue.

    Args:
        space: Of the architectures.
        generator: Of all draws.
        population_size: Members after the start, each drawn at random.
        sample_size: Members that are drawn, with repetition as in the paper, to find a parent among.

    Attributes:
        population: (architecture, loss), the oldest first.
    """

    def __init__(
        self,
        space: SearchSpace,
        generator: random.Random,
        *,
        population_size: int = START,
        sample_size: int = SAMPLE_SIZE,
    ) -> None:
        self.space = space
        self.generator = generator
        self.sample_size = sample_size
        self.population: deque[tuple[Architecture, float]] = deque(maxlen=population_size)

    def ask(self) -> Architecture:
        """A random architecture until the population is full, then a child."""
        if len(self.population) < (self.population.maxlen or 0):
            return self.space.sample(self.generator)
        parent, _ = min(self.generator.choices(self.population, k=self.sample_size), key=lambda member: member[1])
        return self.space.mutate(parent, self.generator)

    def tell(self, architecture: Architecture, loss: float) -> None:
        """Adds a member; of a full population the oldest dies."""
        self.population.append((architecture, loss))

    def members(self) -> list[Architecture]:
        """The living, the oldest first."""
        return [architecture for architecture, _ in self.population]


def evolution(problem: SearchProblem) -> StrategyResult:
    """Searches by ageing evolution; choice weights are the shares of the population's choices."""
    sampler = Ageing(problem.space, problem.generator())
    trainings = problem.search.max_trials or TRAININGS
    return ask_tell(problem, sampler, trainings=trainings, believed=sampler.members).explored()
