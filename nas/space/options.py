"""Options of a space in one text with its name, such as "bm_nas:cells=2,steps=3".

The options that a space takes are the keyword parameters of its builder; `operations` and `dynamic`, which are options
of a run, are not among them. A list has its values between commas, too: "dynmm_modality:experts=text,text+image".
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from nas.errors import UserError
from nas.fields import told
from nas.space.search_space import SearchSpace, SpaceBuilder, find_space

OF_A_RUN = ("operations", "dynamic")

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Sequence: "a list of names"}

_READ: Mapping[Any, Callable[[str], Any]] = {
    int: int,
    float: float,
    bool: lambda text: {"true": True, "false": False}[text],
    str: str,
    Sequence: lambda text: tuple(text.split(",")),
}


def read_space(text: str) -> tuple[SpaceBuilder, dict[str, Any]]:
    """The builder of a space and its options, by keyword, from a text such as "bm_nas:cells=2".

    Raises:
        UserError: If the space or an option is unknown, or a value is not of the type that the option has.
    """
    name, _, rest = text.partition(":")
    builder = find_space(name)
    known, found = known_options(builder), dict[str, Any]()
    for part in re.split(r",(?=[^,=]*=)", rest) if rest else []:
        option, equals, value = part.partition("=")
        if not equals or option not in known:
            offered = ", ".join(f"{one}={_told(default)}" for one, (_, default) in known.items()) or "none"
            raise UserError(f"space {name!r} has no option {told(option)}; its options and their defaults: {offered}")
        if option in found:
            raise UserError(f"option {option} of space {name!r} is given twice; give it once")
        kind, _ = known[option]
        try:
            found[option] = _READ[kind](value)
        except (ValueError, KeyError):
            raise UserError(f"option {option} of space {name!r} must be {_WORDS[kind]}, got {told(value)}") from None
    return builder, found


def known_options(builder: SpaceBuilder) -> dict[str, tuple[Any, Any]]:
    """Name to the type, a key of those that can be read, and the default of every option that a builder takes."""
    try:
        hints = get_type_hints(builder)
    except NameError:  # of names that are imported for the checking of types alone
        hints = {}
    found: dict[str, tuple[Any, Any]] = {}
    for name, parameter in inspect.signature(builder).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and name not in OF_A_RUN:
            hint = hints.get(name, type(parameter.default))
            alternatives = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
            kinds = [get_origin(one) or one for one in alternatives if one is not type(None)]
            kind = Sequence if kinds[:1] in ([list], [tuple]) else next(iter(kinds), None)
            if kind in _READ:
                found[name] = (kind, parameter.default)
    return found


def write_space(space: SearchSpace) -> str:
    """The text that a space is asked for by: its name, and the options that it was built with."""
    options = ",".join(f"{name}={_told(value)}" for name, value in space.options if value is not None)
    return f"{space.name}:{options}" if options else space.name


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
