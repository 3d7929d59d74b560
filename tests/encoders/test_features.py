"""Ready-made features become taps as they are, standardized."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas.encoders.features import FeaturesEncoder
from nas.errors import UserError


def test_every_array_becomes_one_tap_of_its_own_form() -> None:
    # A vector, two steps and a map of one channel, of two samples each that lie one deviation from their mean.
    arrays = [
        np.array([[1.0], [3.0]]),
        np.array([[[0.0], [0.0]], [[4.0], [4.0]]]),
        np.stack([np.full((1, 2, 2), -5.0), np.full((1, 2, 2), 5.0)]),
    ]
    taps = FeaturesEncoder.fit(arrays)([torch.from_numpy(array) for array in arrays])
    assert [tap.tolist() for tap in taps] == [
        [[[-1]], [[1]]],
        [[[-1], [-1]], [[1], [1]]],
        [[[-1] * 4], [[1] * 4]],
    ]


def test_an_array_of_another_form_is_refused() -> None:
    with pytest.raises(UserError, match="features of depth 1 have 5 axes; expected 2, 3 or 4"):
        FeaturesEncoder.fit([np.zeros((2, 3)), np.zeros((2, 1, 1, 1, 1))])
