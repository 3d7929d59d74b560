"""What the figures show, against numbers worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from nas.report.tables import (
    curves,
    entropy_curves,
    heat_maps,
    leaderboard_rows,
    on_front,
    own_records,
    to_csv,
)
from nas.space.architecture import Architecture, Choice
from nas.statistics import Interval
from nas.summary import Row, RowKind, SearchedNode
from tests.summaries import make_node, make_row, make_search, make_summary


def _row(name: str, kind: RowKind, mean: float, cost: int = 1, difference: Interval | None = None) -> Row:
    return make_row(
        name, kind, score=Interval(mean, mean - 1, mean + 1), multiply_adds=cost, scores=(mean,), difference=difference
    )


FOUND = _row("f", "found", 1.0)


def _rows(*rows: Row, metric: str = "accuracy") -> tuple[Row, ...]:
    """A leaderboard as it is shown."""
    made = make_summary(Architecture.chain("layerwise", []), {"a": 1}, leaderboard=(FOUND, *rows), metric=metric)
    return leaderboard_rows(made)


def test_rows_come_by_kind_and_the_best_of_a_kind_first() -> None:
    rows = (
        _row("r", "random", 9.0),
        _row("a", "modality", 2.0),
        _row("b", "modality", 3.0),
        _row("failed", "modality", math.nan),
    )
    assert [row.name for row in _rows(*rows)] == ["f", "b", "a", "failed", "r"]
    assert [row.name for row in _rows(*rows, metric="mae")] == ["f", "a", "b", "failed", "r"]


def test_a_sum_of_networks_that_are_trained_alone_says_so() -> None:
    row = replace(_row("one", "late", 1.0), in_words="depth 0: a + b")
    found = _rows(row, replace(row, name="two", separate=True))
    alone = "depth 0: a + b, each trained alone"
    assert {one.name: one.in_words for one in found[1:]} == {"one": "depth 0: a + b", "two": alone}


def test_a_difference_without_interval_is_none() -> None:
    gaps = (None, Interval(1.0, math.nan, 2.0), Interval(1.0, 0.5, 1.5))
    found = _rows(*(_row(str(i), "late", 1.0, difference=gap) for i, gap in enumerate(gaps)))
    assert [row.difference for row in found[1:]] == [None, None, Interval(1.0, 0.5, 1.5)]


@pytest.mark.parametrize(
    ("low", "high", "excludes"), [(0.1, 1, True), (-1, -0.1, True), (-0.1, 1, False), (0, 1, False)]
)
def test_an_interval_excludes_zero_only_beyond_it(low: float, high: float, excludes: bool) -> None:
    assert Interval((low + high) / 2, low, high).excludes_zero is excludes


def test_the_front_follows_the_sense_of_the_metric() -> None:
    rows = [_row("cheap", "late", 5.0, 1), _row("dear and high", "early", 7.0, 2)]
    assert on_front(rows, "accuracy") == [True, True]
    assert on_front(rows, "mae") == [True, False]
    assert on_front([replace(rows[0], multiply_adds=None), rows[1]], "accuracy") == [False, True]


def _node(num_choices: int, chosen: int | None) -> SearchedNode:
    choices = [Choice("carry", (f"m{i}@0",)) for i in range(num_choices)]
    return make_node(
        "fusion0", choices, title="depth 0", chosen=chosen, choice_weights=(1 / num_choices,) * num_choices
    )


def _search(step: int, weights: list[float | None]) -> dict[str, Any]:
    return {"phase": "search", "step": step, "mixing_weights": {"fusion0": weights}, "entropy": {"fusion0": 1.0 / step}}


def test_of_several_searches_only_the_one_shown_is_told() -> None:
    summary = make_summary(Architecture.chain("layerwise", []), {"a": 1}, search=make_search({"a": 1}, seed=4))
    told = [
        {"phase": "search", "search": 4, "step": 1},
        {"phase": "retrain", "seed": 3},
        {"phase": "encoders", "seed": 3},
    ]
    others = [
        {"phase": "search", "search": 3, "step": 1},
        {"phase": "retrain", "search": 4, "seed": 4},
        {"phase": "encoders", "search": 3, "seed": 3},
    ]
    assert own_records(summary, [*others, *told]) == told


def test_rare_choices_are_summed_up_but_never_the_chosen_one() -> None:
    metrics = [_search(1, [0.1, 0.5, 0.2, 0.1, 0.1]), _search(2, [0.3, 0.3, 0.2, 0.15, 0.05])]
    (heat,) = heat_maps([_node(5, chosen=4)], metrics, max_rows=3)
    assert heat.labels == ("m0 alone", "m1 alone", "m4 alone", "2 others")
    assert heat.modalities == (("m0",), ("m1",), ("m4",), ())
    assert heat.weights[0] == (0.1, 0.3)
    assert heat.weights[3] == pytest.approx((0.3, 0.35))
    assert (heat.chosen, heat.steps, heat.has_others) == (2, (1.0, 2.0), True)


def test_a_single_left_over_choice_keeps_its_name() -> None:
    (heat,) = heat_maps([_node(4, chosen=0)], [], max_rows=3)
    assert heat.labels == ("m0 alone", "m1 alone", "m2 alone", "m3 alone")
    assert not heat.has_others


def test_without_records_the_final_beliefs_are_the_only_column() -> None:
    (heat,) = heat_maps([_node(2, chosen=None)], [])
    assert (heat.weights, heat.steps, heat.chosen) == (((0.5,), (0.5,)), (), None)


def test_columns_are_thinned_but_first_and_last_stay() -> None:
    metrics = [_search(step, [step / 1000, 1 - step / 1000]) for step in range(1, 1001)]
    (heat,) = heat_maps([_node(2, chosen=1)], metrics, max_columns=7)
    assert len(heat.steps) == 7
    assert (heat.steps[0], heat.steps[-1]) == (1.0, 1000.0)
    assert heat.weights[0][-1] == 1.0


def test_a_wrong_number_of_weights_is_an_error() -> None:
    with pytest.raises(ValueError, match="has 2 choices"):
        heat_maps([_node(2, chosen=0)], [_search(1, [1.0])])


def test_of_two_records_for_one_step_the_last_counts() -> None:
    metrics = [
        {"phase": "retrain", "row": "found", "seed": 0, "epoch": 2, "train_loss": 5.0},
        {"phase": "retrain", "row": "found", "seed": 0, "epoch": 1, "train_loss": 3.0},
        {"phase": "retrain", "row": "found", "seed": 0, "epoch": 2, "train_loss": 2.0},
        {"phase": "retrain", "row": "found", "seed": 1, "epoch": 1, "train_loss": None},
    ]
    (curve,) = curves(metrics, "retrain", "train_loss", "epoch")
    assert (curve.x, curve.y, curve.group) == ((1.0, 2.0), (3.0, 2.0), "found")


def test_entropy_has_a_line_per_node() -> None:
    (curve,) = entropy_curves([_search(1, [1.0, 0.0]), _search(2, [1.0, 0.0])], [_node(2, chosen=0)], "step")
    assert (curve.group, curve.x, curve.y) == ("depth 0", (1.0, 2.0), (1.0, 0.5))


def test_csv_leaves_what_is_unknown_empty() -> None:
    assert to_csv(("a", "b"), [(1.5, math.nan), (None, 'x,"y"')]) == 'a,b\n1.5,\n,"x,""y"""\n'
