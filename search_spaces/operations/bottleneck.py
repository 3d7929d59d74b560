"""Attention bottleneck: modalities meet in a few shared tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas.codegen import Source, Term, listed, names
from nas.space.operation import AttentionWeights, Operation, match_times
from search_spaces.operations.attention import Attention, read_and_summed

TOKENS = 4


class Bottleneck(Operation):
    """y = W Σ_i (xi + Attention(xi; Z)), Z = z + mean_i Attention(z; [xi; z]), with four learned tokens z.

    Nagrani et al. 2021, "Attention Bottlenecks for Multimodal Fusion", Eqs. 8 and 9. Departures: one round, without
    the feed-forward layers and norms; the modalities share the projections.
    """

    order = 3
    formula = "W Σ_i (xi + Attention(xi; Z)) + b, Z = z + mean_i Attention(z; [xi; z])"
    sign = "⧓"
    phrase = "let {all} exchange through a few tokens (bottleneck)"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.tokens = nn.Parameter(torch.randn(TOKENS, channels) * 0.5)
        self.gather = Attention(channels)
        self.spread = Attention(channels)
        self.output = nn.Linear(channels, channels)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        tokens = self.tokens.expand(taps[0].shape[0], -1, -1)
        gathered = [self.gather(tokens, torch.cat([tap, tokens], dim=1)) for tap in taps]
        shared = tokens + torch.stack(gathered).mean(dim=0)
        read = [tap + self.spread(tap, shared) for tap in taps]
        fused: Tensor = self.output(torch.stack(match_times(read)).sum(dim=0))
        return fused

    def attention_weights(self, taps: list[Tensor]) -> list[AttentionWeights]:
        """Of the shared tokens, which ask every input; what inputs read from them in turn says nothing by itself."""
        tokens = self.tokens.expand(taps[0].shape[0], -1, -1)
        return [
            AttentionWeights([], [i], self.gather.weights(tokens, torch.cat([tap, tokens], dim=1)), "shared token")
            for i, tap in enumerate(taps)
        ]

    def multiply_adds(self, times: Sequence[int]) -> int:
        """Gathering and spreading per modality, then the output map at the longest time."""
        gather = sum(self.gather.multiply_adds(TOKENS, time + TOKENS) for time in times)
        spread = sum(self.spread.multiply_adds(time, TOKENS) for time in times)
        return gather + spread + max(times) * self.channels**2

    def source(self, inputs: Sequence[Term]) -> Source:
        """Two attentions: into the shared tokens, and out of them."""
        gathered = [f"{term.text}_gathered" for term in inputs]
        return Source(
            doc=f"{listed(inputs)} meet in {TOKENS} shared tokens, from which each reads.",
            arguments=names(inputs),
            members={name: name for name in ("tokens", "gather", "spread", "output")},
            forward=[
                f"tokens = self.tokens.expand({inputs[0].text}.shape[0], -1, -1)",
                *(
                    f"{name} = self.gather(tokens, torch.cat([{term.text}, tokens], dim=1))"
                    for name, term in zip(gathered, inputs, strict=True)
                ),
                f"shared = tokens + ({' + '.join(gathered)}) / {len(inputs)}",
                *read_and_summed(inputs, [f"self.spread({term.text}, shared)" for term in inputs]),
            ],
        )
