"""Concatenation and one layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.codegen import Source, Term, listed, matched, names
from nas.space.operation import Operation, match_times


class _OneLayer(Operation):
    """What all share: a function of W [x1; …; xn] + b."""

    order = 3
    min_inputs = 1
    outputs_per_channel: ClassVar[int] = 1
    function: ClassVar[str]

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.linear = nn.Linear(num_inputs * channels, self.outputs_per_channel * channels)

    def joined(self, taps: list[Tensor]) -> Tensor:
        """The layer before its function, at the longest time."""
        layer: Tensor = self.linear(torch.cat(match_times(taps), dim=-1))
        return layer

    def multiply_adds(self, times: Sequence[int]) -> int:
        """One layer at the longest time."""
        return max(times) * self.num_inputs * self.outputs_per_channel * self.channels**2

    def source(self, inputs: Sequence[Term]) -> Source:
        """One layer."""
        given = matched(inputs)
        joined = given[0] if len(given) == 1 else f"torch.cat([{', '.join(given)}], dim=-1)"
        return Source(
            doc=f"Concatenates {listed(inputs)}; one layer.",
            arguments=names(inputs),
            members={"linear": "linear"},
            forward=[f"return {self.function.format(f'self.linear({joined})')}"],
        )


class ConcatReLU(_OneLayer):
    """y = ReLU(W [x1; …; xn] + b).

    Pérez-Rúa et al. 2019, "MFAS: Multimodal Fusion Architecture Search", Eq. 2. ConcatFC of Yin et al. 2022, "BM-NAS:
    Bilevel Multimodal Neural Architecture Search", has a batch norm before the ReLU, which this has not.
    """

    formula = "ReLU(W [x1; …; xn] + b)"
    sign = "⟨ReLU⟩"
    phrase = "join {all} in one ReLU layer"
    function = "F.relu({})"

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        return F.relu(self.joined(taps))


class ConcatSigmoid(_OneLayer):
    """y = σ(W [x1; …; xn] + b).

    Pérez-Rúa et al. 2019, "MFAS: Multimodal Fusion Architecture Search", Eq. 2.
    """

    formula = "σ(W [x1; …; xn] + b)"
    sign = "⟨σ⟩"
    phrase = "join {all} in one sigmoid layer"
    function = "torch.sigmoid({})"

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        return torch.sigmoid(self.joined(taps))


class LinearGLU(_OneLayer):
    """y = (W [x1; …; xn] + b) ⊙ σ(V [x1; …; xn] + c).

    LinearGLU of Yin et al. 2022, "BM-NAS: Bilevel Multimodal Neural Architecture Search". Departure: no batch norm.
    """

    formula = "(W [x1; …; xn] + b) ⊙ σ(V [x1; …; xn] + c)"
    sign = "⟨GLU⟩"
    phrase = "join {all} in one gated linear layer"
    function = "F.glu({}, dim=-1)"
    outputs_per_channel = 2

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        return F.glu(self.joined(taps), dim=-1)
