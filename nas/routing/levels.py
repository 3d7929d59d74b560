"""The levels at which an architecture may decide per sample: in what its cheaper routes differ from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations

from nas.errors import UserError, unknown_name
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace

MAX_MODALITIES = 4
"""Up to so many modalities every subset is a route of the modality level; of more, only each alone."""

IsOfKind = Callable[[Architecture], bool]

Level = Callable[[SearchSpace, Architecture], list[IsOfKind]]
"""From a space and a found architecture to the kinds of architecture that may be its cheaper routes."""


def modality_level(space: SearchSpace, found: Architecture) -> list[IsOfKind]:
    """Experts: architectures that read some of the modalities, one kind for every subset that is not all."""
    names = [name for name in space.modalities if name in found.modalities()]
    sizes = range(1, len(names)) if len(names) <= MAX_MODALITIES else (1,)
    return [partial(_reads, set(some)) for size in sizes for some in combinations(names, size)]


def _reads(modalities: set[str], one: Architecture) -> bool:
    return set(one.modalities()) == modalities


def fusion_level(space: SearchSpace, found: Architecture) -> list[IsOfKind]:  # noqa: ARG001  # as all levels
    """How deep to keep fusing: architectures of the same encoders that read nothing below a depth, a kind a depth."""
    last = max(found.deepest().values(), default=0)
    return [partial(_ends_at, depth, set(found.deepest())) for depth in range(last)]


def _ends_at(depth: int, streams: set[str], one: Architecture) -> bool:
    return set(one.deepest()) == streams and max(one.deepest().values()) == depth


def operation_level(space: SearchSpace, found: Architecture) -> list[IsOfKind]:
    """Which operation: architectures that read the same taps at the same nodes, one kind for every lower order."""
    return [partial(_operates, space, order, found) for order in range(space.interaction_order(found))]


def _operates(space: SearchSpace, order: int, found: Architecture, one: Architecture) -> bool:
    reads = [[(step.name, step.inputs) for step in some.steps] for some in (one, found)]
    return reads[0] == reads[1] and space.interaction_order(one) == order


LEVELS: Mapping[str, Level] = {
    "modality": modality_level,
    "fusion": fusion_level,
    "operation": operation_level,
}

CASCADE = "cascade"
"""The level that has no gate: routes are tried one after another, see `nas.routing.cascade`."""


def check_levels(levels: Sequence[str]) -> tuple[str, ...]:
    """The levels, each once.

    Raises:
        UserError: If there is no level of such a name, or what should be a list of names is one.
    """
    if isinstance(levels, str):
        raise UserError(f"dynamic levels are a list of names such as [{levels!r}], got {levels!r}")
    for name in levels:
        if name not in LEVELS and name != CASCADE:
            raise unknown_name("dynamic level", name, [*LEVELS, CASCADE])
    return tuple(dict.fromkeys(levels))


__all__ = ["CASCADE", "LEVELS", "check_levels"]
