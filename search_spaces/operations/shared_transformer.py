"""The same transformer blocks for every modality, however many there are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas.codegen import Source, Term, listed, names
from nas.space.operation import AttentionWeights, Operation
from search_spaces.operations.attention import Attention
from search_spaces.operations.blocks import MLPBlock

LATENTS = 4


def fourier_code(tap: Tensor) -> Tensor:
    """Code of every time step of a tap (batch, time, channels), from waves of falling length, (time, channels)."""
    place = torch.linspace(-1, 1, tap.shape[1], dtype=tap.dtype, device=tap.device)
    wave = torch.arange(1, tap.shape[2] // 2 + 2, dtype=tap.dtype, device=tap.device)
    angle = place[:, None] * wave * (torch.pi / 2)
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, : tap.shape[2]]


class CrossBlock(nn.Module):
    """One pre-norm transformer layer that reads from other tokens: s + MLP(LN s), s = a + W Attention(LN a; LN b).

    Jaegle et al. 2021, "Perceiver: General Perception with Iterative Attention", section 3.1.

    Args:
        channels: Of all tokens.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_asking = nn.LayerNorm(channels)
        self.norm_asked = nn.LayerNorm(channels)
        self.attention = Attention(channels)
        self.attended = nn.Linear(channels, channels)
        self.feed_forward = MLPBlock(1, channels)

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """(batch, asking, channels) and (batch, asked, channels) to (batch, asking, channels)."""
        read = self.attention(self.norm_asking(asking), self.norm_asked(asked))
        block: Tensor = self.feed_forward([asking + self.attended(read)])
        return block

    def weights(self, asking: Tensor, asked: Tensor) -> Tensor:
        """Of its attention, (batch, asking, asked)."""
        return self.attention.weights(self.norm_asking(asking), self.norm_asked(asked))

    def multiply_adds(self, num_queries: int, num_keys: int) -> int:
        """Attention, its output map, and the feed-forward half."""
        attended = num_queries * self.attended.in_features**2
        return (
            self.attention.multiply_adds(num_queries, num_keys)
            + attended
            + self.feed_forward.multiply_adds([num_queries])
        )

    def source(self) -> Source:
        """One transformer layer."""
        return Source(
            doc="One transformer layer, in which the tokens of `asking` read from those of `asked`.",
            arguments=["asking", "asked"],
            members={
                **{name: name for name in ("norm_asking", "norm_asked", "attention", "attended")},
                **{f"feed_forward_{name}": f"feed_forward.{name}" for name in ("norm", "hidden", "output")},
            },
            forward=[
                "read = self.attention(self.norm_asking(asking), self.norm_asked(asked))",
                "state = asking + self.attended(read)",
                "hidden = F.gelu(self.feed_forward_hidden(self.feed_forward_norm(state)))",
                "return state + self.feed_forward_output(hidden)",
            ],
        )


class SharedTransformer(Operation):
    """y = W mean_i mean(Exchange(Zi; Zj, j ≠ i)) + b, Zi = Read(z; [xi + p + ei; z]), with four learned latents z.

    Liang et al. 2022, "High-Modality Multimodal Transformer". p are Fourier codes of the time steps and ei is a code of
    the modality. The same block Read reads every modality into the same latents, and the same block Exchange lets those
    of one modality read those of all the others. So it has as many parameters for six modalities as for two.

    Departures: codes are added to the channels, instead of set beside them and padded; those of modalities are drawn
    once and not learned; the pooled latents are averaged over modalities, since a layer on their concatenation would
    grow; each block stands once; and the latents are among the keys, so that a vector, which has one time step, still
    chooses how much is read. What comes out is the same at every time step.
    """

    order = 3
    formula = "W mean_i mean(Exchange(Zi; Zj, j ≠ i)) + b, Zi = Read(z; [xi + p + ei; z])"
    sign = "⋇"
    phrase = "read {all} into shared latents by the same transformer block (shared transformer)"

    codes: Tensor

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        generator = torch.Generator().manual_seed(0)  # the code of a modality is the same in every network
        self.register_buffer("codes", torch.randn(num_inputs, channels, generator=generator) * 0.5)
        self.latents = nn.Parameter(torch.randn(LATENTS, channels) * 0.5)
        self.read = CrossBlock(channels)
        self.exchange = CrossBlock(channels)
        self.output = nn.Linear(channels, channels)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        latents = self.latents.expand(taps[0].shape[0], -1, -1)
        read = [self.read(latents, torch.cat([tap, latents], dim=1)) for tap in self._coded(taps)]
        exchanged = [
            self.exchange(one, torch.cat([other for j, other in enumerate(read) if j != i], dim=1))
            for i, one in enumerate(read)
        ]
        pooled: Tensor = self.output(torch.stack(exchanged).mean(dim=0).mean(dim=1, keepdim=True))
        return pooled.expand(-1, max(tap.shape[1] for tap in taps), -1)

    def attention_weights(self, taps: list[Tensor]) -> list[AttentionWeights]:
        """Of the latents, which ask every input; what they then read from one another says nothing by itself."""
        latents = self.latents.expand(taps[0].shape[0], -1, -1)
        return [
            AttentionWeights([], [i], self.read.weights(latents, torch.cat([tap, latents], dim=1)), "latent")
            for i, tap in enumerate(self._coded(taps))
        ]

    def _coded(self, taps: list[Tensor]) -> list[Tensor]:
        """The inputs with the codes of their time steps and of their modality."""
        return [tap + fourier_code(tap) + code for tap, code in zip(taps, self.codes, strict=True)]

    def multiply_adds(self, times: Sequence[int]) -> int:
        """Reading and exchange per modality, and the output map once."""
        read = sum(self.read.multiply_adds(LATENTS, time + LATENTS) for time in times)
        exchange = len(times) * self.exchange.multiply_adds(LATENTS, (len(times) - 1) * LATENTS)
        return read + exchange + self.channels**2

    def source(self, inputs: Sequence[Term]) -> Source:
        """Two blocks, both for all inputs."""
        read = [f"{term.text}_read" for term in inputs]
        mixed = [f"{term.text}_mixed" for term in inputs]
        others = [", ".join(other for other in read if other != one) for one in read]
        asked = [some if len(inputs) == 2 else f"torch.cat([{some}], dim=1)" for some in others]
        coded = [f"{term.text} + fourier_code({term.text}) + self.codes[{i}]" for i, term in enumerate(inputs)]
        longest = max(term.time for term in inputs)
        expanded = f".expand(-1, {longest}, -1)" if longest > 1 else ""
        return Source(
            doc=f"{listed(inputs)} are read into the same {LATENTS} latents, which exchange and are averaged.",
            arguments=names(inputs),
            members={name: name for name in ("codes", "latents", "read", "exchange", "output")},
            forward=[
                f"latents = self.latents.expand({inputs[0].text}.shape[0], -1, -1)",
                *(
                    f"{one} = self.read(latents, torch.cat([{text}, latents], dim=1))"
                    for one, text in zip(read, coded, strict=True)
                ),
                *(f"{out} = self.exchange({one}, {some})" for out, one, some in zip(mixed, read, asked, strict=True)),
                f"pooled = (({' + '.join(mixed)}) / {len(inputs)}).mean(dim=1, keepdim=True)",
                f"return self.output(pooled){expanded}",
            ],
            helpers=[fourier_code],
        )
