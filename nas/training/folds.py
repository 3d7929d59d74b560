"""The architecture split in parts, each of which is judged by what the others have decided."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

FOLDS = 5
"""How many parts."""


def folds(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Parts of so many samples, always the same ones.

    Args:
        count: Samples, at least 1; of fewer than `FOLDS` each is a part of its own.

    Yields:
        The indices of a part, (part,), and a mask of all other samples, (count,). A single sample has no others, and
        stands for them itself.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    for number in range(min(FOLDS, count)):
        part, rest = order[number::FOLDS], torch.ones(count, dtype=torch.bool)
        rest[part] = count == 1
        yield part, rest


__all__ = ["FOLDS", "folds"]
