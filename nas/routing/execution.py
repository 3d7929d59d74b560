"""Running a dynamic network: the gate picks one route per sample, and what a route skips is not computed.

Routed, the samples of each route are gathered, run by themselves, and scattered back. Dense, every route runs on the
whole batch and each sample's own one is kept; the outputs are the same, up to the rounding of sums in another order.
Either way encoders go on from the taps that the gate has read. In a cascade they go on from route to route, with the
samples that are left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from nas.architecture import deepest, tap_modality, tap_name
from nas.encoders.base import State
from nas.routing.cascade import Cascade
from nas.routing.gates import allowed_routes

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
    if isinstance(gate, Cascade):
        return _run_cascade(network, gate, inputs, present or {}, route, execution)
    begun = begin(network, inputs, gate.reads)
    logits = gate(begun.taps, present)
    picked = gate.pick(logits) if route is None else route
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
        taps.update({name: gather(tap, chosen) for name, tap in adapted.items()})
        outputs[chosen] = network.fuse(taps, network.routes[number], batch_size=len(chosen)).to(outputs.dtype)
    return outputs, picked


def _run_cascade(
    network: FusionNetwork,
    cascade: Cascade,
    inputs: Inputs,
    present: Presence,
    route: Tensor | None,
    execution: Execution | None,
) -> tuple[Tensor, Tensor]:
    """As `run_routes`: the samples that go on are gathered wherever that is cheaper than to take all of them along."""
    last = len(network.routes) - 1
    needed = [network.needed_taps(selection) for selection in network.routes]
    begun = Begun(inputs, {}, {})
    adapted: dict[str, Tensor] = {}
    some = next(iter(inputs.values()))[0]
    rows = torch.arange(some.shape[0], device=some.device)
    allowed = allowed_routes(cascade.routes, present, like=some)
    outputs, picked = network.head.scale.new_zeros(len(rows), len(network.head.scale)), torch.full_like(rows, last)
    is_open = torch.ones_like(rows, dtype=torch.bool)
    for number, selection in enumerate(network.routes):
        begun = advance(network, begun, needed[number])
        fresh = [name for name in needed[number] if name not in adapted]
        adapted.update(network.adapt(begun.taps, fresh, present))
        answers = network.fuse(adapted, selection, batch_size=len(rows))
        if number == last:
            stops = is_open
        elif route is None:
            stops = is_open & (cascade.stop(number, answers, allowed) > 0)
        else:
            stops = is_open & (route[rows] == number)
        outputs[rows[stops]] = answers[stops].to(outputs.dtype)
        picked[rows[stops]] = number
        is_open = is_open & ~stops
        left = int(is_open.sum())
        if number == last or (not left and execution != "dense"):
            break
        if left < len(rows) and execution != "dense":
            onward = float(cascade.costs[-1] - cascade.costs[number])
            if execution == "routed" or not onward or (len(rows) - left) * onward > GATHER_COST:
                kept = torch.nonzero(is_open).flatten()
                later = list(dict.fromkeys(name for names in needed[number + 1 :] for name in names))
                begun = begun.take(kept, later)
                adapted = {name: gather(tap, kept) for name, tap in adapted.items() if name in later}
                present = {name: mask[kept] for name, mask in present.items()}
                rows, allowed, is_open = rows[kept], allowed[kept], is_open[kept]
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
            {name: tuple(gather(a, rows) for a in self.inputs[name]) for name in further if name not in self.states},
            {name: gather(self.taps[name], rows) for name in names if name in self.taps},
            {
                name: (count, tuple(gather(part, rows) for part in state))
                for name, (count, state) in self.states.items()
                if name in further
            },
        )


def gather(tensor: Tensor, rows: Tensor) -> Tensor:
    """Some samples of (batch, …), in the same order in memory; on a CPU several times as fast as `tensor[rows]`."""
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)
    return tensor.index_select(0, rows)


def begin(network: FusionNetwork, inputs: Inputs, names: Sequence[str]) -> Begun:
    """Runs the encoders as deep as the named taps need, so that they can go on from there.

    Args:
        network: Whose encoders run.
        inputs: The batch, with all modalities that are read in the end.
        names: Of taps.
    """
    return advance(network, Begun(inputs, {}, {}), names)


def advance(network: FusionNetwork, begun: Begun, names: Sequence[str]) -> Begun:
    """Runs the encoders on, as deep as the named taps need; those that have not begun do so."""
    taps, states = dict(begun.taps), dict(begun.states)
    for modality, depth in deepest(name for name in names if name not in taps).items():
        encoder = network.encoder(modality)
        first, state = states[modality] if modality in states else (0, encoder.begin(begun.inputs[modality]))
        found, state = encoder.further(state, first, depth + 1)
        taps.update({tap_name(modality, first + number): tap for number, tap in enumerate(found)})
        states[modality] = (depth + 1, state)
    return Begun(begun.inputs, taps, states)


def go_on(network: FusionNetwork, begun: Begun, names: Sequence[str]) -> dict[str, Tensor]:
    """The named taps: those that are there, those of encoders that go on, and those of encoders that begin."""
    taps = advance(network, begun, names).taps
    return {name: taps[name] for name in names}


def every_route(network: FusionNetwork, inputs: Inputs, present: Presence | None = None) -> tuple[Tensor, Tensor]:
    """What every route would put out for every sample; encoders and adapters run once for all of them.

    Returns:
        Outputs (routes, batch, outputs), and the gate's logits (batch, routes).
    """
    encoded = encode_routes(network, inputs)
    outputs = fuse_routes(network, network.adapt(encoded, taps_of_routes(network), present))
    return outputs, route_logits(network, outputs, encoded, present)


def encode_routes(network: FusionNetwork, inputs: Inputs) -> dict[str, Tensor]:
    """The taps that some route or the gate reads, as the encoders put them out."""
    assert network.gate is not None
    return network.encode(inputs, list(dict.fromkeys([*taps_of_routes(network), *network.gate.reads])))


def taps_of_routes(network: FusionNetwork) -> list[str]:
    """Names of the taps that some route reads, each once; of a static network those that it reads."""
    return list(dict.fromkeys(name for selection in network.routes for name in network.needed_taps(selection)))


def fuse_routes(network: FusionNetwork, taps: Mapping[str, Tensor]) -> Tensor:
    """What comes after the encoders and adapters on every route, (routes, batch, outputs).

    Args:
        network: With a gate.
        taps: Those of all routes, as `FusionNetwork.adapt` returns them.
    """
    batch_size = len(next(iter(taps.values())))
    return torch.stack([network.fuse(taps, selection, batch_size=batch_size) for selection in network.routes])


def route_logits(
    network: FusionNetwork, outputs: Tensor, encoded: Mapping[str, Tensor], present: Presence | None = None
) -> Tensor:
    """The gate's logits, (batch, routes), by what it reads: the outputs of the routes in a cascade, or taps."""
    gate = network.gate
    assert gate is not None
    logits: Tensor = gate(outputs, present) if isinstance(gate, Cascade) else gate(encoded, present)
    return logits


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
