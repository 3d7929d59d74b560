"""Costs: the table's sums are what a counter sees in the derived network."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
import torch
from torch import nn

from nas.data.batches import Batch
from nas.data.fusion_data import FusionData
from nas.network.cost import CostTable, multiply_adds, num_parameters
from nas.network.fusion_network import Inputs
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from search_spaces import layerwise
from tests.helpers import NESTED, tiny_batch, tiny_data, tiny_network

SPACE = layerwise({"image": 3, "audio": 3, "words": 2, "ready": 3})


@pytest.fixture(scope="module")
def data() -> FusionData:
    """Maps (time 1), a sequence (5, 3 and 2 steps), tokens (6 steps) and ready features (a vector, 5 steps, a map)."""
    return tiny_data({"image": "map", "audio": "sequence", "words": "tokens", "ready": "features"})


@pytest.fixture(scope="module")
def sample(data: FusionData) -> Batch:
    return tiny_batch(data).take(slice(0, 1))


@pytest.fixture(scope="module")
def table(data: FusionData, sample: Batch) -> CostTable:
    return CostTable.measure(tiny_network(SPACE, data), sample.inputs)


def counted(space: SearchSpace, data: FusionData, sample: Batch, architecture: Architecture) -> int:
    return multiply_adds(tiny_network(space.only(architecture), data), sample.inputs)


@pytest.mark.parametrize("seed", range(40))
def test_the_total_is_what_the_derived_network_costs(
    data: FusionData, sample: Batch, table: CostTable, seed: int
) -> None:
    architecture = SPACE.sample(random.Random(seed))
    assert table.total(architecture) == counted(SPACE, data, sample, architecture)


def test_the_totals_of_all_references_are_what_they_cost(data: FusionData, sample: Batch, table: CostTable) -> None:
    for reference in SPACE.references:
        architecture = reference.architecture
        assert table.total(architecture) == counted(SPACE, data, sample, architecture), reference.name


def test_vectors_of_unequal_depth_cost_what_is_counted() -> None:
    space, data = layerwise({"a": 3, "b": 1}), tiny_data({"a": "vector", "b": "vector"})
    sample = tiny_batch(data).take(slice(0, 1))
    table = CostTable.measure(tiny_network(space, data), sample.inputs)
    for seed in range(10):
        architecture = space.sample(random.Random(seed))
        assert table.total(architecture) == counted(space, data, sample, architecture)


def test_late_fusion_of_two_vectors_costs_what_is_worked_by_hand() -> None:
    space, data = layerwise({"a": 2, "b": 2}), tiny_data({"a": "vector", "b": "vector"})
    sample = tiny_batch(data).take(slice(0, 1))
    late = next(r.architecture for r in space.references if r.kind == "late")
    # Each encoder 3 → 5 → 6, each adapter 6 → 4, two square maps of 4 channels, the head 4 → 3 classes.
    expected = 2 * (3 * 5 + 5 * 6) + 2 * 6 * 4 + 2 * 4 * 4 + 4 * 3
    assert CostTable.measure(tiny_network(space, data), sample.inputs).total(late) == expected
    # Weights and biases of the same, two numbers per channel for BatchNorm, and one bias for the additive node.
    parameters = 2 * (3 * 5 + 5 + 10 + 5 * 6 + 6 + 12) + 2 * (6 * 4 + 4) + (2 * 16 + 4) + (4 * 3 + 3)
    assert num_parameters(tiny_network(space.restrict(late), data)) == parameters


def test_nothing_costs_the_head_alone(data: FusionData, sample: Batch, table: CostTable) -> None:
    nothing = SPACE.at((0, 0, 0))
    assert table.total(nothing) == table.head == 4 * 3 == counted(SPACE, data, sample, nothing)


def test_reading_early_costs_fewer_encoder_layers(table: CostTable) -> None:
    for modality in ("image", "audio", "words"):
        depths = [table.encoders[f"{modality}@{depth}"] for depth in range(SPACE.depths[modality])]
        assert depths == sorted(set(depths))
    assert all(table.encoders[f"ready@{depth}"] == 0 for depth in range(3))


def test_an_operation_that_reads_nothing_through_another_node_costs_nothing() -> None:
    data = tiny_data({"image": "vector", "audio": "vector"})
    sample = tiny_batch(data).take(slice(0, 1))
    architecture = NESTED.at((0, 1))
    table = CostTable.measure(tiny_network(NESTED, data), sample.inputs)
    assert table.total(architecture) == counted(NESTED, data, sample, architecture)


class Known(nn.Module):
    """A convolution of 2 → 3 channels with kernel 5 over 7 steps, then a map of 3 → 4."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(2, 3, 5, padding=2)
        self.map = nn.Linear(3, 4)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        output: torch.Tensor = self.map(self.convolution(inputs["x"][0]).transpose(1, 2))
        return output


@pytest.mark.parametrize("batch", [1, 3])
def test_multiply_adds_of_known_layers(batch: int) -> None:
    inputs: Mapping[str, tuple[torch.Tensor, ...]] = {"x": (torch.zeros(batch, 2, 7),)}
    assert multiply_adds(Known(), inputs) == batch * (7 * 3 * 2 * 5 + 7 * 3 * 4)


def test_counting_works_under_no_grad_and_leaves_the_mode_as_it_was() -> None:
    space, data = layerwise({"a": 1, "b": 1}, operations=["bottleneck"]), tiny_data({"a": "vector", "b": "vector"})
    sample = tiny_batch(data).take(slice(0, 1))
    architecture = space.at((3,))
    network = tiny_network(space.restrict(architecture), data)
    table = CostTable.measure(network, sample.inputs)
    for training in (True, False):
        network.train(training)
        with torch.no_grad():  # where the counter alone would stumble over the tokens, a view of a parameter
            assert multiply_adds(network, sample.inputs) == table.total(architecture)
            assert CostTable.measure(network, sample.inputs) == table
        assert all(module.training == training for module in network.modules())


def test_frozen_parameters_are_counted_too() -> None:
    network = Known()
    assert num_parameters(network) == (2 * 3 * 5 + 3) + (3 * 4 + 4)
    network.convolution.requires_grad_(False)
    assert num_parameters(network) == 49
