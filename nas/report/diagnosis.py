"""What the page says on whether fusion helps, read from a summary, and a drawing of what modalities contribute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas.report.numbers import clean, metric_words, range_text, scale, score_text, tone
from nas.report.progress import Panel
from nas.report.style import ACCENT, INK, PALE, SOFT, cut
from nas.report.tables import curves
from nas.report.words import advice_in_words
from nas.statistics import Interval
from nas.summary import Coefficient, LinearModel, Summary

WIDTH, ROW, HEADING = 9.6, 0.34, 0.42
LEFT, RIGHT, TOP, BOTTOM = 3.0, 2.3, 0.05, 0.6


@dataclass(frozen=True)
class Bar:
    """One line of the drawing: a number with its interval, and the group that it stands in."""

    group: str
    name: str
    value: Interval
    modality: str = ""


@dataclass(frozen=True)
class TermRow:
    """A term of the interaction regression: its estimate with standard error, and p, in each of the nested models."""

    name: str
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Told:
    """What a run's diagnosis says.

    Attributes:
        sentences: A finding each.
        bars: What is drawn.
        terms: Of the regression, in order; empty if there is none.
        fits: For each of its models R² and the likelihood-ratio test against the one before.
        unit: "points" for shares, else the metric's words.
    """

    sentences: tuple[str, ...]
    bars: tuple[Bar, ...]
    terms: tuple[TermRow, ...]
    fits: tuple[tuple[str, str], ...]
    unit: str


def diagnosis_of(summary: Summary) -> Told:
    """What is known of a run's diagnosis."""
    found, metric = summary.diagnosis, summary.metric
    bars = [
        Bar("with and without interaction", "as trained", found.additivity.score),
        Bar("with and without interaction", "additive projection", found.additivity.additive_score),
    ]
    kinds = (("shapley", "Shapley value"), ("permuted", "loss if exchanged"), ("left_out", "loss if left out"))
    for key, words in kinds:
        for one in found.contributions:
            modality = clean(one.modality)
            bars.append(Bar(words, modality, getattr(one, key), modality))
    models = found.regression
    names = [clean(term.name) for term in models[-1].coefficients] if models else []
    return Told(
        sentences=tuple(clean(sentence, 600) for sentence in found.in_words),
        bars=tuple(bar for bar in bars if not math.isnan(bar.value.mean)),
        terms=tuple(
            TermRow(name, tuple(_term(model.coefficients, place) for model in models))
            for place, name in enumerate(names)
        ),
        fits=tuple(_fit(model) for model in models),
        unit="points" if scale(metric) == 100 else metric_words(metric),
    )


def _term(coefficients: Sequence[Coefficient], place: int) -> tuple[str, str]:
    if place >= len(coefficients):
        return "", ""
    term = coefficients[place]
    return f"{term.estimate:.3g} ± {term.standard_error:.2g}".replace("-", "−"), _p(term.p).replace("-", "−")


def _fit(model: LinearModel) -> tuple[str, str]:
    ratio = model.likelihood_ratio
    return f"R² {model.r_squared:.3f}", "" if math.isnan(ratio) else f"χ² {ratio:.3g}, {_p(model.p)}"


def _p(value: float) -> str:
    if math.isnan(value):
        return "p unknown"
    return "p < 0.001" if value < 0.001 else f"p {value:.2g}"


@dataclass(frozen=True)
class CureRow:
    """One objective that was tried on the found architecture, as a line of the table."""

    name: str
    is_chosen: bool
    held_out: str
    score: str
    difference: str
    tone: str


@dataclass(frozen=True)
class Cures:
    """What a run would try, and what came of what it tried.

    Attributes:
        advice: A sentence each.
        rows: Plain training first; empty if nothing was tried.
        left_out: Objectives that there was no time for.
    """

    advice: tuple[str, ...]
    rows: tuple[CureRow, ...]
    left_out: tuple[str, ...]


