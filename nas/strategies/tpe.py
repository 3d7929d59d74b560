"""TPE: draw choices that are frequent among the good architectures and rare among the others.

Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", section 4, as Optuna has it (Watanabe 2023,
"Tree-Structured Parzen Estimator: Understanding Its Algorithm Components and Their Roles for Better Empirical
Performance"). Departures: every node is one categorical parameter of its own, so what a node chooses is modelled apart
from what the others do; and an architecture that is suggested again is told again, not trained again.
"""

from __future__ import annotations

from optuna.samplers import TPESampler

from nas.strategies.ask_tell import START, TRAININGS, ask_tell
from nas.strategies.base import SearchProblem, StrategyResult
from nas.strategies.optuna_study import OptunaSampler


def tpe(problem: SearchProblem) -> StrategyResult:
    """Searches by TPE."""
    # The default of `multivariate` is not the same in all versions of Optuna.
    guide = TPESampler(seed=problem.seed, n_startup_trials=START, multivariate=False)
    sampler = OptunaSampler(problem.space, guide)
    return ask_tell(problem, sampler, trainings=problem.search.max_trials or TRAININGS).explored()
