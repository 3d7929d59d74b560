"""A pretrained encoder stays as it is, and offers on raw arrays what its cached taps offer."""

from __future__ import annotations

import torch

from nas.encoders.base import Standardize
from nas.encoders.features import FeaturesEncoder
from nas.encoders.frozen import FrozenEncoder
from nas.encoders.vector import VectorEncoder
from nas.seeding import seeded


def make() -> tuple[FrozenEncoder, VectorEncoder, torch.Tensor]:
    with seeded(0):
        inner = VectorEncoder(Standardize.blank(3), 3, widths=(4, 5), dropout_rate=0.5)
        inputs = torch.randn(20, 3)
        inner([inputs])  # in training mode, so that BatchNorm has statistics of its own
        with torch.no_grad():
            taps = [tap.numpy() for tap in inner.eval()([inputs])]
        return FrozenEncoder(inner, FeaturesEncoder.fit(taps)), inner, inputs


def test_training_changes_nothing_in_it() -> None:
    encoder, inner, inputs = make()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    first = encoder.train()([inputs])
    assert not inner.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    assert all(torch.equal(tap, again) for tap, again in zip(first, encoder.eval()([inputs]), strict=True))


def test_raw_arrays_and_cached_taps_give_the_same() -> None:
    encoder, inner, inputs = make()
    with torch.no_grad():
        cached = encoder.features(inner([inputs]))
        raw = encoder([inputs])
    assert all(torch.equal(tap, same) for tap, same in zip(raw, cached, strict=True))
    # Standardized with their own statistics: mean 0 and, where the unit is alive, deviation 1, up to float32.
    assert all(tap.mean(dim=(0, 1)).abs().max() < 1e-5 for tap in raw)
    assert raw[0].std(dim=(0, 1), correction=0).max() - 1 < 1e-5
