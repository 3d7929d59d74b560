"""How a modality is shown to its default encoder: standardized, or with more than that."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nas.data.fusion_data import FusionData, Kind
from nas.errors import UserError, unknown_name

AUTO = "auto"
STANDARDIZE = "standardize"

PREPROCESSING: Mapping[str, tuple[Kind, str]] = {
    "magnitudes": ("sequence", "magnitudes beside the signal"),
    "piecewise": ("vector", "numbers told bin by bin"),
}
"""What there is beside standardizing: name to the kind of modality that it is for, and to words for people."""


def parse_preprocessing(text: str) -> dict[str, str]:
    """Modality to preprocessing, of those that a text such as "emg:magnitudes,genes:piecewise" names.

    Args:
        text: As it was given; `auto` and `standardize` name none.

    Raises:
        UserError: If it is no such text, or a preprocessing is unknown.
    """
    if text in (AUTO, STANDARDIZE):
        return {}
    chosen = {}
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\w+)\s*:\s*(\w+)\s*", part)
        if found is None:
            raise UserError(
                f"preprocessing must be {AUTO}, {STANDARDIZE}, or pairs such as emg:magnitudes,genes:piecewise; "
                f"got {text[:80]!r}"
            )
        name, wanted = found.groups()
        if wanted not in (STANDARDIZE, *PREPROCESSING):
            raise unknown_name("preprocessing", wanted[:60], (STANDARDIZE, *PREPROCESSING))
        chosen[name] = wanted
    return chosen


def write_preprocessing(chosen: Mapping[str, str]) -> str:
    """The text that `parse_preprocessing` reads: what is standardized is left out."""
    pairs = [f"{name}:{wanted}" for name, wanted in chosen.items() if wanted != STANDARDIZE]
    return ",".join(pairs) or STANDARDIZE


def check_preprocessing(text: str, data: FusionData, builders: Mapping[str, object] | None = None) -> None:
    """Refuses preprocessing that does not suit the data.

    Raises:
        UserError: If a modality is unknown, is of another kind, or has an encoder of the user's own.
    """
    for name, wanted in parse_preprocessing(text).items():
        if name not in data.modalities:
            raise unknown_name("modality in preprocessing:", name[:60], data.modalities)
        if wanted == STANDARDIZE:
            continue
        kind, suited = data.modalities[name].kind, PREPROCESSING[wanted][0]
        if kind != suited:
            raise UserError(f"preprocessing {wanted} is for a {suited}, but {name!r} is of kind {kind}; leave it out")
        if name in (builders or {}):
            raise UserError(f"{name!r} has an encoder of your own, which preprocesses itself; leave {wanted} out")
