"""The default space: one fusion node per layer depth, each adding its output to the fused state so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, islice

from nas.errors import UserError, unknown_name
from nas.routing.levels import check_levels
from nas.space.architecture import Architecture, Choice, tap_name
from nas.space.node import FusionNode
from nas.space.search_space import Reference, SearchSpace
from search_spaces.operations import DEFAULT_OPERATIONS, OPERATIONS

NAME = "layerwise"

MAX_ALL_SUBSETS = 4
"""Up to so many modalities a supernet holds every subset; of more, pairs and all together, and what is found may be
any subset."""

MAX_CHOICES = 3000
"""Of one node: what 21 modalities offer to all operations. Every choice has weights of its own and is tried, so that
memory and time grow with their number: a search with 5726 choices a node, of 30 modalities, took 5 GB."""

MAX_NODES = 16
"""A deeper encoder is read at so many of its taps, evenly spread: the time of a search grows with the square of the
nodes, and neighbouring layers of a deep network hold much the same."""

MAX_TAPS = 64
"""Of one modality, read or not: encoders are trained with all of them."""


def layerwise(
    depths: Mapping[str, int], *, operations: Sequence[str] | None = None, dynamic: Sequence[str] = ()
) -> SearchSpace:
    """One node per depth; a node fuses taps of its own depth and adds the result to the state of the node before.

    There are as many nodes as the deepest modality has taps, but at most `MAX_NODES`.
    `none` everywhere but at the last depth, with `additive` there, *is* late fusion, and with `single_stream` a
    late-fusion transformer; `mlp` at depth 0 alone *is* early fusion.
    A modality that has fewer taps than there are nodes, or more, meets them in proportion: node d of D reads its tap
    round(d · (taps − 1) / (D − 1)).

    Args:
        depths: For each modality, how many taps its encoder offers, at least 1.
        operations: Names of the candidates beside `none` and `carry`, which are always there; None for
            `DEFAULT_OPERATIONS`.
        dynamic: Levels at which the found architecture may decide per sample, see `nas.routing.levels.LEVELS`.

    Raises:
        UserError: If there are fewer than two modalities, one offers no tap or more than `MAX_TAPS`, an operation
            or level is unknown, an operation reads one source only, or a node has more than `MAX_CHOICES`.
    """
    modalities = tuple(depths)
    if len(modalities) < 2:
        raise UserError(f"fusion needs at least two modalities, got {list(modalities)}")
    if min(depths.values()) < 1:
        raise UserError(f"every modality must offer at least one tap, got {dict(depths)}")
    for modality, count in depths.items():
        if count > MAX_TAPS:
            raise UserError(
                f"modality {modality!r} has {count} depths, more than {MAX_TAPS}; give an evenly spread part of them"
            )
    for name in operations or ():
        if name not in OPERATIONS:
            raise unknown_name("operation", name, OPERATIONS)
        if OPERATIONS[name].max_inputs == 1 and not OPERATIONS[name].carries:
            raise UserError(f"operation {name!r} reads one source, but a node of this space joins several")
    names = [
        name for name in (DEFAULT_OPERATIONS if operations is None else operations) if name not in ("none", "carry")
    ]
    num_nodes = min(MAX_NODES, max(depths.values()))
    nodes = []
    for depth in range(num_nodes):
        taps = _taps_at(depths, depth, num_nodes)
        joined = (Choice(name, inputs) for name in names for inputs in _inputs(name, taps))
        alone = [Choice("none"), *(Choice("carry", (tap,)) for tap in taps)]
        choices = (*alone, *islice(joined, MAX_CHOICES))  # counted before all of them are made
        if len(choices) > MAX_CHOICES:
            raise UserError(
                f"{len(modalities)} modalities give {len(names)} operations more than {MAX_CHOICES} choices at a node, "
                "too many to search; concatenate modalities of one kind into one array, or name fewer operations"
            )
        residual = f"fusion{depth - 1}" if depth else None
        any_subset = len(modalities) > MAX_ALL_SUBSETS
        nodes.append(FusionNode(f"fusion{depth}", choices, residual, any_subset=any_subset, title=f"depth {depth}"))
    references = tuple(_references(depths, num_nodes, names))
    return SearchSpace(
        NAME,
        dict(depths),
        tuple(nodes),
        OPERATIONS,
        references,
        warm_up=_warm_up(references, num_nodes - 1, names),
        dynamic=check_levels(dynamic),
    )


def _taps_at(depths: Mapping[str, int], depth: int, num_nodes: int) -> list[str]:
    """The tap of every modality that the node at a depth reads."""
    last = max(1, num_nodes - 1)
    # Half rounds up, in whole numbers: Python's round goes to the even neighbour, and a float may miss the half.
    return [tap_name(name, (2 * depth * (taps - 1) + last) // (2 * last)) for name, taps in depths.items()]


def _inputs(operation: str, taps: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every way for an operation to draw on the taps."""
    sizes = range(2, len(taps) + 1) if len(taps) <= MAX_ALL_SUBSETS else (2, len(taps))
    for size in sizes:
        for subset in combinations(taps, size):
            yield from orders(operation, subset)


def orders(operation: str, subset: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The orders of one subset that differ: only some operations tell their first input, the primary one, apart.

    There are none if the operation cannot take so many inputs, or so few.
    """
    least, most = OPERATIONS[operation].min_inputs, OPERATIONS[operation].max_inputs
    if len(subset) < least or (most is not None and len(subset) > most):
        return
    primaries = subset if OPERATIONS[operation].is_ordered else subset[:1]
    for primary in primaries:
        yield (primary, *(tap for tap in subset if tap != primary))


def _references(depths: Mapping[str, int], num_nodes: int, operations: Sequence[str]) -> Iterator[Reference]:
    """Each modality alone, fusion by hand, and each operation alone on all modalities at every depth.

    By hand are late fusion, early fusion, and the late-fusion transformer where the space offers its operation.
    """
    last = num_nodes - 1

    def single(node: int, choice: Choice) -> Architecture:
        return Architecture.chain(NAME, [(f"fusion{node}", choice)])

    deepest = tuple(_taps_at(depths, last, num_nodes))
    for tap, modality in zip(deepest, depths, strict=True):
        yield Reference(modality, "modality", single(last, Choice("carry", (tap,))))
    yield Reference("late fusion", "late", single(last, Choice("additive", deepest)))
    if "single_stream" in operations:
        yield Reference("late-fusion transformer", "transformer", single(last, Choice("single_stream", deepest)))
    yield Reference("early fusion", "early", single(0, Choice("mlp", tuple(_taps_at(depths, 0, num_nodes)))))
    for name in operations:
        for depth in range(num_nodes):
            for inputs in orders(name, tuple(_taps_at(depths, depth, num_nodes))):
                yield Reference(name, "operation", single(depth, Choice(name, inputs)))


def _warm_up(references: Sequence[Reference], last: int, operations: Sequence[str]) -> Architecture | None:
    """All modalities at the last depth through concatenation, or else through the operation of the highest order.

    None if no operation joins them all.
    """
    architectures = [reference.architecture for reference in references if reference.kind == "operation"]
    joins = [one for one in architectures if one.output == f"fusion{last}"]
    rank = {name: (name == "mlp", OPERATIONS[name].order) for name in operations}
    return max(joins, key=lambda one: rank[one.steps[0].operation], default=None)
