"""Which routes a found architecture gets, and what its gate reads: the part of discretization that decides per sample.

A space names the levels at which its architectures may be dynamic. Each level says in what cheaper architectures differ
from the found one; of each kind the supernet's best complement is a route, and the found architecture is the last
route. The dynamic network is trained on from the supernet's weights, gate and weights together, by the loss of
`nas.routing.loss`; routes that do not pay are dropped. After Xue and Marculescu 2023, "Dynamic Multimodal Fusion"
(DynMM), whose experts (modality level) and depths of fusion (fusion level) are written by hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial

import torch
from torch import Tensor

from nas.data.batches import Batch, in_order
from nas.metrics import constant_losses
from nas.network.cost import CostTable
from nas.network.fusion_network import FusionNetwork
from nas.network.prediction import EVALUATION_BATCH, autocast
from nas.objectives import dropout_rate
from nas.routing.explain import Routes
from nas.routing.gates import Gate, what_is_seen
from nas.routing.levels import CASCADE, LEVELS
from nas.routing.linear_gate import gains
from nas.routing.loss import with_cost_penalty
from nas.routing.network import DerivedNetwork, RoutedNetwork, build_routed
from nas.routing.prediction import answers, predict_routed
from nas.routing.stages import every_stage, steepest
from nas.routing.training import train_routed
from nas.seeding import seeded
from nas.space.architecture import Architecture, tap_name
from nas.space.search_space import SearchSpace
from nas.strategies.base import SearchProblem, inherit
from nas.streams import STEMS, is_joined, tap_modalities
from nas.summary import GateTrial, TriedGate
from nas.supernet.candidates import Candidates
from nas.supernet.path_scorer import scored_samples, standard_errors
from nas.training.augmentation import drop_modalities
from nas.training.train import Trained

JUDGING = 3
"""Every third sample of the architecture split judges gates that learn by the others.

A gate can learn by heart on which samples a route happens to be wrong; by the same samples it would look better than it
is, and so would routes that nobody needs.
"""

TRAINING_SHARE = 1.0
"""Length of the training of a gate in the search, as a share of one from scratch."""

PRICES_OF_BUDGETS = (0.0, *(0.05 * 2**number for number in range(12)))
"""Of the found architecture's multiply-adds, in loss, at which routes are looked for if there is a budget."""

DECIDES = 0.05
"""Share of the samples that have to take another route than most do: what sends all of them one way decides nothing."""


@dataclass(frozen=True, kw_only=True)
class Gated:
    """What came of letting a found architecture decide per sample.

    All losses are on the third of the architecture split that judges, with the price of multiply-adds; NaN and empty
    where no cheaper route pays.

    Attributes:
        architecture: The dynamic one, or the found one if no gate pays.
        static: The found one.
        tried: Dynamic ones that differ in what their gates read.
        losses: Their losses.
        static_loss: Of the static one, trained on likewise.
        errors_behind: How far the best of those tried lies behind that one, in standard errors of paired differences.
        decided: Share of the judging samples that do not take the route that most take, in the best of those tried.
    """

    architecture: Architecture
    static: Architecture
    tried: tuple[Architecture, ...] = ()
    losses: tuple[float, ...] = ()
    static_loss: float = math.nan
    errors_behind: float = math.nan
    decided: float = math.nan

    def told(self) -> GateTrial:
        """Whether it was taken, and against what, for the summary."""
        return GateTrial(
            taken=self.architecture.gating is not None,
            tried=tuple(
                TriedGate(in_words=one.in_words(), loss=loss) for one, loss in zip(self.tried, self.losses, strict=True)
            ),
            static_loss=self.static_loss,
            errors_behind=self.errors_behind,
            decided=self.decided,
            in_words=self.in_words(),
        )

    def in_words(self) -> str:
        """Why nothing is decided per sample, in a sentence; "" if something is."""
        if self.architecture.gating is not None:
            return ""
        if not self.tried:
            return "Nothing is decided per sample: no cheaper route was worth having."
        if self.decided < DECIDES:
            return "Nothing is decided per sample: the best that was tried sends nearly all samples down one route."
        return (
            "Nothing is decided per sample: with the price of multiply-adds, the best that was tried lies "
            f"{self.errors_behind:.1f} standard errors behind the static architecture."
        )


