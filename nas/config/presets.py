"""Presets: several options of a run under one name, stated in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a preset changes.

    Attributes:
        words: What it is for, in one line.
        options: Name of an option to the value that it has instead of its default.
    """

    words: str
    options: Mapping[str, Any]


PRESETS: Mapping[str, Preset] = {
    "default": Preset(words="what every option says", options={}),
    "best": Preset(words="longer trainings on small sets; slower", options={"max_epochs": 100}),
    "quick": Preset(
        words="a first look: trainings that stop early, no ensemble, no training on both splits",
        options={
            "label_smoothing": 0.0,
            "patience": 10,
            "max_epochs": 40,
            "shift": 0.0,
            "peaks": False,
            "preprocessing": "standardize",
            "ensemble": False,
            "refit": False,
        },
    ),
}
"""By name. A run records the options that a preset comes to, and nothing of the preset itself."""


def preset_of(name: str) -> Preset:
    """The preset of a name.

    Raises:
        UserError: If there is none.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]


__all__ = ["PRESETS", "Preset", "preset_of"]
