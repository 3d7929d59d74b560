"""What the figures show, computed from a run's summary and metrics. Nothing is drawn here."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nas.metrics import higher_is_better
from nas.report.numbers import clean, node_titles, number
from nas.space.architecture import Architecture, Choice
from nas.strategies.pareto import pareto_front
from nas.summary import ROW_KINDS, Row, SearchedNode, Summary

MAX_CURVES = 60
"""In one panel; of more the first are drawn."""


@dataclass(frozen=True)
class HeatMap:
    """Mixing weights of one fusion node over time.

    Attributes:
        node: Name of the node.
        labels: One per row.
        modalities: For each row, the modalities that the choice reads.
        steps: One per column; empty when only the final weights of choices are known.
        weights: For each row, a weight per column.
        chosen: Index of the row of the discretized choice, or None.
        has_others: Whether the last row is the sum of all choices that have no row of their own.
    """

    node: str
    labels: tuple[str, ...]
    modalities: tuple[tuple[str, ...], ...]
    steps: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    chosen: int | None
    has_others: bool = False


@dataclass(frozen=True)
class Curve:
    """One line of a panel.

    Attributes:
        name: What it shows.
        x: Epochs or steps.
        y: Values; NaN leaves a gap.
        group: What gives it its colour, such as a modality.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    group: str


def leaderboard_rows(summary: Summary) -> tuple[Row, ...]:
    """Rows as people read them, by kind in the order of `ROW_KINDS`, the best of a kind first."""

    def order(row: Row) -> tuple[int, bool, float]:
        unknown = math.isnan(row.score.mean)
        return ROW_KINDS.index(row.kind), unknown, 0.0 if unknown else -summary.sense * row.score.mean

    return tuple(sorted(map(shown, summary.leaderboard), key=order))


def shown(row: Row) -> Row:
    """A row as people read it: in printable texts of bounded length, and without a difference that is not known."""
    words = clean(row.in_words, 400)
    return replace(
        row,
        name=clean(row.name),
        in_words=f"{words}, each trained alone" if words and row.separate else words,
        difference=row.known_difference,
    )


def on_front(rows: Sequence[Row], metric: str) -> list[bool]:
    """For each row whether no other is both at least as good and at most as costly, and better in one of the two.

    Args:
        rows: Of one leaderboard, or of several of the same metric.
        metric: Of the scores.
    """
    sense = 1 if higher_is_better(metric) else -1
    costs = [math.nan if row.multiply_adds is None else row.multiply_adds for row in rows]
    return pareto_front([(cost, sense * row.score.mean) for cost, row in zip(costs, rows, strict=True)])


