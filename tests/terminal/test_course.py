"""How far a run has come: epochs against those expected, and what a terminal, a pipe and a quiet command show."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from nas.terminal.course import Course
from nas.terminal.output import show_run
from tests.tiny_runs import as_data, tiny_arrays, tiny_search

PLAN = {"phase": "plan", "epochs": {"unimodal": 4, "search": 2, "fused": 10}, "length": 2, "seconds": None}


def test_time_left_is_told_by_the_pace_of_every_unit() -> None:
    course = Course(0.0)
    assert course.seconds_left(0.0) is None
    course.note(PLAN, 1.0)
    course.note({"phase": "encoders", "modality": "a", "seed": 0, "epoch": 0, "architecture_score": 0.5}, 3.0)
    assert course.words == "epoch 1/2, score 0.5"
    assert course.seconds_left(3.0) == 2 * (3 + 2 + 10)  # nothing else is known yet
    course.note({"phase": "encoders", "modality": "b", "seed": 0, "epoch": 0}, 5.0)  # the first one ended early
    # Two trainings' first epochs took 2 s each; of the first one the second epoch will not come: 4 s for 3 epochs.
    assert course.seconds_left(5.0) == pytest.approx(4 / 3 * (1 + 2 + 10))
    course.note({"phase": "search", "step": 9, "epoch": 2, "architecture_loss": 1.25}, 6.0)
    assert course.words == "epoch 2, loss 1.25"
    course.note({"phase": "retrain", "row": "found", "seed": 0, "epoch": 0}, 9.0)
    assert course.seconds_left(9.0) == pytest.approx(3.0 * 9)
    assert course.seconds_left(10.0) == pytest.approx(3.0 * 9 - 1)
    assert course.share(9.0, 0.0) == pytest.approx(9 / (9 + 27))
    course.note({"phase": "gate", "epoch": 3}, 10.0)  # what is not counted changes nothing
    assert course.seconds_left(10.0) == pytest.approx(3.0 * 9 - 1)


def test_a_time_limit_bounds_what_is_left() -> None:
    course = Course(0.0)
    course.note({**PLAN, "seconds": 8.0}, 1.0)
    course.note({"phase": "encoders", "modality": "a", "seed": 0, "epoch": 0}, 3.0)
    assert course.seconds_left(3.0) == 6.0


def test_what_was_expected_is_about_what_comes() -> None:
    records: list[Any] = []
    tiny_search(as_data(tiny_arrays()), retrain_seeds=2, on_record=records.append)
    assert records[0]["phase"] == "plan"
    course, halfway = Course(0.0), len(records) // 2
    for number, record in enumerate(records):  # as if every record took a second
        course.note(record, float(number))
        if number == halfway:
            share = course.share(float(number), 0.0)
            assert share is not None
            assert 0.25 < share < 0.75
    left = course.seconds_left(float(len(records)))
    assert left is not None
    assert left < 0.35 * len(records)


@pytest.mark.parametrize(("terminal", "quiet"), [(True, False), (False, False), (True, True)])
def test_a_bar_on_a_terminal_lines_in_a_pipe_nothing_if_quiet(
    terminal: bool, quiet: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    with show_run(console, as_json=False, quiet=quiet) as shown:
        shown.line("training [found] from scratch")
        shown.record(PLAN)
        shown.record({"phase": "encoders", "modality": "a", "seed": 0, "epoch": 0, "architecture_score": 0.71})
    plain = capsys.readouterr().err
    if quiet:
        assert (out.getvalue(), plain) == ("", "")
    elif terminal:
        for words in ("training [found] from scratch", "epoch 1/2, score 0.71", "left"):
            assert words in out.getvalue()
        assert plain == ""
    else:
        assert (out.getvalue(), plain) == ("", "training [found] from scratch\n")
