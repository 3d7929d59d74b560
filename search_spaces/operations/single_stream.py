"""One transformer layer over the tokens of all modalities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.codegen import Source, Term, listed, matched, names
from nas.space.operation import AttentionWeights, Operation, match_times
from search_spaces.operations.attention import Attention


class SingleStream(Operation):
    """y = mean_i LN(zi), z = s + MLP(LN(s)), s = t + W Attention(LN(t); LN(t)), t = [x1 + e1; …; xn + en].

    The time steps of all modalities stand in one sequence t, each with the learned code ei of its modality, and pass
    through one pre-norm transformer layer. zi is what becomes of the steps of modality i.

    Kim et al. 2021, "ViLT: Vision-and-Language Transformer Without Convolution or Region Supervision", Eqs. 1 to 5.
    Departures: one layer; a hidden layer of twice the channels instead of four times; no codes for positions, which
    the encoders know; and instead of a class token, the output at a time step is the mean over modalities, so that it
    has the form of every other operation's. On raw tokens, such as embedded words and patches with the codes of their
    positions, it is ViLT with these departures; on deeper taps it is a late-fusion transformer.
    """

    order = 3
    formula = "mean_i LN(zi), z = Transformer([x1 + e1; …; xn + en])"
    sign = "≋"
    phrase = "let the tokens of {all} pass through one transformer layer side by side (single stream)"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.codes = nn.Parameter(torch.randn(num_inputs, channels) * 0.5)
        self.before_attention = nn.LayerNorm(channels)
        self.attention = Attention(channels)
        self.attended = nn.Linear(channels, channels)
        self.before_hidden = nn.LayerNorm(channels)
        self.hidden = nn.Linear(channels, 2 * channels)
        self.output = nn.Linear(2 * channels, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        tokens = self._tokens(taps)
        normed = self.before_attention(tokens)
        tokens = tokens + self.attended(self.attention(normed, normed))
        tokens = tokens + self.output(F.gelu(self.hidden(self.before_hidden(tokens))))
        parts = self.norm(tokens).split([tap.shape[1] for tap in taps], dim=1)
        return torch.stack(match_times(parts)).mean(dim=0)

    def attention_weights(self, taps: list[Tensor]) -> list[AttentionWeights]:
        """Of all time steps, which ask one another."""
        normed, every = self.before_attention(self._tokens(taps)), range(len(taps))
        return [AttentionWeights(every, every, self.attention.weights(normed, normed), "")]

    def _tokens(self, taps: list[Tensor]) -> Tensor:
        """All time steps side by side, each with the code of its input."""
        return torch.cat([tap + code for tap, code in zip(taps, self.codes, strict=True)], dim=1)

    def multiply_adds(self, times: Sequence[int]) -> int:
        """Attention among all tokens, its output map, and both layers of the MLP."""
        total = sum(times)
        return self.attention.multiply_adds(total, total) + total * 5 * self.channels**2

    def source(self, inputs: Sequence[Term]) -> Source:
        """One transformer layer, then the tokens of each input apart again."""
        coded = [f"{term.text} + self.codes[{number}]" for number, term in enumerate(inputs)]
        ends = [sum(term.time for term in inputs[: number + 1]) for number in range(len(inputs))]
        parts = [Term(f"{term.text}_tokens", term.time) for term in inputs]
        return Source(
            doc=f"One transformer layer over the time steps of {listed(inputs)} side by side, averaged over these.",
            arguments=names(inputs),
            members={
                name: name
                for name in (
                    *("codes", "before_attention", "attention", "attended"),
                    *("before_hidden", "hidden", "output", "norm"),
                )
            },
            forward=[
                f"tokens = torch.cat([{', '.join(coded)}], dim=1)",
                "normed = self.before_attention(tokens)",
                "tokens = tokens + self.attended(self.attention(normed, normed))",
                "hidden = F.gelu(self.hidden(self.before_hidden(tokens)))",
                "tokens = self.norm(tokens + self.output(hidden))",
                *(f"{part.text} = tokens[:, {end - part.time} : {end}]" for part, end in zip(parts, ends, strict=True)),
                f"return ({' + '.join(matched(parts, broadcast=True))}) / {len(inputs)}",
            ],
        )
