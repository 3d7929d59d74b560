"""One modality from what the user gave: its kind, its number type, and whether every value is usable."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.data.fusion_data import KINDS, Kind, Modality
from nas.data.stored import Array, StoredArray, chunks, mapped
from nas.errors import UserError, one_line, unknown_name

MAX_TOKEN_ID = 1_000_000
"""The table from ids to rows of the embedding takes 4 MB up to here; larger numbers are hashes or codes, not ids."""

_COMPACT = (np.uint8, np.int8, np.int16, np.float16, np.float32)
"""Number types kept as they are, to save memory; encoders convert batch by batch."""

_KINDS_BY_NAME: dict[str, Kind] = {str(kind): kind for kind in KINDS}


def plain_array(label: str, value: ArrayLike | Sequence[ArrayLike]) -> NDArray[Any]:
    """Numbers, flags or words as an array of this machine's byte order.

    Args:
        label: What it is, for the message.
        value: An array of any library that numpy can read, or nested lists of numbers.

    Raises:
        UserError: If numpy cannot read it, or it holds Python objects or masked values.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{label} cannot be read as an array: {one_line(error)}; give a numpy array") from error
    if array.dtype.hasobject:
        raise UserError(
            f"{label} holds Python objects (shape {array.shape}); expected numbers: convert it, for example with "
            "astype('float32') or, for words of a target, astype(str)"
        )
    if array.dtype.names is not None:
        raise UserError(
            f"{label} is a structured array with fields {_listed(array.dtype.names)}; expected one number or word a "
            "place: give every field as an array of its own"
        )
    if np.ma.is_masked(value):  # numpy would hand out whatever stands under the mask
        raise UserError(f"{label} holds masked values; fill or drop them, or mark a modality absent with present={{…}}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def lasting_array(label: str, value: ArrayLike | Sequence[ArrayLike] | StoredArray) -> Array:
    """What `plain_array` gives, except for what lies on disk, as a memory map does: that stays there.

    Raises:
        UserError: As of `plain_array`.
    """
    stored = value if isinstance(value, StoredArray) else mapped(value)
    if stored is None or stored.dtype.names is not None:
        return plain_array(label, value)
    return stored


def as_words(label: str, array: NDArray[Any]) -> NDArray[Any]:
    """Words of bytes or letters as words of letters, anything else as it is.

    Bytes are read as UTF-8; those that are not stay escaped, as `repr` shows them.

    Args:
        label: What it is, for the message.
        array: As `plain_array` makes it.

    Raises:
        UserError: If words hold numbers that are no letters, as only a damaged file does.
    """
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "backslashreplace")
    if array.dtype.kind == "U" and array.nbytes:
        codes = np.ascontiguousarray(array).view(np.uint32)
        if codes.max() > sys.maxunicode:
            raise UserError(f"{label} holds words with the letter number {codes.max()}, which is none; write it again")
    return array


def make_modality(
    name: str,
    value: ArrayLike | Sequence[ArrayLike],
    kind: str | None = None,
    present: NDArray[np.bool_] | None = None,
) -> Modality:
    """Checks one modality and brings it to the form that `Modality` documents.

    Args:
        name: For messages.
        value: One array (n, …), or a list or tuple of arrays, one per depth, for the kind `features`.
        kind: One of `KINDS`; None to read it off the array where that is safe.
        present: Which samples have it, (n,); values of the others are set to zero and may be anything before.

    Raises:
        UserError: If the kind is unknown, cannot be told, or does not fit; or values are not finite numbers.
    """
    if kind is not None and str(kind) not in _KINDS_BY_NAME:
        raise unknown_name(f"kind of modality {name!r}:", str(kind), KINDS)
    chosen = None if kind is None else _KINDS_BY_NAME[str(kind)]
    if isinstance(value, list | tuple):
        return Modality(kind="features", arrays=_depths(name, value, chosen, present), present=present)
    array = _numbers(f"modality {name!r}", lasting_array(f"modality {name!r}", value))
    if chosen == "features":
        return Modality(kind="features", arrays=_depths(name, [array], chosen, present), present=present)
    chosen = chosen or _read_kind(name, array)
    shaped = _shaped(name, array, chosen)
    usable = _tokens(name, shaped, present) if chosen == "tokens" else _finite(name, shaped, present)
    return Modality(kind=chosen, arrays=(usable,), present=present)


def _depths(
    name: str, values: Sequence[ArrayLike], kind: Kind | None, present: NDArray[np.bool_] | None
) -> tuple[Array, ...]:
    if kind not in (None, "features"):
        raise UserError(f"modality {name!r} is a list of arrays, one per depth, which is of kind features, not {kind}")
    if not values:
        raise UserError(f"modality {name!r} is an empty list; expected one array per depth")
    arrays: list[Array] = []
    for depth, value in enumerate(values):
        if not hasattr(value, "__array__"):
            raise UserError(
                f"modality {name!r} is a list that holds {type(value).__name__}; expected arrays, one per depth: "
                "wrap a single modality in numpy.array(…)"
            )
        label = f"depth {depth} of modality {name!r}"
        array = _numbers(label, lasting_array(label, value))
        if array.ndim not in (2, 3, 4):
            raise UserError(
                f"{label} has shape {array.shape}; expected (n, features), (n, time, features) or "
                "(n, channels, height, width)"
            )
        arrays.append(_finite(name, array, present))
    return tuple(arrays)


