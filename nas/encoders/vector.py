"""Encoder of vectors: a multilayer perceptron, one tap a layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nas.encoders.base import Encoder, Standardize, State, tap_from_vector
from nas.source import TapsSource, layers, stages


class VectorEncoder(Encoder):
    """Layers of Linear, BatchNorm, ReLU and dropout.

    Args:
        standardize: Statistics of the input, one per feature.
        features: Width of the input.
        widths: Width of every layer; as many taps.
        dropout_rate: After every layer, 0 to 1.
    """

    def __init__(
        self,
        standardize: Standardize,
        features: int,
        *,
        widths: Sequence[int] = (96, 96, 96),
        dropout_rate: float = 0.1,
    ) -> None:
        super().__init__()
        self.channels = tuple(widths)
        self.blueprint = {
            "encoder": "vector",
            "features": features,
            "widths": list(widths),
            "dropout_rate": dropout_rate,
        }
        self.standardize = standardize
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(), nn.Dropout(dropout_rate))
            for before, after in zip([features, *widths], widths, strict=False)
        )

    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
        """Maps ((batch, features),) to taps (batch, 1, width)."""
        return self.further(self.begin(inputs), 0, num_taps)[0]

    def begin(self, inputs: Sequence[Tensor]) -> State:
        """The standardized vectors, (batch, features)."""
        return (self.standardize(inputs[0]),)

    def further(self, state: State, first: int, num_taps: int | None = None) -> tuple[list[Tensor], State]:
        """Goes on from the last layer's output."""
        (hidden,) = state
        taps = []
        for stage in self.stages[first:num_taps]:
            hidden = stage(hidden)
            taps.append(tap_from_vector(hidden))
        return taps, (hidden,)

    def source(
        self,
        inputs: Sequence[str],
        shapes: Sequence[Sequence[int]],  # noqa: ARG002
        depths: Sequence[int],
    ) -> TapsSource:
        """One Sequential a layer."""
        count = depths[-1] + 1
        return TapsSource(
            doc=f"Multilayer perceptron for {inputs[0]}.",
            members=stages(count),
            layers=layers(f"self.standardize({inputs[0]})", count),
            taps={depth: f"layer{depth}.unsqueeze(1)" for depth in depths},
        )
