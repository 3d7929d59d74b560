"""Discretization: from a trained supernet and its choice weights to one architecture, and what that costs in loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from nas.network.cost import CostTable
from nas.network.fusion_network import FusionNetwork, Selection
from nas.network.prediction import evaluation_losses, losses
from nas.seeding import seeded
from nas.space.architecture import Architecture
from nas.strategies.base import SearchProblem, StrategyResult
from nas.supernet.candidates import Candidates, score_candidates
from nas.supernet.path_scorer import PathScorer
from nas.training.epoch_loop import EpochLoop


@dataclass(frozen=True, kw_only=True, eq=False)
class Discretized:
    """One architecture and how the supernet judges it.

    Attributes:
        architecture: The decision.
        loss_before: Loss on the architecture split before discretization: of the mixture for gradient strategies, of
            the best path for `sampled`.
        loss_after: Loss of the decided path with the supernet's weights.
        candidates: All that were scored.
        cost: Multiply-adds of every part of the supernet.
    """

    architecture: Architecture
    loss_before: float
    loss_after: float
    candidates: Candidates
    cost: CostTable

    @property
    def loss(self) -> float:
        """What discretizing cost: loss after − loss before."""
        return self.loss_after - self.loss_before


Decide = Callable[[SearchProblem, FusionNetwork, StrategyResult, Candidates, CostTable], Architecture]


def one_standard_error(
    problem: SearchProblem, _network: FusionNetwork, _explored: StrategyResult, candidates: Candidates, cost: CostTable
) -> Architecture:
    """The simplest architecture that the supernet cannot tell apart from its best.

    Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3: of what lies within one standard error of
    the best, the simplest: the fewest steps, then the lowest interaction order, then the fewest multiply-adds.
    Departure: standard errors are *paired*, sample by sample. Nothing is trained: what the supernet knows too little of
    is up to the tournament.
    """
    near = np.flatnonzero(candidates.z().numpy() <= 1)
    architectures = [problem.space.at(candidates.indices[row].tolist()) for row in near]
    return min(architectures, key=lambda one: (len(one.steps), problem.space.interaction_order(one), cost.total(one)))


def argmax(
    problem: SearchProblem, _network: FusionNetwork, explored: StrategyResult, _candidates: Candidates, _cost: CostTable
) -> Architecture:
    """The choice of the largest weight at every node, `none` included.

    Liu et al. 2019, "DARTS: Differentiable Architecture Search", section 2.4. Departure: the paper leaves `none` out.
    """
    index = tuple(
        max(range(len(node.choices)), key=explored.choice_weights[node.name].__getitem__)
        for node in problem.space.nodes
    )
    return problem.space.at(index)


def perturbation(
    problem: SearchProblem, network: FusionNetwork, explored: StrategyResult, _candidates: Candidates, _cost: CostTable
) -> Architecture:
    """Keeps at every node the choice whose removal from the mixture hurts most.

    Wang et al. 2021, "Rethinking Architecture Selection in Differentiable NAS" (DARTS-PT): nodes are decided one after
    another in random order, with a short fine-tuning of the supernet after each. Departures: loss instead of accuracy
    on the architecture split, evaluation-mode BatchNorm, and one epoch of fine-tuning at a tenth of the learning rate.
    """
    device, task = problem.device, problem.data.task
    generator = problem.generator()
    weights = {name: torch.tensor(values, device=device) for name, values in explored.choice_weights.items()}

    def loss_of(selection: Selection) -> float:
        return float(evaluation_losses(task, network, problem.architecture, device, selection).mean())

    undecided = [node for node in problem.space.nodes if len(node.choices) > 1]
    decided = {node.name: 0 for node in problem.space.nodes if len(node.choices) == 1}
    generator.shuffle(undecided)
    for node in undecided:
        hurt = []
        for index in range(len(node.choices)):
            masked = weights[node.name].clone()
            masked[index] = 0
            masked = masked / masked.sum().clamp(min=1e-12)
            hurt.append(loss_of({**weights, **decided, node.name: masked}))
        decided[node.name] = max(range(len(hurt)), key=hurt.__getitem__)
        _fine_tune(problem, network, {**weights, **decided})
    return problem.space.at(tuple(decided[node.name] for node in problem.space.nodes))


def _fine_tune(problem: SearchProblem, network: FusionNetwork, selection: Mapping[str, Tensor | int]) -> None:
    config = replace(problem.training, learning_rate=problem.training.learning_rate / 10)
    with seeded(problem.seed) as generator:
        loop = EpochLoop(
            network,
            problem.weights,
            config,
            num_epochs=1,
            generator=generator,
            seed=problem.seed,
            device=problem.device,
        )
        loop.run(lambda part, _progress: losses(problem.data.task, network, part, selection).mean())


DISCRETIZATIONS: Mapping[str, Decide] = {
    "one_standard_error": one_standard_error,
    "argmax": argmax,
    "perturbation": perturbation,
}


def discretize(problem: SearchProblem, explored: StrategyResult, method: str) -> Discretized:
    """Decides on one architecture and measures what the step costs.

    Args:
        problem: Of the search.
        explored: With a trained supernet.
        method: A name of `DISCRETIZATIONS`.
    """
    network = explored.network
    assert network is not None
    cost = problem.cost(network)
    candidates = explored.candidates or score_candidates(
        problem.space, PathScorer(network, problem.data.task, problem.architecture, problem.device)
    )
    architecture = DISCRETIZATIONS[method](problem, network, explored, candidates, cost)
    # Anew, for deciding may have changed the weights.
    scorer = PathScorer(network, problem.data.task, problem.architecture, problem.device)
    return Discretized(
        architecture=architecture,
        loss_before=explored.loss,
        loss_after=scorer.loss(architecture),
        candidates=candidates.including(problem.space.index(architecture), scorer),
        cost=cost,
    )
