"""What an encoder is: a network of one modality that offers taps, shallow to deep."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.codegen import TapsSource
from nas.data.stored import Array, StoredArray, chunks
from nas.errors import UserError
from nas.fields import Form, Number, Several, Whole

MAX_TIME = 16
"""Taps are averaged down to this many time steps at most: enough to align in time, cheap enough to attend over."""

MAP_NUMBERS = 256
"""A map's tap is its average on a grid, laid out along the channels: as fine a one as gives about so many numbers.

Shallow layers have few channels and tell by where things are what deep ones tell by their channels. On the same coarse
grid at every depth, what is fused early, and the answer of a route that stops early, would know little of a picture.
"""

MIN_MAP_GRID = 2
"""Rows and columns of that grid at least, for a trace of where things are."""


State = tuple[Tensor, ...]
"""What an encoder goes on from, each (batch, …), so that samples can be taken out of it."""


class Encoder(nn.Module, ABC):
    """Network of one modality.

    Attributes:
        channels: Channels of every tap, shallow to deep.
        blueprint: Plain values from which `nas.encoders.from_blueprint` builds it again, without weights and without
            data; None for an encoder that only its own code can build.
    """

    channels: tuple[int, ...]
    blueprint: Mapping[str, Any] | None = None

    @property
    def num_taps(self) -> int:
        """How many taps it offers."""
        return len(self.channels)

    def grid(self, depth: int) -> tuple[int, int] | None:  # noqa: ARG002  # for those that have one
        """Rows and columns of the regions of a map that the tokens of a tap stand for; None if they do not."""
        return None

    @abstractmethod
    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
        """Computes the taps, running only the layers that they need.

        Args:
            inputs: The arrays of the modality for one batch, each (batch, …).
            num_taps: How many taps are wanted, from the shallowest; None for all.

        Returns:
            The taps, shallow to deep, each (batch, time, channels).
        """

    def start(self, inputs: Sequence[Tensor]) -> State:
        """What the first layer takes.

        An encoder that does not say begins anew whenever it is asked for further taps.

        Args:
            inputs: As in `forward`.
        """
        return tuple(inputs)

    def extend(self, state: State, first: int, num_taps: int | None = None) -> tuple[list[Tensor], State]:
        """Goes on from where it stopped.

        Args:
            state: What `start` returned, or a call of this for the taps before; or some of its samples.
            first: How many taps were computed already.
            num_taps: As in `forward`.

        Returns:
            The taps from `first` on, each (batch, time, channels), and what the layer after them takes.
        """
        return self(state, num_taps)[first:], state

    def taps_at(self, inputs: Sequence[Tensor], depths: Collection[int]) -> dict[int, Tensor]:
        """Some taps, by their depths, running only what they need.

        Args:
            inputs: As in `forward`.
            depths: Those that are wanted, at least one.
        """
        every = self(inputs, max(depths) + 1)
        return {depth: every[depth] for depth in depths}

    def extend_to(self, state: State, first: int, depths: Collection[int]) -> tuple[dict[int, Tensor], State]:
        """Goes on from where it stopped, to some taps; others that come by the way may be told, too.

        Args:
            state: As in `extend`.
            first: As in `extend`.
            depths: Those that are wanted, none before `first`.
        """
        found, state = self.extend(state, first, max(depths) + 1)
        return dict(enumerate(found, start=first)), state

    def source(
        self,
        inputs: Sequence[str],  # noqa: ARG002  # for those that say
        shapes: Sequence[Sequence[int]],  # noqa: ARG002
        depths: Sequence[int],  # noqa: ARG002
    ) -> TapsSource:
        """The encoder as ordinary code, in evaluation mode, for the stand-alone Python file.

        Args:
            inputs: Names of the arguments, one per array.
            shapes: Of one sample of each array.
            depths: The taps that are read, shallow to deep.

        Raises:
            UserError: If the encoder does not say.
        """
        raise UserError(f"encoder {type(self).__name__} has no source(); leave the python format out or write one")


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What is asked of an encoder besides fitting the data; an encoder for which a wish means nothing ignores it.

    Attributes:
        peaks: Whether taps of sequences tell peaks, see `beside_peaks`.
        regions: Whether taps of maps have a token for every region, see `RegionEncoder`.
        preprocessing: `standardize`, or a name of `nas.encoders.preprocessing.PREPROCESSING`.
    """

    peaks: bool = False
    regions: bool = False
    preprocessing: str = "standardize"