def cures_of(summary: Summary) -> Cures | None:
    """What a summary says of training objectives; None if it has no advice and tried nothing."""
    advice, tried = summary.advice, summary.objectives
    if not advice and tried is None:
        return None
    metric = summary.metric
    rows = []
    for row in tried.tried if tried else ():
        gap, score = row.difference, row.score
        rows.append(
            CureRow(
                name=clean(row.objective or "plain training"),
                is_chosen=tried is not None and row.objective == tried.chosen,
                held_out=score_text(row.architecture_score, metric),
                score=f"{score_text(score.mean, metric)} [{range_text(score.low, score.high, metric)}]",
                difference=f"{score_text(gap.mean, metric, signed=True)} "
                f"[{range_text(gap.low, gap.high, metric, signed=True)}]"
                if gap
                else "",
                tone=tone(gap),
            )
        )
    return Cures(
        advice=tuple(clean(clause, 300) for clause in advice_in_words(advice)),
        rows=tuple(rows),
        left_out=tuple(clean(name) for name in (tried.left_out if tried else ())),
    )


def overfitting_panels(summary: Summary, metrics: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """A panel for each modality that was trained alone: its losses over time, and the ratio of the two in the title."""
    words = {"train_loss": "while training", "architecture_loss": "held out"}
    panels = []
    for name, courses in summary.diagnosis.overfitting.items():
        lines = []
        for key, group in words.items():
            for phase in ("encoders", "retrain"):
                some = [c for c in curves(metrics, phase, key, "epoch") if c.group == clean(name)]
                lines += [type(line)(line.name, line.x, line.y, group) for line in some]
        ratios = [course.ratio for course in courses]
        ratio = sum(ratios) / len(ratios) if ratios and not any(map(math.isnan, ratios)) else math.inf
        text = f"{ratio:.2g}" if math.isfinite(ratio) else "∞"
        if lines:
            panels.append(
                Panel(f"{cut(clean(name), 24)} alone: loss (overfitting ratio {text})", "epoch", tuple(lines))
            )
    return panels


def draw_contributions(told: Told, metric: str, colours: Mapping[str, str]) -> Figure:
    """Scores with and without interaction above, what each modality contributes below, all with 95 % intervals.

    Args:
        told: What to show.
        metric: Of the scores.
        colours: Modality to colour.
    """
    above = [bar for bar in told.bars if not bar.modality]
    below = [bar for bar in told.bars if bar.modality]
    parts = [some for some in (above, below) if some]
    depths = [sum(HEADING for _ in dict.fromkeys(bar.group for bar in some)) + ROW * len(some) for some in parts]
    height = TOP + sum(depths) + BOTTOM * len(parts)
    figure = Figure(figsize=(WIDTH, height))
    top = height - TOP
    axis_words = (f"{metric_words(metric)} on the test split", f"contribution to it, {told.unit}")
    for some, depth, words in zip(parts, depths, axis_words, strict=False):
        axes = figure.add_axes((LEFT / WIDTH, (top - depth) / height, (WIDTH - LEFT - RIGHT) / WIDTH, depth / height))
        _draw_bars(axes, some, depth, metric, colours)
        axes.set_xlabel(words, fontsize=9)
        top -= depth + BOTTOM
    return figure


def _draw_bars(axes: Axes, bars: Sequence[Bar], depth: float, metric: str, colours: Mapping[str, str]) -> None:
    by = scale(metric)
    axes.set(ylim=(depth, 0.0), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    across = axes.get_yaxis_transform()
    y, group = 0.0, ""
    for bar in bars:
        if bar.group != group:
            group = bar.group
            axes.text(-0.6, y + HEADING * 0.62, group.upper(), transform=across, fontsize=7.2, color=SOFT, va="center")
            y += HEADING
        middle, value = y + ROW / 2, bar.value
        colour = colours.get(bar.modality, SOFT) if bar.modality else ACCENT if bar.name == "as trained" else INK
        axes.text(-0.025, middle, cut(bar.name, 30), transform=across, ha="right", va="center", fontsize=9)
        if bar.modality:
            axes.plot([0, by * value.mean], [middle, middle], color=colour, lw=7, alpha=0.25, solid_capstyle="butt")
        axes.plot([by * value.low, by * value.high], [middle, middle], color=colour, lw=2.2, solid_capstyle="round")
        axes.plot(by * value.mean, middle, "o", color=colour, ms=6.5, mec="white", mew=1.0)
        mean, low, high = (
            score_text(x, metric, signed=bool(bar.modality)) for x in (value.mean, value.low, value.high)
        )
        axes.text(1.03, middle, f"{mean}  [{low}, {high}]", transform=across, va="center", fontsize=9, color=INK)
        y += ROW
    if bars[0].modality:
        axes.axvline(0, color=PALE, lw=1.2, zorder=0)
    axes.tick_params(labelsize=8.5)
    axes.margins(x=0.04)
