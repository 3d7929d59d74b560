"""Networks that decide per sample: a static network that holds the choices of all routes, and a router."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from nas.config import TrainingConfig
from nas.data.fusion_data import FusionData
from nas.encoders import EncoderBuilder
from nas.network.cost import CostTable
from nas.network.fusion_network import FusionNetwork, Head, Inputs, Presence, inputs_of, with_streams
from nas.routing.cascade import Cascade
from nas.routing.execution import Execution, run_cascade, run_gate, taps_of_routes
from nas.routing.gates import Gate, Router
from nas.space.architecture import Architecture, Cascading, tap_depth, tap_modality
from nas.space.search_space import SearchSpace
from nas.tasks import Task
from nas.training.build import build_network


class RoutedNetwork(nn.Module):
    """Runs one of several routes through a static network for every sample: the one that its router picks.

    Args:
        network: Holds the choices of all routes; its space holds one dynamic architecture.
        router: A gate or a cascade over the routes of that architecture.

    Attributes:
        routes: The static architectures of which each sample takes one.
    """

    def __init__(self, network: FusionNetwork, router: Router) -> None:
        super().__init__()
        self.network = network
        self.router = router
        self.routes = self.architecture.routes()

    @classmethod
    def of(cls, network: FusionNetwork, task: Task) -> RoutedNetwork:
        """Adds a fresh router, as the architecture of the network's space asks for it.

        Args:
            network: Its space holds one dynamic architecture.
            task: What the outputs are; a cascade asks them how sure they are.
        """
        architecture = network.architecture
        gating, modalities = architecture.gating, [route.modalities() for route in architecture.routes()]
        if isinstance(gating, Cascading):
            return cls(network, Cascade(modalities, task))
        assert gating is not None
        channels = [network.encoder(tap_modality(tap)).channels[tap_depth(tap)] for tap in gating.reads]
        return cls(network, Gate(gating.reads, channels, modalities))

    @property
    def architecture(self) -> Architecture:
        """The dynamic architecture that it runs."""
        return self.network.architecture

    @property
    def encoders(self) -> nn.ModuleDict:
        """Those of the static network."""
        return self.network.encoders

    @property
    def head(self) -> Head:
        """That of the static network."""
        return self.network.head

    def forward(self, inputs: Mapping[str, Tensor | Sequence[Tensor]], present: Presence | None = None) -> Tensor:
        """Computes logits or predictions, (batch, num_outputs), each sample on the route that is picked for it.

        Args:
            inputs: The batch, as for a `FusionNetwork`.
            present: Which samples have which modality; an absent one forces the router.
        """
        read = inputs_of(self.encoders, inputs)
        arrays: Inputs = {name: (given,) if isinstance(given, Tensor) else given for name, given in read.items()}
        return self.run(arrays, present)[0]

    def run(
        self,
        inputs: Inputs,
        present: Presence | None = None,
        *,
        route: Tensor | None = None,
        execution: Execution | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What every sample's route puts out.

        Args:
            inputs: The batch, with all modalities that some route reads.
            present: Which samples have which modality; an absent one forces the router.
            route: Number of every sample's route, (batch,), in place of what the router picks.
            execution: Whether skipped work is really skipped; None takes what is cheaper.

        Returns:
            Outputs (batch, outputs), and the number of every sample's route, (batch,).
        """
        inputs = with_streams(inputs, self.encoders, present)
        if isinstance(self.router, Cascade):
            run = run_cascade(
                self.network, self.router, self.routes, inputs, present or {}, route=route, execution=execution
            )
        else:
            assert isinstance(self.router, Gate)
            run = run_gate(
                self.network, self.router, self.routes, inputs, present or {}, route=route, execution=execution
            )
        return run

    def every_route(self, inputs: Inputs, present: Presence | None = None) -> tuple[Tensor, Tensor]:
        """What every route would put out for every sample; encoders and adapters run once for all of them.

        Returns:
            Outputs (routes, batch, outputs), and the router's logits (batch, routes).
        """
        encoded = self.encode(inputs, present)
        outputs = self.fuse(self.network.adapt(encoded, self.taps(), present))
        return outputs, self.router.logits(encoded, outputs, present)

    def taps(self) -> list[str]:
        """Names of the taps that some route reads, each once."""
        return taps_of_routes(self.network, self.routes)

    def encode(self, inputs: Inputs, present: Presence | None = None) -> dict[str, Tensor]:
        """The taps that some route or the router reads, as the encoders put them out."""
        return self.network.encode(inputs, list(dict.fromkeys([*self.taps(), *taps_of_router(self.router)])), present)

    def fuse(self, taps: Mapping[str, Tensor]) -> Tensor:
        """What comes after the encoders and adapters on every route, (routes, batch, outputs).

        Args:
            taps: Those of all routes, as `FusionNetwork.adapt` returns them.
        """
        batch_size = len(next(iter(taps.values())))
        return torch.stack([self.network.fuse(taps, selection, batch_size=batch_size) for selection in self.routes])

    def set_costs(self, table: CostTable) -> None:
        """Tells the router what its routes cost.

        Args:
            table: Of the whole network on raw data, frozen encoders included.
        """
        self.router.set_costs(self.architecture.routes(), table)


DerivedNetwork = FusionNetwork | RoutedNetwork
"""What an architecture is built to: a static network, or one that decides per sample."""


def taps_of_router(router: Router) -> tuple[str, ...]:
    """Names of the taps that a router reads: a cascade reads answers."""
    return router.reads if isinstance(router, Gate) else ()


def static_part(network: DerivedNetwork) -> FusionNetwork:
    """The network that holds encoders, adapters, fusion nodes and head: itself, or what a routed one wraps."""
    return network.network if isinstance(network, RoutedNetwork) else network


def build_routed(
    space: SearchSpace,
    data: FusionData,
    config: TrainingConfig,
    builders: Mapping[str, EncoderBuilder] | None = None,
) -> RoutedNetwork:
    """A fresh network for a space that holds one dynamic architecture; see `nas.training.build.build_network`."""
    return RoutedNetwork.of(build_network(space, data, config, builders), data.task)


__all__ = ["DerivedNetwork", "RoutedNetwork", "build_routed", "static_part", "taps_of_router"]
