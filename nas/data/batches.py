"""Splits as tensors, on the device when they fit, and batches drawn from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.data.fusion_data import FusionData, Modality, Split
from nas.data.memory import in_units
from nas.data.streaming import StreamedInputs, tensor_of
from nas.errors import UserError


@dataclass(frozen=True, eq=False)
class Batch:
    """Some samples, on one device.

    Attributes:
        inputs: Modality to its arrays, each (batch, …), in the number type of the data. Where they are
            `StreamedInputs`, they are not in memory yet, and taking samples and moving them reads none.
        present: Modality to (batch,) bool; modalities that all samples have are left out.
        targets: (batch,) int64, or (batch, outputs) float32.
        importance: What the loss of every sample, or of each of its labels or numbers, is multiplied with where weights
            learn, (batch,) or (batch, outputs); None where all count the same, as everywhere but in the weights split.
    """

    inputs: Mapping[str, tuple[Tensor, ...]]
    present: Mapping[str, Tensor]
    targets: Tensor
    importance: Tensor | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, indices: Tensor | slice) -> Batch:
        """The samples at these indices."""
        return Batch(
            self.inputs.take(indices)
            if isinstance(self.inputs, StreamedInputs)
            else {name: tuple(array[indices] for array in arrays) for name, arrays in self.inputs.items()},
            {name: mask[indices] for name, mask in self.present.items()},
            self.targets[indices],
            None if self.importance is None else self.importance[indices],
        )

    def to(self, device: torch.device) -> Batch:
        """The same samples on a device."""
        return Batch(
            self.inputs.to(device)
            if isinstance(self.inputs, StreamedInputs)
            else {
                name: tuple(array.to(device, non_blocking=True) for array in arrays)
                for name, arrays in self.inputs.items()
            },
            {name: mask.to(device, non_blocking=True) for name, mask in self.present.items()},
            self.targets.to(device, non_blocking=True),
            None if self.importance is None else self.importance.to(device, non_blocking=True),
        )

    def without(self, name: str) -> Batch:
        """The same samples, of which none has a modality; its arrays are zero."""
        if isinstance(self.inputs, StreamedInputs):
            inputs: Mapping[str, tuple[Tensor, ...]] = self.inputs.without(name)
        else:
            inputs = {**self.inputs, name: tuple(torch.zeros_like(array) for array in self.inputs[name])}
        absent = torch.zeros(len(self), dtype=torch.bool, device=self.targets.device)
        return replace(self, inputs=inputs, present={**self.present, name: absent})

    def largest_array(self) -> int:
        """Numbers that the largest array of one sample holds."""
        if isinstance(self.inputs, StreamedInputs):
            return self.inputs.largest_array()
        return max((prod(one.shape[1:]) for arrays in self.inputs.values() for one in arrays), default=0)

    def num_bytes(self) -> int:
        """Memory that the tensors take."""
        tensors = [array for arrays in self.inputs.values() for array in arrays] + [self.targets]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def split_batch(data: FusionData, split: Split, device: torch.device) -> Batch:
    """All samples of one split as one batch, on the device if they take at most half of its free memory.

    Of data that is streamed it holds no inputs yet.

    Args:
        data: Read at this split alone.
        split: Which one.
        device: Where the network is; elsewhere than on a GPU the data simply goes there.
    """
    chosen = data.splits[split]
    batch = batch_of(data.modalities, chosen, torch.from_numpy(data.targets[chosen]), is_streamed=data.is_streamed)
    if device.type == "cuda" and not data.is_streamed:
        free_bytes, _ = torch.cuda.mem_get_info(device)
        if batch.num_bytes() > free_bytes // 2:
            return batch
    return batch.to(device)


def refuse_too_little_memory(data: FusionData, batch_size: int) -> None:
    """Refuses to stream data of which not even one batch fits.

    Raises:
        UserError: If a batch, as it is read and in float32, takes more than the data may.
    """
    arrays = [array for modality in data.modalities.values() for array in modality.arrays]
    sample = sum(prod(array.shape[1:]) * (array.dtype.itemsize + 4) for array in arrays)
    if data.memory is not None and data.is_streamed and batch_size * sample > data.memory:
        raise UserError(
            f"a batch of {batch_size} samples takes {in_units(batch_size * sample)}, but data may take "
            f"{in_units(data.memory)} of memory; allow more, or take a smaller batch_size"
        )


def batch_of(
    modalities: Mapping[str, Modality], chosen: NDArray[np.int64], targets: Tensor, *, is_streamed: bool = False
) -> Batch:
    """Copies of some samples as one batch on the CPU.

    Args:
        modalities: Of all samples.
        chosen: Indices of the samples.
        targets: Of these samples.
        is_streamed: Whether inputs are read and copied only when they are asked for.
    """
    return Batch(
        StreamedInputs(modalities, chosen, targets.device)
        if is_streamed
        else {name: tuple(tensor_of(a[chosen]) for a in modality.arrays) for name, modality in modalities.items()},
        {
            name: torch.from_numpy(modality.present[chosen])
            for name, modality in modalities.items()
            if modality.present is not None
        },
        targets,
    )


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


class Endless:
    """Passes over the samples without end, each in a new random order: `next(parts)` is the next batch.

    Args:
        batch: All samples.
        batch_size: Samples per step, at least 2.
        generator: On the CPU.
        device: Where the batches are wanted.
    """

    def __init__(self, batch: Batch, batch_size: int, generator: torch.Generator, device: torch.device) -> None:
        self._pass = partial(shuffled, batch, batch_size, device=device)
        self._generator = generator
        self._parts: Iterator[Batch] = iter(())
        self._pass_began = generator.get_state()
        self._taken = 0

    def __next__(self) -> Batch:
        part = next(self._parts, None)
        if part is None:
            self._pass_began, self._taken = self._generator.get_state(), 0
            self._parts = self._pass(generator=self._generator)
            part = next(self._parts)
        self._taken += 1
        return part

    def state_dict(self) -> dict[str, Any]:
        """Where it is: the generator at the beginning of the present pass, and how many batches that has given."""
        return {"pass_began": self._pass_began, "taken": self._taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to where another one was.

        Raises:
            ValueError: If that is no place in a pass.
        """
        self._pass_began, self._taken = state["pass_began"], int(state["taken"])
        again = torch.Generator()
        again.set_state(self._pass_began)
        self._parts = self._pass(generator=again) if self._taken else iter(())
        for _ in range(self._taken):
            if next(self._parts, None) is None:
                raise ValueError(f"a pass does not have {self._taken} batches")


LARGEST_PASS = 2**23
"""Numbers of an array that a network is shown at once where nothing learns. What a convolution network makes of them
takes a few hundred megabytes; of 512 pictures of 256 × 256 pixels it would be gigabytes."""


def in_order(batch: Batch, batch_size: int, device: torch.device) -> Iterator[Batch]:
    """One pass over the samples in their order.

    Args:
        batch: All samples.
        batch_size: Samples of a part at most; fewer, if one array of theirs is larger than `LARGEST_PASS`.
        device: Where the parts are wanted.
    """
    batch_size = max(1, min(batch_size, LARGEST_PASS // max(1, batch.largest_array())))
    for start in range(0, len(batch), batch_size):
        yield batch.take(slice(start, start + batch_size)).to(device)
