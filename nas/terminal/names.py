"""Every name that an option may have as its value, with a few words on each."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nas.config import RELAXATIONS
from nas.config.presets import PRESETS
from nas.data import EMBEDDED
from nas.discretize.discretize import DISCRETIZATIONS
from nas.encoders.pretrained.encoder import Opened
from nas.encoders.pretrained.name import PretrainedName
from nas.errors import UserError
from nas.export import FORMATS
from nas.fields import told
from nas.metrics import METRICS
from nas.objectives import OBJECTIVES
from nas.routing import cascade
from nas.routing.levels import CASCADE, LEVELS
from nas.space.operation import Operation
from nas.space.options import known_options
from nas.space.search_space import find_space, space_names
from nas.strategies import STRATEGIES

EXAMPLE = {"a": 3, "b": 3}
"""Modalities to their taps, for which sizes of spaces are told."""


def known_names(operations: Mapping[str, type[Operation]]) -> dict[str, dict[str, str]]:
    """Kind of name to name to words, which are empty where the name says it all.

    Args:
        operations: Name to candidate operation, of the installed spaces.
    """
    return {
        "data": {name: _first_line(builder) for name, builder in EMBEDDED.items()},
        "spaces": {name: _space(name) for name in space_names()},
        "operations": {name: f"order {one.order}: {one.formula}" for name, one in operations.items()},
        "strategies": {name: _first_line(sys.modules[run.__module__]) for name, run in STRATEGIES.items()},
        "dynamic": {name: _first_line(level) for name, level in LEVELS.items()} | {CASCADE: _first_line(cascade)},
        "gates": dict.fromkeys(map(str, RELAXATIONS), ""),
        "discretizations": {name: _first_line(decide) for name, decide in DISCRETIZATIONS.items()},
        "objectives": {f"{name}{known.takes}": known.words for name, known in OBJECTIVES.items()},
        "metrics": {name: f"{one.words} ({', '.join(one.tasks)})" for name, one in METRICS.items()},
        "presets": {name: preset.words for name, preset in PRESETS.items()},
        "formats": {name: format_.words for name, format_ in FORMATS.items()},
    }


def _space(name: str) -> str:
    """Its module's first line, its options, and how many architectures it holds of a small example."""
    builder = find_space(name)
    options = " ".join(f"{option}={default}" for option, (_, default) in known_options(builder).items())
    size = f"{builder(EXAMPLE).size():,} architectures of {len(EXAMPLE)} modalities with {EXAMPLE['a']} taps each"
    return f"{_first_line(sys.modules[builder.__module__])} {size}{f'; options {options}' if options else ''}"


def taps_of(encoder: str) -> dict[str, dict[str, str]]:
    """The taps of a pretrained encoder, and what it reads.

    Args:
        encoder: Its name. Weights are not read: they do not matter here.

    Raises:
        UserError: If there is no such network, or it is a module of the user's own, whose taps depend on the data.
    """
    name = PretrainedName.parse(encoder)
    if name is None:
        raise UserError(
            f"{told(encoder)} is no pretrained encoder; expected such as timm:resnet18, hf:./folder or "
            "torchvision:resnet18; taps of a module of your own are found when it first reads your data"
        )
    opened = Opened.of(replace(name, is_random=True, file=""))
    needs, backbone = opened.needs, opened.backbone
    wanted = {
        "map": f"pictures of {needs.height} x {needs.width} pixels",
        "sequence": f"recordings of {needs.rate:,} samples a second",
        "tokens": f"texts of at most {needs.length} tokens",
    }
    return {
        "reads": {wanted[backbone.reads]: ""},
        "taps": {tap: f"depth {depth}" for depth, tap in enumerate(backbone.tap_names)},
    }


def _first_line(documented: Any) -> str:
    return next(iter((documented.__doc__ or "").strip().splitlines()), "")
