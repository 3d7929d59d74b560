"""What the page says about how sure the search is."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.errors import UserError
from nas.records import plain
from nas.report import report
from nas.report.stability import agreement_of_searches
from nas.statistics import Interval
from nas.summary import Summary
from tests.report.fabricate import fabricate_run
from tests.summaries import known, write_summary


def rewritten(folder: Path, summary: Summary | dict[str, Any]) -> Path:
    write_summary(folder, summary)
    return report(folder)


def test_a_run_of_one_search_says_nothing_of_it(tmp_path: Path) -> None:
    assert agreement_of_searches(fabricate_run(tmp_path)) is None
    page = report(tmp_path).read_text()
    assert "How sure" not in page
    assert "the search took" in page
    assert not (tmp_path / "figures" / "stability.svg").exists()


def test_it_reads_counts_scores_and_the_consensus(tmp_path: Path) -> None:
    sure = agreement_of_searches(fabricate_run(tmp_path, num_searches=4))
    assert sure is not None
    told = sure.told
    assert (told.metric, told.num_distinct, told.agreement, told.kappa) == ("accuracy", 2, 0.8125, 0.6875)
    # Of four searches, the second and the fourth do nothing at the last node, where the run's architecture adds.
    last = sure.nodes[-1]
    assert last.node == "depth 2"
    assert [(one.label, one.count, one.is_consensus) for one in last.choices] == [
        ("image + words", 2, True),
        ("nothing", 2, False),
    ]
    assert last.choices[0].modalities == ("image", "words")
    assert told.consensus.seed == 0
    assert list(sure.spreads) == ["found", "late"]
    assert sure.spreads["found"].scores == pytest.approx((0.88, 0.884, 0.888, 0.892))
    assert sure.difference == Interval(0.01, 0.002, 0.018)
    assert sure.usage["depths"] == (("depth 0", 4), ("depth 1", 3), ("depth 2", 2))
    assert sure.usage["highest interaction"] == (("none", 0), ("additive", 1), ("multiplicative", 3), ("nonlinear", 0))


def test_rare_choices_are_summed_up_but_never_that_of_the_consensus(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path, num_searches=4)
    told = known(summary.stability)
    chosen, nothing = told.choices[-1].choices
    others = [replace(nothing, operation=f"other{i}", label=f"other {i}", count=3 - i // 2) for i in range(4)]
    made = replace(told.choices[-1], choices=(*others, replace(chosen, count=1)))
    told = replace(told, choices=(*told.choices[:-1], made))
    sure = agreement_of_searches(replace(summary, stability=told), max_rows=3)
    assert sure is not None
    assert [(one.label, one.count) for one in sure.nodes[-1].choices] == [
        ("other 0", 3),
        ("other 1", 3),
        ("image + words", 1),
        ("2 others", 4),
    ]


def test_the_page_tells_it_in_words_tables_and_a_figure(tmp_path: Path) -> None:
    fabricate_run(tmp_path, num_searches=4)
    page = " ".join(report(tmp_path).read_text().split())
    assert (
        page.index("What fusion bought</h2>")
        < page.index("How sure</h2>")
        < page.index("What it could choose from</h2>")
    )
    for words in (
        "4 searches, each with a seed and encoders of its own, proposed 2 different architectures",
        "at 81 % of the fusion nodes, where chance would give 40 % (Fleiss’ κ 0.69)",
        "that of seed 0",
        "seed 0, taken",
        "<td>88.0</td><td>89.2</td>",  # lowest and highest of 88.0, 88.4, 88.8 and 89.2
        'class="better">+1.0</span><small>+0.2 to +1.8</small>',
        "none: 0, additive: 1, multiplicative: 3, nonlinear: 0",
        "4 searches took",
        "Of the 4 searches it is that of seed 0",
        "seeds of all searches",
    ):
        assert words in page
    assert (tmp_path / "figures" / "stability.svg").is_file()
    assert (tmp_path / "figures" / "stability.png").is_file()


def test_the_numbers_behind_the_figure_lie_beside_it(tmp_path: Path) -> None:
    fabricate_run(tmp_path, num_searches=4)
    report(tmp_path)
    with (tmp_path / "figures" / "stability.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["part", "of", "what", "value"]
    assert ["choices", "depth 2", "nothing", "2"] in rows
    assert ["scores", "proposed by each search", "search of seed 0", "0.88"] in rows
    assert ["scores", "proposed by each search", "mean"] in [row[:3] for row in rows]


def test_searches_that_all_agree_and_what_is_undefined(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path, num_searches=4)
    told = known(summary.stability)
    searches = tuple(replace(one, late_score=math.nan) for one in told.searches)
    told = replace(told, num_distinct=1, kappa=math.nan, late=None, difference=None, searches=searches)
    page = rewritten(tmp_path, replace(summary, stability=told)).read_text()
    assert "all proposed the same architecture" in page
    assert "Fleiss" not in page


def test_errors_have_no_percentages(tmp_path: Path) -> None:
    fabricate_run(tmp_path, metric="mae", task="regression", num_searches=3)
    page = report(tmp_path).read_text()
    section = page[page.index("How sure</h2>") : page.index("What it could choose from</h2>")]
    assert "Mean absolute error over searches" in section
    assert "percentage points" not in section


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    summary = plain(fabricate_run(tmp_path, {bad: 2, "words": 2}, num_searches=3))
    summary["stability"]["searches"][1]["encoders"] = bad
    assert bad not in rewritten(tmp_path, summary).read_text()


@pytest.mark.parametrize(
    "damage",
    [{"consensus_seed": None}, {"searches": 3}, {"choices": [{}]}, {"found": {"mean": 1}}, {"metric": 1, "found": 2}],
)
def test_a_garbled_section_is_told_in_one_line(tmp_path: Path, damage: dict[str, Any]) -> None:
    summary = plain(fabricate_run(tmp_path, num_searches=3))
    summary["stability"] |= damage
    with pytest.raises(UserError, match="is damaged: stability") as caught:
        rewritten(tmp_path, summary)
    assert "\n" not in str(caught.value)
