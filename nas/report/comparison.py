"""Several runs side by side: what is compared, computed from their summaries. Nothing is drawn here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nas.report.numbers import clean, metric_name, score_text, with_unit
from nas.report.tables import leaderboard_rows
from nas.statistics import Interval
from nas.summary import Row, Summary


@dataclass(frozen=True)
class Compared:
    """One run.

    Attributes:
        row: Its found architecture, under the run's name.
        over_modality: How much better it is than the best single modality, as the architecture split has it; or None.
        over_late: How much better it is than late fusion; or None.
        over_control: How much better it is than the best control without a network, as the architecture split has it.
        strategy: That it was searched with.
        space: That it was searched in.
        search_seconds: Of the search proper.
        search_cost: In trainings of one architecture.
        page: Address of its own report, or "".
    """

    row: Row
    over_modality: Interval | None
    over_late: Interval | None
    over_control: Interval | None
    strategy: str
    space: str
    search_seconds: float
    search_cost: float
    page: str

    @property
    def kind(self) -> str:
        """What it is coloured by: the search."""
        return f"{self.strategy} in {self.space}"


@dataclass(frozen=True)
class Group:
    """Runs whose scores may be compared: of the same data and metric, the best one first."""

    title: str
    metric: str
    runs: tuple[Compared, ...]

    def in_words(self) -> str:
        """Which run scores best, and which ones these intervals do not set apart from it."""
        best, *others = self.runs
        score = best.row.score
        low, mean, high = (score_text(value, self.metric) for value in (score.low, score.mean, score.high))
        reached = f"{with_unit(mean, self.metric)} ({low} to {high})"
        told = f"{best.row.name} has the best {metric_name(self.metric)}, {reached}"
        alike = [run.row.name for run in others if run.row.score.low <= score.high and score.low <= run.row.score.high]
        if not others:
            return f"{told}; no other run is of the same data and metric."
        if not alike:
            return f"{told}, and its interval lies apart from all others."
        return f"{told}, but its interval overlaps with that of {', '.join(alike)}: this does not tell them apart."


def groups(summaries: Mapping[str, Summary], pages: Mapping[str, str]) -> tuple[Group, ...]:
    """Runs in groups of the same data, by fingerprint, and metric; a score is never held against one of another kind.

    Args:
        summaries: Name of a run to its summary.
        pages: Name of a run to the address of its own report.
    """
    found: dict[tuple[str, str, str], list[Compared]] = {}
    senses = {}
    for name, summary in summaries.items():
        data, metric = summary.data, summary.metric
        key = (clean(data.name or "unnamed data"), clean(data.fingerprint), metric)
        found.setdefault(key, []).append(_compared(name, summary, pages.get(name, "")))
        senses[metric] = summary.sense
    names = Counter(name for name, _, _ in found)
    return tuple(
        Group(name if names[name] == 1 else f"{name} ({fingerprint})", metric, _ordered(runs, senses[metric]))
        for (name, fingerprint, metric), runs in found.items()
    )


def _compared(name: str, summary: Summary, page: str) -> Compared:
    rows = leaderboard_rows(summary)
    strategy, space = clean(summary.strategy), clean(summary.search.space)

    def best(kind: str) -> Row | None:
        some = [row for row in rows if row.kind == kind and not math.isnan(row.architecture_score)]
        return max(some, key=lambda row: summary.sense * row.architecture_score, default=None)

    modality, control = best("modality"), best("control")
    late = next((row for row in rows if row.kind == "late"), None)
    words = clean(summary.in_words, 400)
    return Compared(
        row=replace(summary.found, name=clean(name), in_words=words, difference=None),
        over_modality=modality.difference if modality else None,
        over_late=late.difference if late else None,
        over_control=control.difference if control else None,
        strategy=strategy,
        space=space,
        search_seconds=summary.search.search_seconds,
        search_cost=summary.search_cost,
        page=page,
    )


def _ordered(runs: Sequence[Compared], sense: int) -> tuple[Compared, ...]:
    """The best first, one without a score last."""
    return tuple(
        sorted(runs, key=lambda run: math.inf if math.isnan(run.row.score.mean) else -sense * run.row.score.mean)
    )
