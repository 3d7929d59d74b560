"""The operation of order 1: a sum of linear maps, one per modality."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas.codegen import Source, Term, listed, matched, members, names
from nas.space.operation import Operation, match_times


class Additive(Operation):
    """y = W1 x1 + … + Wn xn + b, with nothing after the sum: no norm, no nonlinearity.

    Liang, Zadeh and Morency 2022, "Foundations and Trends in Multimodal Machine Learning", additive fusion.
    """

    order = 1
    formula = "W1 x1 + … + Wn xn + b"
    sign = "+"
    is_infix = True
    is_linear = True
    phrase = "add {all}"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.maps = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in range(num_inputs))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, taps: list[Tensor]) -> Tensor:
        """Maps each tap in its own time, then sums: (batch, max time_i, channels)."""
        return torch.stack(match_times([m(tap) for m, tap in zip(self.maps, taps, strict=True)])).sum(dim=0) + self.bias

    def multiply_adds(self, times: Sequence[int]) -> int:
        """One square map per tap and time step."""
        return sum(times) * self.channels**2

    def source(self, inputs: Sequence[Term]) -> Source:
        """One layer per input, named after it."""
        mapped = matched([term.through(f"self.{term.text}") for term in inputs], broadcast=True)
        return Source(
            doc=f"Adds linear maps of {listed(inputs)}.",
            arguments=names(inputs),
            members={**members("{}", inputs, "maps"), "bias": "bias"},
            forward=[f"return {' + '.join(mapped)} + self.bias"],
        )


class Projection(Additive):
    """y = W1 x1 + b: the sum of one, such as what is left of a concatenation of one."""

    min_inputs = 1
    max_inputs = 1
    formula = "W1 x1 + b"
    sign = "W"
    is_infix = False
    phrase = "map {all} linearly"
