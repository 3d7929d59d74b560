"""Draws the mixing weights of every fusion node over the search, one heat map a node."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from nas.report.numbers import count_text
from nas.report.style import ACCENT, INK, PALE, SOFT, cut
from nas.report.tables import HeatMap

WIDTH = 9.6
ROW = 0.25
GAP = 0.62
GAMMA = 0.6  # spreads out the small weights, among which most of the competition is
LEFT, RIGHT, TOP, BOTTOM = 3.0, 0.95, 0.75, 0.55

# White for nothing, then steadily darker: readable in grey and with every kind of colour vision.
SEQUENTIAL = LinearSegmentedColormap.from_list(
    "choice_weights", ["#f7f8fb", "#b9cbe6", "#5b86bd", "#27477f", "#111d3c"]
)


# The row of all others is a sum, not one choice's weight: it gets a scale of its own, in grey, from 0 to 1.
SUM = LinearSegmentedColormap.from_list("sum", ["#f7f8fb", "#8a90a3"])


def draw_mixing(maps: Sequence[HeatMap], colours: Mapping[str, str]) -> Figure:
    """Heat maps under one another, with one scale for all; the discretized choice is framed.

    Args:
        maps: At least one.
        colours: Modality to colour.
    """
    rows = sum(len(heat.labels) for heat in maps)
    height = TOP + rows * ROW + GAP * (len(maps) - 1) + BOTTOM
    figure = Figure(figsize=(WIDTH, height))
    top_weight = max((w for heat in maps for row in heat.weights for w in row if not math.isnan(w)), default=1.0)
    norm = PowerNorm(GAMMA, 0.0, max(top_weight, 1e-9))
    y = height - TOP
    for heat in maps:
        tall = len(heat.labels) * ROW
        axes = figure.add_axes((LEFT / WIDTH, (y - tall) / height, (WIDTH - LEFT - RIGHT) / WIDTH, tall / height))
        _heat_map(axes, heat, norm, colours, is_last=heat is maps[-1])
        y -= tall + GAP
    _scale(figure, norm, height)
    return figure


def _heat_map(axes: Axes, heat: HeatMap, norm: Normalize, colours: Mapping[str, str], *, is_last: bool) -> None:
    rows, columns = len(heat.labels), len(heat.weights[0])
    edges = np.arange(columns + 1) - 0.5
    values = np.array(heat.weights)
    single = rows - heat.has_others
    _cells(axes, edges, 0, values[:single], SEQUENTIAL, norm)
    if heat.has_others:
        _cells(axes, edges, single, values[single:], SUM, Normalize(0.0, 1.0))
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), xticks=[], yticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(heat.node, loc="left", fontsize=10, weight="bold", pad=6)
    axes.text(
        1.012,
        1.0,
        "now" if heat.chosen is None else "final",
        transform=axes.transAxes,
        fontsize=8,
        color=SOFT,
        va="bottom",
    )
    across = axes.get_yaxis_transform()
    for i, label in enumerate(heat.labels):
        is_chosen = i == heat.chosen
        weight = "bold" if is_chosen else "normal"
        names = heat.modalities[i]
        x = -0.012 - 0.016 * len(names)
        for j, modality in enumerate(names):
            axes.plot(
                -0.012 - 0.016 * (len(names) - 1 - j),
                i,
                "o",
                transform=across,
                clip_on=False,
                markersize=4.2,
                color=colours.get(modality, SOFT),
            )
        axes.text(
            x - 0.006,
            i,
            cut(label, 36),
            transform=across,
            ha="right",
            va="center",
            fontsize=8.5,
            weight=weight,
        )
        final = f"{100 * heat.weights[i][-1]:.0f} %"
        axes.text(
            1.012,
            i,
            final,
            transform=across,
            va="center",
            fontsize=8.5,
            weight=weight,
            color=INK if is_chosen else SOFT,
        )
        if is_chosen:
            frame = Rectangle((0, i - 0.5), 1, 1, transform=across, fill=False, edgecolor=ACCENT, lw=2, clip_on=False)
            axes.add_patch(frame)
    if is_last and heat.steps:
        at = sorted({round(share * (columns - 1)) for share in (0, 0.25, 0.5, 0.75, 1)})
        axes.set_xticks(at, [count_text(heat.steps[i]) for i in at], fontsize=8.5)
        axes.set_xlabel("search step", fontsize=9)


def _cells(
    axes: Axes,
    edges: NDArray[np.floating],
    first: int,
    values: NDArray[np.floating],
    colours: Colormap,
    norm: Normalize,
) -> None:
    rows = np.arange(first, first + len(values) + 1) - 0.5
    axes.pcolormesh(edges, rows, values, cmap=colours, norm=norm, rasterized=True)


def _scale(figure: Figure, norm: Normalize, height: float) -> None:
    """The colour scale, in the upper right corner."""
    axes = figure.add_axes(((WIDTH - RIGHT - 2.2) / WIDTH, (height - 0.26) / height, 2.2 / WIDTH, 0.13 / height))
    shares = np.linspace(0, norm.vmax or 1.0, 129)
    axes.pcolormesh(shares, [0, 1], shares[None, :-1], cmap=SEQUENTIAL, norm=norm, rasterized=True)
    axes.set(yticks=[], xticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=PALE)
    axes.text(
        -0.03, 0.45, "mixing weight  0 %", ha="right", va="center", fontsize=8, color=SOFT, transform=axes.transAxes
    )
    top = f"{100 * norm.vmax:.0f} %" if norm.vmax is not None else ""
    axes.text(1.03, 0.45, top, ha="left", va="center", fontsize=8, color=SOFT, transform=axes.transAxes)
