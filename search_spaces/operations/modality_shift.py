"""Modality shift: a primary modality moved by the others, never further than its own length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas.codegen import Source, Term, listed, matched, members, names
from nas.space.operation import Operation, match_times


class ModalityShift(Operation):
    """y = LN(x1 + s H), H = Σ_{i>1} ReLU(Gi [xi; x1]) ⊙ Wi xi, s = min(‖x1‖ / ‖H‖, 1). The first input is the primary.

    Rahman et al. 2020, "Integrating Multimodal Information in Large Pretrained Transformers" (MAG), Eqs. 2 to 4 with
    beta = 1. Departures: no dropout after the norm (the adapters have it), and the norm of H is the root of its
    squares plus 1e-12, which has a gradient at zero.
    """

    order = 3
    formula = "LN(x1 + s Σ_{i>1} ReLU(Gi [xi; x1]) ⊙ Wi xi), s = min(‖x1‖ / ‖H‖, 1)"
    sign = "Δ"
    is_ordered = True
    phrase = "shift {first} by {rest}"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.gates = nn.ModuleList(nn.Linear(2 * channels, channels) for _ in range(num_inputs - 1))
        self.values = nn.ModuleList(nn.Linear(channels, channels) for _ in range(num_inputs - 1))
        self.norm = nn.LayerNorm(channels)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        primary, *others = match_times(taps)
        shift = torch.zeros_like(primary)
        for gate, value, other in zip(self.gates, self.values, others, strict=True):
            shift = shift + gate(torch.cat([other, primary], dim=-1)).relu() * value(other)
        limit = (length(primary) / length(shift)).clamp(max=1.0)
        moved: Tensor = self.norm(primary + limit * shift)
        return moved

    def multiply_adds(self, times: Sequence[int]) -> int:
        """Gate and value of every secondary modality, at the longest time."""
        return max(times) * (self.num_inputs - 1) * 3 * self.channels**2

    def source(self, inputs: Sequence[Term]) -> Source:
        """A gate and a value per input but the first, named after it."""
        primary, *others = inputs
        longer = [
            f"{term.text} = {text}" for term, text in zip(inputs, matched(inputs), strict=True) if term.text != text
        ]
        gates = [
            f"{term.text}_gate = self.{term.text}_gate(torch.cat([{term.text}, {primary.text}], dim=-1)).relu()"
            for term in others
        ]
        shifts = [f"{term.text}_gate * self.{term.text}({term.text})" for term in others]
        return Source(
            doc=f"Shifts {primary.text} by gated maps of {listed(others)}, never further than its own length.",
            arguments=names(inputs),
            members={**members("{}_gate", others, "gates"), **members("{}", others, "values"), "norm": "norm"},
            forward=[
                *longer,
                *gates,
                f"shift = {' + '.join(shifts)}",
                f"limit = (length({primary.text}) / length(shift)).clamp(max=1.0)",
                f"return self.norm({primary.text} + limit * shift)",
            ],
            helpers=[length],
        )


def length(vectors: Tensor) -> Tensor:
    """Euclidean length over the last axis, which stays as 1; it has a gradient at zero."""
    return (vectors.square().sum(dim=-1, keepdim=True) + 1e-12).sqrt()