def own_records(summary: Summary, metrics: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The records that a page tells: of several searches, the one whose architecture it shows, and the retraining.

    Args:
        summary: Of the run; its `seed` is that of the search shown.
        metrics: All records of the run. One of several searches has its seed in them as `search`.
    """

    def is_told(record: Mapping[str, Any]) -> bool:
        search = record.get("search")
        return search is None or (record.get("phase") == "search" and search == summary.search.seed)

    return [record for record in metrics if is_told(record)]


def heat_maps(
    nodes: Sequence[SearchedNode],
    metrics: Sequence[Mapping[str, Any]],
    proposed: Architecture | None = None,
    *,
    max_rows: int = 12,
    max_columns: int = 160,
) -> tuple[HeatMap, ...]:
    """Mixing weights of every node over the search.

    Rows beyond `max_rows` are summed up in one last row; kept are the chosen one, then those with the greatest peak
    and final weight together. Columns beyond `max_columns` are thinned out evenly, the first and the last kept.

    Args:
        nodes: That were searched.
        metrics: Records of the search.
        proposed: What the search itself chose; None for what was found.
        max_rows: See above.
        max_columns: See above.

    Raises:
        ValueError: If a record has another number of weights than its node has choices.
    """
    return tuple(_heat_map(node, metrics, _discretized(node, proposed), max_rows, max_columns) for node in nodes)


def _discretized(node: SearchedNode, proposed: Architecture | None) -> int | None:
    """Index of what the search itself chose at a node, which need not be what the tournament's winner does there."""
    if proposed is None:
        return node.chosen
    made = [step.choice for step in proposed.steps if step.name == node.name]
    choices = [Choice(one.operation, one.inputs) for one in node.choices]
    same = (place for place, one in enumerate(choices) if (one == made[0] if made else not one.inputs))
    return next(same, None)


def _heat_map(
    node: SearchedNode,
    metrics: Sequence[Mapping[str, Any]],
    chosen: int | None,
    max_rows: int,
    max_columns: int,
) -> HeatMap:
    name, choices = node.name, node.choices
    columns = {
        number(record.get("step")): record["mixing_weights"][name]
        for record in metrics
        if record.get("phase") == "search" and name in (record.get("mixing_weights") or {})
    }
    steps = sorted(step for step in columns if not math.isnan(step))
    if len(steps) > max_columns:
        steps = [steps[round(i * (len(steps) - 1) / (max_columns - 1))] for i in range(max_columns)]
    table = [
        [number(weight) for weight in column] for column in [columns[step] for step in steps] or [node.choice_weights]
    ]
    if any(len(column) != len(choices) for column in table):
        raise ValueError(f"node {name!r} has {len(choices)} choices and another number of mixing weights")

    values = np.array(table)
    importance = np.fmax.reduce(values, axis=0, initial=0.0) + np.fmax(values[-1], 0.0)
    rank = sorted(range(len(choices)), key=lambda i: (i != chosen, -importance[i]))
    kept = sorted(rank[:max_rows]) if len(choices) > max_rows + 1 else list(range(len(choices)))
    rest = sorted(set(range(len(choices))) - set(kept))
    weights = [tuple(column[i] for column in table) for i in kept]
    labels = [clean(choices[i].label) for i in kept]
    modalities = [modalities_of(choices[i].inputs) for i in kept]
    if rest:
        weights.append(tuple(sum(column[i] for i in rest) for column in table))
        labels.append(f"{len(rest)} others")
        modalities.append(())
    return HeatMap(
        clean(node.title or name),
        tuple(labels),
        tuple(modalities),
        tuple(steps),
        tuple(weights),
        kept.index(chosen) if chosen in kept else None,
        bool(rest),
    )


def modalities_of(inputs: Sequence[str]) -> tuple[str, ...]:
    """The modalities of the taps among what a choice reads."""
    return Choice("", tuple(inputs)).modalities


def curves(metrics: Sequence[Mapping[str, Any]], phase: str, value: str, x: str) -> tuple[Curve, ...]:
    """One line per modality and seed of a phase; of records for the same x the last counts, as after a resumed run.

    Args:
        metrics: Records of the run.
        phase: "search", "encoders" or "retrain".
        value: Such as "train_loss".
        x: "epoch" or "step".
    """
    lines: dict[tuple[str, str], dict[float, float]] = {}
    for record in metrics:
        at = number(record.get(x))
        if record.get("phase") == phase and value in record and not math.isnan(at):
            line = clean(record.get("modality") or record.get("row") or value), clean(record.get("seed", ""))
            if line in lines or len(lines) < MAX_CURVES:
                lines.setdefault(line, {})[at] = number(record[value])
    found = []
    for (group, seed), points in lines.items():
        xs = tuple(sorted(points))
        ys = tuple(points[at] for at in xs)
        if not all(map(math.isnan, ys)):
            found.append(Curve(f"{group}, seed {seed}" if seed else group, xs, ys, group))
    return tuple(found)


def entropy_curves(metrics: Sequence[Mapping[str, Any]], searched: Sequence[SearchedNode], x: str) -> tuple[Curve, ...]:
    """Entropy of the mixing weights over the search, in nats, a line per node."""
    records = [record for record in metrics if record.get("phase") == "search" and record.get("entropy")]
    titles = node_titles(searched)
    nodes = dict.fromkeys(node for record in records for node in record["entropy"])
    flat = [
        {"phase": "entropy", "row": titles.get(n, clean(n)), x: r.get(x), "entropy": r["entropy"].get(n)}
        for n in nodes
        for r in records
    ]
    return curves(flat, "entropy", "entropy", x)


def guard_curves(metrics: Sequence[Mapping[str, Any]], name: str, x: str) -> tuple[Curve, ...]:
    """One number of the guards over the search, as one line or none."""
    records = [record for record in metrics if record.get("phase") == "search" and record.get("guards")]
    flat = [{"phase": "guards", x: record.get(x), name: record["guards"].get(name)} for record in records]
    return curves(flat, "guards", name, x)


def to_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV; NaN and None are empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(["" if v is None or (isinstance(v, float) and math.isnan(v)) else v for v in row])
    return buffer.getvalue()
