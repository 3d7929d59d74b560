"""A dynamic network as a program: each sample is routed by `torch.cond`, or every route runs on the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nas.export.portable import Portable
from nas.routing import taps_of_routes


class Routed(nn.Module):
    """Runs every route on the samples that take it; a route that no sample of the batch takes is not run.

    The same as `nas.routing.run_routes`, in words that a tracer understands: a route is a branch of `torch.cond`, which
    becomes an If in ONNX.

    Args:
        portable: With a gate.
    """

    def __init__(self, portable: Portable) -> None:
        super().__init__()
        self.portable = portable

    def forward(self, *inputs: Tensor) -> Tensor:
        """As `Portable.forward`."""
        network = self.portable.network
        gate = network.gate
        assert gate is not None
        arrays, present = self.portable.named(inputs)
        encoded = network.encode(arrays, gate.reads)
        picked = gate(encoded, present).argmax(dim=1)
        outputs = network.head.linear.weight.new_zeros(picked.shape[0], network.head.scale.numel())
        # Copies, for a branch must not take one tensor twice, and without encoders the taps are the inputs.
        taps = [tap.clone() for tap in encoded.values()]
        for number in range(len(network.routes)):
            takes = picked == number
            given = (outputs, takes, *inputs, *taps)
            outputs = torch.cond(takes.any(), self._run(number, list(encoded)), _skip, given)
        return outputs

    def _run(self, number: int, read: Sequence[str]) -> Callable[..., Tensor]:
        """One route as a function of outputs so far, which samples take it, the inputs and the taps that were read."""
        portable, network = self.portable, self.portable.network
        selection = network.routes[number]
        names = network.needed_taps(selection)

        def run(outputs: Tensor, takes: Tensor, *given: Tensor) -> Tensor:
            rows = torch.nonzero(takes).flatten()
            count = rows.shape[0]
            torch._check(count > 0)  # a tracer would ask
            own = [tensor[rows] for tensor in given]
            arrays, present = portable.named(own[: len(portable.names)])
            encoded = dict(zip(read, own[len(portable.names) :], strict=True))
            encoded |= network.encode(arrays, [name for name in names if name not in encoded])
            taps = network.adapt(encoded, names, present)
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
        network, (arrays, present) = self.portable.network, self.portable.named(inputs)
        gate = network.gate
        assert gate is not None
        names = taps_of_routes(network)
        encoded = network.encode(arrays, list(dict.fromkeys([*names, *gate.reads])))
        taps, logits = network.adapt(encoded, names, present), gate(encoded, present)
        # Not by `fuse_routes`: a tracer would take the `len` of a batch for a constant.
        outputs = [network.fuse(taps, selection, batch_size=logits.shape[0]) for selection in network.routes]
        picked = logits.argmax(dim=1)[None, :, None].expand(1, -1, outputs[0].shape[1])
        return torch.stack(outputs).gather(0, picked)[0]


__all__ = ["Dense", "Routed"]
