"""MFAS: rows that each join a tap of every modality, at any depths, and the row before (Pérez-Rúa et al. 2019).

"MFAS: Multimodal Fusion Architecture Search", section 3.1. Row l reads one tap of every modality, each at a depth of
its own, and the state of row l − 1: h_l = act(W [x_A; x_B; h_(l−1)] + b), where act is ReLU or sigmoid. How many rows
there are is searched, too.

Departures:

- The paper's row 1 is the first row here that is read: a row reads the one before it, or none, and rows that nobody
  reads are no part of a network. So a network of one row is made at the last one, which feeds the head.
- Taps keep their time steps, and the head takes the mean over them; in the paper taps are averaged first.
- Rows are as wide in the search as afterwards; other operations than these two may be named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, product

from nas.errors import UserError
from nas.routing.levels import check_levels
from nas.space.architecture import Architecture, Choice, tap_name
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from search_spaces.controls import check_range, controls, named
from search_spaces.layerwise import MAX_CHOICES
from search_spaces.operations import OPERATIONS

NAME = "mfas"

ACTIVATIONS = ("concat_relu", "concat_sigmoid")


def mfas(
    depths: Mapping[str, int],
    *,
    operations: Sequence[str] | None = None,
    dynamic: Sequence[str] = (),
    rows: int = 3,
) -> SearchSpace:
    """Rows of which the last one feeds the head.

    Of c = (product of all depths) · operations ways to make a row without the one before, there are
    c + c² + … + c^rows architectures.

    Args:
        depths: For each modality, how many taps its encoder offers, at least 1.
        operations: Candidates of a row; None for `ACTIVATIONS`.
        dynamic: As in `layerwise`.
        rows: Most rows, 1 to 8; three in the paper for AV-MNIST, four for NTU.

    Raises:
        UserError: If an operation is unknown or cannot read so much, a number is out of range, or a row has more
            choices than can be searched.
    """
    check_range(NAME, "rows", rows, 1, 8)
    joins = named(operations, ACTIVATIONS)
    for name in joins:
        most = OPERATIONS[name].max_inputs
        if most is not None and most <= len(depths):
            raise UserError(f"operation {name!r} reads {most} sources at most, a row {len(depths) + 1}")
    references = controls(NAME, _row(rows), depths)
    nodes = []
    for number in range(1, rows + 1):
        before: tuple[tuple[str, ...], ...] = ((), (_row(number - 1),)) if number > 1 else ((),)
        taps = product(*([tap_name(name, depth) for depth in range(count)] for name, count in depths.items()))
        choices = (Choice(name, (*some, *state)) for some in taps for name in joins for state in before)
        made = tuple(islice(choices, MAX_CHOICES + 1))
        if len(made) > MAX_CHOICES:
            raise UserError(f"a row has more than {MAX_CHOICES} choices, too many to search; take fewer taps")
        nodes.append(FusionNode(_row(number), made))
    deepest = tuple(tap_name(name, count - 1) for name, count in depths.items())
    return SearchSpace(
        NAME,
        dict(depths),
        tuple(nodes),
        OPERATIONS,
        references,
        warm_up=Architecture.chain(NAME, [(_row(rows), Choice(joins[0], deepest))]),
        dynamic=check_levels(dynamic),
    ).with_options(rows=rows)


def _row(number: int) -> str:
    return f"row{number}"
