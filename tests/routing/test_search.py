"""Levels, the choice of routes, and the whole path of a dynamic search by the ordinary functions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import nas
from nas import UserError
from nas.data.dynamic_tasks import DynamicTask
from nas.network.cost import CostTable
from nas.routing.cascade import LEVER, Cascade
from nas.routing.explain import Routes
from nas.routing.levels import LEVELS, check_levels
from nas.routing.linear_gate import gains
from nas.routing.network import RoutedNetwork
from nas.routing.search import add_gate, affordable_routes, candidate_routes, paying_routes, shared_taps
from nas.space.architecture import Architecture, Choice
from nas.space.search_space import SearchSpace
from nas.supernet.candidates import Candidates
from nas.tasks import TASKS
from search_spaces import SPACES, experts, layerwise
from tests.helpers import tiny_batch, tiny_data, tiny_network
from tests.strategies.problems import tiny_problem
from tests.summaries import known
from tests.tiny_runs import as_data, no_report, tiny_arrays, tiny_search

SPACE = layerwise({"image": 2, "audio": 2}, operations=["additive", "mlp"], dynamic=["modality"])
NOTHING = Choice("none")
LATE = Choice("additive", ("image@1", "audio@1"))
DEEP_MLP = Choice("mlp", ("image@1", "audio@1"))


def architecture(first: Choice, last: Choice, space: str = "layerwise") -> Architecture:
    return Architecture.chain(space, (("fusion0", first), ("fusion1", last)))


def kinds(level: str, found: Architecture) -> list[set[Architecture]]:
    every = list(SPACE.enumerate())
    return [{one for one in every if one.taps() and is_of(one)} for is_of in LEVELS[level](SPACE, found)]


def test_the_modality_level_has_a_kind_for_every_subset() -> None:
    image, audio = kinds("modality", architecture(NOTHING, LATE))
    assert {one.modalities() for one in image} == {("image",)}
    assert {one.modalities() for one in audio} == {("audio",)}
    assert len(image) == len(audio) == 3  # at either depth or at both
    three = layerwise({"a": 1, "b": 1, "c": 1})
    joined = Architecture.chain("layerwise", (("fusion0", Choice("mlp", ("a@0", "b@0", "c@0"))),))
    assert len(LEVELS["modality"](three, joined)) == 6
    assert kinds("modality", architecture(NOTHING, Choice("carry", ("image@1",)))) == []


def test_the_fusion_level_has_a_kind_for_every_lesser_depth() -> None:
    (shallow,) = kinds("fusion", architecture(NOTHING, LATE))
    assert shallow == {architecture(Choice(name, ("image@0", "audio@0")), NOTHING) for name in ("additive", "mlp")}
    assert kinds("fusion", architecture(LATE_AT_0, NOTHING)) == []


LATE_AT_0 = Choice("additive", ("image@0", "audio@0"))


def test_the_operation_level_has_a_kind_for_every_lower_order_on_the_same_taps() -> None:
    found = kinds("operation", architecture(NOTHING, DEEP_MLP))
    assert found == [set(), {architecture(NOTHING, LATE)}, set()]
    assert not any(kinds("operation", architecture(NOTHING, LATE)))


def test_a_route_is_the_best_complement_of_its_kind() -> None:
    """Of two depths of a modality the one that a gate gains most with, and the cheaper one of equals."""
    data = tiny_data({"image": "vector", "audio": "sequence"})
    cost = CostTable.measure(tiny_network(SPACE, data), tiny_batch(data).take(slice(0, 1)).inputs)
    found = architecture(NOTHING, DEEP_MLP)
    deep, shallow = architecture(NOTHING, carry("image@1")), architecture(carry("image@0"), NOTHING)
    mark = torch.arange(200) % 2  # seen by the gate
    coin = torch.from_numpy(np.random.default_rng(0).integers(0, 2, 200))  # seen by none
    of_found = torch.ones(200)

    def routes(of_deep: Tensor, of_shallow: Tensor, *, price: float = 0.0, space: SearchSpace = SPACE) -> list[Any]:
        losses = torch.stack([of_found, of_deep, of_shallow])
        candidates = Candidates(np.array([SPACE.index(one) for one in (found, deep, shallow)]), losses)
        return candidate_routes(space, found, candidates, cost, mark[:, None].float(), price=price)

    # `deep` is half a point better where the mark says so; `shallow` two points, but where a coin fell.
    by_mark, by_coin = of_found - 0.5 + 2.0 * mark, of_found - 2.0 + 4.5 * coin
    assert routes(by_mark, by_coin) == [deep, found]
    assert routes(by_coin, by_mark) == [shallow, found]
    assert routes(by_mark, by_mark) == [shallow, found]
    assert routes(by_mark, by_coin, price=100.0) == [shallow, found]
    static = layerwise({"image": 2, "audio": 2}, operations=["additive", "mlp"])
    assert routes(by_mark, by_coin, space=static) == [found]


def test_a_gate_gains_what_can_be_foreseen_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    seen = torch.from_numpy(generator.standard_normal((2000, 3)))
    foreseen = (seen[:, 0] > 0.5).double() - 0.5
    noise = torch.from_numpy(generator.standard_normal(2000))
    always, never = torch.full((2000,), -0.25), torch.full((2000,), 0.25)
    gained = gains(seen, torch.stack([foreseen, noise, always, never], dim=1)).mean(dim=0)
    # Half a point on the 69 % of the samples below 0.5 of a normal distribution; a line does not hit all of them.
    assert -0.346 < float(gained[0]) < -0.30
    assert abs(float(gained[1])) < 4 * 1 / 2000**0.5  # the lower of both would be −0.4
    assert gained[2:].tolist() == [-0.25, 0]
    assert torch.equal(gains(seen[:1], foreseen[:1, None]), torch.zeros(1, 1, dtype=torch.double))


def test_routes_that_do_not_pay_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two cheap routes the one that is right where it is taken stays, and the one that is right by luck goes."""
    problem = tiny_problem()
    sound, sight = (architecture(NOTHING, carry(f"{name}@1")) for name in ("sound", "sight"))
    both = architecture(NOTHING, Choice("additive", ("sound@1", "sight@1")))
    space = problem.space.restrict(Architecture.gated([sound, sight, both], ["sound@0"]))
    built = RoutedNetwork.of(problem.make_network(space), "classification")
    gate = built.router
    gate.costs.copy_(torch.tensor([50.0, 50.0, 100.0]))
    gate.static_cost.fill_(100.0)
    batch = problem.architecture.take(torch.arange(60) % len(problem.architecture))
    right, wrong = (torch.nn.functional.one_hot(batch.targets ^ flip, 2).numpy() * 8.0 for flip in (0, 1))
    half = (torch.arange(60) < 30).numpy()[:, None]
    lucky = (torch.arange(60) % 2 == 0).numpy()[:, None]

    def kept(second: NDArray[np.bool_], *, price: float) -> list[Architecture]:
        """The gate takes sound on the first half, sight on the next ten; else, and second best, it likes both."""
        outputs = np.stack([np.where(half, right, wrong), np.where(second, right, wrong), right])
        logits = np.repeat([[2, 0, 1], [0, 2, 1], [0, 0, 1]], [30, 10, 20], axis=0)
        told = Routes(
            outputs=outputs,
            logits=logits,
            costs=np.zeros(3),
            targets=batch.targets.numpy(),
            data=problem.data,
            pick=gate.pick,
        )
        monkeypatch.setattr(Routes, "of", lambda *_arguments: told)
        with_cost_penalty = replace(problem, training=replace(problem.training, cost_weight=price))
        return paying_routes(with_cost_penalty, built, batch)

    assert kept(lucky, price=0.1) == [sound, both]
    assert kept(~half, price=0.1) == [sound, sight, both]
    assert kept(~half, price=0.0) == [both]
    assert kept(lucky, price=100.0) == [sound, sight, both]  # what it saves is worth more than what it gets wrong


