"""Residual training: levels, their losses by hand, and that what is stopped gets no gradient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.config import TrainingConfig
from nas.data.batches import split_batch
from nas.errors import UserError
from nas.network.fusion_network import FusionNetwork
from nas.objectives.base import ForwardPass, only_choices
from nas.objectives.residual import Residual, levels, outputs_up_to
from nas.seeding import seeded
from nas.space.architecture import Architecture, Choice
from nas.training.build import build_network
from nas.training.epoch_loop import make_optimizer, step, steps_per_epoch
from nas.training.train import train
from search_spaces import layerwise
from tests.helpers import CPU, tiny_batch, tiny_data
from tests.objectives.networks import CONFIG, DATA, batch_of, network_of


def forward_of(network: FusionNetwork) -> ForwardPass:
    return ForwardPass.run(DATA.task, network, batch_of())


def parts(network: FusionNetwork) -> tuple[Tensor, Tensor]:
    """y_1 and y_2 of `both`, written out: the head is linear in the sum of what both nodes put out."""
    batch = batch_of()
    first, last = network.architecture.steps
    taps = network.taps(batch.inputs, network.architecture.taps())
    adds = network.operation("fusion0", first.choice.key)([taps["sound@0"], taps["sight@0"]]).mean(dim=1)
    multiplies = network.operation("fusion2", last.choice.key)([taps["sound@2"], taps["sight@2"]]).mean(dim=1)
    linear = network.head.linear
    return linear(adds), nn.functional.linear(multiplies, linear.weight)


def test_the_joint_loss_is_that_of_every_level_on_the_residual_of_those_below() -> None:
    network, batch = network_of("both").eval(), batch_of()
    first, second = parts(network)
    cross_entropy = nn.functional.cross_entropy
    wanted = cross_entropy(first, batch.targets) + cross_entropy(first + second, batch.targets)
    found = Residual(network, sequential=False).loss(forward_of(network), 0.0)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(first + second, network(batch.inputs))  # the derived network predicts with both


def test_a_level_learns_from_its_own_loss_alone() -> None:
    network, batch = network_of("both").eval(), batch_of()
    Residual(network, sequential=False).loss(forward_of(network), 0.0).backward()
    found = {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}
    network.zero_grad()
    first, second = parts(network)
    cross_entropy = nn.functional.cross_entropy
    (cross_entropy(first, batch.targets) + cross_entropy(first.detach() + second, batch.targets)).backward()
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            # Differences of equal outputs leave rounding errors.
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6, msg=name)
    plain = network_of("both").eval()
    cross_entropy(plain(batch.inputs), batch.targets).backward()
    assert plain.head.linear.weight.grad is not None
    assert not torch.allclose(found["head.linear.weight"], plain.head.linear.weight.grad)


def test_a_network_of_one_level_is_trained_as_without() -> None:
    for name in ("late", "product"):
        network, batch = network_of(name).eval(), batch_of()
        found = Residual(network, sequential=True).loss(forward_of(network), 0.0)
        torch.testing.assert_close(found, nn.functional.cross_entropy(network(batch.inputs), batch.targets))


def test_in_sequence_the_first_half_trains_what_adds_and_the_second_the_rest_alone() -> None:
    network = network_of("both")
    objective = Residual(network, sequential=True)
    optimizer, scheduler = make_optimizer(network, CONFIG, 10)
    moved: list[set[str]] = []
    for progress in (0.25, 0.75):
        before = {name: value.detach().clone() for name, value in network.named_parameters()}
        loss = objective.loss(forward_of(network), progress)
        step(loss, optimizer, scheduler, CONFIG, objective=objective, network=network)
        moved.append({name for name, value in network.named_parameters() if not torch.equal(value, before[name])})
    assert {name.split(".")[1] for name in moved[0] if name.startswith(("nodes", "adapters"))} == {
        "fusion0",
        "sound_0",
        "sight_0",
    }
    assert {name.split(".")[1] for name in moved[1] if name.startswith(("nodes", "adapters"))} == {
        "fusion2",
        "sound_2",
        "sight_2",
    }
    assert "head.linear.weight" in moved[0] - moved[1]
    assert not moved[0] & moved[1]
    # Epochs of the first half say nothing of the whole.
    assert [objective.counts(progress) for progress in (0.25, 0.5, 0.75, 1.0)] == [False, False, True, True]


def test_in_sequence_each_level_has_all_epochs_and_a_learning_rate_cycle_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates: list[float] = []

    def noted(loss: Tensor, optimizer: torch.optim.Optimizer, *rest: Any, **more: Any) -> None:
        rates.append(optimizer.param_groups[0]["lr"])
        step(loss, optimizer, *rest, **more)

    monkeypatch.setattr("nas.training.epoch_loop.step", noted)
    config = replace(CONFIG, objective="residual_sequential", patience=0)
    batches = split_batch(DATA, "weights", CPU), split_batch(DATA, "architecture", CPU)
    done = train(network_of("both"), DATA.task, *batches, config, seed=0, device=CPU)
    assert done.num_epochs == 2 * config.epochs
    first, second = rates[: len(rates) // 2], rates[len(rates) // 2 :]
    assert first == second
    assert len(first) == config.epochs * steps_per_epoch(len(batches[0]), config)
    assert first[-1] < first[0] < max(first) == pytest.approx(config.learning_rate, rel=0.05)


def test_levels_are_what_is_added_then_pairs_then_triples() -> None:
    data = tiny_data({"a": "vector", "b": "vector", "c": "vector"})
    space = layerwise({"a": 3, "b": 3, "c": 3})
    choices = (
        Choice("mlp", ("a@0", "b@0", "c@0")),
        Choice("additive", ("a@1", "b@1", "c@1")),
        Choice("bilinear", ("b@2", "c@2")),
    )
    found = Architecture.chain("layerwise", tuple((f"fusion{i}", choice) for i, choice in enumerate(choices)))
    with seeded(0):
        network = build_network(space.only(found), data, TrainingConfig(channels=4)).eval()
    assert levels(network, only_choices(network)) == [1, 2, 3]
    forward = ForwardPass.run(data.task, network, tiny_batch(data))
    path = only_choices(network)
    silent = forward.taps, path
    for level, rest in ((0, {"fusion0", "fusion1", "fusion2"}), (1, {"fusion0", "fusion2"}), (2, {"fusion0"}), (3, ())):
        wanted = network.fuse(*silent, batch_size=len(forward.batch), silent=rest)
        torch.testing.assert_close(outputs_up_to(forward, path, level), wanted)
    torch.testing.assert_close(outputs_up_to(forward, path, 3), network(forward.batch.inputs))
    assert torch.equal(outputs_up_to(forward, path, 0), network.head.linear.bias.expand(len(forward.batch), -1))


def test_mixtures_are_refused() -> None:
    network = network_of("both")
    with pytest.raises(UserError, match="residual trains single paths"):
        levels(network, {node.name: torch.ones(1) for node in network.space.nodes})
