"""The control: architectures drawn at random, each trained from scratch, the best one kept.

Li and Talwalkar 2019, "Random Search and Reproducibility for Neural Architecture Search". How many are trained is set
so that it costs what a search costs: three trainings by default. An architecture that was drawn before is drawn again.
The test split is not read.
"""

from __future__ import annotations

import random as python_random

from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.strategies.ask_tell import ask_tell
from nas.strategies.base import SearchProblem, StrategyResult

TRAININGS = 3
"""Automatic number of trainings."""


class RandomSampler:
    """Draws every choice of every node with equal probability, whatever it is told.

    Args:
        space: To draw from.
        generator: Of the draws.
    """

    def __init__(self, space: SearchSpace, generator: python_random.Random) -> None:
        self.space = space
        self.generator = generator

    def ask(self) -> Architecture:
        """A random architecture."""
        return self.space.sample(self.generator)

    def tell(self, architecture: Architecture, loss: float) -> None:
        """Learns nothing."""


def random(problem: SearchProblem) -> StrategyResult:
    """Searches at random."""
    sampler = RandomSampler(problem.space, problem.generator())
    return ask_tell(problem, sampler, trainings=problem.search.max_trials or TRAININGS).explored()
