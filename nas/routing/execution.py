"""Running every sample's own route: what a route skips is not computed.

Routed, the samples of each route are gathered, run by themselves, and scattered back. Dense, every route runs on the
whole batch and each sample's own one is kept; the outputs are the same, up to the rounding of sums in another order.
Either way encoders go on from the taps that the gate has read. In a cascade they go on from route to route, with the
samples that are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from nas.network.fusion_network import FusionNetwork, Inputs, Presence, Selection
from nas.routing.cascade import Cascade
from nas.routing.encoding import EncodingState, extend_taps, finish_taps, gather, start_encoding
from nas.routing.gates import Gate, Router, allowed_routes

GATHER_COST = 3_000_000
"""What it takes to gather and scatter the samples of one route, in multiply-adds that take as long on one CPU core.

About a third of a millisecond, in which vectors and sequences come to some ten million; see `benchmarks.routing`.
"""

Execution = Literal["routed", "dense"]


def run_gate(
    network: FusionNetwork,
    gate: Gate,
    routes: Sequence[Selection],
    inputs: Inputs,
    present: Presence,
    *,
    route: Tensor | None = None,
    execution: Execution | None = None,
) -> tuple[Tensor, Tensor]:
    """What the route puts out that a gate picks for every sample; see `nas.routing.network.RoutedNetwork.run`.

    Args:
        network: Runs the routes.
        gate: Picks them.
        routes: What each of them selects.
        inputs: The batch, with all modalities that some route reads.
        present: Which samples have which modality; an absent one forces the gate.
        route: Number of every sample's route, (batch,), in place of what the gate picks; the gate runs all the same.
        execution: Whether skipped work is really skipped; None leaves it to `cheaper_execution`.

    Returns:
        Outputs (batch, outputs), and the number of every sample's route, (batch,).
    """
    begun = start_encoding(network, inputs, gate.reads)
    logits = gate(begun.taps, present)
    picked = gate.pick(logits) if route is None else route
    counts = torch.bincount(picked, minlength=len(routes)).tolist()
    if (execution or cheaper_execution(gate, counts)) == "dense":
        names = taps_of_routes(network, routes)
        taps = network.adapt(finish_taps(network, begun, names), names, present)
        every = [network.fuse(taps, selection, batch_size=len(picked)) for selection in routes]
        return torch.stack(every)[picked, torch.arange(len(picked), device=picked.device)], picked
    outputs = logits.new_zeros(len(picked), network.head.scale.numel())
    needed = {number: network.needed_taps(routes[number]) for number, count in enumerate(counts) if count}
    common = [name for name in begun.taps if all(name in names for names in needed.values())]
    adapted = network.adapt(begun.taps, common, present)  # at once, before the samples part
    for number, names in needed.items():
        others = [name for name in names if name not in common]
        if len(needed) == 1:  # all alike: nothing to gather
            taps = {**adapted, **network.adapt(finish_taps(network, begun, others), others, present)}
            return network.fuse(taps, routes[number], batch_size=len(picked)), picked
        chosen = torch.nonzero(picked == number).flatten()
        there = {name: mask[chosen] for name, mask in present.items()}
        taps = network.adapt(finish_taps(network, begun.take(chosen, others), others), others, there)
        taps.update({name: gather(tap, chosen) for name, tap in adapted.items()})
        outputs[chosen] = network.fuse(taps, routes[number], batch_size=len(chosen)).to(outputs.dtype)
    return outputs, picked


def run_cascade(
    network: FusionNetwork,
    cascade: Cascade,
    routes: Sequence[Selection],
    inputs: Inputs,
    present: Presence,
    *,
    route: Tensor | None = None,
    execution: Execution | None = None,
) -> tuple[Tensor, Tensor]:
    """As `run_gate`: the samples that go on are gathered wherever that is cheaper than to take all of them along."""
    last = len(routes) - 1
    needed = [network.needed_taps(selection) for selection in routes]
    begun = EncodingState(inputs, {}, {})
    adapted: dict[str, Tensor] = {}
    some = next(iter(inputs.values()))[0]
    rows = torch.arange(some.shape[0], device=some.device)
    allowed = allowed_routes(cascade.routes, present, like=some)
    outputs, picked = network.head.scale.new_zeros(len(rows), len(network.head.scale)), torch.full_like(rows, last)
    is_open = torch.ones_like(rows, dtype=torch.bool)
    for number, selection in enumerate(routes):
        begun = extend_taps(network, begun, needed[number])
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


def taps_of_routes(network: FusionNetwork, routes: Sequence[Selection]) -> list[str]:
    """Names of the taps that some route reads, each once."""
    return list(dict.fromkeys(name for selection in routes for name in network.needed_taps(selection)))


def cheaper_execution(router: Router, counts: Sequence[int]) -> Execution:
    """Whether it is cheaper to run every sample's own route, or all routes on the whole batch.

    Decided by the multiply-adds in the router's `costs`; one that does not know them runs routed.

    Args:
        router: Of the network.
        counts: For every route how many samples of a batch take it.
    """
    costs = router.costs.tolist()
    taken = [number for number, count in enumerate(counts) if count]
    routed = sum(counts[number] * costs[number] for number in taken)
    if len(taken) > 1:
        routed += len(taken) * GATHER_COST
    # Dense, the encoders run once at least for the dearest route; what the others add is left out, in its favour.
    return "routed" if routed <= sum(counts) * max(costs) or not any(costs) else "dense"