def _numbers(label: str, array: Array) -> Array:
    if array.dtype.kind not in "biuf":
        raise UserError(f"{label} is of type {array.dtype}; expected numbers (words: give them as integer tokens)")
    if array.ndim == 0 or array.size == 0:
        raise UserError(f"{label} is empty: shape {array.shape}; expected (n, …) with at least one sample and value")
    return array


def _read_kind(name: str, array: Array) -> Kind:
    """The kind where shape and number type leave no doubt."""
    shape, narrow = array.shape, array.dtype.itemsize == 1
    floating = array.dtype.kind == "f"
    if array.ndim == 2 and (floating or narrow):
        return "vector"
    if array.ndim == 3 and floating:
        return "sequence"
    if array.ndim == 3 and array.dtype == np.uint8:
        return "map"
    if array.ndim == 4:
        if shape[3] in (1, 3, 4) and shape[1] > 4:
            raise UserError(
                f"modality {name!r} of shape {shape} may be pictures with channels last or a sequence; move channels "
                f"first, (n, channels, height, width), or name its kind: '{name}:map' or '{name}:sequence'"
            )
        return "map"
    if array.ndim == 1:
        raise UserError(f"modality {name!r} has shape {shape}; expected (n, features): reshape it to {(shape[0], 1)}")
    raise UserError(
        f"modality {name!r}, {array.dtype} of shape {shape}, may be several things; name its kind, for example "
        f"'{name}:{'tokens' if array.ndim == 2 else 'sequence'}' (kinds: {', '.join(KINDS)})"
    )


def _shaped(name: str, array: Array, kind: Kind) -> Array:
    """The array with the axes of its kind: a sequence flattens what follows time, a grey map gains its channel."""
    if kind == "sequence" and array.ndim >= 2:
        return _with_shape(array, (array.shape[1], prod(array.shape[2:])))
    if kind == "map" and array.ndim == 3:
        return _with_shape(array, (1, *array.shape[1:]))
    axes, form = {
        "vector": (2, "(n, features)"),
        "tokens": (2, "(n, length)"),
        "sequence": (3, "(n, time, features)"),
        "map": (4, "(n, channels, height, width) or (n, height, width)"),
    }[kind]
    if array.ndim != axes:
        raise UserError(f"modality {name!r} of kind {kind} has shape {array.shape}; expected {form}: reshape it")
    return array


def _with_shape(array: Array, shape: tuple[int, ...]) -> Array:
    """The array with rows of another shape."""
    return array.reshaped(shape) if isinstance(array, StoredArray) else array.reshape(len(array), *shape)


def _tokens(name: str, array: Array, present: NDArray[np.bool_] | None) -> Array:
    if array.dtype.kind not in "iu":
        raise UserError(f"tokens {name!r} are of type {array.dtype}; expected integers, 0 for padding: use astype(int)")
    array = _blanked(array, present)
    ends = [(int(part.min()), int(part.max())) for part in chunks(array)]
    lowest, highest = min(low for low, _ in ends), max(high for _, high in ends)
    if lowest < 0:
        raise UserError(f"tokens {name!r} hold {lowest}; expected ids from 0 (padding): shift them by {-lowest}")
    if highest > MAX_TOKEN_ID:
        raise UserError(f"tokens {name!r} hold {highest}; expected at most {MAX_TOKEN_ID}: number the words from 1")
    wide_unsigned = array.dtype.kind == "u" and array.dtype != np.uint8  # torch cannot index with these
    return array.astype(np.int32) if wide_unsigned else array


def _finite(name: str, array: Array, present: NDArray[np.bool_] | None) -> Array:
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    elif array.dtype not in _COMPACT:
        with np.errstate(over="ignore"):  # what overflows becomes infinite and is told below
            array = array.astype(np.float32)
    array = _blanked(array, present)
    if array.dtype.kind == "f":
        samples = sum(int((~np.isfinite(p).reshape(len(p), -1).all(axis=1)).sum()) for p in chunks(array))
        if samples:
            raise UserError(
                f"modality {name!r} has NaN or infinity in {samples} of {len(array)} samples; fill or drop them, or "
                f"mark them absent with present={{{name!r}: …}}"
            )
    return array


def _blanked(array: Array, present: NDArray[np.bool_] | None) -> Array:
    """Zero where the modality is absent, so that whatever stood there is neither read nor part of the fingerprint."""
    if present is None or len(present) != len(array):  # different lengths are told where all lengths are known
        return array
    if isinstance(array, StoredArray):
        return array.blanked(present)
    array = array.copy()
    array[~present] = 0
    return array


def _listed(names: Sequence[str]) -> str:
    """The first names, quoted."""
    return ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")