def carry(tap: str) -> Choice:
    return Choice("carry", (tap,))


def test_a_cascade_keeps_every_stage_that_lowers_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if nobody stops there at the price of the search: at another one, or on other samples, somebody may."""
    problem = tiny_problem()
    problem = replace(problem, space=replace(problem.space, dynamic=("cascade",)))
    both = architecture(NOTHING, Choice("additive", ("sound@1", "sight@1")))
    sound, sight = (architecture(NOTHING, carry(f"{name}@1")) for name in ("sound", "sight"))
    supernet = problem.make_network(problem.space)
    cost = CostTable.measure(supernet, problem.architecture.take(slice(0, 1)).inputs)

    def never(cascade: Cascade, *_arguments: object) -> Cascade:
        cascade.threshold.data.fill_(100.0)
        return cascade

    monkeypatch.setattr("nas.routing.training.fitted_to", never)
    monkeypatch.setattr("nas.routing.search.steepest", lambda *_arguments: [sound, sight])
    candidates = Candidates(np.array([problem.space.index(both)]), torch.zeros(1, len(problem.architecture)))
    gated = add_gate(problem, supernet, both, candidates, cost)
    assert [one.routes() for one in gated.tried] == [(sound, sight, both)]


@pytest.mark.parametrize(("threshold", "taken"), [(-100.0, False), (None, True)])
def test_what_sends_every_sample_down_one_route_decides_nothing(
    monkeypatch: pytest.MonkeyPatch, threshold: float | None, taken: bool
) -> None:
    """However much it saves: a cheaper static network does that, too. None lets half of the samples stop early."""
    problem = tiny_problem()
    problem = replace(problem, space=replace(problem.space, dynamic=("cascade",)))
    problem = replace(problem, training=replace(problem.training, cost_weight=100.0))
    both = architecture(NOTHING, Choice("additive", ("sound@1", "sight@1")))
    sound = architecture(NOTHING, carry("sound@1"))
    supernet = problem.make_network(problem.space)
    cost = CostTable.measure(supernet, problem.architecture.take(slice(0, 1)).inputs)

    def fitted(cascade: Cascade, answers: Tensor, *_arguments: object) -> Cascade:
        sure = TASKS["classification"].confidence(answers[0]).median() / LEVER
        cascade.threshold.data.fill_(float(sure) if threshold is None else threshold)
        return cascade

    monkeypatch.setattr("nas.routing.training.fitted_to", fitted)
    monkeypatch.setattr("nas.routing.search.steepest", lambda *_arguments: [sound])
    candidates = Candidates(np.array([problem.space.index(both)]), torch.zeros(1, len(problem.architecture)))
    gated = add_gate(problem, supernet, both, candidates, cost)
    assert gated.errors_behind < -1  # the price of multiply-adds is high, and it saves some
    assert (gated.architecture != both) == taken
    assert ("nearly all samples down one route" in gated.in_words()) == (not taken)
    assert gated.told().decided == gated.decided


def test_what_reads_nothing_has_nothing_to_decide() -> None:
    problem = tiny_problem()
    problem = replace(problem, space=replace(problem.space, dynamic=("modality", "cascade")))
    nothing = architecture(NOTHING, NOTHING)
    supernet = problem.make_network(problem.space)
    cost = CostTable.measure(supernet, problem.architecture.take(slice(0, 1)).inputs)
    candidates = Candidates(np.array([problem.space.index(nothing)]), torch.zeros(1, len(problem.architecture)))
    gated = add_gate(problem, supernet, nothing, candidates, cost)
    assert gated.architecture == nothing
    told = gated.told()
    assert (told.taken, told.tried, told.in_words) == (False, (), gated.in_words())
    assert "no cheaper route" in gated.in_words()


def test_with_a_budget_routes_are_looked_for_at_a_price_that_can_keep_it() -> None:
    """At no price the dear complement is the best one; where the budget asks for it, a cheaper one is taken."""
    data, reads = tiny_data({"image": "vector", "audio": "sequence"}), ("image@0", "audio@0")
    cost = CostTable.measure(tiny_network(SPACE, data), tiny_batch(data).take(slice(0, 1)).inputs)
    found, deep = architecture(NOTHING, DEEP_MLP), architecture(NOTHING, carry("audio@1"))
    shallow = architecture(carry("audio@0"), NOTHING)
    mark = torch.arange(200) % 2  # where it is not, both are better than the found architecture, the deep one more so
    losses = torch.stack([torch.ones(200), 0.5 + 2.0 * mark, 0.8 + 2.0 * mark])
    every = Candidates(np.array([SPACE.index(one) for one in (found, deep, shallow)]), losses)
    cheap, dear = (float(cost.of_route(one, reads) / cost.total(found)) for one in (shallow, deep))
    assert cheap < dear < 0.9

    def routes(budget: float) -> list[Architecture]:
        problem = tiny_problem()
        problem = replace(problem, space=SPACE, training=replace(problem.training, max_multiply_adds=budget))
        return affordable_routes(problem, found, every, cost, mark[:, None].float())

    assert routes(0.9) == [deep, found]
    assert routes((cheap + dear) / 2) == [shallow, found]
    assert routes(cheap / 2) == [shallow, found]  # as near as can be


def test_shared_taps_are_those_that_every_route_computes() -> None:
    image = architecture(NOTHING, carry("image@1"))
    assert shared_taps([image, architecture(NOTHING, LATE)]) == ("image@0", "image@1")
    assert shared_taps([image, architecture(LATE_AT_0, NOTHING)]) == ("image@0",)
    assert shared_taps([image, architecture(NOTHING, carry("audio@1"))]) == ()


def test_experts_have_one_node_and_every_reference() -> None:
    space = experts({"image": 3, "audio": 2})
    assert [node.name for node in space.nodes] == ["fusion2"]
    assert space.dynamic == ("modality",)
    assert {reference.kind for reference in space.references} == {
        "modality",
        "late",
        "transformer",
        "early",
        "operation",
    }
    assert all(len(reference.architecture.steps) == 1 for reference in space.references)
    assert SPACES["experts"] is experts


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(UserError, match="modality"):
        check_levels(["modalities"])
    with pytest.raises(UserError, match="dynamic level"):
        layerwise({"a": 1, "b": 1}, dynamic=["never"])


def test_a_strategy_without_a_supernet_cannot_be_dynamic() -> None:
    with pytest.raises(UserError, match="no supernet"):
        tiny_search(as_data(tiny_arrays()), dynamic=["modality"], strategy="random")


@pytest.mark.slow
@pytest.mark.parametrize("level", ["modality", "cascade"])
def test_a_dynamic_search_finds_the_known_routing_and_its_run_reads_back(
    level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Search, retrain, load and evaluate by the ordinary functions, on a task of known routing.

    A gate sees the mark that tells what a sample needs; a cascade is not sure of some that need no more, too.
    """
    no_report(monkeypatch)
    data, needed = DynamicTask(kind="half", samples=2000).make()
    result = nas.search(
        data,
        space="experts",
        operations=["additive"],
        dynamic=[level],
        retrain_seeds=1,
        device="cpu",
        preset="quick",
        channels=16,
        out=tmp_path / "run",
    )
    assert result.architecture.gating is not None
    loaded = nas.load_run(tmp_path / "run")
    assert loaded.architecture == result.architecture
    assert nas.evaluate(tmp_path / "run", data=data)["score"] == result.summary.leaderboard[0].scores[0]
    batch = {name: tuple(torch.from_numpy(a) for a in m.arrays) for name, m in data.modalities.items()}
    assert isinstance(loaded.network, RoutedNetwork)
    _, picked = loaded.network.run(batch)
    reads = torch.tensor(["m1" in route.modalities() for route in loaded.architecture.routes()])[picked]
    test = data.splits["test"]
    assert reads.numpy()[test][needed[test, 1].astype(bool)].mean() >= (0.95 if level == "modality" else 0.9)
    if level == "modality":
        assert (reads.numpy()[test] == needed[test, 1]).mean() >= 0.95
    found, static = result.summary.leaderboard[:2]
    assert static.kind == "static"
    assert known(found.multiply_adds) < 0.95 * known(static.multiply_adds)
    assert found.score.mean > static.score.mean - 0.02
