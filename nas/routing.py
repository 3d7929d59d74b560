"""Running a dynamic network: the gate picks one route per sample, and what a route skips is not computed.

Routed, the samples of each route are gathered, run by themselves, and scattered back. Dense, every route runs on the
whole batch and each sample's own one is kept; the outputs are the same, up to the rounding of sums in another order.
Either way encoders go on from the taps that the gate has read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from nas.architecture import deepest, tap_modality, tap_name
from nas.encoders.base import State

if TYPE_CHECKING:
    from nas.graph import FusionNetwork, Inputs, Presence

GATHER_COST = 3_000_000
"""What it takes to gather and scatter the samples of one route, in multiply-adds that take as long on one CPU core.

About a third of a millisecond, in which vectors and sequences come to some ten million; see `benchmarks.routing`.
"""

Execution = Literal["routed", "dense"]


def run_routes(
    network: FusionNetwork,
    inputs: Inputs,
    present: Presence | None = None,
    *,
    route: Tensor | None = None,
    execution: Execution | None = None,
) -> tuple[Tensor, Tensor]:
    """What every sample's route puts out.

    Args:
        network: With a gate.
        inputs: The batch, with all modalities that some route reads.
        present: Which samples have which modality; an absent one forces the gate.
        route: Number of every sample's route, (batch,), in place of what the gate picks; the gate runs all the same.
        execution: Whether skipped work is really skipped; None leaves it to `cheaper_execution`.

    Returns:
        Outputs (batch, outputs), and the number of every sample's route, (batch,).
    """
    gate = network.gate
    assert gate is not None
    begun = begin(network, inputs, gate.reads)
    logits = gate(begun.taps, present)
    picked = logits.argmax(dim=1) if route is None else route
    counts = torch.bincount(picked, minlength=len(network.routes)).tolist()
    if (execution or cheaper_execution(network, counts)) == "dense":
        names = taps_of_routes(network)
        taps = network.adapt(go_on(network, begun, names), names, present)
        every = [network.fuse(taps, selection, batch_size=len(picked)) for selection in network.routes]
        return torch.stack(every)[picked, torch.arange(len(picked), device=picked.device)], picked
    outputs = logits.new_zeros(len(picked), network.head.scale.numel())
    needed = {number: network.needed_taps(network.routes[number]) for number, count in enumerate(counts) if count}
    common = [name for name in begun.taps if all(name in names for names in needed.values())]
    adapted = network.adapt(begun.taps, common, present)  # at once, before the samples part
    for number, names in needed.items():
        others = [name for name in names if name not in common]
        if len(needed) == 1:  # all alike: nothing to gather
            taps = {**adapted, **network.adapt(go_on(network, begun, others), others, present)}
            return network.fuse(taps, network.routes[number], batch_size=len(picked)), picked
        chosen = torch.nonzero(picked == number).flatten()
        there = {name: mask[chosen] for name, mask in (present or {}).items()}
        taps = network.adapt(go_on(network, begun.take(chosen, others), others), others, there)
        taps.update({name: tap[chosen] for name, tap in adapted.items()})
        outputs[chosen] = network.fuse(taps, network.routes[number], batch_size=len(chosen)).to(outputs.dtype)
    return outputs, picked


@dataclass(frozen=True)
class Begun:
    """How far a network's encoders have come with some samples.

    Attributes:
        inputs: The samples themselves.
        taps: Those that are there, each (batch, time, channels).
        states: Modality to its number of taps that are there, and what its encoder goes on from.
    """

    inputs: Inputs
    taps: Mapping[str, Tensor]
    states: Mapping[str, tuple[int, State]]

    def take(self, rows: Tensor, names: Sequence[str]) -> Begun:
        """Some of the samples, (rows,), and of them what it takes to compute the named taps."""
        further = {tap_modality(name) for name in names if name not in self.taps}
        return Begun(
            {name: tuple(a[rows] for a in self.inputs[name]) for name in further if name not in self.states},
            {name: self.taps[name][rows] for name in names if name in self.taps},
            {
                name: (count, tuple(part[rows] for part in state))
                for name, (count, state) in self.states.items()
                if name in further
            },
        )


def begin(network: FusionNetwork, inputs: Inputs, names: Sequence[str]) -> Begun:
    """Runs the encoders as deep as the named taps need, so that they can go on from there.

    Args:
        network: Whose encoders run.
        inputs: The batch, with all modalities that are read in the end.
        names: Of taps.
    """
    taps: dict[str, Tensor] = {}
    states = {}
    for modality, depth in deepest(names).items():
        encoder = network.encoder(modality)
        found, state = encoder.further(encoder.begin(inputs[modality]), 0, depth + 1)
        taps.update({tap_name(modality, number): tap for number, tap in enumerate(found)})
        states[modality] = (depth + 1, state)
    return Begun(inputs, taps, states)


def go_on(network: FusionNetwork, begun: Begun, names: Sequence[str]) -> dict[str, Tensor]:
    """The named taps: those that are there, those of encoders that go on, and those of encoders that begin."""
    missing = [name for name in names if name not in begun.taps]
    taps = {name: begun.taps[name] for name in names if name in begun.taps}
    taps.update(network.encode(begun.inputs, [name for name in missing if tap_modality(name) not in begun.states]))
    for modality, depth in deepest(name for name in missing if tap_modality(name) in begun.states).items():
        first, state = begun.states[modality]
        found, _ = network.encoder(modality).further(state, first, depth + 1)
        taps.update({tap_name(modality, first + number): tap for number, tap in enumerate(found)})
    return taps


def every_route(network: FusionNetwork, inputs: Inputs, present: Presence | None = None) -> tuple[Tensor, Tensor]:
    """What every route would put out for every sample; encoders and adapters run once for all of them.

    Returns:
        Outputs (routes, batch, outputs), and the gate's logits (batch, routes).
    """
    return every_route_from(network, encode_routes(network, inputs), present)


def every_route_from(
    network: FusionNetwork, encoded: Mapping[str, Tensor], present: Presence | None = None
) -> tuple[Tensor, Tensor]:
    """The same from taps that `encode_routes` has returned."""
    return fuse_routes(network, network.adapt(encoded, taps_of_routes(network), present), encoded, present)


def encode_routes(network: FusionNetwork, inputs: Inputs) -> dict[str, Tensor]:
    """The taps that some route or the gate reads, as the encoders put them out."""
    assert network.gate is not None
    return network.encode(inputs, list(dict.fromkeys([*taps_of_routes(network), *network.gate.reads])))


def taps_of_routes(network: FusionNetwork) -> list[str]:
    """Names of the taps that some route reads, each once; of a static network those that it reads."""
    return list(dict.fromkeys(name for selection in network.routes for name in network.needed_taps(selection)))


def fuse_routes(
    network: FusionNetwork, taps: Mapping[str, Tensor], encoded: Mapping[str, Tensor], present: Presence | None = None
) -> tuple[Tensor, Tensor]:
    """What comes after the encoders and adapters on every route; see `every_route`.

    Args:
        network: With a gate.
        taps: Those of all routes, as `FusionNetwork.adapt` returns them.
        encoded: Those of the gate, as `FusionNetwork.encode` returns them.
        present: Which samples have which modality.
    """
    assert network.gate is not None
    logits: Tensor = network.gate(encoded, present)
    outputs = [network.fuse(taps, selection, batch_size=len(logits)) for selection in network.routes]
    return torch.stack(outputs), logits


def cheaper_execution(network: FusionNetwork, counts: Sequence[int]) -> Execution:
    """Whether it is cheaper to run every sample's own route, or all routes on the whole batch.

    Decided by the multiply-adds in the gate's `costs`; a network that does not know them runs routed.

    Args:
        network: With a gate.
        counts: For every route how many samples of a batch take it.
    """
    gate = network.gate
    assert gate is not None
    costs = gate.costs.tolist()
    taken = [number for number, count in enumerate(counts) if count]
    routed = sum(counts[number] * costs[number] for number in taken)
    if len(taken) > 1:
        routed += len(taken) * GATHER_COST
    # Dense, the encoders run once at least for the dearest route; what the others add is left out, in its favour.
    return "routed" if routed <= sum(counts) * max(costs) or not any(costs) else "dense"
