"""Standardization and the common form of taps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from nas.data.fusion_data import FusionData
from nas.encoders import DEFAULT_ENCODERS, build_encoders
from nas.encoders.base import (
    Standardize,
    channels_last,
    map_grid,
    map_tap_channels,
    tap_from_map,
    tap_from_sequence,
    tap_from_vector,
)
from tests.helpers import tiny_builder, tiny_data


def test_standardize_uses_mean_and_deviation_of_every_feature() -> None:
    # Columns 1, 3 and −10, 10: means 2 and 0, deviations 1 and 10.
    standardize = Standardize.fit(np.array([[1.0, -10.0], [3.0, 10.0]]), channel_axis=-1)
    assert standardize.mean.tolist() == [2, 0]
    assert standardize.deviation.tolist() == [1, 10]
    for dtype in (torch.int8, torch.float16, torch.float32, torch.float64):
        scaled = standardize(torch.tensor([[4, 5]], dtype=dtype))
        assert (scaled.dtype, scaled.tolist()) == (torch.float32, [[2, 0.5]])


def test_standardize_tells_a_constant_from_a_small_unit() -> None:
    values = np.array([[7.1, 1e-12], [7.1, -3e-12], [7.1, 2e-12]])
    standardize = Standardize.fit(values, channel_axis=1)
    assert standardize.deviation[0] == 1  # though rounding leaves its variance a little above zero
    assert float(standardize.deviation[1]) == pytest.approx(values[:, 1].std(), rel=1e-6)


def test_a_feature_that_never_varies_is_only_centred() -> None:
    standardize = Standardize.fit(np.full((5, 1), 7.0), channel_axis=-1)
    assert standardize(torch.tensor([[7.0], [9.0]])).tolist() == [[0.0], [2.0]]


@pytest.mark.parametrize(("shape", "axis", "kept"), [((9, 4, 2), -1, (1, 2)), ((9, 3, 2, 2), 1, (3, 1, 1))])
def test_other_axes_share_statistics(shape: tuple[int, ...], axis: int, kept: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(5, 3, size=shape)
    standardize = Standardize.fit(array, channel_axis=axis)
    assert standardize.mean.shape == standardize.deviation.shape == kept
    others = tuple(i for i in range(len(shape)) if i != axis % len(shape))
    scaled = standardize(torch.from_numpy(array)).numpy()
    np.testing.assert_allclose(scaled.mean(axis=others), 0, atol=1e-5)  # float32 comes out
    np.testing.assert_allclose(scaled.std(axis=others), 1, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.float16])
def test_statistics_of_narrow_numbers_do_not_overflow(dtype: type[np.generic]) -> None:
    # 60 000 squared, and even summed, is beyond float16; 100 squared is beyond 8 bits.
    large = 60_000 if dtype is np.float16 else 100
    array = np.array([[large], [0]] * 50).astype(dtype)
    standardize = Standardize.fit(array, channel_axis=-1)
    assert (float(standardize.mean), float(standardize.deviation)) == pytest.approx((large / 2, large / 2), rel=1e-3)


def _with_other_samples(change: float) -> FusionData:
    """Ten samples; the four of the architecture and test splits and an absent one are moved by `change`."""
    generator = np.random.default_rng(0)
    moved = np.isin(np.arange(10), [4, 6, 7, 8, 9])

    def shifted(*shape: int) -> NDArray[np.float32]:
        array = generator.normal(size=(10, *shape)).astype(np.float32)
        array[moved] += change
        return array

    words = np.where(moved[:, None], 3 + int(change), 3)
    return FusionData.from_arrays(
        {
            "vectors": shifted(3),
            "steps": shifted(4, 2),
            "maps": shifted(2, 4, 4),
            "words": words,
            "ready": [shifted(3)],
        },
        np.arange(10) % 2,
        kinds={"words": "tokens"},
        splits={"weights": range(6), "architecture": [6, 7], "test": [8, 9]},
        present={name: np.arange(10) != 4 for name in ("vectors", "steps", "maps", "words", "ready")[:4]},
    )


def test_statistics_see_present_samples_of_the_weights_split_alone() -> None:
    plain, changed = build_encoders(_with_other_samples(0)), build_encoders(_with_other_samples(50))
    for name in ("vectors", "steps", "maps"):
        assert plain[name].blueprint == changed[name].blueprint
        for key, value in plain[name].state_dict().items():
            if "standardize" in key:
                assert torch.equal(value, changed[name].state_dict()[key]), (name, key)
    data = _with_other_samples(50)
    seen = data.modalities["vectors"].arrays[0][[0, 1, 2, 3, 5]]  # values that are absent are zeros, which would count
    state = changed["vectors"].state_dict()
    np.testing.assert_allclose(state["standardize.mean"].numpy(), seen.mean(axis=0), atol=1e-6)  # float32
    np.testing.assert_allclose(state["standardize.deviation"].numpy(), seen.std(axis=0), atol=1e-6)
    blueprint = changed["words"].blueprint
    assert blueprint is not None
    assert (blueprint["vocabulary"], blueprint["max_id"]) == (2, 3)  # padding, and the one id that was seen
    # Sample 4 is there for this one and counts, so that the mean over the six moves by 50 / 6.
    mean, moved = plain["ready"].state_dict()["standardize.0.mean"], changed["ready"].state_dict()["standardize.0.mean"]
    torch.testing.assert_close(moved - mean, torch.full((3,), 50 / 6), rtol=0, atol=1e-4)  # float32 at 50


def test_builders_replace_defaults_by_modality() -> None:
    data = tiny_data({"image": "vector", "audio": "sequence"})
    encoders = build_encoders(data, {"audio": tiny_builder(2)})
    assert encoders["audio"].channels == (5, 6)
    assert encoders["image"].channels == DEFAULT_ENCODERS["vector"](data, "image").channels


def test_a_vector_is_one_step() -> None:
    assert tap_from_vector(torch.tensor([[1.0, 2.0]])).tolist() == [[[1, 2]]]


def test_short_sequences_are_kept_and_long_ones_averaged() -> None:
    short, long = torch.arange(16.0).view(1, 16, 1), torch.arange(32.0).view(1, 32, 1)
    assert torch.equal(tap_from_sequence(short), short)
    # Steps 0 and 1, 2 and 3, … are averaged: 0.5, 2.5, …
    assert tap_from_sequence(long).flatten().tolist() == [0.5 + 2 * i for i in range(16)]


def test_a_map_of_many_channels_is_averaged_in_four_quarters() -> None:
    feature_map = torch.tensor([[[[1.0, 3, 0, 0], [5, 7, 0, 8]], [[1, 1, 2, 2], [3, 3, 4, 4]]]]).repeat(1, 32, 1, 1)
    # Two rows of one each; columns in pairs: channel 0 first, row by row.
    assert tap_from_map(feature_map).tolist() == [[[2, 0, 6, 4, 1, 2, 3, 4] * 32]]


@pytest.mark.parametrize(("channels", "grid"), [(1, 16), (3, 9), (16, 4), (32, 3), (64, 2), (512, 2)])
def test_a_map_of_few_channels_keeps_more_of_where_things_are(channels: int, grid: int) -> None:
    assert map_grid(channels, 40, 40) == (grid, grid)
    assert map_grid(channels, 1, 3) == (1, min(grid, 3))
    size = 4 * grid
    rows = torch.arange(size).float()[:, None].expand(size, size)
    (tap,) = tap_from_map(rows.expand(1, channels, size, size))
    # Every cell is the mean of four rows.
    wanted = (4 * torch.arange(grid) + 1.5)[:, None].expand(grid, grid).flatten()
    assert torch.equal(tap.view(channels, grid * grid), wanted.expand(channels, -1))


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 1, 5), (3, 4, 1), (3, 5, 7)])
def test_channels_of_a_maps_tap_are_known_beforehand(shape: tuple[int, int, int]) -> None:
    assert tap_from_map(torch.zeros(2, *shape)).shape == (2, 1, map_tap_channels(*shape))


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_last_in_memory_and_a_single_one_says_so(channels: int) -> None:
    maps = torch.randn(4, channels, 5, 6)
    ordered = channels_last(maps)
    assert torch.equal(ordered, maps)
    assert ordered.stride() == (30 * channels, 1, 6 * channels, channels)
    # What a convolution puts out tells how it was run.
    assert nn.Conv2d(channels, 2, 3, padding=1)(ordered).stride()[1] == 1
