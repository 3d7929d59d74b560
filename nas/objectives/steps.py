"""Steps of a chosen length: what a plain gradient step would do with a smaller gradient, under any optimizer.

SGD takes half a step where the gradient is halved. AdamW divides the gradient by its own size, so that a factor that
stays is divided out; here the step itself is scaled, after it was taken.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nas.network.fusion_network import FusionNetwork
from nas.space.architecture import tap_modality


class ScaledSteps:
    """Takes a part of the step of every modality: `start` before the optimizer moves the weights, `end` after it."""

    def __init__(self) -> None:
        self._before: list[tuple[nn.Parameter, Tensor, float]] = []

    def start(self, network: FusionNetwork, coefficients: Mapping[str, float]) -> None:
        """Keeps the weights that shall not go all the way.

        Args:
            network: With its gradients.
            coefficients: Modality to how much of a step it shall take, 0 to 1.
        """
        self._before = [
            (parameter, parameter.detach().clone(), coefficient)
            for modality, coefficient in coefficients.items()
            if coefficient < 1
            for parameter in parameters_of(network, modality)
            if parameter.grad is not None
        ]

    @torch.no_grad()
    def end(self) -> None:
        """Takes back what was too much of the step."""
        for parameter, before, coefficient in self._before:
            parameter.copy_(torch.lerp(before, parameter, coefficient))
        self._before = []


def parameters_of(network: FusionNetwork, modality: str) -> list[nn.Parameter]:
    """What is learned of one modality before it meets others: of its encoder, if that is not frozen, and adapters."""
    own = sorted(tap for tap in network.space.taps() if tap_modality(tap) == modality)
    modules = [network.encoders[modality], *map(network.adapter, own)]
    return [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
