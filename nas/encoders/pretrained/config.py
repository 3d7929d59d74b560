"""What the plain values of a network may hold when they come from a stranger."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from nas.errors import UserError
from nas.fields import told

MAX_LAYERS = 512
"""Of any list in it, and of every number whose name speaks of layers: more take minutes to build."""

COUNTING = ("layer", "depth", "blocks", "group", "conv_pos")
"""In the names of numbers that may count modules."""

MAX_WHOLE = 10**8


def checked_config(values: Mapping[str, Any], allowed: Collection[str], what: str) -> dict[str, Any]:
    """The values, if every name is known and every value is plain and no larger than networks are.

    Raises:
        UserError: If not.
    """
    for name, value in values.items():
        if name not in allowed:
            raise UserError(
                f"{what} has {told(name)}, which is not known; expected some of {', '.join(sorted(allowed))}"
            )
        if not _is_plain(value):
            raise UserError(f"{what} has {name} {told(value)}; expected a plain value of usual size")
        counts = any(word in name for word in COUNTING) and not isinstance(value, bool)
        for one in value if isinstance(value, list) else [value]:
            if counts and isinstance(one, int | float) and one > MAX_LAYERS:
                raise UserError(f"{what} has {name} {told(value)}; expected at most {MAX_LAYERS}")
    return dict(values)


def _is_plain(value: Any, nesting: int = 0) -> bool:
    if isinstance(value, list):
        return len(value) <= MAX_LAYERS and nesting < 2 and all(_is_plain(one, nesting + 1) for one in value)
    if isinstance(value, str):
        return len(value) <= 200
    return value is None or isinstance(value, bool) or (isinstance(value, int | float) and abs(value) <= MAX_WHOLE)
