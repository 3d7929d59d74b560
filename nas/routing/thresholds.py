"""Where a cascade stops: its slopes and thresholds, fitted to the answers of its routes when these are trained.

All routes of a cascade learn from all samples, wherever it stops, so it need not stop anywhere while they do. What is
left to be learned afterwards are two numbers a route:

    min over slopes and thresholds of the mean over samples of  Σ_k p_k · (loss_k + price · cost_k)

with p_k the probability of stopping at route k, see `nas.routing.cascade`. With a budget the price is the lowest one
at which the samples of the fit spend no more than that.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor

from nas.config import RoutingConfig
from nas.network.fusion_network import Presence
from nas.routing.cascade import Cascade
from nas.routing.gates import allowed_routes, soft
from nas.tasks import TASKS

FIT_STEPS, FIT_RATE = 300, 0.03
"""Of Adam, on all samples at once."""

FIRST_PRICE, LAST_PRICE, HALVINGS = 0.05, 100.0, 8
"""The price is doubled until the budget is kept, then found between that and the last one by halving."""


def fitted(cascade: Cascade, outputs: Tensor, prices: Tensor, present: Presence | None = None) -> Cascade:
    """A cascade of the same routes that has learned where to stop, on the CPU.

    Args:
        cascade: Left as it is.
        outputs: Of the routes, (routes, n, outputs).
        prices: What every sample comes to on every route, loss and multiply-adds, (n, routes).
        present: Modality to (n,) bool; modalities that all samples have are left out.
    """
    found = Cascade(cascade.routes, cascade.task)
    found.costs.copy_(cascade.costs)
    found.static_cost.copy_(cascade.static_cost)
    sure = torch.stack([TASKS[found.task].confidence(some) for some in outputs[:-1]], dim=1)
    allowed = allowed_routes(found.routes, present or {}, like=outputs[0])
    optimizer = torch.optim.Adam(found.parameters(), lr=FIT_RATE)
    for _ in range(FIT_STEPS):
        optimizer.zero_grad()
        soft(prices, found.log_probabilities(sure, allowed)).mean().backward()
        optimizer.step()
    return found


def fitted_to(
    cascade: Cascade, outputs: Tensor, losses: Tensor, config: RoutingConfig, present: Presence | None = None
) -> Cascade:
    """Likewise at the price of a configuration, or within its budget.

    Where not even the cheapest route keeps to the budget, that is what is left at a price that outweighs all losses.

    Args:
        cascade: That knows the costs of its routes; left as it is.
        outputs: Of the routes, (routes, n, outputs).
        losses: Of every sample on every route, (n, routes).
        config: With price or budget.
        present: As in `fitted`.

    Returns:
        A cascade that knows its price.
    """
    shares, budget = cascade.shares().cpu(), config.max_multiply_adds

    def at(price: float) -> Cascade:
        found = fitted(cascade, outputs, losses + price * shares, present)
        found.price.fill_(price)
        return found

    @torch.no_grad()
    def keeps(found: Cascade) -> bool:
        return float(shares[found.pick(found(outputs, present))].mean()) <= budget

    if not budget:
        return at(config.cost_weight)
    dear = at(0.0)
    if keeps(dear):
        return dear
    cheap = at(FIRST_PRICE)
    while not keeps(cheap) and cheap.price < LAST_PRICE:
        dear, cheap = cheap, at(2 * float(cheap.price))
    for _ in range(HALVINGS):
        between = at(float(dear.price + cheap.price) / 2)
        dear, cheap = (dear, between) if keeps(between) else (between, cheap)
    # Where the best thresholds jump at some price, those between them spend what is left of the budget.
    for _ in range(HALVINGS):
        between = _between(dear, cheap)
        dear, cheap = (dear, between) if keeps(between) else (between, cheap)
    return cheap


def _between(one: Cascade, other: Cascade) -> Cascade:
    found = deepcopy(one)
    halfway = {name: (value + other.state_dict()[name]) / 2 for name, value in one.state_dict().items()}
    found.load_state_dict(halfway)
    return found
