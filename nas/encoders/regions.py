"""Encoder of maps whose taps are regions: tokens that attention can look at one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.codegen import TapsSource, layers, stages
from nas.encoders.base import Standardize, State
from nas.encoders.map import MapEncoder

ROWS = 4
"""Rows and columns of regions at most: together as many tokens as a sequence has steps."""

MAX_PATCH = 16
"""Height and width of a patch at most; larger pictures are averaged down first."""

PLACE = 6
"""Numbers that tell where a region is."""


class RegionEncoder(MapEncoder):
    """The layers of `MapEncoder`, but a tap has a token for every region: means of a layer, beside their place.

    The first tap is the picture itself, cut into patches, which no layer has seen. With the adapter it is the patch
    embedding of Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", Eq. 1, so that `single_stream` on first taps
    is ViLT (Kim et al. 2021). Departures: fewer and larger patches, and places that stand beside the features, see
    `place_tokens`, instead of learned vectors that are added to them.

    Args:
        standardize: Statistics of the input, one per channel.
        shape: Channels, height and width of one sample.
        widths: Channels of every layer; taps are one more.
        dropout_rate: After every layer, 0 to 1.
    """

    def __init__(
        self,
        standardize: Standardize,
        shape: tuple[int, int, int],
        *,
        widths: Sequence[int] = (16, 32, 64),
        dropout_rate: float = 0.1,
    ) -> None:
        super().__init__(standardize, shape, widths=widths, dropout_rate=dropout_rate)
        assert self.blueprint is not None
        self.blueprint = {**self.blueprint, "encoder": "regions"}
        channels, height, width = shape
        rows, columns = regions_of(height, width)
        self.patch = min(MAX_PATCH, -(-height // rows)), min(MAX_PATCH, -(-width // columns))
        self.cut = rows * self.patch[0], columns * self.patch[1]
        self.channels = (channels * math.prod(self.patch) + PLACE, *(width + PLACE for width in widths))

    def grid(self, depth: int) -> tuple[int, int]:
        """Of the patches, or of a layer's output."""
        return regions_of(*(self.sizes[depth - 1][1:] if depth else self.cut))

    def extend(self, state: State, first: int, num_taps: int | None = None) -> tuple[list[Tensor], State]:
        """Goes on from the last layer's output; before the first one stands the tap of patches."""
        last = self.num_taps if num_taps is None else num_taps
        taps, after = super().extend(state, max(0, first - 1), max(0, last - 1))
        if first == 0 < last:
            pixels = F.adaptive_avg_pool2d(state[0], self.cut)
            taps.insert(0, place_tokens(patches(pixels, *self.patch)))
        return taps, after

    def tap(self, hidden: Tensor) -> Tensor:
        """What a layer puts out as tokens of its regions."""
        return place_tokens(F.adaptive_avg_pool2d(hidden, regions_of(*hidden.shape[2:])))

    def source(
        self,
        inputs: Sequence[str],
        shapes: Sequence[Sequence[int]],  # noqa: ARG002
        depths: Sequence[int],
    ) -> TapsSource:
        """One Sequential a layer."""

        def tap(depth: int) -> str:
            if depth == 0:
                height, width = self.patch
                return f"place_tokens(patches(F.adaptive_avg_pool2d(pixels, {self.cut}), {height}, {width}))"
            regions = regions_of(*self.sizes[depth - 1][1:])
            return f"place_tokens(F.adaptive_avg_pool2d(layer{depth - 1}, {regions}))"

        return TapsSource(
            doc=f"Convolution network for {inputs[0]}; a tap has a token for every region.",
            members=stages(depths[-1]),
            layers=[f"pixels = channels_last(self.standardize({inputs[0]}))", *layers("pixels", depths[-1])],
            taps={depth: tap(depth) for depth in depths},
        )


def regions_of(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the regions of a map."""
    return min(ROWS, height), min(ROWS, width)


def patches(feature_map: Tensor, height: int, width: int) -> Tensor:
    """Cuts a map (batch, channels, …) into patches of a size, (batch, channels · height · width, rows, columns)."""
    cut: Tensor = feature_map.unflatten(3, (-1, width)).unflatten(2, (-1, height)).permute(0, 1, 3, 5, 2, 4)
    return cut.flatten(1, 3)


def place_tokens(feature_map: Tensor) -> Tensor:
    """Every place of a map as a token that tells where it is.

    A place is told by its coordinates and one wave of each, after the Fourier features of Jaegle et al. 2021,
    "Perceiver: General Perception with Iterative Attention", section 3.2.

    Args:
        feature_map: (batch, channels, rows, columns).

    Returns:
        (batch, rows · columns, channels + `PLACE`), row by row.
    """
    rows, columns = feature_map.shape[2:]
    down = (2 * torch.arange(rows, device=feature_map.device) + 1) / rows - 1
    right = (2 * torch.arange(columns, device=feature_map.device) + 1) / columns - 1
    places = torch.stack([down[:, None].expand(rows, columns), right.expand(rows, columns)], dim=2).flatten(0, 1)
    waves = torch.cat([places, (torch.pi * places).sin(), (torch.pi * places).cos()], dim=1).to(feature_map.dtype)
    tokens = feature_map.flatten(2).transpose(1, 2)
    return torch.cat([tokens, waves.expand(tokens.shape[0], -1, -1)], dim=2)
