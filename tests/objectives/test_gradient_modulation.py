"""Gradient modulation: coefficients by hand, what each modality says alone, and whose steps are scaled."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from nas.network.prediction import losses
from nas.objectives.base import ForwardPass
from nas.objectives.gradient_modulation import GradientModulation, modulation, unimodal_scores
from nas.objectives.steps import parameters_of
from nas.training.epoch_loop import make_optimizer, step
from tests.objectives.networks import CONFIG, DATA, batch_of, network_of


@pytest.mark.parametrize(
    ("scores", "alpha", "wanted"),
    [
        ([4.0, 2.0], 0.1, [1 - math.tanh(0.1 * 2), 1]),
        ([2.0, 4.0], 0.8, [1, 1 - math.tanh(0.8 * 2)]),
        ([3.0, 3.0], 0.8, [1, 1]),  # nobody is ahead
        # Of three the mean of both ratios: (4/2 + 4/1) / 2 = 3; (2/4 + 2/1) / 2 = 1.25; (1/4 + 1/2) / 2 < 1.
        ([4.0, 2.0, 1.0], 0.5, [1 - math.tanh(1.5), 1 - math.tanh(0.625), 1]),
    ],
)
def test_coefficients_worked_by_hand(scores: list[float], alpha: float, wanted: list[float]) -> None:
    assert modulation(torch.tensor(scores), alpha).tolist() == pytest.approx(wanted, abs=1e-6)


def test_where_fusion_adds_a_modality_says_its_slice_of_the_joint_head_and_half_of_the_bias() -> None:
    network, batch = network_of("late").eval(), batch_of()
    forward = ForwardPass.run(DATA.task, network, batch)
    found = unimodal_scores(forward, ["sound", "sight"])
    operation = network.operation("fusion2", network.architecture.steps[0].choice.key)
    zeros = torch.zeros(1, 1, 8)
    bias = network.head(operation([zeros, zeros]))  # of the sum and of the head
    taps = [forward.taps["sound@2"], forward.taps["sight@2"]]
    for number in range(2):
        slices = [tap if i == number else torch.zeros_like(tap) for i, tap in enumerate(taps)]
        logits = network.head(operation(slices)) - bias / 2
        right = logits.softmax(dim=1)[torch.arange(6), batch.targets].sum()
        torch.testing.assert_close(found[number], right)


def test_a_product_says_nothing_of_either_modality_alone() -> None:
    forward = ForwardPass.run(DATA.task, network_of("product").eval(), batch_of())
    scores = unimodal_scores(forward, ["sound", "sight"])
    torch.testing.assert_close(scores[0], scores[1])


def test_the_step_of_the_modality_that_is_ahead_is_scaled_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)  # without the noise, to compare steps
    moved = []
    for coefficient in (1.0, 0.25):
        network = network_of("late", dropout_rate=0.0)
        before = copy.deepcopy(network.state_dict())
        objective = GradientModulation(network, 0.5)
        objective.coefficients = {"sound": coefficient, "sight": 1.0}
        optimizer, scheduler = make_optimizer(network, CONFIG, 10)
        torch.manual_seed(0)
        step(
            losses(DATA.task, network, batch_of()).mean(),
            optimizer,
            scheduler,
            CONFIG,
            objective=objective,
            network=network,
        )
        moved.append({name: value - before[name] for name, value in network.named_parameters()})
    full, scaled = moved
    for name in full:
        ahead = name.startswith(("encoders.sound", "adapters.sound"))
        torch.testing.assert_close(scaled[name], (0.25 if ahead else 1.0) * full[name], rtol=1e-3, atol=1e-7)
    assert {name.split(".")[0] for name in full if full[name].abs().max() > 0} == {
        "encoders",
        "adapters",
        "nodes",
        "head",
    }


def test_noise_is_as_large_as_the_gradient_for_weights_and_none_for_biases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    network = network_of("late")
    objective = GradientModulation(network, 0.5)
    objective.coefficients = {"sound": 1.0, "sight": 1.0}
    losses(DATA.task, network, batch_of()).mean().backward()
    before = {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}
    objective.before_step(network)
    for name, parameter in network.named_parameters():
        added = parameter.grad - before[name]  # type: ignore[operator]
        if parameter.dim() > 1 and name.startswith(("encoders", "adapters")):
            torch.testing.assert_close(added, torch.full_like(added, float(before[name].std()) + 1e-8))
        else:
            assert not added.any(), name


def test_coefficients_come_from_the_pass() -> None:
    network = network_of("late").eval()
    forward = ForwardPass.run(DATA.task, network, batch_of())
    objective = GradientModulation(network, 0.5)
    objective.loss(forward, 0.0)
    wanted = modulation(unimodal_scores(forward, ["sound", "sight"]), 0.5)
    assert list(objective.coefficients.values()) == wanted.tolist()
    assert min(objective.coefficients.values()) < 1


def test_frozen_encoders_leave_the_adapters_to_modulate() -> None:
    network = network_of("late")
    network.encoders["sound"].requires_grad_(requires_grad=False)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = [names[id(parameter)] for parameter in parameters_of(network, "sound")]
    assert found == ["adapters.sound_2.linear.weight", "adapters.sound_2.linear.bias"]
    assert all(isinstance(parameter, nn.Parameter) for parameter in parameters_of(network, "sight"))
