"""The spaces of the field: their sizes worked out by hand, what they offer, and mistakes in one line."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from typing import Any

import pytest

from nas.errors import UserError
from nas.space.architecture import Architecture, Choice, Step
from nas.space.search_space import SearchSpace
from search_spaces import SPACES, bm_nas, dynmm_modality, mfas, mufasa

THREE = {"a": 3, "b": 3}
FIELD = ["mfas", "bm_nas", "dynmm_modality", "mufasa"]


@pytest.mark.parametrize(
    ("depths", "rows", "ways"),
    [(THREE, 1, 3 * 3 * 2), (THREE, 4, 3 * 3 * 2), ({"a": 4, "b": 4}, 4, 32), ({"a": 1, "b": 2, "c": 3}, 2, 6 * 2)],
)
def test_mfas_holds_chains_of_every_length(depths: Mapping[str, int], rows: int, ways: int) -> None:
    # A row alone has as many ways as there are taps of each and activations; 32 of NTU's four layers.
    assert mfas(depths, rows=rows).size() == sum(ways**length for length in range(1, rows + 1))


def test_an_mfas_row_reads_one_tap_of_every_modality_and_the_row_before() -> None:
    space = mfas(THREE)
    generator = random.Random(0)
    for _ in range(30):
        architecture = space.sample(generator)
        for number, step in enumerate(architecture.steps):
            assert [name.split("@")[0] for name in step.inputs[:2]] == ["a", "b"]
            assert step.inputs[2:] == ((architecture.steps[number - 1].name,) if number else ())


def test_bm_nas_has_as_many_architectures_as_counted_by_hand() -> None:
    # One cell of one inner step: two sources of two taps each, and sum, GLU, concatenation or attention either way.
    one = {"a": 1, "b": 1}
    assert bm_nas(one, cells=1, steps=1).size() == 2 * 2 * 5
    # With two inner steps the cell reads the first (5 ways), the second or both. The second joins x and y (5 ways) or
    # one of them with the first (2 · 5 ways, for each of 5). Alone it reads the first or does not: 5 + 50 ways; with
    # the first in the cell as well 5 · 15.
    assert bm_nas(one, cells=1, steps=2).size() == 4 * (5 + 55 + 75)
    # A second cell may read the first. The last layer reads the first (20 ways), the second, or both (20 · 3² · 5).
    # Alone, the second reads the first, which has 20 ways, at x, at y or at both: 5 choices of 9, or taps: 4.
    assert bm_nas(one, cells=2, steps=1).size() == 20 + (4 * 5 + 5 * 5 * 20) + 20 * 9 * 5


def test_mufasa_has_as_many_architectures_as_counted_by_hand() -> None:
    # One tap, one block, one operation. Of every modality the last layer reads nothing, the tap or what its block has
    # made of it: 3² − 1 without the fusion block. With it 3² times what is joined: 2² − 1.
    space = mufasa({"a": 1, "b": 1}, operations=["mlp_block"], blocks=1)
    assert space.size() == 3**2 - 1 + 3**2 * 3
    # Three kinds of block: each of the branches has three, and a block that is read has three.
    three = mufasa(
        {"a": 1, "b": 1}, operations=["mlp_block", "attention_block", "separable_convolution_block"], blocks=1
    )
    assert three.size() == (2 + 3) ** 2 - 1 + (2 + 3) ** 2 * 3 * 3 * 3


def test_a_modality_enters_mufasa_early_between_its_blocks_or_late() -> None:
    space = mufasa(THREE)
    blocks = {"a_block1": Choice("glu_block", ("a@1",)), "a_block2": Choice("convolution_block", ("a_block1",))}
    branches = {"left": Choice("mlp_block", ("joined",)), "right": Choice("attention_block", ("joined",))}
    for entry in ("a@0", "a_block1"):
        made = {"joined": Choice("additive", (entry, "b@2")), "last": Choice("additive", ("left", "right"))}
        space.validate(space.compose({**blocks, **branches, **made}))
    both = {"joined": Choice("additive", ("a@0", "a_block1", "b@2")), "last": Choice("additive", ("left", "right"))}
    space.validate(space.compose({**blocks, **branches, **both}))
    late = {"joined": Choice("carry", ("b@2",)), "last": Choice("additive", ("a_block2", "left", "right"))}
    found = space.compose({**blocks, **branches, **late})
    space.validate(found)
    assert [step.name for step in found.steps] == ["a_block1", "joined", "a_block2", "left", "right", "last"]
    assert space.interaction_order(found) == 1  # the branches see b alone
    assert space.interaction_order(space.compose({**blocks, **branches, **both})) == 3


def test_late_fusion_and_each_modality_are_points_of_mufasa() -> None:
    space = mufasa(THREE)
    for reference in space.references:
        assert space.offers(reference.architecture) == (reference.kind in ("modality", "late"))


def test_named_experts_are_all_that_there_is_and_found_ones_those_of_experts() -> None:
    depths = {"text": 3, "image": 2}
    space = dynmm_modality(depths, experts=["text", "image+text"])
    assert space.nodes[-1].choices == (Choice("carry", ("text@2",)), Choice("additive", ("text@2", "image@1")))
    assert space.dynamic == ("modality",)
    assert dict(space.options) == {"experts": ("text", "image+text")}
    two = dynmm_modality(depths, experts=["text", "text+image"], operations=["mlp", "additive"])
    assert [choice.operation for choice in two.nodes[-1].choices] == ["carry", "mlp", "additive"]
    assert dynmm_modality(depths).nodes == SPACES["experts"](depths).nodes


@pytest.mark.parametrize("name", FIELD)
def test_early_fusion_joins_first_and_is_then_as_deep_as_the_encoders(name: str) -> None:
    space = SPACES[name]({"a": 3, "b": 2})
    (early,) = (one.architecture for one in space.references if one.kind == "early")
    assert [step.operation for step in early.steps] == ["mlp", "mlp_block", "mlp_block"]
    assert early.deepest() == {"a": 0, "b": 0}
    assert early.output == space.nodes[-1].name
    assert space.interaction_order(early) == 3
    (alone,) = (one.architecture for one in SPACES[name]({"a": 1, "b": 1}).references if one.kind == "early")
    assert [step.operation for step in alone.steps] == ["mlp"]


@pytest.mark.parametrize("name", FIELD)
@pytest.mark.parametrize("depths", [{"a": 1, "b": 4}, {"a": 2, "b": 3, "c": 1}])
def test_a_space_has_its_controls_and_a_warm_up_that_reads_all(name: str, depths: Mapping[str, int]) -> None:
    space = SPACES[name](depths)
    kinds = {reference.kind for reference in space.references}
    assert kinds >= {"modality", "late", "transformer", "early"}
    assert space.warm_up is not None
    assert set(space.warm_up.modalities()) == set(depths)
    assert space.warm_up.deepest() == {name: count - 1 for name, count in depths.items()}
    generator = random.Random(0)
    for _ in range(20):
        one = space.sample(generator)
        space.validate(one)
        assert Architecture.from_json(one.to_json()) == one
        assert space.mutate(one, generator) != one


def test_a_warm_up_of_bm_nas_joins_one_more_modality_in_every_cell() -> None:
    space = bm_nas({"a": 1, "b": 2, "c": 1})
    assert space.warm_up is not None
    assert space.warm_up["cell2x"] == Step("cell2x", "carry", ("cell1",))
    assert bm_nas(dict.fromkeys("abcd", 1)).warm_up is None  # two cells join three


@pytest.mark.parametrize(
    ("name", "depths", "options", "message"),
    [
        ("mfas", THREE, {"rows": 0}, "rows of space 'mfas' must be from 1 to 8, got 0"),
        ("mfas", THREE, {"operations": ["modality_shit"]}, "unknown operation 'modality_shit'"),
        ("mfas", THREE, {"operations": ["dot_attention"]}, "'dot_attention' reads 2 sources at most, a row 3"),
        ("mfas", THREE, {"operations": ["none"]}, "join nothing; name other operations, such as concat_relu"),
        ("mfas", dict.fromkeys("abcdefg", 3), {}, "a row has more than 3000 choices"),
        ("mfas", {"a": 3}, {}, "at least two modalities"),
        ("bm_nas", THREE, {"cells": 5}, "cells of space 'bm_nas' must be from 1 to 4, got 5"),
        ("bm_nas", THREE, {"operations": ["mlp_block"]}, "'mlp_block' reads one source, but an inner step joins two"),
        ("mufasa", THREE, {"operations": ["mlp"]}, "'mlp' joins several sources, but a block reads one"),
        ("mufasa", dict.fromkeys("abcdef", 3), {}, "a join of space 'mufasa' has more than 3000 choices"),
        ("dynmm_modality", THREE, {"experts": ["a"]}, "experts of space 'dynmm_modality' must be two or more, got a"),
        ("dynmm_modality", THREE, {"experts": ["a", "a+c"]}, "unknown modality 'c'"),
    ],
)
def test_mistakes_are_told(name: str, depths: Mapping[str, int], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SPACES[name](depths, **options)


@pytest.mark.parametrize(
    "space", [mfas(THREE, rows=2), bm_nas({"a": 1, "b": 1}, cells=1)], ids=lambda space: space.name
)
def test_where_no_node_can_be_idle_the_count_is_that_of_all_spellings(space: SearchSpace) -> None:
    indices = itertools.product(*(range(len(node.choices)) for node in space.nodes))
    assert len({space.at(index) for index in indices}) == space.size()
