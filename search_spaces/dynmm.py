"""DynMM at the modality level: named experts on some of the modalities, one for every sample (Xue and Marculescu 2023).

"Dynamic Multimodal Fusion", section 3.1. Experts are named by the modalities that they fuse late, such as `text` and
`text+image`; a gate picks one of them for every sample. Without names it is the space `experts`, whose experts are
found.

Departures: experts share encoders, and are trained together with the gate, as `nas.routing` does it, instead of alone
before it; and the most accurate expert may be enough for all samples, in which case there is no gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nas.errors import UserError, unknown_name
from nas.space.architecture import Architecture, Choice, tap_name
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from search_spaces.controls import controls, named
from search_spaces.experts import experts as found_experts

NAME = "dynmm_modality"


def dynmm_modality(
    depths: Mapping[str, int],
    *,
    operations: Sequence[str] | None = None,
    dynamic: Sequence[str] = ("modality",),
    experts: Sequence[str] = (),
) -> SearchSpace:
    """One node whose choices are the experts.

    Args:
        depths: For each modality, how many taps its encoder offers, at least 1.
        operations: How an expert on several modalities may fuse them; None for a sum, or all where experts are found.
        dynamic: As in `layerwise`.
        experts: Names of modalities with a plus between them, two experts or more; empty for those that are found.

    Raises:
        UserError: As `layerwise` does, or if an expert reads a modality that is not there, or stands alone.
    """
    whole = found_experts(depths, operations=operations, dynamic=dynamic)
    node = whole.nodes[-1]
    if experts:
        node = FusionNode(node.name, tuple(_choices(depths, experts, named(operations, ["additive"]))))

    def here(architecture: Architecture) -> Architecture:
        return replace(architecture, space=NAME)

    warm_up = here(whole.warm_up) if whole.warm_up else None
    if warm_up is not None and warm_up.steps[0].choice not in node.choices:
        largest = max(node.choices, key=lambda choice: len(choice.inputs))
        warm_up = Architecture.chain(NAME, [(node.name, largest)])
    own = [replace(one, architecture=here(one.architecture)) for one in whole.references if one.kind == "operation"]
    references = (*controls(NAME, node.name, depths), *own)
    space = replace(whole, name=NAME, nodes=(node,), references=references, warm_up=warm_up)
    return space.with_options(experts=experts) if experts else space


def _choices(depths: Mapping[str, int], experts: Sequence[str], joins: Sequence[str]) -> dict[Choice, None]:
    """What the experts do, each once."""
    found = dict[Choice, None]()
    for expert in experts:
        names = expert.split("+")
        for name in names:
            if name not in depths:
                raise unknown_name("modality", name, depths)
        taps = tuple(tap_name(name, count - 1) for name, count in depths.items() if name in names)
        found |= dict.fromkeys([Choice("carry", taps)] if len(taps) == 1 else [Choice(name, taps) for name in joins])
    if len(found) < 2:
        raise UserError(f"experts of space {NAME!r} must be two or more, got {', '.join(experts)}")
    return found
