"""Draws what a gate or a cascade does: who takes which route, which samples are fused most, what it gives and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from nas.report.numbers import clean, count_text, metric_words, scale
from nas.report.style import ACCENT, INK, PALE, SOFT, cut
from nas.summary import Confidence, Decisions, Sample

WIDTH = 9.6
ROW = 0.3
ROUTE_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#332288", "#8a90a3")

MAX_CLASSES = 40
"""So many classes have a bar of their own; of more the first are drawn, and the figure's CSV has all."""


def route_colour(place: int) -> str:
    """Of a route, in every figure of a report; the eighth shares that of the first."""
    return ROUTE_COLOURS[place % len(ROUTE_COLOURS)]


def shares_of_routes(dynamic: Decisions) -> list[tuple[str, list[float]]]:
    """For all samples, then for each class, the share of every route."""
    routes = dynamic.routes
    of_classes = [(clean(name), [one.shares[name] for one in routes]) for name in routes[0].shares]
    return [("all samples", [one.share for one in routes]), *of_classes]


def target_text(one: Sample) -> str:
    """The target of a sample."""
    return clean(one.target if isinstance(one.target, str) else list(one.target))


def draw_routes(dynamic: Decisions) -> Figure:
    """A bar for all samples and one for every class, divided by route."""
    rows = shares_of_routes(dynamic)[: MAX_CLASSES + 1]
    words = [clean(route.in_words, 200) for route in dynamic.routes]
    top = 0.3 + 0.24 * len(words)
    height = top + ROW * len(rows) + 0.55
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((1.9 / WIDTH, 0.5 / height, (WIDTH - 2.2) / WIDTH, ROW * len(rows) / height))
    for place in range(len(words)):
        left = [sum(shares[:place]) for _, shares in rows]
        widths = [shares[place] for _, shares in rows]
        axes.barh(range(len(rows)), widths, 0.74, left=left, color=route_colour(place), label=cut(words[place], 90))
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, 1))
    axes.set_yticks(range(len(rows)), [cut(name, 24) for name, _ in rows], fontsize=8.5)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("share of the samples of the test split", fontsize=9)
    axes.grid(visible=False, axis="y")
    figure.legend(loc="upper left", bbox_to_anchor=(0.01, 1.0), fontsize=8.5)
    return figure


def draw_extremes(dynamic: Decisions) -> Figure:
    """The samples that most is spent on, and those that least is spent on, by what the probabilities expect."""
    panels = (("most fused", dynamic.most_fused), ("least fused", dynamic.least_fused))
    rows = max(len(some) for _, some in panels)
    height = 0.9 + ROW * rows
    figure = Figure(figsize=(WIDTH, height))
    highest = max(one.fused for _, some in panels for one in some)
    for place, (title, some) in enumerate(panels):
        left = (1.7 + place * WIDTH / 2) / WIDTH
        axes = figure.add_axes((left, 0.5 / height, (WIDTH / 2 - 1.9) / WIDTH, ROW * rows / height))
        axes.barh(range(len(some)), [one.fused for one in some], 0.6, color=ACCENT if not place else SOFT)
        names = [f"{cut(target_text(one), 14)}, no. {one.sample}" for one in some]
        axes.set_yticks(range(len(some)), names, fontsize=8.5)
        axes.set(ylim=(rows - 0.5, -0.5), xlim=(0, 1.05 * highest))
        axes.set_title(title, fontsize=9.5, color=INK, loc="left")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel("expected share of the static multiply-adds", fontsize=8.5)
        axes.grid(visible=False, axis="y")
    return figure


def draw_confidence(confidence: Confidence, colours: Mapping[str, str]) -> Figure:
    """What is expected to be spent on a sample, against how sure each modality's own network is of it."""
    unimodal = confidence.unimodal
    figure = Figure(figsize=(WIDTH, 3.4))
    axes: Sequence[Axes] = figure.subplots(1, len(unimodal), sharey=True, squeeze=False)[0]
    for each, (name, values) in zip(axes, unimodal.items(), strict=True):
        each.plot(values, confidence.fused, "o", ms=3, mew=0, alpha=0.5, color=colours.get(name, SOFT))
        each.set_xlabel(f"confidence of {cut(clean(name), 24)} alone", fontsize=9)
        each.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes[0].set_ylabel("expected share of multiply-adds", fontsize=9)
    figure.subplots_adjust(left=0.08, right=0.985, top=0.96, bottom=0.16, wspace=0.08)
    return figure


def draw_trade(dynamic: Decisions, metric: str) -> Figure:
    """Score against multiply-adds as gate or cascade is biased, beside gates that do not look and the oracle."""
    who = dynamic.decider
    by = scale(metric)
    figure = Figure(figsize=(WIDTH, 4.0))
    axes = figure.add_axes((0.085, 0.16, 0.89, 0.8))
    for points, colour, words in (
        (dynamic.curve, ACCENT, f"the {who}, biased from cheap to dear"),
        (dynamic.random, SOFT, "the best gate that does not look at the sample"),
    ):
        axes.plot([x for x, _ in points], [by * y for _, y in points], "o-", color=colour, ms=4, lw=1.5, label=words)
    x, y = dynamic.oracle
    axes.plot(x, by * y, "*", color=INK, ms=12, label="an oracle: the cheapest route no worse than the dearest")
    axes.axvline(dynamic.static_multiply_adds, color=PALE, lw=1.2, ls=(0, (4, 3)), label=f"without a {who}")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: count_text(value)))
    axes.set_xlabel("multiply-adds of one sample", fontsize=9)
    axes.set_ylabel(metric_words(metric), fontsize=9)
    axes.legend(fontsize=8.5, loc="lower right", frameon=True, facecolor="white", edgecolor="none", framealpha=0.9)
    return figure
