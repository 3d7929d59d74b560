"""From beliefs and losses to one architecture: the simplest that the data cannot tell from the best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

import nas.discretize
from nas.architecture import Architecture, Choice
from nas.candidates import Candidates
from nas.cost import CostTable
from nas.discretize import DISCRETIZATIONS, argmax, discretize, one_standard_error, perturbation
from nas.encoders.base import Standardize
from nas.encoders.vector import VectorEncoder
from nas.graph import FusionNetwork, Head
from nas.scoring import PathScorer
from nas.strategies import Explored, Problem
from nas.training import evaluation_losses, losses, train
from search_spaces import layerwise
from tests.strategies.problems import CPU, TRAINING, tiny_problem, tiny_space

SAMPLES = 200

NOTHING = Choice("none")
ADDITIVE = Choice("additive", ("sound@0", "sight@0"))
MULTIPLICATIVE = Choice("multiplicative", ("sound@0", "sight@0"))


def deeper(choice: Choice) -> Choice:
    return Choice(choice.operation, tuple(name.replace("@0", "@1") for name in choice.inputs))


def architecture(first: Choice, second: Choice) -> Architecture:
    return Architecture("layerwise", (("fusion0", first), ("fusion1", second)))


@pytest.fixture(scope="module")
def problem() -> Problem:
    return tiny_problem()


@pytest.fixture(scope="module")
def network(problem: Problem) -> FusionNetwork:
    return problem.make_network()


@pytest.fixture(scope="module")
def cost(problem: Problem, network: FusionNetwork) -> CostTable:
    return CostTable.measure(network, problem.weights.take(slice(0, 1)).inputs)


@pytest.fixture(autouse=True)
def is_trained(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up losses count as those of a supernet that has learned, unless a test says otherwise."""
    if "real_supernet" not in request.keywords:
        monkeypatch.setattr(nas.discretize, "_is_trained", lambda _problem, _candidates: True)


def explored_of(problem: Problem, network: FusionNetwork, favourite: Mapping[str, int]) -> Explored:
    """Beliefs of 0.6 in one choice of each node and 0.1 in each other."""
    beliefs = {
        node.name: [0.6 if i == favourite[node.name] else 0.1 for i in range(len(node.choices))]
        for node in problem.space.nodes
    }
    return Explored(network=network, beliefs=beliefs, loss=0.5)


def decide(problem: Problem, network: FusionNetwork, cost: CostTable, gains: Mapping[int, float]) -> Architecture:
    """What is decided when architectures of an interaction order are better than order 0 by so much.

    All share the losses of one another but for what they gain, which is spread with deviation 1 over the samples,
    alike for all of the order.
    """
    space = problem.space
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(SAMPLES, generator=generator) + 5
    spread = {}
    for order in gains:
        noise = torch.randn(SAMPLES, generator=generator)
        spread[order] = (noise - noise.mean()) / noise.std()
    indices = [space.index(one) for one in space.enumerate()]
    rows = []
    for index in indices:
        order = space.interaction_order(space.at(index))
        rows.append(base - (gains[order] + spread[order] if order in gains else 0))
    found = torch.stack(rows)
    candidates = Candidates(np.array(indices), found)
    return one_standard_error(
        problem, network, explored_of(problem, network, {"fusion0": 0, "fusion1": 0}), candidates, cost
    )


# Of 200 samples with deviation 1, the standard error is 0.07.
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
    problem: Problem, network: FusionNetwork, cost: CostTable, gains: Mapping[int, float], expected: Architecture
) -> None:
    # Of one order the fewest active nodes, and of those the fewest multiply-adds: at depth 0 encoders are half as deep.
    assert decide(problem, network, cost, gains) == expected