def add_gate(
    problem: SearchProblem, network: FusionNetwork, found: Architecture, candidates: Candidates, cost: CostTable
) -> Gated:
    """Gives a found architecture routes and a gate, unless its loss with the price of multiply-adds is lower without.

    A gate reads the first tap of each modality that is read at all, or, where the routes that are taken share taps,
    these, which are computed anyway; a cascade reads the answers of its routes. All that the space asks for are
    trained, and that of the lowest loss is compared with the static architecture. It is taken if it lies no more than
    one paired standard error behind, for it is the cheaper one, and if it does not send nearly all samples down one
    route. Gates learn by two thirds of the architecture split here, and are judged by the last one; with modality
    dropout, routes are judged on samples that lack something, too.

    Args:
        problem: Of the search.
        network: The trained supernet.
        found: What its discretization decided.
        candidates: All that were scored.
        cost: Multiply-adds of every part of the supernet.
    """
    if not found.taps():  # a constant has nothing to skip
        return Gated(architecture=found, static=found)
    judges = torch.arange(len(problem.architecture), device=problem.architecture.targets.device) % JUDGING == 0
    parts = problem.architecture.take(~judges), problem.architecture.take(judges)
    judging = drop_modalities(
        parts[1], dropout_rate(problem.training.objective), torch.Generator().manual_seed(problem.seed)
    )

    @cache  # where all routes pay, what was trained to see that is what is compared
    def train_dynamic(one: Architecture) -> Trained[RoutedNetwork]:
        return train_on_routed(problem, network, one, cost, parts)

    tried: list[Architecture] = []
    if any(level in LEVELS for level in problem.space.dynamic):
        shallow = shallow_taps(problem.space, found)
        seen = seen_by_gate(scored_samples(problem.architecture), network, shallow, problem.device)
        routes = affordable_routes(problem, found, candidates, cost, seen)
        if len(routes) > 1:
            routes = paying_routes(problem, train_dynamic(Architecture.gated(routes, shallow)).network, judging)
        if len(routes) > 1:
            every = dict.fromkeys((shallow, shared_taps(routes)))
            tried += [Architecture.gated(routes, reads) for reads in every if reads]
    if CASCADE in problem.space.dynamic:
        routes = cascade_routes(problem, network, found, cost, parts)
        if len(routes) > 1:
            tried.append(Architecture.cascaded(routes))
    if not tried:
        return Gated(architecture=found, static=found)
    static = problem.train_on(network, found, share=TRAINING_SHARE, judges=parts[1])
    gated = [train_dynamic(one) for one in tried]
    best = min(range(len(gated)), key=lambda number: gated[number].architecture_loss)
    of_static = priced_losses(problem, static.network, judging)
    errors_behind = float(standard_errors(priced_losses(problem, gated[best].network, judging) - of_static))
    _, picked = predict_routed(gated[best].network, judging, problem.device)
    decided = 1 - float(picked.bincount().max()) / len(picked)
    return Gated(
        architecture=tried[best] if errors_behind <= 1 and decided >= DECIDES else found,
        static=found,
        tried=tuple(tried),
        losses=tuple(one.architecture_loss for one in gated),
        static_loss=float(of_static.mean()),
        errors_behind=errors_behind,
        decided=decided,
    )


