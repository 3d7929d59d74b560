"""Small data that tells its parts apart, and the check that a refusal is one clear line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nas.data import FusionData
from nas.errors import UserError

COUNT = 20
"""Samples of the small data; every array is another in shape and values."""

IMAGE: NDArray[np.float32] = np.random.default_rng(1).normal(size=(COUNT, 3)).astype(np.float32)
AUDIO: NDArray[np.float32] = np.random.default_rng(2).normal(size=(COUNT, 4, 2)).astype(np.float32)
WORDS: NDArray[np.int16] = np.random.default_rng(3).integers(0, 9, size=(COUNT, 5)).astype(np.int16)
LABEL: NDArray[np.int64] = np.arange(COUNT) % 2
SPLIT: NDArray[np.int64] = np.repeat([0, 1, 2], [12, 4, 4])


def small(**changes: Any) -> FusionData:
    """Two modalities and two classes, with any argument of `FusionData.from_arrays` changed."""
    arguments: dict[str, Any] = {
        "modalities": {"image": IMAGE, "audio": AUDIO},
        "targets": LABEL,
        "splits": SPLIT,
        **changes,
    }
    return FusionData.from_arrays(arguments.pop("modalities"), arguments.pop("targets"), **arguments)


@contextmanager
def refused(message: str) -> Iterator[pytest.ExceptionInfo[UserError]]:
    """Expects a `UserError` of one line that matches a pattern."""
    with pytest.raises(UserError, match=message) as caught:
        yield caught
    assert "\n" not in str(caught.value)
