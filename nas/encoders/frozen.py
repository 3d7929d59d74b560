"""A pretrained encoder with fixed weights, followed by the standardization that its cached taps were trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from nas.codegen import TapsSource
from nas.data.stored import Array
from nas.encoders.base import NOTHING, Encoder, KnownEncoder, Rebuild, State, Wishes
from nas.encoders.features import FeaturesEncoder
from nas.errors import UserError


@dataclass(frozen=True)
class Blueprint:
    """The blueprint of an encoder within another one, which is checked when it is rebuilt."""

    words: str = "a blueprint"

    def allows(self, value: Any) -> bool:
        """Whether it can be one."""
        return isinstance(value, Mapping)


class FrozenEncoder(KnownEncoder):
    """Offers on raw arrays what a `FeaturesEncoder` offers on the cached taps of the same encoder.

    Args:
        inner: The pretrained encoder; its weights are frozen and it stays in evaluation mode.
        features: Standardizes its taps.
    """

    form: ClassVar = {"inner": Blueprint(), "features": Blueprint()}

    def __init__(self, inner: Encoder, features: FeaturesEncoder) -> None:
        super().__init__()
        self.inner = inner.eval().requires_grad_(False)
        self.features = features
        self.channels = features.channels
        if inner.blueprint is not None and features.blueprint is not None:
            self.blueprint = {
                "encoder": "frozen",
                "inner": dict(inner.blueprint),
                "features": dict(features.blueprint),
            }

    @classmethod
    def fit(cls, arrays: Sequence[Array], wishes: Wishes = NOTHING) -> FrozenEncoder:
        """Not from arrays: it is made of an encoder that was trained, see `nas.retraining.preparation.frozen`.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a frozen encoder is made of a trained one")

    @classmethod
    def blank(cls, values: dict[str, Any], rebuild: Rebuild) -> FrozenEncoder:
        """See the base class."""
        features = rebuild(values["features"])
        if not isinstance(features, FeaturesEncoder):
            raise UserError("its features must be a features encoder")
        return cls(rebuild(values["inner"]), features)

    def grid(self, depth: int) -> tuple[int, int] | None:
        """As the encoder within."""
        return self.inner.grid(depth)

    def train(self, mode: bool = True) -> FrozenEncoder:
        """Switches the mode of everything but the pretrained encoder."""
        super().train(mode)
        self.inner.eval()
        return self

    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
        """The standardized taps, each (batch, time, channels)."""
        return self.features.taps(self.inner(inputs, num_taps))

    def start(self, inputs: Sequence[Tensor]) -> State:
        """As the encoder within."""
        return self.inner.start(inputs)

    def extend(self, state: State, first: int, num_taps: int | None = None) -> tuple[list[Tensor], State]:
        """As the encoder within, its taps standardized."""
        taps, state = self.inner.extend(state, first, num_taps)
        return self.features.taps(taps, first), state

    def source(self, inputs: Sequence[str], shapes: Sequence[Sequence[int]], depths: Sequence[int]) -> TapsSource:
        """The encoder within, its taps standardized."""
        inner = self.inner.source(inputs, shapes, depths)
        return TapsSource(
            doc=inner.doc,
            members={
                **{attribute: f"inner.{path}" for attribute, path in inner.members.items()},
                **{f"standardize{depth}": f"features.standardize.{depth}" for depth in depths},
            },
            layers=inner.layers,
            taps={depth: f"self.standardize{depth}({tap})" for depth, tap in inner.taps.items()},
        )
