"""Attention without projections: one source asks another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.codegen import Source, Term, matched, names
from nas.space.operation import AttentionWeights, Operation, match_times


class DotAttention(Operation):
    """y = LN(softmax(x1 [x2; x1]ᵀ / √channels) [x2; x1]): x1 asks x2, as they are.

    ScaledDotAttn of Yin et al. 2022, "BM-NAS: Bilevel Multimodal Neural Architecture Search". Departure: the steps of
    x1 are among those that are asked, so that a vector, which has one time step, still chooses how much it reads.
    """

    order = 3
    max_inputs = 2
    is_ordered = True
    formula = "LN(softmax(x1 [x2; x1]ᵀ / √channels) [x2; x1])"
    sign = "⋉"
    phrase = "let {first} attend to {rest} without projections"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        asking, other = taps
        asked = torch.cat([other, asking], dim=1)
        read = F.scaled_dot_product_attention(asking, asked, asked)
        normed: Tensor = self.norm(read)
        return match_times([normed, other])[0]

    def attention_weights(self, taps: list[Tensor]) -> list[AttentionWeights]:
        """Of the first input, which asks the second one and itself."""
        asking, other = taps
        scores = asking @ torch.cat([other, asking], dim=1).transpose(1, 2) * self.channels**-0.5
        return [AttentionWeights([0], [1, 0], scores.softmax(dim=2), "")]

    def multiply_adds(self, times: Sequence[int]) -> int:
        """Scores and weighted sum."""
        return 2 * times[0] * sum(times) * self.channels

    def source(self, inputs: Sequence[Term]) -> Source:
        """PyTorch's own attention."""
        one, other = names(inputs)
        read, _ = matched([Term("read", inputs[0].time), inputs[1]])
        return Source(
            doc=f"{one} reads from {other} and from itself, without projections.",
            arguments=[one, other],
            members={"norm": "norm"},
            forward=[
                f"asked = torch.cat([{other}, {one}], dim=1)",
                f"read = self.norm(F.scaled_dot_product_attention({one}, asked, asked))",
                f"return {read}",
            ],
        )
