"""Draws how often several searches made each choice, and the scores of what they found."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas.report.leaderboard import draw_row
from nas.report.numbers import metric_words
from nas.report.stability import SPREADS, NodeCounts, SearchesAgreement
from nas.report.style import ACCENT, FAINT, INK, SOFT, cut

WIDTH = 9.6
ROW = 0.27
SCORE_ROW = 0.36
HEADING = 0.4
LEFT, RIGHT, TOP, BOTTOM = 3.0, 1.75, 0.05, 0.6
BAR = 0.58  # of a row's height


def draw_frequencies(sure: SearchesAgreement, colours: Mapping[str, str]) -> Figure:
    """A bar per choice under its node, those of the consensus coloured; below, scores over searches.

    Args:
        sure: What to show.
        colours: Modality to colour.
    """
    num_searches = len(sure.told.searches)
    depth = sum(HEADING + ROW * len(node.choices) for node in sure.nodes)
    scores = HEADING + SCORE_ROW * len(sure.spreads)
    height = TOP + depth + scores + BOTTOM
    figure = Figure(figsize=(WIDTH, height))
    left, across = LEFT / WIDTH, (WIDTH - LEFT - RIGHT) / WIDTH
    axes = figure.add_axes((left, (BOTTOM + scores) / height, across, depth / height))
    axes.set(xlim=(0, num_searches), ylim=(depth, 0.0))
    axes.set_axis_off()
    y = 0.0
    for node in sure.nodes:
        _heading(axes, y, node.node)
        _node(axes, y + HEADING, node, num_searches, colours)
        y += HEADING + ROW * len(node.choices)
    axes = figure.add_axes((left, BOTTOM / height, across, scores / height))
    axes.set(ylim=(scores, 0.0), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    _heading(axes, 0.0, "score over searches")
    for i, (kind, spread) in enumerate(sure.spreads.items()):
        draw_row(axes, HEADING + SCORE_ROW * (i + 0.45), SPREADS[kind], kind, spread, sure.told.metric, colours)
    axes.set_xlabel(f"{metric_words(sure.told.metric)} on the test split", fontsize=9)
    axes.tick_params(labelsize=8.5)
    axes.margins(x=0.04)
    return figure


def _heading(axes: Axes, y: float, words: str) -> None:
    axes.text(
        -0.52,
        y + HEADING * 0.62,
        cut(words, 60).upper(),
        transform=axes.get_yaxis_transform(),
        fontsize=7.2,
        color=SOFT,
        va="center",
        ha="left",
    )


def _node(axes: Axes, top: float, node: NodeCounts, num_searches: int, colours: Mapping[str, str]) -> None:
    across = axes.get_yaxis_transform()
    for i, choice in enumerate(node.choices):
        y = top + ROW * (i + 0.5)
        weight = "bold" if choice.is_consensus else "normal"
        for j, modality in enumerate(reversed(choice.modalities)):
            colour = colours.get(modality, SOFT)
            axes.plot(-0.022 - 0.02 * j, y, "o", transform=across, clip_on=False, markersize=4.2, color=colour)
        x = -0.025 - 0.02 * len(choice.modalities)
        axes.text(x, y, cut(choice.label, 30), transform=across, ha="right", va="center", fontsize=9, weight=weight)
        axes.barh(y, num_searches, ROW * BAR, color=FAINT, lw=0)
        axes.barh(y, choice.count, ROW * BAR, color=ACCENT if choice.is_consensus else SOFT, lw=0)
        words = f"{choice.count} of {num_searches}"
        axes.text(1.03, y, words, transform=across, va="center", fontsize=9, weight=weight, color=INK)
