"""Draws a cascade: its routes one under the other, and between them the question whether an answer is sure enough."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from nas.report.gate import GAP, LANE_X, blank_figure, draw_lane, lanes
from nas.report.routes import route_colour
from nas.report.style import FAINT, INK
from nas.summary import Summary

COLUMN = 1.7
"""Where the samples that are left come down."""

EXIT = 0.3
HALF_WIDTH, HALF_HEIGHT = 0.56, 0.34

UNKNOWN = 0.3
"""Share that a way is drawn for where none is told."""


def draw_cascade(summary: Summary, colours: Mapping[str, str]) -> Figure:
    """Every sample comes in at the top; those whose answer is sure leave to the left, the others go on downwards.

    Ways are as wide as their share of the samples.

    Args:
        summary: Of a run with a cascade.
        colours: Modality to colour.
    """
    every = lanes(summary)
    figure, axes, tall, height = blank_figure(every)
    start, left = height - GAP - 0.2, 1.0
    axes.text(COLUMN, start + 0.11, "every sample", ha="center", va="center", fontsize=8.5)
    for place, lane in enumerate(every):
        bottom, colour = height - (place + 1) * (tall + GAP), route_colour(place)
        entry, leaving, question = bottom + 0.72 * tall, bottom + 0.26 * tall, bottom - GAP / 2
        share = lane.share if not math.isnan(lane.share) else UNKNOWN
        _route_line(axes, [(COLUMN, start), (COLUMN, entry), (LANE_X - 0.1, entry)], left, colour)
        draw_lane(axes, lane, bottom, tall, colour, colours)
        if place == len(every) - 1:
            _route_line(axes, [(LANE_X, leaving), (EXIT, leaving)], share, colour)
            axes.text(EXIT, leaving + 0.22, _told(lane.share, "stop", "stop"), va="center", fontsize=8)
            break
        _route_line(axes, [(LANE_X, leaving), (COLUMN, leaving), (COLUMN, question)], left, colour, ends=False)
        _route_line(axes, [(COLUMN, question), (EXIT, question)], share, colour)
        axes.text(EXIT, question + 0.22, _told(lane.share, "stop", "stop"), va="center", fontsize=8)
        left = sum(one.share for one in every[place + 1 :]) if not math.isnan(lane.share) else UNKNOWN
        start = question
        words = _told(math.nan if math.isnan(lane.share) else left, "go on", "else go on")
        axes.text(COLUMN + 0.16, question - HALF_HEIGHT - 0.12, words, va="center", fontsize=8)
        _question(axes, question)
    return figure


def _told(share: float, words: str, without: str) -> str:
    """Such as "62 % stop"; other words where the share is unknown."""
    return without if math.isnan(share) else f"{100 * share:.0f} % {words}"


def _question(axes: Axes, y: float) -> None:
    corners = [(COLUMN - HALF_WIDTH, y), (COLUMN, y + HALF_HEIGHT), (COLUMN + HALF_WIDTH, y), (COLUMN, y - HALF_HEIGHT)]
    axes.add_patch(Polygon(corners, facecolor=FAINT, edgecolor=INK, lw=1.8, zorder=8, joinstyle="round"))
    axes.text(COLUMN, y, "sure?", ha="center", va="center", weight="bold", fontsize=9, zorder=9)


def _route_line(
    axes: Axes, points: Sequence[tuple[float, float]], share: float, colour: str, *, ends: bool = True
) -> None:
    """A line as wide as its share, with a head where it ends."""
    x, y = zip(*points, strict=True)
    width, style = 1.0 + 9.0 * share, (0, (3, 2)) if share == 0 else "-"
    axes.plot(x, y, color=colour, lw=width, ls=style, solid_joinstyle="round", solid_capstyle="butt", zorder=3)
    if ends:
        axes.plot(x[-1], y[-1], ">" if x[-1] > x[0] else "<", color=colour, ms=6 + 1.4 * width, mew=0, zorder=4)
