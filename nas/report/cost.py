"""Draws score against multiply-adds: what a point of score costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from nas.report.numbers import count_text, metric_words, scale
from nas.report.style import ACCENT, KINDS, PALE, cut, look
from nas.report.tables import on_front
from nas.summary import Row

WIDTH, HEIGHT = 9.6, 4.8
LEFT, RIGHT, TOP, BOTTOM = 0.8, 0.3, 0.65, 0.65

Box = tuple[float, float, float, float]  # left, bottom, right, top, in inches


def draw_cost(rows: Sequence[Row], metric: str, colours: Mapping[str, str]) -> Figure:
    """Every row a point with its interval, the Pareto front a line.

    Args:
        rows: Of the leaderboard; those without a score or a cost are left out.
        metric: Of the scores.
        colours: Modality to colour.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT))
    axes = figure.add_axes(
        (LEFT / WIDTH, BOTTOM / HEIGHT, (WIDTH - LEFT - RIGHT) / WIDTH, (HEIGHT - TOP - BOTTOM) / HEIGHT)
    )
    by = scale(metric)
    best = [row for row, is_best in zip(rows, on_front(rows, metric), strict=True) if is_best]
    shown = [row for row in rows if row.multiply_adds and not math.isnan(row.score.mean)]
    front = sorted((row.multiply_adds or 0, by * row.score.mean) for row in shown if row in best)
    axes.plot(*zip(*front, strict=True), color=PALE, lw=1.6, zorder=1, drawstyle="steps-post") if front else None
    for row in shown:
        colour, marker = look(row.kind, row.name, colours)
        x, y = row.multiply_adds or 0, by * row.score.mean
        axes.plot([x, x], [by * row.score.low, by * row.score.high], color=colour, lw=1.6, alpha=0.5, zorder=2)
        axes.plot(x, y, marker, color=colour, ms=10 if row.kind == "found" else 7, mec="white", mew=1, zorder=4)
    axes.set_xscale("log")
    axes.margins(x=0.08, y=0.08)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: count_text(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("multiply-adds of one sample", fontsize=9)
    axes.set_ylabel(metric_words(metric), fontsize=9)
    axes.tick_params(labelsize=8.5)
    named = [row for row in shown if row.kind not in ("operation", "random") or row in best]
    _labels(axes, named, [row for row in shown if row not in named], by)
    _legend(axes, shown, colours, has_front=bool(front))
    return figure


def _labels(axes: Axes, rows: Sequence[Row], others: Sequence[Row], by: float) -> None:
    """Names beside their points, each where it covers least of what is already there."""
    axes.autoscale_view()
    per_inch = axes.figure.get_dpi()

    def place(row: Row) -> tuple[float, float]:
        x, y = axes.transData.transform((row.multiply_adds or 0, by * row.score.mean)) / per_inch
        return float(x), float(y)

    def bar(row: Row) -> Box:
        x, y = place(row)
        low, high = axes.transData.transform([(1.0, by * row.score.low), (1.0, by * row.score.high)])[:, 1] / per_inch
        return x - 0.06, min(y - 0.06, float(low)), x + 0.06, max(y + 0.06, float(high))

    taken = [bar(row) for row in [*rows, *others]]
    for row in rows:
        x, y = place(row)
        name, width = cut(row.name, 30), 0.075 * min(len(row.name), 30)
        spots = [(x + dx, y + dy) for dy in (0.0, 0.17, -0.17, 0.32, -0.32) for dx in (0.12, -0.12 - width, -width / 2)]
        boxes = [(left, middle - 0.08, left + width, middle + 0.08) for left, middle in spots]
        costs = [sum(_overlap(box, other) for other in taken) + _outside(box) for box in boxes]
        left, low, right, high = boxes[costs.index(min(costs))]
        taken.append((left, low, right, high))
        offset = (72 * (left - x), 72 * ((low + high) / 2 - y))
        weight = "bold" if row.kind == "found" else "normal"
        axes.annotate(
            name,
            (row.multiply_adds or 0, by * row.score.mean),
            offset,
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            weight=weight,
            zorder=5,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )


def _overlap(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    return wide * tall if wide > 0 and tall > 0 else 0.0


def _outside(box: Box) -> float:
    """A price for leaving the figure, far above that of any overlap."""
    return 100.0 * (max(0.0, LEFT - box[0]) + max(0.0, box[2] - WIDTH + 0.1))


def _legend(axes: Axes, rows: Sequence[Row], colours: Mapping[str, str], *, has_front: bool) -> None:
    handles = []
    for kind, name in {row.kind: row.name for row in rows}.items():
        colour, marker = look(kind, "" if kind in KINDS else name, colours)
        words = KINDS[kind][2] if kind in KINDS else cut(kind, 40)
        handles.append(Line2D([], [], ls="", marker=marker, color=colour, ms=8 if colour == ACCENT else 6, label=words))
    if has_front:
        handles.append(Line2D([], [], color=PALE, lw=1.6, label="best for its cost"))
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=4,
        fontsize=8,
        handletextpad=0.3,
        columnspacing=1.2,
    )
