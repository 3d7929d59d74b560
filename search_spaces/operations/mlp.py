"""Concatenation and a nonlinear network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas.codegen import Source, Term, listed, matched, names
from nas.space.operation import Operation, match_times


class MLP(Operation):
    """y = V GELU(W [x1; …; xn] + b) + c, with a hidden layer twice as wide as the channels.

    Concatenation as in Ngiam et al. 2011, "Multimodal Deep Learning".
    """

    order = 3
    formula = "V GELU(W [x1; …; xn] + b) + c"
    sign = "ƒ"
    phrase = "join {all} in a small network (MLP)"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.hidden = nn.Linear(num_inputs * channels, 2 * channels)
        self.activation = nn.GELU()
        self.output = nn.Linear(2 * channels, channels)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        fused: Tensor = self.output(self.activation(self.hidden(torch.cat(match_times(taps), dim=-1))))
        return fused

    def multiply_adds(self, times: Sequence[int]) -> int:
        """Both layers at the longest time."""
        return max(times) * (self.num_inputs + 1) * 2 * self.channels**2

    def source(self, inputs: Sequence[Term]) -> Source:
        """Two layers."""
        return Source(
            doc=f"Concatenates {listed(inputs)}; a hidden layer with GELU, then a linear one.",
            arguments=names(inputs),
            members={"hidden": "hidden", "output": "output"},
            forward=[
                f"joined = torch.cat([{', '.join(matched(inputs))}], dim=-1)",
                "return self.output(F.gelu(self.hidden(joined)))",
            ],
        )
