"""What a dynamic network does on a split: who takes which route, what that saves, and how near its bounds it comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.data.batches import Batch
from nas.data.fusion_data import FusionData
from nas.metrics import higher_is_better, losses_of_routes, metric_of, sample_errors, score
from nas.network.cost import CostTable
from nas.network.fusion_network import FusionNetwork
from nas.network.prediction import predict
from nas.routing.gates import Gate
from nas.routing.network import RoutedNetwork, taps_of_router
from nas.routing.prediction import predict_routed, predict_routes
from nas.space.architecture import deepest
from nas.streams import plain_taps, stream_modalities
from nas.summary import Confidence, Decisions, Route, Sample, Without

EXTREMES = 10
"""How many samples are named that are fused most, and least."""

MAX_POINTS = 400
"""At most so many samples have their gate told beside the confidence of a single modality."""

BIASES = tuple(np.concatenate([-np.geomspace(64, 0.25, 17), [0.0], np.geomspace(0.25, 64, 17)]).tolist())
"""Of the curve: what is taken off a route's logit for all multiply-adds of the static architecture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Routes:
    """What every route of a dynamic network comes to on every sample.

    Attributes:
        outputs: (routes, n, outputs).
        logits: Of the gate, (n, routes).
        costs: Multiply-adds of every route, (routes,).
        targets: (n,) or (n, outputs).
        data: For task and names of classes.
        pick: From logits (n, routes) to the route of every sample, (n,).
        metric: Of the scores; empty for the task's own.
    """

    outputs: NDArray[np.float32]
    logits: NDArray[np.float32]
    costs: NDArray[np.float64]
    targets: NDArray[Any]
    data: FusionData
    pick: Callable[[Tensor], Tensor]
    metric: str = ""

    @classmethod
    def of(
        cls, network: RoutedNetwork, batch: Batch, data: FusionData, device: torch.device, metric: str = ""
    ) -> Routes:
        """Runs every route over a split, in evaluation mode."""
        outputs, logits = predict_routes(network, batch, device)
        return cls(
            outputs=outputs.numpy(),
            logits=logits.numpy(),
            costs=network.router.costs.cpu().numpy(),
            targets=batch.targets.cpu().numpy(),
            data=data,
            pick=network.router.pick,
            metric=metric,
        )

    def losses(self, scale: Tensor) -> Tensor:
        """The loss of every sample on every route, (n, routes).

        Args:
            scale: Of the network's head.
        """
        outputs, targets = torch.from_numpy(self.outputs), torch.from_numpy(self.targets)
        return losses_of_routes(self.data.task, outputs, targets, scale.cpu())

    def at(self, picked: NDArray[np.int64]) -> tuple[float, float]:
        """Score and mean multiply-adds if every sample takes these routes, (n,)."""
        outputs = self.outputs[picked, np.arange(len(picked))]
        return score(metric_of(self.data.task, self.metric), outputs, self.targets), float(self.costs[picked].mean())

    def picked(self, bias: float = 0.0) -> NDArray[np.int64]:
        """What the gate picks, (n,), with something taken off each route's logit in proportion to its multiply-adds."""
        found: NDArray[np.int64] = self.pick(torch.from_numpy(self.logits - bias * self.costs / self.costs[-1])).numpy()
        return found

    def single_route_scores(self) -> list[float]:
        """Score of every route if all samples take it."""
        return [self.at(np.full(len(self.targets), number))[0] for number in range(len(self.costs))]

    def curve(self) -> list[tuple[float, float]]:
        """(multiply-adds, score) of one network as its gate is biased from cheap to dear, each cost once."""
        points = {cost: reached for reached, cost in (self.at(self.picked(bias)) for bias in BIASES)}
        return sorted(points.items())

    def random(self, cost: float, costs: NDArray[np.float64]) -> float:
        """Expected score of the best gate that does not look at the sample and spends so much on average.

        Such a gate mixes two routes, so its scores are the upper hull of the routes' own ones over their costs. Beyond
        the dearest and the cheapest route it takes these.

        Args:
            cost: Multiply-adds.
            costs: Of every route by itself, with no gate and nothing run before it, (routes,).
        """
        sense = 1.0 if higher_is_better(metric_of(self.data.task, self.metric)) else -1.0
        own = list(zip(costs.tolist(), self.single_route_scores(), strict=True))
        best = -np.inf
        for cheap, low in own:
            for dear, high in own:
                if cheap <= cost <= dear:
                    share = (cost - cheap) / (dear - cheap) if dear > cheap else 1.0
                    best = max(best, sense * (low + share * (high - low)))
                elif dear <= cost:
                    best = max(best, sense * high)
        return sense * best if np.isfinite(best) else own[int(costs.argmin())][1]

    def oracle(self) -> NDArray[np.int64]:
        """For every sample the cheapest route that is no more wrong than the last one, (n,): a bound of all gates.

        No gate that never does worse than the static architecture on a sample spends less.
        """
        targets = torch.from_numpy(self.targets)
        errors = np.stack(
            [sample_errors(self.data.task, torch.from_numpy(some), targets).numpy() for some in self.outputs]
        )
        return np.asarray(np.where(errors <= errors[-1], self.costs[:, None], np.inf).argmin(axis=0), dtype=np.int64)


