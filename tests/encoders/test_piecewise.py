"""Numbers told bin by bin: known answers, and features that have no eight quantiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas.data.fusion_data import FusionData
from nas.encoders import build_encoders
from nas.encoders.piecewise import MAX_ROWS, PiecewiseLinear
from nas.encoders.vector import VectorEncoder


def bins_of(array: np.ndarray, bins: int) -> PiecewiseLinear:
    return PiecewiseLinear.fit(array.astype(np.float32), bins)


def test_a_value_fills_the_bins_below_it_and_a_part_of_its_own() -> None:
    # The quartiles of 0, 1, 2, 3, 100 are these five numbers themselves.
    piecewise = bins_of(np.array([[0], [1], [2], [3], [100]]), 4)
    told = piecewise(torch.tensor([[-7.0], [0.25], [2.5], [51.5], [900.0]]))
    expected = [[0, 0, 0, 0], [0.25, 0, 0, 0], [1, 1, 0.5, 0], [1, 1, 1, 0.5], [1, 1, 1, 1]]
    torch.testing.assert_close(told, torch.tensor(expected), rtol=0, atol=0)


def test_the_first_bin_of_every_feature_comes_first() -> None:
    piecewise = bins_of(np.array([[0, 10], [1, 20], [2, 30]]), 2)
    assert piecewise(torch.tensor([[1.5, 15.0]])).tolist() == [[1, 0.5, 0.5, 0]]


def test_a_feature_that_is_mostly_zero_has_bins_where_it_is_not() -> None:
    column = np.zeros(1000)
    column[:5] = [1, 2, 4, 8, 16]
    edges = bins_of(column[:, None], 5).edges.flatten()
    assert edges.tolist() == [0, 1, 2, 4, 8, 16]


@pytest.mark.parametrize("values", [[3.0], [0.0, 1.0], [-1e30, 1e30], [5.0, 5.0000005], [2**24, 2**24 + 1]])
def test_few_distinct_values_stay_distinct_and_finite(values: list[float]) -> None:
    column = np.array(values * 20)[:, None]
    told = bins_of(column, 8)(torch.tensor(values)[:, None])
    assert bool(((told >= 0) & (told <= 1)).all())
    assert len(torch.unique(told, dim=0)) == len(np.unique(np.array(values, dtype=np.float32)))


def encoder_of(array: np.ndarray, present: list[bool] | None = None) -> VectorEncoder:
    count = len(array)
    splits = np.repeat([0, 1, 2], [count - 20, 10, 10])
    other = np.zeros((count, 1), dtype=np.float32)
    other[::2] = 1
    data = FusionData.from_arrays(
        {"given": array, "other": other},
        np.arange(count) % 2,
        splits=splits,
        kinds={"given": "vector"},
        present={"given": present} if present else None,
    )
    encoder = build_encoders(data, preprocessing={"given": "piecewise"})["given"]
    assert isinstance(encoder, VectorEncoder)
    return encoder


def test_statistics_are_those_of_present_samples_of_the_weights_split() -> None:
    array = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    present = [number % 3 > 0 for number in range(120)]
    encoder = encoder_of(array, present)
    changed = array.copy()
    changed[np.logical_not(present)] = 1e6
    changed[100:] = -1e6
    other = encoder_of(changed, present)
    assert encoder.piecewise is not None
    assert other.piecewise is not None
    assert torch.equal(encoder.piecewise.edges, other.piecewise.edges)
    chosen = torch.from_numpy(array[:100][present[:100]])
    columns = encoder.start([chosen])[0]
    torch.testing.assert_close(columns.mean(dim=0), torch.zeros(24), rtol=0, atol=1e-5)  # float32 sums
    torch.testing.assert_close(columns.std(dim=0, unbiased=False), torch.ones(24), rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint64, np.float16, np.bool_])
def test_any_number_type_is_told_in_bins(dtype: type[np.generic]) -> None:
    array = np.random.default_rng(0).integers(0, 9, size=(60, 2)).astype(dtype)
    encoder = encoder_of(array)
    assert bool(torch.isfinite(encoder.start([torch.from_numpy(array.astype(np.float32))])[0]).all())


def test_bins_of_many_samples_are_read_off_some_of_them() -> None:
    array = np.arange(3 * MAX_ROWS + 20, dtype=np.float32)[:, None]
    piecewise = encoder_of(array).piecewise
    assert piecewise is not None
    assert piecewise.edges[[0, -1], 0].tolist() == pytest.approx([0, 3 * MAX_ROWS], abs=4)
