"""Cascades: routes that are run one after another until one is sure of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from nas import UserError
from nas.metrics import losses_of_routes
from nas.network.cost import CostTable, multiply_adds
from nas.pipeline.search import make_space
from nas.routing.cascade import LEVER, Cascade
from nas.routing.loss import routes_loss
from nas.routing.network import RoutedNetwork, build_routed
from nas.routing.prediction import predict_routes
from nas.routing.training import train_routed
from nas.seeding import seeded
from nas.space.architecture import Architecture, Choice
from nas.tasks import TASKS
from search_spaces import layerwise
from tests.helpers import CPU, counted_calls, tiny_batch, tiny_data, tiny_routed
from tests.routing.test_execution import AUDIO, BOTH, DATA, IMAGE, ROUNDING, SPACE, Forced, architecture
from tests.strategies.problems import tiny_problem

NOTHING = Choice("none")
FIRST = architecture(Choice("carry", ("image@0",)), NOTHING)
CASCADE = Architecture.cascaded([FIRST, IMAGE, BOTH])
ROUTES = [["image"], ["image"], ["image", "audio"]]


def network(of: Architecture = CASCADE) -> RoutedNetwork:
    built = tiny_routed(SPACE.restrict(of), DATA).double()
    built.set_costs(CostTable.measure(built.network, tiny_batch(DATA).take(slice(0, 1)).inputs))
    return built


def cascade_of(built: RoutedNetwork) -> Cascade:
    assert isinstance(built.router, Cascade)
    return built.router


def mixed(built: RoutedNetwork) -> Tensor:
    """Sets the thresholds so that each route keeps about a third of the samples, and says which."""
    cascade, batch = cascade_of(built), tiny_batch(DATA)
    with torch.no_grad():
        outputs, _ = built.every_route(batch.inputs)
        sure = TASKS["classification"].confidence(outputs[0])
        cascade.threshold[0] = sure.double().quantile(2 / 3) / LEVER
        left = TASKS["classification"].confidence(outputs[1])[sure <= LEVER * cascade.threshold[0]]
        cascade.threshold[1] = left.double().quantile(0.5) / LEVER
    return torch.bincount(built.run(batch.inputs)[1], minlength=3)


def test_confidence_is_the_log_odds_of_the_best_answer() -> None:
    classes = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    best = classes.softmax(dim=1).max(dim=1).values
    torch.testing.assert_close(TASKS["classification"].confidence(classes), torch.logit(best))
    labels = torch.tensor([[2.0, -1.0], [0.1, -0.1]])
    right = torch.sigmoid(labels.abs()).prod(dim=1)
    torch.testing.assert_close(TASKS["multilabel"].confidence(labels), torch.logit(right))
    assert torch.isfinite(TASKS["multilabel"].confidence(torch.full((1, 3), 1e4))).all()
    assert torch.isfinite(TASKS["classification"].confidence(torch.tensor([[1e4, 0.0]]))).all()


def test_probabilities_are_those_of_stopping_in_turn() -> None:
    cascade = Cascade(ROUTES, "classification")
    with torch.no_grad():
        cascade.slope.copy_(torch.tensor([0.5, 2.0]))
        cascade.threshold.copy_(torch.tensor([0.1, 0.2]))
    outputs = torch.randn(3, 200, 4, generator=torch.Generator().manual_seed(0))
    stops = [
        torch.sigmoid(slope * TASKS["classification"].confidence(outputs[k]) - LEVER * threshold)
        for k, (slope, threshold) in enumerate([(0.5, 0.1), (2.0, 0.2)])
    ]
    wanted = torch.stack([stops[0], (1 - stops[0]) * stops[1], (1 - stops[0]) * (1 - stops[1])], dim=1)
    logits = cascade(outputs)
    torch.testing.assert_close(logits.exp(), wanted)
    picked = torch.where(stops[0] > 0.5, 0, torch.where(stops[1] > 0.5, 1, 2))
    assert torch.equal(cascade.pick(logits), picked)
    assert len(picked.unique()) == 3


def test_a_sample_stops_nowhere_where_it_lacks_what_is_read() -> None:
    cascade = Cascade([["image"], ["image", "audio"], ["audio"]], "classification")
    outputs = torch.zeros(3, 4, 2)
    outputs[:, :, 0] = 50.0  # sure at once
    present = {"image": torch.tensor([True, True, False, False]), "audio": torch.tensor([True, False, True, False])}
    logits = cascade(outputs, present)
    assert cascade.pick(logits).tolist() == [0, 0, 2, 0]  # the last one lacks all, so it may stop anywhere
    with torch.no_grad():
        cascade.threshold.fill_(100.0)  # never sure
    assert cascade.pick(cascade(outputs, present)).tolist() == [2, 0, 2, 2]
    cascade(outputs, present).exp().sum().backward()
    assert torch.isfinite(cascade.threshold.grad).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 2, 18])
def test_routed_dense_and_as_is_cheaper_put_out_the_same(size: int) -> None:
    built = network()
    assert mixed(built).min() > 2
    batch = tiny_batch(DATA).take(slice(0, size))
    every, logits = built.every_route(batch.inputs)
    wanted = cascade_of(built).pick(logits)
    for execution in ("routed", "dense", None):
        outputs, picked = built.run(batch.inputs, execution=execution)
        assert torch.equal(picked, wanted)
        torch.testing.assert_close(outputs, every[wanted, torch.arange(size)], rtol=0, atol=ROUNDING)


def test_a_route_can_be_forced() -> None:
    built, batch = network(), tiny_batch(DATA)
    every, _ = built.every_route(batch.inputs)
    route = torch.arange(len(batch)) % 3
    outputs, picked = built.run(batch.inputs, route=route, execution="routed")
    assert torch.equal(picked, route)
    torch.testing.assert_close(outputs, every[route, torch.arange(len(batch))], rtol=0, atol=ROUNDING)


def test_what_comes_after_a_sure_answer_is_not_run() -> None:
    built, batch = network(), tiny_batch(DATA)
    with torch.no_grad():
        cascade_of(built).threshold.fill_(-100.0)
    with counted_calls(built.network) as calls:
        built.run(batch.inputs)
    assert calls["encoders.image.stages.0.0"] == 1
    assert calls["encoders.image.stages.1.0"] == 0
    assert calls["encoders.audio.stages.0.0"] == 0


def test_every_layer_runs_once_on_the_samples_that_are_left() -> None:
    built, batch = network(), tiny_batch(DATA)
    counts = mixed(built).tolist()
    lengths: dict[str, list[int]] = {}
    for name in ("encoders.image.stages.0.0", "encoders.image.stages.1.0", "encoders.audio.stages.0.0"):
        seen = lengths.setdefault(name, [])
        layer = built.network.get_submodule(name)
        layer.register_forward_pre_hook(lambda _m, given, seen=seen: seen.append(len(given[0])))
    built.run(batch.inputs, execution="routed")
    assert list(lengths.values()) == [[18], [18 - counts[0]], [counts[2]]]


def test_costs_add_up_over_the_routes_before() -> None:
    built = network()
    one = tiny_batch(DATA).take(slice(0, 1)).inputs
    costs = cascade_of(built).costs.tolist()
    extra = cascade_of(built).multiply_adds()
    assert [cost - extra for cost in costs] == [multiply_adds(Forced(built, number), one) for number in range(3)]
    apart = network(Architecture.cascaded([FIRST, AUDIO]))  # nothing shared: the sum of both
    table = CostTable.measure(apart.network, one)
    assert table.of_cascade([FIRST, AUDIO]) == [table.total(FIRST), table.total(FIRST) + table.total(AUDIO)]


def test_a_cascade_is_read_back_as_it_was_written() -> None:
    assert Architecture.from_json(CASCADE.to_json()) == CASCADE
    assert CASCADE.in_words() == (
        "a cascade tries depth 0: image alone, then depth 1: image alone, then depth 0: mlp(image, audio), depth 1: "
        "image + audio"
    )


def test_all_routes_learn_from_all_samples_and_then_where_to_stop() -> None:
    problem = tiny_problem()
    sound = architecture(NOTHING, Choice("carry", ("sound@1",)))
    both = architecture(NOTHING, Choice("additive", ("sound@1", "sight@1")))
    space = problem.space.restrict(Architecture.cascaded([sound, both]))
    with seeded(0):
        built = build_routed(space, problem.data, problem.training, problem.builders)
    gate = cascade_of(built)
    gate.costs.copy_(torch.tensor([40.0, 100.0]))
    gate.static_cost.fill_(100.0)
    routes_loss("classification", built, problem.weights).backward()
    assert all(parameter.grad is not None for parameter in built.encoders.parameters())
    assert gate.threshold.grad is None
    config = replace(problem.training, epochs=10, cost_weight=100.0)
    records: list[Mapping[str, Any]] = []
    parts: tuple[Any, ...] = ("classification", problem.weights, problem.architecture, config)
    trained = train_routed(built, *parts, seed=0, device=CPU, log=records.append)
    assert trained.network.run(problem.architecture.inputs)[1].sum() == 0
    told = predict_routes(trained.network, problem.architecture, CPU)[0]
    losses = losses_of_routes("classification", told, problem.architecture.targets, torch.ones(2))
    assert float(losses.mean()) == pytest.approx(min(record["architecture_loss"] for record in records), rel=1e-5)
    assert trained.architecture_loss == pytest.approx(float(losses[:, 0].mean()) + 100 * 0.4, rel=1e-5)
    assert trained.architecture_score == pytest.approx(
        (told[0].argmax(1) == problem.architecture.targets).float().mean()
    )


def test_regression_is_refused_in_one_line() -> None:
    data = tiny_data({"image": "vector", "audio": "vector"}, task="regression")
    with pytest.raises(UserError, match="a cascade stops where an answer is sure"):
        make_space("layerwise", data, None, None, ["cascade"])
    with pytest.raises(UserError, match="sure"):
        Cascade(ROUTES, "regression")
    assert layerwise({"image": 2, "audio": 2}, dynamic=["cascade"]).dynamic == ("cascade",)
