"""Which routes a found architecture gets, and what its gate reads: the part of discretization that decides per sample.

A space names the levels at which its architectures may be dynamic. Each level says in what cheaper architectures differ
from the found one; of each kind the supernet's best complement is a route, and the found architecture is the last
route. The dynamic network is trained on from the supernet's weights, gate and weights together, by the loss of
`nas.gated_training`; routes that hardly any sample takes are dropped. After Xue and Marculescu 2023, "Dynamic
Multimodal Fusion" (DynMM), whose experts (modality level) and depths of fusion (fusion level) are written by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import torch
from torch import Tensor

from nas.architecture import Architecture, tap_name
from nas.candidates import Candidates
from nas.cost import CostTable
from nas.errors import unknown_name
from nas.gated_training import price_of_routes, price_of_share
from nas.graph import FusionNetwork
from nas.metrics import sample_losses
from nas.scoring import standard_errors
from nas.space import SearchSpace
from nas.strategies.base import Problem
from nas.training import Trained, evaluation_losses, predict_routed

LEAST_SHARE = 0.02
"""A route that fewer samples of the architecture split take is dropped; the found architecture never is."""

TRAINING_SHARE = 1.0
"""Length of the training of a gate in the search, as a share of one from scratch."""

MAX_MODALITIES = 4
"""Up to so many modalities every subset is a route of the modality level; of more, only each alone."""

IsOfKind = Callable[[Architecture], bool]

Level = Callable[[SearchSpace, Architecture], list[IsOfKind]]
"""From a space and a found architecture to the kinds of architecture that may be its cheaper routes."""


def modality_level(space: SearchSpace, found: Architecture) -> list[IsOfKind]:
    """Experts: architectures that read some of the modalities, one kind for every subset that is not all."""
    names = [name for name in space.modalities if name in found.modalities()]
    sizes = range(1, len(names)) if len(names) <= MAX_MODALITIES else (1,)
    return [partial(_reads, set(some)) for size in sizes for some in combinations(names, size)]


def _reads(modalities: set[str], one: Architecture) -> bool:
    return set(one.modalities()) == modalities


def fusion_level(space: SearchSpace, found: Architecture) -> list[IsOfKind]:  # noqa: ARG001  # as all levels
    """How deep to keep fusing: architectures of the same modalities that read nothing below a depth, a kind a depth."""
    last = max(found.deepest().values(), default=0)
    return [partial(_ends_at, depth, set(found.modalities())) for depth in range(last)]


def _ends_at(depth: int, modalities: set[str], one: Architecture) -> bool:
    return _reads(modalities, one) and max(one.deepest().values()) == depth


def operation_level(space: SearchSpace, found: Architecture) -> list[IsOfKind]:
    """Which operation: architectures that read the same taps at the same nodes, one kind for every lower order."""
    return [partial(_operates, space, order, found) for order in range(space.interaction_order(found))]


def _operates(space: SearchSpace, order: int, found: Architecture, one: Architecture) -> bool:
    reads = [[choice.inputs for _, choice in some.choices] for some in (one, found)]
    return reads[0] == reads[1] and space.interaction_order(one) == order


LEVELS: Mapping[str, Level] = {
    "modality": modality_level,
    "fusion": fusion_level,
    "operation": operation_level,
}


def check_levels(levels: Sequence[str]) -> tuple[str, ...]:
    """The levels, each once.

    Raises:
        UserError: If there is no level of such a name.
    """
    for name in levels:
        if name not in LEVELS:
            raise unknown_name("dynamic level", name, LEVELS)
    return tuple(dict.fromkeys(levels))


@dataclass(frozen=True, kw_only=True)
class Gated:
    """What came of letting a found architecture decide per sample.

    All losses are on the architecture split, with the price of multiply-adds; NaN and empty where no route is cheaper.

    Attributes:
        architecture: The dynamic one, or the found one if no gate pays.
        static: The found one.
        tried: Dynamic ones that differ in what their gates read.
        losses: Their losses.
        static_loss: Of the static one, trained on likewise.
        behind: How far the best of those tried lies behind the static one, in standard errors of paired differences.
    """

    architecture: Architecture
    static: Architecture
    tried: tuple[Architecture, ...] = ()
    losses: tuple[float, ...] = ()
    static_loss: float = math.nan
    behind: float = math.nan


def add_gate(
    problem: Problem, network: FusionNetwork, found: Architecture, candidates: Candidates, cost: CostTable
) -> Gated:
    """Gives a found architecture routes and a gate, unless its loss with the price of multiply-adds is lower without.

    A gate reads the first tap of each modality that is read at all, or, where the routes that are taken share taps,
    these, which are computed anyway: both are trained, and the one of the lower loss is compared with the static
    architecture. It is taken if it lies no more than one paired standard error behind, for it is the cheaper one.

    Args:
        problem: Of the search.
        network: The trained supernet.
        found: What its discretization decided.
        candidates: All that were scored.
        cost: Multiply-adds of every part of the supernet.
    """
    price = problem.training.cost_weight
    routes = candidate_routes(problem.space, found, candidates, cost, price=price)
    if len(routes) < 2:
        return Gated(architecture=found, static=found)
    static = problem.train_on(network, found, share=TRAINING_SHARE)
    shallow = shallow_taps(problem.space, found)
    first = Architecture.gated(routes, shallow)
    trained = problem.train_on(network, first, share=TRAINING_SHARE, cost=cost)
    kept = used_routes(problem, trained, first)
    if len(kept) < 2:
        return Gated(architecture=found, static=found)
    tried = [Architecture.gated(kept, reads) for reads in dict.fromkeys((shallow, shared_taps(kept))) if reads]
    gated = [problem.train_on(network, one, share=TRAINING_SHARE, cost=cost) for one in tried]
    best = min(range(len(tried)), key=lambda number: gated[number].architecture_loss)
    behind = float(
        standard_errors(priced_losses(problem, gated[best].network) - priced_losses(problem, static.network))
    )
    return Gated(
        architecture=tried[best] if behind <= 1 else found,
        static=found,
        tried=tuple(tried),
        losses=tuple(one.architecture_loss for one in gated),
        static_loss=float(priced_losses(problem, static.network).mean()),
        behind=behind,
    )


def priced_losses(problem: Problem, network: FusionNetwork) -> Tensor:
    """The loss of every sample of the architecture split, with the price of its multiply-adds, (n,)."""
    task, training = problem.data.task, problem.training
    if network.gate is None:
        losses = evaluation_losses(task, network, problem.architecture, problem.device)
        return losses + price_of_share(1.0, training)
    outputs, picked = predict_routed(network, problem.architecture, problem.device)
    losses = sample_losses(task, outputs, problem.architecture.targets.cpu(), network.head.scale.cpu())
    if training.max_multiply_adds:  # a budget is kept on average, not by each sample
        return losses + price_of_routes(network, picked, training)
    return losses + training.cost_weight * network.gate.shares().cpu()[picked]


def candidate_routes(
    space: SearchSpace, found: Architecture, candidates: Candidates, cost: CostTable, *, price: float
) -> list[Architecture]:
    """For every kind of the space's levels the best complement of the found architecture, the cheapest first, it last.

    Of a kind that is what would come to least if each sample could take the better of both routes: its loss under the
    supernet plus the price of the route's multiply-adds, with a gate on the first taps. What costs as much as the found
    architecture is left out.

    Args:
        space: With the levels.
        found: The static architecture.
        candidates: All that were scored.
        cost: Multiply-adds of every part of the supernet.
        price: Loss that the multiply-adds of the found architecture are worth.
    """
    architectures = [space.at(tuple(row)) for row in candidates.indices.tolist()]
    reads = shallow_taps(space, found)
    costs = torch.tensor([float(cost.of_route(one, reads)) for one in architectures]) / cost.of_route(found, reads)
    own = candidates.losses[architectures.index(found)] + price
    routes: dict[Architecture, float] = {}
    for level in space.dynamic:
        for is_of_kind in LEVELS[level](space, found):
            rows = [r for r, one in enumerate(architectures) if one.taps() and costs[r] < 1 and is_of_kind(one)]
            if rows:
                both = torch.minimum(candidates.losses[rows] + price * costs[rows, None], own).mean(dim=1)
                best = rows[int(both.argmin())]
                routes[architectures[best]] = float(costs[best])
    return [*sorted(routes, key=routes.__getitem__), found]


def used_routes(problem: Problem, trained: Trained, architecture: Architecture) -> list[Architecture]:
    """The routes that samples of the architecture split take, and the last one."""
    _, picked = predict_routed(trained.network, problem.architecture, problem.device)
    routes = architecture.routes()
    shares = torch.bincount(picked, minlength=len(routes)) / len(picked)
    return [
        route
        for route, share in zip(routes, shares.tolist(), strict=True)
        if share >= LEAST_SHARE or route == routes[-1]
    ]


def shallow_taps(space: SearchSpace, found: Architecture) -> tuple[str, ...]:
    """The first tap of every modality that an architecture reads."""
    return tuple(tap_name(name, 0) for name in space.modalities if name in found.modalities())


def shared_taps(routes: Sequence[Architecture]) -> tuple[str, ...]:
    """Taps that every route computes: of modalities that all read, up to the least depth at which one reads them."""
    depths = [route.deepest() for route in routes]
    shared = {name: min(some[name] for some in depths) for name in depths[0] if all(name in some for some in depths)}
    return tuple(tap_name(name, depth) for name, last in shared.items() for depth in range(last + 1))


__all__ = ["LEVELS", "Gated", "add_gate", "candidate_routes", "check_levels", "shared_taps", "used_routes"]
