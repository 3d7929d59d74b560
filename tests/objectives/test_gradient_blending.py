"""Gradient blending: weights by hand, degenerate cases, what is trained and what is measured."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nas.data.batches import Batch, split_batch
from nas.network.fusion_network import FusionNetwork
from nas.objectives.base import ForwardPass
from nas.objectives.gradient_blending import GradientBlending, blending_weights
from nas.training.epoch_loop import fitting
from tests.helpers import CPU
from tests.objectives.networks import CONFIG, DATA, batch_of, network_of
from tests.strategies.problems import same_tensors

WEIGHTS = split_batch(DATA, "weights", CPU)


@pytest.mark.parametrize(
    ("generalization", "overfitting", "weights"),
    [
        # 1 / 0.5² = 4, 0.5 / 1² = 0.5, 2 / 2² = 0.5: of 5 in all.
        ([1.0, 0.5, 2.0], [0.5, 1.0, 2.0], [0.8, 0.1, 0.1]),
        # What generalizes nothing weighs nothing: 0, 1 / 1, 1 / 2² = 0.25.
        ([-1.0, 1.0, 1.0], [0.1, 1.0, 2.0], [0.0, 0.8, 0.2]),
        # A gap that closed, or hardly grew, counts as a tenth of the largest gain: 2 / 0.2² twice, 1 / 1² …
        ([2.0, 2.0, 1.0], [-3.0, 0.0, 1.0], [50 / 101, 50 / 101, 1 / 101]),
        # … so that a head that hardly moved is not weighed by the inverse of noise: 1e-4 / 0.01 against 1 / 0.25.
        ([1e-4, 0.0, 1.0], [1e-5, 1.0, 0.5], [0.01 / 4.01, 0.0, 4 / 4.01]),
        # The joint head, which predicts, generalizes nothing: it alone, as without.
        ([1.0, 2.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]),
        # Nothing generalizes: the joint head alone, as without.
        ([-1.0, 0.0, -2.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]),
    ],
)
def test_weights_worked_by_hand(generalization: list[float], overfitting: list[float], weights: list[float]) -> None:
    found = blending_weights(torch.tensor(generalization), torch.tensor(overfitting))
    assert found.tolist() == pytest.approx(weights, abs=1e-6)


def test_the_loss_is_the_weighted_sum_of_the_losses_of_all_heads() -> None:
    network, batch = network_of("late").eval(), batch_of()
    objective = GradientBlending(network, DATA.task, online=False)
    objective.weights.copy_(torch.tensor([0.5, 0.2, 0.3]))
    taps = network.taps(batch.inputs, ["sound@2", "sight@2"])
    outputs = [objective.heads["sound"](taps["sound@2"]), objective.heads["sight"](taps["sight@2"])]
    outputs.append(network(batch.inputs))
    cross_entropies = [nn.functional.cross_entropy(one, batch.targets) for one in outputs]
    wanted = 0.5 * cross_entropies[0] + 0.2 * cross_entropies[1] + 0.3 * cross_entropies[2]
    found = objective.loss(ForwardPass.run(DATA.task, network, batch, more_taps=objective.reads), 0.0)
    torch.testing.assert_close(found, wanted)


def test_steps_are_as_long_as_the_losses_that_train_a_modality_weigh() -> None:
    objective = GradientBlending(network_of("late"), DATA.task, online=False)
    objective.weights.copy_(torch.tensor([0.1, 0.7, 0.2]))  # 0.3 against 0.9
    assert objective.steps() == pytest.approx({"sound": 1 / 3, "sight": 1.0})
    network, before = network_of("late"), network_of("late").state_dict()
    network.zero_grad()
    sum(parameter.sum() for parameter in network.parameters()).backward()  # type: ignore[union-attr]
    objective.before_step(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    objective.after_step(network)
    for name, value in network.named_parameters():
        share = 1 / 3 if name.startswith(("encoders.sound", "adapters.sound")) else 1.0
        torch.testing.assert_close(value - before[name], torch.full_like(value, share))


def _measured(online: bool, epochs: int) -> list[tuple[int, int]]:
    """Before which epochs of a training weights are measured, and by how many epochs."""
    network = network_of("late")
    objective = GradientBlending(network, DATA.task, online=online)
    seen: list[tuple[int, int]] = []

    for epoch in range(epochs):

        def fit(
            _module: nn.Module,
            _loss: object,
            samples: Batch,
            number: int,
            after_epoch: Callable[[], None],
            epoch: int = epoch,
        ) -> None:
            assert len(samples) == 58  # 72 less a fifth, which is held out
            seen.append((epoch, number))
            after_epoch()

        objective.begin_epoch(epoch, epochs, network, WEIGHTS, fit)
    return seen


def test_offline_measures_once_and_online_in_every_super_epoch_all_three_heads() -> None:
    assert _measured(online=False, epochs=8) == 3 * [(0, 2)]
    assert _measured(online=True, epochs=8) == [(epoch, 1) for epoch in (0, 2, 4, 6) for _ in range(3)]


def test_measuring_leaves_network_heads_and_random_states_alone() -> None:
    network = network_of("late")
    objective = GradientBlending(network, DATA.task, online=False)
    before, heads = copy.deepcopy(network.state_dict()), copy.deepcopy(objective.heads.state_dict())
    state = torch.get_rng_state()
    objective.begin_epoch(0, 8, network, WEIGHTS, fitting(CONFIG, 0, CPU))
    assert same_tensors(network.state_dict(), before)
    assert same_tensors(objective.heads.state_dict(), heads)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    assert float(objective.weights.sum()) == pytest.approx(1)
    assert not torch.allclose(objective.weights, torch.full((3,), 1 / 3))


def test_growths_are_differences_between_two_checkpoints() -> None:
    """A fit that adds to the bias of one class moves the losses by amounts that can be told without it."""
    network = network_of("late").eval()
    objective = GradientBlending(network, DATA.task, online=False)
    found: list[Tensor] = []

    def fit(module: nn.Module, _loss: object, samples: Batch, _epochs: int, after_epoch: Callable[[], None]) -> None:
        assert isinstance(module, nn.ModuleList)
        twin = module[0]
        assert isinstance(twin, FusionNetwork)
        with torch.no_grad():
            twin.head.linear.bias[0] += 1
        order = torch.randperm(72, generator=torch.Generator().manual_seed(0))
        held_out, seen = WEIGHTS.take(order[:14]), WEIGHTS.take(order[14:])
        assert torch.equal(seen.targets, samples.targets)
        losses = [
            [nn.functional.cross_entropy(one(part.inputs), part.targets) for part in (seen, held_out)]
            for one in (network, twin)
        ]
        (train_before, held_before), (train_after, held_after) = losses
        gap = (held_after - train_after) - (held_before - train_before)
        found.append(torch.stack([held_before - held_after, gap]))
        after_epoch()
        with torch.no_grad():
            twin.head.linear.bias[1] += 10  # much worse: the epoch before is the one that counts
        after_epoch()

    generalization, overfitting = objective._measure(network, WEIGHTS, fit, 1)
    assert len(found) == 3
    torch.testing.assert_close(torch.stack([generalization[2], overfitting[2]]), found[2], rtol=1e-4, atol=1e-6)
    assert generalization[:2].abs().max() == 0  # the heads of the modalities have not moved
