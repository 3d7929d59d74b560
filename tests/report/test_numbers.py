"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from nas.report.numbers import active_words, clean, count_text, number, score_text, seconds_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (999_499, "999 k"), (12_345, "12.3 k"), (4.5e6, "4.5 M"), (2e12, "2 T"), (math.nan, "–")],
)
def test_counts(value: float, text: str) -> None:
    assert count_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.84, "0.8 s"), (42.4, "42 s"), (252, "4 min 12 s"), (7500, "2 h 5 min"), (59.9, "1 min 0 s"), (math.nan, "–")],
)
def test_durations(value: float, text: str) -> None:
    assert seconds_text(value) == text


def test_scores_are_percent_where_the_metric_is_a_share() -> None:
    assert score_text(0.9123, "accuracy") == "91.2"
    assert score_text(-0.0123, "micro_f1", signed=True) == "−1.2"
    assert score_text(0.40712, "mae") == "0.4071"
    assert score_text(math.nan, "mae") == "–"


def test_only_finite_numbers_are_numbers() -> None:
    assert number(3) == 3.0
    assert all(math.isnan(number(value)) for value in (None, "3", True, math.inf, [1]))


def test_labels_are_one_printable_line_of_bounded_length() -> None:
    assert clean("a\nb\x00c") == "a b c"
    assert clean("x" * 500, 10) == "xxxxxxxxx…"


@pytest.mark.parametrize(
    ("words", "active"),
    [
        ("depth 0: nothing; depth 1: image + words; depth 2: nothing", "depth 1: image + words"),
        (
            "depth 0: image alone; depth 1: nothing; depth 2: tensor(a, b)",
            "depth 0: image alone; depth 2: tensor(a, b)",
        ),
        ("depth 0: nothing; depth 1: nothing", "depth 0: nothing; depth 1: nothing"),
        ("late fusion", "late fusion"),
    ],
)
def test_depths_that_do_nothing_go_without_saying(words: str, active: str) -> None:
    assert active_words(words) == active
