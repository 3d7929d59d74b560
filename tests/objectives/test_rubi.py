"""RUBi: the mask by hand, and what learns from it."""

from __future__ import annotations

import torch
from torch import nn

from nas.objectives.base import ForwardPass
from nas.objectives.rubi import Rubi
from tests.objectives.networks import DATA, batch_of, network_of


def test_the_loss_is_that_of_the_masked_logits_and_of_the_biased_answer() -> None:
    network, batch = network_of("late").eval(), batch_of()
    objective = Rubi(network, "sound")
    taps = network.taps(batch.inputs, ["sound@2"])
    q = objective.mask(taps["sound@2"].mean(dim=1))
    masked = network(batch.inputs) / (1 + torch.exp(-q))
    cross_entropy = nn.functional.cross_entropy
    wanted = cross_entropy(masked, batch.targets) + cross_entropy(objective.biased(q), batch.targets)
    torch.testing.assert_close(objective.loss(ForwardPass.run(DATA.task, network, batch), 0.0), wanted)


def test_a_mask_that_is_sure_of_the_right_class_leaves_little_to_learn() -> None:
    """Logits (0, 0, 0) stay what they are; (1, 1, 1) under mask (big, −big, −big) become (1, 0, 0)."""
    network, batch = network_of("late").eval(), batch_of(1)
    objective = Rubi(network, "sound")
    with torch.no_grad():
        network.head.linear.weight.zero_()
        network.head.linear.bias.fill_(1.0)
        last = objective.mask[2]
        assert isinstance(last, nn.Linear)
        for layer in (last, objective.biased):
            layer.weight.zero_()
            layer.bias.zero_()
        last.bias.copy_(100 * (2 * torch.eye(3)[batch.targets[0]] - 1))
    forward = ForwardPass.run(DATA.task, network, batch)
    e = torch.tensor(1.0).exp()
    wanted = -torch.log(e / (e + 2)) + torch.log(torch.tensor(3.0))  # the biased answer is even
    torch.testing.assert_close(objective.loss(forward, 0.0), wanted)


def test_the_biased_branch_teaches_the_encoder_nothing() -> None:
    network = network_of("late")
    objective = Rubi(network, "sound")
    forward = ForwardPass.run(DATA.task, network, batch_of())
    mask, biased = objective.answers(forward.taps["sound@2"])
    (mask.sum() + biased.sum()).backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(parameter.grad is not None for parameter in objective.parameters())
