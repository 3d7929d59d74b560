"""Presets: several options of a search under one name, stated in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas.errors import unknown_name
from nas.fields import make_config
from nas.training import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a preset changes.

    Attributes:
        words: What it is for, in one line.
        training: Fields of `TrainingConfig` that it sets.
        ensemble: Whether the found networks of all seeds are averaged, where there are several.
        refit: Whether what was found is trained on both training splits, too.
    """

    words: str
    training: Mapping[str, Any]
    ensemble: bool = True
    refit: bool = True


PRESETS: Mapping[str, Preset] = {
    "default": Preset(words="what every option says", training={}),
    "best": Preset(
        words="longer trainings on small sets; slower",
        training={"max_epochs": 100},
    ),
    "quick": Preset(
        words="a first look: trainings that stop early, no ensemble, no training on both splits",
        training={
            "label_smoothing": 0.0,
            "patience": 10,
            "max_epochs": 40,
            "shift": 0.0,
            "peaks": False,
            "preprocessing": "standardize",
        },
        ensemble=False,
        refit=False,
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


def resolve_training(name: str, given: TrainingConfig | Mapping[str, Any] | None) -> TrainingConfig:
    """How networks are trained under a preset.

    Args:
        name: Of the preset.
        given: Fields that win over those of the preset; or everything, beside which it sets nothing.

    Raises:
        UserError: If a name is unknown or a value is refused.
    """
    preset = preset_of(name)
    if isinstance(given, TrainingConfig):
        return given
    return make_config(TrainingConfig, {**preset.training, **(given or {})})


__all__ = ["PRESETS", "Preset", "preset_of", "resolve_training"]
