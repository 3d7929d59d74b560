"""Encoder of sequences: a temporal convolution network that halves the time at every layer, one tap a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nas.codegen import TapsSource, layers, stages
from nas.data.stored import Array
from nas.encoders.base import (
    FEATURES,
    MAX_TIME,
    NOTHING,
    RATE,
    WIDTHS,
    KnownEncoder,
    Rebuild,
    Standardize,
    State,
    Wishes,
    beside_peaks,
    sequence_tap_source,
    tap_from_sequence,
)
from nas.fields import Flag, Whole


class SequenceEncoder(KnownEncoder):
    """Layers of convolution over time (stride 2), BatchNorm, ReLU and dropout.

    A sequence is run as a map of one row, (batch, channels, 1, time) with channels last in memory: that is how it comes
    in and how taps go out, and convolutions take two thirds of the time of Conv1d on a CPU.

    The input gains one channel that runs from −1 to 1 over the sequence, so that features can tell early from late
    although the head averages over time (Liu et al. 2018, "An intriguing failing of convolutional neural networks
    and the CoordConv solution", here in one dimension and at the input alone).

    Args:
        standardize: Statistics of the input, one per feature.
        features: Width of one time step.
        widths: Channels of every layer; as many taps.
        kernel_size: Odd number of time steps.
        dropout_rate: After every layer, 0 to 1.
        peaks: Whether taps also tell the power mean over time of every feature, see `beside_peaks`.
        magnitudes: Whether the first layer also takes the magnitude of every standardized feature. Signals that swing
            about their mean, such as those of muscles, tell by how strongly they swing.
    """

    form: ClassVar = {"features": FEATURES, "widths": WIDTHS, "kernel_size": Whole(1, 1023), "dropout_rate": RATE}
    optional: ClassVar = {"peaks": Flag(), "magnitudes": Flag()}

    def __init__(
        self,
        standardize: Standardize,
        features: int,
        *,
        widths: Sequence[int] = (48, 64, 96),
        kernel_size: int = 5,
        dropout_rate: float = 0.1,
        peaks: bool = False,
        magnitudes: bool = False,
    ) -> None:
        super().__init__()
        self.peaks = peaks
        self.magnitudes = magnitudes
        self.widths = tuple(widths)
        self.channels = tuple(2 * width if peaks else width for width in widths)
        self.blueprint = {
            "encoder": "sequence",
            "features": features,
            "widths": list(widths),
            "kernel_size": kernel_size,
            "dropout_rate": dropout_rate,
            **({"peaks": True} if peaks else {}),
            **({"magnitudes": True} if magnitudes else {}),
        }
        self.standardize = standardize
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, (1, kernel_size), stride=(1, 2), padding=(0, kernel_size // 2)),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.Dropout(dropout_rate),
            )
            for before, after in zip([(1 + magnitudes) * features + 1, *widths], widths, strict=False)
        )

    @classmethod
    def fit(cls, arrays: Sequence[Array], wishes: Wishes = NOTHING) -> SequenceEncoder:
        """Tells peaks, and magnitudes, where they are wished for."""
        (array,) = arrays
        standardize = Standardize.fit(array, channel_axis=-1)
        magnitudes = wishes.preprocessing == "magnitudes"
        return cls(standardize, array.shape[2], peaks=wishes.peaks, magnitudes=magnitudes)

    @classmethod
    def blank(cls, values: dict[str, Any], rebuild: Rebuild) -> SequenceEncoder:
        """See the base class."""
        return cls(Standardize.blank(1, values["features"]), **values)

    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
        """Maps ((batch, time, features),) to taps (batch, at most MAX_TIME, width or twice that)."""
        return self.extend(self.start(inputs), 0, num_taps)[0]

    def start(self, inputs: Sequence[Tensor]) -> State:
        """The standardized sequence, its magnitudes if asked for, and the time, (batch, channels, 1, time)."""
        values = self.standardize(inputs[0])
        if self.magnitudes:
            values = torch.cat([values, values.abs()], dim=2)
        clock = torch.linspace(-1, 1, values.shape[1], device=values.device, dtype=values.dtype)
        values = torch.cat([values, clock[None, :, None].expand(values.shape[0], -1, 1)], dim=2)
        return (values.transpose(1, 2).unsqueeze(2),)

    def extend(self, state: State, first: int, num_taps: int | None = None) -> tuple[list[Tensor], State]:
        """Goes on from the last layer's output."""
        (hidden,) = state
        taps = []
        for stage in self.stages[first:num_taps]:
            hidden = stage(hidden)
            taps.append(self.tap(hidden))
        return taps, (hidden,)

    def tap(self, hidden: Tensor) -> Tensor:
        """The tap of a layer's output."""
        sequence = hidden.squeeze(2).transpose(1, 2)
        tap = tap_from_sequence(sequence)
        return beside_peaks(tap, sequence) if self.peaks else tap

    def source(self, inputs: Sequence[str], shapes: Sequence[Sequence[int]], depths: Sequence[int]) -> TapsSource:
        """One Sequential a layer, after the channel that tells the time."""
        name, count, length = inputs[0], depths[-1] + 1, shapes[0][0]

        def tap(depth: int) -> str:
            sequence = f"layer{depth}.squeeze(2).transpose(1, 2)"
            # Every layer halves the time, a half rounded up.
            averaged = sequence_tap_source(sequence, -(-length >> depth + 1))
            return f"beside_peaks({averaged}, {sequence})" if self.peaks else averaged

        return TapsSource(
            doc=f"Temporal convolution network for {name}; a tap has at most {MAX_TIME} steps.",
            members=stages(count),
            layers=[
                f"values = self.standardize({name})",
                *(["values = torch.cat([values, values.abs()], dim=2)"] if self.magnitudes else []),
                f"clock = torch.linspace(-1, 1, {length}, device=values.device)",
                "values = torch.cat([values, clock[None, :, None].expand(values.shape[0], -1, 1)], dim=2)",
                "values = values.transpose(1, 2).unsqueeze(2)  # a map of one row, with channels last in memory",
                *layers("values", count),
            ],
            taps={depth: tap(depth) for depth in depths},
        )
