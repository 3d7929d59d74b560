"""The sum of single networks is what independent evidence comes to, in one network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.config import TrainingConfig
from nas.data.batches import split_batch
from nas.data.fusion_data import FusionData
from nas.metrics import constant_outputs
from nas.network.fusion_network import FusionNetwork
from nas.network.prediction import predict
from nas.pipeline.search import make_space
from nas.retraining.summed import can_be_summed, cross_fitted, summed, trust
from nas.seeding import seeded
from nas.space.architecture import Architecture
from nas.tasks import Task
from nas.training.build import build_network
from tests.helpers import CPU, tiny_data
from tests.tiny_runs import as_data, tiny_arrays

CONFIG = TrainingConfig(channels=8)


def networks_of(data: FusionData) -> dict[str, FusionNetwork]:
    """One untrained network per modality, each of its own random weights and statistics."""
    space, found = make_space("layerwise", data), {}
    for number, reference in enumerate(one for one in space.references if one.kind == "modality"):
        with seeded(number):
            network = build_network(space.only(reference.architecture), data, CONFIG)
            torch.nn.init.normal_(network.head.linear.bias)
            network(split_batch(data, "weights", CPU).inputs)  # moves the statistics of BatchNorm
        found[reference.name] = network.eval()
    return found


def late_of(data: FusionData) -> Architecture:
    """Late fusion of the default space."""
    return next(one.architecture for one in make_space("layerwise", data).references if one.kind == "late")


def outputs_of(
    networks: dict[str, FusionNetwork], data: FusionData, weights: list[float] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """What every network puts out for the test split, stacked; what their sum does; targets of the weights split."""
    batch = split_batch(data, "test", CPU)
    fitted_on = torch.from_numpy(data.targets[data.splits["weights"]])
    whole = summed(
        data.task, late_of(data), networks, constant_outputs(data.task, fitted_on[:1], fitted_on)[0], weights
    )
    assert not whole.training
    every = [predict(network, batch, CPU)[0] for network in networks.values()]
    return torch.stack(every), predict(whole, batch, CPU)[0], fitted_on


# Steps of a tap of 7 are repeated unevenly to be added to one of 12.
@pytest.mark.parametrize(("words", "tolerance"), [(6, 1e-5), (7, 1e-3)])
def test_of_classes_it_is_naive_bayes_over_modalities_of_any_length(words: int, tolerance: float) -> None:
    arrays = tiny_arrays()
    generator = np.random.default_rng(1)
    count = len(arrays["label"])
    arrays["steps"] = generator.normal(size=(count, 23, 2)).astype(np.float32)  # taps of 12, 6 and 3 steps
    arrays["words"] = generator.integers(0, 9, size=(count, words))
    arrays["label"][:30] = 0  # classes are of unequal frequency
    data = as_data(arrays, kinds={"words": "tokens"})
    networks = networks_of(data)
    assert len(networks) == 4
    every, found, fitted_on = outputs_of(networks, data)
    prior = (torch.bincount(fitted_on) + 1) / (len(fitted_on) + 3)
    wanted = every.log_softmax(dim=2).sum(dim=0) - 3 * prior.log()
    torch.testing.assert_close(found.log_softmax(dim=1), wanted.log_softmax(dim=1), rtol=0, atol=tolerance)


def test_of_labels_it_adds_log_odds() -> None:
    arrays = tiny_arrays()
    data = as_data({**arrays, "label": np.stack([arrays["label"] > 0, arrays["label"] > 1], axis=1).astype(int)})
    assert data.task == "multilabel"
    every, found, fitted_on = outputs_of(networks_of(data), data)
    torch.testing.assert_close(found, every.sum(dim=0) - torch.logit(fitted_on.mean(dim=0)))


def test_of_numbers_it_is_the_mean() -> None:
    arrays = tiny_arrays()
    data = as_data({**arrays, "label": (arrays["sight"][:, :2] * 7 + 300).astype(np.float32)})
    every, found, _ = outputs_of(networks_of(data), data)
    torch.testing.assert_close(found, every.mean(dim=0), rtol=1e-5, atol=0)


def test_evidence_counts_as_much_as_it_is_told_to() -> None:
    data = as_data(tiny_arrays())
    every, found, fitted_on = outputs_of(networks_of(data), data, [0.5, 2.0])
    prior = ((torch.bincount(fitted_on) + 1) / (len(fitted_on) + 3)).log()
    wanted = 0.5 * every[0].log_softmax(dim=1) + 2 * every[1].log_softmax(dim=1) - 1.5 * prior
    torch.testing.assert_close(found.log_softmax(dim=1), wanted.log_softmax(dim=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("task", ["classification", "multilabel"])
def test_who_claims_twice_what_it_knows_counts_half_and_who_makes_it_up_counts_for_little(task: Task) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 20_000, 2, generator=generator)
    truth = outputs[0] + outputs[1]  # of a uniform prior
    if task == "classification":
        targets = torch.multinomial(truth.softmax(dim=1), 1, generator=generator).squeeze(1)
    else:
        targets = torch.bernoulli(truth.sigmoid(), generator=generator)
    outputs[1] *= 2
    right, boaster, liar = trust(task, outputs, targets, torch.zeros(2))
    assert right == pytest.approx(1, abs=0.05)  # three standard errors of 20,000 samples
    assert boaster == pytest.approx(0.5, abs=0.05)
    assert liar < 0.2


def test_numbers_are_weighed_by_their_precision() -> None:
    targets = torch.zeros(2, 1)
    outputs = torch.tensor([[[1.0], [-1.0]], [[2.0], [2.0]]])  # mean squared errors 1 and 4
    assert trust("regression", outputs, targets, torch.zeros(1)) == pytest.approx([0.8, 0.2])


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_no_sample_fits_the_weights_that_it_is_judged_by(task: Task) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs, constant = torch.randn(2, 40, 3, generator=generator), torch.zeros(3)
    targets = torch.randint(3, (40,), generator=generator) if task == "classification" else (outputs[0] > 0).float()
    found = cross_fitted(task, outputs, targets, constant)
    changed = targets.clone()
    changed[7] = (targets[7] + 1) % 3 if task == "classification" else 1 - targets[7]
    again = cross_fitted(task, outputs, changed, constant)
    same = (found == again).all(dim=1)
    assert same[7]  # the fold of sample 7 is fitted on the others
    assert same.sum() == 8  # a fifth of them; all others are fitted on sample 7, too


def test_a_single_sample_is_judged_all_the_same() -> None:
    found = cross_fitted("classification", torch.randn(2, 1, 3), torch.tensor([1]), torch.zeros(3))
    assert bool(found.isfinite().all())


def test_an_absent_modality_says_what_its_own_network_says_without_it() -> None:
    present = {"steps": np.arange(60) % 4 != 0}
    data = tiny_data({"numbers": "vector", "steps": "sequence"}, count=60, present=present)
    assert not data.modalities["steps"].present[data.splits["test"]].all()  # type: ignore[index]
    every, found, fitted_on = outputs_of(networks_of(data), data)
    counts = torch.bincount(fitted_on, minlength=found.shape[1]) + 1
    wanted = every.log_softmax(dim=2).sum(dim=0) - (counts / counts.sum()).log()
    torch.testing.assert_close(found.log_softmax(dim=1), wanted.log_softmax(dim=1), rtol=0, atol=1e-5)


def test_the_networks_that_it_is_made_of_stay_as_they_are() -> None:
    data = as_data(tiny_arrays())
    networks = networks_of(data)
    whole = summed(data.task, late_of(data), networks, torch.zeros(3))
    before = {name: value.clone() for name, value in networks["sound"].state_dict().items()}
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in networks["sound"].state_dict().items())


@pytest.mark.parametrize("space", ["layerwise", "experts"])
def test_spaces_whose_modalities_are_carried_to_the_head_have_a_sum(space: str) -> None:
    made = make_space(space, as_data(tiny_arrays()))
    assert can_be_summed(made)
    assert not can_be_summed(replace(made, references=made.references[1:]))  # nothing of the first modality alone
