"""Encoders: a network for each kind of modality, each offering several taps.

A new encoder of ours is one class, a `KnownEncoder`, and one entry in `ENCODERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import torch

from nas.data.fusion_data import KINDS, FusionData, Kind
from nas.data.stored import some_rows
from nas.encoders.base import NOTHING, Encoder, KnownEncoder, Wishes
from nas.encoders.features import FeaturesEncoder
from nas.encoders.frozen import FrozenEncoder
from nas.encoders.imported import ImportedEncoder, refuse_unnamed
from nas.encoders.joined import JoinedEncoder
from nas.encoders.map import MapEncoder
from nas.encoders.module import ModuleEncoder
from nas.encoders.names import Named, builders_of, parse_encoders
from nas.encoders.preprocessing import PREPROCESSING, STANDARDIZE
from nas.encoders.pretrained.encoder import PretrainedEncoder
from nas.encoders.regions import RegionEncoder
from nas.encoders.sequence import SequenceEncoder
from nas.encoders.tokens import TokenEncoder
from nas.encoders.vector import VectorEncoder
from nas.errors import UserError, unknown_name
from nas.fields import check_all, told

EncoderBuilder = Callable[[FusionData, str], Encoder]
"""Builds an encoder for one modality of a data set; called anew, with fresh weights, for every network."""

ENCODERS: Mapping[str, type[KnownEncoder]] = {
    "vector": VectorEncoder,
    "sequence": SequenceEncoder,
    "tokens": TokenEncoder,
    "map": MapEncoder,
    "regions": RegionEncoder,
    "features": FeaturesEncoder,
    "frozen": FrozenEncoder,
    "imported": ImportedEncoder,
    "joined": JoinedEncoder,
    "pretrained": PretrainedEncoder,
}
"""By the name in their blueprints; that of a kind of modality is its default."""


def _default(kind: Kind, data: FusionData, name: str, wishes: Wishes = NOTHING) -> Encoder:
    own = "regions" if wishes.regions and kind == "map" else kind
    return ENCODERS[own].fit(_weights_arrays(data, name), wishes)


DEFAULT_ENCODERS: Mapping[Kind, EncoderBuilder] = {kind: partial(_default, kind) for kind in KINDS}


def _weights_arrays(data: FusionData, name: str) -> tuple[Any, ...]:
    """The modality's arrays of the weights split, of the samples that have it."""
    modality = data.modalities[name]
    chosen = data.splits["weights"]
    if modality.present is not None and modality.present[chosen].any():
        chosen = chosen[modality.present[chosen]]
    return tuple(some_rows(array, chosen) for array in modality.arrays)


def build_encoders(
    data: FusionData,
    builders: Mapping[str, EncoderBuilder] | None = None,
    *,
    peaks: bool = False,
    regions: bool = False,
    preprocessing: Mapping[str, str] | None = None,
) -> dict[str, Encoder]:
    """Fresh encoders for every modality of a data set.

    Args:
        data: Statistics for preprocessing are taken from its weights split alone.
        builders: Modality to builder, where the default of its kind shall not be used.
        peaks: Whether default encoders of sequences tell peaks, see `SequenceEncoder`.
        regions: Whether default encoders of maps have a token for every region, see `RegionEncoder`.
        preprocessing: Modality to a name of `PREPROCESSING`, where default encoders do more than standardize. Another
            kind than the name's is standardized: what was preprocessed before, such as cached taps.

    Raises:
        UserError: If a default encoder would take in more than `MAX_FEATURES` numbers side by side.
    """
    chosen = builders or {}

    def build(kind: Kind, name: str) -> Encoder:
        if name in chosen:
            return chosen[name](data, name)
        _refuse_wide(data, name)
        wanted = (preprocessing or {}).get(name, STANDARDIZE)
        if wanted != STANDARDIZE and PREPROCESSING[wanted][0] != kind:
            wanted = STANDARDIZE
        return _default(kind, data, name, Wishes(peaks=peaks, regions=regions, preprocessing=wanted))

    return {name: build(modality.kind, name) for name, modality in data.modalities.items()}


def with_named(
    builders: Mapping[str, EncoderBuilder] | None,
    named: Mapping[str, EncoderBuilder],
    modalities: Collection[str],
) -> dict[str, EncoderBuilder]:
    """Builders of the caller, and those of the encoders that are named, see `nas.encoders.names.builders_of`.

    Raises:
        UserError: If a modality is unknown or has both.
    """
    found = dict(builders or {})
    for modality, builder in named.items():
        if modality not in modalities:
            raise unknown_name("modality in encoder:", modality[:60], modalities)
        if modality in found:
            raise UserError(f"{modality!r} has a builder and is named in encoder; give one of them")
        found[modality] = builder
    return found


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


def from_blueprint(blueprint: Mapping[str, Any], *, modality: str = "", named: str | None = None) -> Encoder:
    """An encoder without weights or statistics, to load a state into; the inverse of `Encoder.blueprint`.

    Args:
        blueprint: Be it from a stranger's file.
        modality: For an error.
        named: The import path that the caller trusts, for an encoder that is a module of its own.

    Raises:
        UserError: If the blueprint names an unknown encoder, lacks a field, holds one of another form, or asks for more
            than `MAX_NUMBERS`; before memory is taken for it. Or if it names a module and the caller does not name the
            same; before anything is imported.
    """
    with torch.device("meta"):
        sketch = _build(blueprint, modality, named)
    # Buffers that are computed instead of saved, such as tables of relative positions, take memory, too.
    count = sum(tensor.numel() for tensor in (*sketch.parameters(), *sketch.buffers()))
    if count > MAX_NUMBERS:
        raise UserError(f"the blueprint of an encoder asks for {count:,} numbers, more than {MAX_NUMBERS:,}")
    return _build(blueprint, modality, named)


def _build(blueprint: Mapping[str, Any], modality: str, named: str | None, nesting: int = 1) -> Encoder:
    if not isinstance(blueprint, Mapping):
        raise UserError(f"the blueprint of a None encoder is garbled: it is {told(blueprint)}")
    values = dict(blueprint)
    kind = values.pop("encoder", None)
    if not isinstance(kind, str) or kind not in ENCODERS:
        raise unknown_name("encoder", kind[:60] if isinstance(kind, str) else told(kind), ENCODERS)
    if nesting > MAX_NESTING:
        raise UserError(f"a blueprint holds others more than {MAX_NESTING} deep, which no encoder of ours does")
    if kind == "imported":
        refuse_unnamed(values.get("path"), named, modality)
    known = ENCODERS[kind]
    try:
        optional = {name: form for name, form in known.optional.items() if name in values}
        check_all(values, {**known.form, **optional}, "field")
        rebuild = partial(_build, modality=modality, named=named, nesting=nesting + 1)
        return known.blank(values, rebuild)
    except (RuntimeError, UserError) as error:
        # torch refuses sizes that overflow when they are multiplied with a RuntimeError.
        raise UserError(f"the blueprint of a {kind} encoder is garbled: {error}") from error


__all__ = [
    "DEFAULT_ENCODERS",
    "ENCODERS",
    "Encoder",
    "EncoderBuilder",
    "KnownEncoder",
    "ModuleEncoder",
    "Named",
    "build_encoders",
    "builders_of",
    "from_blueprint",
    "parse_encoders",
    "with_named",
]
