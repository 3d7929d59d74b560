"""Draws where the found network is wrong: a confusion matrix, or residuals against predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nas.report.mixing import SEQUENTIAL
from nas.report.numbers import clean
from nas.report.style import ACCENT, INK, SOFT, cut
from nas.summary import Summary

WIDTH = 9.6
CELL = 0.42
TEXT_UP_TO = 16
"""Classes up to which every cell bears its number."""


@dataclass(frozen=True)
class Confusion:
    """How often samples of the row's class were taken for the column's.

    Attributes:
        classes: Names.
        counts: Of samples, (classes, classes).
        others: How many classes share the last row and column; 0 if each has its own.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    others: int

    def share(self, row: int, column: int) -> float:
        """Of all samples of the row's class; NaN if there are none."""
        total = sum(self.counts[row])
        return self.counts[row][column] / total if total else math.nan

    def worst(self, most: int = 3) -> list[tuple[str, str, float]]:
        """The most frequent mistakes: true class, what it was taken for, share of the true class's samples."""
        places = range(len(self.classes))
        wrong = [(i, j) for i in places for j in places if i != j and self.counts[i][j]]
        wrong.sort(key=lambda place: -self.counts[place[0]][place[1]])
        return [(self.classes[i], self.classes[j], self.share(i, j)) for i, j in wrong[:most]]

    def in_words(self) -> str:
        """The most frequent mistakes, in a sentence."""
        told = [f"{one} for {other} ({100 * share:.0f} % of its samples)" for one, other, share in self.worst()]
        return f"Most often it takes {', '.join(told)}." if told else "It makes no mistake on this split."


def confusion(summary: Summary) -> Confusion | None:
    """The matrix of a run; None of one that has none."""
    found = summary.mistakes
    if found is None or not found.counts:
        return None
    return Confusion(tuple(clean(name) for name in found.classes), found.counts, found.others)


def residual_points(summary: Summary) -> tuple[tuple[tuple[float, float], ...], ...]:
    """For every output pairs of target and prediction; empty for a run that has none."""
    return summary.mistakes.points if summary.mistakes else ()


def draw_confusion(matrix: Confusion) -> Figure:
    """Rows of true classes, shaded by share of the row, the right answers framed."""
    count = len(matrix.classes)
    has_text = count <= TEXT_UP_TO
    cell = CELL if has_text else 0.24
    names = [cut(name, 28) for name in matrix.classes]
    longest, side = max(map(len, names)), cell * count
    left, top, right = (
        0.4 + 0.08 * longest,
        0.5 + 0.06 * min(longest, 16),
        1.2,
    )  # so wide are letters, upright and aslant
    wide, height = max(WIDTH, left + side + right), top + side + 0.35
    figure = Figure(figsize=(wide, height))
    start = left + (wide - left - side - right) / 2
    axes = figure.add_axes((start / wide, 0.35 / height, side / wide, side / height))
    places = range(count)
    shares = np.array([[matrix.share(i, j) for j in places] for i in places])
    edges = np.arange(count + 1) - 0.5
    axes.pcolormesh(edges, edges, shares, cmap=SEQUENTIAL, vmin=0, vmax=1, rasterized=True)
    for i in places:
        for j in places:
            if has_text and matrix.counts[i][j]:
                text, colour = f"{100 * shares[i, j]:.0f}", "white" if shares[i, j] > 0.45 else INK
                axes.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
        samples = sum(matrix.counts[i])
        axes.text(count - 0.4, i, f"{samples:,}", va="center", fontsize=8 if has_text else 7, color=SOFT)
        axes.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=ACCENT, lw=1))
    size = 8.5 if has_text else 7
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5))
    axes.set_yticks(places, names, fontsize=size)
    axes.set_xticks(places, [cut(name, 16) for name in names], fontsize=size, rotation=45, ha="left")
    axes.xaxis.tick_top()
    axes.tick_params(colors=INK)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.text(count - 0.4, -0.75, "samples", fontsize=8, color=SOFT, va="bottom")
    axes.set_xlabel("rows: true class; columns: taken for, % of the row", fontsize=8.5, labelpad=6)
    axes.xaxis.set_label_position("bottom")
    return figure


def draw_residuals(outputs: Sequence[Sequence[tuple[float, float]]]) -> Figure:
    """A panel for each output: prediction minus target, against the prediction."""
    figure = Figure(figsize=(WIDTH, 3.6))
    panels = figure.subplots(1, len(outputs), squeeze=False)[0]
    for place, (axes, points) in enumerate(zip(panels, outputs, strict=True)):
        predicted = [prediction for _, prediction in points]
        residuals = [prediction - target for target, prediction in points]
        axes.axhline(0, color=ACCENT, lw=1.2, ls=(0, (4, 3)))
        axes.plot(predicted, residuals, "o", ms=4, mew=0, alpha=0.4, color="#27477f")
        axes.set_xlabel("prediction" if len(outputs) == 1 else f"prediction of output {place}", fontsize=9)
        axes.tick_params(labelsize=8.5)
    panels[0].set_ylabel("prediction − target", fontsize=9)
    figure.subplots_adjust(left=0.09, right=0.985, top=0.96, bottom=0.16, wspace=0.25)
    return figure
