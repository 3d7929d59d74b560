"""Draws what `benchmarks.dynamic_curves` has measured: score against multiply-adds, and against noise."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.stats import t

from nas.runs.folder import write_atomically

COLOURS = {"gate": "#0072b2", "random": "#8a90a3", "static": "#d55e00", "informed": "#009e73"}


class Number(Protocol):
    """What is read of a row."""

    @property
    def data(self) -> str:
        """Name of the set."""

    @property
    def seed(self) -> int:
        """Of the search."""

    @property
    def of(self) -> str:
        """What it is of."""

    @property
    def at(self) -> float:
        """Where."""

    @property
    def score(self) -> float:
        """On the test split."""


Series = Mapping[tuple[str, float], Mapping[int, float]]
"""What and where to seed to score."""


def series(rows: Sequence[Number], data: str) -> Series:
    """The rows of one data set."""
    found: dict[tuple[str, float], dict[int, float]] = {}
    for row in rows:
        if row.data == data and row.of not in ("oracle", "route"):  # whose place differs from search to search
            found.setdefault((row.of, row.at), {})[row.seed] = row.score
    return found


def interval(scores: Mapping[int, float], others: Mapping[int, float] | None = None) -> tuple[float, float]:
    """Mean and half of Student's 95 % interval over searches, in points; of differences where others are given."""
    values = [
        value - (others[seed] if others else 0.0) for seed, value in scores.items() if not others or seed in others
    ]
    if not values:
        return float("nan"), float("nan")
    if len(values) == 1:
        return 100 * values[0], float("nan")
    margin = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return 100 * float(np.mean(values)), 100 * float(margin)


def mean_and_margin(scores: Mapping[int, float], others: Mapping[int, float] | None = None) -> str:
    """The same as text."""
    mean, margin = interval(scores, others)
    return "–" if np.isnan(mean) else f"{mean:.1f} ± {margin:.1f}"


def draw(out: Path, rows: Sequence[Number], data: str) -> None:
    """Writes `DATA.png`, `DATA.svg` and the numbers behind them, `DATA.csv`."""
    by = series(rows, data)
    whole = len(by["static", 1.0])  # of a modality that some search does not read there is no mean to draw
    noisy = list(dict.fromkeys(of.split("/")[0] for (of, _), some in by.items() if "/" in of and len(some) == whole))
    figure = Figure(figsize=(5.2 + 3.2 * len(noisy), 4.0), layout="constrained")
    axes = figure.subplots(1, 1 + len(noisy), squeeze=False, width_ratios=[1.6, *[1] * len(noisy)])[0]
    lines = [("what", "at", "mean", "half_interval")]

    def curve(place: int, of: str, label: str, colour: str) -> None:
        points = [(at, *interval(scores)) for (name, at), scores in by.items() if name == of and len(scores) == whole]
        if not points:
            return
        at, mean, margin = (np.array(some) for some in zip(*sorted(points), strict=True))
        axes[place].plot(at, mean, "o-", ms=3.5, lw=1.5, color=colour, label=label)
        axes[place].fill_between(at, mean - margin, mean + margin, color=colour, alpha=0.15, lw=0)
        lines.extend((of, f"{a:g}", f"{m:.2f}", f"{e:.2f}") for a, m, e in zip(at, mean, margin, strict=True))

    curve(0, "random", "the best gate that does not look", COLOURS["random"])
    curve(0, "informed", "a gate that is told all cheaper answers for nothing", COLOURS["informed"])
    curve(0, "gate", "cascade", COLOURS["gate"])
    static, margin = interval(by["static", 1.0])
    axes[0].errorbar([1.0], [static], [margin], fmt="s", color=COLOURS["static"], capsize=3, label="static")
    lines.append(("static", "1", f"{static:.2f}", f"{margin:.2f}"))
    oracle = [(row.at, 100 * row.score) for row in rows if row.data == data and row.of == "oracle"]
    if oracle:
        axes[0].plot(*zip(*oracle, strict=True), "*", color="#1b1f2a", ms=9, ls="none", label="oracle, each search")
        lines.extend(("oracle", f"{at:.3f}", f"{reached:.2f}", "") for at, reached in oracle)
    axes[0].set(xlabel="multiply-adds, of the static architecture", ylabel="test score, %", title=data)
    axes[0].xaxis.set_major_formatter(PercentFormatter(1.0))
    axes[0].legend(fontsize=8, loc="lower right")
    for place, name in enumerate(noisy, 1):
        curve(place, f"{name}/gate", "dynamic", COLOURS["gate"])
        curve(place, f"{name}/static", "static", COLOURS["static"])
        axes[place].set(xlabel="deviation of the noise", title=f"noise on {name}")
        axes[place].legend(fontsize=8)
    for each in axes:
        each.grid(alpha=0.25)
        each.spines[["top", "right"]].set_visible(False)
    for ending in ("png", "svg"):
        drawn = io.BytesIO()
        figure.savefig(drawn, format=ending, dpi=150)
        write_atomically(out / f"{data}.{ending}", drawn.getvalue())
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    write_atomically(out / f"{data}.csv", text.getvalue().encode())
