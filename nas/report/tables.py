"""What the figures show, computed from a run's summary and metrics. Nothing is drawn here."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nas.architecture import Architecture, Choice
from nas.pareto import pareto_front
from nas.report.numbers import clean, node_words, number
from nas.statistics import Interval

MAX_CURVES = 60
"""In one panel; of more the first are drawn."""

KIND_ORDER = (
    *("found", "refit", "ensemble", "static", "proposal"),
    *("modality", "sum", "late", "transformer", "early", "operation", "control", "random"),
)


@dataclass(frozen=True)
class Row:
    """One row of the leaderboard.

    Attributes:
        name: Of the row.
        kind: One of `KIND_ORDER`, or another word for a kind that we do not know.
        in_words: The architecture in words, or "".
        score: Of the seeds.
        scores: One per seed.
        parameters: Number of trainable scalars; NaN of what is no network.
        multiply_adds: Of one sample; likewise.
        train_seconds: Of one training.
        difference: How much better the found architecture is than this row, paired by seed, whether or not a higher
            score is the better one; or None.
        architecture_score: On the architecture split, by which rows may be chosen; NaN if unknown.
        separate: Whether its weights come from networks that were trained on one modality each.
        same_as_found: Whether it is the network that was found, under the name that it won the tournament by.
        pareto: Whether no other row is both at least as good and at most as costly, and better in one of the two.
    """

    name: str
    kind: str
    in_words: str
    score: Interval
    scores: tuple[float, ...]
    parameters: float
    multiply_adds: float
    train_seconds: float
    difference: Interval | None
    architecture_score: float
    separate: bool = False
    same_as_found: bool = False
    pareto: bool = False


@dataclass(frozen=True)
class HeatMap:
    """Mixing weights of one fusion node over time.

    Attributes:
        node: Name of the node.
        labels: One per row.
        modalities: For each row, the modalities that the choice reads.
        steps: One per column; empty when only the final beliefs are known.
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


def leaderboard_rows(summary: Mapping[str, Any]) -> tuple[Row, ...]:
    """Rows by kind in the order of `KIND_ORDER`, the best of a kind first, with the Pareto front marked."""
    sense = 1 if summary["higher_is_better"] else -1
    rows = [
        replace(row_of(values), same_as_found=same_as_found(values, summary))
        for values in summary.get("leaderboard") or []
    ]
    front = pareto_front([(row.multiply_adds, sense * row.score.mean) for row in rows])
    rows = [replace(row, pareto=on_front) for row, on_front in zip(rows, front, strict=True)]
    ranks = {kind: rank for rank, kind in enumerate(KIND_ORDER)}

    def order(row: Row) -> tuple[int, bool, float]:
        unknown = math.isnan(row.score.mean)
        return ranks.get(row.kind, len(ranks)), unknown, 0.0 if unknown else -sense * row.score.mean

    return tuple(sorted(rows, key=order))


def row_of(values: Mapping[str, Any]) -> Row:
    """A row from what a summary says of it; what it does not say is unknown."""
    separate = values.get("separate", values["kind"] == "sum") is True
    words = clean(values.get("in_words") or "", 400)
    return Row(
        name=clean(values["name"]),
        kind=clean(values["kind"], 40),
        in_words=f"{words}, each trained alone" if words and separate else words,
        score=_interval(values),
        scores=tuple(number(score) for score in values.get("scores") or ()),
        parameters=number(values.get("parameters")),
        multiply_adds=number(values.get("multiply_adds")),
        train_seconds=number(values.get("train_seconds")),
        difference=difference_of(values.get("difference")),
        architecture_score=number(values.get("architecture_score")),
        separate=separate,
    )


def same_as_found(values: Mapping[str, Any], summary: Mapping[str, Any]) -> bool:
    """Whether a row other than the first is the network that was found: nothing can be said by comparing the two.

    Args:
        values: What the summary says of the row.
        summary: Of the run.
    """
    found = (summary.get("leaderboard") or [{}])[0]
    gap = difference_of(values.get("difference"))
    return (
        values is not found
        and values["kind"] not in ("random", "refit", "ensemble")
        and gap == Interval(0.0, 0.0, 0.0)
        and values.get("architecture") == summary.get("architecture")
        and bool(values.get("separate")) == bool(found.get("separate"))
    )


def _interval(values: Mapping[str, Any]) -> Interval:
    mean, low, high = (number(values.get(key)) for key in ("mean", "low", "high"))
    return Interval(mean, mean if math.isnan(low) else low, mean if math.isnan(high) else high)


