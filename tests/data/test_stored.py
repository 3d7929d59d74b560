"""Arrays on disk against the same arrays in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nas.data import stored
from nas.data.stored import Source, Spool, StoredArray, chunks, mapped, some_rows
from nas.encoders.base import Standardize
from tests.data.helpers import refused

ARRAY: NDArray[np.float32] = np.random.default_rng(0).normal(3, 2, size=(11, 4, 2)).astype(np.float32)

PRESENT: NDArray[np.bool_] = np.arange(11) % 3 != 1


def _on_disk(path: Path, array: NDArray[np.generic], splits: int = 2) -> StoredArray:
    """An array in several files, after a few bytes that do not belong to it."""
    sources = []
    for number, part in enumerate(np.array_split(array, splits)):
        file = path / f"{number}.bin"
        file.write_bytes(b"head" + np.ascontiguousarray(part).tobytes())
        sources.append(Source(file.open("rb", buffering=0), 4, len(part), repr(str(file))))
    return StoredArray.of(sources, array.shape[1:], array.dtype)


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(2, 9),
        slice(None, None, 3),
        [4, 4, 0, 10],
        [5, 6, 7],
        [],
        np.arange(10, -1, -1),
        PRESENT,
        [-1],
    ],
    ids=str,
)
def test_rows_are_read_in_the_order_in_which_they_are_named(tmp_path: Path, rows: list[int]) -> None:
    array = _on_disk(tmp_path, ARRAY)
    np.testing.assert_array_equal(array[rows], ARRAY[rows])
    np.testing.assert_array_equal(array.rows(np.array([9, 2, 5]))[:], ARRAY[[9, 2, 5]])
    assert (array.shape, array.ndim, array.size, array.nbytes, len(array)) == ((11, 4, 2), 3, 88, 352, 11)


def test_rows_are_read_in_another_form(tmp_path: Path) -> None:
    array = _on_disk(tmp_path, ARRAY).astype(np.float16).reshaped((8,)).blanked(PRESENT)
    wanted = np.where(PRESENT[:, None], ARRAY.astype(np.float16).reshape(11, 8), 0)
    np.testing.assert_array_equal(array[:], wanted)
    np.testing.assert_array_equal(array.rows(np.array([1, 3, 0]))[[2, 0]], wanted[[0, 1]])
    assert array.dtype == np.float16


def test_another_order_of_bytes_is_turned_round(tmp_path: Path) -> None:
    array = _on_disk(tmp_path, ARRAY.astype(">f4"))
    assert array.dtype.isnative
    np.testing.assert_array_equal(array[3:5], ARRAY[3:5])


def test_a_file_that_has_become_shorter_is_told(tmp_path: Path) -> None:
    array = _on_disk(tmp_path, ARRAY)
    (tmp_path / "1.bin").write_bytes(b"head")
    np.testing.assert_array_equal(array[:6], ARRAY[:6])
    with refused("1.bin' has become shorter"):
        array[5:7]


@pytest.mark.parametrize("rows", [slice(None), slice(3, 8)], ids=str)
def test_a_memory_map_is_read_without_it(tmp_path: Path, rows: slice) -> None:
    np.save(tmp_path / "array.npy", ARRAY)
    array = np.load(tmp_path / "array.npy", mmap_mode="r")[rows]
    found = mapped(array)
    assert found is not None
    np.testing.assert_array_equal(found[[2, 0]], ARRAY[rows][[2, 0]])


def test_what_is_not_row_after_row_in_a_file_is_no_map(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", ARRAY)
    copied = np.load(tmp_path / "array.npy", mmap_mode="c")
    copied[0] = 0  # which is not in the file
    for other in (ARRAY, copied, np.load(tmp_path / "array.npy", mmap_mode="r")[:, ::2], [1, 2]):
        assert mapped(other) is None


@pytest.mark.parametrize(("room", "is_on_disk"), [(None, False), (352, False), (351, True)])
def test_rows_that_come_one_after_another_stay_in_memory_if_they_may(room: int | None, is_on_disk: bool) -> None:
    spool = Spool(11, room)
    for part in np.array_split(ARRAY, 3):
        spool.add(part)
    array = spool.array()
    assert isinstance(array, StoredArray) == is_on_disk
    np.testing.assert_array_equal(array[[7, 1]], ARRAY[[7, 1]])


@pytest.mark.parametrize("numbers", [8, 24, 2**23])
def test_statistics_are_the_same_on_disk_and_close_to_those_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: int
) -> None:
    monkeypatch.setattr(stored, "CHUNK_NUMBERS", numbers)
    on_disk, wanted = _on_disk(tmp_path, ARRAY), np.array([8, 0, 3, 10])
    assert len(next(chunks(ARRAY))) == min(11, numbers // 8)
    found = Standardize.fit(some_rows(on_disk, wanted), channel_axis=-1)
    same = Standardize.fit(some_rows(ARRAY, wanted), channel_axis=-1)
    assert found.mean.tolist() == same.mean.tolist()
    assert found.deviation.tolist() == same.deviation.tolist()
    np.testing.assert_allclose(found.mean.flatten(), ARRAY[wanted].mean(axis=(0, 1)), rtol=1e-6)
    np.testing.assert_allclose(found.deviation.flatten(), ARRAY[wanted].std(axis=(0, 1)), rtol=1e-5)
