"""Each number of a vector told bin by bin, so that a linear layer can weigh every range of values by itself."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.codegen import Source

BINS = 8
"""Bins of every feature."""

MAX_ROWS = 4096
"""Samples, evenly spaced, from which bins are read."""


class PiecewiseLinear(nn.Module):
    """How far into each bin of its feature a value reaches: 0 below the bin, 1 above it, linear inside.

    Gorishniy et al. 2022, "On Embeddings for Numerical Features in Tabular Deep Learning", Eq. 1, with bins between
    quantiles. Departures: the quantiles are those of the distinct values, so that a feature that is mostly zero has
    bins where it is not; and the outermost bins have ends, so that an outlier counts as the most extreme value that was
    seen.

    Args:
        edges: Ends of the bins, ascending, (bins + 1, features). A bin without width is a step.
    """

    edges: Tensor

    def __init__(self, edges: Tensor) -> None:
        super().__init__()
        self.register_buffer("edges", edges)

    @property
    def bins(self) -> int:
        """How many every feature has."""
        return len(self.edges) - 1

    @classmethod
    def blank(cls, bins: int, features: int) -> PiecewiseLinear:
        """Of this size, to load edges into."""
        return cls(torch.zeros(bins + 1, features))

    @classmethod
    def fit(cls, array: NDArray[np.generic], bins: int = BINS) -> PiecewiseLinear:
        """Measures the edges.

        Args:
            array: Samples of the weights split, (n, features).
            bins: How many.
        """
        levels = np.linspace(0, 1, bins + 1)
        columns = [np.quantile(np.unique(column), levels) for column in array.T.astype(np.float64)]
        return cls(torch.tensor(np.stack(columns, axis=1), dtype=torch.float32))

    def forward(self, values: Tensor) -> Tensor:
        """(batch, features) to (batch, bins · features), the first bin of all features first."""
        low, high = self.edges[:-1], self.edges[1:]
        return ((values.to(low.dtype)[:, None] - low) / (high - low).clamp(min=1e-12)).clamp(0, 1).flatten(1)

    def source(self) -> Source:
        """Itself."""
        return Source(
            doc="How far into each bin of its feature a value reaches, 0 to 1.",
            arguments=["values"],
            members={"edges": "edges"},
            forward=[
                "low, high = self.edges[:-1], self.edges[1:]",
                "reached = (values.float()[:, None] - low) / (high - low).clamp(min=1e-12)",
                "return reached.clamp(0, 1).flatten(1)",
            ],
        )