def train_on_routed(
    problem: SearchProblem,
    network: FusionNetwork,
    architecture: Architecture,
    cost: CostTable,
    parts: tuple[Batch, Batch],
) -> Trained[RoutedNetwork]:
    """The network of a dynamic architecture, trained on from a supernet's weights; its router begins at random.

    Args:
        problem: Of the search.
        network: The supernet; left as it is.
        architecture: Of its space.
        cost: Of the supernet.
        parts: Of the architecture split that by which the router learns, and that by which epochs are judged.
    """
    with seeded(problem.seed):
        space = problem.space.restrict(architecture)
        routed = build_routed(space, problem.data, problem.training, problem.builders).to(problem.device)
    inherit(routed.network, network)
    routed.set_costs(cost)
    training = problem.shortened(TRAINING_SHARE)
    return train_routed(
        routed,
        problem.data.task,
        problem.weights,
        parts[1],
        training,
        router_split=parts[0],
        seed=problem.seed,
        device=problem.device,
        slot=problem.slot("trained on and judged apart", architecture.to_dict(), asdict(training)),
    )


def priced_losses(problem: SearchProblem, network: DerivedNetwork, batch: Batch) -> Tensor:
    """The loss of every sample of a batch, with the price of its multiply-adds, (n,)."""
    _, losses, spent = answers(problem.data.task, network, batch, problem.device)
    return with_cost_penalty(losses, spent, problem.training)


@torch.no_grad()
def seen_by_gate(batch: Batch, network: FusionNetwork, reads: Sequence[str], device: torch.device) -> Tensor:
    """What a gate that reads these taps would see of a batch, (n, channels), on the CPU."""
    network.eval()
    parts = []
    for part in in_order(batch, EVALUATION_BATCH, device):
        with autocast(device):
            parts.append(
                what_is_seen(reads, network.encode(part.inputs, reads, part.present), part.present).float().cpu()
            )
    return torch.cat(parts)


def affordable_routes(
    problem: SearchProblem, found: Architecture, candidates: Candidates, cost: CostTable, seen: Tensor
) -> list[Architecture]:
    """Those of `candidate_routes` at the price of multiply-adds; or, with a budget, at the lowest price that keeps it.

    A budget can be kept if the cheapest route does so; where not even that of the highest price does, that is taken.

    Args:
        problem: Of the search, with price or budget.
        found: As in `candidate_routes`.
        candidates: As in `candidate_routes`.
        cost: As in `candidate_routes`.
        seen: As in `candidate_routes`.
    """
    routes_at = partial(candidate_routes, problem.space, found, candidates, cost, seen)
    budget = problem.training.max_multiply_adds
    if not budget:
        return routes_at(price=problem.training.cost_weight)
    reads = shallow_taps(problem.space, found)
    for price in PRICES_OF_BUDGETS:
        routes = routes_at(price=price)
        if cost.of_route(routes[0], reads) <= budget * cost.total(found):
            break
    return routes


def candidate_routes(
    space: SearchSpace, found: Architecture, candidates: Candidates, cost: CostTable, seen: Tensor, *, price: float
) -> list[Architecture]:
    """For every kind of the space's levels the best complement of the found architecture, the cheapest first, it last.

    Best is what a linear gate on the first taps would gain most with: losses under the supernet plus the price of the
    route's multiply-adds; and the cheapest of those that lie no more than a paired standard error behind. What costs as
    much as the found architecture is left out.

    Args:
        space: With the levels.
        found: The static architecture.
        candidates: All that were scored.
        cost: Multiply-adds of every part of the supernet.
        seen: What the gate sees of the samples that candidates were scored by, (n, channels).
        price: Loss that the multiply-adds of the found architecture are worth.
    """
    architectures = [space.at(tuple(row)) for row in candidates.indices.tolist()]
    reads = shallow_taps(space, found)
    costs = torch.tensor([float(cost.of_route(one, reads)) for one in architectures]) / cost.of_route(found, reads)
    own = candidates.losses[architectures.index(found)] + price
    routes: dict[Architecture, float] = {}
    for level in (level for level in space.dynamic if level in LEVELS):
        for is_of_kind in LEVELS[level](space, found):
            rows = [r for r, one in enumerate(architectures) if one.taps() and costs[r] < 1 and is_of_kind(one)]
            if rows:
                gained = gains(seen, (candidates.losses[rows] + price * costs[rows, None] - own).T).T
                errors_behind = standard_errors(gained - gained[gained.mean(dim=1).argmin()])
                best = min(
                    (r for r, z in zip(rows, errors_behind.tolist(), strict=True) if z <= 1), key=costs.__getitem__
                )
                routes[architectures[best]] = float(costs[best])
    return [*sorted(routes, key=routes.__getitem__), found]


