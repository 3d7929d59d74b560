"""Encoder of vectors: a multilayer perceptron, one tap a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from nas.codegen import TapsSource, layers, stages
from nas.data.stored import Array
from nas.encoders.base import (
    FEATURES,
    NOTHING,
    RATE,
    WIDTHS,
    KnownEncoder,
    Rebuild,
    Standardize,
    State,
    Wishes,
    tap_from_vector,
)
from nas.encoders.piecewise import MAX_ROWS, PiecewiseLinear
from nas.fields import Whole


class VectorEncoder(KnownEncoder):
    """Layers of Linear, BatchNorm, ReLU and dropout.

    Args:
        standardize: Statistics of what the first layer takes: one per feature, or per feature and bin.
        features: Width of the input.
        widths: Width of every layer; as many taps.
        dropout_rate: After every layer, 0 to 1.
        piecewise: Tells every feature bin by bin; None leaves it one number.
    """

    form: ClassVar = {"features": FEATURES, "widths": WIDTHS, "dropout_rate": RATE}
    optional: ClassVar = {"bins": Whole(1, 1024)}

    def __init__(
        self,
        standardize: Standardize,
        features: int,
        *,
        widths: Sequence[int] = (96, 96, 96),
        dropout_rate: float = 0.1,
        piecewise: PiecewiseLinear | None = None,
    ) -> None:
        super().__init__()
        self.channels = tuple(widths)
        self.blueprint = {
            "encoder": "vector",
            "features": features,
            "widths": list(widths),
            "dropout_rate": dropout_rate,
            **({"bins": piecewise.bins} if piecewise is not None else {}),
        }
        self.piecewise = piecewise
        columns = features if piecewise is None else piecewise.bins * features
        self.standardize = standardize
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(), nn.Dropout(dropout_rate))
            for before, after in zip([columns, *widths], widths, strict=False)
        )

    @classmethod
    def fit(cls, arrays: Sequence[Array], wishes: Wishes = NOTHING) -> VectorEncoder:
        """Takes features one by one, or bin by bin where `piecewise` is wished for."""
        (array,) = arrays
        features = array.shape[1]
        if wishes.preprocessing != "piecewise":
            return cls(Standardize.fit(array, channel_axis=-1), features)
        array = array[:: -(-len(array) // MAX_ROWS)].astype(np.float32)  # as the encoder sees it
        piecewise = PiecewiseLinear.fit(array)
        standardize = Standardize.fit(piecewise(torch.from_numpy(array)).numpy(), channel_axis=-1)
        return cls(standardize, features, piecewise=piecewise)

    @classmethod
    def blank(cls, values: dict[str, Any], rebuild: Rebuild) -> VectorEncoder:
        """See the base class."""
        bins = values.pop("bins", 0)
        piecewise = PiecewiseLinear.blank(bins, values["features"]) if bins else None
        return cls(Standardize.blank((bins or 1) * values["features"]), **values, piecewise=piecewise)

    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
        """Maps ((batch, features),) to taps (batch, 1, width)."""
        return self.extend(self.start(inputs), 0, num_taps)[0]

    def start(self, inputs: Sequence[Tensor]) -> State:
        """The standardized vectors, (batch, features), or their bins, (batch, bins · features)."""
        values = inputs[0] if self.piecewise is None else self.piecewise(inputs[0])
        return (self.standardize(values),)

    def extend(self, state: State, first: int, num_taps: int | None = None) -> tuple[list[Tensor], State]:
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
        values = inputs[0] if self.piecewise is None else f"self.piecewise({inputs[0]})"
        binned = {} if self.piecewise is None else {"piecewise": "piecewise"}
        return TapsSource(
            doc=f"Multilayer perceptron for {inputs[0]}.",
            members={**binned, **stages(count)},
            layers=layers(f"self.standardize({values})", count),
            taps={depth: f"layer{depth}.unsqueeze(1)" for depth in depths},
        )
