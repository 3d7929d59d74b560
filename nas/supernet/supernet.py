"""The supernet: a network with every choice, together with the architecture parameters that weigh them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from nas.network.fusion_network import FusionNetwork


class Supernet(nn.Module):
    """Weights and architecture parameters, which together are all of its parameters.

    Args:
        network: Built from a whole search space.
        init_deviation: Of the normal draw of the architecture logits; DARTS takes 1e-3.
        edges: Whether every node has a second set of architecture logits, one for each set of inputs that it may read.
    """

    def __init__(self, network: FusionNetwork, *, init_deviation: float = 1e-3, edges: bool = False) -> None:
        super().__init__()
        self.network = network
        self.arch_logits = nn.ParameterDict(
            {node.name: nn.Parameter(init_deviation * torch.randn(len(node.choices))) for node in network.space.nodes}
        )
        self.edge_logits = nn.ParameterDict(
            {node.name: nn.Parameter(init_deviation * torch.randn(len(node.edges()))) for node in network.space.nodes}
            if edges
            else {}
        )

    def weights(self) -> Iterator[nn.Parameter]:
        """The network's ordinary parameters."""
        return self.network.parameters()

    def logits(self) -> dict[str, Tensor]:
        """Node to architecture logits, (choices,)."""
        return dict(self.arch_logits.items())

    def architecture_parameters(self) -> list[nn.Parameter]:
        """All that the search learns beside the weights."""
        return [*self.arch_logits.values(), *self.edge_logits.values()]
