"""From beliefs and losses to one architecture: the simplest that the data cannot tell from the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import nas.one_standard_error
from nas.architecture import Architecture, Choice
from nas.candidates import Candidates
from nas.cost import CostTable
from nas.discretize import DISCRETIZATIONS, argmax, discretize, perturbation
from nas.encoders.base import Standardize
from nas.encoders.vector import VectorEncoder
from nas.graph import FusionNetwork, Head
from nas.one_standard_error import one_standard_error
from nas.prediction import losses, predict
from nas.scoring import PathScorer
from nas.space import SearchSpace
from nas.strategies import Explored, Problem
from nas.training import train
from search_spaces import layerwise
from tests.strategies.problems import CPU, TRAINING, tiny_problem, tiny_space

SAMPLES = 200

NOTHING = Choice("none")
CARRY = Choice("carry", ("sight@0",))
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
        monkeypatch.setattr(nas.one_standard_error, "_is_trained", lambda _problem, _candidates: True)


def explored_of(problem: Problem, network: FusionNetwork, favourite: Mapping[str, int]) -> Explored:
    """Beliefs of 0.6 in one choice of each node and 0.1 in each other."""
    beliefs = {
        node.name: [0.6 if i == favourite[node.name] else 0.1 for i in range(len(node.choices))]
        for node in problem.space.nodes
    }
    return Explored(network=network, beliefs=beliefs, loss=0.5)


def standard_normal(seed: int) -> Tensor:
    """Numbers for the samples whose mean is 0 and whose deviation is 1: of 200 the standard error is 0.07."""
    drawn = torch.randn(SAMPLES, generator=torch.Generator().manual_seed(seed))
    return (drawn - drawn.mean()) / drawn.std()


BASE = torch.rand(SAMPLES, generator=torch.Generator().manual_seed(0)) + 5
"""Losses of the best constant, and of everything that is not told to be better."""

Losses = Callable[[Architecture], Tensor]


@dataclass(kw_only=True)
class Scene:
    """A read-out whose supernet and trainings are made up.

    Attributes:
        supernet: What the supernet says of an architecture, (samples,).
        trained_on: What it comes to when trained on; None for what the supernet says.
        alone: What it comes to when trained from scratch; None likewise.
        errors: Of what was trained; None if they are as the losses.
        log: How each architecture was trained, in order.
    """

    problem: Problem
    network: FusionNetwork
    cost: CostTable
    patch: pytest.MonkeyPatch
    supernet: Losses
    trained_on: Losses | None = None
    alone: Losses | None = None
    errors: Losses | None = None
    log: list[tuple[str, Architecture]] = field(default_factory=list)

    def decide(self) -> Architecture:
        def both(losses_of: Losses, one: Architecture) -> Tensor:
            losses = losses_of(one)
            return torch.stack([losses, losses if self.errors is None else self.errors(one)])

        def on(_problem: Problem, _network: FusionNetwork, one: Architecture, share: float) -> Tensor:
            self.log.append((f"on {share}", one))
            return both(self.trained_on or self.supernet, one)

        def from_scratch(_problem: Problem, one: Architecture) -> Tensor:
            self.log.append(("alone", one))
            return both(self.alone or self.supernet, one)

        self.patch.setattr(nas.one_standard_error, "_trained_on", on)
        self.patch.setattr(nas.one_standard_error, "_from_scratch", from_scratch)
        self.patch.setattr(nas.one_standard_error, "_constant", lambda _problem: torch.stack([BASE, BASE]))
        space = self.problem.space
        every = list(space.enumerate())
        candidates = Candidates(
            np.array([space.index(one) for one in every]), torch.stack([*map(self.supernet, every)])
        )
        explored = explored_of(self.problem, self.network, {"fusion0": 0, "fusion1": 0})
        return one_standard_error(self.problem, self.network, explored, candidates, self.cost)


@pytest.fixture
def scene(problem: Problem, network: FusionNetwork, cost: CostTable, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """In which all are equal."""
    return Scene(problem=problem, network=network, cost=cost, patch=monkeypatch, supernet=lambda _one: BASE)


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
    # Of one order the fewest active nodes, and of those the fewest multiply-adds: at depth 0 encoders are half as deep.
    scene.supernet = by_order(gains)
    assert scene.decide() == expected


def test_trainings_differ_by_a_hundredth_of_what_was_learned_and_that_is_no_difference(scene: Scene) -> None:
    """Without noise over samples: 10 is learned, so that trainings differ by 0.1 with another seed."""

    def gaining(gained: Mapping[int, float]) -> Losses:
        return lambda one: BASE - gained.get(tiny_space().interaction_order(one), 0.0)

    for more, expected in ((0.09, ADDITIVE), (0.11, MULTIPLICATIVE)):
        scene.supernet = gaining({1: 10.0, 2: 10.0 + more})
        assert scene.decide() == architecture(expected, NOTHING)


def test_within_a_group_a_loss_that_is_clearly_lower_outweighs_its_cost(scene: Scene) -> None:
    wanted = architecture(NOTHING, deeper(MULTIPLICATIVE))
    cheaper = architecture(MULTIPLICATIVE, NOTHING)
    behind = 0.1 + standard_normal(1) / 10  # fourteen standard errors
    scene.supernet = lambda one: BASE - 5 if one == wanted else BASE - 5 + behind if one == cheaper else BASE
    assert scene.decide() == wanted
    assert scene.cost.total(cheaper) < scene.cost.total(wanted)


def test_where_to_fuse_is_decided_by_loss_and_what_to_do_there_by_cost_too(scene: Scene) -> None:
    shallow, deep = architecture(ADDITIVE, NOTHING), architecture(NOTHING, deeper(ADDITIVE))
    ahead = 0.02 + standard_normal(1)  # a quarter of a standard error
    scene.supernet = lambda one: BASE - (5 + ahead if one == deep else 5.0 if one == shallow else 0.0)
    assert scene.decide() == deep
    assert scene.cost.total(shallow) < scene.cost.total(deep)


def test_what_was_taken_is_compared_with_the_other_orders_at_its_own_taps(scene: Scene) -> None:
    """The supernet puts the product at the wrong depth; trained on, it is the best at the depth of the sum."""
    wanted, decoy = architecture(MULTIPLICATIVE, NOTHING), architecture(NOTHING, deeper(MULTIPLICATIVE))
    taken = architecture(ADDITIVE, NOTHING)
    spread = {one: standard_normal(number) for number, one in enumerate((wanted, decoy, taken))}

    def gaining(gains: dict[Architecture, float]) -> Losses:
        return lambda one: BASE - gains[one] - spread[one] if one in gains else BASE

    scene.supernet = gaining({taken: 3.0, decoy: 2.0, wanted: 1.0})
    scene.trained_on = gaining({taken: 3.0, decoy: 2.0, wanted: 4.0})
    assert scene.decide() == wanted
    assert ("on 0.1", decoy) in scene.log
    assert ("on 0.4", decoy) not in scene.log


def test_what_decides_between_simple_forms_is_what_they_come_to_when_trained_on(scene: Scene) -> None:
    forms = [architecture(one, NOTHING) for one in (NOTHING, CARRY, ADDITIVE, MULTIPLICATIVE)]
    scene.supernet = by_order({2: 3.0})  # order 1 lies forty standard errors behind, and is heard all the same
    scene.trained_on = scene.alone = by_order({1: 2.0, 2: 1.7})
    assert scene.decide() == forms[2]
    # All for a short while; then the one that was taken and the best of the others, three standard errors behind.
    short = [entry for entry in scene.log if entry[0] != "alone"]
    assert short == [("on 0.1", form) for form in forms] + [("on 0.4", form) for form in forms[2:]]


def test_what_is_clearly_behind_is_not_trained_for_longer(scene: Scene) -> None:
    scene.supernet = by_order({1: 2.0})
    assert scene.decide() == architecture(ADDITIVE, NOTHING)
    assert [how for how, _ in scene.log] == ["on 0.1"] * 4


def test_longer_trainings_may_turn_the_tables(scene: Scene) -> None:
    scene.supernet = by_order({2: 1.0})
    additive, multiplicative = architecture(ADDITIVE, NOTHING), architecture(MULTIPLICATIVE, NOTHING)
    early, late = by_order({1: 1.7, 2: 2.0}), by_order({1: 3.0, 2: 2.0})

    def trained_on(one: Architecture) -> Tensor:
        return late(one) if scene.log[-1][0] == "on 0.4" else early(one)

    scene.trained_on = trained_on
    assert scene.decide() == additive
    assert [one for how, one in scene.log if how == "on 0.4"] == [additive, multiplicative]


def test_loss_and_error_both_have_to_say_that_a_simple_form_is_behind(scene: Scene) -> None:
    """In loss the sum lies 14 standard errors behind: with a third of one in error 2.2, with a twentieth 0.8."""
    scene.supernet = by_order({1: 2.0, 2: 3.0})
    scene.errors = by_order({1: 2.0, 2: 2.035})
    assert scene.decide() == architecture(MULTIPLICATIVE, NOTHING)
    scene.errors = by_order({1: 2.0, 2: 2.005})
    assert scene.decide() == architecture(ADDITIVE, NOTHING)
    scene.errors = by_order({1: 2.0, 2: 1.0})  # in error the product lies as far behind
    assert scene.decide() == architecture(ADDITIVE, NOTHING)


def test_a_node_is_added_if_it_pays_in_the_supernet_and_from_scratch(scene: Scene) -> None:
    one, both = architecture(ADDITIVE, NOTHING), architecture(ADDITIVE, deeper(ADDITIVE))

    def gaining(gain: float) -> Losses:
        """When every fusion is much better than none, and adding at both depths gains so much over one of them."""
        spread = standard_normal(1)
        return lambda found: BASE - 4 - gain - spread if found == both else BASE - (4 if fuses(found) else 0)

    def fuses(found: Architecture) -> bool:
        return tiny_space().interaction_order(found) > 0

    scene.supernet = gaining(0.15)  # 2.1 standard errors of samples, and fewer with what trainings differ by
    assert scene.decide() == one
    assert ("alone", both) not in scene.log
    scene.supernet = gaining(0.30)  # 3.7 of both
    assert scene.decide() == both
    assert ("alone", both) in scene.log
    scene.trained_on = lambda found: BASE - (4 if fuses(found) else 0)
    scene.alone = scene.trained_on
    assert scene.decide() == one  # however sure the supernet is of the second node


def test_of_several_nodes_the_simplest_interactions_that_will_do_are_taken(scene: Scene) -> None:
    one, sums = architecture(NOTHING, deeper(ADDITIVE)), architecture(ADDITIVE, deeper(ADDITIVE))
    products = architecture(MULTIPLICATIVE, deeper(ADDITIVE))

    def losses_of(found: Architecture) -> Tensor:
        gained = {one: 1.0, sums: 2.0, products: 2.5}
        return BASE - gained.get(found, 0.0)

    scene.supernet = losses_of
    assert scene.decide() == products
    # From scratch, both are trained; the other sums and products with these nodes are not.
    assert [entry for entry in scene.log if entry[0] == "alone"] == [("alone", products)]
    scene.log.clear()
    scene.supernet = lambda found: losses_of(found) + 0.6 * (found == products)
    scene.alone = losses_of
    assert scene.decide() == products
    assert [entry for entry in scene.log if entry[0] == "alone"] == [("alone", sums), ("alone", products)]
    scene.alone = lambda found: losses_of(found) + 0.6 * (found == products)
    assert scene.decide() == sums


def test_a_supernet_that_has_not_learned_has_no_say_in_order_and_nodes(scene: Scene) -> None:
    scene.supernet = by_order({2: 2.0})  # 28 standard errors
    scene.trained_on = by_order({1: 1.0})
    scene.patch.setattr(nas.one_standard_error, "_is_trained", lambda _problem, _candidates: False)
    assert scene.decide() == architecture(ADDITIVE, NOTHING)
    # Nothing, and one of each order with a single active node.
    forms = [architecture(one, NOTHING) for one in (NOTHING, CARRY, ADDITIVE, MULTIPLICATIVE)]
    assert scene.log == [("on 0.1", form) for form in forms]


def three_modalities() -> tuple[SearchSpace, FusionNetwork, CostTable]:
    """One node that may add some of three modalities, and its supernet."""
    space = layerwise({"a": 1, "b": 1, "c": 1}, operations=["additive"])
    network = FusionNetwork(
        space,
        {name: VectorEncoder(Standardize.blank(2), 2, widths=(4,)) for name in "abc"},
        Head(4, 2),
        channels=4,
        dropout_rate=0.0,
    )
    cost = CostTable.measure(network, {name: (torch.zeros(1, 2),) for name in "abc"})
    return space, network, cost


@pytest.mark.parametrize(("is_trained", "expected"), [(True, ("a", "b")), (False, ("a", "b", "c"))])
def test_a_supernet_that_has_not_learned_leaves_no_modality_out(is_trained: bool, expected: tuple[str, ...]) -> None:
    space, _, cost = three_modalities()
    architectures = list(space.enumerate())
    losses = torch.rand(1, 50, generator=torch.Generator().manual_seed(0)).repeat(len(architectures), 1)
    candidates = Candidates(np.array([space.index(one) for one in architectures]), losses)
    problem = replace(tiny_problem(), space=space)
    table = nas.one_standard_error._Table.of(problem, candidates, cost)
    forms = [architectures[row] for row in nas.one_standard_error._simple_forms(table, is_trained=is_trained)]
    assert [space.interaction_order(one) for one in forms] == [0, 0, 1]
    assert forms[-1].modalities() == expected


@pytest.mark.parametrize(("behind", "expected"), [(0.5, ("a", "b")), (2.0, ("a", "b", "c"))])
def test_a_modality_is_left_out_if_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, behind: float, expected: tuple[str, ...]
) -> None:
    """Of three modalities the supernet favours the sum of all; trained on, two are so many standard errors behind."""
    space, network, cost = three_modalities()
    architectures = list(space.enumerate())
    every = next(one for one in architectures if one.modalities() == ("a", "b", "c"))
    two = next(one for one in architectures if one.modalities() == ("a", "b"))
    spread = standard_normal(1)

    def supernet(one: Architecture) -> Tensor:
        return BASE - {every: 5.0, two: 3.0}.get(one, 0.0)

    def trained_on(_problem: Problem, _network: FusionNetwork, one: Architecture, _share: float) -> Tensor:
        late = 5 - (behind / SAMPLES**0.5 + spread) if one == two else 5.0 if one == every else 0.0
        losses = BASE - late
        return torch.stack([losses, losses])

    monkeypatch.setattr(nas.one_standard_error, "_trained_on", trained_on)
    monkeypatch.setattr(nas.one_standard_error, "_constant", lambda _problem: torch.stack([BASE, BASE]))
    candidates = Candidates(
        np.array([space.index(one) for one in architectures]), torch.stack([*map(supernet, architectures)])
    )
    problem = replace(tiny_problem(), space=space)
    explored = Explored(network=network, beliefs={}, loss=0.5)
    found = one_standard_error(problem, network, explored, candidates, cost)
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
        return nas.one_standard_error._is_trained(replace(problem, alone_loss=alone_loss), candidates)

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
    outputs, targets = predict(trained.network, problem.architecture, CPU)
    losses, errors = nas.one_standard_error._from_scratch(problem, one)
    torch.testing.assert_close(losses, F.cross_entropy(outputs, targets, reduction="none"))
    assert torch.equal(errors, (outputs.argmax(dim=1) != targets).float())


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


def test_nothing_needs_no_training(problem: Problem, network: FusionNetwork) -> None:
    losses, errors = nas.one_standard_error._trained_on(problem, network, architecture(NOTHING, NOTHING), 0.15)
    counts = torch.bincount(problem.weights.targets) + 1
    targets = problem.architecture.targets
    assert losses[0] == pytest.approx(-math.log(counts[targets[0]] / counts.sum()))
    assert torch.equal(errors, (targets != counts.argmax()).float())


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
