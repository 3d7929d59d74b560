"""Splits as tensors, on the device when they fit, and batches drawn from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nas.data.fusion_data import FusionData, Split


@dataclass(frozen=True, eq=False)
class Batch:
    """Some samples, on one device.

    Attributes:
        inputs: Modality to its arrays, each (batch, …), in the number type of the data.
        present: Modality to (batch,) bool; modalities that all samples have are left out.
        targets: (batch,) int64, or (batch, outputs) float32.
    """

    inputs: Mapping[str, tuple[Tensor, ...]]
    present: Mapping[str, Tensor]
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, indices: Tensor | slice) -> Batch:
        """The samples at these indices."""
        return Batch(
            {name: tuple(array[indices] for array in arrays) for name, arrays in self.inputs.items()},
            {name: mask[indices] for name, mask in self.present.items()},
            self.targets[indices],
        )

    def to(self, device: torch.device) -> Batch:
        """The same samples on a device."""
        return Batch(
            {
                name: tuple(array.to(device, non_blocking=True) for array in arrays)
                for name, arrays in self.inputs.items()
            },
            {name: mask.to(device, non_blocking=True) for name, mask in self.present.items()},
            self.targets.to(device, non_blocking=True),
        )

    def num_bytes(self) -> int:
        """Memory that the tensors take."""
        tensors = [array for arrays in self.inputs.values() for array in arrays] + [self.targets]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def split_batch(data: FusionData, split: Split, device: torch.device) -> Batch:
    """All samples of one split as one batch, on the device if they take at most half of its free memory.

    Args:
        data: Read at this split alone.
        split: Which one.
        device: Where the network is; elsewhere than on a GPU the data simply goes there.
    """
    chosen = data.splits[split]
    batch = Batch(
        {name: tuple(_tensor(a[chosen]) for a in modality.arrays) for name, modality in data.modalities.items()},
        {
            name: torch.from_numpy(modality.present[chosen])
            for name, modality in data.modalities.items()
            if modality.present is not None
        },
        torch.from_numpy(data.targets[chosen]),
    )
    if device.type == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(device)
        if batch.num_bytes() > free_bytes // 2:
            return batch
    return batch.to(device)


def batch_bounds(num_samples: int, batch_size: int) -> list[tuple[int, int]]:
    """Where each batch of a pass starts and ends; a last one of one sample joins the one before."""
    ends = list(range(batch_size, num_samples, batch_size))
    if ends and num_samples - ends[-1] == 1:
        ends.pop()
    return list(zip([0, *ends], [*ends, num_samples], strict=True))


def shuffled(batch: Batch, batch_size: int, generator: torch.Generator, device: torch.device) -> Iterator[Batch]:
    """One pass over the samples in random order; a last batch of one sample joins the one before (BatchNorm needs two).

    Args:
        batch: All samples.
        batch_size: Samples per step, at least 2.
        generator: On the CPU, so that the order is the same on every device.
        device: Where the batches are wanted.
    """
    order = torch.randperm(len(batch), generator=generator)
    for start, end in batch_bounds(len(batch), batch_size):
        yield batch.take(order[start:end].to(batch.targets.device)).to(device)


def in_order(batch: Batch, batch_size: int, device: torch.device) -> Iterator[Batch]:
    """One pass over the samples in their order."""
    for start in range(0, len(batch), batch_size):
        yield batch.take(slice(start, start + batch_size)).to(device)


def _tensor(array: np.ndarray) -> Tensor:
    if array.dtype in (np.uint16, np.uint32, np.uint64):  # torch cannot index or convert these everywhere
        array = array.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(array))
