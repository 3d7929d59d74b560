"""Blocks on one source that convolve over time."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from nas.codegen import Source, Term, names
from nas.space.operation import Operation

KERNEL = 3


class _ConvolutionBlock(Operation):
    """What both share: a norm, a convolution, and the input beside it."""

    order = 3
    min_inputs = 1
    max_inputs = 1

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.norm = nn.LayerNorm(channels)

    def convolved(self, normed: Tensor) -> Tensor:
        """(batch, channels, time) to the same shape."""
        raise NotImplementedError

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, time, channels)."""
        (tap,) = taps
        return tap + F.gelu(self.convolved(self.norm(tap).transpose(1, 2))).transpose(1, 2)

    def written(self, inputs: Sequence[Term], layers: Sequence[str]) -> Source:
        """The code of a block whose convolution is these layers, one after the other."""
        (tap,) = names(inputs)
        convolved = "normed"
        for layer in layers:
            convolved = f"self.{layer}({convolved})"
        return Source(
            doc=f"Adds what a convolution over time makes of {tap} to it.",
            arguments=[tap],
            members={name: name for name in ("norm", *layers)},
            forward=[
                f"normed = self.norm({tap}).transpose(1, 2)",
                f"return {tap} + F.gelu({convolved}).transpose(1, 2)",
            ],
        )


class ConvolutionBlock(_ConvolutionBlock):
    """y = x1 + GELU(W ∗ LN(x1) + b), with a kernel of three time steps.

    A layer of Xu et al. 2021, "MUFASA: Multimodal Fusion Architecture Search for Electronic Health Records". Departure:
    the activation is fixed.
    """

    formula = "x1 + GELU(W ∗ LN(x1) + b)"
    sign = "∗"
    phrase = "pass {all} through a convolution over time"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.convolution = nn.Conv1d(channels, channels, KERNEL, padding=KERNEL // 2)

    def convolved(self, normed: Tensor) -> Tensor:
        """(batch, channels, time) to the same shape."""
        layer: Tensor = self.convolution(normed)
        return layer

    def multiply_adds(self, times: Sequence[int]) -> int:
        """One convolution."""
        return sum(times) * KERNEL * self.channels**2

    def source(self, inputs: Sequence[Term]) -> Source:
        """See `written`."""
        return self.written(inputs, ["convolution"])


class SeparableConvolutionBlock(_ConvolutionBlock):
    """y = x1 + GELU(V (w ∗ LN(x1)) + b), with a kernel w of three time steps for every channel of its own.

    A layer of Xu et al. 2021, "MUFASA: Multimodal Fusion Architecture Search for Electronic Health Records". Departure:
    the activation is fixed.
    """

    formula = "x1 + GELU(V (w ∗ LN(x1)) + b)"
    sign = "∗₁"
    phrase = "pass {all} through a separable convolution over time"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.over_time = nn.Conv1d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels, bias=False)
        self.over_channels = nn.Conv1d(channels, channels, 1)

    def convolved(self, normed: Tensor) -> Tensor:
        """(batch, channels, time) to the same shape."""
        layer: Tensor = self.over_channels(self.over_time(normed))
        return layer

    def multiply_adds(self, times: Sequence[int]) -> int:
        """Over time, then over channels."""
        return sum(times) * self.channels * (KERNEL + self.channels)

    def source(self, inputs: Sequence[Term]) -> Source:
        """See `written`."""
        return self.written(inputs, ["over_time", "over_channels"])
