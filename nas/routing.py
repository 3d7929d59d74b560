"""Running a dynamic network: the gate picks one route per sample, and what a route skips is not computed.

Routed, the samples of each route are gathered, run by themselves, and scattered back. Dense, every route runs on the
whole batch and each sample's own one is kept; the outputs are the same, up to the rounding of sums in another order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from nas.graph import FusionNetwork, Inputs, Presence

GATHER_COST = 300_000
"""What it takes to gather and scatter the samples of one route, in multiply-adds that take as long on one CPU core.

About a tenth of a millisecond at three billion a second; `benchmarks.routing` measures what comes of it.
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
    encoded = network.encode(inputs, gate.reads)
    logits = gate(encoded, present)
    picked = logits.argmax(dim=1) if route is None else route
    counts = torch.bincount(picked, minlength=len(network.routes)).tolist()
    if (execution or cheaper_execution(network, counts)) == "dense":
        outputs, _ = every_route(network, inputs, present)
        rows = torch.arange(len(picked), device=picked.device)
        return outputs[picked, rows], picked
    outputs = logits.new_zeros(len(picked), network.head.scale.numel())
    for number, count in enumerate(counts):
        if count == len(picked):  # all alike: nothing to gather
            return _run_route(network, number, inputs, encoded, present), picked
        if count:
            chosen = torch.nonzero(picked == number).flatten()
            own = {name: tuple(a[chosen] for a in inputs[name]) for name in gate.routes[number]}
            known = {name: tap[chosen] for name, tap in encoded.items()}
            there = {name: mask[chosen] for name, mask in (present or {}).items()}
            outputs[chosen] = _run_route(network, number, own, known, there).to(outputs.dtype)
    return outputs, picked


def _run_route(
    network: FusionNetwork, number: int, inputs: Inputs, encoded: Mapping[str, Tensor], present: Presence | None
) -> Tensor:
    """One route on a batch of which the gate's taps are encoded already."""
    selection = network.routes[number]
    names = network.needed_taps(selection)
    further = network.encode(inputs, [name for name in names if name not in encoded])
    taps = network.adapt({**encoded, **further}, names, present)
    some = next(iter(encoded.values()))
    return network.fuse(taps, selection, batch_size=len(some))


def every_route(network: FusionNetwork, inputs: Inputs, present: Presence | None = None) -> tuple[Tensor, Tensor]:
    """What every route would put out for every sample; encoders and adapters run once for all of them.

    Returns:
        Outputs (routes, batch, outputs), and the gate's logits (batch, routes).
    """
    assert network.gate is not None
    names = taps_of_routes(network)
    encoded = network.encode(inputs, list(dict.fromkeys([*names, *network.gate.reads])))
    return fuse_routes(network, network.adapt(encoded, names, present), encoded, present)


def taps_of_routes(network: FusionNetwork) -> list[str]:
    """Names of the taps that some route reads, each once."""
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
