"""A search space counts, samples, enumerates, mutates and validates; drawn as a graph it has no cycle."""

from __future__ import annotations

import random
from dataclasses import replace

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import UserError
from nas.space.architecture import Architecture, Choice, Step
from nas.space.node import FusionNode
from nas.space.search_space import OUTPUT, SearchSpace, find_space, space_names
from search_spaces import OPERATIONS, layerwise
from tests.helpers import NESTED

SMALL = layerwise({"image": 2, "audio": 1}, operations=["mlp", "modality_shift"])

SPACES = [
    SMALL,
    layerwise({"image": 3, "audio": 2}),
    layerwise({"a": 2, "b": 2, "c": 1}, operations=["additive"]),
    layerwise(dict.fromkeys("abcdef", 1), operations=["low_rank"]),
]

space_and_seed = st.tuples(st.sampled_from(SPACES), st.integers(0, 2**32))


@pytest.mark.parametrize("space", [SMALL, SPACES[2], SPACES[3], NESTED], ids=lambda space: f"{space.depths}")
def test_size_is_the_number_of_architectures_enumerated(space: SearchSpace) -> None:
    architectures = list(space.enumerate())
    assert len(set(architectures)) == len(architectures) == space.size()
    for architecture in architectures:
        space.validate(architecture)
        assert space.at(space.index(architecture)) == architecture


def test_the_last_node_varies_fastest() -> None:
    sizes = [len(node.choices) for node in SMALL.nodes]
    indices = [SMALL.index(architecture) for architecture in SMALL.enumerate()]
    assert indices == [(i, j) for i in range(sizes[0]) for j in range(sizes[1])]


@given(space_and_seed)
def test_a_sample_is_of_the_space(drawn: tuple[SearchSpace, int]) -> None:
    space, seed = drawn
    architecture = space.sample(random.Random(seed))
    space.validate(architecture)
    assert space.at(space.index(architecture)) == architecture
    assert space.sample(random.Random(seed)) == architecture


def test_samples_make_every_choice_equally_likely() -> None:
    generator = random.Random(0)
    drawn = [SMALL.index(SMALL.sample(generator))[0] for _ in range(6000)]
    choices = len(SMALL.nodes[0].choices)
    assert choices == 6
    # 1000 each; five standard deviations of a count are 5 · √(6000 · 1/6 · 5/6) < 145.
    assert all(abs(drawn.count(index) - 1000) < 145 for index in range(choices))


@given(space_and_seed)
def test_a_mutation_changes_one_node(drawn: tuple[SearchSpace, int]) -> None:
    space, seed = drawn
    generator = random.Random(seed)
    before = space.sample(generator)
    after = space.mutate(before, generator)
    space.validate(after)
    assert sum(one != other for one, other in zip(space.index(before), space.index(after), strict=True)) == 1


def test_mutations_reach_every_neighbour() -> None:
    start = next(SMALL.enumerate())
    generator = random.Random(0)
    reached = {SMALL.mutate(start, generator) for _ in range(500)}
    assert len(reached) == sum(len(node.choices) - 1 for node in SMALL.nodes)


def test_a_space_of_one_architecture_has_nothing_to_mutate() -> None:
    architecture = next(SMALL.enumerate())
    with pytest.raises(UserError, match="nothing to mutate"):
        SMALL.restrict(architecture).mutate(architecture, random.Random(0))


@given(space_and_seed)
def test_restricting_leaves_one_architecture(drawn: tuple[SearchSpace, int]) -> None:
    space, seed = drawn
    architecture = space.sample(random.Random(seed))
    assert list(space.restrict(architecture).enumerate()) == [architecture]


def test_another_spaces_architectures_are_refused() -> None:
    first, last = Choice("mlp", ("image@0", "audio@0")), Choice("mlp", ("image@1", "audio@0"))
    turned = Choice("mlp", ("audio@0", "image@0"))
    apart = (Step("fusion0", "mlp", first.inputs), Step("fusion1", "mlp", ("fusion0", "image@1")))
    for wrong, message in (
        (Architecture.chain("other", [("fusion0", first)]), "is of space 'other', expected 'layerwise'"),
        (
            Architecture.chain("layerwise", [("fusion7", first)]),
            r"has steps \['fusion7'\], expected some of \['fusion0'",
        ),
        (Architecture.chain("layerwise", [("fusion1", last), ("fusion0", first)]), "has no architecture"),
        (Architecture.chain("layerwise", [("fusion0", turned)]), "'fusion0' does not offer 'mlp__"),
        (Architecture("layerwise", apart, "fusion1"), "'fusion1' does not offer 'mlp__fusion0__image_1'"),
        (
            Architecture("layerwise", (replace(apart[0], add_to=None),), "fusion0", (("cells", 2),)),
            "has no architecture",
        ),
    ):
        with pytest.raises(UserError, match=message):
            SMALL.validate(wrong)
        with pytest.raises(UserError, match=message):
            SMALL.restrict(wrong)


