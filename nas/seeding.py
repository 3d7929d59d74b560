"""Random states: a seed inside a block, and the outer states as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """Seeds initialisation and dropout inside the block, leaves the outer random state as it was.

    Yields:
        A CPU generator of the same seed for everything that takes one.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


__all__ = ["seeded"]
