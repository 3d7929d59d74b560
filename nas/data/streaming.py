"""Inputs of samples that are read when a network asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.data.fusion_data import Modality


class StreamedInputs(Mapping[str, tuple[Tensor, ...]]):
    """Modality to its arrays of some samples, each (samples, …): read at the first look, and then kept.

    What is taken out of it is not read yet either, so that passing over a split in parts never holds all of it, and a
    network of one modality reads that one alone.

    Args:
        modalities: Of all samples.
        chosen: Indices of the samples.
        device: Where the tensors are wanted.
        absent: Modalities that are shown as zeros.
    """

    def __init__(
        self,
        modalities: Mapping[str, Modality],
        chosen: NDArray[np.int64],
        device: torch.device,
        absent: frozenset[str] = frozenset(),
    ) -> None:
        self._modalities = modalities
        self._chosen = chosen
        self._device = device
        self._absent = absent
        self._read: dict[str, tuple[Tensor, ...]] = {}

    def __getitem__(self, name: str) -> tuple[Tensor, ...]:
        if name not in self._read:
            arrays = [array[self._chosen] for array in self._modalities[name].arrays]
            tensors = (tensor_of(array).to(self._device) for array in arrays)
            self._read[name] = tuple(torch.zeros_like(one) if name in self._absent else one for one in tensors)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modalities)

    def __len__(self) -> int:
        return len(self._modalities)

    def take(self, indices: Tensor | slice) -> StreamedInputs:
        """Those of the samples at these indices."""
        rows = indices if isinstance(indices, slice) else indices.cpu().numpy()
        return StreamedInputs(self._modalities, self._chosen[rows], self._device, self._absent)

    def to(self, device: torch.device) -> StreamedInputs:
        """The same on a device."""
        return StreamedInputs(self._modalities, self._chosen, device, self._absent)

    def without(self, name: str) -> StreamedInputs:
        """The same with zeros for a modality."""
        return StreamedInputs(self._modalities, self._chosen, self._device, self._absent | {name})

    def largest_array(self) -> int:
        """Numbers that the largest array of one sample holds."""
        shapes = [array.shape[1:] for modality in self._modalities.values() for array in modality.arrays]
        return max(map(prod, shapes))


def tensor_of(array: NDArray[Any]) -> Tensor:
    """An array as a tensor on the CPU, in a number type that torch has."""
    if array.dtype in (np.uint16, np.uint32, np.uint64):  # torch cannot index or convert these everywhere
        array = array.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(array))


__all__ = ["StreamedInputs", "tensor_of"]
