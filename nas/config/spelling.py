"""How a value of an option is written as one word of a command line: durations, shares, lists of names."""

from __future__ import annotations

import re

from nas.errors import UserError


def duration(text: str, name: str = "budget", *, zero: bool = False) -> float:
    """Seconds of a duration such as 90s, 10m or 1h; 0 for an empty text.

    Args:
        text: As it was given.
        name: Of the option, for the error.
        zero: Whether it may be nothing, such as 0s.

    Raises:
        UserError: If it is not a positive number with one of these units.
    """
    if not text:
        return 0.0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None or (float(match[1]) == 0 and not zero):
        raise UserError(f"{name} {text!r} is no duration; expected such as 90s, 10m or 1h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def share(text: str) -> float:
    """The share that a text such as 40% or 0.4 names; 0 for an empty text.

    Raises:
        UserError: If it is no share above 0 and up to 100%.
    """
    if not text:
        return 0.0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    found = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < found <= 1:
        raise UserError(f"max-multiply-adds {text!r} is no share; expected such as 40% or 0.4")
    return found


def names(text: str) -> list[str] | None:
    """The names of a comma-separated list; None for an empty text."""
    return [part.strip() for part in text.split(",")] if text else None
