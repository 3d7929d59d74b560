"""Alignment: the contrastive loss beside a written-out reference, the momentum model, the queue."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from nas.data.batches import Batch
from nas.objectives.align import DISTILLED, MOMENTUM, QUEUE, Align, contrastive_loss, follow
from nas.objectives.base import ForwardPass
from tests.objectives.networks import DATA, batch_of, network_of
from tests.strategies.problems import same_tensors


def reference(vectors: Tensor, momentum: Tensor, queues: Tensor, temperature: float, alpha: float) -> float:
    """The equation of the module, number by number."""
    total = 0.0
    count = vectors.shape[1]
    for one, other in ((0, 1), (1, 0)):
        candidates = [*momentum[other].tolist(), *queues[other].tolist()]
        for i in range(count):

            def softmax(vector: list[float], candidates: list[list[float]] = candidates) -> list[float]:
                scores = [sum(a * b for a, b in zip(vector, c, strict=True)) / temperature for c in candidates]
                exponentials = [math.exp(score) for score in scores]
                return [value / sum(exponentials) for value in exponentials]

            p, soft = softmax(vectors[one, i].tolist()), softmax(momentum[one, i].tolist())
            q = [alpha * value + (1 - alpha) * (number == i) for number, value in enumerate(soft)]
            total -= sum(target * math.log(value) for target, value in zip(q, p, strict=True)) / count / 2
    return total


@pytest.mark.parametrize(("length", "alpha"), [(0, 0.0), (0, 0.4), (3, 0.0), (3, 0.4)])
def test_the_loss_is_the_equation_written_out(length: int, alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    vectors, momentum, queues = (
        torch.nn.functional.normalize(torch.randn(2, count, 5, generator=generator), dim=-1) for count in (4, 4, length)
    )
    found = contrastive_loss(vectors, momentum, queues, temperature=torch.tensor(0.3), alpha=alpha)
    assert float(found) == pytest.approx(reference(vectors, momentum, queues, 0.3, alpha), rel=1e-5)


def test_two_orthogonal_pairs_by_hand() -> None:
    """Each is at 1 from its own and at 0 from the other, over τ = 0.5: −log(e² / (e² + 1))."""
    pairs = torch.eye(2).expand(2, 2, 2)
    found = contrastive_loss(pairs, pairs, torch.zeros(2, 0, 2), temperature=torch.tensor(0.5), alpha=0.0)
    assert float(found) == pytest.approx(-math.log(math.exp(2) / (math.exp(2) + 1)), rel=1e-6)


def test_the_momentum_model_moves_a_two_hundredth_of_the_way() -> None:
    slow, live = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        live.weight.fill_(3.0)
        live.running_mean.fill_(7.0)  # type: ignore[union-attr]
    follow(slow, live)
    assert slow.weight.tolist() == pytest.approx([0.995 * 1 + 0.005 * 3] * 2)
    assert slow.running_mean.tolist() == [7.0, 7.0]  # type: ignore[union-attr]  # statistics are copied
    assert MOMENTUM == 0.995


def test_a_step_moves_momentum_and_fills_the_queue_with_the_newest_first() -> None:
    network = network_of("late")
    objective = Align(network, ("sound", "sight"))
    batch = batch_of()
    started = copy.deepcopy(objective.momentum.state_dict())
    forward = ForwardPass.run(DATA.task, network, batch, more_taps=objective.reads)
    for _ in range(2):  # asked for twice, it is still one step
        objective.loss(forward, 0.5)
    assert same_tensors(objective.momentum.state_dict(), started)
    assert int(objective.filled) == 0
    with torch.no_grad():
        next(network.adapters["sound_2"].parameters()).add_(1.0)
    objective.after_step(network)
    after = objective.momentum.state_dict()
    name = "adapter 0.linear.weight"
    torch.testing.assert_close(after[name], started[name] + 0.005)
    assert int(objective.filled) == 6
    wanted = torch.stack([objective._momentum_vectors(forward, side) for side in (0, 1)])
    objective.loss(forward, 0.5)
    objective.after_step(network)
    torch.testing.assert_close(objective.queues[:, :6], wanted)
    assert int(objective.filled) == 12
    for _ in range(QUEUE // 6):
        objective.loss(forward, 0.5)
        objective.after_step(network)
    assert int(objective.filled) == QUEUE


def test_gradients_reach_both_encoders_and_the_temperature_and_not_the_momentum_model() -> None:
    network = network_of("late")
    objective = Align(network, ("sound", "sight"))
    forward = ForwardPass.run(DATA.task, network, batch_of(), more_taps=objective.reads)
    objective.loss(forward, 1.0).backward()
    for module in (network.encoders, network.adapters, objective.live):
        assert all(parameter.grad is not None for parameter in module.parameters())
    assert objective.temperature.grad is not None
    assert all(parameter.grad is None for parameter in objective.momentum.parameters())
    assert network.head.linear.weight.grad is None


def test_distillation_rises_over_the_first_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("late")
    objective = Align(network, ("sound", "sight"))
    forward = ForwardPass.run(DATA.task, network, batch_of(), more_taps=objective.reads)
    seen: list[float] = []

    def noted(vectors: Tensor, *_arguments: Tensor, temperature: Tensor, alpha: float) -> Tensor:
        seen.append(alpha)
        return vectors.sum() + temperature

    monkeypatch.setattr("nas.objectives.align.contrastive_loss", noted)
    for progress in (0.0, 0.05, 0.1, 0.9):
        objective.loss(forward, progress)
    assert seen == pytest.approx([0, DISTILLED / 2, DISTILLED, DISTILLED])


def test_samples_that_lack_one_of_the_two_are_left_out() -> None:
    network = network_of("late").eval()
    objective = Align(network, ("sound", "sight"))
    whole, some = batch_of(), batch_of(4)
    present = torch.tensor([True] * 4 + [False] * 2)
    masked = Batch(whole.inputs, {"sound": present}, whole.targets)
    losses = [
        objective.loss(ForwardPass.run(DATA.task, network, batch, more_taps=objective.reads), 0.5)
        for batch in (masked, some)
    ]
    torch.testing.assert_close(*losses)
    nobody = Batch(whole.inputs, {"sight": torch.zeros(6, dtype=torch.bool)}, whole.targets)
    forward = ForwardPass.run(DATA.task, network, nobody, more_taps=objective.reads)
    assert not objective.loss(forward, 0.5).detach().any()
