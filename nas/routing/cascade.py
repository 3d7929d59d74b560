"""A cascade: routes that are run one after another, until one is sure enough of its answer.

What is read from raw data by a gate, before anything is computed, says where a sample needs more. Often it is rather
the answer of a cheap route that does. So a cascade has no gate that reads taps: it runs its routes in their order, each
going on from what is there, and stops at the first whose answer is sure enough to be the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.errors import UserError
from nas.network.cost import CostTable
from nas.routing.gates import Router, allowed_routes
from nas.space.architecture import Architecture
from nas.tasks import TASKS, Task

LEVER = 10.0
"""How much faster a threshold moves than a slope: it has further to go."""

CERTAIN = 1e4
"""Logit of stopping where there is no choice; finite, so that gradients are."""


class Cascade(Router):
    """Stops after route k with probability σ(slope_k · confidence_k − threshold_k), and after the last one for good.

    Teerapittayanon et al. 2016, "BranchyNet: Fast Inference via Early Exiting from Deep Neural Networks", stop where
    the entropy of an answer is below a threshold that is set by hand, and exits differ in depth. Departures: exits are
    routes, which differ in the modalities that they read as well; the thresholds are learned, by what an answer loses
    and by what going on costs, see `nas.routing.thresholds`; and confidence is the log-odds of the most probable
    answer.

    Args:
        routes: For every route the modalities that it reads.
        task: What the outputs are.

    Attributes:
        costs: As in `Router`; of a route with those of all routes before it, which have been run by then.

    Raises:
        UserError: For regression, whose answers do not tell how sure they are.
    """

    def __init__(self, routes: Sequence[Sequence[str]], task: Task) -> None:
        super().__init__(routes)
        if not TASKS[task].has_probabilities:
            raise UserError("a cascade stops where an answer is sure, which those of regression do not tell")
        self.task = task
        self.slope = nn.Parameter(torch.ones(len(routes) - 1))
        self.threshold = nn.Parameter(torch.zeros(len(routes) - 1))

    def forward(self, outputs: Tensor, present: Mapping[str, Tensor] | None = None) -> Tensor:
        """Log-probabilities of stopping at each route, (batch, routes).

        Where a sample lacks what a route reads it does not stop there, unless it lacks something on all of them.

        Args:
            outputs: Of every route, (routes, batch, outputs).
            present: Modality to (batch,) bool; modalities that all samples have are left out.
        """
        sure = torch.stack([TASKS[self.task].confidence(some) for some in outputs[:-1]], dim=1)
        return self.log_probabilities(sure, allowed_routes(self.routes, present or {}, like=outputs[0]))

    def logits(
        self,
        encoded: Mapping[str, Tensor],  # noqa: ARG002  # as all routers
        outputs: Tensor,
        present: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """By the answers of the routes alone; see `Router.logits`."""
        logits: Tensor = self(outputs, present)
        return logits

    def log_probabilities(self, sure: Tensor, allowed: Tensor) -> Tensor:
        """Likewise from how sure the answers of all routes but the last one are, (batch, routes − 1)."""
        later = allowed[:, 1:].flip(1).int().cummax(dim=1).values.flip(1).bool()  # whether it may stop after that one
        stops = _where_allowed(self.slope * sure - LEVER * self.threshold, allowed[:, :-1], later)
        going_on = F.logsigmoid(-stops).cumsum(dim=1)
        until = F.pad(going_on, (1, 0))
        return torch.cat([until[:, :-1] + F.logsigmoid(stops), until[:, -1:]], dim=1)

    def stop(self, number: int, outputs: Tensor, allowed: Tensor) -> Tensor:
        """Logit of stopping after a route, (batch,): positive where it does so in evaluation mode.

        Args:
            number: Of the route, not the last one.
            outputs: What it puts out, (batch, outputs).
            allowed: Of `nas.routing.gates.allowed_routes`, (batch, routes).
        """
        logit = self.slope[number] * TASKS[self.task].confidence(outputs) - LEVER * self.threshold[number]
        return _where_allowed(logit, allowed[:, number], allowed[:, number + 1 :].any(dim=1))

    def pick(self, logits: Tensor) -> Tensor:
        """The first route where stopping is more probable than going on; see `Router.pick`."""
        probabilities = logits.softmax(dim=1)
        later = probabilities.flip(1).cumsum(dim=1).flip(1) - probabilities
        stops = probabilities > later
        stops[:, -1] = True
        return stops.int().argmax(dim=1)

    def multiply_adds(self) -> int:
        """Of one sample that runs through all routes."""
        return self.slope.numel()

    def costs_of(self, routes: Sequence[Architecture], table: CostTable) -> list[int]:
        """A sample that stops after a route has run all before it."""
        return table.of_cascade(routes)


def _where_allowed(logits: Tensor, here: Tensor, later: Tensor) -> Tensor:
    """Logits of stopping, certain where a sample may not stop here, or may not stop later."""
    return logits.masked_fill(~here, -CERTAIN).masked_fill(here & ~later, CERTAIN)
