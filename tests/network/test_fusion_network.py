"""The executor: with the same weights a one-hot supernet *is* the derived network; a path runs what it names only."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.data.batches import Batch
from nas.data.fusion_data import FusionData
from nas.network.fusion_network import Adapter, FusionNetwork, Head, StraightThrough, add_states
from nas.space.architecture import Architecture, Choice
from nas.space.search_space import SearchSpace
from search_spaces import DEFAULT_OPERATIONS, layerwise
from tests.helpers import NESTED, counted_calls, run_node, tiny_batch, tiny_data, tiny_network
from tests.spaces import FORMS, as_index, as_mixing_vector, derive, one_hot

ROUNDING = 1e-12
"""Of float64: products with 0 and 1 are exact, sums over time may be taken in another order."""

SPACE = layerwise({"image": 2, "audio": 2})
DATA = tiny_data({"image": "vector", "audio": "sequence"})  # audio's taps have 5 and 3 steps, image's have one

THREE = layerwise({"image": 3, "audio": 2, "words": 2})
THREE_DATA = tiny_data({"image": "map", "audio": "sequence", "words": "tokens"})


@pytest.fixture(scope="module")
def supernet() -> FusionNetwork:
    return tiny_network(SPACE, DATA).double()


@pytest.fixture(scope="module")
def supernet_of_three() -> FusionNetwork:
    return tiny_network(THREE, THREE_DATA).double()


def assert_equals_derived(
    supernet: FusionNetwork, data: FusionData, architecture: Architecture, form: str, batch: Batch
) -> None:
    selection = FORMS[form](supernet.space, supernet.space.index(architecture), len(batch))
    mixed = supernet(batch.inputs, batch.present, selection)
    derived = derive(supernet, data, architecture)(batch.inputs, batch.present)
    if form == "index":
        assert torch.equal(mixed, derived)
    else:
        torch.testing.assert_close(mixed, derived, rtol=0, atol=ROUNDING)


def architectures_with(space: SearchSpace, operation: str) -> Iterator[Architecture]:
    """Every choice of the operation at every node, with anything at the other nodes."""
    generator = random.Random(0)
    for node in space.nodes:
        for choice in node.choices:
            if choice.operation == operation:
                sampled = space.choices(space.sample(generator))
                yield space.compose({**sampled, node.name: choice})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("operation", ["none", "carry", *DEFAULT_OPERATIONS])
def test_a_one_hot_supernet_is_the_derived_network(supernet: FusionNetwork, operation: str, form: str) -> None:
    batch = tiny_batch(DATA)
    architectures = list(architectures_with(SPACE, operation))
    assert architectures
    for architecture in architectures:
        assert_equals_derived(supernet, DATA, architecture, form, batch)


@given(st.integers(0, 2**32), st.sampled_from(sorted(FORMS)))
def test_a_one_hot_supernet_of_three_is_the_derived_network(
    supernet_of_three: FusionNetwork, seed: int, form: str
) -> None:
    architecture = THREE.sample(random.Random(seed))
    assert_equals_derived(supernet_of_three, THREE_DATA, architecture, form, tiny_batch(THREE_DATA))


def test_different_architectures_differ(supernet: FusionNetwork) -> None:
    """Or else the equalities above would say nothing."""
    batch = tiny_batch(DATA)
    node = SPACE.nodes[1]
    outputs = [supernet(batch.inputs, None, {"fusion0": 0, "fusion1": index}) for index in range(len(node.choices))]
    for i, one in enumerate(outputs):
        assert all((one - other).abs().max() > 1e-3 for other in outputs[:i])


def test_every_sample_may_have_its_own_choices(supernet: FusionNetwork) -> None:
    batch = tiny_batch(DATA)
    generator = random.Random(0)
    architectures = [SPACE.sample(generator) for _ in range(len(batch))]
    weights = [one_hot(SPACE, SPACE.index(architecture)) for architecture in architectures]
    selection = {node.name: torch.stack([weight[node.name] for weight in weights]) for node in SPACE.nodes}
    mixed = supernet(batch.inputs, None, selection)
    for i, architecture in enumerate(architectures):
        alone = derive(supernet, DATA, architecture)(batch.take(slice(i, i + 1)).inputs)
        torch.testing.assert_close(mixed[i : i + 1], alone, rtol=0, atol=ROUNDING)


def test_mixing_weights_weigh_the_outputs_of_the_choices(supernet: FusionNetwork) -> None:
    batch = tiny_batch(DATA)
    node = SPACE.nodes[0]
    weights = torch.rand(len(node.choices), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    taps = supernet.taps(batch.inputs, [*node.sources])
    mixed = run_node(supernet, node, taps, weights)
    assert mixed is not None
    # In the mean over time, which is all that choices of unequal length keep when they are added up.
    expected = torch.zeros(len(batch), 4, dtype=torch.float64)
    for weight, choice in zip(weights, node.choices, strict=True):
        if choice.inputs:
            operation = supernet.operation(node.name, choice.key)
            expected += weight * operation([taps[name] for name in choice.inputs]).mean(dim=1)
    torch.testing.assert_close(mixed.mean(dim=1), expected, rtol=0, atol=ROUNDING)


def names_run(calls: dict[str, int], part: str, depth: int) -> set[tuple[str, ...]]:
    """The submodules of a part of the network that were called, by the first few steps of their paths."""
    return {tuple(name.split(".")[1 : 1 + depth]) for name in calls if name.startswith(f"{part}.")}


@pytest.mark.parametrize("form", ["index", "straight through", "derived"])
@pytest.mark.parametrize("seed", range(12))
def test_a_path_runs_its_own_parts_only(supernet_of_three: FusionNetwork, seed: int, form: str) -> None:
    architecture = THREE.sample(random.Random(seed))
    batch = tiny_batch(THREE_DATA)
    network = derive(supernet_of_three, THREE_DATA, architecture) if form == "derived" else supernet_of_three
    selection = None if form == "derived" else FORMS[form](THREE, THREE.index(architecture), len(batch))
    with counted_calls(network) as calls:
        network(batch.inputs, None, selection)
    # Attention shares its projections: they run once per modality.
    assert all(count == 1 for name, count in calls.items() if not name.startswith("nodes."))
    assert names_run(calls, "nodes", 2) == {(step.name, step.choice.key) for step in architecture.steps}
    assert names_run(calls, "adapters", 1) == {(tap.replace("@", "_"),) for tap in architecture.taps()}
    layers = {
        (modality, "stages", str(layer))
        for modality, deepest in architecture.deepest().items()
        # The first tap of tokens is their embedding, before any stage.
        for layer in range(deepest if modality == "words" else deepest + 1)
    }
    assert {name for name in names_run(calls, "encoders", 3) if name[1] == "stages"} == layers
    assert {name[0] for name in names_run(calls, "encoders", 1)} == set(architecture.modalities())


def test_mixing_runs_every_operation_once(supernet: FusionNetwork) -> None:
    batch = tiny_batch(DATA)
    with counted_calls(supernet) as calls:
        supernet(batch.inputs, None, as_mixing_vector(SPACE, (0, 0), len(batch)))
    assert names_run(calls, "nodes", 2) == {(n.name, c.key) for n in SPACE.nodes for c in n.choices if c.inputs}


@pytest.mark.parametrize("seed", range(5))
def test_a_derived_network_has_the_supernets_names_and_no_more_than_it_needs(
    supernet_of_three: FusionNetwork, seed: int
) -> None:
    architecture = THREE.sample(random.Random(seed))
    derived = tiny_network(THREE.restrict(architecture), THREE_DATA)
    whole = dict(supernet_of_three.named_parameters())
    parts = dict(derived.named_parameters())
    assert set(parts) < set(whole)
    assert all(parameter.shape == whole[name].shape for name, parameter in parts.items())
    assert set(derived.encoders) == set(architecture.modalities())
    assert set(derived.adapters) == {tap.replace("@", "_") for tap in architecture.taps()}


def test_modalities_that_are_not_read_may_be_left_out(supernet: FusionNetwork) -> None:
    batch = tiny_batch(DATA)
    index = SPACE.nodes[1].choices.index(Choice("carry", ("audio@1",)))
    selection = {"fusion0": 0, "fusion1": index}
    audio_alone = {"audio": batch.inputs["audio"]}
    assert torch.equal(supernet(audio_alone, None, selection), supernet(batch.inputs, None, selection))


def test_an_array_may_stand_for_itself(supernet: FusionNetwork) -> None:
    batch = tiny_batch(DATA)
    selection = {"fusion0": 0, "fusion1": 1}
    plain = {name: arrays[0] for name, arrays in batch.inputs.items()}
    assert torch.equal(supernet(plain, None, selection), supernet(batch.inputs, None, selection))


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_does_not_see_its_batch_mates(supernet_of_three: FusionNetwork, seed: int) -> None:
    batch = tiny_batch(THREE_DATA)
    selection = as_index(THREE, THREE.index(THREE.sample(random.Random(seed))), len(batch))
    whole = supernet_of_three(batch.inputs, None, selection)
    alone = supernet_of_three(batch.take(slice(3, 4)).inputs, None, selection)
    torch.testing.assert_close(whole[3:4], alone, rtol=0, atol=ROUNDING)


def test_an_absent_modality_has_taps_of_zero(supernet: FusionNetwork) -> None:
    batch = tiny_batch(DATA)
    present = {"audio": torch.arange(len(batch)) % 2 == 0}
    taps = supernet.taps(batch.inputs, ["image@0", "audio@0", "audio@1"], present)
    everything = supernet.taps(batch.inputs, ["image@0", "audio@0", "audio@1"])
    for name in ("audio@0", "audio@1"):
        assert (taps[name][1::2] == 0).all()
        assert torch.equal(taps[name][::2], everything[name][::2])
        assert (everything[name][1::2] != 0).any()
    assert torch.equal(taps["image@0"], everything["image@0"])


@pytest.mark.parametrize("seed", range(5))
def test_values_of_an_absent_modality_are_not_read(supernet: FusionNetwork, seed: int) -> None:
    batch = tiny_batch(DATA)
    selection = as_index(SPACE, SPACE.index(SPACE.sample(random.Random(seed))), len(batch))
    absent = {"audio": torch.zeros(len(batch), dtype=torch.bool)}
    changed = {**batch.inputs, "audio": tuple(array + 5 for array in batch.inputs["audio"])}
    here, there = (supernet(inputs, absent, selection) for inputs in (batch.inputs, changed))
    assert torch.equal(here, there)


def test_an_architecture_that_reads_nothing_answers_with_the_heads_bias() -> None:
    data = tiny_data({"image": "vector", "audio": "sequence"}, task="regression")
    network = tiny_network(SPACE.restrict(SPACE.at((0, 0))), data)
    batch = tiny_batch(data)
    with torch.no_grad():
        network.head.linear.bias.copy_(torch.tensor([1.0, -2.0]))
    # The head of a regression scales and shifts to the deviation and mean of the targets of the weights split.
    targets = batch.targets
    expected = torch.tensor([1.0, -2.0]) * targets.std(dim=0) + targets.mean(dim=0)
    outputs = network(batch.inputs)
    assert outputs.shape == (len(batch), 2)
    torch.testing.assert_close(outputs, expected.expand(len(batch), -1))
    assert not list(network.encoders.parameters())


@pytest.mark.parametrize("chosen", [0, 3])
def test_choices_that_do_not_run_still_have_a_gradient_under_straight_through(
    supernet: FusionNetwork, chosen: int
) -> None:
    batch = tiny_batch(DATA)
    weights = {node.name: torch.zeros(len(node.choices), dtype=torch.float64) for node in SPACE.nodes}
    for weight in weights.values():
        weight[chosen] = 1
        weight.requires_grad_()
    outputs = supernet(batch.inputs, None, {name: StraightThrough(chosen, weight) for name, weight in weights.items()})
    outputs[:, 0].sum().backward()
    # They enter as a number of value zero, added to all channels: each has the gradient batch · Σ head weights.
    slope = float(supernet.head.linear.weight[0].sum().detach()) * len(batch)
    for weight in weights.values():
        assert weight.grad is not None
        others = [value for i, value in enumerate(weight.grad.tolist()) if i != chosen]
        assert others == pytest.approx([slope] * len(others), abs=ROUNDING)
        assert (weight.grad[chosen] == 0) == (chosen == 0)  # nothing has no output to weigh


def test_needed_taps_are_those_that_a_selection_reads(supernet: FusionNetwork) -> None:
    first = SPACE.nodes[0].choices.index(Choice("carry", ("audio@0",)))
    second = SPACE.nodes[1].choices.index(Choice("modality_shift", ("audio@1", "image@1")))
    assert supernet.needed_taps({"fusion0": 0, "fusion1": 0}) == []
    assert supernet.needed_taps({"fusion0": first, "fusion1": second}) == ["audio@0", "audio@1", "image@1"]
    chosen = StraightThrough(first, torch.zeros(16))
    assert supernet.needed_taps({"fusion0": chosen, "fusion1": 0}) == ["audio@0"]
    assert set(supernet.needed_taps({"fusion0": torch.zeros(16), "fusion1": 0})) == {"image@0", "audio@0"}


def test_inputs_of_a_choice_keep_their_order(supernet: FusionNetwork) -> None:
    batch = tiny_batch(DATA)
    node = SPACE.nodes[0]
    choice = Choice("modality_shift", ("audio@0", "image@0"))
    taps = supernet.taps(batch.inputs, ["image@0", "audio@0"])
    output = run_node(supernet, node, taps, node.choices.index(choice))
    assert output is not None
    operation = supernet.operation("fusion0", choice.key)
    assert torch.equal(output, operation([taps["audio@0"], taps["image@0"]]))
    assert not torch.allclose(output, operation([taps["image@0"], taps["audio@0"]]))


def test_a_node_may_read_an_earlier_one_and_add_to_it() -> None:
    network = tiny_network(NESTED, DATA)
    batch = tiny_batch(DATA)
    taps = network.taps(batch.inputs, ["image@0", "audio@0", "audio@1"])
    first = network.operation("first", NESTED.nodes[0].choices[1].key)([taps["image@0"], taps["audio@0"]])
    second = network.operation("second", NESTED.nodes[1].choices[1].key)([first, taps["audio@1"]])
    outputs = network(batch.inputs, None, {"first": 1, "second": 1})
    torch.testing.assert_close(outputs, network.head(first + second))
    carried = network(batch.inputs, None, {"first": 1, "second": 0})
    torch.testing.assert_close(carried, network.head(2 * first))


def test_a_node_that_reads_nothing_through_another_is_nothing_itself() -> None:
    network = tiny_network(NESTED, DATA)
    batch = tiny_batch(DATA)
    for second in (0, 1):
        outputs = network(batch.inputs, None, {"first": 0, "second": second})
        assert torch.equal(outputs, network.head.linear.bias.expand(len(batch), -1))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("index", [(0, 0), (1, 0), (1, 1)])
def test_a_one_hot_supernet_whose_nodes_read_nodes_is_the_derived_network(index: tuple[int, int], form: str) -> None:
    supernet = tiny_network(NESTED, DATA).double()
    assert_equals_derived(supernet, DATA, NESTED.at(index), form, tiny_batch(DATA))


@pytest.mark.parametrize("form", FORMS)
def test_an_operation_that_reads_a_node_mixed_to_nothing_does_not_count(form: str) -> None:
    supernet, batch = tiny_network(NESTED, DATA).double(), tiny_batch(DATA)
    outputs = supernet(batch.inputs, None, FORMS[form](NESTED, (0, 1), len(batch)))
    torch.testing.assert_close(outputs, supernet.head.linear.bias.expand(len(batch), -1), rtol=0, atol=ROUNDING)


def test_states_are_added() -> None:
    one, other = torch.tensor([[[1.0], [3.0]]]), torch.tensor([[[10.0], [20.0]]])
    assert add_states(None, None) is None
    assert add_states(one, None) is one
    assert add_states(None, one) is one
    summed = add_states(one, other)
    assert summed is not None
    assert summed.tolist() == [[[11], [23]]]


def test_states_of_unequal_length_are_averaged_over_time_first() -> None:
    two, three = torch.tensor([[[1.0], [3.0]]]), torch.tensor([[[10.0], [20.0], [60.0]]])
    for one, other in ((two, three), (three, two)):
        summed = add_states(one, other)
        assert summed is not None
        assert summed.tolist() == [[[2 + 30]]]


def test_the_adapter_is_gelu_of_a_linear_map() -> None:
    adapter = Adapter(2, 2, 0.5)
    with torch.no_grad():
        adapter.linear.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        adapter.linear.bias.copy_(torch.tensor([0.0, -1.0]))
    # GELU(x) = x Φ(x) at 1 and at 2 · 1 − 1 = 1.
    expected = [NormalDist().cdf(1)] * 2
    assert adapter.eval()(torch.ones(1, 1, 2)).flatten().tolist() == pytest.approx(expected, rel=1e-6)
    torch.manual_seed(0)
    dropped = adapter.train()(torch.ones(1, 1000, 2))
    # In training half are dropped: of 2000 values the share lies within five deviations, 5 · √(1/4 / 2000) < 0.06.
    assert math.isclose(float((dropped == 0).float().mean()), 0.5, abs_tol=0.06)


def test_the_head_averages_over_time_scales_and_shifts() -> None:
    head = Head(2, 1, shift=torch.tensor([100.0]), scale=torch.tensor([10.0]))
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0, 2.0]]))
        head.linear.bias.copy_(torch.tensor([0.5]))
    # Means over time 2 and 3: (2 + 2 · 3 + 0.5) · 10 + 100.
    assert head(torch.tensor([[[1.0, 3.0], [3.0, 3.0]]])).tolist() == [[185]]


def test_regression_heads_know_the_targets_of_the_weights_split_alone() -> None:
    targets = np.arange(20, dtype=np.float32)[:, None]
    arrays = {name: np.random.default_rng(i).normal(size=(20, 2)) for i, name in enumerate(("image", "audio"))}
    splits = {"weights": [0, 1, 2, 3], "architecture": range(4, 12), "test": range(12, 20)}
    data = FusionData.from_arrays(arrays, targets, task="regression", splits=splits)
    head = tiny_network(SPACE, data).head
    # 0, 1, 2, 3 have mean 1.5 and deviation √(5/3).
    assert head.shift.tolist() == [1.5]
    assert head.scale.tolist() == pytest.approx([math.sqrt(5 / 3)])
