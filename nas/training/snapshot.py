"""The state of a training between two epochs: of its parts, of its generator and of torch's own."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Protocol

import torch


class Stateful(Protocol):
    """A network, an optimizer, a schedule: whatever has a state and takes one."""

    def state_dict(self) -> dict[str, Any]:
        """The state."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Takes over a state."""


class Draws:
    """A generator of Python's own as a part of a state.

    Args:
        generator: Of choices; shared with who draws.
    """

    def __init__(self, generator: random.Random) -> None:
        self._generator = generator

    def state_dict(self) -> dict[str, Any]:
        """Where it is."""
        return {"state": self._generator.getstate()}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Goes to where another one was."""
        self._generator.setstate(state_dict["state"])


def take_snapshot(generator: torch.Generator, **parts: Stateful) -> dict[str, Any]:
    """All that decides how a training goes on, inside the block that seeded it.

    Args:
        generator: Of orders and choices.
        parts: Whatever else changes with a step, by name.
    """
    return {
        **{name: part.state_dict() for name, part in parts.items()},
        "generator": generator.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_snapshot(state: Mapping[str, Any], generator: torch.Generator, **parts: Stateful) -> None:
    """Takes over what `take_snapshot` gave, with the same parts."""
    for name, part in parts.items():
        part.load_state_dict(state[name])
    generator.set_state(state["generator"])
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
