"""The loss of a dynamic network: what its routes lose, and the price of the multiply-adds that its gate spends.

What architecture parameters are to all samples a gate is to each, so it learns as they do, on the architecture split:

    weights split, the gate held fixed:          u · mean_k loss_k + (1 − u) · relaxation_k(loss_k)
    architecture split, the weights held fixed:  relaxation_k(loss_k + price · cost_k)

with loss_k the loss of a sample on route k, and cost_k the multiply-adds of the whole network there, encoders and gate
included, as a share of those of the static architecture. After Xue and Marculescu 2023, "Dynamic Multimodal Fusion"
(DynMM), Eqs. 5 to 7, where both share one loss, the task's plus λ times the expected cost, on one split. Departure: on
samples that routes were trained on, the dearer one looks better than it is, for it remembers more of them.

As there, every route is trained before the gate is: u is 1 in the first part of a training and falls to 0 in the
second. In a cascade it stays 1: every route answers for every sample, if only to say that it is not sure, and on real
data all are the better for it, the last one included; where it stops is left to `nas.routing.thresholds`.

With a budget the price is no constant but a dual variable: it rises as long as the gate spends more than the budget,
and falls, to zero at least, as long as it spends less (Boyd and Vandenberghe 2004, "Convex Optimization", section 5.4).
That comes near; in the end `hold_budget` makes the gate keep it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nas.config import RoutingConfig
from nas.data.batches import Batch
from nas.metrics import losses_of_routes
from nas.routing.gates import SCHEDULES, Gate, Router, gumbel, reinforce, soft
from nas.routing.network import RoutedNetwork
from nas.tasks import Task

ROUTES_ALONE_UNTIL = 0.3
"""Share of a training after which the gate begins to learn."""

GATE_ALONE_FROM = 0.6
"""Share of a training after which every sample trains what the gate picks alone."""

DUAL_RATE = 20.0
"""How much the price rises over a whole training per share of the multiply-adds that are spent beyond the budget."""

OVERSPENT_PRICE = 1.0
"""Loss per share of the multiply-adds beyond the budget, by which networks are compared.

A few times what going on is worth to a gate that keeps a budget, so that one that cannot keep it does not win by that.
"""

FIRST_OFFSET, LAST_OFFSET, OFFSET_STEP = 1.0, 1e4, 1e-4
"""Logits per share of the multiply-adds: where the search for what keeps a budget begins, ends, and its precision."""


def gated_loss(
    task: Task,
    network: RoutedNetwork,
    batch: Batch,
    held_out: Batch,
    config: RoutingConfig,
    progress: float,
    num_steps: int,
    generator: torch.Generator,
) -> Tensor:
    """The loss of one step of a dynamic network, (): its gradient moves gate and weights, each by its own split.

    The router's price moves one step if there is a budget.

    Args:
        task: What the target is.
        network: In training mode; its router knows the costs of the routes.
        batch: Of the weights split.
        held_out: Of the architecture split.
        config: Which relaxation, which price or budget.
        progress: Of the training, 0 to 1.
        num_steps: Of the whole training.
        generator: On the CPU, of draws of the relaxation.
    """
    router = network.router
    losses, outputs, encoded = _losses_of_routes(task, network, batch)
    share = (progress - ROUTES_ALONE_UNTIL) / (GATE_ALONE_FROM - ROUTES_ALONE_UNTIL)
    if share <= 0:
        return losses.mean()
    share = min(1.0, share)
    with torch.no_grad():
        logits = router.logits(encoded, outputs, batch.present).float()
    weights_loss = (1 - share) * losses.mean() + share * _relaxed(losses, logits, config, progress, generator)
    network.eval()
    with torch.no_grad():
        losses, outputs, encoded = _losses_of_routes(task, network, held_out)
    network.train()
    logits = router.logits(encoded, outputs, held_out.present).float()
    if config.max_multiply_adds:
        spent = router.shares()[router.pick(logits.detach())].mean()
        _move_price(router, float(spent) - config.max_multiply_adds, num_steps)
    return weights_loss + _relaxed(losses + router.price * router.shares(), logits, config, progress, generator)


def routes_loss(task: Task, network: RoutedNetwork, batch: Batch) -> Tensor:
    """The mean loss of all routes, (): by this the weights of a cascade learn."""
    return _losses_of_routes(task, network, batch)[0].mean()


def _losses_of_routes(task: Task, network: RoutedNetwork, batch: Batch) -> tuple[Tensor, Tensor, Mapping[str, Tensor]]:
    """The loss of every sample on every route, (batch, routes); what the routes put out; and all encoded taps."""
    encoded = network.encode(batch.inputs, batch.present)
    outputs = network.fuse(network.network.adapt(encoded, network.taps(), batch.present))
    losses = losses_of_routes(
        task,
        outputs,
        batch.targets,
        network.head.scale,
        importance=batch.importance,
    )
    return losses, outputs, encoded


def _relaxed(
    prices: Tensor, logits: Tensor, config: RoutingConfig, progress: float, generator: torch.Generator
) -> Tensor:
    """Mean over the batch of what the gate's routes come to, ()."""
    if config.gate == "gumbel":
        temperature = SCHEDULES[config.gate_temperature](progress)
        return gumbel(prices, logits, temperature=temperature, generator=generator).mean()
    if config.gate == "reinforce":
        return reinforce(prices, logits, generator=generator).mean()
    return soft(prices, logits).mean()


@torch.no_grad()
def _move_price(router: Router, overspent: float, num_steps: int) -> None:
    router.price.add_(DUAL_RATE / num_steps * overspent).clamp_(min=0)


def gate_decides(progress: float) -> bool:
    """Whether samples train what the gate picks and nothing else: before that an epoch says little of a network."""
    return progress >= GATE_ALONE_FROM


def with_cost_penalty(losses: Tensor, spent: Tensor, config: RoutingConfig) -> Tensor:
    """Losses with the price of multiply-adds, so that networks and epochs can be compared, (n,).

    That of what each sample spends; with a budget, which is kept on average, of what all spend beyond it.

    Args:
        losses: Of samples, (n,).
        spent: Multiply-adds of each as a share of the static architecture's, which itself has no choice but to spend 1.
        config: With price or budget.
    """
    if config.max_multiply_adds:
        return losses + OVERSPENT_PRICE * (spent.mean() - config.max_multiply_adds).clamp(min=0)
    return losses + config.cost_weight * spent


@torch.no_grad()
def hold_budget(gate: Gate, logits: Tensor, budget: float) -> None:
    """Makes a gate dearer to itself until samples spend no more than a budget, if that can be.

    The price that a training has found by its end is a guess, made of batches, and the samples that pay it have not
    been asked again. Here all are: price · cost is taken off every route's bias, at the lowest price that keeps the
    budget.

    Args:
        gate: Changed in place, if it spends too much.
        logits: Of its samples, (n, routes).
        budget: As a share of the static architecture's multiply-adds.
    """
    shares = gate.shares().to(logits)

    def keeps(price: float) -> bool:
        return float(shares[gate.pick(logits - price * shares)].mean()) <= budget

    low, high = 0.0, 0.0 if keeps(0.0) else FIRST_OFFSET
    while not keeps(high) and high < LAST_OFFSET:
        low, high = high, 2 * high
    while high - low > OFFSET_STEP * high:
        between = (low + high) / 2
        low, high = (low, between) if keeps(between) else (between, high)
    gate.output.bias.sub_(high * gate.shares())
