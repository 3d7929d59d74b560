"""Modalities without a target, for predictions: checked as those of a data set are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from nas.data.from_arrays import presence_mask
from nas.data.fusion_data import Modality
from nas.data.modality import make_modality, plain_array
from nas.errors import UserError


def make_inputs(
    modalities: Mapping[str, ArrayLike | Sequence[ArrayLike]],
    kinds: Mapping[str, str],
    present: Mapping[str, ArrayLike] | None = None,
) -> dict[str, Modality]:
    """Checks arrays and makes modalities of them.

    Args:
        modalities: Name to array or, of ready-made features, list of arrays; at least one.
        kinds: Modality to kind, for all of them.
        present: Modality to (n,) flags of the samples that have it; modalities left out are always there.

    Raises:
        UserError: If an array is malformed, or they differ in the number of samples.
    """
    first = next(iter(modalities))
    count = _count(first, modalities[first])
    masks = {name: presence_mask(name, mask, count) for name, mask in (present or {}).items()}
    made = {name: make_modality(name, value, kinds[name], masks.get(name)) for name, value in modalities.items()}
    for name, modality in made.items():
        for array in modality.arrays:
            if len(array) != count:
                raise UserError(f"modality {name!r} has {len(array)} samples, but {first!r} has {count}; align them")
    return made


def _count(name: str, value: Any) -> int:
    """How many samples a modality has."""
    array = plain_array(f"modality {name!r}", value[0] if isinstance(value, list | tuple) and value else value)
    return len(array) if array.ndim else 0


__all__ = ["make_inputs"]
