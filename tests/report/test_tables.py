"""What the figures show, against numbers worked by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from nas.report.tables import (
    choice_label,
    curves,
    entropy_curves,
    heat_maps,
    leaderboard_rows,
    own_records,
    to_csv,
)
from nas.statistics import Interval


def _row(name: str, kind: str, mean: float | None, cost: int, difference: Any = None) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "mean": mean,
        "low": None if mean is None else mean - 1,
        "high": None if mean is None else mean + 1,
        "scores": [] if mean is None else [mean],
        "parameters": 1,
        "multiply_adds": cost,
        "train_seconds": 1.0,
        "difference": difference,
    }


def test_rows_come_by_kind_and_the_best_of_a_kind_first() -> None:
    rows = [
        _row("r", "random", 9.0, 1),
        _row("a", "modality", 2.0, 1),
        _row("b", "modality", 3.0, 1),
        _row("failed", "modality", None, 1),
        _row("f", "found", 1.0, 1),
        _row("odd", "novelty", 1.0, 1),
    ]
    higher = leaderboard_rows({"leaderboard": rows, "higher_is_better": True})
    assert [row.name for row in higher] == ["f", "b", "a", "failed", "r", "odd"]
    lower = leaderboard_rows({"leaderboard": rows, "higher_is_better": False})
    assert [row.name for row in lower] == ["f", "a", "b", "failed", "r", "odd"]


def test_a_sum_of_networks_that_are_trained_alone_says_so() -> None:
    rows = [{**_row(name, "late", 1.0, 1), "in_words": "depth 0: a + b"} for name in ("one", "two")]
    rows[1]["separate"] = True
    rows.append({**rows[0], "name": "old", "kind": "sum"})  # before rows told it
    found = leaderboard_rows({"leaderboard": rows, "higher_is_better": True})
    alone = "depth 0: a + b, each trained alone"
    assert {row.name: row.in_words for row in found} == {"one": "depth 0: a + b", "two": alone, "old": alone}


def test_a_difference_without_interval_is_none() -> None:
    gaps = [None, {"mean": 1.0, "low": None, "high": 2.0}, {"mean": 1.0, "low": math.nan, "high": 2.0}]
    rows = [_row(str(i), "late", 1.0, 1, gap) for i, gap in enumerate(gaps)]
    rows.append(_row("3", "late", 1.0, 1, {"mean": 1.0, "low": 0.5, "high": 1.5}))
    found = leaderboard_rows({"leaderboard": rows, "higher_is_better": True})
    assert [row.difference for row in found] == [None, None, None, Interval(1.0, 0.5, 1.5)]


@pytest.mark.parametrize(
    ("low", "high", "excludes"), [(0.1, 1, True), (-1, -0.1, True), (-0.1, 1, False), (0, 1, False)]
)
def test_an_interval_excludes_zero_only_beyond_it(low: float, high: float, excludes: bool) -> None:
    assert Interval((low + high) / 2, low, high).excludes_zero is excludes


def test_the_front_follows_the_sense_of_the_metric() -> None:
    rows = [_row("cheap", "late", 5.0, 1), _row("dear and high", "early", 7.0, 2)]
    assert [row.pareto for row in leaderboard_rows({"leaderboard": rows, "higher_is_better": True})] == [True, True]
    assert [row.pareto for row in leaderboard_rows({"leaderboard": rows, "higher_is_better": False})] == [True, False]


def _node(num_choices: int, chosen: int | None) -> dict[str, Any]:
    choices = [{"operation": "carry", "inputs": [f"m{i}@0"], "label": f"choice {i}"} for i in range(num_choices)]
    return {"name": "fusion0", "choices": choices, "chosen": chosen, "beliefs": [1 / num_choices] * num_choices}


def _search(step: int, weights: list[float | None]) -> dict[str, Any]:
    return {"phase": "search", "step": step, "mixing_weights": {"fusion0": weights}, "entropy": {"fusion0": 1.0 / step}}


def test_of_several_searches_only_the_one_shown_is_told() -> None:
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
    assert own_records({"seed": 4}, [*others, *told]) == told


def test_rare_choices_are_summed_up_but_never_the_chosen_one() -> None:
    metrics = [_search(1, [0.1, 0.5, 0.2, 0.1, 0.1]), _search(2, [0.3, 0.3, 0.2, 0.15, 0.05])]
    (heat,) = heat_maps({"nodes": [_node(5, chosen=4)]}, metrics, max_rows=3)
    assert heat.labels == ("choice 0", "choice 1", "choice 4", "2 others")
    assert heat.modalities == (("m0",), ("m1",), ("m4",), ())
    assert heat.weights[0] == (0.1, 0.3)
    assert heat.weights[3] == pytest.approx((0.3, 0.35))
    assert (heat.chosen, heat.steps, heat.has_others) == (2, (1.0, 2.0), True)


def test_a_single_left_over_choice_keeps_its_name() -> None:
    (heat,) = heat_maps({"nodes": [_node(4, chosen=0)]}, [], max_rows=3)
    assert heat.labels == ("choice 0", "choice 1", "choice 2", "choice 3")
    assert not heat.has_others


def test_without_records_the_final_beliefs_are_the_only_column() -> None:
    (heat,) = heat_maps({"nodes": [_node(2, chosen=None)]}, [])
    assert (heat.weights, heat.steps, heat.chosen) == (((0.5,), (0.5,)), (), None)


def test_columns_are_thinned_but_first_and_last_stay() -> None:
    metrics = [_search(step, [step / 1000, 1 - step / 1000]) for step in range(1, 1001)]
    (heat,) = heat_maps({"nodes": [_node(2, chosen=1)]}, metrics, max_columns=7)
    assert len(heat.steps) == 7
    assert (heat.steps[0], heat.steps[-1]) == (1.0, 1000.0)
    assert heat.weights[0][-1] == 1.0


def test_a_wrong_number_of_weights_is_an_error() -> None:
    with pytest.raises(ValueError, match="has 2 choices"):
        heat_maps({"nodes": [_node(2, chosen=0)]}, [_search(1, [1.0])])


def test_a_choice_without_label_is_told_in_words() -> None:
    assert choice_label({"operation": "multiplicative", "inputs": ["image@1", "words@1"]}) == "image × words"


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
    (curve,) = entropy_curves([_search(1, [1.0, 0.0]), _search(2, [1.0, 0.0])], "step")
    assert (curve.group, curve.x, curve.y) == ("depth 0", (1.0, 2.0), (1.0, 0.5))


def test_csv_leaves_what_is_unknown_empty() -> None:
    assert to_csv(("a", "b"), [(1.5, math.nan), (None, 'x,"y"')]) == 'a,b\n1.5,\n,"x,""y"""\n'
