"""The general space: steps that read taps of any depths and what other steps have made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from nas.errors import UserError, unknown_name
from nas.routing.levels import check_levels
from nas.space.architecture import Architecture, Choice, tap_depth, tap_modality, tap_name
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from search_spaces.layerwise import MAX_ALL_SUBSETS, layerwise, orders
from search_spaces.operations import DEFAULT_OPERATIONS, OPERATIONS

NAME = "graph"

LAST = "final"
"""The node whose state the head reads."""

STEPS = 3

BLOCKS = ("mlp_block", "attention_block")
"""Operations on one source: networks before the join, or after it."""

MAX_STEPS = 5

MAX_CHOICES = 2000
"""Of one node in the supernet. Sets of sources are offered those of like depths first; an architecture may read any."""


def graph(
    depths: Mapping[str, int],
    *,
    operations: Sequence[str] | None = None,
    dynamic: Sequence[str] = (),
    steps: int = STEPS,
) -> SearchSpace:
    """A last node, and others before it that it may build on; a node reads taps of any depths, and nodes before it.

    A supernet holds, at every node, every block on one source and every operation on every two, on three or more
    modalities of like depth, and on all modalities of like depth and one node before. An architecture may apply an
    operation to any sources. Nodes before the last stand for one another: see `nas.space.renaming`.

    Everything that `layerwise` can do at one depth is a point of this space, at the last node alone. So is a row of
    MFAS (Pérez-Rúa et al. 2019), and a network after the join. What several depths of `layerwise` add up to is one,
    too, by `additive` at the last node.

    Args:
        depths: For each modality, how many taps its encoder offers, at least 1.
        operations: Names of the candidates beside `none` and `carry`, those that read one source among them; None for
            `DEFAULT_OPERATIONS` and `BLOCKS`.
        dynamic: Likewise.
        steps: Most steps of an architecture, 1 to `MAX_STEPS`.

    Raises:
        UserError: As `layerwise` does, or if there are too many steps.
    """
    if not 1 <= steps <= MAX_STEPS:
        raise UserError(f"steps of space {NAME!r} must be from 1 to {MAX_STEPS}, got {steps}")
    for name in operations or ():
        if name not in OPERATIONS:
            raise unknown_name("operation", name, OPERATIONS)
    named = [*DEFAULT_OPERATIONS, *BLOCKS] if operations is None else operations
    names = [name for name in named if name not in ("none", "carry")]
    whole = layerwise(depths, operations=[name for name in names if OPERATIONS[name].max_inputs != 1])
    taps = [tap_name(name, depth) for name, taps in depths.items() for depth in range(taps)]
    inner = tuple(f"step{number}" for number in range(1, steps))
    nodes = [
        FusionNode(name, tuple(_choices(names, taps, inner[:number], depths)), any_inputs=True)
        for number, name in enumerate(inner)
    ]
    alone = [Choice("none"), *(Choice("carry", (tap,)) for tap in taps)]
    nodes.append(FusionNode(LAST, (*alone, *_choices(names, taps, inner, depths)), any_inputs=True))

    def single(architecture: Architecture) -> Architecture:
        """What its only step does, at the last node."""
        (step,) = architecture.steps
        return Architecture.chain(NAME, [(LAST, step.choice)])

    return replace(
        whole,
        name=NAME,
        nodes=tuple(nodes),
        references=tuple(
            replace(reference, architecture=single(reference.architecture)) for reference in whole.references
        ),
        warm_up=single(whole.warm_up) if whole.warm_up else None,
        dynamic=check_levels(dynamic),
        interchangeable=inner,
    )


def _choices(
    operations: Sequence[str], taps: Sequence[str], steps: Sequence[str], depths: Mapping[str, int]
) -> list[Choice]:
    """Of one node: as many whole sets of sources as `MAX_CHOICES` allow, those of like depths first."""
    found: list[Choice] = []
    for sources in _source_sets(taps, steps, depths):
        fresh = [Choice(name, inputs) for name in operations for inputs in orders(name, sources)]
        if len(found) + len(fresh) > MAX_CHOICES:
            break
        found += fresh
    return found


def _source_sets(taps: Sequence[str], steps: Sequence[str], depths: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
    """What a node of a supernet may read: one source or two, and modalities of like depth."""
    levels = max(depths.values())

    def level(tap: str) -> float:
        """How deep a tap is, 0 to 1."""
        last = depths[tap_modality(tap)] - 1
        return tap_depth(tap) / last if last else 1.0

    def spread(some: tuple[str, ...]) -> float:
        return abs(level(some[0]) - level(some[1]))

    alike = [
        tuple(
            min((tap for tap in taps if tap_modality(tap) == name), key=lambda tap: abs(level(tap) - at))
            for name in depths
        )
        for at in (number / max(1, levels - 1) for number in range(levels))
    ]
    smallest = 3 if len(depths) <= MAX_ALL_SUBSETS else len(depths)
    many = [some for row in alike for size in range(smallest, len(depths) + 1) for some in combinations(row, size)]
    yield from ((source,) for source in (*taps, *steps))
    yield from dict.fromkeys(many)
    yield from ((tap, step) for tap in taps for step in steps)
    yield from combinations(steps, 2)
    yield from dict.fromkeys((*row, step) for row in alike for step in steps)
    yield from sorted(combinations(taps, 2), key=spread)
