"""A user's own network as an encoder, tapped by naming its submodules."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from nas.encoders.base import Encoder, State, tap_from_map, tap_from_sequence, tap_from_vector
from nas.errors import UserError, unknown_name

MAX_BLOCKS = 6
"""Taps that are chosen of a network which does not say where to tap it."""


class ModuleEncoder(Encoder):
    """Runs the module once and takes the outputs of the named submodules as taps.

    Outputs of two axes are vectors, of three (batch, time, channels) sequences, of four (batch, channels, height,
    width) maps. The whole module runs whatever taps are wanted, since its layers are its own.

    Args:
        module: Takes one tensor (batch, …), the modality's array in the number type of the module's own weights.
        taps: Names of submodules as in `named_modules`, shallow to deep.
        example: One batch, (batch, …), run once in evaluation mode to learn the channels; None where they are given.
        tokens: Whether the array holds token ids, which the module takes as int64.
        channels: Of the taps, where they are known.

    Raises:
        UserError: If a name is unknown, a submodule is not run, or its output is not one tensor of 2 to 4 axes.
    """

    def __init__(
        self,
        module: nn.Module,
        taps: Sequence[str],
        example: Tensor | None,
        *,
        tokens: bool = False,
        channels: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.module = module
        self.tap_names = tuple(taps)
        modules = dict(module.named_modules())
        self._outputs: dict[str, Tensor] = {}
        for name in self.tap_names:
            if name not in modules:
                raise unknown_name("submodule", name, [known for known in modules if known])
            # A bound method, not a closure: a deep copy of the encoder then keeps outputs in itself.
            modules[name].register_forward_hook(partial(self._keep, name))
        if channels is None:
            assert example is not None
            training = module.training
            module.eval()
            with torch.no_grad():
                channels = [tap.shape[2] for tap in self([example])]
            module.train(training)
        self.channels = tuple(channels)

    def _keep(self, name: str, _module: nn.Module, _inputs: object, output: object) -> None:
        if not isinstance(output, Tensor) or output.dim() not in (2, 3, 4):
            raise UserError(f"submodule {name!r} must return one tensor of 2, 3 or 4 axes to be tapped")
        self._outputs[name] = output

    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
        """Maps ((batch, …),) to the taps of the named submodules."""
        self._outputs.clear()
        self.module(as_input(self.module, inputs[0], tokens=self.tokens))
        taps = []
        for name in self.tap_names[:num_taps]:
            if name not in self._outputs:
                raise UserError(f"submodule {name!r} was not run; name one that the forward pass goes through")
            output = self._outputs[name]
            taps.append({2: tap_from_vector, 3: tap_from_sequence, 4: tap_from_map}[output.dim()](output))
        self._outputs.clear()
        return taps

    def start(self, inputs: Sequence[Tensor]) -> State:
        """All taps, since the whole module runs anyway."""
        return tuple(self(inputs))

    def extend(self, state: State, first: int, num_taps: int | None = None) -> tuple[list[Tensor], State]:
        """The taps from `first` on, which are there already."""
        return list(state[first:num_taps]), state


def as_input(module: nn.Module, values: Tensor, *, tokens: bool) -> Tensor:
    """Values in the number type that a module takes: that of its weights, or int64 for token ids."""
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    return values.to(torch.int64 if tokens else dtype)


def spread(count: int) -> list[int]:
    """Which of so many blocks are tapped: at most `MAX_BLOCKS` of them, evenly spread, the last one among them."""
    taps = min(MAX_BLOCKS, count)
    return [round((number + 1) * count / taps) - 1 for number in range(taps)]


def submodule_outputs(module: nn.Module, names: list[str], values: Tensor) -> dict[str, Tensor]:
    """What submodules put out as a module runs, in the order in which they run."""
    outputs: dict[str, Tensor] = {}
    hooks = [
        module.get_submodule(name).register_forward_hook(lambda *call, name=name: outputs.update({name: call[2]}))
        for name in names
    ]
    try:
        module(values)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs
