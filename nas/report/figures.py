"""All figures of a report: which are drawn, what they say in words, and the numbers behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure

from nas.records import from_plain
from nas.report.architecture import draw_architecture
from nas.report.attention import Heat, Looking, Shares, draw_heats, draw_shares, lookings
from nas.report.cascade import draw_cascade
from nas.report.comparison import Group
from nas.report.cost import draw_cost
from nas.report.diagnosis import Told, diagnosis_of, draw_contributions, overfitting_panels
from nas.report.frequencies import draw_frequencies
from nas.report.gate import draw_gate, lanes
from nas.report.layout import layout
from nas.report.leaderboard import draw_leaderboard
from nas.report.mistakes import Confusion, confusion, draw_confusion, draw_residuals, residual_points
from nas.report.mixing import draw_mixing
from nas.report.numbers import clean, count_text, metric_words, scale, score_text
from nas.report.progress import Panel, draw_progress
from nas.report.routes import draw_confidence, draw_extremes, draw_routes, draw_trade, shares_of_routes, target_text
from nas.report.space import draw_space, space_graph
from nas.report.stability import SearchesAgreement, agreement_of_searches, stability_table
from nas.report.style import figure_style, modality_colours
from nas.report.tables import (
    Curve,
    HeatMap,
    curves,
    entropy_curves,
    guard_curves,
    heat_maps,
    leaderboard_rows,
    modalities_of,
    on_front,
    own_records,
    to_csv,
)
from nas.report.tooltips import node_facts, tooltips
from nas.space.architecture import Cascading
from nas.summary import Decisions, Row, RowKind, Search, SearchedNode, Summary

MOST_TOLD = 12
"""Rows of attention that a figure's text names."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A figure.

    Attributes:
        name: Of its files.
        figure: The drawing.
        alt: What it shows, in words, for those who do not see it.
        csv: The numbers behind it.
        tooltips: Name of a part of the drawing to what it tells when one points at it.
    """

    name: str
    figure: Figure
    alt: str
    csv: str
    tooltips: Mapping[str, str] = field(default_factory=dict)


def draw_all(summary: Summary, metrics: Sequence[Mapping[str, Any]]) -> list[Drawn]:
    """Every figure for which the run has the numbers.

    Args:
        summary: The run's summary.
        metrics: Its records.
    """
    colours = modality_colours(list(summary.search.depths))
    rows = leaderboard_rows(summary)
    metric = summary.metric
    metrics = own_records(summary, metrics)
    sure = agreement_of_searches(summary)
    with figure_style():
        drawn = [_architecture(summary, colours), *_gate(summary, colours)]
        if rows:
            drawn.append(_leaderboard(rows, metric, colours))
        told = diagnosis_of(summary)
        if told.bars:
            drawn.append(_contributions(told, metric, colours))
        courses = overfitting_panels(summary, metrics)
        if courses:
            drawn.append(_overfitting(courses, colours))
        matrix, points = confusion(summary), residual_points(summary)
        if matrix is not None:
            drawn.append(_confusion(matrix))
        elif points:
            drawn.append(_residuals(points))
        drawn += _attention(summary)
        if sure is not None:
            drawn.append(_stability(sure, colours))
        if summary.search.nodes:
            drawn.append(_space(summary.search, colours))
            proposed = summary.tournament.proposed if summary.tournament else None
            drawn.append(_mixing(heat_maps(summary.search.nodes, metrics, proposed), colours))
        if any(row.multiply_adds for row in rows):
            drawn.append(_cost(rows, metric, colours))
        if summary.dynamic:
            drawn += _routes(summary.dynamic, metric, colours)
        panels = progress_panels(metrics, summary.search.nodes, metric)
        if panels:
            drawn.append(_progress(panels, colours))
        watched = guard_panels(metrics)
        if watched:
            drawn.append(_guards(watched, colours))
        for each in drawn:
            each.figure.draw_without_rendering()
    return drawn


def draw_comparison(groups: Sequence[Group]) -> list[Drawn]:
    """For every group of runs their scores, and of two or more whose costs are known their scores against them."""
    kinds = list(dict.fromkeys(run.kind for group in groups for run in group.runs))
    palette = modality_colours(kinds)
    drawn = []
    with figure_style():
        for place, group in enumerate(groups, start=1):
            rows = [replace(run.row, kind=cast(RowKind, run.kind)) for run in group.runs]  # coloured by their search
            rows.sort(key=lambda row: kinds.index(row.kind))
            colours = {row.name: palette[row.kind] for row in rows}
            drawn.append(replace(_leaderboard(rows, group.metric, colours), name=f"scores-{place}"))
            if len(rows) > 1 and any(row.multiply_adds for row in rows):
                drawn.append(replace(_cost(rows, group.metric, colours), name=f"cost-{place}"))
        for each in drawn:
            each.figure.draw_without_rendering()
    return drawn


def draw_course(metrics: Sequence[Mapping[str, Any]]) -> list[Drawn]:
    """How a run goes that has no results yet."""
    nodes = [
        from_plain(SearchedNode, node)
        for record in metrics
        if record.get("phase") == "space"
        for node in record.get("nodes") or ()
    ]
    read = [name for node in nodes for choice in node.choices for name in modalities_of(choice.inputs)]
    trained = [str(record["modality"]) for record in metrics if record.get("modality")]
    colours = modality_colours(list(dict.fromkeys([*read, *trained])))
    is_mixed = any(record.get("mixing_weights") for record in metrics)
    with figure_style():
        panels, watched = progress_panels(metrics, nodes, "score"), guard_panels(metrics)
        drawn = [_progress(panels, colours)] if panels else []
        mixing = [_mixing(heat_maps(nodes, metrics), colours)] if nodes and is_mixed else []
        return [*mixing, *drawn, *([_guards(watched, colours)] if watched else [])]


def architecture_figure(summary: Summary) -> Drawn:
    """The found architecture alone."""
    with figure_style():
        drawn = _architecture(summary, modality_colours(list(summary.search.depths)))
        drawn.figure.draw_without_rendering()
    return drawn


def _architecture(summary: Summary, colours: Mapping[str, str]) -> Drawn:
    plan = layout(summary)
    header = ("node", "operation", "inputs", "formula", "multiply_adds", "choice_weight", "rival", "rival_weight")
    table = [
        (n.name, n.operation, " ".join(f.inputs), f.formula, f.multiply_adds, n.choice_weight, f.rival, f.rival_weight)
        for n, f in zip(plan.nodes, node_facts(summary), strict=True)
    ]
    alt = f"The found architecture as a graph. {clean(summary.in_words, 400)}"
    drawing = draw_architecture(plan, colours)
    return Drawn("architecture", drawing, alt, to_csv(header, table), tooltips(summary, plan))


def _gate(summary: Summary, colours: Mapping[str, str]) -> list[Drawn]:
    """All routes, of a dynamic architecture alone."""
    gating = summary.architecture.gating
    if gating is None:
        return []
    every = lanes(summary)
    told = " ".join(f"Route {place}: {lane.in_words}" for place, lane in enumerate(every, start=1))
    header = ("route", "nodes", "skips", "share", "multiply_adds", "of_static")
    table = [
        (place, lane.nodes, lane.skips, lane.share, lane.multiply_adds, lane.part)
        for place, lane in enumerate(every, start=1)
    ]
    if isinstance(gating, Cascading):
        alt = f"A cascade tries {len(every)} routes in turn, and every sample stops at a sure answer. {told}"
        return [Drawn("cascade", draw_cascade(summary, colours), alt, to_csv(header, table))]
    reads = " and ".join(clean(tap) for tap in gating.reads)
    alt = f"A gate reads {reads} and picks one of {len(every)} routes for every sample. {told}"
    return [Drawn("gate", draw_gate(summary, colours), alt, to_csv(header, table))]


def _leaderboard(rows: Sequence[Row], metric: str, colours: Mapping[str, str]) -> Drawn:
    best = "; ".join(f"{row.name} {score_text(row.score.mean, metric)}" for row in rows[:8])
    alt = f"{metric_words(metric)} of every row with 95 % intervals. {best}."
    header = ("name", "kind", "mean", "low", "high", "found_better_by", "difference_low", "difference_high", "scores")
    table = []
    for row in rows:
        gap = row.difference
        differences = (gap.mean, gap.low, gap.high) if gap else (None, None, None)
        scores = " ".join(map(str, row.scores))
        table.append((row.name, row.kind, row.score.mean, row.score.low, row.score.high, *differences, scores))
    return Drawn("leaderboard", draw_leaderboard(rows, metric, colours), alt, to_csv(header, table))


def _contributions(told: Told, metric: str, colours: Mapping[str, str]) -> Drawn:
    most = "; ".join(f"{bar.group}, {bar.name}: {score_text(bar.value.mean, metric)}" for bar in told.bars)
    alt = f"Scores with and without interaction, and what each modality contributes. {most}."
    table = [(bar.group, bar.name, bar.value.mean, bar.value.low, bar.value.high) for bar in told.bars]
    csv = to_csv(("what", "of", "mean", "low", "high"), table)
    return Drawn("contributions", draw_contributions(told, metric, colours), alt, csv)


def _overfitting(panels: Sequence[Panel], colours: Mapping[str, str]) -> Drawn:
    alt = f"Losses of every modality trained alone, over time: {'; '.join(panel.title for panel in panels)}."
    return Drawn("overfitting", draw_progress(panels, colours), alt, _panels_csv(panels))


def _confusion(matrix: Confusion) -> Drawn:
    table = [
        (matrix.classes[i], matrix.classes[j], count, matrix.share(i, j))
        for i, row in enumerate(matrix.counts)
        for j, count in enumerate(row)
    ]
    alt = f"Confusion matrix of {len(matrix.classes)} classes. {matrix.in_words()}"
    return Drawn("mistakes", draw_confusion(matrix), alt, to_csv(("class", "taken_for", "samples", "share"), table))


def _residuals(outputs: Sequence[Sequence[tuple[float, float]]]) -> Drawn:
    table = [(place, target, predicted) for place, points in enumerate(outputs) for target, predicted in points]
    alt = f"Residuals of {len(outputs[0])} test samples against their predictions."
    return Drawn("mistakes", draw_residuals(outputs), alt, to_csv(("output", "target", "prediction"), table))


def _attention(summary: Summary) -> list[Drawn]:
    """For every attention its pictures, then its matrices."""
    drawn = []
    for looking in lookings(summary):
        drawn += [_heats(name, looking, some) for name, some in looking.heats.items()]
        drawn += [_shares(name, looking, some) for name, some in looking.shares.items()]
    return drawn


def _heats(name: str, looking: Looking, heats: Sequence[Heat]) -> Drawn:
    table, told = [], []
    for heat in heats:
        for label, weights in zip(heat.labels, heat.weights, strict=True):
            places = [(row + 1, column + 1, float(weights[row, column])) for row, column in np.ndindex(weights.shape)]
            table += [(heat.sample, label, *place) for place in places]
            row, column, share = max(places, key=lambda place: place[2])
            told.append(f"{heat.sample}: {label} most at row {row}, column {column} ({100 * share:.0f} %)")
    csv = to_csv(("sample", "asking", "row", "column", "share"), table)
    return Drawn(name, draw_heats(heats), _alt(looking, told), csv)


def _shares(name: str, looking: Looking, samples: Sequence[Shares]) -> Drawn:
    table, told = [], []
    for one in samples:
        for row, weights in zip(one.rows, one.weights, strict=True):
            table += [
                (one.sample, *row, *column, float(weight)) for column, weight in zip(one.columns, weights, strict=True)
            ]
            most = int(weights.argmax())
            told.append(f"{one.sample}: {row[1]} most at {one.columns[most][1]} ({100 * weights[most]:.0f} %)")
    csv = to_csv(("sample", "asking_source", "asking", "asked_source", "asked", "share"), table)
    return Drawn(name, draw_shares(samples), _alt(looking, told), csv)


def _alt(looking: Looking, told: Sequence[str]) -> str:
    """The first of what is told; all of it is in the numbers behind the figure."""
    return f"{looking.title}, by {looking.where}. {'; '.join(told[:MOST_TOLD])}."


def _stability(sure: SearchesAgreement, colours: Mapping[str, str]) -> Drawn:
    most = "; ".join(f"{node.node}: {node.choices[0].label} {node.choices[0].count}" for node in sure.nodes)
    alt = f"How many of {len(sure.told.searches)} searches made each choice, and their scores. Most often: {most}."
    csv = to_csv(("part", "of", "what", "value"), stability_table(sure))
    return Drawn("stability", draw_frequencies(sure, colours), alt, csv)


def _space(search: Search, colours: Mapping[str, str]) -> Drawn:
    graph = space_graph(search)
    size = math.prod(len(node.choices) for node in search.nodes)
    alt = f"The search space as a graph: {len(search.nodes)} fusion nodes, {size:,} architectures."
    table = [
        (node.name, choice.label, choice.operation, " ".join(choice.inputs))
        for node in search.nodes
        for choice in node.choices
    ]
    return Drawn("space", draw_space(graph, colours), alt, to_csv(("node", "choice", "operation", "inputs"), table))


def _mixing(maps: Sequence[HeatMap], colours: Mapping[str, str]) -> Drawn:
    chosen = "; ".join(f"{heat.node}: {heat.labels[heat.chosen]}" for heat in maps if heat.chosen is not None)
    alt = "Mixing weights of every fusion node over the search, as heat maps."
    alt += f" Chosen: {chosen}." if chosen else ""
    table = [
        (heat.node, label, step, weight)
        for heat in maps
        for label, weights in zip(heat.labels, heat.weights, strict=True)
        for step, weight in zip(heat.steps or (None,), weights, strict=True)
    ]
    return Drawn("mixing", draw_mixing(maps, colours), alt, to_csv(("node", "choice", "step", "weight"), table))


def _cost(rows: Sequence[Row], metric: str, colours: Mapping[str, str]) -> Drawn:
    is_best = on_front(rows, metric)
    best = [row for row, is_one in zip(rows, is_best, strict=True) if is_one]
    front = "; ".join(f"{row.name} at {count_text(row.multiply_adds)}" for row in best)
    alt = f"{metric_words(metric)} against multiply-adds of one sample. Best for their cost: {front}."
    header = ("name", "kind", "multiply_adds", "parameters", "mean", "low", "high", "best_for_its_cost")
    table = [
        (r.name, r.kind, r.multiply_adds, r.parameters, r.score.mean, r.score.low, r.score.high, int(is_one))
        for r, is_one in zip(rows, is_best, strict=True)
    ]
    return Drawn("cost", draw_cost(rows, metric, colours), alt, to_csv(header, table))


def _routes(dynamic: Decisions, metric: str, colours: Mapping[str, str]) -> list[Drawn]:
    """What a gate or a cascade does, in four figures; the last one for classes alone."""
    who = dynamic.decider
    words = [clean(route.in_words, 200) for route in dynamic.routes]
    rows = shares_of_routes(dynamic)
    shares = "; ".join(f"{name} {100 * share:.0f} %" for name, share in zip(words, rows[0][1], strict=True))
    alt = f"Share of samples per route: {shares}."
    drawn = [
        Drawn("routes", draw_routes(dynamic), alt, to_csv(("class", *words), [(name, *some) for name, some in rows]))
    ]
    points = [
        *(("curve", *point) for point in dynamic.curve),
        *(("random", *point) for point in dynamic.random),
        ("oracle", *dynamic.oracle),
    ]
    alt = f"{metric_words(metric)} against multiply-adds of the {who}, of a gate that does not look, and of an oracle."
    csv = to_csv(("of", "multiply_adds", "score"), points)
    drawn.append(Drawn("trade", draw_trade(dynamic, metric), alt, csv))
    extremes = {"most_fused": dynamic.most_fused, "least_fused": dynamic.least_fused}
    some = [(kind, target_text(one), one.sample, one.fused) for kind, samples in extremes.items() for one in samples]
    alt = f"The ten samples that the {who} spends most multiply-adds on, and the ten that it spends least on."
    drawn.append(Drawn("extremes", draw_extremes(dynamic), alt, to_csv(("of", "target", "sample", "fused"), some)))
    if unimodal := dynamic.confidence.unimodal:
        table = list(zip(dynamic.confidence.fused, *unimodal.values(), strict=True))
        alt = f"Multiply-adds that the {who} is expected to spend on a sample, against the confidence of one modality."
        figure = draw_confidence(dynamic.confidence, colours)
        drawn.append(Drawn("confidence", figure, alt, to_csv(("fused", *map(clean, unimodal)), table)))
    return drawn


def _progress(panels: Sequence[Panel], colours: Mapping[str, str]) -> Drawn:
    alt = f"How the run went, over time: {'; '.join(panel.title for panel in panels)}."
    return Drawn("progress", draw_progress(panels, colours), alt, _panels_csv(panels))


def _guards(panels: Sequence[Panel], colours: Mapping[str, str]) -> Drawn:
    alt = f"What the guards of the search saw, over time: {'; '.join(panel.title for panel in panels)}."
    return Drawn("guards", draw_progress(panels, colours), alt, _panels_csv(panels))


def _panels_csv(panels: Sequence[Panel]) -> str:
    table = [
        (panel.title, curve.name, x, y)
        for panel in panels
        for curve in panel.curves
        for x, y in zip(curve.x, curve.y, strict=True)
    ]
    return to_csv(("panel", "curve", "x", "y"), table)


def progress_panels(metrics: Sequence[Mapping[str, Any]], nodes: Sequence[SearchedNode], metric: str) -> list[Panel]:
    """The panels for which there are records: losses of the search, its entropy, encoders, the retraining."""
    losses = {"train_loss": "training", "architecture_loss": "held out"}
    search = [line for key, words in losses.items() for line in _of(words, curves(metrics, "search", key, "step"))]
    again = [line for key, words in losses.items() for line in _of(words, curves(metrics, "retrain", key, "epoch"))]
    unit, by = metric_words(metric), scale(metric)
    scores = "architecture_score"
    panels = [
        Panel("Search: loss", "search step", tuple(search)),
        Panel("Search: entropy of the mixing weights, nats", "search step", entropy_curves(metrics, nodes, "step")),
        Panel(f"Encoders alone: {unit}", "epoch", curves(metrics, "encoders", scores, "epoch"), by),
        Panel("Retraining: loss, every seed", "epoch", tuple(again)),
        Panel(f"Retraining: {unit}, every seed", "epoch", curves(metrics, "retrain", scores, "epoch"), by),
    ]
    return [panel for panel in panels if panel.curves]


def guard_panels(metrics: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """The panels of what the guards saw, for which there are records."""
    titles = {
        "none_share": "Weight on nothing, mean over nodes",
        "nothing_nodes": "Nodes that prefer nothing",
        "eigenvalue": "Dominant eigenvalue of the architecture Hessian",
        "discretization": "Loss that discretizing would cost",
    }
    panels = [Panel(title, "search step", guard_curves(metrics, name, "step")) for name, title in titles.items()]
    return [panel for panel in panels if panel.curves]


def _of(words: str, lines: Sequence[Curve]) -> list[Curve]:
    """The same lines, as one group of this name."""
    return [replace(line, group=words) for line in lines]
