"""Experts: one fusion node, and for every sample an expert on the modalities that it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nas.routing.levels import check_levels
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from search_spaces.layerwise import layerwise

NAME = "experts"


def experts(
    depths: Mapping[str, int], *, operations: Sequence[str] | None = None, dynamic: Sequence[str] = ("modality",)
) -> SearchSpace:
    """`layerwise` with its last node alone, dynamic at the modality level unless another is asked for.

    Xue and Marculescu 2023, "Dynamic Multimodal Fusion", section 3.1: one expert is picked per sample, each of which
    fuses some of the modalities late. Departures: experts are found, not written by hand, and share encoders.

    Args:
        depths: For each modality, how many taps its encoder offers, at least 1.
        operations: As in `layerwise`.
        dynamic: Likewise.

    Raises:
        UserError: As `layerwise` does.
    """
    whole = layerwise(depths, operations=operations)
    last = replace(whole.nodes[-1], residual=None)

    def single(architecture: Architecture) -> Architecture:
        """What its only step does, at the one node that there is."""
        (step,) = architecture.steps
        return Architecture.chain(NAME, [(last.name, step.choice)])

    return replace(
        whole,
        name=NAME,
        nodes=(last,),
        references=tuple(
            replace(reference, architecture=single(reference.architecture))
            for reference in whole.references
            if reference.kind != "operation" or reference.architecture.output == last.name
        ),
        warm_up=single(whole.warm_up) if whole.warm_up else None,
        dynamic=check_levels(dynamic),
    )
