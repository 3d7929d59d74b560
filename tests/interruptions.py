"""Stopping a training anywhere, in this process, and telling whether it went on to the same bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch


class Interrupted(BaseException):
    """Nothing catches it, as nothing catches a signal."""


@contextmanager
def interrupted_at(patch: pytest.MonkeyPatch, number: int) -> Iterator[list[int]]:
    """Interrupts the block in the training step of that number, from 1, whoever takes it.

    Yields:
        A list with the number of steps so far.
    """
    taken = [0]
    step = torch.optim.lr_scheduler.OneCycleLR.step

    def counted(scheduler: Any, *arguments: Any) -> None:
        if scheduler.last_epoch >= 0:  # the first call is the constructor's
            taken[0] += 1
            if taken[0] == number:
                raise Interrupted
        step(scheduler, *arguments)

    with patch.context() as inside:
        inside.setattr(torch.optim.lr_scheduler.OneCycleLR, "step", counted)
        yield taken


def timeless(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Records without what the clock says."""
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]
