"""Scores of paths: from the table of contributions as from running the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas.data.batches import Batch
from nas.data.fusion_data import FusionData
from nas.metrics import sample_losses
from nas.network.fusion_network import FusionNetwork
from nas.space.search_space import SearchSpace
from nas.supernet.path_scorer import PathScorer, paired_z
from nas.tasks import TASKS, Task
from search_spaces import layerwise
from tests.helpers import CPU, NESTED, counted_calls, tiny_batch, tiny_data, tiny_network

_SPACE = layerwise({"image": 2, "audio": 2}, operations=["additive", "mlp", "cross_attention"])
"""36 architectures over a vector and a sequence."""


def data_of(task: Task = "classification") -> FusionData:
    return tiny_data({"image": "vector", "audio": "sequence"}, task=task, present={"audio": np.arange(30) % 3 != 0})


def by_hand(network: FusionNetwork, task: Task, batch: Batch) -> torch.Tensor:
    """Losses of every architecture, each from a run of the whole network, sample by sample."""
    losses = []
    with torch.no_grad():
        for architecture in network.space.enumerate():
            outputs = network(batch.inputs, batch.present, network.space.path(architecture))
            losses.append(sample_losses(task, outputs, batch.targets, network.head.scale))
    return torch.stack(losses)


def indices_of(space: SearchSpace) -> list[tuple[int, ...]]:
    return [space.index(architecture) for architecture in space.enumerate()]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("space", [_SPACE, NESTED], ids=["flat", "nested"])
def test_every_architecture_is_scored_as_if_the_network_was_run(space: SearchSpace, task: Task) -> None:
    data = data_of(task)
    network = tiny_network(space, data)
    batch = tiny_batch(data, "architecture")
    scorer = PathScorer(network, task, batch, CPU)
    losses = scorer.losses(indices_of(space))
    expected = by_hand(network, task, batch)
    # The same float32 numbers, summed in another order.
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)
    assert losses.std(dim=0).min() > 1e-4  # the architectures do differ
    first = next(iter(space.enumerate()))
    assert scorer.loss(first) == pytest.approx(float(expected[0].mean()), rel=1e-4)


def test_only_nodes_that_read_taps_alone_and_add_up_make_a_flat_space() -> None:
    assert _SPACE.is_sum()
    assert not NESTED.is_sum()


def test_with_a_table_no_architecture_runs_the_network_again() -> None:
    data = data_of()
    network = tiny_network(_SPACE, data)
    scorer = PathScorer(network, "classification", tiny_batch(data, "architecture"), CPU)
    with counted_calls(network) as calls:
        scorer.losses(indices_of(_SPACE))
    assert not calls


def test_many_architectures_are_scored_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of()
    scorer = PathScorer(tiny_network(_SPACE, data), "classification", tiny_batch(data, "architecture"), CPU)
    whole = scorer.losses(indices_of(_SPACE))
    # Seven architectures of six samples and classes.
    monkeypatch.setattr("nas.supernet.path_scorer._CHUNK_ELEMENTS", 7 * 6 * 3)
    assert torch.equal(scorer.losses(indices_of(_SPACE)), whole)


def test_of_many_samples_a_fixed_subset_is_read() -> None:
    data = data_of()
    network, batch = tiny_network(_SPACE, data), tiny_batch(data, "weights")
    whole = PathScorer(network, "classification", batch, CPU).losses([(1, 2)])[0]
    some = PathScorer(network, "classification", batch, CPU, max_samples=7).losses([(1, 2)])[0]
    assert len(some) == 7 < len(whole)
    assert all(any(torch.isclose(one, other, atol=1e-6) for other in whole) for one in some)
    again = PathScorer(network, "classification", batch, CPU, max_samples=7).losses([(1, 2)])[0]
    assert torch.equal(some, again)


def test_a_network_in_training_is_scored_in_evaluation_mode() -> None:
    data = data_of()
    network = tiny_network(_SPACE, data).train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    scorer = PathScorer(network, "classification", tiny_batch(data, "architecture"), CPU)
    assert torch.equal(scorer.losses([(3, 3)]), scorer.losses([(3, 3)]))  # no dropout
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_paired_z_of_a_known_case() -> None:
    best = torch.tensor([1.0, 2.0, 3.0, 4.0])
    other = torch.tensor([2.0, 2.0, 4.0, 4.0])
    # Differences 1, 0, 1, 0: mean 1/2, deviation sqrt(4 · 1/4 / 3), standard error sqrt(1/3) / 2, z = sqrt(3).
    assert paired_z(torch.stack([best, other]), best).tolist() == pytest.approx([0, 3**0.5])


def test_paired_z_looks_at_differences_and_not_at_the_spread_of_losses() -> None:
    best = torch.randn(400, generator=torch.Generator().manual_seed(0)) * 100
    slightly = best + 0.1 + 0.1 * torch.randn(400, generator=torch.Generator().manual_seed(1))
    # 0.1 with a standard error of 0.1 / 20, whatever the losses themselves do; 5 % is how well 400 samples tell it.
    assert float(paired_z(slightly[None], best)) == pytest.approx(20, rel=0.1)