def explain(
    network: RoutedNetwork,
    unimodal: Mapping[str, FusionNetwork],
    batch: Batch,
    data: FusionData,
    device: torch.device,
    metric: str = "",
    *,
    budget: float = 0.0,
    table: CostTable | None = None,
) -> Decisions:
    """All that a summary tells of a dynamic network.

    Args:
        network: Trained.
        unimodal: Modality to the network that was trained on it alone.
        batch: The test split.
        data: That it is of.
        device: Where the networks are.
        metric: Of the scores; empty for the task's own.
        budget: Share of the static multiply-adds that it may spend; 0 for none.
        table: Of its parts' multiply-adds, where encoders stand before what it reads; None to measure them here.
    """
    routes = Routes.of(network, batch, data, device, metric)
    architectures = network.architecture.routes()
    table = table or CostTable.measure(network.network, batch.take(slice(0, 1)).to(device).inputs)
    own_costs = np.array([float(table.total(route)) for route in architectures])
    picked = routes.picked()
    probabilities = np.exp(routes.logits - routes.logits.max(axis=1, keepdims=True))
    fused = (probabilities @ (routes.costs / float(network.router.static_cost))) / probabilities.sum(axis=1)
    lacking = _lacking(network, batch)
    order = np.argsort(fused, kind="stable")
    if not lacking.all():  # of a sample that lacks something, not the gate decides alone
        order = order[~lacking[order]]
    curve, oracle = routes.curve(), routes.at(routes.oracle())
    return Decisions(
        decider="gate" if isinstance(network.router, Gate) else "cascade",
        reads=tuple(taps_of_router(network.router)),
        routes=tuple(
            Route(
                in_words=route.in_short(),
                modalities=route.modalities(),
                multiply_adds=float(routes.costs[number]),
                share=float((picked == number).mean()),
                shares=_shares_by_class(data, picked == number, routes.targets),
                score=own,
            )
            for number, (route, own) in enumerate(zip(architectures, routes.single_route_scores(), strict=True))
        ),
        lacking=float(lacking.mean()),
        multiply_adds=routes.at(picked)[1],
        static_multiply_adds=float(network.router.static_cost),
        curve=tuple(curve),
        random=tuple((cost, routes.random(cost, own_costs)) for cost, _ in curve),
        oracle=(oracle[1], oracle[0]),
        most_fused=tuple(_sample(data, routes.targets, fused, number) for number in order[::-1][:EXTREMES]),
        least_fused=tuple(_sample(data, routes.targets, fused, number) for number in order[:EXTREMES]),
        confidence=_confidence(unimodal, batch, data, device, fused),
        missing={
            name: _without(network, name, batch, device, metric_of(data.task, metric))
            for name in dict.fromkeys(one for stream in network.encoders for one in stream_modalities(stream))
        },
        budget=budget,
    )


