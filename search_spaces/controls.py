"""What every space of the field is compared with, and how it reads the names of operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nas.errors import UserError, unknown_name
from nas.space.architecture import Architecture
from nas.space.search_space import Reference
from search_spaces.layerwise import layerwise
from search_spaces.operations import OPERATIONS


def controls(name: str, node: str, depths: Mapping[str, int]) -> tuple[Reference, ...]:
    """Each modality alone, late fusion, early fusion and the late-fusion transformer, as one step each.

    Args:
        name: Of the space.
        node: Of the step: the last one of the space.
        depths: For each modality, how many taps its encoder offers.

    Raises:
        UserError: If there are fewer than two modalities, or one offers no tap or too many.
    """
    found = []
    for reference in layerwise(depths, operations=["single_stream"]).references:
        if reference.kind != "operation":
            (step,) = reference.architecture.steps
            single = Architecture.chain(name, [(node, step.choice)])
            found.append(replace(reference, architecture=single))
    return tuple(found)


def named(operations: Sequence[str] | None, default: Sequence[str]) -> tuple[str, ...]:
    """The candidate operations of a space: those that are asked for, or its own.

    Raises:
        UserError: If one is unknown, or none reads anything.
    """
    for name in operations or ():
        if name not in OPERATIONS:
            raise unknown_name("operation", name, OPERATIONS)
    found = tuple(name for name in (operations or default) if name not in ("none", "carry"))
    if not found:
        raise UserError(f"none and carry alone join nothing; name other operations, such as {', '.join(default)}")
    return found


def check_range(space: str, option: str, value: int, low: int, high: int) -> None:
    """Checks an option that is a number.

    Raises:
        UserError: If it is out of its range.
    """
    if not low <= value <= high:
        raise UserError(f"{option} of space {space!r} must be from {low} to {high}, got {value}")
