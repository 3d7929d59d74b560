"""From choice weights and losses to one architecture: the simplest that the data cannot tell from the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.discretize.discretize import DISCRETIZATIONS, argmax, discretize, one_standard_error, perturbation
from nas.network.cost import CostTable
from nas.network.fusion_network import FusionNetwork
from nas.network.prediction import losses
from nas.space.architecture import Architecture, Choice
from nas.strategies import SearchProblem, StrategyResult
from nas.supernet.candidates import Candidates
from nas.supernet.path_scorer import PathScorer
from tests.strategies.problems import CPU, TRAINING, tiny_problem, tiny_space

SAMPLES = 200

NOTHING = Choice("none")
CARRY = Choice("carry", ("sight@0",))
ADDITIVE = Choice("additive", ("sound@0", "sight@0"))
MULTIPLICATIVE = Choice("multiplicative", ("sound@0", "sight@0"))


def deeper(choice: Choice) -> Choice:
    return Choice(choice.operation, tuple(name.replace("@0", "@1") for name in choice.inputs))


def architecture(first: Choice, second: Choice) -> Architecture:
    return Architecture.chain("layerwise", (("fusion0", first), ("fusion1", second)))


@pytest.fixture(scope="module")
def problem() -> SearchProblem:
    return tiny_problem()


@pytest.fixture(scope="module")
def network(problem: SearchProblem) -> FusionNetwork:
    return problem.make_network()


@pytest.fixture(scope="module")
def cost(problem: SearchProblem, network: FusionNetwork) -> CostTable:
    return CostTable.measure(network, problem.weights.take(slice(0, 1)).inputs)


def explored_of(problem: SearchProblem, network: FusionNetwork, favourite: Mapping[str, int]) -> StrategyResult:
    """Beliefs of 0.6 in one choice of each node and 0.1 in each other."""
    choice_weights = {
        node.name: [0.6 if i == favourite[node.name] else 0.1 for i in range(len(node.choices))]
        for node in problem.space.nodes
    }
    return StrategyResult(network=network, choice_weights=choice_weights, loss=0.5)


def standard_normal(seed: int) -> Tensor:
    """Numbers for the samples whose mean is 0 and whose deviation is 1: of 200 the standard error is 0.07."""
    drawn = torch.randn(SAMPLES, generator=torch.Generator().manual_seed(seed))
    return (drawn - drawn.mean()) / drawn.std()


BASE = torch.rand(SAMPLES, generator=torch.Generator().manual_seed(0)) + 5
"""Losses of the best constant, and of everything that is not told to be better."""

Losses = Callable[[Architecture], Tensor]


@dataclass(kw_only=True)
class Scene:
    """A read-out of a supernet whose losses are made up, {architecture: (samples,)}."""

    problem: SearchProblem
    network: FusionNetwork
    cost: CostTable
    supernet: Losses

    def decide(self) -> Architecture:
        space = self.problem.space
        every = list(space.enumerate())
        candidates = Candidates(
            np.array([space.index(one) for one in every]), torch.stack([*map(self.supernet, every)])
        )
        explored = explored_of(self.problem, self.network, {"fusion0": 0, "fusion1": 0})
        return one_standard_error(self.problem, self.network, explored, candidates, self.cost)


@pytest.fixture
def scene(problem: SearchProblem, network: FusionNetwork, cost: CostTable) -> Scene:
    """In which all are equal."""
    return Scene(problem=problem, network=network, cost=cost, supernet=lambda _one: BASE)


def by_order(gains: Mapping[int, float]) -> Losses:
    """Architectures of an order gain so much, spread over the samples with deviation 1, alike for all of the order."""

    def losses_of(one: Architecture) -> Tensor:
        order = tiny_space().interaction_order(one)
        return BASE - gains[order] - standard_normal(order) if order in gains else BASE

    return losses_of


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ({}, architecture(NOTHING, NOTHING)),  # all are equal: the simplest of all
        ({2: 0.05}, architecture(NOTHING, NOTHING)),  # 0.7 standard errors
        ({2: 0.20}, architecture(MULTIPLICATIVE, NOTHING)),  # 2.8 of them
        ({2: 2.0}, architecture(MULTIPLICATIVE, NOTHING)),
        ({1: 2.0}, architecture(ADDITIVE, NOTHING)),
        ({1: -2.0, 2: 2.0}, architecture(MULTIPLICATIVE, NOTHING)),
        # The lower order is clearly better than none, the higher one 0.035 better, with a deviation of sqrt(2):
        # a third of a standard error.
        ({1: 2.0, 2: 2.035}, architecture(ADDITIVE, NOTHING)),
        ({1: 2.0, 2: 2.5}, architecture(MULTIPLICATIVE, NOTHING)),
    ],
)
def test_the_simplest_within_a_standard_error_is_taken(
    scene: Scene, gains: Mapping[int, float], expected: Architecture
) -> None:
    # Of the fewest active nodes the lowest order, and of that the fewest multiply-adds: at depth 0 encoders are half
    # as deep.
    scene.supernet = by_order(gains)
    assert scene.decide() == expected


def test_a_loss_that_is_clearly_lower_outweighs_its_cost(scene: Scene) -> None:
    wanted = architecture(NOTHING, deeper(MULTIPLICATIVE))
    cheaper = architecture(MULTIPLICATIVE, NOTHING)
    errors_behind = 0.1 + standard_normal(1) / 10  # fourteen standard errors
    scene.supernet = lambda one: BASE - 5 if one == wanted else BASE - 5 + errors_behind if one == cheaper else BASE
    assert scene.decide() == wanted
    assert scene.cost.total(cheaper) < scene.cost.total(wanted)


@pytest.mark.parametrize(("gain", "more"), [(0.05, False), (0.15, True)])
def test_a_node_more_is_taken_if_it_gains_a_standard_error(scene: Scene, gain: float, more: bool) -> None:
    one, both = architecture(ADDITIVE, NOTHING), architecture(ADDITIVE, deeper(ADDITIVE))
    spread = standard_normal(1)
    gains = {one: torch.full((SAMPLES,), 4.0), both: 4 + gain + spread}
    scene.supernet = lambda found: BASE - gains.get(found, torch.zeros(SAMPLES))
    assert scene.decide() == (both if more else one)


def test_what_is_trained_on_begins_with_the_supernets_weights_and_leaves_them_as_they_are() -> None:
    problem = tiny_problem(training=replace(TRAINING, learning_rate=1e-9))
    supernet = problem.make_network()
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    one = architecture(NOTHING, deeper(MULTIPLICATIVE))
    derived = problem.train_on(supernet, one, share=0.5).network
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())
    for name, parameter in derived.named_parameters():
        torch.testing.assert_close(parameter, supernet.get_parameter(name), rtol=0, atol=1e-6)


def test_argmax_takes_the_largest_weight_of_every_node(
    problem: SearchProblem, network: FusionNetwork, cost: CostTable
) -> None:
    candidates = Candidates(np.zeros((1, 2), dtype=np.int64), torch.zeros(1, 4))
    for first in range(5):
        favourite = {"fusion0": first, "fusion1": (first + 2) % 5}
        found = argmax(problem, network, explored_of(problem, network, favourite), candidates, cost)
        assert problem.space.path(found) == favourite


def test_perturbation_keeps_the_choice_whose_removal_hurts() -> None:
    problem = tiny_problem(training=replace(TRAINING, learning_rate=1e-6))  # fine-tuning changes next to nothing
    network, space = problem.make_network(), problem.space
    wanted = architecture(NOTHING, deeper(MULTIPLICATIVE))
    # The mixture learns the very split that it is judged on, with one choice alone; all others stay as they were.
    mixture = {node.name: torch.full((5,), 0.2) for node in space.nodes}
    taught = {node.name: torch.zeros(5) for node in space.nodes}
    taught["fusion1"][space.index(wanted)[1]] = 1
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-2)
    for _ in range(60):
        optimizer.zero_grad()
        losses("classification", network.train(), problem.architecture, taught).mean().backward()
        optimizer.step()
    before = {name: value.clone() for name, value in network.state_dict().items() if "running" not in name}
    explored = StrategyResult(
        network=network, choice_weights={name: weights.tolist() for name, weights in mixture.items()}
    )
    cost = CostTable.measure(network, problem.weights.take(slice(0, 1)).inputs)
    candidates = Candidates(np.zeros((1, 2), dtype=np.int64), torch.zeros(1, 4))
    found = perturbation(problem, network, explored, candidates, cost)
    assert found["fusion1"].choice == wanted["fusion1"].choice
    for name, value in network.state_dict().items():
        if name in before and value.is_floating_point():
            torch.testing.assert_close(value, before[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", DISCRETIZATIONS)
def test_what_the_step_costs_is_measured(method: str) -> None:
    problem = tiny_problem()
    network = problem.make_network()
    explored = explored_of(problem, network, {"fusion0": 1, "fusion1": 3})
    found = discretize(problem, explored, method)
    problem.space.validate(found.architecture)
    assert found.loss_before == 0.5
    # Perturbation fine-tunes on the way, and what counts is the supernet as it is afterwards.
    scorer = PathScorer(network, "classification", problem.architecture, CPU)
    assert found.loss_after == scorer.loss(found.architecture)
    assert found.loss == found.loss_after - 0.5
    assert len(found.candidates.indices) == tiny_space().size() == 25
