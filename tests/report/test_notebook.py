"""A run at a prompt and in a notebook."""

from __future__ import annotations

from dataclasses import replace

import pytest
from markupsafe import escape

import nas
from nas import RunResult
from nas.report.notebook import run_html
from tests.summaries import change_row, known
from tests.tiny_runs import finished_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A finished run, only to be read."""
    return finished_run(tmp_path_factory)


def test_a_run_shows_itself_in_a_line_and_in_a_notebook(finished: RunResult) -> None:
    loaded = nas.load_run(str(finished.folder))
    headline = finished.verdict.splitlines()[0]
    assert repr(finished) == f"<RunResult on 'tiny': {headline}, folder={str(finished.folder)!r}>"
    assert repr(loaded) == repr(finished).replace("RunResult", "Run")
    page = loaded._repr_html_()
    assert page == finished._repr_html_()
    assert escape(headline) in page
    assert all(f">{escape(row.name)}<" in page for row in finished.summary.leaderboard)


def test_a_leaderboard_shows_itself_and_is_a_frame(finished: RunResult) -> None:
    board = finished.leaderboard
    assert list(board) == list(finished.summary.leaderboard)
    assert repr(board).startswith("<Leaderboard by accuracy, %: found ")
    assert repr(board).endswith(f"and {len(board) - 5} more>")
    assert "<svg" not in board._repr_html_()
    assert finished._repr_html_().count("<svg") == 1
    frame = board.to_frame()
    assert frame["name"].tolist() == [row.name for row in board]
    assert frame["accuracy"].tolist() == [row.score.mean for row in board]


def test_what_a_notebook_shows_is_escaped(finished: RunResult) -> None:
    summary = change_row(finished.summary, 0, name="<script>")
    page = run_html(replace(summary, verdict=replace(known(summary.verdict), headline="<b>")))
    assert "<script>" not in page
    assert "&lt;b&gt;" in page
