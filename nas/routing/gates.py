"""Gates: a small network that picks one route for every sample, and the relaxations by which it learns to.

A gate reads encoder taps that are computed before anything else, so what its route skips was never needed to decide.
All relaxations take what every route would come to for every sample, its loss and the price of its multiply-adds, and
return one number per sample whose gradient moves the gate and the routes alike.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.config import Schedule
from nas.network.cost import CostTable
from nas.objectives.reinforce import score_function
from nas.space.architecture import Architecture, tap_modality
from nas.streams import stream_modalities
from nas.supernet.relaxation import one_hot_draw

HIDDEN = 16
"""Width of a gate's hidden layer."""

FIRST_TEMPERATURE, LAST_TEMPERATURE = 1.0, 0.1


class Router(nn.Module, ABC):
    """What picks one route for every sample: a gate or a cascade.

    Args:
        routes: For every route the modalities that it reads.

    Attributes:
        costs: Multiply-adds of the whole network on every route, router and encoders included, (routes,) float64. Zeros
            until they are set by `set_costs`.
        static_cost: The same of the static architecture that is the last route, without any gate, ().
        price: Loss that the static architecture's multiply-adds are worth, (); see `nas.routing.loss`.
    """

    costs: Tensor
    static_cost: Tensor
    price: Tensor

    def __init__(self, routes: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self.routes = tuple(tuple(modalities) for modalities in routes)
        self.register_buffer("costs", torch.zeros(len(routes), dtype=torch.float64))
        self.register_buffer("static_cost", torch.zeros((), dtype=torch.float64))
        self.register_buffer("price", torch.zeros(()))

    @abstractmethod
    def logits(
        self, encoded: Mapping[str, Tensor], outputs: Tensor, present: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Logits of the routes, (batch, routes), where all of them have been run.

        Args:
            encoded: Tap to (batch, time, channels), as the encoder puts it out.
            outputs: Of every route, (routes, batch, outputs).
            present: Modality to (batch,) bool; modalities that all samples have are left out.
        """

    @abstractmethod
    def pick(self, logits: Tensor) -> Tensor:
        """The route of every sample, (batch,), by the logits of all routes, (batch, routes)."""

    @abstractmethod
    def multiply_adds(self) -> int:
        """Of one sample."""

    @abstractmethod
    def costs_of(self, routes: Sequence[Architecture], table: CostTable) -> list[int]:
        """Multiply-adds of the whole network on every route, but for the router's own."""

    def set_costs(self, routes: Sequence[Architecture], table: CostTable) -> None:
        """Learns what its routes cost.

        Args:
            routes: Static architectures; the last one is the static network's.
            table: Of the whole network on raw data, frozen encoders included.
        """
        self.costs.copy_(torch.tensor(self.costs_of(routes, table)) + self.multiply_adds())
        self.static_cost.fill_(table.total(routes[-1]))

    def shares(self) -> Tensor:
        """Multiply-adds of every route as a share of the static architecture's, (routes,)."""
        return (self.costs / self.static_cost.clamp(min=1)).float()


class Gate(Router):
    """Logits of the routes: W2 ReLU(W1 [mean over time of every tap that it reads] + b1) + b2.

    Args:
        reads: Names of the taps that it reads, at least one.
        channels: Of these taps, in the same order.
        routes: For every route the modalities that it reads.
    """

    def __init__(self, reads: Sequence[str], channels: Sequence[int], routes: Sequence[Sequence[str]]) -> None:
        super().__init__(routes)
        self.reads = tuple(reads)
        self.hidden = nn.Linear(sum(channels), HIDDEN)
        self.output = nn.Linear(HIDDEN, len(routes))

    def forward(self, encoded: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits of the routes, (batch, routes); −∞ for a route that reads an absent modality.

        Where a sample has all modalities of no route, the gate chooses among all, and what is absent is read as zeros.

        Args:
            encoded: Tap to (batch, time, channels), at least those that it reads.
            present: Modality to (batch,) bool; modalities that all samples have are left out.
        """
        logits: Tensor = self.output(F.relu(self.hidden(what_is_seen(self.reads, encoded, present))))
        return mask_routes(logits, self.routes, present or {})

    def logits(
        self,
        encoded: Mapping[str, Tensor],
        outputs: Tensor,  # noqa: ARG002  # as all routers
        present: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """By the taps alone; see `Router.logits`."""
        logits: Tensor = self(encoded, present)
        return logits

    def pick(self, logits: Tensor) -> Tensor:
        """The route of the highest logit; see `Router.pick`."""
        return logits.argmax(dim=1)

    def multiply_adds(self) -> int:
        """Of one sample."""
        return self.hidden.weight.numel() + self.output.weight.numel()

    def costs_of(self, routes: Sequence[Architecture], table: CostTable) -> list[int]:
        """Every sample is read by the gate, and then runs its own route."""
        return [table.of_route(route, self.reads) for route in routes]


def what_is_seen(
    reads: Sequence[str], encoded: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
) -> Tensor:
    """What a gate looks at: the means over time of the taps that it reads, side by side, (batch, channels).

    Args:
        reads: Names of these taps.
        encoded: Tap to (batch, time, channels).
        present: As in `Gate.forward`.
    """
    pooled = []
    for name in reads:
        tap = encoded[name].mean(dim=1)
        there = (present or {}).get(stream_modalities(tap_modality(name))[0])
        pooled.append(tap if there is None else tap * there[:, None].to(tap.dtype))
    return torch.cat(pooled, dim=1)


def mask_routes(logits: Tensor, routes: Sequence[Sequence[str]], present: Mapping[str, Tensor]) -> Tensor:
    """Logits with −∞ for routes that read a modality that a sample lacks, unless that would leave it no route.

    Args:
        logits: (batch, routes).
        routes: For every route the modalities that it reads.
        present: Modality to (batch,) bool.
    """
    if not present:
        return logits
    return logits.masked_fill(~allowed_routes(routes, present, like=logits), -torch.inf)


def allowed_routes(routes: Sequence[Sequence[str]], present: Mapping[str, Tensor], *, like: Tensor) -> Tensor:
    """Whether a sample has all that a route reads, (batch, routes) bool; of one that has all of no route, every one.

    Args:
        routes: For every route the modalities that it reads.
        present: Modality to (batch,) bool.
        like: (batch, …), on the device.
    """
    allowed = like.new_ones(like.shape[0], len(routes), dtype=torch.bool)
    for number, modalities in enumerate(routes):
        for name in modalities:
            if name in present:
                allowed[:, number] &= present[name]
    return allowed | ~allowed.any(dim=1, keepdim=True)


def soft(prices: Tensor, logits: Tensor) -> Tensor:
    """What a route drawn from the gate's softmax would come to on average: Σ_k softmax(logits)_k · prices_k, (batch,).

    Xue and Marculescu 2023, "Dynamic Multimodal Fusion" (DynMM), weigh the outputs of the routes. Departure: losses are
    weighed, which makes this the exact expectation of what the hard gate does, without bias and without noise.

    Args:
        prices: What every route comes to, (batch, routes).
        logits: Of the gate, (batch, routes), −∞ for what is not allowed.
    """
    return (logits.softmax(dim=1) * prices).sum(dim=1)


def gumbel(prices: Tensor, logits: Tensor, *, temperature: float, generator: torch.Generator) -> Tensor:
    """What one route comes to, drawn by straight-through Gumbel-softmax, (batch,).

    Jang et al. 2017, "Categorical Reparameterization with Gumbel-Softmax", section 2.2; DynMM, section 3.3: with
    p = softmax((log_softmax(logits) + Gumbel noise) / temperature) and h = onehot(argmax p) − stopgrad(p) + p it is
    Σ_k h_k · prices_k. Its value is that of the drawn route alone. Departures: as in `soft`; and DynMM's code leaves
    out the noise, this does not.

    Args:
        prices: (batch, routes).
        logits: (batch, routes).
        temperature: Positive; see `exponential` and `linear`.
        generator: On the CPU, so that draws are the same on every device.

    Raises:
        ValueError: If the temperature is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}; {FIRST_TEMPERATURE} is where it starts")
    return (one_hot_draw(logits, temperature, generator) * prices).sum(dim=1)


def reinforce(prices: Tensor, logits: Tensor, *, generator: torch.Generator) -> Tensor:
    """What one route comes to, drawn from the gate's softmax; the gate learns by the score function, (batch,).

    Williams 1992, "Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning": the
    gradient of the gate is (price − baseline) · ∇ log p(route). The baseline of a sample is the mean price of the
    others in its batch (Kool et al. 2019, "Buy 4 REINFORCE Samples, Get a Baseline for Free!", there over draws of one
    sample), zero for a batch of one. The value is the price of the drawn route alone.

    Args:
        prices: (batch, routes).
        logits: (batch, routes).
        generator: On the CPU, so that draws are the same on every device.
    """
    drawn = torch.multinomial(logits.detach().float().softmax(dim=1).cpu(), 1, generator=generator).to(logits.device)
    price = prices.gather(1, drawn).squeeze(1)
    score = score_function(price.detach(), logits.log_softmax(dim=1).gather(1, drawn).squeeze(1))
    return price + (score - score.detach())


def exponential(progress: float) -> float:
    """Temperature from 1 at progress 0 to 0.1 at progress 1, by equal factors.

    DynMM: τ = τ0 · (τ1 / τ0)^progress. Departure: the paper ends at 1e-4, where hardly a gradient is left.
    """
    return FIRST_TEMPERATURE * math.pow(LAST_TEMPERATURE / FIRST_TEMPERATURE, progress)


def linear(progress: float) -> float:
    """Temperature from 1 at progress 0 to 0.1 at progress 1, by equal steps."""
    return FIRST_TEMPERATURE + (LAST_TEMPERATURE - FIRST_TEMPERATURE) * progress


SCHEDULES: Mapping[Schedule, Callable[[float], float]] = {"exponential": exponential, "linear": linear}
