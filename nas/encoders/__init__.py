"""Encoders: a network for each kind of modality, each offering several taps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from nas.data.fusion_data import FusionData, Kind
from nas.encoders.base import Encoder, Standardize
from nas.encoders.features import FeaturesEncoder
from nas.encoders.frozen import FrozenEncoder
from nas.encoders.map import MapEncoder
from nas.encoders.module import ModuleEncoder
from nas.encoders.sequence import SequenceEncoder
from nas.encoders.tokens import TokenEncoder
from nas.encoders.vector import VectorEncoder
from nas.errors import UserError, unknown_name

EncoderBuilder = Callable[[FusionData, str], Encoder]
"""Builds an encoder for one modality of a data set; called anew, with fresh weights, for every network."""


def _vector(data: FusionData, name: str) -> Encoder:
    array = _weights_arrays(data, name)[0]
    return VectorEncoder(Standardize.fit(array, channel_axis=-1), array.shape[1])


def _sequence(data: FusionData, name: str) -> Encoder:
    array = _weights_arrays(data, name)[0]
    return SequenceEncoder(Standardize.fit(array, channel_axis=-1), array.shape[2], peaks=True)


def _tokens(data: FusionData, name: str) -> Encoder:
    # Ids beyond those of the weights split would have an untrained embedding: they are read as padding.
    return TokenEncoder(int(_weights_arrays(data, name)[0].max()) + 1)


def _map(data: FusionData, name: str) -> Encoder:
    array = _weights_arrays(data, name)[0]
    channels, height, width = array.shape[1:]
    return MapEncoder(Standardize.fit(array, channel_axis=1), (channels, height, width))


def _features(data: FusionData, name: str) -> Encoder:
    return FeaturesEncoder.fit(_weights_arrays(data, name))


DEFAULT_ENCODERS: Mapping[Kind, EncoderBuilder] = {
    "vector": _vector,
    "sequence": _sequence,
    "tokens": _tokens,
    "map": _map,
    "features": _features,
}


def _weights_arrays(data: FusionData, name: str) -> tuple[NDArray[Any], ...]:
    """The modality's arrays of the weights split, of the samples that have it."""
    modality = data.modalities[name]
    chosen = data.splits["weights"]
    if modality.present is not None and modality.present[chosen].any():
        chosen = chosen[modality.present[chosen]]
    return tuple(array[chosen] for array in modality.arrays)


def build_encoders(data: FusionData, builders: Mapping[str, EncoderBuilder] | None = None) -> dict[str, Encoder]:
    """Fresh encoders for every modality of a data set.

    Args:
        data: Statistics for standardization are taken from its weights split alone.
        builders: Modality to builder, where the default of its kind shall not be used.
    """
    chosen = builders or {}
    return {
        name: chosen.get(name, DEFAULT_ENCODERS[modality.kind])(data, name)
        for name, modality in data.modalities.items()
    }


def from_blueprint(blueprint: Mapping[str, Any]) -> Encoder:
    """An encoder without weights or statistics, to load a state into; the inverse of `Encoder.blueprint`.

    Raises:
        UserError: If the blueprint names an unknown encoder or lacks a field.
    """
    kind = None
    try:
        values = dict(blueprint)
        kind = values.pop("encoder", None)
        match kind:
            case "vector":
                return VectorEncoder(Standardize.blank(values["features"]), **values)
            case "sequence":
                return SequenceEncoder(Standardize.blank(1, values["features"]), **values)
            case "tokens":
                return TokenEncoder(**values)
            case "map":
                values["shape"] = tuple(values["shape"])
                return MapEncoder(Standardize.blank(values["shape"][0], 1, 1), **values)
            case "features":
                shapes = values["shapes"]
                blanks = [Standardize.blank(*_statistics_shape(shape)) for shape in shapes]
                return FeaturesEncoder(blanks, shapes)
            case "frozen":
                features = from_blueprint(values["features"])
                assert isinstance(features, FeaturesEncoder)
                return FrozenEncoder(from_blueprint(values["inner"]), features)
    except (AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # torch refuses sizes below zero, or beyond all memory, with a RuntimeError.
        raise UserError(f"the blueprint of a {kind} encoder is garbled: {error!r}") from error
    raise unknown_name("encoder", str(kind), [*DEFAULT_ENCODERS, "frozen"])


def _statistics_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of the statistics of arrays of this sample shape: one number per feature or per channel."""
    return (shape[0], 1, 1) if len(shape) == 3 else (*[1] * (len(shape) - 1), shape[-1])


__all__ = ["DEFAULT_ENCODERS", "Encoder", "EncoderBuilder", "ModuleEncoder", "build_encoders", "from_blueprint"]