def difference_of(values: Mapping[str, Any] | None) -> Interval | None:
    """How much better found is; None also if no interval is known, for without one nothing can be said."""
    if values is None:
        return None
    interval = Interval(*(number(values.get(key)) for key in ("mean", "low", "high")))
    return None if math.isnan(interval.mean + interval.low + interval.high) else interval


def own_records(summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The records that a page tells: of several searches, the one whose architecture it shows, and the retraining.

    Args:
        summary: Of the run; its `seed` is that of the search shown.
        metrics: All records of the run. One of several searches has its seed in them as `search`.
    """

    def is_told(record: Mapping[str, Any]) -> bool:
        search = record.get("search")
        return search is None or (record.get("phase") == "search" and search == summary.get("seed"))

    return [record for record in metrics if is_told(record)]


def heat_maps(
    summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], *, max_rows: int = 12, max_columns: int = 160
) -> tuple[HeatMap, ...]:
    """Mixing weights of every node over the search.

    Rows beyond `max_rows` are summed up in one last row; kept are the chosen one, then those with the greatest peak
    and final weight together. Columns beyond `max_columns` are thinned out evenly, the first and the last kept.

    Raises:
        ValueError: If a record has another number of weights than its node has choices.
    """
    return tuple(_heat_map(summary, node, metrics, max_rows, max_columns) for node in summary.get("nodes") or [])


def _discretized(summary: Mapping[str, Any], node: Mapping[str, Any]) -> int | None:
    """Index of what the search itself chose at a node, which need not be what the tournament's winner does there."""
    proposed = (summary.get("tournament") or {}).get("proposed")
    if not proposed:
        return node.get("chosen")
    made = [step.choice for step in Architecture.from_dict(proposed).steps if step.name == node["name"]]
    choices = [Choice(str(one["operation"]), tuple(map(str, one["inputs"]))) for one in node["choices"]]
    same = (place for place, one in enumerate(choices) if (one == made[0] if made else not one.inputs))
    return next(same, None)


def _heat_map(
    summary: Mapping[str, Any],
    node: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    max_rows: int,
    max_columns: int,
) -> HeatMap:
    name, choices = str(node["name"]), node["choices"]
    columns = {
        number(record.get("step")): record["mixing_weights"][name]
        for record in metrics
        if record.get("phase") == "search" and name in (record.get("mixing_weights") or {})
    }
    steps = sorted(step for step in columns if not math.isnan(step))
    if len(steps) > max_columns:
        steps = [steps[round(i * (len(steps) - 1) / (max_columns - 1))] for i in range(max_columns)]
    table = [[number(weight) for weight in column] for column in [columns[step] for step in steps] or [node["beliefs"]]]
    if any(len(column) != len(choices) for column in table):
        raise ValueError(f"node {name!r} has {len(choices)} choices and another number of mixing weights")

    chosen = _discretized(summary, node)
    values = np.array(table)
    importance = np.fmax.reduce(values, axis=0, initial=0.0) + np.fmax(values[-1], 0.0)
    rank = sorted(range(len(choices)), key=lambda i: (i != chosen, -importance[i]))
    kept = sorted(rank[:max_rows]) if len(choices) > max_rows + 1 else list(range(len(choices)))
    rest = sorted(set(range(len(choices))) - set(kept))
    weights = [tuple(column[i] for column in table) for i in kept]
    labels = [choice_label(choices[i]) for i in kept]
    modalities = [choice_modalities(choices[i]) for i in kept]
    if rest:
        weights.append(tuple(sum(column[i] for i in rest) for column in table))
        labels.append(f"{len(rest)} others")
        modalities.append(())
    return HeatMap(
        node_words(name),
        tuple(labels),
        tuple(modalities),
        tuple(steps),
        tuple(weights),
        kept.index(chosen) if chosen in kept else None,
        bool(rest),
    )


def choice_label(choice: Mapping[str, Any]) -> str:
    """A choice in words."""
    words = choice.get("label") or Choice(str(choice["operation"]), tuple(map(str, choice["inputs"]))).in_words()
    return clean(words)


def choice_modalities(choice: Mapping[str, Any]) -> tuple[str, ...]:
    """The modalities that a choice reads."""
    return tuple(dict.fromkeys(str(name).split("@", 1)[0] for name in choice["inputs"] if "@" in str(name)))


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


def entropy_curves(metrics: Sequence[Mapping[str, Any]], x: str) -> tuple[Curve, ...]:
    """Entropy of the mixing weights over the search, in nats, a line per node."""
    records = [record for record in metrics if record.get("phase") == "search" and record.get("entropy")]
    nodes = dict.fromkeys(node for record in records for node in record["entropy"])
    flat = [
        {"phase": "entropy", "row": node_words(n), x: r.get(x), "entropy": r["entropy"].get(n)}
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
