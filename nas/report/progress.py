"""Draws how the search and the trainings went: losses, entropy of the mixing weights, scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nas.report.style import INK, SOFT, cut
from nas.report.tables import Curve

WIDTH, PANEL_HEIGHT = 9.6, 2.9
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1, 1, 1)))
PLAIN = ("#27477f", "#d55e00", "#5d6478", "#009e73", "#cc79a7", "#e69f00")


@dataclass(frozen=True)
class Panel:
    """One set of axes: a title, its lines, and the words of the x axis; `by` scales the values."""

    title: str
    x_words: str
    curves: tuple[Curve, ...]
    by: float = 1.0


def draw_progress(panels: Sequence[Panel], colours: Mapping[str, str]) -> Figure:
    """Panels in two columns.

    Args:
        panels: At least one.
        colours: Modality to colour, for curves whose group is one.
    """
    num_rows = (len(panels) + 1) // 2
    height = PANEL_HEIGHT * num_rows
    figure = Figure(figsize=(WIDTH, height))
    grid = figure.add_gridspec(
        num_rows, 2, left=0.07, right=0.985, top=1 - 0.38 / height, bottom=0.55 / height, hspace=0.55, wspace=0.2
    )
    for i, panel in enumerate(panels):
        is_lonely = i == len(panels) - 1 and i % 2 == 0  # the last of an odd number has the row to itself
        _panel(figure.add_subplot(grid[i // 2, :] if is_lonely else grid[i // 2, i % 2]), panel, colours)
    return figure


def _panel(axes: Axes, panel: Panel, colours: Mapping[str, str]) -> None:
    groups = list(dict.fromkeys(curve.group for curve in panel.curves))
    for curve in panel.curves:
        place = groups.index(curve.group)
        colour = colours.get(curve.group) or (PLAIN[place % len(PLAIN)] if len(groups) > 1 else INK)
        label = cut(curve.group, 24) if curve.group not in {line.get_label() for line in axes.lines} else None
        marker = "o" if len(curve.x) == 1 else None
        style = DASHES[place // len(PLAIN) % len(DASHES)]
        values = [panel.by * y for y in curve.y]
        axes.plot(curve.x, values, color=colour, lw=1.5, alpha=0.85, ls=style, marker=marker, label=label or "_")
    if all(y == 0 for curve in panel.curves for y in curve.y):  # matplotlib would centre the line, and go below zero
        axes.set_ylim(0, 1)
    axes.set_title(panel.title, loc="left", fontsize=9.5, weight="bold")
    axes.set_xlabel(panel.x_words, fontsize=8.5, color=SOFT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.tick_params(labelsize=8)
    if len(groups) > 1:
        axes.legend(fontsize=7.5, ncols=1 if len(groups) < 6 else 2, handlelength=1.6)
