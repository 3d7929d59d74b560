"""How a value of an option is written as one word of a command line: durations, shares, lists of names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from nas.errors import UserError

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Spelling:
    """How a value is written as text and read back.

    Attributes:
        metavar: Stands for the text in the help of a command.
        read: Takes the text and the option's name, which it tells in the error of a text that it refuses.
        write: Takes the value.
        is_repeated: Whether the option may be given several times; the texts are then joined by commas.
    """

    metavar: str
    read: Callable[[str, str], Any]
    write: Callable[[Any], str]
    is_repeated: bool = False


def read_duration(text: str, name: str, *, zero: bool = False) -> float:
    """Seconds of a duration such as 90s, 10m or 1h.

    Args:
        text: As it was given; a number alone counts seconds.
        name: Of the option, for the error.
        zero: Whether the duration may be nothing, such as 0s.

    Raises:
        UserError: If it is not a positive number with one of these units.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None or (float(match[1]) == 0 and not zero):
        raise UserError(f"{name} {text!r} is no duration; expected such as 90s, 10m or 1h")
    return float(match[1]) * _SECONDS[match[2]]


_BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def read_size(text: str, name: str) -> int:
    """Bytes of a size such as 500M or 2G, counted in thousands.

    Args:
        text: As it was given; a number alone counts bytes.
        name: Of the option, for the error.

    Raises:
        UserError: If it is not a positive number with one of these units.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)B?", text.strip().upper())
    found = int(float(match[1]) * _BYTES[match[2]]) if match else 0
    if not found:
        raise UserError(f"{name} {text!r:.60} is no size; expected such as 500M or 2G")
    return found


def read_share(text: str, name: str) -> float:
    """The share that a text such as 40% or 0.4 names.

    Args:
        text: As it was given.
        name: Of the option, for the error.

    Raises:
        UserError: If it is no share above 0 and up to 100%.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    found = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < found <= 1:
        raise UserError(f"{name} {text!r} is no share; expected such as 40% or 0.4")
    return found


def read_names(text: str, _name: str) -> tuple[str, ...]:
    """The names of a comma-separated list."""
    return tuple(part.strip() for part in text.split(","))


def _read_names_or_none(text: str, name: str) -> tuple[str, ...]:
    return () if text.strip() == "none" else read_names(text, name)


def _write_names(names: Sequence[str]) -> str:
    return ",".join(names)


def _write_size(size: int) -> str:
    unit = next(one for one in ("G", "M", "K", "") if size % _BYTES[one] == 0)
    return f"{size // _BYTES[unit]}{unit}"


def _write_seconds(seconds: float) -> str:
    return f"{seconds:g}s"


DURATION = Spelling("TIME", read_duration, _write_seconds)
"""Such as 90s, 10m or 1h."""

INTERVAL = Spelling("TIME", partial(read_duration, zero=True), _write_seconds)
"""A duration that may be 0s."""

SIZE = Spelling("SIZE", read_size, _write_size)
"""Such as 500M or 2G."""

SHARE_OF_ONE = Spelling("SHARE", read_share, lambda share: f"{100 * share:g}%")
"""Such as 40% or 0.4."""

NAMES = Spelling("NAME,NAME", read_names, _write_names)
"""Separated by commas."""

NAMES_OR_NONE = Spelling("NAME,NAME", _read_names_or_none, _write_names)
"""Separated by commas; `none` for no name at all, where leaving the option out means something else."""

PAIRS = Spelling("MODALITY=VALUE", read_names, _write_names, is_repeated=True)
"""Such as picture=mypackage.models:MyNet, separated by commas or each under the flag anew."""
