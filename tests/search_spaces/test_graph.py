"""The general space: what the field writes down as networks is a point of it."""

from __future__ import annotations

import pytest

from nas.errors import UserError
from nas.space.architecture import Choice
from search_spaces import DEFAULT_OPERATIONS, graph, layerwise

DEPTHS = {"image": 3, "audio": 3}

SPACE = graph(DEPTHS)


def test_it_is_too_large_to_enumerate() -> None:
    sizes = [graph(DEPTHS, steps=steps).size() for steps in (2, 3, 4)]
    assert sizes[0] > 10**4
    assert sizes[1] > 10**6
    assert sizes[2] > 10**8
    assert graph({"image": 3, "audio": 3, "text": 3}, steps=4).size() > 10**9


@pytest.mark.parametrize("image", range(3))
@pytest.mark.parametrize("audio", range(3))
def test_every_join_at_every_pair_of_depths_is_a_point(image: int, audio: int) -> None:
    for operation in DEFAULT_OPERATIONS:
        assert SPACE.holds(SPACE.compose({"final": Choice(operation, (f"image@{image}", f"audio@{audio}"))}))


def test_what_layerwise_does_at_one_depth_is_a_point() -> None:
    for reference in layerwise(DEPTHS).references:
        (step,) = reference.architecture.steps
        assert SPACE.holds(SPACE.compose({"final": step.choice}))


def test_a_row_of_mfas_and_a_chain_with_blocks_are_points() -> None:
    rows = {
        "step1": Choice("mlp", ("image@0", "audio@2")),
        "step2": Choice("mlp", ("image@1", "audio@0", "step1")),
        "final": Choice("mlp", ("image@2", "audio@1", "step2")),
    }
    assert SPACE.offers(SPACE.compose(rows))
    deep = {
        "step1": Choice("cross_attention", ("image@0", "audio@0")),
        "step2": Choice("attention_block", ("step1",)),
        "final": Choice("mlp_block", ("step2",)),
    }
    assert SPACE.holds(SPACE.compose(deep))


def test_what_no_node_offers_is_refused() -> None:
    with pytest.raises(UserError, match="does not offer"):
        SPACE.validate(SPACE.compose({"final": Choice("mlp", ("image@0", "image@0"))}))
    with pytest.raises(UserError, match="does not offer"):
        graph(DEPTHS, operations=["additive"]).validate(SPACE.compose({"final": Choice("mlp", ("image@0", "audio@0"))}))


def test_blocks_alone_may_be_named_beside_joins() -> None:
    space = graph(DEPTHS, operations=["additive", "mlp_block"], steps=2)
    assert {choice.operation for node in space.nodes for choice in node.choices} == {
        "none",
        "carry",
        "additive",
        "mlp_block",
    }


@pytest.mark.parametrize("steps", [0, 6])
def test_steps_have_a_range(steps: int) -> None:
    with pytest.raises(UserError, match="from 1 to 5"):
        graph(DEPTHS, steps=steps)


def test_an_unknown_operation_is_told() -> None:
    with pytest.raises(UserError, match="unknown operation 'sum'"):
        graph(DEPTHS, operations=["sum"])


def test_eight_modalities_have_a_supernet_of_bounded_size_and_any_subset() -> None:
    space = graph({f"m{number}": 3 for number in range(8)})
    assert all(len(node.choices) <= 2100 for node in space.nodes)
    assert space.offers(space.compose({"final": Choice("mlp", ("m0@0", "m3@1", "m7@2"))}))
