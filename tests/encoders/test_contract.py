"""Every encoder keeps the contract of `tests.contracts`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.data.fusion_data import KINDS, Kind
from nas.encoders import DEFAULT_ENCODERS, Encoder, ModuleEncoder
from nas.encoders.base import Standardize
from nas.encoders.features import FeaturesEncoder
from nas.encoders.frozen import FrozenEncoder
from nas.encoders.piecewise import PiecewiseLinear
from nas.encoders.regions import RegionEncoder
from nas.encoders.sequence import SequenceEncoder
from nas.encoders.vector import VectorEncoder
from nas.seeding import seeded
from tests.contracts import ENCODER_CHECKS
from tests.helpers import tiny_array, tiny_data

Case = tuple[Encoder, list[Tensor]]


def arrays_of(kind: Kind, count: int = 12) -> list[Tensor]:
    """One batch of a kind."""
    made = tiny_array(kind, count, np.random.default_rng(1))
    return [torch.from_numpy(array) for array in (made if isinstance(made, list) else [made])]


def default(kind: Kind) -> Case:
    data = tiny_data({"given": kind, "other": "vector"})
    return DEFAULT_ENCODERS[kind](data, "given"), arrays_of(kind)


def frozen(kind: Kind) -> Case:
    inner, inputs = default(kind)
    with torch.no_grad():
        taps = [tap.numpy() for tap in inner.eval()(inputs)]
    return FrozenEncoder(inner, FeaturesEncoder.fit(taps)), inputs


def sequence_with_peaks() -> Case:
    return SequenceEncoder(Standardize.blank(1, 2), 2, peaks=True), arrays_of("sequence")


def sequence_with_magnitudes() -> Case:
    return SequenceEncoder(Standardize.blank(1, 2), 2, magnitudes=True), arrays_of("sequence")


def vector_in_bins() -> Case:
    inputs = arrays_of("vector")
    piecewise = PiecewiseLinear.fit(inputs[0].numpy(), 4)
    return VectorEncoder(Standardize.fit(piecewise(inputs[0]).numpy(), channel_axis=-1), 3, piecewise=piecewise), inputs


def module_of_vectors() -> Case:
    inputs = arrays_of("vector")
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 6))
    return ModuleEncoder(module, ["0", "2", "4"], inputs[0]), inputs


def module_of_sequences() -> Case:
    inputs = arrays_of("sequence")
    module = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 5))
    return ModuleEncoder(module, ["1", "2"], inputs[0]), inputs


def module_of_maps() -> Case:
    inputs = arrays_of("map")
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 5))
    return ModuleEncoder(module, ["0", "2", "4"], inputs[0]), inputs


def regions() -> Case:
    return RegionEncoder(Standardize.blank(2, 1, 1), (2, 6, 6)), arrays_of("map")


ENCODERS: Mapping[str, Callable[[], Case]] = {
    "vector": lambda: default("vector"),
    "sequence": lambda: default("sequence"),
    "sequence with peaks": sequence_with_peaks,
    "sequence with magnitudes": sequence_with_magnitudes,
    "vector in bins": vector_in_bins,
    "tokens": lambda: default("tokens"),
    "map": lambda: default("map"),
    "regions": regions,
    "features": lambda: default("features"),
    "frozen vector": lambda: frozen("vector"),
    "frozen sequence": lambda: frozen("sequence"),
    "frozen tokens": lambda: frozen("tokens"),
    "frozen map": lambda: frozen("map"),
    "module of vectors": module_of_vectors,
    "module of sequences": module_of_sequences,
    "module of maps": module_of_maps,
}


@pytest.mark.parametrize("check", ENCODER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ENCODERS)
def test_encoder_keeps_the_contract(name: str, check: Callable[[Encoder, Sequence[Tensor]], None]) -> None:
    with seeded(0):
        encoder, inputs = ENCODERS[name]()
    check(encoder.eval(), inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_default_encoder_offers_three_depths(kind: Kind) -> None:
    assert default(kind)[0].num_taps >= 3


def test_every_kind_has_a_default_encoder() -> None:
    assert set(DEFAULT_ENCODERS) == set(KINDS)


@pytest.mark.parametrize("name", ["vector", "sequence", "map"])
def test_in_training_only_biases_that_batch_norm_takes_away_stand_still(name: str) -> None:
    with seeded(0):
        encoder, inputs = ENCODERS[name]()
        encoder.double().train()
        taps = encoder(inputs)
        torch.stack([(tap * torch.randn_like(tap)).sum() for tap in taps]).sum().backward()
    still = set()
    for path, parameter in encoder.named_parameters():
        assert parameter.grad is not None
        if parameter.grad.abs().max() < 1e-10:  # rounding of float64 zeros
            still.add(path)
    assert still == {f"stages.{depth}.0.bias" for depth in range(3)}


@pytest.mark.parametrize("time", [1, 2, 17, 40])
def test_sequences_of_any_length_are_encoded(time: int) -> None:
    encoder, _ = default("sequence")
    taps = encoder.eval()([torch.randn(3, time, 2)])
    # Each layer halves the time, rounding up; a tap has 16 steps at most.
    halves = [-(-time // 2), -(-time // 4), -(-time // 8)]
    assert [tap.shape[1] for tap in taps] == [min(16, half) for half in halves]
