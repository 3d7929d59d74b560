"""DynMM at the fusion level: how long a second modality is added into a main encoder (Xue and Marculescu 2023).

"Dynamic Multimodal Fusion", section 3.2: k = 0 … K. After each of its first k layers the main encoder takes in the
second modality's feature of that layer, and the sum goes on through the next layer: h ← layer(h + s ⊙ P(g)), see
`nas.encoders.joined`. The second encoder runs k layers. The search finds one k for all samples, or, with the dynamic
level `fusion`, a gate on the first layers of both picks one for every sample.

Departures: a second encoder of fewer layers bounds k. The most that a gate may pick is what the search finds best for
all samples, so that no sample costs more than that network and the gate. As for any gate, k = 0 after a gate has run
the second encoder's first layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.errors import UserError, unknown_name
from nas.routing.levels import CASCADE, check_levels
from nas.space.architecture import Architecture, Choice
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from nas.streams import joined_stream, joined_tap
from search_spaces.controls import controls
from search_spaces.operations import OPERATIONS

NAME = "dynmm_fusion"

NODE = "joined"

WAYS = ("sum", "squeeze_excitation")


def dynmm_fusion(
    depths: Mapping[str, int],
    *,
    operations: Sequence[str] | None = None,
    dynamic: Sequence[str] = (),
    main: str = "",
    how: str = WAYS[0],
) -> SearchSpace:
    """One node, which carries the main encoder's deepest feature; its choices are k = 0 … K, so there are K + 1.

    Args:
        depths: For each of two modalities, how many taps its encoder offers, at least 1. They must be maps both, or
            sequences both, which is told when their encoders are joined.
        operations: None, for there is nothing to choose.
        dynamic: As in `layerwise`, but no cascade: one gate decides before anything is added.
        main: The modality whose encoder goes on with the sum; "" for the first.
        how: How the second modality is added, one of `WAYS`.

    Raises:
        UserError: If there are not two modalities, an option has no such value, or operations or a cascade are asked
            for.
    """
    names = list(depths)
    if len(names) != 2:
        raise UserError(f"space {NAME!r} adds one modality into another, so it takes two; got {', '.join(names)}")
    if main and main not in names:
        raise unknown_name("main modality", main, names)
    if how not in WAYS:
        raise unknown_name("way to add", how, WAYS)
    if operations:
        raise UserError(f"space {NAME!r} adds features and chooses no operation; leave operations out")
    levels = check_levels(dynamic)
    if CASCADE in levels:
        raise UserError(
            f"space {NAME!r} takes no cascade, which would run the main encoder anew on every route; take fusion"
        )
    (second,) = (name for name in names if name != (main or names[0]))
    stream = joined_stream(main or names[0], second, weighed=how == "squeeze_excitation")
    choices = [Choice("carry", (joined_tap(stream, joins),)) for joins in range(min(depths.values()) + 1)]
    return SearchSpace(
        NAME,
        dict(depths),
        (FusionNode(NODE, tuple(choices)),),
        OPERATIONS,
        controls(NAME, NODE, depths),
        warm_up=Architecture.chain(NAME, [(NODE, choices[-1])]),
        dynamic=levels,
    ).with_options(main=main or names[0], how=how)
