"""How the winner of the tournament was chosen, as the page tells it."""

from __future__ import annotations

import csv
import html
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.discretize.tournament import DEPOSED
from nas.errors import UserError
from nas.records import plain
from nas.report import report
from nas.report.standings import standings
from nas.report.tables import heat_maps, leaderboard_rows
from nas.summary import Standings
from tests.report.fabricate import fabricate_run
from tests.summaries import NO_GAP, change_row, known, write_summary


def _text(page: Path) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.read_text()).split())


def test_a_run_without_a_tournament_has_no_standings(tmp_path: Path) -> None:
    assert standings(fabricate_run(tmp_path)) is None
    assert "How the winner was chosen" not in _text(report(tmp_path))


def test_the_winner_comes_first_and_the_choice_of_the_search_has_a_name_of_its_own(tmp_path: Path) -> None:
    told = standings(fabricate_run(tmp_path, late_won=True))
    assert told is not None
    assert (told.winner, told.prefers_simple, told.changed_the_answer) == ("late fusion", False, True)
    assert [(row.name, row.held_out, row.errors_behind, row.is_winner) for row in told.rows[::2]] == [
        ("late fusion", 0.91, 0.0, True),
        (DEPOSED, 0.9, 1.26, False),
    ]
    assert told.rows[1].name == "early fusion"
    assert math.isnan(told.rows[1].held_out)


def test_a_favourite_that_won_is_the_found_row(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path, late_won=True)
    favourite = "favourite of the supernet"
    tournament = replace(known(summary.tournament), winner=favourite, errors_behind={favourite: 0.0})
    told = standings(replace(summary, tournament=tournament))
    assert told is not None
    assert [(row.name, row.held_out) for row in told.rows] == [("favourite of the supernet", 0.91)]


def test_where_the_search_won_its_choice_is_the_found_row(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    errors_behind = {"late fusion": 2.0, "found": 0.0, "gone": 3.0}
    won = Standings(
        prefer="simplicity",
        winner="found",
        proposed=summary.architecture,
        errors_behind=errors_behind,
        trainings=0,
        seconds=0.0,
    )
    told = standings(replace(summary, tournament=won))
    assert told is not None
    assert (told.prefers_simple, told.changed_the_answer) == (True, False)
    assert [row.name for row in told.rows] == ["found", "late fusion"]


def test_the_page_tells_how_the_winner_was_chosen(tmp_path: Path) -> None:
    fabricate_run(tmp_path, late_won=True, num_searches=3)
    text = _text(report(tmp_path))
    section = html.unescape(text[text.index("How the winner was chosen") :])
    assert "The best row was taken: late fusion, not the search’s own choice." in section
    assert "late fusion depth 2: image + words 91.0 won" in section
    assert "the search's own choice depth 1: image × words; depth 2: image + words 90.0 1.3" in section
    assert "A negative distance means ahead of the winner" in section
    assert "Late fusion won the tournament of proposals and baselines" in text
    assert re.search(r"late fusion depth 2: image \+ words .{0,40} same network", text)
    assert "The found network is another one: it won the tournament ." in text
    assert "It entered the tournament, but another network won" in text


def test_the_mixing_weights_mark_what_the_search_chose_and_not_the_winner(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path, late_won=True)
    maps = heat_maps(summary.search.nodes, [], known(summary.tournament).proposed)
    labels = [heat.labels[heat.chosen] for heat in maps if heat.chosen is not None]
    assert labels == ["nothing", "image × words", "image + words"]
    report(tmp_path)
    nodes = list(csv.DictReader((tmp_path / "figures" / "architecture.csv").read_text().splitlines()))
    assert [node["operation"] for node in nodes] == ["additive"]


def test_a_network_has_no_gain_over_itself(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path, late_won=True)
    summary = change_row(summary, "image", architecture_score=0.9)
    write_summary(tmp_path, summary)
    assert "gain over image alone" in _text(report(tmp_path))
    summary = change_row(summary, "image", difference=NO_GAP, architecture=summary.architecture)
    write_summary(tmp_path, summary)
    assert [row.name for row in leaderboard_rows(summary) if summary.is_found_again(row)] == ["image", "late fusion"]
    assert "gain over" not in _text(report(tmp_path))


@pytest.mark.parametrize(
    "garbled", [{"winner": "found"}, {"winner": "found", "errors_behind": 3}, ["found"], {"proposed": {"nodes": 5}}]
)
def test_a_garbled_tournament_is_told_in_one_line(tmp_path: Path, garbled: Any) -> None:
    summary = fabricate_run(tmp_path)
    write_summary(tmp_path, {**plain(summary), "tournament": garbled})
    with pytest.raises(UserError, match=r"summary\.json' is damaged: tournament") as caught:
        report(tmp_path)
    assert "\n" not in str(caught.value)
