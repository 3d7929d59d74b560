"""A network with a gate as a program: each sample is routed by `torch.cond`, or every route runs on the whole batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nas.export.portable import Portable, routed_network
from nas.routing.encoding import EncodingState, finish_taps, start_encoding
from nas.routing.gates import Gate


class Routed(nn.Module):
    """Runs every route on the samples that take it; a route that no sample of the batch takes is not run.

    The same as `nas.routing.execution.run_gate`, in words that a tracer understands: a route is a branch of
    `torch.cond`, which becomes an If in ONNX.

    Args:
        portable: With a gate.
    """

    def __init__(self, portable: Portable) -> None:
        super().__init__()
        self.portable = portable

    def forward(self, *inputs: Tensor) -> Tensor:
        """As `Portable.forward`."""
        routed, gate = routed_network(self.portable), gate_of(self.portable)
        network = routed.network
        arrays, present = self.portable.named(inputs)
        begun = start_encoding(network, arrays, gate.reads)
        picked = gate.pick(gate(begun.taps, present))
        outputs = network.head.linear.weight.new_zeros(picked.shape[0], network.head.scale.numel())
        # Copies, for a branch must not take one tensor twice: taps may be inputs, or views of what is gone on from.
        parts = [
            part.clone() for part in (*begun.taps.values(), *(p for _, state in begun.states.values() for p in state))
        ]
        for number in range(len(routed.routes)):
            takes = picked == number
            outputs = torch.cond(takes.any(), self._run(number, begun), _skip, (outputs, takes, *inputs, *parts))
        return outputs

    def _run(self, number: int, begun: EncodingState) -> Callable[..., Tensor]:
        """One route as a function of outputs so far, which samples take it, the inputs, and the tensors of `begun`."""
        portable, routed = self.portable, routed_network(self.portable)
        network, selection = routed.network, routed.routes[number]
        names, known = network.needed_taps(selection), list(begun.taps)
        states = {modality: (count, len(state)) for modality, (count, state) in begun.states.items()}

        def run(outputs: Tensor, takes: Tensor, *given: Tensor) -> Tensor:
            rows = torch.nonzero(takes).flatten()
            count = rows.shape[0]
            torch._check(count > 0)  # a tracer would ask
            own = [tensor[rows] for tensor in given]
            arrays, present = portable.named(own[: len(portable.names)])
            rest = iter(own[len(portable.names) :])
            there = {name: next(rest) for name in known}
            gone = {m: (depth, tuple(next(rest) for _ in range(width))) for m, (depth, width) in states.items()}
            taps = network.adapt(finish_taps(network, EncodingState(arrays, there, gone), names), names, present)
            return outputs.index_copy(0, rows, network.fuse(taps, selection, batch_size=count))

        return run


def _skip(outputs: Tensor, *_given: Tensor) -> Tensor:
    return outputs.clone()  # a branch must not return what it was given


class Dense(nn.Module):
    """Runs every route on every sample, and keeps what the gate picks.

    Args:
        portable: With a gate.
    """

    def __init__(self, portable: Portable) -> None:
        super().__init__()
        self.portable = portable

    def forward(self, *inputs: Tensor) -> Tensor:
        """As `Portable.forward`."""
        routed, gate = routed_network(self.portable), gate_of(self.portable)
        network, (arrays, present) = routed.network, self.portable.named(inputs)
        encoded = routed.encode(arrays)
        taps, logits = network.adapt(encoded, routed.taps(), present), gate(encoded, present)
        # Not by `RoutedNetwork.fuse`: a tracer would take the `len` of a batch for a constant.
        outputs = [network.fuse(taps, selection, batch_size=logits.shape[0]) for selection in routed.routes]
        picked = logits.argmax(dim=1)[None, :, None].expand(1, -1, outputs[0].shape[1])
        return torch.stack(outputs).gather(0, picked)[0]


def gate_of(portable: Portable) -> Gate:
    """The gate of a network that has one."""
    router = routed_network(portable).router
    assert isinstance(router, Gate)
    return router


__all__ = ["Dense", "Routed"]
