"""A run as it shows itself at a prompt and in a notebook: a line of text, and a small table."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup, escape

from nas.report.numbers import clean, metric_words, range_text, score_text
from nas.report.tables import leaderboard_rows
from nas.report.verdict import recorded_verdict
from nas.summary import Summary


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


def run_html(summary: Summary) -> str:
    """The verdict and the leaderboard of a run as HTML, for a notebook."""
    told = recorded_verdict(summary)
    metric = summary.metric
    headline = told.headline if told else clean(summary.in_words, 400)
    sentences = Markup("").join(Markup("<li>{}</li>").format(sentence) for sentence in (told.sentences if told else ()))
    rows = Markup("").join(
        Markup("<tr><th style='text-align:left'>{}</th><td>{}</td><td>{}</td></tr>").format(
            row.name, score_text(row.score.mean, metric), range_text(row.score.low, row.score.high, metric)
        )
        for row in leaderboard_rows(summary)
    )
    return str(
        Markup("<p><b>{}</b></p><ul>{}</ul>").format(headline, sentences)
        + Markup("<table><thead><tr><th></th><th>{}</th><th>95 % interval</th></tr></thead>").format(
            escape(metric_words(metric))
        )
        + Markup("<tbody>{}</tbody></table>").format(rows)
    )


__all__ = ["run_html", "run_line"]
