"""REINFORCE: its gradient in closed form, what a gate draws, and that nothing is drawn without it."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from nas.objectives import make_objective
from nas.objectives.base import ForwardPass
from nas.objectives.reinforce import Reinforce, drawing, score_function
from nas.seeding import seeded
from nas.space.operation import DrawingOperation
from search_spaces import OPERATIONS
from tests.helpers import random_taps
from tests.objectives.networks import DATA, batch_of, network_of


def test_over_all_draws_the_gradient_is_that_of_the_expected_price() -> None:
    """Two samples of two choices: d/dlogits Σ_n Σ_k p_nk price_nk, summed over the four joint draws."""
    logits = torch.tensor([[0.3, -0.7], [1.1, 0.2]], dtype=torch.float64, requires_grad=True)
    prices = torch.tensor([[2.0, 5.0], [1.0, -4.0]], dtype=torch.float64)
    wanted = torch.autograd.grad((logits.softmax(dim=1) * prices).sum(), logits)[0]
    found = torch.zeros_like(logits)
    for drawn in itertools.product(range(2), repeat=2):
        rows = torch.arange(2), torch.tensor(drawn)
        log_probabilities = logits.log_softmax(dim=1)[rows]
        score = score_function(prices[rows], log_probabilities).sum()
        found += log_probabilities.sum().exp().detach() * torch.autograd.grad(score, logits)[0]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("times", [(1, 1), (3, 1)])
def test_a_gate_passes_what_it_drew_and_notes_how_likely_that_was(times: tuple[int, int]) -> None:
    gate = OPERATIONS["hard_gate"](2, 4).double()
    assert isinstance(gate, DrawingOperation)
    taps = random_taps(times, 4, batch=200)
    values, logits = gate.values_and_logits(taps)  # type: ignore[operator]
    gate.log_probabilities = noted = list[Tensor]()
    with seeded(0):
        output = gate(taps)
    distances = (values - output.unsqueeze(2)).abs().amax(dim=3)  # (batch, time, choices)
    drawn = distances.argmin(dim=2)
    assert (distances.amin(dim=2) == 0).all()
    assert 0 < drawn.double().mean() < 1
    wanted = logits.squeeze(3).log_softmax(dim=2).gather(2, drawn.unsqueeze(2)).sum(dim=(1, 2))
    torch.testing.assert_close(noted[0].double(), wanted, rtol=0, atol=1e-5)  # probabilities are of float32
    gate.eval()(taps)
    assert len(noted) == 1


def test_the_gate_learns_by_the_score_of_what_it_drew_and_the_rest_by_the_loss() -> None:
    network, batch = network_of("gate").eval(), batch_of(12)
    objective = make_objective("reinforce", network, DATA.task)
    assert objective is not None
    forward = ForwardPass.run(DATA.task, network, batch)
    (gate,) = drawing(network)
    gate.train()  # and nothing else, so that nothing else is drawn
    with seeded(3):
        loss = objective.loss(forward, 0.0)
    assert gate.log_probabilities is None
    gate.log_probabilities = noted = list[Tensor]()
    with seeded(3):
        losses = nn.functional.cross_entropy(network(batch.inputs), batch.targets, reduction="none")
    torch.testing.assert_close(loss, losses.mean())
    wanted = torch.autograd.grad(
        (score_function(losses.detach(), noted[0]) + losses).mean(), list(network.parameters())
    )
    found = torch.autograd.grad(loss, list(network.parameters()))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
    weight = gate.get_parameter("gate.weight")
    assert found[[id(parameter) for parameter in network.parameters()].index(id(weight))].abs().max() > 1e-4


def test_without_the_objective_a_gate_draws_nothing() -> None:
    gate, taps = OPERATIONS["hard_gate"](2, 4).double().train(), random_taps((1, 1), 4, batch=200)
    assert torch.equal(gate(taps), gate(taps))


def test_a_network_without_such_a_gate_is_trained_as_without() -> None:
    assert make_objective("reinforce", network_of("both"), DATA.task) is None


def test_paths_without_a_gate_cost_their_loss() -> None:
    network, batch = network_of("late", dropout_rate=0.0), batch_of()
    forward = ForwardPass.run(DATA.task, network, batch)
    torch.testing.assert_close(Reinforce(network).loss(forward, 0.0), forward.losses(forward.outputs()).mean())
