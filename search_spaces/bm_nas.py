"""BM-NAS: cells that pick two sources each, and inner steps that say how these are joined (Yin et al. 2022).

"BM-NAS: Bilevel Multimodal Neural Architecture Search". A cell picks x and y among all taps and all earlier cells. Each
of its inner steps picks two of x, y and earlier inner steps, and an operation: sum, scaled dot attention, linear GLU or
concatenation with a ReLU layer. Inner steps are concatenated and brought back to the channels by a linear map, and x is
added. Cells are concatenated, pass one ReLU layer and go to the head.

Departures:

- Both inputs of an inner step are mixed separately in the search. The released code feeds the same mixture to both.
- x and y may be one source, in either order, and two cells may pick the same: a choice at one node does not depend on
  that at another. In the paper pairs are unordered and none comes twice.
- The paper's Zero is said by what is read: a cell may leave inner steps out, and the last layer cells.
- Sum is a sum of linear maps (`additive`); there are no batch norms, and no layer norms after cells.
- The head takes the mean over time steps, instead of flattening them, and times differ where encoders say so.
- Weights and architecture alternate per step, and by any strategy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from nas.errors import UserError
from nas.routing.levels import check_levels
from nas.space.architecture import Architecture, Choice, Step, tap_name
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from search_spaces.controls import check_range, controls, named
from search_spaces.layerwise import orders
from search_spaces.operations import OPERATIONS

NAME = "bm_nas"

INNER = ("additive", "dot_attention", "linear_glu", "concat_relu")

LAST = "cells"


def bm_nas(
    depths: Mapping[str, int],
    *,
    operations: Sequence[str] | None = None,
    dynamic: Sequence[str] = (),
    cells: int = 2,
    steps: int = 2,
) -> SearchSpace:
    """Cells of inner steps.

    Args:
        depths: For each modality, how many taps its encoder offers, at least 1.
        operations: Candidates of an inner step; None for `INNER`.
        dynamic: As in `layerwise`.
        cells: How many, 1 to 4; two in the paper.
        steps: Inner steps of a cell, 1 to 4; one in the paper for MM-IMDB, two for NTU, three for EgoGesture.

    Raises:
        UserError: If an operation is unknown or reads one source only, or a number is out of range.
    """
    check_range(NAME, "cells", cells, 1, 4)
    check_range(NAME, "steps", steps, 1, 4)
    joins = named(operations, INNER)
    for name in joins:
        if OPERATIONS[name].max_inputs == 1:
            raise UserError(f"operation {name!r} reads one source, but an inner step joins two")
    references = controls(NAME, LAST, depths)
    taps = [tap_name(name, depth) for name, count in depths.items() for depth in range(count)]
    nodes: list[FusionNode] = []
    for number in range(1, cells + 1):
        nodes += _cell(number, [*taps, *(f"cell{earlier}" for earlier in range(1, number))], joins, steps)
    every = [f"cell{number}" for number in range(1, cells + 1)]
    nodes.append(FusionNode(LAST, tuple(Choice("concat_relu", some) for some in _subsets(every))))
    return SearchSpace(
        NAME,
        dict(depths),
        tuple(nodes),
        OPERATIONS,
        references,
        warm_up=_warm_up(depths, joins[0], cells),
        dynamic=check_levels(dynamic),
    ).with_options(cells=cells, steps=steps)


def _cell(number: int, sources: Sequence[str], joins: Sequence[str], steps: int) -> Iterator[FusionNode]:
    """The nodes of one cell, the cell itself last."""
    name = f"cell{number}"
    x, y = f"{name}x", f"{name}y"
    for node in (x, y):
        yield FusionNode(node, tuple(Choice("carry", (source,)) for source in sources))
    inner: list[str] = []
    for step in range(1, steps + 1):
        pairs = combinations((x, y, *inner), 2)
        choices = tuple(Choice(join, inputs) for pair in pairs for join in joins for inputs in orders(join, pair))
        inner.append(f"{name}step{step}")
        yield FusionNode(inner[-1], choices)
    read = (Choice("projection" if len(some) == 1 else "additive", some) for some in _subsets(inner))
    yield FusionNode(name, tuple(read), residual=x)


def _subsets(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every part of some names that is not empty."""
    for size in range(1, len(names) + 1):
        yield from combinations(names, size)


def _warm_up(depths: Mapping[str, int], join: str, cells: int) -> Architecture | None:
    """The deepest taps of all modalities, one more in every cell; None for more than the cells can join."""
    first, *others = (tap_name(name, count - 1) for name, count in depths.items())
    if len(others) > cells:
        return None
    steps: list[Step] = []
    for number, tap in enumerate(others, start=1):
        cell = f"cell{number}"
        steps += [
            Step(f"{cell}x", "carry", (f"cell{number - 1}" if number > 1 else first,)),
            Step(f"{cell}y", "carry", (tap,)),
            Step(f"{cell}step1", join, (f"{cell}x", f"{cell}y")),
            Step(cell, "projection", (f"{cell}step1",), add_to=f"{cell}x"),
        ]
    return Architecture(NAME, (*steps, Step(LAST, "concat_relu", (steps[-1].name,))), LAST)
