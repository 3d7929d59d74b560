"""Attention over time: every modality asks all the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from nas.codegen import Source, Term, listed, matched, names
from nas.space.operation import AttentionWeights, Operation, match_times


class Attention(nn.Module):
    """Multi-head attention over the time steps of one sample, never over the batch.

    Vaswani et al. 2017, "Attention Is All You Need", Eq. 1. Departures: keys have no bias, which the softmax would
    cancel, and the output map is left to the caller. Four heads where the channels allow it, else one.

    Args:
        channels: Of queries, keys and values.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_heads = 4 if channels % 4 == 0 else 1
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels)

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """Reads from `asked` what `asking` asks for.

        Args:
            asking: (batch, queries, channels).
            asked: (batch, keys, channels).

        Returns:
            (batch, queries, channels).
        """
        query, key, value = (self._heads(p) for p in (self.query(asking), self.key(asked), self.value(asked)))
        return (_shares(query, key) @ value).transpose(1, 2).flatten(2)

    def weights(self, asking: Tensor, asked: Tensor) -> Tensor:
        """How `forward` shares out what it reads, mean over heads: (batch, queries, keys), one over the keys in sum."""
        return _shares(self._heads(self.query(asking)), self._heads(self.key(asked))).mean(dim=1)

    def _heads(self, projected: Tensor) -> Tensor:
        heads: Tensor = projected.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        return heads

    def multiply_adds(self, num_queries: int, num_keys: int) -> int:
        """Projections, then scores and weighted sum."""
        channels = self.query.in_features
        return (num_queries + 2 * num_keys) * channels**2 + 2 * num_queries * num_keys * channels

    def source(self) -> Source:
        """Three layers and PyTorch's own attention."""
        heads = f"unflatten(2, ({self.num_heads}, -1)).transpose(1, 2)"
        return Source(
            doc=f"What every time step of `asking` reads from all of `asked`, with {self.num_heads} heads.",
            arguments=["asking", "asked"],
            members={name: name for name in ("query", "key", "value")},
            forward=[
                f"query = self.query(asking).{heads}",
                f"key = self.key(asked).{heads}",
                f"value = self.value(asked).{heads}",
                "return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)",
            ],
        )


def _shares(query: Tensor, key: Tensor) -> Tensor:
    """Softmax over keys: (batch, heads, queries, width) and (batch, heads, keys, width) to (…, queries, keys)."""
    scores: Tensor = query @ key.transpose(2, 3) * query.shape[3] ** -0.5
    return scores.softmax(dim=3)


def read_and_summed(inputs: Sequence[Term], reads: Sequence[str]) -> list[str]:
    """Statements that end an operation: add to each input what it reads, sum all, and map the sum.

    Args:
        inputs: As `source` has them.
        reads: What each input reads, an expression each.
    """
    added = [Term(f"{term.text}_read", term.time) for term in inputs]
    return [
        *(f"{term.text}_read = {term.text} + {read}" for term, read in zip(inputs, reads, strict=True)),
        f"return self.output({' + '.join(matched(added, broadcast=True))})",
    ]


class CrossAttention(Operation):
    """y = W Σ_i (xi + Attention(xi; x_{j≠i}, 0)): the time steps of each modality read from those of all others.

    Tsai et al. 2019, "Multimodal Transformer for Unaligned Multimodal Language Sequences", Eq. 4. Departures: one
    attention whose projections all modalities share, no feed-forward layer, and a learned token `rest` among the keys:
    with it a step may read nothing, and vectors, which have one step each, still choose how much to read.
    """

    order = 3
    formula = "W Σ_i (xi + Attention(xi; all xj, j ≠ i, and a learned rest)) + b"
    sign = "⋈"
    phrase = "let {all} attend to one another (cross-attention)"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.attention = Attention(channels)
        self.rest = nn.Parameter(torch.randn(channels) * 0.5)
        self.output = nn.Linear(channels, channels)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        read = [tap + self.attention(tap, asked) for tap, asked in zip(taps, self._asked(taps), strict=True)]
        fused: Tensor = self.output(torch.stack(match_times(read)).sum(dim=0))
        return fused

    def attention_weights(self, taps: list[Tensor]) -> list[AttentionWeights]:
        """Of every input, which asks all others."""
        return [
            AttentionWeights(
                [i], [j for j in range(len(taps)) if j != i], self.attention.weights(taps[i], asked), "nothing"
            )
            for i, asked in enumerate(self._asked(taps))
        ]

    def _asked(self, taps: list[Tensor]) -> Iterator[Tensor]:
        """For every input what it may read: all others, and the rest."""
        rest = self.rest.expand(taps[0].shape[0], 1, -1)
        for i in range(len(taps)):
            yield torch.cat([*(other for j, other in enumerate(taps) if j != i), rest], dim=1)

    def multiply_adds(self, times: Sequence[int]) -> int:
        """One attention per modality, then the output map at the longest time."""
        total = sum(times)
        attention = sum(self.attention.multiply_adds(time, total - time + 1) for time in times)
        return attention + max(times) * self.channels**2

    def source(self, inputs: Sequence[Term]) -> Source:
        """One attention for all."""
        reads = []
        for term in inputs:
            others = [other.text for other in inputs if other is not term]
            reads.append(f"self.attention({term.text}, torch.cat([{', '.join([*others, 'rest'])}], dim=1))")
        return Source(
            doc=f"Each of {listed(inputs)} reads from the others, or from a learned token that stands for nothing.",
            arguments=names(inputs),
            members={name: name for name in ("attention", "rest", "output")},
            forward=[
                f"rest = self.rest.expand({inputs[0].text}.shape[0], 1, -1)",
                *read_and_summed(inputs, reads),
            ],
        )
