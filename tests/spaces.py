"""Spaces for the battery of `tests.contracts`: registered ones, and ones by hand whose nodes read nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nas.data.fusion_data import FusionData
from nas.network.fusion_network import FusionNetwork, Selection, StraightThrough
from nas.space.architecture import Architecture, Choice
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from search_spaces import OPERATIONS, SPACES
from tests.helpers import NESTED, tiny_network

DEPTHS = {"image": 2, "audio": 2}

_NOTHING = Choice("none")

CELLS = SearchSpace(
    "cells",
    DEPTHS,
    (
        FusionNode(
            "first", (_NOTHING, Choice("additive", ("image@0", "audio@1")), Choice("mlp", ("image@1", "audio@0")))
        ),
        FusionNode("second", (_NOTHING, Choice("carry", ("first",)), Choice("multiplicative", ("first", "image@1")))),
        FusionNode(
            "third",
            (
                _NOTHING,
                Choice("carry", ("second",)),
                Choice("low_rank", ("first", "second")),
                Choice("modality_shift", ("audio@1", "second")),
                Choice("additive", ("image@0", "image@1")),
            ),
        ),
    ),
    OPERATIONS,
    options=(("cells", 3),),
)
"""Nodes that add to nothing: what none reads is no part of the network."""

BRANCHES = SearchSpace(
    "branches",
    DEPTHS,
    (
        FusionNode("a", (_NOTHING, Choice("carry", ("image@1",)), Choice("additive", ("image@0", "audio@1")))),
        FusionNode("b", (_NOTHING, Choice("mlp", ("a", "audio@0")), Choice("carry", ("audio@1",))), residual="a"),
        FusionNode("c", (_NOTHING, Choice("multiplicative", ("image@0", "audio@0")), Choice("carry", ("b",)))),
        FusionNode("d", (_NOTHING, Choice("bilinear", ("c", "b")), Choice("carry", ("a",))), residual="b"),
    ),
    OPERATIONS,
)
"""Two branches, of which the last node joins one and adds to the other: idle nodes hand on what they add to."""

HAND_MADE: Mapping[str, SearchSpace] = {"nested": NESTED, "cells": CELLS, "branches": BRANCHES}

SMALL: Mapping[str, Mapping[str, Any]] = {
    "graph": {"operations": ["mlp", "mlp_block"], "steps": 2},
    "mfas": {"operations": ["concat_sigmoid"], "rows": 2},
    "bm_nas": {"operations": ["linear_glu"], "steps": 1},
    "dynmm_modality": {"experts": ["image", "image+audio"]},
    "dynmm_fusion": {"main": "audio", "how": "squeeze_excitation"},
    "mufasa": {"operations": ["mlp_block"], "blocks": 1},
}
"""Options of spaces that would be large with those of `OPTIONS`, or take no such operations."""

SHALLOW = ("bm_nas", "mufasa")
"""Spaces that would be large with two taps of every modality."""

OPTIONS: Mapping[str, Any] = {"operations": ["additive", "modality_shift", "mlp"]}

EVERY: Mapping[str, SearchSpace] = {
    **{
        name: build(dict.fromkeys(DEPTHS, 1) if name in SHALLOW else DEPTHS, **SMALL.get(name, OPTIONS))
        for name, build in SPACES.items()
    },
    **HAND_MADE,
}
"""A small space of every kind."""


def derive(supernet: FusionNetwork, data: FusionData, architecture: Architecture) -> FusionNetwork:
    """The derived network with the supernet's weights; its names must all be there, of the same shapes."""
    derived = tiny_network(supernet.space.restrict(architecture), data, seed=1).double()
    state = supernet.weights_of(architecture)
    derived.load_state_dict({name: state[name] for name in derived.state_dict()})
    return derived


def one_hot(space: SearchSpace, index: Sequence[int]) -> dict[str, Tensor]:
    """Mixing vectors (choices,) that leave one choice each."""
    return {
        node.name: torch.eye(len(node.choices), dtype=torch.float64)[chosen]
        for node, chosen in zip(space.nodes, index, strict=True)
    }


def as_index(space: SearchSpace, index: Sequence[int], _batch: int) -> Selection:
    return {node.name: chosen for node, chosen in zip(space.nodes, index, strict=True)}


def as_straight_through(space: SearchSpace, index: Sequence[int], _batch: int) -> Selection:
    return {name: StraightThrough(int(w.argmax()), w) for name, w in one_hot(space, index).items()}


def as_mixing_vector(space: SearchSpace, index: Sequence[int], _batch: int) -> Selection:
    return one_hot(space, index)


def as_sample_weights(space: SearchSpace, index: Sequence[int], batch: int) -> Selection:
    return {name: weights.expand(batch, -1) for name, weights in one_hot(space, index).items()}


FORMS: dict[str, Callable[[SearchSpace, Sequence[int], int], Selection]] = {
    "index": as_index,
    "straight through": as_straight_through,
    "mixing vector": as_mixing_vector,
    "sample weights": as_sample_weights,
}
"""How a supernet may be told to make one choice at every node, by the index of each."""
