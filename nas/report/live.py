"""The page of a run that has no results yet: how it goes, as far as its records tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas.report.figures import draw_course
from nas.report.frame import fill, inline_svg
from nas.report.numbers import clean, count_text, number, seconds_text
from nas.report.style import to_svg

_PHASES = {
    "preprocessing": "Preprocessing is being chosen",
    "encoders": "Encoders are being trained",
    "search": "Searching",
    "retrain": "Retraining",
}


def render_live(name: str, metrics: Sequence[Mapping[str, Any]]) -> str:
    """The page as HTML that needs nothing from anywhere.

    Args:
        name: Of the run.
        metrics: Its records so far; of several searches the last one is shown.
    """
    told = [record for record in metrics if record.get("phase") != "space"]
    last = told[-1] if told else {}
    shown = [record for record in metrics if record.get("search") in (None, last.get("search"))]
    facts = {
        "records": count_text(len(told)),
        "epoch": count_text(number(last.get("epoch"))),
        "search step": count_text(number(last.get("step"))),
        "since it began to search": seconds_text(number(last.get("seconds"))),
    }
    drawn = draw_course(shown)
    return fill(
        "live.html.j2",
        name=clean(name),
        headline=_PHASES.get(str(last.get("phase")), "Nothing has been recorded yet"),
        facts={what: value for what, value in facts.items() if value != "–"},
        figures=[inline_svg(to_svg(one.figure), one.name, one.alt, one.tooltips) for one in drawn],
    )
