"""Encoders that a user names by a text: "picture=mypackage.models:MyNet"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.encoders.imported import is_import_path
from nas.errors import UserError
from nas.fields import told

Named = str | Sequence[str] | Mapping[str, str]
"""Modality to the name of its encoder, as pairs such as "picture=mypackage.models:MyNet" or as a mapping."""

NO_ENCODERS: Mapping[str, str] = {}


def pairs_of(named: Named | None) -> tuple[str, ...]:
    """The pairs as they are recorded, each "modality=value"."""
    if named is None:
        return ()
    if isinstance(named, Mapping):
        return tuple(f"{name}={value}" for name, value in named.items())
    return tuple(part.strip() for part in (named.split(",") if isinstance(named, str) else named))


def parse_pairs(named: Named | None, option: str) -> dict[str, str]:
    """Modality to value, from pairs.

    Args:
        named: See `pairs_of`.
        option: What is parsed, for the error.

    Raises:
        UserError: If one is no pair, or a modality is named twice.
    """
    found: dict[str, str] = {}
    for pair in pairs_of(named):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (name and equals and value):
            raise UserError(f"{option} must be pairs such as picture=mypackage.models:MyNet, got {told(pair)}")
        if name in found:
            raise UserError(f"{option} names {name!r} twice; name it once")
        found[name] = value
    return found


def parse_encoders(named: Named | None) -> dict[str, str]:
    """Modality to the name of its encoder.

    Raises:
        UserError: If it is no text of that kind.
    """
    found = parse_pairs(named, "encoder")
    for modality, name in found.items():
        if not is_import_path(name):
            raise UserError(
                f"encoder of {modality!r} is {told(name)}; expected the import path of a module of yours, such as "
                "mypackage.models:MyNet"
            )
    return found
