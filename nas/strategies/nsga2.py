"""NSGA-II: a population that moves towards low loss and few multiply-adds at once.

Deb et al. 2002, "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", as Optuna has it: non-dominated
sorting, crowding distance, and for categories uniform crossover and mutation of one node in the mean. Departures: a
population of 8 instead of 100, since there are tens of trainings. Multiply-adds are those of the whole network,
encoders included.

The result is the set of all that was tried and is not dominated. The single decision is its cheapest member that lies
within one paired standard error of the lowest loss, as in `nas.discretize.discretize.one_standard_error`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from optuna.samplers import NSGAIISampler

from nas.space.architecture import Architecture
from nas.strategies.ask_tell import TRAININGS, Tried, ask_tell
from nas.strategies.base import ParetoPoint, SearchProblem, StrategyResult
from nas.strategies.optuna_study import OptunaSampler
from nas.strategies.pareto import pareto_front
from nas.supernet.path_scorer import paired_z

POPULATION_SIZE = 8


def nsga2(problem: SearchProblem) -> StrategyResult:
    """Searches by NSGA-II."""
    cost = problem.cost()

    def objectives(architecture: Architecture, loss: float) -> Sequence[float]:
        return [loss, cost.total(architecture)]

    guide = NSGAIISampler(seed=problem.seed, population_size=POPULATION_SIZE)
    sampler = OptunaSampler(problem.space, guide, objectives=objectives, num_objectives=2)
    tried = ask_tell(problem, sampler, trainings=problem.search.max_trials or TRAININGS)
    points = [
        ParetoPoint(architecture=architecture, loss=float(losses.mean()), multiply_adds=cost.total(architecture))
        for architecture, losses in tried.losses.items()
    ]
    front = pareto_front([(point.multiply_adds, -point.loss) for point in points])
    pareto = sorted((p for p, on_front in zip(points, front, strict=True) if on_front), key=lambda p: p.multiply_adds)
    chosen = cheapest_of_the_best(pareto, tried)
    return replace(tried.explored(), architecture=chosen.architecture, loss=chosen.loss, pareto=tuple(pareto))


def cheapest_of_the_best(pareto: Sequence[ParetoPoint], tried: Tried) -> ParetoPoint:
    """The first of a front, ordered by cost, whose loss lies within one paired standard error of the lowest."""
    losses = torch.stack([tried.losses[point.architecture] for point in pareto])
    z = paired_z(losses, tried.losses[tried.best()])
    return next(point for point, errors_behind in zip(pareto, z.tolist(), strict=True) if errors_behind <= 1)
