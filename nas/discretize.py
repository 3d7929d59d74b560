"""Discretization: from a trained supernet and its beliefs to one architecture, and what that step costs in loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.architecture import Architecture
from nas.candidates import Candidates, score_candidates
from nas.cost import CostTable
from nas.data.batches import shuffled
from nas.graph import FusionNetwork, Selection
from nas.scoring import PathScorer, paired_z
from nas.strategies.base import Explored, Problem
from nas.training import autocast, losses, make_optimizer, seeded, step, steps_per_epoch


@dataclass(frozen=True, kw_only=True, eq=False)
class Discretized:
    """One architecture and how the supernet judges it.

    Attributes:
        architecture: The decision.
        loss_before: Loss on the architecture split before discretization: of the mixture for gradient strategies, of
            the best path for `sampled`.
        loss_after: Loss of the decided path with the supernet's weights.
        candidates: All that were scored.
        eligible: How many of them lie within one paired standard error of the best.
        cost: Multiply-adds of every part of the supernet.
    """

    architecture: Architecture
    loss_before: float
    loss_after: float
    candidates: Candidates
    eligible: int
    cost: CostTable

    @property
    def loss(self) -> float:
        """What discretizing cost: loss after − loss before."""
        return self.loss_after - self.loss_before


Decide = Callable[[Problem, FusionNetwork, Explored, Candidates, CostTable], Architecture]


def argmax(
    problem: Problem, _network: FusionNetwork, explored: Explored, _candidates: Candidates, _cost: CostTable
) -> Architecture:
    """The choice of the largest weight at every node, `none` included.

    Liu et al. 2019, "DARTS: Differentiable Architecture Search", section 2.4. Departure: the paper leaves `none` out.
    """
    index = tuple(
        max(range(len(node.choices)), key=explored.beliefs[node.name].__getitem__) for node in problem.space.nodes
    )
    return problem.space.at(index)


def one_standard_error(
    problem: Problem, _network: FusionNetwork, _explored: Explored, candidates: Candidates, cost: CostTable
) -> Architecture:
    """The simplest architecture that the data cannot tell apart from the best.

    Three times the simplest within one *paired* standard error of the best is taken: of the interaction orders, then of
    the numbers of active nodes within the order, each judged by its best candidate on samples that did not choose it;
    then, of what is left, the candidate with the fewest multiply-adds of the whole network. After Breiman et al. 1984,
    "Classification and Regression Trees", section 3.4.3; the pairing and the held-out comparison are departures, see
    `Candidates.held_out_losses`.
    """
    space = problem.space
    architectures = [space.at(tuple(row)) for row in candidates.indices.tolist()]
    left = np.arange(len(architectures))
    orders = np.array([space.interaction_order(architecture) for architecture in architectures])
    active = np.array([sum(bool(choice.inputs) for _, choice in a.choices) for a in architectures])
    for complexity in (orders, active):
        left = left[_simplest(candidates.take(left), complexity[left])]
    losses = candidates.losses[torch.from_numpy(left)]
    means = losses.mean(dim=1)
    near = torch.nonzero(paired_z(losses, losses[means.argmin()]) <= 1).flatten().tolist()
    chosen = min(near, key=lambda i: (cost.total(architectures[left[i]]), float(means[i])))
    found: Architecture = architectures[int(left[chosen])]
    return found


def _simplest(candidates: Candidates, complexity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the lowest complexity whose best candidate cannot be told apart from the best of all."""
    levels, group_of = np.unique(complexity, return_inverse=True)
    held_out = candidates.held_out_losses(group_of)
    z = paired_z(held_out, held_out[held_out.mean(dim=1).argmin()])
    return np.flatnonzero(complexity == levels[int(torch.nonzero(z <= 1)[0])])


def perturbation(
    problem: Problem, network: FusionNetwork, explored: Explored, _candidates: Candidates, _cost: CostTable
) -> Architecture:
    """Keeps at every node the choice whose removal from the mixture hurts most.

    Wang et al. 2021, "Rethinking Architecture Selection in Differentiable NAS" (DARTS-PT): nodes are decided one after
    another in random order, with a short fine-tuning of the supernet after each. Departures: loss instead of accuracy
    on the architecture split, evaluation-mode BatchNorm, and one epoch of fine-tuning at a tenth of the learning rate.
    """
    device, task = problem.device, problem.data.task
    generator = problem.generator()
    weights = {name: torch.tensor(values, device=device) for name, values in explored.beliefs.items()}
    batch = problem.architecture.to(device)

    @torch.no_grad()
    def loss_of(selection: Selection) -> float:
        network.eval()
        with autocast(device):
            return float(losses(task, network, batch, selection).mean())

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


def _fine_tune(problem: Problem, network: FusionNetwork, selection: Mapping[str, Tensor | int]) -> None:
    config = replace(problem.training, learning_rate=problem.training.learning_rate / 10)
    optimizer, scheduler = make_optimizer(network, config, steps_per_epoch(len(problem.weights), config))
    with seeded(problem.seed) as generator:
        network.train()
        for part in shuffled(problem.weights, config.batch_size, generator, problem.device):
            with autocast(problem.device):
                loss = losses(problem.data.task, network, part, selection).mean()
            step(loss, optimizer, scheduler, config)


DISCRETIZATIONS: Mapping[str, Decide] = {
    "one_standard_error": one_standard_error,
    "argmax": argmax,
    "perturbation": perturbation,
}


def discretize(problem: Problem, explored: Explored, method: str) -> Discretized:
    """Decides on one architecture and measures what the step costs.

    Args:
        problem: Of the search.
        explored: With a trained supernet.
        method: A name of `DISCRETIZATIONS`.
    """
    network = explored.network
    assert network is not None
    cost = CostTable.measure(network, problem.weights.take(slice(0, 1)).to(problem.device).inputs)
    scorer = PathScorer(network, problem.data.task, problem.architecture, problem.device)
    candidates = score_candidates(problem.space, scorer)
    architecture = DISCRETIZATIONS[method](problem, network, explored, candidates, cost)
    after = PathScorer(network, problem.data.task, problem.architecture, problem.device).loss(architecture)
    return Discretized(
        architecture=architecture,
        loss_before=explored.loss,
        loss_after=after,
        candidates=candidates,
        eligible=int((candidates.z() <= 1).sum()),
        cost=cost,
    )
