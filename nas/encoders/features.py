"""Encoder of ready-made per-depth features: nothing to learn, every array becomes one tap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from nas.codegen import TapsSource
from nas.data.stored import Array
from nas.encoders.base import (
    FEATURES,
    NOTHING,
    KnownEncoder,
    Rebuild,
    Standardize,
    State,
    Wishes,
    map_tap_channels,
    map_tap_source,
    sequence_tap_source,
    tap_from_map,
    tap_from_sequence,
    tap_from_vector,
)
from nas.errors import UserError
from nas.fields import Several

_TO_TAP: dict[int, Callable[[Tensor], Tensor]] = {2: tap_from_vector, 3: tap_from_sequence, 4: tap_from_map}


class FeaturesEncoder(KnownEncoder):
    """Standardizes each array and brings it to the form of a tap.

    Args:
        standardize: Statistics of each depth's array.
        shapes: Of one sample of each depth's array: (features,), (time, features) or (channels, height, width).
    """

    form: ClassVar = {"shapes": Several(Several(FEATURES, 1, 3), 1, 512)}

    def __init__(self, standardize: Sequence[Standardize], shapes: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.channels = tuple(map_tap_channels(*shape) if len(shape) == 3 else shape[-1] for shape in shapes)
        self.blueprint = {"encoder": "features", "shapes": [list(shape) for shape in shapes]}
        self.shapes = tuple(tuple(shape) for shape in shapes)
        self.standardize = nn.ModuleList(standardize)

    @classmethod
    def fit(cls, arrays: Sequence[Array], wishes: Wishes = NOTHING) -> FeaturesEncoder:
        """Builds it from the arrays of the weights split, one per depth.

        Raises:
            UserError: If an array is not (n, features), (n, time, features) or (n, channels, height, width).
        """
        for depth, array in enumerate(arrays):
            if array.ndim not in _TO_TAP:
                raise UserError(f"features of depth {depth} have {array.ndim} axes; expected 2, 3 or 4")
        standardize = [Standardize.fit(array, channel_axis=1 if array.ndim == 4 else -1) for array in arrays]
        return cls(standardize, [array.shape[1:] for array in arrays])

    @classmethod
    def blank(cls, values: dict[str, Any], rebuild: Rebuild) -> FeaturesEncoder:
        """See the base class."""
        shapes = values["shapes"]
        return cls([Standardize.blank(*_statistics_shape(shape)) for shape in shapes], shapes)

    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
        """Maps the arrays of the batch to as many taps."""
        return self.taps(inputs[:num_taps])

    def extend(self, state: State, first: int, num_taps: int | None = None) -> tuple[list[Tensor], State]:
        """Every array stands by itself."""
        return self.taps(state[first:num_taps], first), state

    def taps(self, arrays: Sequence[Tensor], first: int = 0) -> list[Tensor]:
        """Taps of the arrays of some depths, (batch, time, channels) each.

        Args:
            arrays: One per depth.
            first: Depth of the first of them.
        """
        pairs = zip(self.standardize[first : first + len(arrays)], arrays, strict=True)
        return [_TO_TAP[values.dim()](standardize(values)) for standardize, values in pairs]

    def then(self, other: FeaturesEncoder) -> FeaturesEncoder:
        """One that standardizes like this one, then like another: ((x - m) / d - n) / e = (x - m - d n) / (d e)."""
        both = []
        for one, after in zip(self.standardize, other.standardize, strict=True):
            assert isinstance(one, Standardize)
            assert isinstance(after, Standardize)
            mean = one.mean + one.deviation * after.mean
            both.append(Standardize(mean, one.deviation * after.deviation))
        return FeaturesEncoder(both, self.shapes)

    def source(self, inputs: Sequence[str], shapes: Sequence[Sequence[int]], depths: Sequence[int]) -> TapsSource:
        """Statistics, and the form of a tap."""

        def tap(depth: int) -> str:
            standardized, shape = f"self.standardize{depth}({inputs[depth]})", shapes[depth]
            if len(shape) == 3:
                return map_tap_source(standardized, *shape)
            if len(shape) == 1:
                return f"{standardized}.unsqueeze(1)"
            return sequence_tap_source(standardized, shape[0])

        return TapsSource(
            doc="Standardizes ready-made features.",
            members={f"standardize{depth}": f"standardize.{depth}" for depth in depths},
            layers=[],
            taps={depth: tap(depth) for depth in depths},
        )


def _statistics_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of the statistics of arrays of this sample shape: one number per feature or per channel."""
    return (shape[0], 1, 1) if len(shape) == 3 else (*[1] * (len(shape) - 1), shape[-1])
