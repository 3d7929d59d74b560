"""The drawing of a cascade: routes in turn, what earlier ones have run, and where samples stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.patches import Polygon

from nas.report.cascade import draw_cascade
from nas.report.figures import draw_all
from nas.report.gate import lanes
from nas.space.architecture import Choice
from nas.summary import Confidence, Summary
from tests.report.fabricate import add_routes, fabricate_run, gated
from tests.report.test_gate import EARLY, IMAGE
from tests.summaries import make_decisions, make_route

DECISIONS = make_decisions(
    [
        make_route(["image"], share, cost, in_words=f"route {place}")
        for place, (share, cost) in enumerate(((0.6, 1e6), (0.3, 3e6), (0.1, 4.4e6)))
    ],
    static_multiply_adds=4e6,
    curve=((1e6, 0.8), (4.4e6, 0.9)),
    random=((1e6, 0.7), (4.4e6, 0.9)),
    oracle=(2e6, 0.9),
    confidence=Confidence(fused=(0.2, 1.0), unimodal={"image": (0.9, 0.4)}),
)
SHALLOW = [Choice("carry", ("image@0",))]


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    """A shallow look at the image, then image and words at depth 1, then all."""
    return add_routes(fabricate_run(tmp_path), [], SHALLOW, EARLY)


def test_a_lane_knows_what_earlier_routes_have_run(summary: Summary) -> None:
    first, second, last = lanes(summary)
    assert first.states == {"image": ("run", "skipped", "skipped"), "words": ("skipped",) * 3}
    assert second.states == {"image": ("there", "run", "skipped"), "words": ("run", "run", "skipped")}
    assert last.states == {"image": ("there", "there", "run"), "words": ("there", "there", "run")}
    assert first.skips == "image from layer 1 on, words"


def test_what_an_earlier_route_has_run_is_there_even_if_nobody_reads_it_again(summary: Summary) -> None:
    two = gated([], IMAGE, [Choice("carry", ("words@0",))])
    lane = lanes(replace(summary, architecture=two))[1]
    assert lane.states["image"] == ("there",) * 3
    assert lane.skips == ""


def test_shares_are_of_samples_that_stop_and_costs_are_of_all_so_far(summary: Summary) -> None:
    first, _, last = lanes(replace(summary, dynamic=DECISIONS))
    assert first.title == "60 % of the samples stop here; 1 M multiply-adds by then, 25 % of the static ones"
    assert last.in_words.endswith(
        "10 % of the samples stop here; 4.4 M multiply-adds by then, 110 % of the static ones; skips nothing."
    )


def test_a_question_stands_behind_every_route_but_the_last(summary: Summary) -> None:
    axes = draw_cascade(replace(summary, dynamic=DECISIONS), {"image": "#0072b2", "words": "#d55e00"}).axes[0]
    assert sum(isinstance(patch, Polygon) for patch in axes.patches) == 2
    words = [text.get_text() for text in axes.texts]
    assert words.count("sure?") == 2
    assert [text for text in words if text.endswith(("stop", "go on"))] == [
        "60 % stop",
        "40 % go on",
        "30 % stop",
        "10 % go on",
        "10 % stop",
    ]
    assert words.count("there") == 1 + 4
    assert "gate" not in " ".join(words)


def test_without_shares_it_is_drawn_without_numbers(summary: Summary) -> None:
    words = [text.get_text() for text in draw_cascade(summary, {}).axes[0].texts]
    assert words.count("stop") == 3
    assert words.count("else go on") == 2


def test_a_report_speaks_of_a_cascade_and_of_no_gate(summary: Summary) -> None:
    drawn = {each.name: each for each in draw_all(replace(summary, dynamic=DECISIONS), [])}
    assert drawn["cascade"].alt.startswith(
        "A cascade tries 3 routes in turn, and every sample stops at a sure answer. Route 1: "
    )
    assert len(drawn["cascade"].csv.splitlines()) == 4
    assert "gate" not in drawn
    assert {name for name, each in drawn.items() if "the cascade" in each.alt} == {"trade", "extremes", "confidence"}
    legend = drawn["trade"].figure.axes[0].get_legend()
    assert legend is not None
    words = [text.get_text() for text in legend.get_texts()]
    assert words[0] == "the cascade, biased from cheap to dear"
    assert words[-1] == "without a cascade"