def cascade_routes(
    problem: SearchProblem, network: FusionNetwork, found: Architecture, cost: CostTable, parts: tuple[Batch, Batch]
) -> list[Architecture]:
    """The routes of a cascade as `nas.routing.stages` finds them, the found architecture last.

    What the supernet thinks of a stage says little of what it is worth once it is trained for its own sake, so all of
    them are, in one network. A budget is left to the cascade that is made of the best.

    Args:
        problem: Of the search.
        network: The trained supernet.
        found: The static architecture.
        cost: Multiply-adds of every part of the supernet.
        parts: As `train_on_routed` takes them.
    """
    every = every_stage(problem.space, found, cost)
    if not every:
        return [found]
    unlimited = replace(problem, training=replace(problem.training, max_multiply_adds=0.0))
    whole = Architecture.cascaded([*every, found])
    trained = train_on_routed(unlimited, network, whole, cost, parts).network
    of_routes = Routes.of(trained, problem.architecture, problem.data, problem.device)
    losses = dict(zip(every, of_routes.losses(trained.head.scale).T, strict=False))
    targets = problem.architecture.targets.cpu()
    nothing = constant_losses(problem.data.task, targets, problem.weights.targets.cpu())
    return [*steepest(every, losses, nothing, cost), found]


def paying_routes(problem: SearchProblem, network: RoutedNetwork, batch: Batch) -> list[Architecture]:
    """The routes of a gate that are worth having, and the last one.

    Routes that no sample takes go. Then, as long as there is a route without which the loss with the price of
    multiply-adds would not be higher by more than one paired standard error, that of the fewest goes, and its samples
    take what the gate likes second.

    Args:
        problem: Of the search.
        network: Trained.
        batch: By which its gate did not learn.
    """
    gate, routes = network.router, network.architecture.routes()
    assert isinstance(gate, Gate)
    of_routes = Routes.of(network, batch, problem.data, problem.device)
    losses, logits = of_routes.losses(network.head.scale), torch.from_numpy(of_routes.logits)

    def with_routes(numbers: list[int]) -> Tensor:
        picked = gate.pick(logits[:, numbers])
        own = losses[:, numbers].gather(1, picked[:, None]).squeeze(1)
        return with_cost_penalty(own, gate.shares().cpu()[numbers][picked], problem.training)

    taken = set(gate.pick(logits).tolist())
    kept = [number for number in range(len(routes)) if number in taken or number == len(routes) - 1]
    while len(kept) > 1:
        lost = {n: standard_errors(with_routes([k for k in kept if k != n]) - with_routes(kept)) for n in kept[:-1]}
        least = min(lost, key=lambda number: float(lost[number]))
        if lost[least] > 1:
            break
        kept.remove(least)
    return [routes[number] for number in kept]


def shallow_taps(space: SearchSpace, found: Architecture) -> tuple[str, ...]:
    """The first tap of every modality that an architecture reads, and of joined streams that of both together."""
    joined = tuple(tap_name(name, STEMS) for name in found.deepest() if is_joined(name))
    apart = {name for tap in found.taps() if not is_joined(tap) for name in tap_modalities(tap)}
    return (*(tap_name(name, 0) for name in space.modalities if name in apart), *joined)


def shared_taps(routes: Sequence[Architecture]) -> tuple[str, ...]:
    """Taps that every route computes: of modalities that all read, up to the least depth at which one reads them."""
    depths = [route.deepest() for route in routes]
    shared = {
        name: min(some[name] for some in depths)
        for name in depths[0]
        if all(name in some for some in depths) and not is_joined(name)  # whose taps share their first layers alone
    }
    return tuple(tap_name(name, depth) for name, last in shared.items() for depth in range(last + 1))


__all__ = [
    "Gated",
    "add_gate",
    "candidate_routes",
    "paying_routes",
    "seen_by_gate",
    "shared_taps",
]