def test_within_a_group_a_loss_that_is_clearly_lower_outweighs_its_cost(
    problem: Problem, network: FusionNetwork, cost: CostTable
) -> None:
    space = problem.space
    indices = [space.index(one) for one in space.enumerate()]
    wanted = architecture(NOTHING, deeper(MULTIPLICATIVE))
    cheaper = architecture(MULTIPLICATIVE, NOTHING)
    base = torch.rand(SAMPLES, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(SAMPLES, generator=torch.Generator().manual_seed(1)) / 10
    rows = dict.fromkeys(indices, base + 5)
    rows[space.index(wanted)] = base
    rows[space.index(cheaper)] = base + 0.1 + noise  # fourteen standard errors
    found = torch.stack([rows[index] for index in indices])
    explored = explored_of(problem, network, {"fusion0": 0, "fusion1": 0})
    assert one_standard_error(problem, network, explored, Candidates(np.array(indices), found), cost) == wanted
    assert cost.total(cheaper) < cost.total(wanted)


def test_more_nodes_of_one_order_must_pay_alone_too(
    problem: Problem, network: FusionNetwork, cost: CostTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = problem.space
    indices = [space.index(one) for one in space.enumerate()]
    both = architecture(ADDITIVE, deeper(ADDITIVE))
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(SAMPLES, generator=generator) + 5
    noise = torch.randn(SAMPLES, generator=generator)
    spread = (noise - noise.mean()) / noise.std()
    explored = explored_of(problem, network, {"fusion0": 0, "fusion1": 0})

    def decided(gain: float) -> Architecture:
        """When every fusion is much better than none, and adding at both depths gains so much over one of them."""
        rows = {index: base - (4 if space.interaction_order(space.at(index)) else 0) for index in indices}
        rows[space.index(both)] = base - 4 - gain - spread
        candidates = Candidates(np.array(indices), torch.stack([rows[index] for index in indices]))
        return one_standard_error(problem, network, explored, candidates, cost)

    trained: list[Architecture] = []

    def losses_alone(_problem: Problem, one: Architecture) -> torch.Tensor:
        trained.append(one)
        return base + (one == worse_alone)

    monkeypatch.setattr(nas.discretize, "_losses_alone", losses_alone)
    one, worse_alone = architecture(ADDITIVE, NOTHING), architecture(ADDITIVE, NOTHING)
    assert decided(0.05) == one  # 0.7 standard errors
    assert not trained
    assert decided(0.10) == both  # 1.4 of them, and alone it is better too
    assert trained == [one, both]
    worse_alone = both
    assert decided(10.0) == one  # however sure the supernet is of the second node


@pytest.mark.parametrize("alone_is_worse", [0.0, 0.05, 0.10, 2.0])
def test_a_simpler_order_in_doubt_is_given_up_only_if_it_is_worse_alone_too(
    problem: Problem,
    network: FusionNetwork,
    cost: CostTable,
    monkeypatch: pytest.MonkeyPatch,
    alone_is_worse: float,
) -> None:
    trained = []

    def losses_alone(_problem: Problem, one: Architecture) -> torch.Tensor:
        trained.append(one)
        generator = torch.Generator().manual_seed(1)
        base, noise = torch.rand(SAMPLES, generator=generator), torch.randn(SAMPLES, generator=generator)
        spread = (noise - noise.mean()) / noise.std()
        return base if one == architecture(MULTIPLICATIVE, NOTHING) else base + alone_is_worse + spread

    monkeypatch.setattr(nas.discretize, "_losses_alone", losses_alone)
    # By the supernet the multiplicative order is 1.4 standard errors better: no more than one may doubt.
    found = decide(problem, network, cost, {2: 0.10})
    wanted = [architecture(one, NOTHING) for one in (NOTHING, ADDITIVE, MULTIPLICATIVE)]
    assert trained == wanted
    # Alone, the others lie 0, 0.7, 1.4 or 28 standard errors behind.
    assert found == (wanted[2] if alone_is_worse >= 0.10 else wanted[0])
    trained.clear()
    decide(problem, network, cost, {2: 0.05})  # within one standard error: no doubt
    decide(problem, network, cost, {2: 0.20})  # 2.8 of them: no doubt either
    assert not trained


def test_a_supernet_that_has_not_learned_has_no_say_in_the_order(
    problem: Problem, network: FusionNetwork, cost: CostTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Architecture] = []

    def losses_alone(_problem: Problem, one: Architecture) -> torch.Tensor:
        trained.append(one)
        good = _problem.space.interaction_order(one) == 1
        return torch.rand(SAMPLES, generator=torch.Generator().manual_seed(1)) + (0 if good else 1)

    monkeypatch.setattr(nas.discretize, "_losses_alone", losses_alone)
    assert decide(problem, network, cost, {2: 2.0}) == architecture(MULTIPLICATIVE, NOTHING)  # 28 standard errors
    assert not trained
    monkeypatch.setattr(nas.discretize, "_is_trained", lambda _problem, _candidates: False)
    assert decide(problem, network, cost, {2: 2.0}) == architecture(ADDITIVE, NOTHING)
    # One of each order with a single active node, and the one that does nothing.
    assert [problem.space.interaction_order(one) for one in trained] == [0, 0, 1, 2]
    assert [sum(bool(choice.inputs) for _, choice in one.choices) for one in trained] == [0, 1, 1, 1]


@pytest.mark.parametrize(("is_trained", "expected"), [(True, ("a", "b")), (False, ("a", "b", "c"))])
def test_a_supernet_that_has_not_learned_leaves_no_modality_out(is_trained: bool, expected: tuple[str, ...]) -> None:
    space = layerwise({"a": 1, "b": 1, "c": 1}, operations=["additive"])
    network = FusionNetwork(
        space,
        {name: VectorEncoder(Standardize.blank(2), 2, widths=(4,)) for name in "abc"},
        Head(4, 2),
        channels=4,
        dropout_rate=0.0,
    )
    cost = CostTable.measure(network, {name: (torch.zeros(1, 2),) for name in "abc"})
    architectures = list(space.enumerate())
    rows = np.flatnonzero([space.interaction_order(one) == 1 for one in architectures])
    losses = torch.rand(1, 50, generator=torch.Generator().manual_seed(0)).repeat(len(architectures), 1)
    candidates = Candidates(np.array([space.index(one) for one in architectures]), losses)
    (found,) = nas.discretize._finalists(architectures, candidates, rows, cost, is_trained=is_trained)
    assert found.modalities() == expected


@pytest.mark.real_supernet
def test_a_supernet_has_learned_if_it_knows_more_than_a_constant_and_as_much_as_a_modality(problem: Problem) -> None:
    targets, counts = problem.architecture.targets, torch.bincount(problem.weights.targets)
    constant = -torch.log((counts + 1) / (counts + 1).sum())[targets]  # classes by their frequency, one added
    noise = torch.randn(len(targets), generator=torch.Generator().manual_seed(0))
    spread = (noise - noise.mean()) / noise.std()
    standard_error = len(targets) ** -0.5

    def is_trained(standard_errors: float, alone_loss: float = math.inf) -> bool:
        best = constant - standard_errors * standard_error - spread
        candidates = Candidates(np.zeros((2, 2), dtype=np.int64), torch.stack([constant + 9, best]))
        return nas.discretize._is_trained(replace(problem, alone_loss=alone_loss), candidates)

    assert not is_trained(1.9)
    assert is_trained(2.1)
    loss = float(constant.mean()) - 3 * standard_error
    assert is_trained(3, alone_loss=loss + 0.01)
    assert not is_trained(3, alone_loss=loss - 0.01)


def test_what_is_in_doubt_is_trained_from_scratch_on_the_weights_split() -> None:
    problem = tiny_problem()
    one = architecture(NOTHING, deeper(MULTIPLICATIVE))
    trained = train(
        problem.make_network(problem.space.restrict(one)),
        "classification",
        problem.weights,
        problem.architecture,
        problem.training,
        seed=problem.seed,
        device=CPU,
    )
    expected = evaluation_losses("classification", trained.network, problem.architecture, CPU)
    assert torch.equal(nas.discretize._losses_alone(problem, one), expected)


def test_argmax_takes_the_largest_weight_of_every_node(
    problem: Problem, network: FusionNetwork, cost: CostTable
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
    explored = Explored(network=network, beliefs={name: weights.tolist() for name, weights in mixture.items()})
    cost = CostTable.measure(network, problem.weights.take(slice(0, 1)).inputs)
    candidates = Candidates(np.zeros((1, 2), dtype=np.int64), torch.zeros(1, 4))
    found = perturbation(problem, network, explored, candidates, cost)
    assert found["fusion1"] == wanted["fusion1"]
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
