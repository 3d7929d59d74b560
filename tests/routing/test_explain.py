"""What is told of a gate: shares, costs, bounds and missing modalities, on routes made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nas.diagnostics import Recombined
from nas.network.cost import CostTable
from nas.report.routes import draw_confidence, draw_extremes, draw_routes, draw_trade, shares_of_routes
from nas.routing.explain import Routes, explain, in_words
from nas.routing.gates import Gate
from nas.routing.network import RoutedNetwork
from nas.summary import Decisions
from tests.helpers import CPU, tiny_batch, tiny_data, tiny_network, tiny_routed
from tests.routing.test_execution import DATA, GATED, IMAGE, SPACE
from tests.summaries import make_decisions, make_route

RIGHT, WRONG = (1.0, 0.0), (0.0, 1.0)

BY_HAND = Routes(
    outputs=np.array([[RIGHT, WRONG, RIGHT, WRONG], [RIGHT, RIGHT, WRONG, WRONG]], dtype=np.float32),
    logits=np.array([[2, 0], [0, 2], [0, 2], [0.5, 0]], dtype=np.float32),
    costs=np.array([10.0, 30.0]),
    targets=np.zeros(4, dtype=np.int64),
    data=tiny_data({"image": "vector", "audio": "vector"}),
    pick=lambda logits: logits.argmax(dim=1),
)
"""Four samples of class 0: the cheap route is right on the first and the third, the dear one on the first two."""


def test_what_the_gate_picks_is_scored_and_costed() -> None:
    assert BY_HAND.picked().tolist() == [0, 1, 1, 0]
    assert BY_HAND.at(BY_HAND.picked()) == (0.5, 20.0)
    assert BY_HAND.single_route_scores() == [0.5, 0.5]


def test_the_curve_runs_from_the_cheapest_route_to_the_dearest() -> None:
    curve = BY_HAND.curve()
    assert curve[0] == (10.0, 0.5)
    assert curve[-1] == (30.0, 0.5)
    assert (20.0, 0.5) in curve
    # A bias b moves the difference of logits by 2b/3: the last sample turns dear at b = −3/4, the first at −3.
    assert [cost for cost, _ in curve] == [10.0, 20.0, 25.0, 30.0]


def test_random_gating_is_the_straight_line_between_routes() -> None:
    better = Routes(**{**vars(BY_HAND), "targets": np.array([0, 0, 1, 1])})  # 0.5 and 1.0
    assert better.single_route_scores() == [0.5, 1.0]
    assert better.random(10.0, better.costs) == 0.5
    assert better.random(25.0, better.costs) == pytest.approx(0.875)
    assert better.random(40.0, better.costs) == 1.0
    assert better.random(5.0, better.costs) == 0.5


def test_the_oracle_takes_the_cheapest_route_that_is_no_more_wrong_than_the_last() -> None:
    # Both right: cheap. Cheap wrong: dear. Dear wrong: cheap, even where neither is right.
    assert BY_HAND.oracle().tolist() == [0, 1, 0, 0]
    assert BY_HAND.at(BY_HAND.oracle()) == (0.75, 15.0)


@pytest.fixture(scope="module")
def dynamic() -> Decisions:
    built = network()
    unimodal = {"image": tiny_network(SPACE.restrict(IMAGE), DATA)}
    return explain(built, unimodal, tiny_batch(DATA, "test"), DATA, CPU)


def network() -> RoutedNetwork:
    built = tiny_routed(SPACE.restrict(GATED), DATA)
    batch = tiny_batch(DATA, "test")
    built.set_costs(CostTable.measure(built.network, batch.take(slice(0, 1)).inputs))
    assert isinstance(built.router, Gate)
    with torch.no_grad():
        built.router.output.bias.sub_(built.router(built.encode(batch.inputs)).mean(dim=0))
    return built


def test_shares_add_up_and_costs_are_their_mean(dynamic: Decisions) -> None:
    routes = dynamic.routes
    assert sum(route.share for route in routes) == pytest.approx(1.0)
    for name in DATA.class_names:
        assert sum(route.shares[name] for route in routes) == pytest.approx(1.0)
    spent = sum(route.share * route.multiply_adds for route in routes)
    assert dynamic.multiply_adds == pytest.approx(spent)
    assert [name for name, _ in shares_of_routes(dynamic)] == ["all samples", *DATA.class_names]


def test_the_most_fused_sample_is_the_one_that_the_gate_spends_most_on(dynamic: Decisions) -> None:
    most, least = dynamic.most_fused, dynamic.least_fused
    assert most[0].fused > least[0].fused
    assert [one.fused for one in most] == sorted((one.fused for one in most), reverse=True)
    assert dynamic.confidence.fused[most[0].sample] == most[0].fused


def test_what_is_left_without_a_modality_is_that_of_routes_without_it(dynamic: Decisions) -> None:
    routes = {tuple(route.modalities): route for route in dynamic.routes}
    for missing, left in (("audio", ("image",)), ("image", ("audio",))):
        told = dynamic.missing[missing]
        assert told.multiply_adds == routes[left].multiply_adds
        assert told.does_without
    assert dynamic.missing["audio"].score == routes[("image",)].score


def test_it_is_told_in_a_sentence() -> None:
    routes = [make_route("a", 0.38), make_route("ab", 0.62)]
    told = make_decisions(routes, reads=("a@0",), multiply_adds=75.0, static_multiply_adds=100.0)
    assert in_words(told) == (
        "The gate skips b on 38 % of the samples; all in all 25 % fewer multiply-adds than without it."
    )
    assert "no modality; all in all 10 % more" in in_words(
        replace(told, routes=tuple(replace(route, modalities=("a",)) for route in routes), multiply_adds=110.0)
    )


def test_it_is_told_what_the_gate_has_run_and_what_was_not_decided() -> None:
    routes = [
        make_route("a", 1.0, 60.0, in_words="depth 1: a alone"),
        make_route("ab", 0.0, 101.0, in_words="depth 1: a + b"),
    ]
    told = make_decisions(routes, reads=("a@0", "b@0", "b@1"), multiply_adds=60.0, static_multiply_adds=100.0)
    assert in_words(replace(told, lacking=0.25, budget=0.5)) == (
        "The gate skips b after layer 1 on 100 % of the samples; all in all 40 % fewer multiply-adds than without it. "
        "It decides nothing: all samples take one route, depth 1: a alone. "
        "25 % of the samples lack a modality, which forces it. "
        "Its budget was 50 %, it spends 60 %: the cheapest route takes 60 %."
    )
    assert "budget" not in in_words(replace(told, budget=0.6))


def test_samples_that_lack_something_are_not_among_the_most_and_least_fused() -> None:
    batch = tiny_batch(DATA, "test")
    lacks = torch.arange(len(batch)) % 2 == 0
    told = explain(network(), {}, replace(batch, present={"audio": ~lacks}), DATA, CPU)
    assert told.lacking == pytest.approx(float(lacks.float().mean()))
    assert all(one.sample % 2 for one in (*told.most_fused, *told.least_fused))


def test_a_cascade_skips_what_no_route_so_far_has_read() -> None:
    routes = [make_route(name, share) for name, share in (("a", 0.5), ("b", 0.3), ("c", 0.2))]
    told = make_decisions(routes, multiply_adds=75.0, static_multiply_adds=100.0)
    assert in_words(told) == (
        "The cascade skips b on 50 % of the samples and c on 80 % of the samples; all in all 25 % fewer multiply-adds "
        "than without it."
    )


def test_figures_show_every_route_and_class(dynamic: Decisions) -> None:
    axes = draw_routes(dynamic).axes[0]
    assert len(axes.patches) == len(dynamic.routes) * (1 + len(DATA.class_names))
    assert len(draw_trade(dynamic, "accuracy").axes[0].lines) == 4
    bars = [len(axes.patches) for axes in draw_extremes(dynamic).axes]
    assert bars == [len(dynamic.most_fused), len(dynamic.least_fused)]
    assert len(draw_confidence(dynamic.confidence, {}).axes) == 1


def test_a_diagnosis_recombines_what_the_gate_sees_too() -> None:
    """Modalities of other samples, or absent ones, give what the whole network gives for them."""
    built = network()
    batch = tiny_batch(DATA, "test")
    found = Recombined.of(built, batch, CPU)
    torch.testing.assert_close(found.outputs(), built(batch.inputs))
    order = torch.arange(len(batch)).flip(0)
    mixed = {"image": tuple(a[order] for a in batch.inputs["image"]), "audio": batch.inputs["audio"]}
    rows = {"image": order, "audio": torch.arange(len(batch))}
    torch.testing.assert_close(found.outputs(rows), built(mixed))
    absent = built(batch.inputs, {"audio": torch.zeros(len(batch), dtype=torch.bool)})
    torch.testing.assert_close(found.outputs({"audio": None}), absent)
    torch.testing.assert_close(found.take(order[:3]).outputs(), built(batch.take(order[:3]).inputs))
    assert not torch.allclose(found.outputs(rows), found.outputs())


def test_a_diagnosis_minds_who_has_what() -> None:
    built = network()
    present = {"image": torch.arange(6) % 2 == 0}
    batch = replace(tiny_batch(DATA, "test"), present=present)
    found = Recombined.of(built, batch, CPU)
    torch.testing.assert_close(found.outputs(), built(batch.inputs, present))
    torch.testing.assert_close(found.take(torch.tensor([1, 2])).outputs(), built(batch.inputs, present)[1:3])