NOTHING = Wishes()
"""Is asked for besides."""

Rebuild = Callable[[Mapping[str, Any]], Encoder]
"""From the blueprint of an encoder within another one to that encoder."""


class KnownEncoder(Encoder):
    """An encoder that `nas.encoders.ENCODERS` names: fitted to arrays, and rebuilt from the values of its blueprint.

    Attributes:
        form: What its blueprint holds, beside its name: field to what that must be.
        optional: Likewise, of what may be absent.
    """

    form: ClassVar[Mapping[str, Form]]
    optional: ClassVar[Mapping[str, Form]] = {}

    @classmethod
    @abstractmethod
    def fit(cls, arrays: Sequence[NDArray[Any]], wishes: Wishes = NOTHING) -> Encoder:
        """A fresh encoder.

        Args:
            arrays: Of the modality, samples of the weights split that have it, (n, …) each. Of data that is larger than
                memory they are `StoredArray`s, which are read in parts.
            wishes: What is asked for besides.
        """

    @classmethod
    @abstractmethod
    def blank(cls, values: dict[str, Any], rebuild: Rebuild) -> Encoder:
        """One without weights or statistics, to load a state into.

        Args:
            values: Of its blueprint, checked by `form` and `optional`.
            rebuild: Builds an encoder within this one.
        """


WIDTHS = Several(Whole(1, 2**16), 1, 64)
"""Channels of layers."""

RATE = Number("from 0 to 1", high=1.0, below=False)
"""Of dropout."""

FEATURES = Whole(1, 10**7)
"""Numbers side by side."""


class Standardize(nn.Module):
    """(x - mean) / deviation, per feature or per channel, with statistics of the weights split.

    Any number type comes in, float32 goes out. A feature that never varies is only centred.

    Args:
        mean: Broadcasts against one sample.
        deviation: The same shape, positive.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    @classmethod
    def blank(cls, *shape: int) -> Standardize:
        """Mean 0 and deviation 1 of this shape, to load statistics into."""
        return cls(torch.zeros(shape), torch.ones(shape))

    @classmethod
    def fit(cls, array: Array, *, channel_axis: int) -> Standardize:
        """Measures mean and deviation over all axes but one.

        Args:
            array: Samples of the weights split, (n, …).
            channel_axis: The axis that keeps its own statistics, counted as in numpy.
        """
        axis = channel_axis % array.ndim
        others = tuple(i for i in range(array.ndim) if i != axis)
        mean, square = _moments(array, others)
        deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
        # Relative to the mean, whose rounding errors are all that is left of a constant; tiny units are no constant.
        deviation = np.where(deviation <= 1e-6 * np.abs(mean), 1.0, deviation)
        shape = [1] * (array.ndim - 1)
        shape[axis - 1] = -1
        return cls(*(torch.tensor(value, dtype=torch.float32).reshape(shape) for value in (mean, deviation)))

    def forward(self, values: Tensor) -> Tensor:
        """Standardizes (batch, …) of any number type to float32 (or to the type of the statistics)."""
        return (values.to(self.mean.dtype) - self.mean) / self.deviation


def _moments(array: Array, axes: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of the values and of their squares over some axes, the first one among them, in one pass in chunks.

    Those of an array on disk are remembered with it: every network that is built asks for them.
    """
    known = array.memory if isinstance(array, StoredArray) else {}
    if axes not in known:
        parts = [
            (len(part), part.mean(axis=axes, dtype=np.float64), np.square(part, dtype=np.float64).mean(axis=axes))
            for part in chunks(array)
        ]
        shares = np.array([count for count, _, _ in parts]) / len(array)
        means, squares = (np.stack([part[which] for part in parts]) for which in (1, 2))
        known[axes] = np.tensordot(shares, means, 1), np.tensordot(shares, squares, 1)
    found: tuple[NDArray[np.float64], NDArray[np.float64]] = known[axes]
    return found


