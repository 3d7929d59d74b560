"""Operations of order 2 that multiply elementwise."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from nas.codegen import Source, Term, listed, matched, members, names
from nas.space.operation import Operation, match_times
from search_spaces.operations.additive import Additive


def unit_linear(in_channels: int, out_channels: int, *, bias: bool = False) -> nn.Linear:
    """A linear map that keeps the scale of its input, so that a product of several neither vanishes nor explodes.

    Its weights are normal with variance 1 / in_channels; torch's default has a third of that.
    """
    linear = nn.Linear(in_channels, out_channels, bias=bias)
    nn.init.normal_(linear.weight, std=in_channels**-0.5)
    return linear


def product(factors: Sequence[Tensor]) -> Tensor:
    """Elementwise product of tensors of one shape."""
    return reduce(torch.mul, factors)


class Multiplicative(Operation):
    """y = W1 x1 ⊙ … ⊙ Wn xn: the pure product, without any term that a single modality could carry.

    Jayakumar et al. 2020, "Multiplicative Interactions and Where to Find Them", the diagonal form.
    """

    order = 2
    formula = "W1 x1 ⊙ … ⊙ Wn xn"
    sign = "×"
    is_infix = True
    phrase = "multiply {all}"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.maps = nn.ModuleList(unit_linear(channels, channels) for _ in range(num_inputs))

    def forward(self, taps: list[Tensor]) -> Tensor:
        """Maps each tap in its own time, then multiplies: (batch, max time_i, channels)."""
        return product(match_times([m(tap) for m, tap in zip(self.maps, taps, strict=True)]))

    def multiply_adds(self, times: Sequence[int]) -> int:
        """One square map per tap and time step."""
        return sum(times) * self.channels**2

    def source(self, inputs: Sequence[Term]) -> Source:
        """One layer per input, named after it."""
        mapped = matched([term.through(f"self.{term.text}") for term in inputs], broadcast=True)
        return Source(
            doc=f"Multiplies linear maps of {listed(inputs)}.",
            arguments=names(inputs),
            members=members("{}", inputs, "maps"),
            forward=[f"return {' * '.join(mapped)}"],
        )


class AdditiveMultiplicative(Operation):
    """y = (U1 x1 + … + Un xn + b) + (W1 x1 ⊙ … ⊙ Wn xn).

    Jayakumar et al. 2020, "Multiplicative Interactions and Where to Find Them", diagonal form with its linear terms.
    """

    order = 2
    formula = "U1 x1 + … + Un xn + b + W1 x1 ⊙ … ⊙ Wn xn"
    sign = "+×"
    phrase = "add and multiply {all}"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.additive = Additive(num_inputs, channels)
        self.multiplicative = Multiplicative(num_inputs, channels)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """The sum of both, (batch, max time_i, channels)."""
        summed: Tensor = self.additive(taps) + self.multiplicative(taps)
        return summed

    def multiply_adds(self, times: Sequence[int]) -> int:
        """Those of both."""
        return self.additive.multiply_adds(times) + self.multiplicative.multiply_adds(times)

    def source(self, inputs: Sequence[Term]) -> Source:
        """Two layers per input: one for the sum, one for the product."""
        added, multiplied = (
            matched([term.through(f"self.{term.text}_{kind}") for term in inputs], broadcast=True)
            for kind in ("added", "multiplied")
        )
        return Source(
            doc=f"Adds linear maps of {listed(inputs)} and the product of others.",
            arguments=names(inputs),
            members={
                **members("{}_added", inputs, "additive.maps"),
                "bias": "additive.bias",
                **members("{}_multiplied", inputs, "multiplicative.maps"),
            },
            forward=[
                f"added = {' + '.join(added)} + self.bias",
                f"multiplied = {' * '.join(multiplied)}",
                "return added + multiplied",
            ],
        )
