"""One modality: its kind, its number type, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import DTypeLike, NDArray

from nas.data.modality import MAX_TOKEN_ID, make_modality, plain_array
from tests.data.helpers import refused


def _zeros(*shape: int, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    return np.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    ("array", "named", "kind", "shape", "dtype"),
    [
        (_zeros(2, 3), None, "vector", (2, 3), "float32"),
        (_zeros(2, 3, dtype=np.float64), None, "vector", (2, 3), "float32"),
        (_zeros(2, 3, dtype=np.float16), None, "vector", (2, 3), "float16"),
        (_zeros(2, 3, dtype=np.uint8), None, "vector", (2, 3), "uint8"),
        (_zeros(2, 3, dtype=np.int8), None, "vector", (2, 3), "int8"),
        (_zeros(2, 3, dtype=np.bool_), None, "vector", (2, 3), "uint8"),
        (_zeros(2, 3, dtype=np.int16), "vector", "vector", (2, 3), "int16"),
        (_zeros(2, 3, dtype=np.uint16), "vector", "vector", (2, 3), "float32"),
        (_zeros(2, 3, dtype=np.int64), "vector", "vector", (2, 3), "float32"),
        (_zeros(2, 3, dtype=">f8"), None, "vector", (2, 3), "float32"),
        (_zeros(2, 3, dtype=">f4"), None, "vector", (2, 3), "float32"),
        (_zeros(2, 3, 4), None, "sequence", (2, 3, 4), "float32"),
        (_zeros(2, 3, 4, dtype=np.uint8), "sequence", "sequence", (2, 3, 4), "uint8"),
        (_zeros(2, 3, 4, 5), "sequence", "sequence", (2, 3, 20), "float32"),
        (_zeros(2, 3, 4, 5, 6), "sequence", "sequence", (2, 3, 120), "float32"),
        (_zeros(2, 3), "sequence", "sequence", (2, 3, 1), "float32"),
        (_zeros(2, 3, 4, dtype=np.uint8), None, "map", (2, 1, 3, 4), "uint8"),
        (_zeros(2, 3, 4), "map", "map", (2, 1, 3, 4), "float32"),
        (_zeros(2, 3, 8, 8), None, "map", (2, 3, 8, 8), "float32"),
        (_zeros(2, 3, 8, 3, dtype=np.uint8), None, "map", (2, 3, 8, 3), "uint8"),
        (_zeros(2, 8, 8, 3), "map", "map", (2, 8, 8, 3), "float32"),
        (_zeros(2, 5, dtype=np.int64), "tokens", "tokens", (2, 5), "int64"),
        (_zeros(2, 5, dtype=np.int16), "tokens", "tokens", (2, 5), "int16"),
        (_zeros(2, 5, dtype=np.uint8), "tokens", "tokens", (2, 5), "uint8"),
        (_zeros(2, 5, dtype=np.uint16), "tokens", "tokens", (2, 5), "int32"),
        (_zeros(2, 5, dtype=np.uint64), "tokens", "tokens", (2, 5), "int32"),
        (_zeros(2, 5), "features", "features", (2, 5), "float32"),
    ],
)
def test_kind_shape_and_number_type(
    array: NDArray[Any], named: str | None, kind: str, shape: tuple[int, ...], dtype: str
) -> None:
    made = make_modality("a", array, named)
    assert (made.kind, made.arrays[0].shape, str(made.arrays[0].dtype)) == (kind, shape, dtype)
    assert made.arrays[0].dtype.isnative
    assert made.present is None


@given(arrays.arrays(np.float64, (3, 2), elements=st.floats(-1e30, 1e30)))
def test_numbers_come_out_as_they_went_in(array: NDArray[np.float64]) -> None:
    (made,) = make_modality("a", array).arrays
    np.testing.assert_array_equal(made, array.astype(np.float32))


def test_sequence_flattens_in_reading_order() -> None:
    array = np.arange(2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2)
    (made,) = make_modality("skeleton", array, "sequence").arrays
    assert made[0, 1].tolist() == [4, 5, 6, 7]  # the second time step holds the second four numbers


def test_features_keep_their_depths_in_order() -> None:
    depths = [_zeros(2, 3), _zeros(2, 4, 5, dtype=np.float16), _zeros(2, 3, 6, 6, dtype=np.uint8)]
    for given_as in (depths, tuple(depths)):
        made = make_modality("text", given_as)
        assert made.kind == "features"
        assert [array.shape for array in made.arrays] == [array.shape for array in depths]
        assert [str(array.dtype) for array in made.arrays] == ["float32", "float16", "uint8"]


def test_arrays_of_other_libraries_are_read() -> None:
    made = make_modality("a", torch.ones(2, 3, dtype=torch.float64))
    assert made.arrays[0].dtype == np.float32
    made = make_modality("a", [torch.ones(2, 3), torch.ones(2, 4)])
    assert [array.shape for array in made.arrays] == [(2, 3), (2, 4)]


def test_what_is_absent_is_blank_and_may_be_anything() -> None:
    array = np.array([[1.0, 2.0], [np.nan, np.inf], [3.0, 4.0]])
    present = np.array([True, False, True])
    made = make_modality("a", array, present=present)
    assert made.arrays[0].tolist() == [[1, 2], [0, 0], [3, 4]]
    assert made.present is present
    assert np.isnan(array[1, 0])  # the caller's array is left alone

    deep = make_modality("a", [array, array * 2], present=present)
    assert [features[1].tolist() for features in deep.arrays] == [[0, 0], [0, 0]]

    ids = np.array([[1, 2], [-9, 10**9], [3, 0]])
    assert make_modality("a", ids, "tokens", present).arrays[0].tolist() == [[1, 2], [0, 0], [3, 0]]


@given(
    st.lists(st.integers(0, 4), min_size=1, unique=True), st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 1)
)
def test_every_sample_that_is_not_finite_is_counted(samples: list[int], value: float, column: int) -> None:
    array = _zeros(5, 2)
    array[samples, column] = value
    with refused(f"modality 'a' has NaN or infinity in {len(samples)} of 5 samples; fill .* present={{'a': …}}"):
        make_modality("a", array)


@pytest.mark.parametrize(
    ("array", "kind", "message"),
    [
        (_zeros(2, 3), "vectr", "unknown kind of modality 'a': 'vectr'; did you mean 'vector'"),
        (_zeros(2, 3), 3, "unknown kind of modality 'a': '3'.*Known: features, map"),
        (_zeros(2), None, r"'a' has shape \(2,\); expected \(n, features\): reshape it to \(2, 1\)"),
        (_zeros(2, 3, dtype=np.int64), None, "'a', int64 of shape .* name its kind, for example 'a:tokens'"),
        (_zeros(2, 3, 4, dtype=np.int8), None, "'a', int8 of shape .* name its kind, for example 'a:sequence'"),
        (_zeros(2, 3, 4, 5, 6), None, "'a', float32 of shape .* name its kind"),
        (_zeros(2, 8, 8, 3), None, "channels last .* channels first.* 'a:map' or 'a:sequence'"),
        (_zeros(2, 3, 4), "vector", r"'a' of kind vector has shape \(2, 3, 4\); expected \(n, features\)"),
        (_zeros(2), "sequence", r"'a' of kind sequence has shape \(2,\); expected \(n, time, features\)"),
        (_zeros(2, 3), "map", r"'a' of kind map has shape \(2, 3\); expected \(n, channels, height, width\)"),
        (_zeros(2, 3, 1, dtype=np.int64), "tokens", r"'a' of kind tokens has shape .* expected \(n, length\)"),
        (_zeros(2, 3), "tokens", "tokens 'a' are of type float32; expected integers.*astype"),
        (np.full((2, 3), -2), "tokens", r"tokens 'a' hold -2; expected ids from 0 .*shift them by 2"),
        (np.full((2, 3), MAX_TOKEN_ID + 1), "tokens", "tokens 'a' hold 1000001; expected at most 1000000"),
        (np.full((2, 3), 1e39), None, "'a' has NaN or infinity in 2 of 2 samples"),
        (_zeros(0, 3), None, r"'a' is empty: shape \(0, 3\); expected .* at least one sample"),
        (_zeros(2, 0), None, r"'a' is empty: shape \(2, 0\)"),
        (3.0, None, r"'a' is empty: shape \(\)"),
        (np.array([["x", "y"]]), None, "'a' is of type <U1; expected numbers .*integer tokens"),
        (_zeros(2, 3, dtype=np.complex64), None, "'a' is of type complex64; expected numbers"),
        (np.array([[{}], [{}]]), None, "'a' holds Python objects .*astype"),
        (np.ma.masked_equal([[1.0, 2.0]], 2.0), None, "'a' holds masked values; fill or drop"),
        (torch.ones(2, 3, requires_grad=True), None, "'a' cannot be read as an array: .*grad.*give a numpy array"),
        ([], None, "'a' is an empty list; expected one array per depth"),
        ([[1.0, 2.0], [3.0, 4.0]], None, r"'a' is a list that holds list; .* wrap .* numpy\.array"),
        ([_zeros(2, 3)], "vector", "'a' is a list of arrays, one per depth, which is of kind features, not vector"),
        ([_zeros(2, 3), _zeros(2)], None, r"depth 1 of modality 'a' has shape \(2,\); expected \(n, features\)"),
        ([_zeros(2, 3), np.array([[{}]])], None, "depth 1 of modality 'a' holds Python objects"),
        ([_zeros(2, 3), np.full((2, 3), np.nan)], None, "'a' has NaN or infinity in 2 of 2 samples"),
    ],
)
def test_what_cannot_be_a_modality_is_refused(array: Any, kind: str | None, message: str) -> None:
    with refused(message):
        make_modality("a", array, kind)


def test_ragged_lists_are_no_array() -> None:
    with refused("the target cannot be read as an array: .*give a numpy array"):
        plain_array("the target", [[1, 2], [3]])
