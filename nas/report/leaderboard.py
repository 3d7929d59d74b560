"""Draws the leaderboard: a dot with its 95 % interval for every row, the single seeds behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas.report.numbers import metric_words, scale, score_text
from nas.report.style import ACCENT, GROUPS, INK, SOFT, cut, look
from nas.summary import Row, RowKind, Spread

WIDTH = 9.6
ROW = 0.3
GROUP = 0.42
LEFT, RIGHT, TOP, BOTTOM = 3.0, 1.75, 0.1, 0.6
NAME_WIDTH = 36
SEEDS_BELOW = 0.085  # the single seeds lie a little lower, where the interval does not hide them


def draw_leaderboard(rows: Sequence[Row], metric: str, colours: Mapping[str, str]) -> Figure:
    """Rows under one another, grouped by kind, with a line at the mean of the found architecture.

    Args:
        rows: At least one, those of a kind side by side.
        metric: Of the scores.
        colours: Modality to colour.
    """
    places, headings, depth = _places(rows)
    height = TOP + depth + BOTTOM
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((LEFT / WIDTH, BOTTOM / height, (WIDTH - LEFT - RIGHT) / WIDTH, depth / height))
    axes.set(ylim=(depth, 0.0), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    across = axes.get_yaxis_transform()
    found = next((row for row in rows if row.kind == "found"), None)
    if found is not None and not math.isnan(found.score.mean):
        axes.axvline(scale(metric) * found.score.mean, color=ACCENT, lw=1.2, ls=(0, (4, 3)), zorder=1)
    for y, words in headings:
        axes.text(-0.52, y, words.upper(), transform=across, fontsize=7.2, color=SOFT, va="center", ha="left")
    for y, row in zip(places, rows, strict=True):
        draw_row(axes, y, row.name, row.kind, row, metric, colours)
    axes.set_xlabel(f"{metric_words(metric)} on the test split", fontsize=9)
    axes.tick_params(labelsize=8.5)
    axes.margins(x=0.04)
    return figure


def draw_row(
    axes: Axes, y: float, name: str, kind: RowKind, row: Row | Spread, metric: str, colours: Mapping[str, str]
) -> None:
    """A row's name, interval, mean and single seeds, and its score in words.

    Args:
        axes: Scores across, places down.
        y: Where.
        name: Of the row.
        kind: By which it is coloured.
        row: Its scores.
        metric: Of the scores.
        colours: Modality to colour.
    """
    across = axes.get_yaxis_transform()
    by = scale(metric)
    colour, marker = look(kind, name, colours)
    is_found = kind == "found"
    if is_found:
        axes.axhspan(
            y - ROW / 2, y + ROW / 2, xmin=-0.55, xmax=1.36, color=ACCENT, alpha=0.09, lw=0, clip_on=False, zorder=0
        )
    weight = "bold" if is_found else "normal"
    axes.text(
        -0.025,
        y,
        cut(name, NAME_WIDTH),
        transform=across,
        ha="right",
        va="center",
        fontsize=9,
        weight=weight,
    )
    axes.text(1.03, y, _score(row, metric), transform=across, va="center", fontsize=9, weight=weight, color=INK)
    axes.plot(
        [by * s for s in row.scores],
        [y + SEEDS_BELOW] * len(row.scores),
        "o",
        color=colour,
        alpha=0.45,
        ms=3.2,
        mew=0,
        zorder=2,
    )
    axes.plot([by * row.score.low, by * row.score.high], [y, y], color=colour, lw=2.2, solid_capstyle="round", zorder=3)
    size = 8.5 if is_found else 6.5
    axes.plot(by * row.score.mean, y, marker, color=colour, ms=size, mec="white", mew=1.0, zorder=4)


def _places(rows: Sequence[Row]) -> tuple[list[float], list[tuple[float, str]], float]:
    """Middle of every row and heading, from the top in inches, and the total."""
    places: list[float] = []
    headings: list[tuple[float, str]] = []
    y = 0.0
    previous = None
    for row in rows:
        heading = GROUPS.get(row.kind, row.kind)
        if heading != previous:
            headings.append((y + GROUP * 0.62, heading))
            y += GROUP
        places.append(y + ROW / 2)
        y += ROW
        previous = heading
    return places, headings, y + 0.12


def _score(row: Row | Spread, metric: str) -> str:
    mean, low, high = (score_text(value, metric) for value in (row.score.mean, row.score.low, row.score.high))
    return mean if math.isnan(row.score.mean) or low == high else f"{mean}  [{low}, {high}]"
