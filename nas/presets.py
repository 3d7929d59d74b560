"""Presets: several options of a search under one name, stated in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas.errors import UserError, unknown_name
from nas.fields import make_config
from nas.training import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a preset changes.

    Attributes:
        words: What it is for, in one line.
        training: Fields of `TrainingConfig` that it sets.
        ensemble: Whether the found networks of all seeds are averaged, where there are several.
    """

    words: str
    training: Mapping[str, Any]
    ensemble: bool = False


PRESETS: Mapping[str, Preset] = {
    "default": Preset(words="what every option says; all recorded results were made with it", training={}),
    "best": Preset(
        words="for accuracy: longer trainings, smoothed labels, peaks of sequences, an ensemble row; slower",
        training={"label_smoothing": 0.1, "patience": 0, "max_epochs": 100, "peaks": True},
        ensemble=True,
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
        given: Fields that win over those of the preset; or everything, beside the preset "default" alone.

    Raises:
        UserError: If a name is unknown, a value is refused, or everything is given beside a preset that sets something.
    """
    preset = preset_of(name)
    if isinstance(given, TrainingConfig):
        if preset.training:
            raise UserError(
                f"preset {name!r} sets {', '.join(preset.training)}, and a TrainingConfig sets all fields; give the "
                "fields that you want to change alone, such as training={'epochs': 20}"
            )
        return given
    return make_config(TrainingConfig, {**preset.training, **(given or {})})


__all__ = ["PRESETS", "Preset", "preset_of", "resolve_training"]
