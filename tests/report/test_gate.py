"""The drawing of a dynamic architecture: all routes, what has run for the gate, what is skipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.patches import Polygon

from nas.report.figures import draw_all
from nas.report.gate import draw_gate, lanes
from nas.report.page import _missing
from nas.space.architecture import Choice
from nas.summary import Summary, Without
from tests.report.fabricate import add_routes, fabricate_run, gated
from tests.summaries import make_decisions, make_route

NOTHING = Choice("none")
IMAGE = [NOTHING, NOTHING, Choice("carry", ("image@2",))]
EARLY = [NOTHING, Choice("mlp", ("image@1", "words@1"))]


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    """The gate reads the first two taps of the image; one route is the image alone, one stops at depth 1."""
    return add_routes(fabricate_run(tmp_path), ["image@0", "image@1"], IMAGE, EARLY)


DECISIONS = make_decisions(
    [make_route(["image"], share, cost) for share, cost in ((0.6, 1e6), (0.0, 3e6), (0.4, 4.1e6))],
    reads=("image@0", "image@1"),
    static_multiply_adds=4e6,
)


def test_a_lane_knows_what_ran_for_the_gate_and_what_its_route_skips(summary: Summary) -> None:
    image, early, whole = lanes(summary)
    assert image.states == {"image": ("gate", "gate", "run"), "words": ("skipped",) * 3}
    assert early.states == {"image": ("gate", "gate", "skipped"), "words": ("run", "run", "skipped")}
    assert whole.states == {"image": ("gate", "gate", "run"), "words": ("run",) * 3}
    assert [lane.skips for lane in (image, early, whole)] == [
        "words",
        "image from layer 2 on, words from layer 2 on",
        "",
    ]
    assert [[node.name for node in lane.plan.nodes] for lane in (image, early)] == [["fusion2"], ["fusion1"]]
    assert image.in_words == "depth 2: image alone; skips words."


def test_shares_and_costs_are_told_where_they_are_known(summary: Summary) -> None:
    image, _, whole = lanes(replace(summary, dynamic=DECISIONS))
    assert image.title == "60 % of the samples; 1 M multiply-adds, 25 % of the static ones"
    assert whole.in_words.endswith("102 % of the static ones; skips nothing.")


def test_what_no_route_runs_is_not_skipped(summary: Summary) -> None:
    other = [NOTHING, NOTHING, Choice("carry", ("image@1",))]
    two = replace(summary, architecture=gated(["image@0", "image@1"], IMAGE, other))
    assert [lane.skips for lane in lanes(two)] == ["", "image from layer 2 on"]


def test_the_gate_is_a_diamond_with_a_frame_and_a_way_for_every_route(summary: Summary) -> None:
    axes = draw_gate(replace(summary, dynamic=DECISIONS), {"image": "#0072b2", "words": "#d55e00"}).axes[0]
    assert sum(isinstance(patch, Polygon) for patch in axes.patches) == 1
    words = [text.get_text() for text in axes.texts]
    assert words.count("head") == 3
    assert words.count("skipped") == 3 + 2
    assert words.count("gate") == 1 + 3 * 2
    assert {"image, layer 0", "image, layer 1"} <= set(words)


def test_a_report_has_it_with_its_words_and_numbers(summary: Summary) -> None:
    (drawn,) = (each for each in draw_all(summary, []) if each.name == "gate")
    assert drawn.alt.startswith(
        "A gate reads image@0 and image@1 and picks one of 3 routes for every sample. Route 1: "
    )
    assert len(drawn.csv.splitlines()) == 4


def test_it_is_told_what_is_left_without_a_modality(summary: Summary) -> None:
    missing = {
        "image": Without(score=0.39, multiply_adds=54_800.0, does_without=False),
        "words": Without(score=0.7, multiply_adds=1e6, does_without=True),
    }
    summary = replace(summary, dynamic=replace(DECISIONS, missing=missing))
    assert _missing(summary, "accuracy") == [
        (
            "without image",
            "accuracy 39.0 %, 54.8 k multiply-adds; no route does without it, so zeros are read in its place",
        ),
        ("without words", "accuracy 70.0 %, 1 M multiply-adds"),
    ]
    assert _missing(summary, "mae")[1][1] == "mean absolute error 0.7, 1 M multiply-adds"
