"""Encoders: a network for each kind of modality, each offering several taps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nas.data.fusion_data import FusionData, Kind
from nas.data.modality import MAX_TOKEN_ID
from nas.encoders.base import Encoder, Standardize
from nas.encoders.features import FeaturesEncoder
from nas.encoders.frozen import FrozenEncoder
from nas.encoders.map import MapEncoder
from nas.encoders.module import ModuleEncoder
from nas.encoders.piecewise import MAX_ROWS, PiecewiseLinear
from nas.encoders.preprocessing import STANDARDIZE
from nas.encoders.sequence import SequenceEncoder
from nas.encoders.tokens import TokenEncoder
from nas.encoders.vector import VectorEncoder
from nas.errors import UserError, unknown_name
from nas.fields import Flag, Form, Number, Several, Whole, check_all, told

EncoderBuilder = Callable[[FusionData, str], Encoder]
"""Builds an encoder for one modality of a data set; called anew, with fresh weights, for every network."""


def _vector(data: FusionData, name: str) -> Encoder:
    array = _weights_arrays(data, name)[0]
    return VectorEncoder(Standardize.fit(array, channel_axis=-1), array.shape[1])


def _piecewise_vector(data: FusionData, name: str) -> Encoder:
    array = _weights_arrays(data, name)[0]
    array = array[:: -(-len(array) // MAX_ROWS)].astype(np.float32)  # as the encoder sees it
    piecewise = PiecewiseLinear.fit(array)
    standardize = Standardize.fit(piecewise(torch.from_numpy(array)).numpy(), channel_axis=-1)
    return VectorEncoder(standardize, array.shape[1], piecewise=piecewise)


def _sequence(data: FusionData, name: str, *, peaks: bool = False, magnitudes: bool = False) -> Encoder:
    array = _weights_arrays(data, name)[0]
    standardize = Standardize.fit(array, channel_axis=-1)
    return SequenceEncoder(standardize, array.shape[2], peaks=peaks, magnitudes=magnitudes)


def _tokens(data: FusionData, name: str) -> Encoder:
    return TokenEncoder.fit(_weights_arrays(data, name)[0])


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


def build_encoders(
    data: FusionData,
    builders: Mapping[str, EncoderBuilder] | None = None,
    *,
    peaks: bool = False,
    preprocessing: Mapping[str, str] | None = None,
) -> dict[str, Encoder]:
    """Fresh encoders for every modality of a data set.

    Args:
        data: Statistics for preprocessing are taken from its weights split alone.
        builders: Modality to builder, where the default of its kind shall not be used.
        peaks: Whether default encoders of sequences tell peaks, see `SequenceEncoder`.
        preprocessing: Modality to a name of `PREPROCESSING`, where default encoders do more than standardize. Another
            kind than the name's is standardized: what was preprocessed before, such as cached taps.

    Raises:
        UserError: If a default encoder would take in more than `MAX_FEATURES` numbers side by side.
    """
    chosen = builders or {}
    variants: Mapping[tuple[Kind, str], EncoderBuilder] = {
        ("sequence", STANDARDIZE): partial(_sequence, peaks=peaks),
        ("sequence", "magnitudes"): partial(_sequence, peaks=peaks, magnitudes=True),
        ("vector", "piecewise"): _piecewise_vector,
    }

    def build(kind: Kind, name: str) -> Encoder:
        if name in chosen:
            return chosen[name](data, name)
        _refuse_wide(data, name)
        wanted = (preprocessing or {}).get(name, STANDARDIZE)
        return variants.get((kind, wanted), DEFAULT_ENCODERS[kind])(data, name)

    return {name: build(modality.kind, name) for name, modality in data.modalities.items()}


MAX_FEATURES = 2**18
"""Numbers of a vector, or of one step of a sequence, that a default encoder takes: 25 million weights, and 600 MB where
they learn."""


def _refuse_wide(data: FusionData, name: str) -> None:
    modality = data.modalities[name]
    features = modality.arrays[0].shape[-1]
    if modality.kind in ("vector", "sequence") and features > MAX_FEATURES:
        raise UserError(
            f"modality {name!r} has {features:,} numbers side by side; expected at most {MAX_FEATURES:,}: choose or "
            "reduce them first, or bring an encoder of your own"
        )


MAX_NUMBERS = 2**30
"""Weights and statistics of one encoder, 4 GiB of them."""

MAX_NESTING = 4
"""Encoders within encoders."""


@dataclass(frozen=True)
class _Blueprint:
    """A blueprint within another one, which is checked when it is built."""

    words: str = "a blueprint"

    def allows(self, value: Any) -> bool:
        return isinstance(value, Mapping)


_WIDTHS = Several(Whole(1, 2**16), 1, 64)
_RATE = Number("from 0 to 1", high=1.0, below=False)
_FEATURES = Whole(1, 10**7)

_FORMS: Mapping[str, Mapping[str, Form]] = {
    "vector": {"features": _FEATURES, "widths": _WIDTHS, "dropout_rate": _RATE},
    "sequence": {
        "features": _FEATURES,
        "widths": _WIDTHS,
        "kernel_size": Whole(1, 1023),
        "dropout_rate": _RATE,
    },
    "tokens": {"vocabulary": Whole(1, 2**31), "widths": _WIDTHS, "dropout_rate": _RATE},
    "map": {"shape": Several(Whole(1, 2**20), 3, 3), "widths": _WIDTHS, "dropout_rate": _RATE},
    "features": {"shapes": Several(Several(_FEATURES, 1, 3), 1, 512)},
    "frozen": {"inner": _Blueprint(), "features": _Blueprint()},
}
"""What every kind of encoder is made from."""

_OPTIONAL: Mapping[str, Mapping[str, Form]] = {
    "vector": {"bins": Whole(1, 1024)},
    "sequence": {"peaks": Flag(), "magnitudes": Flag()},
    "tokens": {"max_id": Whole(0, MAX_TOKEN_ID)},
}
"""What some encoders of a kind are made from besides."""


def from_blueprint(blueprint: Mapping[str, Any]) -> Encoder:
    """An encoder without weights or statistics, to load a state into; the inverse of `Encoder.blueprint`.

    Raises:
        UserError: If the blueprint names an unknown encoder, lacks a field, holds one of another form, or asks for more
            than `MAX_NUMBERS`; before memory is taken for it.
    """
    with torch.device("meta"):
        sketch = _build(blueprint)
    count = sum(tensor.numel() for tensor in sketch.state_dict().values())
    if count > MAX_NUMBERS:
        raise UserError(f"the blueprint of an encoder asks for {count:,} numbers, more than {MAX_NUMBERS:,}")
    return _build(blueprint)


def _build(blueprint: Mapping[str, Any], nesting: int = 1) -> Encoder:
    if not isinstance(blueprint, Mapping):
        raise UserError(f"the blueprint of a None encoder is garbled: it is {told(blueprint)}")
    values = dict(blueprint)
    kind = values.pop("encoder", None)
    if not isinstance(kind, str) or kind not in _FORMS:
        raise unknown_name("encoder", kind[:60] if isinstance(kind, str) else told(kind), _FORMS)
    if nesting > MAX_NESTING:
        raise UserError(f"a blueprint holds others more than {MAX_NESTING} deep, which no encoder of ours does")
    try:
        optional = {name: form for name, form in _OPTIONAL.get(kind, {}).items() if name in values}
        check_all(values, {**_FORMS[kind], **optional}, "field")
        match kind:
            case "vector":
                bins = values.pop("bins", 0)
                piecewise = PiecewiseLinear.blank(bins, values["features"]) if bins else None
                standardize = Standardize.blank((bins or 1) * values["features"])
                return VectorEncoder(standardize, **values, piecewise=piecewise)
            case "sequence":
                return SequenceEncoder(Standardize.blank(1, values["features"]), **values)
            case "tokens":
                return TokenEncoder(**values)
            case "map":
                values["shape"] = tuple(values["shape"])
                return MapEncoder(Standardize.blank(values["shape"][0], 1, 1), **values)
            case "features":
                shapes = values["shapes"]
                return FeaturesEncoder([Standardize.blank(*_statistics_shape(shape)) for shape in shapes], shapes)
            case _:
                features = _build(values["features"], nesting + 1)
                if not isinstance(features, FeaturesEncoder):
                    raise UserError("its features must be a features encoder")
                return FrozenEncoder(_build(values["inner"], nesting + 1), features)
    except (RuntimeError, UserError) as error:
        # torch refuses sizes that overflow when they are multiplied with a RuntimeError.
        raise UserError(f"the blueprint of a {kind} encoder is garbled: {error}") from error


def _statistics_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of the statistics of arrays of this sample shape: one number per feature or per channel."""
    return (shape[0], 1, 1) if len(shape) == 3 else (*[1] * (len(shape) - 1), shape[-1])


__all__ = ["DEFAULT_ENCODERS", "Encoder", "EncoderBuilder", "ModuleEncoder", "build_encoders", "from_blueprint"]
