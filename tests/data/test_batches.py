"""Batches: every sample of one split, in order or shuffled, on the device if it has room."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.data.batches import Batch, in_order, shuffled, split_batch
from nas.data.fusion_data import SPLITS, Split
from tests.data.helpers import AUDIO, COUNT, IMAGE, LABEL, SPLIT, WORDS, small

CPU = torch.device("cpu")
HALF = np.arange(COUNT) % 4 < 2


def _numbered(count: int) -> Batch:
    numbers = torch.arange(count)
    return Batch({"a": (numbers[:, None] * 2, numbers * 3)}, {"a": numbers % 2 == 0}, numbers)


@pytest.mark.parametrize(("number", "split"), list(enumerate(SPLITS)))
def test_a_split_is_its_own_samples_in_their_number_types(number: int, split: Split) -> None:
    data = small(
        modalities={"image": IMAGE, "text": [AUDIO.astype(np.float16), IMAGE], "words": WORDS.astype(np.uint16)},
        kinds={"words": "tokens"},
        present={"image": HALF},
    )
    batch = split_batch(data, split, CPU)
    chosen = np.flatnonzero(number == SPLIT)
    assert len(batch) == len(chosen)
    assert batch.targets.dtype == torch.int64
    assert batch.targets.tolist() == LABEL[chosen].tolist()
    assert {name: [array.dtype for array in arrays] for name, arrays in batch.inputs.items()} == {
        "image": [torch.float32],
        "text": [torch.float16, torch.float32],
        "words": [torch.int32],
    }
    np.testing.assert_array_equal(batch.inputs["text"][1].numpy(), IMAGE[chosen])
    np.testing.assert_array_equal(batch.inputs["words"][0].numpy(), WORDS[chosen])
    assert list(batch.present) == ["image"]
    assert batch.present["image"].tolist() == HALF[chosen].tolist()


def test_a_split_is_a_copy() -> None:
    data = small()
    split_batch(data, "weights", CPU).inputs["image"][0].zero_()
    np.testing.assert_array_equal(data.modalities["image"].arrays[0], IMAGE)


def test_taking_keeps_inputs_masks_and_targets_together() -> None:
    for indices in (torch.tensor([4, 0, 3]), slice(1, 4)):
        taken = _numbered(6).take(indices)
        numbers = torch.arange(6)[indices]
        assert taken.targets.tolist() == numbers.tolist()
        assert taken.inputs["a"][0].tolist() == (numbers[:, None] * 2).tolist()
        assert taken.inputs["a"][1].tolist() == (numbers * 3).tolist()
        assert taken.present["a"].tolist() == (numbers % 2 == 0).tolist()


@given(st.integers(1, 40), st.integers(2, 9), st.integers(0, 5))
def test_one_shuffled_pass_sees_every_sample_once(count: int, batch_size: int, seed: int) -> None:
    batches = list(shuffled(_numbered(count), batch_size, torch.Generator().manual_seed(seed), CPU))
    assert sorted(number for batch in batches for number in batch.targets.tolist()) == list(range(count))
    assert all(torch.equal(batch.inputs["a"][1], batch.targets * 3) for batch in batches)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    # BatchNorm needs two samples, so that a single one left over joins the batch before.
    assert count == 1 or 2 <= len(batches[-1]) <= batch_size + 1


def test_the_order_follows_the_generator() -> None:
    generator = torch.Generator().manual_seed(0)
    orders = [
        [number for batch in shuffled(_numbered(20), 4, generator, CPU) for number in batch.targets.tolist()]
        for _ in range(2)
    ]
    again = [
        number
        for batch in shuffled(_numbered(20), 4, torch.Generator().manual_seed(0), CPU)
        for number in batch.targets.tolist()
    ]
    assert orders[0] == again
    assert orders[0] != orders[1]
    assert orders[0] != list(range(20))


@given(st.integers(1, 40), st.integers(1, 9))
def test_a_pass_in_order_is_in_order(count: int, batch_size: int) -> None:
    batches = list(in_order(_numbered(count), batch_size, CPU))
    assert [number for batch in batches for number in batch.targets.tolist()] == list(range(count))
    assert max(len(batch) for batch in batches) <= batch_size


def test_bytes_are_counted() -> None:
    # 6 samples of two int64 inputs and an int64 target; the mask is left out.
    assert _numbered(6).num_bytes() == 6 * (8 + 8 + 8)


@pytest.mark.parametrize(("spare_bytes", "moves"), [(0, True), (-2, False)])
def test_data_goes_to_a_gpu_only_if_it_takes_half_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, spare_bytes: int, moves: bool
) -> None:
    data = small()
    needed = split_batch(data, "weights", CPU).num_bytes()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (2 * needed + spare_bytes, 10**12))
    asked: list[torch.device] = []

    def to(batch: Batch, device: torch.device) -> Batch:
        asked.append(device)
        return batch

    monkeypatch.setattr(Batch, "to", to)
    split_batch(data, "weights", torch.device("cuda"))
    assert asked == ([torch.device("cuda")] if moves else [])
