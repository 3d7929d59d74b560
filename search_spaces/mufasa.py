"""MUFASA: blocks for every modality and for the fusion, found together (Xu et al. 2021).

"MUFASA: Multimodal Fusion Architecture Search for Electronic Health Records". Every modality has a chain of blocks:
self-attention, a convolution of three time steps, a separable one, a gated linear unit or a feed-forward layer. Where
it enters the fusion is part of the choice: early, before its blocks; hybrid, between them; or late, next to the head.
What enters early or between blocks is joined and passes two parallel branches, each feed-forward, a separable
convolution or attention, which are added.

Departures:

- The paper's identity is said by what is read: a modality may go on after any number of its blocks.
- A block adds to its input, within. Concatenated are both where a modality enters early and between blocks at once.
- Joins are sums of linear maps, which concatenation and a linear map come to. The norm after the fusion block is left
  out, for blocks norm what they read; their residual is within them, too. Self-attention brings a feed-forward layer.
- A chain may begin at any tap of the modality's encoder; in the paper there is no encoder before it.
- A modality may enter at several points, or at none, so that one alone and late fusion are points of the space.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product

from nas.errors import UserError
from nas.routing.levels import check_levels
from nas.space.architecture import Architecture, Choice, Step, tap_name
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from search_spaces.controls import check_range, controls, named
from search_spaces.layerwise import MAX_CHOICES
from search_spaces.operations import OPERATIONS

NAME = "mufasa"

BLOCKS = ("mlp_block", "attention_block", "convolution_block", "separable_convolution_block", "glu_block")

BRANCHES = ("mlp_block", "separable_convolution_block", "attention_block")

JOINED, LEFT, RIGHT, LAST = "joined", "left", "right", "last"


def mufasa(
    depths: Mapping[str, int],
    *,
    operations: Sequence[str] | None = None,
    dynamic: Sequence[str] = (),
    blocks: int = 2,
) -> SearchSpace:
    """Chains of blocks, a join, two branches, and a last join.

    Args:
        depths: For each modality, how many taps its encoder offers, at least 1.
        operations: Candidates of a block; None for `BLOCKS`. Branches are those of them that are among `BRANCHES`, or
            `BRANCHES` if none is.
        dynamic: As in `layerwise`.
        blocks: Of every modality, 1 to 4.

    Raises:
        UserError: If an operation is unknown or reads more than one source, a number is out of range, or a join has
            more choices than can be searched.
    """
    check_range(NAME, "blocks", blocks, 1, 4)
    kinds = named(operations, BLOCKS)
    for name in kinds:
        if OPERATIONS[name].max_inputs != 1:
            raise UserError(f"operation {name!r} joins several sources, but a block reads one")
    references = controls(NAME, LAST, depths)
    taps = {name: tuple(tap_name(name, depth) for depth in range(count)) for name, count in depths.items()}
    nodes = []
    for name in depths:
        for number in range(1, blocks + 1):
            sources = (_block(name, number - 1),) if number > 1 else taps[name]
            choices = tuple(Choice(kind, (source,)) for source in sources for kind in kinds)
            nodes.append(FusionNode(_block(name, number), choices))
    inner = {name: tuple(_block(name, number) for number in range(1, blocks)) for name in depths}
    entries = [_entries(taps[name], inner[name]) for name in depths]
    nodes.append(FusionNode(JOINED, _joins(entries)))
    branches = [name for name in kinds if name in BRANCHES] or list(BRANCHES)
    nodes += [FusionNode(side, tuple(Choice(name, (JOINED,)) for name in branches)) for side in (LEFT, RIGHT)]
    late = [[(), *((end,) for end in (*taps[name], *inner[name], _block(name, blocks)))] for name in depths]
    nodes.append(FusionNode(LAST, _joins([*late, [(), (LEFT, RIGHT)]])))
    return SearchSpace(
        NAME,
        dict(depths),
        tuple(nodes),
        OPERATIONS,
        references,
        warm_up=_warm_up([some[-1] for some in taps.values()], branches[0]),
        dynamic=check_levels(dynamic),
    ).with_options(blocks=blocks)


def _block(modality: str, number: int) -> str:
    return f"{modality}_block{number}"


def _entries(taps: Sequence[str], inner: Sequence[str]) -> list[tuple[str, ...]]:
    """What the fusion may read of one modality: nothing, early, between two blocks, or both."""
    both = [(tap, block) for tap in taps for block in inner]
    return [(), *((tap,) for tap in taps), *((block,) for block in inner), *both]


def _joins(parts: Sequence[Sequence[tuple[str, ...]]]) -> tuple[Choice, ...]:
    """One of each part: carried if there is but one source, else added.

    Raises:
        UserError: If there are too many ways.
    """

    def every() -> Iterator[Choice]:
        for some in product(*parts):
            inputs = tuple(name for part in some for name in part)
            if inputs:
                yield Choice("carry" if len(inputs) == 1 else "additive", inputs)

    found = tuple(islice(every(), MAX_CHOICES + 1))
    if len(found) > MAX_CHOICES:
        raise UserError(
            f"a join of space {NAME!r} has more than {MAX_CHOICES} choices, too many to search; take fewer modalities, "
            "taps or blocks"
        )
    return found


def _warm_up(deepest: Sequence[str], branch: str) -> Architecture:
    """All modalities' deepest taps enter early and pass the branches."""
    steps = (
        Step(JOINED, "additive", tuple(deepest)),
        Step(LEFT, branch, (JOINED,)),
        Step(RIGHT, branch, (JOINED,)),
        Step(LAST, "additive", (LEFT, RIGHT)),
    )
    return Architecture(NAME, steps, LAST)
