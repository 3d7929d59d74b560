"""REINFORCE: hard gates inside operations draw what they pass, and learn from what it cost.

Williams 1992, "Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning": the gradient
of a gate is (loss − baseline) · ∇ log p(drawn). The baseline of a sample is the mean loss of the others in its batch
(Kool et al. 2019, "Buy 4 REINFORCE Samples, Get a Baseline for Free!", there over draws of one sample). Everything else
learns from the loss of what was drawn. Without this objective such gates learn straight through, and draw nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nas.network.fusion_network import FusionNetwork, Selection
from nas.objectives.base import ForwardPass, Objective
from nas.space.operation import DrawingOperation


class Reinforce(Objective):
    """The loss of what was drawn, and the score of the gates that drew it.

    Args:
        network: To be trained; one operation of it draws at least.
    """

    replaces_loss = True

    def __init__(self, network: FusionNetwork) -> None:
        super().__init__()
        self._gates = drawing(network)

    def loss(self, forward: ForwardPass, progress: float) -> Tensor:  # noqa: ARG002  # the interface of all objectives
        """Over all selections of the pass; its value is the mean loss alone."""
        return torch.stack([self._loss_of(forward, one) for one in forward.selections]).mean()

    def _loss_of(self, forward: ForwardPass, selection: Selection) -> Tensor:
        drawn: list[Tensor] = []
        for gate in self._gates:
            gate.log_probabilities = drawn
        outputs = forward.network.fuse(forward.taps, selection, batch_size=len(forward.batch))
        for gate in self._gates:
            gate.log_probabilities = None
        losses = forward.losses(outputs)
        if not drawn:
            return losses.mean()
        score = score_function(losses.detach(), torch.stack(drawn).sum(dim=0))
        return (losses + (score - score.detach())).mean()


def drawing(network: FusionNetwork) -> list[DrawingOperation]:
    """All operations of a network that can draw what they do."""
    return [module for module in network.modules() if isinstance(module, DrawingOperation)]


def score_function(prices: Tensor, log_probabilities: Tensor) -> Tensor:
    """(price − baseline) · log p(drawn), (batch,); the baseline of a sample is the mean price of the others, or zero.

    Args:
        prices: What was drawn came to, (batch,), without gradients.
        log_probabilities: Of what was drawn, (batch,).
    """
    baseline = (prices.sum() - prices) / max(1, len(prices) - 1)
    return (prices - baseline) * log_probabilities
