"""EMAP against all recombinations run one by one, and on networks that are additive."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nas.data.batches import Batch
from nas.data.fusion_data import Kind
from nas.diagnostics import Recombined, emap
from nas.diagnostics.additive_fit import additive_fit
from nas.diagnostics.emap import _plan
from nas.network.fusion_network import FusionNetwork
from nas.space.architecture import Architecture, Choice
from nas.space.search_space import SearchSpace
from search_spaces import layerwise
from tests.diagnostics.test_contribution import MadeUp
from tests.diagnostics.test_contribution import numbers as made_up_numbers
from tests.helpers import CPU, tiny_batch, tiny_data, tiny_network

KINDS: dict[str, Kind] = {"image": "map", "words": "tokens", "audio": "sequence"}


def network_of(choices: Sequence[Choice], modalities: int) -> tuple[FusionNetwork, Batch, SearchSpace]:
    """A network of the layerwise space with these choices at its two nodes, and samples."""
    kinds = dict(list(KINDS.items())[:modalities])
    data = tiny_data(kinds, count=33)
    space = layerwise(dict.fromkeys(kinds, 2))
    found = Architecture.chain("layerwise", tuple((f"fusion{depth}", choice) for depth, choice in enumerate(choices)))
    return tiny_network(space.restrict(found), data), tiny_batch(data), space


def by_hand(network: FusionNetwork, batch: Batch, modalities: Sequence[str]) -> NDArray[np.float64]:
    """The projection from whole forward passes of every recombination, one at a time."""
    count = len(batch)
    grid = np.zeros((*[count] * len(modalities), 3))
    with torch.no_grad():
        for rows in itertools.product(range(count), repeat=len(modalities)):
            inputs = {
                name: tuple(a[row : row + 1] for a in batch.inputs[name])
                for name, row in zip(modalities, rows, strict=True)
            }
            grid[rows] = network(inputs)[0].numpy()
    axes = range(len(modalities))
    marginals = [grid.mean(axis=tuple(other for other in axes if other != axis)) for axis in axes]
    projected: NDArray[np.float64] = sum(marginals) - (len(modalities) - 1) * grid.mean(axis=tuple(axes))
    return projected


NOTHING = Choice("none")
TWO = ("image@1", "words@1")
THREE = ("image@0", "words@0", "audio@0")


@pytest.mark.parametrize(
    ("choices", "modalities"),
    [
        ((NOTHING, Choice("mlp", TWO)), 2),
        ((Choice("multiplicative", ("image@0", "words@0")), Choice("cross_attention", TWO)), 2),
        ((Choice("mlp", THREE), Choice("multiplicative", TWO)), 3),
    ],
)
def test_it_is_what_all_recombinations_run_one_by_one_give(choices: Sequence[Choice], modalities: int) -> None:
    network, batch, _ = network_of(choices, modalities)
    batch = batch.take(slice(0, 7))
    found = emap(Recombined.of(network, batch, CPU))
    assert found.grid == 7**modalities
    assert np.abs(found.projected - by_hand(network, batch, list(KINDS)[:modalities])).max() < 1e-6
    assert np.abs(found.projected - found.outputs).max() > 2e-5  # they do interact
    with torch.no_grad():
        assert np.abs(found.outputs - network(batch.inputs).numpy()).max() < 1e-6


@pytest.mark.parametrize("max_grid", [250_000, 7000])
@pytest.mark.parametrize(
    ("choices", "modalities"),
    [
        ((NOTHING, NOTHING), 2),
        ((NOTHING, Choice("carry", ("image@1",))), 2),
        ((Choice("carry", ("words@0",)), Choice("carry", ("image@1",))), 2),
        ((Choice("additive", ("image@0", "words@0")), Choice("additive", TWO)), 2),
        ((Choice("additive", THREE), Choice("carry", ("image@1",))), 3),
    ],
)
def test_an_additive_network_stays_what_it_is(choices: Sequence[Choice], modalities: int, max_grid: int) -> None:
    network, batch, space = network_of(choices, modalities)
    assert space.interaction_order(next(network.space.enumerate())) <= 1
    found = emap(Recombined.of(network, batch, CPU), max_grid=max_grid)
    count = len(found.rows)
    some_drawn = found.grid not in (count, count**modalities)  # `count` where one modality or none is read
    assert some_drawn == (modalities == 3 and max_grid == 7000)
    assert np.abs(found.projected - found.outputs).max() < 1e-6


def test_what_is_drawn_errs_as_much_as_it_says() -> None:
    numbers = made_up_numbers("a", "b", "c")
    done: list[tuple[int, int]] = []
    samples = MadeUp(numbers, lambda a, b, c: a + b * c)
    found = emap(samples, max_grid=100_000, progress=lambda now, total: done.append((now, total)))
    assert (len(found.rows), found.grid, done[-1]) == (400, 100_000, (100_000, 100_000))
    a, b, c = (values.double().numpy() for values in numbers.values())
    wanted = a + b * c.mean() + c * b.mean() - b.mean() * c.mean()  # the mean over all 400³, worked by hand
    error = float(np.sqrt(np.square(found.projected[:, 1] - wanted).mean()))
    # One of two outputs is always 0. What is not additive deviates by 1, and each sample is drawn 250 times.
    assert found.standard_error == pytest.approx(np.sqrt(3 / 250 / 2), rel=0.1)
    assert error / np.sqrt(2) == pytest.approx(found.standard_error, rel=0.15)
    more = emap(samples, max_grid=900_000)
    assert more.standard_error == pytest.approx(found.standard_error / 3, rel=0.1)
    assert np.sqrt(np.square(more.projected[:, 1] - wanted).mean()) < error / 2
    assert np.array_equal(found.projected, emap(samples, max_grid=100_000).projected)


@pytest.mark.parametrize(
    ("samples", "modalities", "max_grid", "count", "draws"),
    [
        (2000, 1, 4, 2000, 0),
        (2000, 2, 250_000, 500, 0),
        (400, 2, 250_000, 400, 0),
        (62, 3, 250_000, 62, 0),
        (63, 3, 250_000, 63, 3968),
        (10_000, 3, 250_000, 1000, 250),
        (10_000, 3, 4, 2, 0),
    ],
)
def test_samples_are_as_many_as_can_be_recombined_or_drawn_often_enough(
    samples: int, modalities: int, max_grid: int, count: int, draws: int
) -> None:
    assert _plan(samples, modalities, max_grid) == (count, draws)


def test_the_additive_fit_is_that_of_least_squares() -> None:
    generator = np.random.default_rng(0)
    orders = np.stack([np.concatenate([generator.permutation(5) for _ in range(6)]) for _ in range(3)])
    values = generator.normal(size=(30, 2))
    sums = np.stack([[values[order == i].sum(axis=0) for i in range(5)] for order in orders])
    design = np.concatenate([np.eye(5)[order] for order in orders], axis=1)
    fit = np.linalg.lstsq(design, values, rcond=None)[0]
    found = additive_fit(orders, sums).reshape(15, 2)
    assert np.abs(design @ found - design @ fit).max() < 1e-9


def test_of_many_samples_a_stated_part_is_taken_always_the_same() -> None:
    network, batch, _ = network_of((NOTHING, Choice("mlp", TWO)), 2)
    samples = Recombined.of(network, batch, CPU)
    assert len(batch) > 10
    done: list[tuple[int, int]] = []
    some = emap(samples, max_grid=100, progress=lambda now, total: done.append((now, total)))
    assert len(some.rows) == 10
    assert some.grid == 100
    assert done == [(100, 100)]
    assert np.array_equal(some.rows, emap(samples, max_grid=100).rows)
    assert np.array_equal(some.rows, np.sort(some.rows))
    # It is the projection over these samples alone.
    again = emap(Recombined.of(network, batch.take(torch.from_numpy(some.rows)), CPU))
    assert np.abs(again.projected - some.projected).max() < 1e-6


def test_a_modality_that_a_sample_lacks_is_lacking_wherever_it_goes() -> None:
    data = tiny_data({"image": "map", "words": "tokens"}, count=33, present={"words": np.arange(33) % 2 == 0})
    space = layerwise({"image": 2, "words": 2})
    found = Architecture.chain("layerwise", (("fusion0", NOTHING), ("fusion1", Choice("mlp", TWO))))
    network, batch = tiny_network(space.restrict(found), data), tiny_batch(data)
    samples = Recombined.of(network, batch, CPU)
    lacking = int(torch.nonzero(~batch.present["words"])[0])
    rows = torch.full((len(batch),), lacking)
    absent = {**batch.present, "words": torch.zeros(len(batch), dtype=torch.bool)}
    with torch.no_grad():
        expected = network(batch.inputs, absent)
    assert torch.allclose(samples.outputs({"words": rows}), expected, atol=1e-6)
    assert torch.allclose(samples.outputs({"words": None}), expected, atol=1e-6)
