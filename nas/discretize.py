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
from nas.metrics import constant_losses
from nas.scoring import PathScorer, paired_z, scored_samples
from nas.strategies.base import Explored, Problem
from nas.training import (
    autocast,
    evaluation_losses,
    losses,
    make_optimizer,
    seeded,
    step,
    steps_per_epoch,
)


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

    A further departure: a supernet favours what shares weights widely, so it proposes and a training from scratch
    disposes. A lower order that lies no more than `DOUBT` standard errors behind, and in every order in question the
    fewest active nodes that its candidates have, are trained by themselves, as they will be used, beside what the
    supernet would take; the simplest within one paired standard error of the best of these is the answer. Where the
    supernet would take the simplest anyway, nothing is trained. If its best path lies behind a modality trained alone,
    which the space contains, or no more than two standard errors before the best constant answer, it has not been
    trained enough for its word to count: then the best single node of every order is trained by itself.
    """
    space = problem.space
    architectures: list[Architecture] = [space.at(tuple(row)) for row in candidates.indices.tolist()]
    order_of = np.array([space.interaction_order(architecture) for architecture in architectures])
    orders, group_of = np.unique(order_of, return_inverse=True)
    behind = _behind(candidates.held_out_losses(group_of))
    taken = _first(behind <= 1)
    is_trained = _is_trained(problem, candidates)
    in_question = [group for group in range(taken) if behind[group] <= DOUBT] + [taken]
    finalists = [
        finalist
        for group in (in_question if is_trained else range(len(orders)))
        for finalist in _finalists(
            architectures, candidates, np.flatnonzero(order_of == orders[group]), cost, is_trained=is_trained
        )
    ]
    if len(finalists) == 1:
        return finalists[0]
    alone = torch.stack([_losses_alone(problem, finalist) for finalist in finalists])
    return finalists[_first(_behind(alone) <= 1)]


DOUBT = 2.33
"""Standard errors beyond which the supernet's word is enough: one in a hundred differences of nothing is larger."""


def _is_trained(problem: Problem, candidates: Candidates) -> bool:
    """Whether the supernet's best path knows more than a constant, and as much as the best modality alone."""
    best = candidates.losses[candidates.best()]
    targets = scored_samples(problem.architecture).targets.cpu()
    gained = constant_losses(problem.data.task, targets, problem.weights.targets.cpu()) - best
    standard_error = float(gained.std()) / len(gained) ** 0.5
    return float(gained.mean()) > 2 * standard_error and float(best.mean()) <= problem.alone_loss


def _finalists(
    architectures: list[Architecture],
    candidates: Candidates,
    rows: NDArray[np.int64],
    cost: CostTable,
    *,
    is_trained: bool,
) -> list[Architecture]:
    """Of the rows of one order, the best with the fewest active nodes, and the one that the supernet would take.

    Of a supernet that is not trained, those with the fewest active nodes, and with the fewest that do something and
    read the most modalities: which of them to leave out is no question for such a supernet either.
    """
    active = np.array([sum(bool(choice.inputs) for _, choice in architectures[row].choices) for row in rows])
    levels, group_of = np.unique(active, return_inverse=True)
    if is_trained:
        proposed = _first(_behind(candidates.take(rows).held_out_losses(group_of)) <= 1)
    else:
        proposed = _first(torch.from_numpy(levels > 0)) if levels[-1] else 0
    by_level = [rows[active == levels[level]] for level in sorted({0, proposed})]
    if not is_trained:
        by_level = [_of_most_modalities(architectures, some) for some in by_level]
    return [_cheapest(architectures, candidates, some, cost) for some in by_level]


def _of_most_modalities(architectures: list[Architecture], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.array([len(architectures[row].modalities()) for row in rows])
    most: NDArray[np.int64] = rows[counts == counts.max()]
    return most


def _cheapest(
    architectures: list[Architecture], candidates: Candidates, rows: NDArray[np.int64], cost: CostTable
) -> Architecture:
    """Of some rows, the fewest multiply-adds among those that cannot be told apart from their best."""
    losses = candidates.take(rows).losses
    near = torch.nonzero(_behind(losses) <= 1).flatten().tolist()
    chosen = min(near, key=lambda i: (cost.total(architectures[rows[i]]), float(losses[i].mean())))
    return architectures[int(rows[chosen])]


def _behind(losses: Tensor) -> Tensor:
    """How many paired standard errors each row lies behind the best."""
    return paired_z(losses, losses[losses.mean(dim=1).argmin()])


def _first(flags: Tensor) -> int:
    return int(torch.nonzero(flags)[0])


def _losses_alone(problem: Problem, architecture: Architecture) -> Tensor:
    """Losses on the scored samples of an architecture that was trained from scratch, (samples,)."""
    network = problem.train_from_scratch(architecture).network
    return evaluation_losses(problem.data.task, network, scored_samples(problem.architecture), problem.device)


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
    candidates = explored.candidates or score_candidates(
        problem.space, PathScorer(network, problem.data.task, problem.architecture, problem.device)
    )
    architecture = DISCRETIZATIONS[method](problem, network, explored, candidates, cost)
    after = PathScorer(network, problem.data.task, problem.architecture, problem.device).loss(architecture)
    return Discretized(
        architecture=architecture,
        loss_before=explored.loss,
        loss_after=after,
        candidates=candidates,
        cost=cost,
    )
