"""Sequences: the clock tells early from late."""

from __future__ import annotations

import pytest
import torch

from nas.encoders.base import Standardize
from nas.encoders.sequence import SequenceEncoder
from nas.seeding import seeded


def test_mean_over_time_tells_early_from_late() -> None:
    # A bump in the middle of one half or of the other is the same to convolutions and means, but for the clock.
    early, late = torch.zeros(1, 64, 1), torch.zeros(1, 64, 1)
    early[0, 16:24], late[0, 40:48] = 1, 1
    with seeded(0):
        encoder = SequenceEncoder(Standardize.blank(1, 1), 1, widths=(6, 6)).eval()
    seen = [encoder([bump])[-1].mean(dim=1) for bump in (early, late)]
    assert (seen[0] - seen[1]).abs().max() > 1e-3
    with torch.no_grad():
        encoder.get_parameter("stages.0.0.weight")[:, -1] = 0  # without the clock
    seen = [encoder([bump])[-1].mean(dim=1) for bump in (early, late)]
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=1e-6)  # float32 sums in another order


@pytest.mark.parametrize("time", [20, 80])
def test_the_second_half_of_a_tap_is_the_power_mean_over_all_of_time(time: int) -> None:
    # Taps of the first layer are its output of 10 steps as it is, and of 40 steps averaged down to 16.
    with seeded(0):
        encoder = SequenceEncoder(Standardize.blank(1, 2), 2, widths=(6, 4), peaks=True).eval()
        sequence = torch.randn(3, time, 2)
    assert encoder.channels == (12, 8)
    output = encoder.get_submodule("stages.0")(encoder.start([sequence])[0]).squeeze(2)  # (batch, features, steps)
    tap = encoder([sequence])[0]
    peaks = (output**3).mean(dim=2) ** (1 / 3)
    assert bool((peaks >= output.mean(dim=2)).all() and (peaks <= output.amax(dim=2)).all())
    torch.testing.assert_close(tap[:, :, 6:], peaks[:, None].expand(-1, tap.shape[1], -1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tap[:, :, :6].mean(dim=1), output.mean(dim=2), atol=0.1, rtol=0)  # stretches overlap
