"""Blocks on one source: a small network that goes on from a tap, or from what was fused already."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.codegen import Source, Term, names
from nas.space.operation import AttentionWeights, Operation
from search_spaces.operations.attention import Attention


class MLPBlock(Operation):
    """y = x1 + V GELU(W LN(x1) + b) + c at every time step, with a hidden layer twice as wide as the channels.

    The feed-forward half of a pre-norm transformer layer (Xiong et al. 2020, "On Layer Normalization in the Transformer
    Architecture", Table 1). Departure: GELU instead of ReLU.
    """

    order = 3
    min_inputs = 1
    max_inputs = 1
    formula = "x1 + V GELU(W LN(x1) + b) + c"
    sign = "ƒ₁"
    phrase = "pass {all} through a residual MLP block"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.norm = nn.LayerNorm(channels)
        self.hidden = nn.Linear(channels, 2 * channels)
        self.output = nn.Linear(2 * channels, channels)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, time, channels)."""
        (tap,) = taps
        block: Tensor = tap + self.output(F.gelu(self.hidden(self.norm(tap))))
        return block

    def multiply_adds(self, times: Sequence[int]) -> int:
        """Both layers at every time step."""
        return sum(times) * 4 * self.channels**2

    def source(self, inputs: Sequence[Term]) -> Source:
        """A norm and two layers."""
        (tap,) = names(inputs)
        return Source(
            doc=f"Adds a small network of {tap} to it.",
            arguments=[tap],
            members={name: name for name in ("norm", "hidden", "output")},
            forward=[f"return {tap} + self.output(F.gelu(self.hidden(self.norm({tap}))))"],
        )


class AttentionBlock(Operation):
    """y = MLPBlock(x1 + W Attention(LN(x1); LN(x1) and a learned rest) + b): one pre-norm transformer layer.

    Vaswani et al. 2017, "Attention Is All You Need", section 3.1, with the norms before both halves as in Xiong et al.
    2020, "On Layer Normalization in the Transformer Architecture", Table 1. Departures: a hidden layer of twice the
    channels instead of four times, GELU, and a learned token `rest` among the keys, so that a vector, which has one
    time step, still chooses how much to read.
    """

    order = 3
    min_inputs = 1
    max_inputs = 1
    formula = "s + V GELU(W LN(s)), s = x1 + U Attention(LN(x1); LN(x1) and a learned rest)"
    sign = "⟲"
    phrase = "let the time steps of {all} attend to one another (self-attention block)"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.norm = nn.LayerNorm(channels)
        self.attention = Attention(channels)
        self.rest = nn.Parameter(torch.randn(channels) * 0.5)
        self.attended = nn.Linear(channels, channels)
        self.feed_forward = MLPBlock(1, channels)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, time, channels)."""
        (tap,) = taps
        read = self.attention(*self._asking_and_asked(tap))
        block: Tensor = self.feed_forward([tap + self.attended(read)])
        return block

    def attention_weights(self, taps: list[Tensor]) -> list[AttentionWeights]:
        """Of the time steps, which ask one another."""
        (tap,) = taps
        return [AttentionWeights([0], [0], self.attention.weights(*self._asking_and_asked(tap)), "nothing")]

    def _asking_and_asked(self, tap: Tensor) -> tuple[Tensor, Tensor]:
        normed = self.norm(tap)
        rest = self.rest.expand(tap.shape[0], 1, -1)
        return normed, torch.cat([normed, rest], dim=1)

    def multiply_adds(self, times: Sequence[int]) -> int:
        """Attention over all time steps and the rest, its output map, and the feed-forward half."""
        (time,) = times
        attention = self.attention.multiply_adds(time, time + 1)
        return attention + time * self.channels**2 + self.feed_forward.multiply_adds(times)

    def source(self, inputs: Sequence[Term]) -> Source:
        """One transformer layer."""
        (tap,) = names(inputs)
        return Source(
            doc=f"One transformer layer: the time steps of {tap} read from one another, or from a learned token.",
            arguments=[tap],
            members={
                **{name: name for name in ("norm", "attention", "rest", "attended")},
                **{f"feed_forward_{name}": f"feed_forward.{name}" for name in ("norm", "hidden", "output")},
            },
            forward=[
                f"normed = self.norm({tap})",
                f"rest = self.rest.expand({tap}.shape[0], 1, -1)",
                f"state = {tap} + self.attended(self.attention(normed, torch.cat([normed, rest], dim=1)))",
                "hidden = F.gelu(self.feed_forward_hidden(self.feed_forward_norm(state)))",
                "return state + self.feed_forward_output(hidden)",
            ],
        )


class GLUBlock(Operation):
    """y = x1 + (W LN(x1) + b) ⊙ σ(V LN(x1) + c) at every time step.

    Dauphin et al. 2017, "Language Modeling with Gated Convolutional Networks", Eq. 1, with a kernel of one time step.
    """

    order = 3
    min_inputs = 1
    max_inputs = 1
    formula = "x1 + (W LN(x1) + b) ⊙ σ(V LN(x1) + c)"
    sign = "σ⊙"
    phrase = "pass {all} through a gated linear block"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.norm = nn.LayerNorm(channels)
        self.linear = nn.Linear(channels, 2 * channels)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, time, channels)."""
        (tap,) = taps
        return tap + F.glu(self.linear(self.norm(tap)), dim=-1)

    def multiply_adds(self, times: Sequence[int]) -> int:
        """One layer at every time step."""
        return sum(times) * 2 * self.channels**2

    def source(self, inputs: Sequence[Term]) -> Source:
        """A norm and a layer."""
        (tap,) = names(inputs)
        return Source(
            doc=f"Adds a gated linear layer of {tap} to it.",
            arguments=[tap],
            members={"norm": "norm", "linear": "linear"},
            forward=[f"return {tap} + F.glu(self.linear(self.norm({tap})), dim=-1)"],
        )
