"""Operations of order 2 on outer products, guarded in size by narrowing each modality first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from nas.codegen import Source, Term, listed, matched, members, names
from nas.space.operation import Operation, match_times
from search_spaces.operations.additive import Additive
from search_spaces.operations.multiplicative import unit_linear

MAX_FEATURES = 1024
"""The outer product has at most so many features."""

BILINEAR_WIDTH = 16


def outer(first: Tensor, second: Tensor) -> Tensor:
    """Outer product of the last axes, flattened: (…, p) and (…, q) to (…, p · q)."""
    return (first.unsqueeze(-1) * second.unsqueeze(-2)).flatten(-2)


class Bilinear(Operation):
    """y = Σ_{i<j} B_ij (Pi xi ⊗ Pj xj) + Σ_i Ui xi + b, with Pi narrowing to at most 16 features.

    The bilinear form x1ᵀ W x2 + U x1 + V x2 + b of Jayakumar et al. 2020, "Multiplicative Interactions and Where to
    Find Them", Eq. 2. Departures: W is factored through the narrow Pi, and more than two modalities meet pairwise.
    """

    order = 2
    formula = "Σ_{i<j} B_ij (Pi xi ⊗ Pj xj) + Σ_i Ui xi + b"
    sign = "xᵀWy"
    phrase = "multiply pairs of features of {all} (bilinear fusion)"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.width = min(BILINEAR_WIDTH, channels)
        self.narrow = nn.ModuleList(unit_linear(channels, self.width) for _ in range(num_inputs))
        self.pairs = list(combinations(range(num_inputs), 2))
        self.forms = nn.Linear(len(self.pairs) * self.width**2, channels, bias=False)
        self.additive = Additive(num_inputs, channels)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        narrow = match_times([m(tap) for m, tap in zip(self.narrow, taps, strict=True)])
        products = torch.cat([outer(narrow[i], narrow[j]) for i, j in self.pairs], dim=-1)
        fused: Tensor = self.forms(products) + self.additive(taps)
        return fused

    def multiply_adds(self, times: Sequence[int]) -> int:
        """Narrowing, the forms at the longest time, and the additive part."""
        narrow = sum(times) * self.channels * self.width
        forms = max(times) * len(self.pairs) * self.width**2 * self.channels
        return narrow + forms + self.additive.multiply_adds(times)

    def source(self, inputs: Sequence[Term]) -> Source:
        """Two layers per input: a narrow one for the products, one for the sum."""
        narrow = matched([term.through(f"self.{term.text}_narrow") for term in inputs])
        added = matched([term.through(f"self.{term.text}") for term in inputs], broadcast=True)
        products = [f"outer({inputs[i].text}_narrow, {inputs[j].text}_narrow)" for i, j in self.pairs]
        joined = f"torch.cat([{', '.join(products)}], dim=-1)" if len(products) > 1 else products[0]
        return Source(
            doc=f"Linear in the outer products of {listed(inputs)} in pairs, each narrowed first, and in each alone.",
            arguments=names(inputs),
            members={
                **members("{}_narrow", inputs, "narrow"),
                "forms": "forms",
                **members("{}", inputs, "additive.maps"),
                "bias": "additive.bias",
            },
            forward=[
                *(f"{term.text}_narrow = {text}" for term, text in zip(inputs, narrow, strict=True)),
                f"products = {joined}",
                f"return self.forms(products) + {' + '.join(added)} + self.bias",
            ],
            helpers=[outer],
        )


class TensorFusion(Operation):
    """y = W ([1; P1 x1] ⊗ … ⊗ [1; Pn xn]) + b: every product of features of different modalities.

    Zadeh et al. 2017, "Tensor Fusion Network for Multimodal Sentiment Analysis", Eq. 2. Departure: each Pi narrows to
    at most 15 features, and to so few that the outer product keeps within 1024; one feature each allows ten modalities.
    """

    order = 2
    max_inputs = 10
    formula = "W ([1; P1 x1] ⊗ … ⊗ [1; Pn xn]) + b"
    sign = "⊗"
    phrase = "multiply all features of {all} with one another (tensor fusion)"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.width = max(d for d in range(1, min(channels, 15) + 1) if (d + 1) ** num_inputs <= MAX_FEATURES)
        self.narrow = nn.ModuleList(unit_linear(channels, self.width) for _ in range(num_inputs))
        self.combine = nn.Linear((self.width + 1) ** num_inputs, channels)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        narrow = match_times([m(tap) for m, tap in zip(self.narrow, taps, strict=True)])
        features = narrow[0].new_ones(*narrow[0].shape[:2], 1)
        for factor in narrow:
            features = torch.cat([features, outer(features, factor)], dim=-1)
        fused: Tensor = self.combine(features)
        return fused

    def multiply_adds(self, times: Sequence[int]) -> int:
        """Narrowing, then the map of the outer product at the longest time."""
        features: int = (self.width + 1) ** self.num_inputs
        return sum(times) * self.channels * self.width + max(times) * features * self.channels

    def source(self, inputs: Sequence[Term]) -> Source:
        """One narrow layer per input, named after it; the features grow input by input."""
        first, *others = matched([term.through(f"self.{term.text}") for term in inputs])
        growing = []
        for term, text in zip(inputs[1:], others, strict=True):
            growing += [
                f"{term.text} = {text}",
                f"features = torch.cat([features, outer(features, {term.text})], dim=-1)",
            ]
        return Source(
            doc=f"Linear in all products of narrowed features of {listed(inputs)}, each with a 1 before them.",
            arguments=names(inputs),
            members={**members("{}", inputs, "narrow"), "combine": "combine"},
            forward=[f"features = F.pad({first}, (1, 0), value=1.0)", *growing, "return self.combine(features)"],
            helpers=[outer],
        )
