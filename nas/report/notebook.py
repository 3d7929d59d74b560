"""A run as it shows itself at a prompt and in a notebook: a line of text, and a small table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import pandas as pd
from markupsafe import Markup, escape

from nas.report.figures import architecture_figure
from nas.report.frame import inline_svg
from nas.report.numbers import clean, metric_words, range_text, score_text, with_unit
from nas.report.style import to_svg
from nas.report.tables import leaderboard_rows
from nas.report.verdict import recorded_verdict
from nas.summary import Row, Summary

SHOWN = 5
"""Rows of a leaderboard in one line."""


def run_line(kind: str, summary: Summary, folder: Path | None) -> str:
    """A run in one line, for `repr`.

    Args:
        kind: Name of the class.
        summary: Of the run.
        folder: Where it lies; None if nothing was written.
    """
    told = recorded_verdict(summary)
    words = told.headline if told else clean(summary.in_words, 400)
    where = "" if folder is None else f", folder={str(folder)!r}"
    return f"<{kind} on {clean(summary.data.name or 'unnamed data')!r}: {words}{where}>"


class Leaderboard(Sequence[Row]):
    """The rows of a leaderboard, which show themselves.

    Args:
        summary: Of the run.
    """

    def __init__(self, summary: Summary) -> None:
        self._summary = summary

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Row]: ...

    def __getitem__(self, place: int | slice) -> Row | Sequence[Row]:
        return self._summary.leaderboard[place]

    def __len__(self) -> int:
        return len(self._summary.leaderboard)

    def __repr__(self) -> str:
        metric = self._summary.metric
        rows = [f"{row.name} {with_unit(score_text(row.score.mean, metric), metric)}" for row in self][:SHOWN]
        more = f", and {len(self) - SHOWN} more" if len(self) > SHOWN else ""
        return f"<Leaderboard by {metric_words(metric)}: {', '.join(rows)}{more}>"

    def _repr_html_(self) -> str:
        return str(_leaderboard(self._summary))

    def to_frame(self) -> pd.DataFrame:
        """A row for each of its rows: name, kind, score with the ends of its interval, parameters, multiply-adds."""
        return pd.DataFrame(
            [
                {
                    "name": row.name,
                    "kind": row.kind,
                    self._summary.metric: row.score.mean,
                    "low": row.score.low,
                    "high": row.score.high,
                    "parameters": row.parameters,
                    "multiply_adds": row.multiply_adds,
                }
                for row in self
            ]
        )


def run_html(summary: Summary) -> str:
    """The verdict, the drawing of what was found, and the leaderboard of a run as HTML, for a notebook."""
    told = recorded_verdict(summary)
    headline = told.headline if told else clean(summary.in_words, 400)
    sentences = Markup("").join(Markup("<li>{}</li>").format(sentence) for sentence in (told.sentences if told else ()))
    return str(
        Markup("<p><b>{}</b></p><ul>{}</ul>").format(headline, sentences) + _drawing(summary) + _leaderboard(summary)
    )


def _drawing(summary: Summary) -> Markup:
    """The architecture as the report draws it."""
    drawn = architecture_figure(summary)
    svg = to_svg(drawn.figure)
    own = hashlib.sha256(svg).hexdigest()[:8]  # or the clip paths of two drawings in a notebook would mix
    return Markup("<div style='max-width:60em'>{}</div>").format(
        inline_svg(svg, f"{drawn.name}-{own}", drawn.alt, tooltips={})
    )


def _leaderboard(summary: Summary) -> Markup:
    metric = summary.metric
    rows = Markup("").join(
        Markup("<tr><th style='text-align:left'>{}</th><td>{}</td><td>{}</td></tr>").format(
            row.name, score_text(row.score.mean, metric), range_text(row.score.low, row.score.high, metric)
        )
        for row in leaderboard_rows(summary)
    )
    return Markup("<table><thead><tr><th></th><th>{}</th><th>95 % interval</th></tr></thead>").format(
        escape(metric_words(metric))
    ) + Markup("<tbody>{}</tbody></table>").format(rows)


__all__ = ["Leaderboard", "run_html", "run_line"]
