"""Operations of order 0: nothing at all, and one modality as it is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nas.codegen import Source, Term, names
from nas.space.operation import Operation, match_times


class Nothing(Operation):
    """y = 0, whatever is there. The executor never runs it: a node that does nothing reads nothing."""

    order = 0
    min_inputs = 0
    formula = "0"
    sign = "∅"

    def forward(self, taps: list[Tensor]) -> Tensor:
        """Zeros of the shape of the longest tap, (batch, max time_i, channels).

        Raises:
            ValueError: If there is no tap to take the shape from.
        """
        if not taps:
            raise ValueError("nothing has no shape of its own; give it at least one tap")
        return torch.zeros_like(match_times(taps)[0])

    def multiply_adds(self, times: Sequence[int]) -> int:  # noqa: ARG002  # the same whatever the times
        """Always 0."""
        return 0


class Carry(Operation):
    """y = x1."""

    order = 0
    min_inputs = 1
    max_inputs = 1
    formula = "x1"
    sign = "→"
    carries = True

    def forward(self, taps: list[Tensor]) -> Tensor:
        """The tap itself, (batch, time, channels)."""
        return taps[0]

    def multiply_adds(self, times: Sequence[int]) -> int:  # noqa: ARG002  # the same whatever the times
        """Always 0."""
        return 0

    def source(self, inputs: Sequence[Term]) -> Source:
        """The input as it is."""
        return Source(
            doc=f"{inputs[0].text} as it is.", arguments=names(inputs), members={}, forward=[f"return {inputs[0].text}"]
        )
