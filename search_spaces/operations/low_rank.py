"""Low-rank fusion: the tensor product of all modalities without ever building it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas.codegen import Source, Term, listed, matched, members, names
from nas.space.operation import Operation, match_times
from search_spaces.operations.multiplicative import product

RANK = 4


class LowRank(Operation):
    """y = Σ_r w_r (F1r [1; x1] ⊙ … ⊙ Fnr [1; xn]) + b, rank 4.

    Liu et al. 2018, "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors", Eqs. 5 to 7. Factors are
    `nn.Linear` layers whose bias is the row of the appended 1, so that all of them are parameters and train.
    """

    order = 2
    formula = "Σ_r w_r (F1r [1; x1] ⊙ … ⊙ Fnr [1; xn]) + b"
    sign = "⊙"
    phrase = "multiply {all} at low rank"

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__(num_inputs, channels)
        self.factors = nn.ModuleList(nn.Linear(channels, RANK * channels) for _ in range(num_inputs))
        for factor in self.factors:
            assert isinstance(factor, nn.Linear)
            nn.init.normal_(factor.weight, std=(channels + 1) ** -0.5)
            nn.init.normal_(factor.bias, std=(channels + 1) ** -0.5)
        self.rank_weights = nn.Parameter(torch.full((RANK,), RANK**-0.5))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, taps: list[Tensor]) -> Tensor:
        """(batch, max time_i, channels)."""
        ranks = match_times([factor(tap) for factor, tap in zip(self.factors, taps, strict=True)])
        products = product(ranks).unflatten(-1, (RANK, self.channels))
        fused: Tensor = (products * self.rank_weights[:, None]).sum(dim=-2) + self.bias
        return fused

    def multiply_adds(self, times: Sequence[int]) -> int:
        """The factors; product and sum over ranks are elementwise."""
        return sum(times) * RANK * self.channels**2

    def source(self, inputs: Sequence[Term]) -> Source:
        """One layer per input, named after it."""
        factors = matched([term.through(f"self.{term.text}") for term in inputs], broadcast=True)
        return Source(
            doc=f"The tensor product of {listed(inputs)} in rank {RANK}: a weighted sum of so many products.",
            arguments=names(inputs),
            members={**members("{}", inputs, "factors"), "rank_weights": "rank_weights", "bias": "bias"},
            forward=[
                f"product = {' * '.join(factors)}",
                f"ranks = product.unflatten(-1, ({RANK}, {self.channels}))",
                "return (ranks * self.rank_weights[:, None]).sum(dim=-2) + self.bias",
            ],
        )