def test_the_graph_has_the_edges_worked_by_hand() -> None:
    assert set(SMALL.graph().edges.data("kind")) == {
        ("image@0", "image@1", "encoder"),
        ("image@0", "fusion0", "tap"),
        ("audio@0", "fusion0", "tap"),
        ("image@1", "fusion1", "tap"),
        ("audio@0", "fusion1", "tap"),
        ("fusion0", "fusion1", "residual"),
        ("fusion1", OUTPUT, "head"),
    }
    assert dict(SMALL.graph().nodes.data("kind")) == {
        "image@0": "tap",
        "image@1": "tap",
        "audio@0": "tap",
        "fusion0": "fusion",
        "fusion1": "fusion",
        OUTPUT: "output",
    }


@pytest.mark.parametrize("space", [*SPACES, NESTED], ids=lambda space: f"{space.depths}")
def test_the_graph_has_no_cycle_and_every_node_leads_to_the_output(space: SearchSpace) -> None:
    graph = space.graph()
    assert nx.is_directed_acyclic_graph(graph)
    assert nx.ancestors(graph, OUTPUT) >= {node.name for node in space.nodes}
    order = list(nx.lexicographical_topological_sort(graph))
    names = [name for name in order if graph.nodes[name]["kind"] == "fusion"]
    assert names == [node.name for node in space.nodes]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((), "needs at least one fusion node"),
        ((FusionNode("a", ()),), "'a' needs choices, each listed once"),
        ((FusionNode("a", (Choice("none"), Choice("none"))),), "'a' needs choices, each listed once"),
        ((FusionNode("a", (Choice("nothing"),)),), "unknown operation 'nothing'"),
        ((FusionNode("a", (Choice("carry", ("image@2",)),)),), r"'a' reads \['image@2'\]"),
        ((FusionNode("a", (Choice("carry", ("a",)),)),), r"'a' reads \['a'\]"),
        ((FusionNode("a", (Choice("none"),), residual="b"), FusionNode("b", (Choice("none"),))), r"reads \['b'\]"),
        ((FusionNode("a", (Choice("none"),)), FusionNode("a", (Choice("none"),))), "'a' is taken twice"),
    ],
)
def test_an_unsound_space_is_refused(nodes: tuple[FusionNode, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SearchSpace("unsound", {"image": 2, "audio": 2}, nodes, OPERATIONS)


@pytest.mark.parametrize(
    ("first", "second", "order"),
    [
        (Choice("none"), Choice("none"), 0),
        (Choice("carry", ("image@0",)), Choice("none"), 0),
        (Choice("carry", ("image@0",)), Choice("carry", ("image@1",)), 0),
        (Choice("carry", ("image@0",)), Choice("carry", ("audio@0",)), 1),  # two carried modalities are added up
        (Choice("none"), Choice("additive", ("image@1", "audio@0")), 1),
        (Choice("multiplicative", ("image@0", "audio@0")), Choice("carry", ("image@1",)), 2),
        (Choice("multiplicative", ("image@0", "audio@0")), Choice("mlp", ("image@1", "audio@0")), 3),
    ],
)
def test_interaction_order_is_that_of_the_strongest_choice(first: Choice, second: Choice, order: int) -> None:
    space = layerwise({"image": 2, "audio": 1})
    architecture = Architecture.chain("layerwise", (("fusion0", first), ("fusion1", second)))
    space.validate(architecture)
    assert space.interaction_order(architecture) == order


@pytest.mark.parametrize(
    ("steps", "orders"),
    [
        ([Step("a", "mlp_block", ("image@0",)), Step("b", "carry", ("a",))], (0, 0)),
        ([Step("a", "multiplicative", ("image@0", "image@1")), Step("b", "mlp", ("a", "image@0"))], (0, 0)),
        ([Step("a", "additive", ("image@0", "audio@0")), Step("b", "mlp_block", ("a",))], (1, 3)),
        ([Step("a", "additive", ("image@0", "audio@0")), Step("b", "carry", ("a",))], (1, 0)),
        ([Step("a", "mlp_block", ("image@0",)), Step("b", "mlp_block", ("audio@0",), add_to="a")], (0, 0)),
        ([Step("a", "carry", ("image@0",)), Step("b", "multiplicative", ("a", "audio@0"))], (0, 2)),
        (
            [
                Step("a", "carry", ("image@0",)),
                Step("b", "carry", ("audio@0",), add_to="a"),
                Step("c", "attention_block", ("b",)),
            ],
            (0, 0, 3),
        ),
    ],
)
def test_a_step_interacts_if_its_inputs_hold_several_modalities(steps: list[Step], orders: tuple[int, ...]) -> None:
    architecture = Architecture("by_hand", tuple(steps), steps[-1].name)
    space = SearchSpace.of(architecture, {"image": 2, "audio": 1}, OPERATIONS)
    assert tuple(space.step_orders(architecture).values()) == orders
    expected = max(1, *orders) if len(architecture.modalities()) > 1 else 0
    assert space.interaction_order(architecture) == expected


def test_spaces_are_found_by_name() -> None:
    assert "layerwise" in space_names()
    assert find_space("layerwise") is layerwise
    with pytest.raises(UserError, match="unknown space 'layerwize'; did you mean 'layerwise'"):
        find_space("layerwize")
