"""The layerwise space: what its nodes read, and how late and early fusion are two of its architectures."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import UserError
from nas.space.architecture import Architecture, Choice, Step
from nas.space.search_space import SearchSpace, SpaceBuilder
from search_spaces import DEFAULT_OPERATIONS, OPERATIONS, SPACES, experts, layerwise
from search_spaces.layerwise import MAX_CHOICES, MAX_NODES, MAX_TAPS

TWO = {"image": 3, "audio": 3}


def references(space: SearchSpace, kind: str) -> list[Architecture]:
    return [reference.architecture for reference in space.references if reference.kind == kind]


def test_it_is_registered_by_name() -> None:
    assert SPACES["layerwise"] is layerwise
    assert layerwise(TWO).name == "layerwise"


def test_people_call_a_node_by_its_depth() -> None:
    assert [node.title for node in layerwise({"image": 3, "audio": 2}).nodes] == ["depth 0", "depth 1", "depth 2"]


def test_late_fusion_is_additive_at_the_last_depth_and_nothing_before() -> None:
    space = layerwise(TWO)
    (late,) = references(space, "late")
    assert late == Architecture.chain("layerwise", [("fusion2", Choice("additive", ("image@2", "audio@2")))])
    space.validate(late)


def test_early_fusion_is_mlp_at_depth_0_and_nothing_after() -> None:
    space = layerwise(TWO)
    (early,) = references(space, "early")
    assert early.steps == (Step("fusion0", "mlp", ("image@0", "audio@0")),)
    space.validate(early)


def test_the_late_fusion_transformer_is_single_stream_at_the_last_depth_where_that_is_offered() -> None:
    space = layerwise({"image": 3, "audio": 2, "words": 1})
    (transformer,) = references(space, "transformer")
    assert transformer.steps == (Step("fusion2", "single_stream", ("image@2", "audio@1", "words@0")),)
    space.validate(transformer)
    assert not references(layerwise(TWO, operations=["mlp", "bottleneck"]), "transformer")


def test_late_and_early_fusion_are_there_even_when_the_space_does_not_offer_them() -> None:
    space = layerwise(TWO, operations=["low_rank"])
    (late,), (early,) = references(space, "late"), references(space, "early")
    for architecture in (late, early):
        with pytest.raises(UserError, match="does not offer"):
            space.validate(architecture)
        assert space.only(architecture).size() == 1


def test_each_modality_alone_is_its_deepest_tap() -> None:
    space = layerwise({"image": 3, "audio": 2})
    alone = {r.name: r.architecture for r in space.references if r.kind == "modality"}
    assert {name: architecture.taps() for name, architecture in alone.items()} == {
        "image": ("image@2",),
        "audio": ("audio@1",),
    }
    for architecture in alone.values():
        space.validate(architecture)


def test_every_operation_alone_is_compared_at_every_depth() -> None:
    space = layerwise(TWO)
    counts = Counter(r.name for r in space.references if r.kind == "operation")
    # Modality shift has two orders, for either modality may be the primary one.
    assert counts == {name: 6 if name == "modality_shift" else 3 for name in DEFAULT_OPERATIONS}
    for architecture in references(space, "operation"):
        space.validate(architecture)


@pytest.mark.parametrize(
    ("num_modalities", "choices"),
    [
        # `none`, a carry per modality, and thirteen operations, of which modality shift counts once per primary.
        (2, 1 + 2 + 12 + 2),
        (3, 1 + 3 + 12 * 4 + (3 * 2 + 3)),  # three pairs and one triple
        (4, 1 + 4 + 12 * 11 + (6 * 2 + 4 * 3 + 4)),  # six pairs, four triples, all four
        (6, 1 + 6 + 12 * 16 + (15 * 2 + 6)),  # beyond four modalities pairs and all together
    ],
)
def test_choices_are_as_counted_by_hand(num_modalities: int, choices: int) -> None:
    space = layerwise({f"m{i}": 2 for i in range(num_modalities)})
    assert [len(node.choices) for node in space.nodes] == [choices] * 2
    assert space.size() == choices**2


def test_nothing_that_an_operation_cannot_take_is_offered() -> None:
    space = layerwise({f"m{i}": 1 for i in range(11)})
    largest = dict.fromkeys(OPERATIONS, 0)
    for choice in space.nodes[0].choices:
        largest[choice.operation] = max(largest[choice.operation], len(choice.inputs))
    assert largest["mlp"] == 11
    assert largest["tensor"] == 2  # of eleven it would form 2048 features
    assert "tensor" not in {r.name for r in space.references}


@pytest.mark.parametrize("depths", [{"image": 3, "audio": 2}, {"a": 4, "b": 1, "c": 3}, {"a": 1, "b": 1}])
def test_a_modality_with_fewer_taps_is_met_in_proportion(depths: dict[str, int]) -> None:
    expected = {
        (3, 2): [0, 1, 1],  # 0, 1/2 and 1, a half rounded up
        (4, 1): [0, 0, 0, 0],
        (4, 3): [0, 1, 1, 2],  # 0, 2/3, 4/3 and 2
    }
    space = layerwise(depths)
    nodes = max(depths.values())
    for modality, taps in depths.items():
        read = [next(s for s in node.sources if s.startswith(f"{modality}@")) for node in space.nodes]
        wanted = list(range(nodes)) if taps == nodes else expected[nodes, taps]
        assert read == [f"{modality}@{depth}" for depth in wanted]


@given(st.integers(1, MAX_TAPS), st.integers(1, MAX_TAPS))
def test_proportions_round_a_half_up_and_reach_both_ends(taps: int, deepest: int) -> None:
    taps = min(taps, deepest)
    space = layerwise({"deep": deepest, "other": taps}, operations=[])
    nodes = min(deepest, MAX_NODES)
    assert len(space.nodes) == nodes
    read = [int(node.sources[1].split("@")[1]) for node in space.nodes]
    exact = [Fraction(d * (taps - 1), max(1, nodes - 1)) + Fraction(1, 2) for d in range(nodes)]
    assert read == [floor(value) for value in exact]
    assert read[-1] == (taps - 1 if nodes > 1 else 0)


@pytest.mark.parametrize(
    ("operations", "expected"),
    [(None, "mlp"), (["additive", "low_rank"], "low_rank"), (["low_rank", "bottleneck", "soft_gate"], "bottleneck")],
)
def test_a_supernet_warms_up_on_the_richest_join_at_the_last_depth(operations: list[str] | None, expected: str) -> None:
    space = layerwise({"image": 3, "audio": 2}, operations=operations)
    assert space.warm_up is not None
    assert space.warm_up.steps == (Step("fusion2", expected, ("image@2", "audio@1")),)


def test_there_is_no_warm_up_where_nothing_joins_all() -> None:
    assert layerwise(TWO, operations=[]).warm_up is None
    assert layerwise({f"m{i}": 1 for i in range(11)}, operations=["tensor"]).warm_up is None


def test_every_node_adds_to_the_state_of_the_one_before() -> None:
    assert [node.residual for node in layerwise(TWO).nodes] == [None, "fusion0", "fusion1"]


def test_operations_may_be_chosen() -> None:
    for chosen in (["mlp"], ["carry", "mlp", "none"]):
        assert {c.operation for node in layerwise(TWO, operations=chosen).nodes for c in node.choices} == {
            "none",
            "carry",
            "mlp",
        }
    only_carry = layerwise(TWO, operations=[])
    assert [choice.operation for choice in only_carry.nodes[0].choices] == ["none", "carry", "carry"]


@pytest.mark.parametrize(
    ("depths", "operations", "message"),
    [
        ({"image": 3}, None, r"at least two modalities, got \['image'\]"),
        ({"image": 3, "audio": 0}, None, "must offer at least one tap"),
        ({"image": 3, "layers": 65}, None, "modality 'layers' has 65 depths, more than 64; give an evenly spread part"),
        (TWO, ["mpl"], "unknown operation 'mpl'; did you mean 'mlp'"),
        (TWO, ["mlp", "mlp_block"], "operation 'mlp_block' reads one source, but a node of this space joins several"),
    ],
)
def test_mistakes_are_told(depths: dict[str, int], operations: list[str] | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        layerwise(depths, operations=operations)


@pytest.mark.parametrize("space", [layerwise, experts])
@pytest.mark.parametrize("modalities", [22, 100, 5000])
def test_more_choices_than_can_be_searched_are_refused_at_once(space: SpaceBuilder, modalities: int) -> None:
    depths = {f"m{number}": 3 for number in range(modalities)}
    with pytest.raises(UserError, match=f"^{modalities} modalities give .* more than 3000 choices .*; concatenate .*$"):
        space(depths)


def test_as_many_modalities_as_their_operations_allow_are_searched() -> None:
    assert len(layerwise({f"m{number}": 3 for number in range(21)}).nodes[0].choices) <= MAX_CHOICES
    few = layerwise({f"m{number}": 3 for number in range(70)}, operations=["additive"])
    assert len(few.nodes[0].choices) == 1 + 70 + 70 * 69 // 2 + 1  # none, each alone, pairs, all together
