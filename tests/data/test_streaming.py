"""Data that takes more memory than it may, against the same data in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from nas.data import FusionData, load_data
from nas.data.batches import Batch, in_order, refuse_too_little_memory, shuffled, split_batch
from nas.data.fusion_data import COPIES, SPLITS
from nas.data.loading import load_inputs
from nas.data.stored import StoredArray
from tests.data.helpers import AUDIO, COUNT, IMAGE, LABEL, SPLIT, WORDS, refused, small

CPU = torch.device("cpu")
HALF: NDArray[np.bool_] = np.arange(COUNT) % 4 < 2
MAPS: NDArray[np.float64] = np.random.default_rng(5).normal(size=(COUNT, 1, 6, 6))
FLAGS: NDArray[np.bool_] = np.random.default_rng(6).normal(size=(COUNT, 9)) > 0

ARRAYS: dict[str, NDArray[Any]] = {
    "x/image": IMAGE,
    "x/audio": AUDIO.astype(np.float64),  # which becomes float32
    "x/map": MAPS,
    "x/words": WORDS,
    "x/flags": FLAGS.astype(np.uint8),
    "present/map": HALF,
    "y": LABEL,
    "split": SPLIT,
}
KINDS = {"image": "", "audio": "", "map": "", "words": "tokens", "flags": ""}
TINY = 2000
"""Bytes that hold none of the larger arrays."""


def _folder(path: Path, arrays: dict[str, Any] = ARRAYS) -> Path:
    """A folder of `.npy`, one per array."""
    for key, array in arrays.items():
        file = path / f"{key}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, array)
    return path


def _npz(path: Path) -> Path:
    np.savez(path / "mine.npz", **ARRAYS)  # type: ignore[arg-type]  # the stub takes the keys for its own argument
    return path / "mine.npz"


def _three(path: Path) -> Path:
    for number, name in enumerate(["train", "val", "test"]):
        some: dict[str, Any] = {key: array[number == SPLIT] for key, array in ARRAYS.items() if key != "split"}
        np.savez(path / f"{name}.npz", **some)
    return path


def _same(one: Batch, other: Batch) -> None:
    """Two batches hold the same samples."""
    assert list(one.inputs) == list(other.inputs)
    for name in one.inputs:
        for mine, yours in zip(one.inputs[name], other.inputs[name], strict=True):
            assert mine.dtype == yours.dtype
            assert torch.equal(mine, yours)
    assert torch.equal(one.targets, other.targets)
    assert one.present.keys() == other.present.keys()
    assert all(torch.equal(one.present[name], other.present[name]) for name in one.present)


@pytest.mark.parametrize("write", [_folder, _npz, _three])
def test_what_is_streamed_is_the_same_data(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    source = write(tmp_path)
    whole, streamed = (load_data(source, modalities=KINDS, memory=memory) for memory in (None, TINY))
    assert not whole.is_streamed
    assert streamed.is_streamed
    assert streamed.fingerprint() == whole.fingerprint()
    assert streamed.describe() == whole.describe()
    on_disk = {name: isinstance(one.arrays[0], StoredArray) for name, one in streamed.modalities.items()}
    assert on_disk == {"image": True, "audio": True, "map": True, "words": False, "flags": False}
    for split in SPLITS:
        _same(split_batch(streamed, split, CPU), split_batch(whole, split, CPU))


def test_what_fits_is_in_memory_as_a_whole(tmp_path: Path) -> None:
    enough = COPIES * sum(ARRAYS[key].nbytes for key in ARRAYS if key.startswith("x/"))
    data = load_data(_folder(tmp_path), modalities=KINDS, memory=enough)
    assert not data.is_streamed
    assert not any(isinstance(one.arrays[0], StoredArray) for one in data.modalities.values())


def test_batches_hold_the_same_samples_in_the_same_order(tmp_path: Path) -> None:
    source = _folder(tmp_path)
    batches = [
        split_batch(load_data(source, modalities=KINDS, memory=memory), "weights", CPU) for memory in (None, TINY)
    ]
    passes = [list(shuffled(one, 5, torch.Generator().manual_seed(2), CPU)) for one in batches]
    assert [len(one) for one in passes[1]] == [5, 5, 2]
    for whole, streamed in zip(*passes, strict=True):
        _same(streamed, whole)
    for whole, streamed in zip(*(list(in_order(one, 5, CPU)) for one in batches), strict=True):
        _same(streamed, whole)
    few = [one.take(torch.tensor([7, 0, 3])).take(slice(1, 3)) for one in batches]
    _same(few[1], few[0])
    _same(few[1].without("audio"), few[0].without("audio"))
    assert not few[1].without("audio").inputs["audio"][0].any()


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    batch = split_batch(load_data(_folder(tmp_path), modalities=KINDS, memory=TINY), "weights", CPU)
    (tmp_path / "x" / "map.npy").write_bytes(b"")
    part = batch.take(slice(0, 4))
    np.testing.assert_array_equal(part.inputs["audio"][0].numpy(), AUDIO[:4])
    with refused("map.npy' has become shorter"):
        part.inputs["map"]


def test_memory_maps_are_not_copied(tmp_path: Path) -> None:
    _folder(tmp_path)
    mapped = {name: np.load(tmp_path / "x" / f"{name}.npy", mmap_mode="r") for name in ("image", "audio")}
    data = FusionData.from_arrays({"image": mapped["image"], "text": [mapped["audio"]]}, LABEL, splits=SPLIT)
    assert all(isinstance(one.arrays[0], StoredArray) for one in data.modalities.values())
    wanted = small(modalities={"image": IMAGE, "text": [AUDIO]})
    assert data.fingerprint() == wanted.fingerprint()
    for memory in (None, 500):
        given = load_data(data, memory=memory)
        assert given.is_streamed == (memory is not None)
        _same(split_batch(given, "test", CPU), split_batch(wanted, "test", CPU))


def test_arrays_in_memory_are_not_copied_either() -> None:
    data = load_data(small(), memory=500)
    _same(split_batch(data, "architecture", CPU), split_batch(small(), "architecture", CPU))
    assert data.is_streamed
    assert not replace(data, memory=10_000).is_streamed


def test_new_samples_are_streamed(tmp_path: Path) -> None:
    kinds = {"audio": "sequence", "map": "map"}
    source = _folder(tmp_path)
    whole, streamed = (load_inputs(source, kinds, memory) for memory in (None, 100))
    for name, modality in streamed.items():
        assert isinstance(modality.arrays[0], StoredArray)
        np.testing.assert_array_equal(modality.arrays[0][:], whole[name].arrays[0])


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"x/audio": AUDIO[:-1]}, {}, "modality 'audio' has 19 samples, but the target has 20; align them"),
        ({"x/map": np.array([{}] * COUNT)}, {}, "key 'x/map' of .*map.npy' holds Python objects, .* be unpickled"),
        ({"x/map": np.asfortranarray(MAPS.reshape(COUNT, 6, 6))}, {}, "key 'x/map' .* is not stored row after row"),
        ({"x/map": np.array(3.0)}, {}, "key 'x/map' of .* is a single value; expected one row per sample"),
        ({"x/audio": np.full_like(AUDIO, np.nan)}, {}, "'audio' has NaN or infinity in 20 of 20 samples; fill or drop"),
        ({"x/audio": AUDIO.astype(np.float64) * 1e300}, {}, "modality 'audio' has NaN or infinity in"),
        ({}, {"target": "label"}, "unknown key in .*: 'label'"),
        ({}, {"modalities": "image,sound"}, "unknown key in .*: 'sound'"),
    ],
)  # fmt: skip
def test_malformed_folders_are_told_in_one_line(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    _folder(tmp_path, {**ARRAYS, **changes})
    with refused(message):
        load_data(tmp_path, **{"modalities": KINDS, "memory": 100, **options})


def test_a_folder_of_nothing_says_what_is_expected(tmp_path: Path) -> None:
    with refused("has no train.npz; expected train.npz, val.npz and test.npz, or an .npy for each array"):
        load_data(tmp_path)


def test_a_file_that_is_no_npy_is_told(tmp_path: Path) -> None:
    _folder(tmp_path)
    (tmp_path / "x" / "image.npy").write_bytes(b"label,image")
    for memory in (None, TINY):
        with refused("key 'x/image' of .*image.npy' cannot be read: .*; write it again with numpy.save$"):
            load_data(tmp_path, modalities=KINDS, memory=memory)


def test_a_compressed_file_cannot_be_streamed(tmp_path: Path) -> None:
    arrays: dict[str, Any] = dict(ARRAYS)
    np.savez_compressed(tmp_path / "mine.npz", **arrays)
    with refused("key 'x/.*' takes more memory than it may and is compressed.*: write it with numpy.savez"):
        load_data(tmp_path / "mine.npz", modalities=KINDS, memory=TINY)


def test_parts_of_another_type_cannot_be_joined_on_disk(tmp_path: Path) -> None:
    _three(tmp_path)
    some: dict[str, Any] = {key: array[SPLIT == 2] for key, array in ARRAYS.items() if key != "split"}
    np.savez(tmp_path / "test.npz", **{**some, "x/audio": some["x/audio"].astype(np.float32)})
    with refused("key 'x/audio' .* is of several types, float64, float64, float32; write it as one type"):
        load_data(tmp_path, modalities=KINDS, memory=TINY)


def test_memory_for_less_than_a_batch_is_refused(tmp_path: Path) -> None:
    data = load_data(_folder(tmp_path), modalities="audio,map", memory=TINY)
    refuse_too_little_memory(data, 4)  # 4 · (8 + 36) numbers of 4 bytes, twice
    with refused("a batch of 64 samples takes 22.5 kB, but data may take 2.0 kB of memory; allow more, or take a sm"):
        refuse_too_little_memory(data, 64)


def test_pictures_of_a_table_are_kept_on_disk(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = []
    for number in range(12):
        pixels = generator.integers(0, 255, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        picture = "" if number == 5 else f"{number}.png"
        rows.append(f"{picture},{number % 7 / 3},{'ab'[number % 2]},{['train', 'val', 'test'][number // 5]}")
    (tmp_path / "table.csv").write_text("picture,size,kind,split\n" + "\n".join(rows) + "\n")
    whole, streamed = (load_data(tmp_path / "table.csv", target="kind", memory=memory) for memory in (None, 1000))
    assert isinstance(streamed.modalities["picture"].arrays[0], StoredArray)
    assert not isinstance(streamed.modalities["table"].arrays[0], StoredArray)
    assert streamed.fingerprint() == whole.fingerprint()
    assert streamed.recipe == whole.recipe
    _same(split_batch(streamed, "weights", CPU), split_batch(whole, "weights", CPU))
