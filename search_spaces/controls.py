"""What every space of the field is compared with, and how it reads the names of operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from nas.errors import UserError, unknown_name
from nas.space.architecture import Architecture, Step, tap_name
from nas.space.search_space import Reference
from search_spaces.layerwise import layerwise
from search_spaces.operations import OPERATIONS


def controls(name: str, node: str, depths: Mapping[str, int]) -> tuple[Reference, ...]:
    """Each modality alone, late fusion and the late-fusion transformer, as one step each, and `early_fusion`.

    Args:
        name: Of the space.
        node: Of the last step: the last node of the space.
        depths: For each modality, how many taps its encoder offers.

    Raises:
        UserError: If there are fewer than two modalities, or one offers no tap or too many.
    """
    found = []
    for reference in layerwise(depths, operations=["single_stream"]).references:
        if reference.kind != "operation":
            (step,) = reference.architecture.steps
            made = Architecture.chain(name, [(node, step.choice)])
            if reference.kind == "early":
                made = early_fusion(name, node, depths)
            found.append(replace(reference, architecture=made))
    return tuple(found)


def early_fusion(name: str, node: str, depths: Mapping[str, int]) -> Architecture:
    """First a join of all modalities' shallowest taps, then a network as deep as the encoders would be.

    The join is an `mlp`, and an `mlp_block` stands for every layer that the deepest encoder has after its first.

    Args:
        name: Of the space.
        node: Of the last step. Those before it are named after it, and are nodes of no space.
        depths: For each modality, how many taps its encoder offers.
    """
    layers = max(depths.values())
    names = [*(f"{node}_layer{number}" for number in range(1, layers)), node]
    steps = [Step(names[0], "mlp", tuple(tap_name(modality, 0) for modality in depths))]
    steps += [Step(after, "mlp_block", (before,)) for before, after in pairwise(names)]
    return Architecture(name, tuple(steps), node)


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