def in_words(explained: Decisions) -> str:
    """What a gate or a cascade does: how often which modality is skipped, what that saves, whether a budget is kept."""
    who, routes = explained.decider, explained.routes
    read = [set(route.modalities) for route in routes]
    if who == "cascade":  # what the routes before have read
        read = [set().union(*read[: number + 1]) for number in range(len(read))]
    begun = deepest(plain_taps(explained.reads, {}))  # the gate has run layers up to there
    names = dict.fromkeys(name for route in routes for name in route.modalities)
    skipped = {
        name: sum(route.share for route, some in zip(routes, read, strict=True) if name not in some) for name in names
    }
    told = [
        f"{name}{f' after layer {begun[name]}' if name in begun else ''} on {100 * share:.0f} % of the samples"
        for name, share in skipped.items()
        if share > 0
    ]
    spent = explained.multiply_adds / explained.static_multiply_adds
    saved = f"{100 * (1 - spent):.0f} % fewer" if spent <= 1 else f"{100 * (spent - 1):.0f} % more"
    sentence = (
        f"The {who} skips {' and '.join(told) or 'no modality'}; all in all {saved} multiply-adds than without it."
    )
    if alike := [route for route in routes if route.share == 1]:
        sentence += f" It decides nothing: all samples take one route, {alike[0].in_words}."
    if explained.lacking:
        sentence += f" {100 * explained.lacking:.0f} % of the samples lack a modality, which forces it."
    budget = explained.budget
    if budget and spent > budget + 0.01:
        least = min(route.multiply_adds for route in routes) / explained.static_multiply_adds
        why = "more samples need dear routes than among those that it learned by"
        if least > budget:
            why = f"the cheapest route takes {100 * least:.0f} %"
        sentence += f" Its budget was {100 * budget:.0f} %, it spends {100 * spent:.0f} %: {why}."
    return sentence


def _lacking(network: RoutedNetwork, batch: Batch) -> NDArray[np.bool_]:
    """Which samples lack a modality that some route reads, (n,)."""
    masks = [~mask.cpu().numpy() for name, mask in batch.present.items() if name in network.architecture.modalities()]
    return np.any(masks, axis=0) if masks else np.zeros(len(batch), dtype=np.bool_)


def _shares_by_class(data: FusionData, takes: NDArray[np.bool_], targets: NDArray[Any]) -> dict[str, float]:
    if data.task != "classification":
        return {}
    return {
        name: float(takes[targets == number].mean())
        for number, name in enumerate(data.class_names)
        if (targets == number).any()
    }


def _sample(data: FusionData, targets: NDArray[Any], fused: NDArray[np.float64], number: int) -> Sample:
    target = targets[number]
    named = data.class_names[int(target)] if data.task == "classification" else tuple(target.tolist())
    return Sample(sample=int(number), target=named, fused=float(fused[number]))


def _confidence(
    unimodal: Mapping[str, FusionNetwork],
    batch: Batch,
    data: FusionData,
    device: torch.device,
    fused: NDArray[np.float64],
) -> Confidence:
    if data.task != "classification":
        return Confidence(unimodal={})
    some = np.unique(np.linspace(0, len(batch) - 1, min(MAX_POINTS, len(batch))).astype(np.int64))
    few = batch.take(torch.from_numpy(some).to(batch.targets.device))
    outputs = {name: predict(network, few, device)[0] for name, network in unimodal.items()}
    confidences = {name: tuple(one.softmax(dim=1).max(dim=1).values.tolist()) for name, one in outputs.items()}
    return Confidence(fused=tuple(fused[some].tolist()), unimodal=confidences)


def _without(network: RoutedNetwork, name: str, batch: Batch, device: torch.device, metric: str) -> Without:
    """Score and multiply-adds where a modality is absent for all samples; the network does not get to see it."""
    outputs, picked = predict_routed(network, batch.without(name), device)
    reached = score(metric, outputs.numpy(), batch.targets.cpu().numpy())
    return Without(
        score=reached,
        multiply_adds=float(network.router.costs.cpu()[picked].mean()),
        does_without=any(name not in route for route in network.router.routes),
    )


__all__ = ["Routes", "explain", "in_words"]
