"""What fusion is trained on: when encoders are frozen, that cached taps are theirs, and that both fit again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from nas.config import EncoderMode, TrainingConfig
from nas.data.batches import split_batch
from nas.data.fusion_data import FusionData
from nas.encoders import Encoder
from nas.network.prediction import evaluation_losses
from nas.pipeline.search import make_space
from nas.retraining.preparation import PreparedEncoders, TrainingSetup, informative, prepare
from nas.retraining.retrain import train_from_scratch
from nas.routing.network import DerivedNetwork
from tests.helpers import CPU, tiny_data
from tests.tiny_runs import OPERATIONS, as_data, tiny_arrays

# Enough for one vector to learn three classes from 72 samples.
_TRAINING = TrainingConfig(epochs=6, channels=8, batch_size=16, learning_rate=1e-2)


def setup_of(data: FusionData, training: TrainingConfig = _TRAINING) -> TrainingSetup:
    return TrainingSetup(
        data=data, space=make_space("layerwise", data, operations=OPERATIONS), training=training, device=CPU
    )


def informative_data() -> FusionData:
    return as_data(tiny_arrays())


def exclusive_or_data() -> FusionData:
    """Two signs whose product is the class: either sign alone says nothing."""
    generator = np.random.default_rng(0)
    signs = generator.choice([-1.0, 1.0], size=(120, 2))
    noise = generator.normal(size=(120, 2)) / 10
    values = (signs + noise).astype(np.float32)
    arrays = {"sound": values[:, :1], "sight": values[:, 1:], "label": (signs.prod(axis=1) > 0).astype(int)}
    return as_data({**arrays, "split": tiny_arrays()["split"]})


def half_informative_data() -> FusionData:
    """Sight tells the class, sound is noise."""
    arrays = tiny_arrays()
    arrays["sound"] = np.random.default_rng(7).normal(size=arrays["sound"].shape).astype(np.float32)
    return as_data(arrays)


def data_with_gaps() -> FusionData:
    """A vector, a sequence and tokens; the sequence is missing for every fourth sample, and is far from zero."""
    present = {"steps": np.arange(60) % 4 != 0}
    data = tiny_data({"numbers": "vector", "steps": "sequence", "words": "tokens"}, count=60, present=present)
    data.modalities["steps"].arrays[0][present["steps"]] += 5
    return data


def test_auto_freezes_encoders_where_every_modality_says_something() -> None:
    prepared, mode = prepare(setup_of(informative_data()), "auto", seed=0)
    assert mode == "pretrained"
    assert set(prepared.frozen) == set(prepared.unimodal) == {"sound", "sight"}
    assert {modality.kind for modality in prepared.data.modalities.values()} == {"features"}
    assert prepared.seconds > 0


@pytest.mark.parametrize("make_data", [exclusive_or_data, half_informative_data])
def test_auto_trains_jointly_where_a_modality_says_nothing(make_data: Callable[[], FusionData]) -> None:
    data = make_data()
    prepared, mode = prepare(setup_of(data), "auto", seed=0)
    assert mode == "joint"
    assert not prepared.frozen
    assert prepared.data is data


def test_what_is_informative_beats_the_best_constant_by_two_standard_errors() -> None:
    for data, expected in ((half_informative_data(), [False, True]), (informative_data(), [True, True])):
        setup = setup_of(data)
        prepared, _ = prepare(setup, "pretrained", seed=0)
        batches = split_batch(data, "weights", CPU), split_batch(data, "architecture", CPU)
        assert [informative(setup, trained.network, *batches) for trained in prepared.unimodal.values()] == expected


def test_what_is_right_more_often_is_informative_however_sure_it_is_where_it_is_wrong() -> None:
    data = informative_data()
    setup = setup_of(data)
    prepared, _ = prepare(setup, "pretrained", seed=0)
    network = prepared.unimodal["sight"].network
    with torch.no_grad():
        network.head.linear.weight.mul_(50)
    architecture = split_batch(data, "architecture", CPU)
    wrong = torch.arange(len(architecture)) % 3 == 0  # of a third the label is another one
    others = (architecture.targets + 1) % 3
    architecture = replace(architecture, targets=torch.where(wrong, others, architecture.targets))
    losses = evaluation_losses("classification", network, architecture, CPU)
    assert losses.mean() > 2  # a constant has log 3, which is 1.1
    assert informative(setup, network, split_batch(data, "weights", CPU), architecture)


@pytest.mark.parametrize("mode", ["auto", "pretrained"])
def test_ready_made_features_need_no_pretraining(mode: EncoderMode) -> None:
    data = tiny_data({"image": "features", "words": "features"})
    prepared, found = prepare(setup_of(data), mode, seed=0)
    assert found == "joint"
    assert prepared.data is data
    assert not prepared.unimodal


def test_what_is_asked_for_is_done() -> None:
    assert prepare(setup_of(informative_data()), "joint", seed=0)[1] == "joint"
    assert prepare(setup_of(exclusive_or_data()), "pretrained", seed=0)[1] == "pretrained"


@pytest.fixture(scope="module")
def with_gaps() -> tuple[TrainingSetup, PreparedEncoders]:
    setup = setup_of(data_with_gaps(), TrainingConfig(epochs=2, channels=8, batch_size=16))
    return setup, prepare(setup, "pretrained", seed=0)[0]


def test_cached_taps_are_those_of_the_frozen_encoders(with_gaps: tuple[TrainingSetup, PreparedEncoders]) -> None:
    setup, prepared = with_gaps
    rows = np.concatenate([setup.data.splits["weights"], setup.data.splits["architecture"]])
    for name, modality in setup.data.modalities.items():
        cached = prepared.data.modalities[name]
        inner = prepared.frozen[name].inner
        trained = prepared.unimodal[name].network.encoders[name]
        assert inner is trained
        with torch.no_grad():
            taps = inner([torch.from_numpy(modality.arrays[0][rows])])
        assert len(taps) == len(cached.arrays) == setup.space.depths[name]
        for tap, array in zip(taps, cached.arrays, strict=True):
            # Batches of another size may be summed in another order.
            np.testing.assert_allclose(array, tap.numpy(), rtol=1e-5, atol=1e-6)
        if modality.present is not None:
            assert cached.present is not None
            np.testing.assert_array_equal(cached.present, modality.present[rows])
    np.testing.assert_array_equal(prepared.data.targets, setup.data.targets[rows])
    assert {split: len(indices) for split, indices in prepared.data.splits.items()} == {
        **{split: len(indices) for split, indices in setup.data.splits.items()},
        "test": 0,
    }


def outputs_of(network: DerivedNetwork, data: FusionData) -> torch.Tensor:
    batch = split_batch(data, "architecture", CPU)
    with torch.no_grad():
        outputs: torch.Tensor = network.eval()(batch.inputs, batch.present)
    return outputs


def test_the_assembled_network_does_on_raw_arrays_what_fusion_does_on_cached_taps(
    with_gaps: tuple[TrainingSetup, PreparedEncoders],
) -> None:
    setup, prepared = with_gaps
    late = next(r.architecture for r in setup.space.references if r.kind == "late")
    fusion = train_from_scratch(setup, prepared, late, "late fusion").network
    whole = prepared.assemble(fusion)
    # Batches of another size may be summed in another order.
    torch.testing.assert_close(outputs_of(whole, setup.data), outputs_of(fusion, prepared.data), rtol=1e-5, atol=1e-5)
    assert outputs_of(whole, setup.data).std(dim=0).min() > 1e-3  # and the answers depend on the input


def test_frozen_encoders_stay_as_they_are_when_fusion_is_trained(
    with_gaps: tuple[TrainingSetup, PreparedEncoders],
) -> None:
    setup, prepared = with_gaps
    before = {name: [p.clone() for p in encoder.parameters()] for name, encoder in prepared.frozen.items()}
    late = next(r.architecture for r in setup.space.references if r.kind == "late")
    fusion = train_from_scratch(setup, prepared, late, "late fusion").network
    prepared.assemble(fusion).train()
    assert not any(p.requires_grad for p in fusion.encoders.parameters())
    for name, encoder in prepared.frozen.items():
        assert isinstance(encoder, Encoder)
        assert not any(module.training for module in encoder.inner.modules() if isinstance(module, nn.BatchNorm1d))
        for parameter, old in zip(encoder.parameters(), before[name], strict=True):
            assert not parameter.requires_grad
            assert torch.equal(parameter, old)


def test_another_seed_pretrains_other_encoders() -> None:
    setup = setup_of(informative_data(), TrainingConfig(epochs=2, channels=8))
    one, same, other = (prepare(setup, "pretrained", seed)[0].data.fingerprint() for seed in (0, 0, 1))
    assert one == same != other
