"""Parameters and multiply-adds of whole networks, encoders included."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.network.fusion_network import FusionNetwork, Inputs, with_streams
from nas.space.architecture import Architecture, deepest, tap_name
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from nas.streams import STEMS, is_joined, num_taps


def multiply_adds(network: nn.Module, inputs: Inputs) -> int:
    """Multiply-adds of one forward pass in evaluation mode, for the batch given.

    Half of what `torch.utils.flop_counter` counts: matrix products, convolutions and attention.

    Args:
        network: Takes `inputs`.
        inputs: Usually one sample, so that the figure is per sample.
    """
    training = network.training
    network.eval()
    # The counter's module tracker cannot cope with views of parameters made under no_grad, hence gradients.
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        network(inputs)
    network.train(training)
    return int(counter.get_total_flops()) // 2


def num_parameters(network: nn.Module) -> int:
    """Number of scalars in all parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in network.parameters())


@dataclass(frozen=True)
class CostTable:
    """Multiply-adds of every part of a supernet for one sample, so that any architecture's cost is a sum.

    Attributes:
        encoders: Tap name to the multiply-adds of its encoder up to that tap.
        extensions: Two tap names of one modality to those of its encoder that goes on from the one to the other.
        adapters: Tap name to those of its adapter.
        times: Tap name to its number of time steps.
        operations: Name of an operation and the time steps of its inputs to those of the operation.
        head: Those of the head.
    """

    encoders: Mapping[str, int]
    extensions: Mapping[tuple[str, str], int]
    adapters: Mapping[str, int]
    times: Mapping[str, int]
    operations: Mapping[tuple[str, tuple[int, ...]], int]
    head: int

    @classmethod
    def measure(cls, network: FusionNetwork, inputs: Inputs) -> CostTable:
        """Counts each part once.

        Args:
            network: A supernet or a derived network.
            inputs: One sample as a batch of one.
        """
        space = network.space
        encoders, extensions, adapters, times = {}, {}, {}, {}
        given = with_streams(inputs, network.encoders)
        training = network.training
        network.eval()
        with torch.enable_grad():  # see `multiply_adds`
            for modality in network.encoders:
                encoder = network.encoder(modality)
                count = num_taps(modality, space.depths)
                for depth in range(count):
                    name = tap_name(modality, depth)
                    with FlopCounterMode(display=False) as counter:
                        taps, state = encoder.extend_to(encoder.start(given[modality]), 0, [depth])
                    encoders[name] = int(counter.get_total_flops()) // 2
                    times[name] = taps[depth].shape[1]
                    adapters[name] = times[name] * taps[depth].shape[2] * network.channels
                    if is_joined(modality) and depth != STEMS:
                        continue  # from where there is no going on
                    for deeper in range(depth + 1, count):
                        with FlopCounterMode(display=False) as counter:
                            encoder.extend_to(state, depth + 1, [deeper])
                        extensions[name, tap_name(modality, deeper)] = int(counter.get_total_flops()) // 2
        network.train(training)
        return cls(
            encoders, extensions, adapters, times, _operations(network, times), network.head.linear.weight.numel()
        )

    def steps(self, architecture: Architecture) -> dict[str, int]:
        """Multiply-adds of the operation of every step of a static architecture, by the step's name."""
        times, found = dict(self.times), {}
        for step in architecture.steps:
            lengths = tuple(times[name] for name in step.inputs)
            found[step.name] = self.operations[step.operation, lengths]
            times[step.name] = _time_of_sum(max(lengths), times[step.add_to] if step.add_to else None)
        return found

    def total(self, architecture: Architecture) -> int:
        """Multiply-adds of the whole derived network of a static architecture, encoders only as deep as they are read.

        Of a dynamic one they differ from route to route: see `of_route`.
        """
        taps = architecture.taps()
        adapters = sum(self.adapters[tap] for tap in taps)
        return self._encoders(taps) + adapters + sum(self.steps(architecture).values()) + self.head

    def of_route(self, route: Architecture, reads: Sequence[str]) -> int:
        """Multiply-adds of the whole network on one route, but for those of the gate itself.

        The gate's taps are encoded for every sample; on a route that reads deeper ones of the same modality, its
        encoder goes on from there.

        Args:
            route: A static architecture.
            reads: Names of the taps that the gate reads.
        """
        begun = deepest(reads)
        onward = sum(
            self.extensions[tap_name(name, begun[name]), tap_name(name, depth)]
            if name in begun and depth > begun[name]
            else 0
            if name in begun
            else self.encoders[tap_name(name, depth)]
            for name, depth in route.deepest().items()
        )
        return self._encoders(reads) + onward + self.total(route) - self._encoders(route.taps())

    def of_cascade(self, routes: Sequence[Architecture]) -> list[int]:
        """Multiply-adds of the whole network if it stops after each of these routes, which are run in their order.

        Encoders go on from where the route before has left them, and what is adapted is adapted once.
        """
        spent, taps, found = 0, dict[str, None](), []
        for route in routes:
            begun, fresh = deepest(taps), [tap for tap in route.taps() if tap not in taps]
            for name, depth in deepest(fresh).items():
                first = tap_name(name, begun[name]) if name in begun else None
                if first is None or depth > begun[name]:
                    last = tap_name(name, depth)
                    spent += self.extensions[first, last] if first else self.encoders[last]
            spent += sum(self.adapters[tap] for tap in fresh) + self.head
            spent += sum(self.steps(route).values())
            taps.update(dict.fromkeys(fresh))
            found.append(spent)
        return found

    def _encoders(self, taps: Sequence[str]) -> int:
        """Of all encoders, each as deep as its deepest tap."""
        return sum(self.encoders[tap_name(modality, depth)] for modality, depth in deepest(taps).items())


def _operations(network: FusionNetwork, times: Mapping[str, int]) -> dict[tuple[str, tuple[int, ...]], int]:
    """What every choice costs, whatever the time steps that the nodes it reads come to have."""
    space, found = network.space, {}
    possible = {name: {time} for name, time in times.items()}
    for node in space.nodes:
        own = set[int]()
        for choice in node.choices:
            for lengths in itertools.product(*(possible[name] for name in choice.inputs)):
                if not lengths:
                    continue
                own.add(max(lengths))
                if (choice.operation, lengths) not in found:
                    operation = network.operation(node.name, choice.key)
                    found[choice.operation, lengths] = operation.multiply_adds(lengths)
        for before in _residuals(space, node):
            own |= {_time_of_sum(one, other) for one in own for other in possible[before]} | possible[before]
        possible[node.name] = own
    return found


def _residuals(space: SearchSpace, node: FusionNode) -> set[str]:
    """The nodes whose states a node's output may be added to: of a dynamic architecture they differ by route."""
    if space.fixed is None:
        return {node.residual} if node.residual else set()
    steps = [step for route in space.fixed.routes() for step in route.steps if step.name == node.name]
    return {step.add_to for step in steps if step.add_to}


def _time_of_sum(time: int, other: int | None) -> int:
    """Time steps of the sum of two states, as `nas.network.fusion_network.add_states` has it."""
    return time if other is None or other == time else 1