def tap_from_vector(vector: Tensor) -> Tensor:
    """(batch, features) to a tap of one time step, (batch, 1, features)."""
    return vector.unsqueeze(1)


def tap_from_sequence(sequence: Tensor) -> Tensor:
    """(batch, time, features) to a tap of at most `MAX_TIME` steps, each the mean of a stretch of time."""
    if sequence.shape[1] <= MAX_TIME:
        return sequence
    return shorten(sequence, MAX_TIME)


def shorten(sequence: Tensor, time: int) -> Tensor:
    """Means of stretches of a sequence (batch, longer time, features), so many that (batch, time, features) remains."""
    stretch, rest = divmod(sequence.shape[1], time)
    if rest or stretch > 8:
        return F.adaptive_avg_pool1d(sequence.transpose(1, 2), time).transpose(1, 2)
    total = sequence[:, ::stretch]  # the same a dozen times as fast
    for start in range(1, stretch):
        total = total + sequence[:, start::stretch]
    return total / stretch


def beside_peaks(tap: Tensor, sequence: Tensor) -> Tensor:
    """A tap (batch, steps, features) with the power mean over time of every feature, at every step.

    The head averages over time, so that what happens once, such as a swing of the arm, would be lost in what goes on
    all the time. The power mean (mean x³)^(1/3) lies between the mean and the maximum (Radenović et al. 2018,
    "Fine-tuning CNN Image Retrieval with No Human Annotation", Eq. 3; there the exponent is learned, from 3 on). The
    maximum itself does as well on motion, but is of no use on noisy signals such as those of muscles.

    Args:
        tap: Of the sequence.
        sequence: (batch, time, features), none below zero.

    Returns:
        (batch, steps, 2 · features).
    """
    peaks = sequence.clamp(min=1e-6).pow(3).mean(dim=1, keepdim=True).pow(1 / 3)
    return torch.cat([tap, peaks.expand(-1, tap.shape[1], -1)], dim=2)


def sequence_tap_source(sequence: str, time: int) -> str:
    """Code of `tap_from_sequence` for an expression of (batch, time, features)."""
    return f"shorten({sequence}, {MAX_TIME})" if time > MAX_TIME else sequence


def tap_from_map(feature_map: Tensor) -> Tensor:
    """(batch, channels, height, width) to a tap of one time step, (batch, 1, channels · rows · columns).

    The grid is that of `map_grid`.
    """
    grid = map_grid(*feature_map.shape[1:])
    return F.adaptive_avg_pool2d(feature_map, grid).flatten(1).unsqueeze(1)


def channels_last(maps: Tensor) -> Tensor:
    """(batch, channels, height, width) in an order in memory with which convolution and pooling take half the time."""
    rows = maps.movedim(1, 3)
    # A single channel is in that order anyway; made anew from a flat one, it also says so.
    ordered: Tensor = rows.flatten(1).unflatten(1, rows.shape[1:])
    return ordered.movedim(3, 1)


def map_grid(channels: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the grid on which a map is averaged for its tap."""
    size = max(MIN_MAP_GRID, round(math.sqrt(MAP_NUMBERS / channels)))
    return min(size, height), min(size, width)


def map_tap_source(feature_map: str, channels: int, height: int, width: int) -> str:
    """Code of `tap_from_map` for an expression of (batch, channels, height, width)."""
    rows, columns = map_grid(channels, height, width)
    grid = f"{rows}" if rows == columns else f"({rows}, {columns})"
    return f"F.adaptive_avg_pool2d({feature_map}, {grid}).flatten(1).unsqueeze(1)"


def map_tap_channels(channels: int, height: int, width: int) -> int:
    """Channels of `tap_from_map` for a map of this shape."""
    return channels * math.prod(map_grid(channels, height, width))
