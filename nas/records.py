"""Dataclasses as plain values for JSON, and back: what a field may hold is read off its type, and checked.

    @dataclass(frozen=True, kw_only=True)
    class Row:
        name: str
        score: Interval = inline()
        seed: int | None = checked(SEED, default=None)

Types may be made of str, bool, int, float, None, Literal, tuples, mappings from text, dataclasses, unions of these,
and classes with `to_dict` and `from_dict` of their own. A float that is not finite is null in JSON, and null is read as
NaN.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Hashable, Mapping
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from nas.errors import UserError
from nas.fields import Flag, Form, Number, Text, Whole, check, told

Record = TypeVar("Record")

MAX_ENTRIES = 10**6
"""Of a list or table."""

ANY: Mapping[type, Form] = {
    str: Text(100_000),
    bool: Flag(),
    int: Whole(-(2**63), 2**63 - 1),
    float: Number("a number", low=-sys.float_info.max, high=sys.float_info.max, below=False),
}
"""What a field of a simple type may hold unless it is `checked`."""


def checked(form: Form | None = None, *, fewest: int = 0, most: int = MAX_ENTRIES, **options: Any) -> Any:
    """A field of a dataclass whose values are checked when they are read.

    Args:
        form: What each of its values must be: in a list or table every entry.
        fewest: Entries of a list or table, at least.
        most: The same, at most.
        options: As for `dataclasses.field`, such as `default`.
    """
    return dataclasses.field(metadata={"form": form, "fewest": fewest, "most": most}, **options)


def inline() -> Any:
    """A field that holds a dataclass whose own fields stand beside the others in JSON, not one level deeper."""
    return dataclasses.field(metadata={"inline": True})


def plain(values: Any) -> Any:  # noqa: PLR0911  # a case a line
    """A copy that strict JSON can hold.

    Dataclasses become tables, tuples lists, paths text, numpy's scalars numbers, and numbers that are not finite None.

    Raises:
        TypeError: If something in it is none of these.
    """
    if values is None or isinstance(values, str | bool | int):
        return values
    if isinstance(values, float):
        return float(values) if math.isfinite(values) else None
    if isinstance(values, Mapping):
        return {str(key): plain(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [plain(value) for value in values]
    if isinstance(values, Path):
        return str(values)
    if hasattr(values, "to_dict"):
        return plain(values.to_dict())
    if dataclasses.is_dataclass(values):
        found: dict[str, Any] = {}
        for field in dataclasses.fields(values):
            value = plain(getattr(values, field.name))
            found |= value if field.metadata.get("inline") else {field.name: value}
        return found
    if hasattr(values, "tolist"):  # numpy and torch
        return plain(values.tolist())
    raise TypeError(f"{type(values).__name__} cannot be written as JSON: {values!r}")


def from_plain(kind: type[Record], values: Any, where: str = "") -> Record:
    """Reads what `plain` made of a dataclass; what is not known is left out, what is missing has its default.

    Args:
        kind: The dataclass.
        values: From JSON.
        where: What the values are called, for errors.

    Raises:
        UserError: At the first field that is missing, or of another type, range or length; it names the field by its
            path, such as leaderboard[2].score.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where or 'it'} must be a table, got {told(values)}")
    hints, found = _hints(cast(Hashable, kind)), {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # a dataclass
        path = f"{where}.{field.name}" if where else field.name
        if not field.init:
            continue
        if field.metadata.get("inline"):
            found[field.name] = from_plain(hints[field.name], values, where)
        elif field.name in values:
            found[field.name] = _read(hints[field.name], values[field.name], path, field.metadata)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UserError(f"{path} is missing")
    try:
        return kind(**found)
    except UserError as error:
        raise UserError(f"{where}: {error}" if where else str(error)) from error


@cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(kind: Any, value: Any, where: str, metadata: Mapping[str, Any]) -> Any:  # noqa: PLR0911  # likewise
    """One value of a type, its entries included."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _read_union(inner, value, where, metadata)
    if origin is Literal and metadata.get("form"):  # a registry, to which names may have been added
        check(where, value, metadata["form"])
        return value
    if origin is Literal:
        if type(value) not in map(type, inner) or value not in inner:
            raise UserError(f"{where} must be one of {', '.join(map(str, inner))}, got {told(value)}")
        return value
    if origin is tuple:
        return _read_tuple(inner, value, where, metadata)
    if origin is not None and issubclass(origin, Mapping):
        _refuse_length(value, dict, "table", where, metadata)
        for key in value:
            check(f"a name in {where}", key, ANY[str])
        entries = {"form": metadata.get("form")}
        return {key: _read(inner[1], one, f"{where}[{told(key)}]", entries) for key, one in value.items()}
    if hasattr(kind, "from_dict"):
        try:
            return kind.from_dict(value)
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
    if dataclasses.is_dataclass(kind):
        return from_plain(cast(type, kind), value, where)
    if kind is float and value is None:
        return math.nan
    if form := metadata.get("form"):
        check(where, value, form)
    check(where, value, ANY[kind])
    return kind(value)


def _read_union(kinds: tuple[Any, ...], value: Any, where: str, metadata: Mapping[str, Any]) -> Any:
    """The first of several types that a value is of; None before all others."""
    if value is None and NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not NoneType]
    for kind in others[:-1]:
        try:
            return _read(kind, value, where, metadata)
        except UserError:
            continue
    return _read(others[-1], value, where, metadata)


def _read_tuple(kinds: tuple[Any, ...], value: Any, where: str, metadata: Mapping[str, Any]) -> tuple[Any, ...]:
    """A list of any number of one type, or of one entry of each of several."""
    _refuse_length(value, list, "list", where, metadata)
    if kinds[1:] == (...,):
        kinds = (kinds[0],) * len(value)
    elif len(kinds) != len(value):
        raise UserError(f"{where} must be a list of {len(kinds)}, got {told(value)}")
    entries = {"form": metadata.get("form")}
    return tuple(
        _read(kind, one, f"{where}[{place}]", entries)
        for place, (kind, one) in enumerate(zip(kinds, value, strict=True))
    )


def _refuse_length(
    value: Any, kind: type[list[Any]] | type[dict[str, Any]], words: str, where: str, metadata: Mapping[str, Any]
) -> None:
    fewest, most = metadata.get("fewest", 0), metadata.get("most", MAX_ENTRIES)
    if not isinstance(value, kind) or not fewest <= len(value) <= most:
        raise UserError(f"{where} must be a {words} of {fewest} to {most} entries, got {told(value)}")


__all__ = ["checked", "from_plain", "inline", "plain"]
