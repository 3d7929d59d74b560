"""Encoder of maps such as images and spectrograms: a small convolution network, one tap a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from nas.codegen import TapsSource, layers, stages
from nas.data.stored import Array
from nas.encoders.base import (
    NOTHING,
    RATE,
    WIDTHS,
    KnownEncoder,
    Rebuild,
    Standardize,
    State,
    Wishes,
    channels_last,
    map_tap_channels,
    map_tap_source,
    tap_from_map,
)
from nas.fields import Several, Whole


class MapEncoder(KnownEncoder):
    """Layers of Conv2d, max pooling by two, BatchNorm, ReLU and dropout.

    Args:
        standardize: Statistics of the input, one per channel.
        shape: Channels, height and width of one sample.
        widths: Channels of every layer; as many taps.
        dropout_rate: After every layer, 0 to 1.
    """

    form: ClassVar = {"shape": Several(Whole(1, 2**20), 3, 3), "widths": WIDTHS, "dropout_rate": RATE}

    def __init__(
        self,
        standardize: Standardize,
        shape: tuple[int, int, int],
        *,
        widths: Sequence[int] = (16, 32, 64),
        dropout_rate: float = 0.1,
    ) -> None:
        super().__init__()
        channels, height, width = shape
        self.standardize = standardize
        self.blueprint = {
            "encoder": "map",
            "shape": list(shape),
            "widths": list(widths),
            "dropout_rate": dropout_rate,
        }
        stages, tap_channels, sizes = [], [], []
        for before, after in zip([channels, *widths], widths, strict=False):
            layers: list[nn.Module] = [nn.Conv2d(before, after, 3, padding=1)]
            if min(height, width) >= 2:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            # Pooling first leaves norm and ReLU a quarter of the work; with ReLU it commutes anyway.
            stages.append(nn.Sequential(*layers, nn.BatchNorm2d(after), nn.ReLU(), nn.Dropout2d(dropout_rate)))
            tap_channels.append(map_tap_channels(after, height, width))
            sizes.append((after, height, width))
        self.sizes = tuple(sizes)
        self.widths = tuple(widths)
        self.stages = nn.ModuleList(stages)
        self.channels = tuple(tap_channels)

    @classmethod
    def fit(cls, arrays: Sequence[Array], wishes: Wishes = NOTHING) -> MapEncoder:
        """See the base class."""
        (array,) = arrays
        channels, height, width = array.shape[1:]
        return cls(Standardize.fit(array, channel_axis=1), (channels, height, width))

    @classmethod
    def blank(cls, values: dict[str, Any], rebuild: Rebuild) -> MapEncoder:
        """See the base class."""
        values["shape"] = tuple(values["shape"])
        return cls(Standardize.blank(values["shape"][0], 1, 1), **values)

    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
        """Maps ((batch, channels, height, width),) to taps (batch, 1, width · rows · columns)."""
        return self.extend(self.start(inputs), 0, num_taps)[0]

    def start(self, inputs: Sequence[Tensor]) -> State:
        """The standardized maps."""
        return (channels_last(self.standardize(inputs[0])),)

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
        return tap_from_map(hidden)

    def source(
        self,
        inputs: Sequence[str],
        shapes: Sequence[Sequence[int]],  # noqa: ARG002
        depths: Sequence[int],
    ) -> TapsSource:
        """One Sequential a layer."""
        count = depths[-1] + 1
        return TapsSource(
            doc=f"Convolution network for {inputs[0]}; a tap holds means on a grid.",
            members=stages(count),
            layers=[
                f"pixels = channels_last(self.standardize({inputs[0]}))",
                *layers("pixels", count),
            ],
            taps={depth: map_tap_source(f"layer{depth}", *self.sizes[depth]) for depth in depths},
        )
