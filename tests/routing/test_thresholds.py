"""Where cascades learn to stop, on answers of which the best thresholds are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nas.config import TrainingConfig
from nas.metrics import losses_of_routes
from nas.routing.cascade import Cascade
from nas.routing.thresholds import fitted, fitted_to

COUNT = 600
SHARES = torch.tensor([0.2, 0.5, 1.0])
GENERATOR = torch.Generator().manual_seed(0)
TARGETS = torch.randint(0, 2, (COUNT,), generator=GENERATOR)
EASE = torch.arange(COUNT) % 3
"""The first route by which a sample is told; before that its answer is a coin that knows that it is one."""


def cascade() -> Cascade:
    made = Cascade([["a"], ["a", "b"], ["a", "b", "c"]], "classification")
    made.costs.copy_(100 * SHARES.double())
    made.static_cost.fill_(100.0)
    return made


def answers(unsure: float = 0.2, sure: float = 4.0) -> tuple[Tensor, Tensor]:
    """Outputs of three routes, (3, n, 2), and their losses, (n, 3)."""
    sign = 2.0 * TARGETS - 1
    coin = torch.randint(0, 2, (3, COUNT), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
    margin = torch.stack([torch.where(number >= EASE, sure * sign, unsure * coin[number]) for number in range(3)])
    outputs = torch.stack([-margin / 2, margin / 2], dim=2)
    return outputs, losses_of_routes("classification", outputs, TARGETS, torch.ones(2))


def picked(found: Cascade, outputs: Tensor) -> Tensor:
    with torch.no_grad():
        return found.pick(found(outputs))


def test_every_sample_stops_where_it_is_told() -> None:
    outputs, losses = answers()
    found = fitted_to(cascade(), outputs, losses, TrainingConfig(cost_weight=0.1))
    assert torch.equal(picked(found, outputs), EASE)
    assert float(found.price) == pytest.approx(0.1)
    assert torch.equal(found.costs, cascade().costs)


@pytest.mark.parametrize(("price", "route"), [(0.0, None), (50.0, 0)])
def test_a_price_beyond_all_losses_lets_nobody_go_on_and_none_lets_nobody_stop_unsure(
    price: float, route: int | None
) -> None:
    outputs, losses = answers()
    found = picked(fitted(cascade(), outputs, losses + price * SHARES), outputs)
    assert (found == route).all() if route is not None else (found >= EASE).all()


@pytest.mark.parametrize("budget", [0.3, 0.45, 0.57, 1.0])
def test_a_budget_is_spent_on_those_who_need_it(budget: float) -> None:
    """Those who are told at once stop at once; of the others as many go on as the budget allows, 0.567 for all."""
    outputs, losses = answers()
    scale = 0.5 + torch.rand(1, COUNT, 1, generator=torch.Generator().manual_seed(2))  # some are surer than others
    outputs = outputs * scale
    losses = losses_of_routes("classification", outputs, TARGETS, torch.ones(2))
    found = fitted_to(cascade(), outputs, losses, TrainingConfig(max_multiply_adds=budget))
    routes = picked(found, outputs)
    spent = float(SHARES[routes].mean())
    assert min(budget, 0.567) - 0.05 < spent <= budget
    assert (routes[EASE == 0] == 0).all() or budget > 0.567  # with more than enough nobody has to stop
    own = float(losses.gather(1, routes[:, None]).mean())
    low, high = float(losses[:, 0].mean()), float(losses.gather(1, EASE[:, None]).mean())
    share = min(1.0, (spent - 0.2) / (0.567 - 0.2))
    assert own < low + share * (high - low) + 0.02


def test_a_budget_below_the_cheapest_route_takes_that() -> None:
    outputs, losses = answers()
    found = fitted_to(cascade(), outputs, losses, TrainingConfig(max_multiply_adds=0.1))
    assert (picked(found, outputs) == 0).all()


def test_what_a_sample_lacks_counts_while_thresholds_are_learned() -> None:
    """Those who lack `a` may stop nowhere but at the last of all; those who are left still stop where they are told."""
    outputs, losses = answers()
    present = {"a": torch.arange(COUNT) % 2 == 0}
    config = replace(TrainingConfig(), cost_weight=0.1)
    found = fitted_to(cascade(), outputs, losses, config, present)
    with torch.no_grad():
        routes = found.pick(found(outputs, present))
    assert torch.equal(routes[present["a"]], EASE[present["a"]])
