"""NSGA-II: the Pareto set of loss and multiply-adds, and the one architecture that is taken from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nas.config import SearchConfig
from nas.network.cost import CostTable, multiply_adds
from nas.pipeline.search import find
from nas.retraining.preparation import TrainingSetup, prepare
from nas.space.architecture import Architecture
from nas.strategies import STRATEGIES, ParetoPoint, SearchProblem
from nas.strategies.ask_tell import Tried
from nas.strategies.nsga2 import cheapest_of_the_best
from search_spaces import layerwise
from tests.strategies.problems import CPU, DEPTHS, TRAINING, builders, tiny_data, tiny_problem, tiny_space
from tests.strategies.tables import Table, additive, costs_of_inputs


def _brute_force_front(losses: dict[Architecture, float], costs: dict[Architecture, int]) -> set[Architecture]:
    return {
        one
        for one in losses
        if not any(
            losses[other] <= losses[one]
            and costs[other] <= costs[one]
            and (losses[other] < losses[one] or costs[other] < costs[one])
            for other in losses
        )
    }


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_once_everything_was_tried_the_pareto_set_is_the_front_of_the_space(seed: int) -> None:
    space = layerwise(DEPTHS, operations=["additive"])  # 4 × 4 architectures
    table = Table(additive(space, seed))
    problem = tiny_problem(seed=seed, space=space, evaluator=table, search=SearchConfig(max_trials=16))
    explored = STRATEGIES["nsga2"](problem)
    assert set(table.asked) == set(space.enumerate())
    cost = problem.cost()
    losses = {one: table.loss(one) for one in space.enumerate()}
    costs = {one: cost.total(one) for one in space.enumerate()}
    assert {point.architecture for point in explored.pareto} == _brute_force_front(losses, costs)
    assert len(explored.pareto) > 1
    for point in explored.pareto:
        assert point.loss == pytest.approx(losses[point.architecture])
        assert point.multiply_adds == costs[point.architecture]
    assert [point.multiply_adds for point in explored.pareto] == sorted(p.multiply_adds for p in explored.pareto)


def test_no_member_of_the_pareto_set_is_dominated_by_anything_that_was_tried() -> None:
    table = Table(additive(tiny_space(), 4))
    problem = tiny_problem(evaluator=table, search=SearchConfig(max_trials=12))
    explored, cost = STRATEGIES["nsga2"](problem), problem.cost()
    assert len(table.asked) == 12
    losses = {one: table.loss(one) for one in table.asked}
    front = _brute_force_front(losses, {one: cost.total(one) for one in table.asked})
    assert {point.architecture for point in explored.pareto} == front


def test_what_it_tries_depends_on_multiply_adds_too() -> None:
    space = layerwise(DEPTHS)
    cheap_where_idle = costs_of_inputs(space)
    cheap_where_busy = replace(
        cheap_where_idle, operations={key: 9 - cost for key, cost in cheap_where_idle.operations.items()}
    )

    def asked(cost: CostTable) -> list[Architecture]:
        table = Table(lambda _: 1.0)
        problem = tiny_problem(space=space, evaluator=table, search=SearchConfig(max_trials=40))
        explored = STRATEGIES["nsga2"](replace(problem, measure_cost=lambda _network: cost))
        assert {point.multiply_adds for point in explored.pareto} == {min(map(cost.total, table.asked))}
        return table.asked

    first, second = asked(cheap_where_idle), asked(cheap_where_busy)
    agreeing = [one == other for one, other in zip(first, second, strict=True)]
    assert 8 <= agreeing.index(False) < 40  # the first generation is drawn blindly


def test_the_decision_is_the_cheapest_within_one_paired_standard_error_of_the_best() -> None:
    """By hand: differences to the best and their standard errors over the four samples.

    Cheap: 0.4, 0.4, 0.6, 0.6: mean 0.5, deviation sqrt(0.04 / 3) = 0.115, error 0.058, 8.7 errors behind. Middling:
    0.3, −0.1, 0.3, −0.1: mean 0.1, deviation 0.231, error 0.115, 0.87 behind. Unpaired, the deviation of the losses
    themselves, 1.29 and more, would let the cheap one pass.
    """
    space = tiny_space()
    cheap, middling, dear = space.at((0, 1)), space.at((1, 1)), space.at((3, 3))
    best = torch.tensor([0.0, 1.0, 2.0, 3.0])
    losses = {
        dear: best,
        cheap: best + torch.tensor([0.4, 0.4, 0.6, 0.6]),
        middling: best + torch.tensor([0.3, -0.1, 0.3, -0.1]),
    }
    pareto = [
        ParetoPoint(architecture=one, loss=float(losses[one].mean()), multiply_adds=cost)
        for one, cost in ((cheap, 1), (middling, 2), (dear, 3))
    ]
    assert cheapest_of_the_best(pareto, Tried(losses=losses, choice_weights={})).architecture == middling
    losses[cheap] = best + torch.tensor([0.4, -0.4, 0.4, -0.3])  # mean 0.025
    assert cheapest_of_the_best(pareto, Tried(losses=losses, choice_weights={})).architecture == cheap
    losses[cheap], losses[middling] = best + 0.5, best + 0.1  # without spread nothing is forgiven
    assert cheapest_of_the_best(pareto, Tried(losses=losses, choice_weights={})).architecture == dear


def test_the_decision_of_a_search_is_a_member_of_its_pareto_set_with_its_loss() -> None:
    noise = torch.rand(40, generator=torch.Generator().manual_seed(0))

    def evaluator(problem: SearchProblem, architecture: Architecture) -> Tensor:
        return noise.roll(sum(problem.space.index(architecture))) + 0.01 * additive(tiny_space())(architecture)

    explored = STRATEGIES["nsga2"](tiny_problem(evaluator=evaluator, search=SearchConfig(max_trials=20)))
    # Losses differ by far less than their standard error, so the cheapest of all wins, which has not the lowest loss.
    assert explored.architecture == explored.pareto[0].architecture
    assert explored.loss == explored.pareto[0].loss > explored.pareto[-1].loss


def test_multiply_adds_are_those_of_the_whole_network_with_pretrained_encoders_too() -> None:
    data, space = tiny_data(), tiny_space()
    setup = TrainingSetup(data=data, space=space, training=TRAINING, device=CPU, builders=builders())
    result = find(setup, SearchConfig(max_trials=6, strategy="nsga2", encoders="pretrained"), 0)
    assert result.prepared.frozen
    prepared, _ = prepare(setup, "pretrained", 0)
    for point in result.explored.pareto:
        problem = SearchProblem(
            space=space,
            data=prepared.data,
            weights=prepared.weights,
            architecture=prepared.architecture,
            training=TRAINING,
            search=SearchConfig(),
            seed=0,
            device=CPU,
        )
        network = prepared.assemble(problem.make_network(space.restrict(point.architecture)))
        assert point.multiply_adds == multiply_adds(network, prepared.sample)
        without = problem.cost().total(point.architecture)
        assert (point.multiply_adds > without) == bool(point.architecture.taps())


def test_costs_may_come_from_elsewhere() -> None:
    encoders, ones = {"sound@0": 7, "sound@1": 9, "sight@0": 7, "sight@1": 9}, dict.fromkeys(_TAPS, 1)
    elsewhere = CostTable(encoders, {}, ones, ones, {}, 5)
    problem = replace(tiny_problem(), measure_cost=lambda _network: elsewhere)
    assert problem.cost() is elsewhere
    assert tiny_problem().cost().head == 8 * 2  # channels times classes


_TAPS = ("sound@0", "sound@1", "sight@0", "sight@1")
