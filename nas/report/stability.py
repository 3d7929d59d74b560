"""What the section on how sure the search is shows, read from a run's summary. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.report.numbers import clean, node_titles
from nas.report.tables import modalities_of
from nas.space.architecture import Choice
from nas.statistics import Interval
from nas.summary import Agreement, NodeVotes, RowKind, Spread, Summary, Votes

SPREADS: Mapping[RowKind, str] = {"found": "proposed by each search", "late": "late fusion"}
"""What scores over searches are of."""

MAX_ROWS = 8
"""Choices of a node that have a row of their own; rarer ones are summed up."""


@dataclass(frozen=True)
class ChoiceCount:
    """How many searches made a choice.

    Attributes:
        label: The choice in words.
        modalities: That it reads.
        count: Of searches.
        is_consensus: Whether the architecture that stands for all makes it.
    """

    label: str
    modalities: tuple[str, ...]
    count: int
    is_consensus: bool


@dataclass(frozen=True)
class NodeCounts:
    """The choices made at one fusion node, the most frequent first."""

    node: str
    choices: tuple[ChoiceCount, ...]


@dataclass(frozen=True)
class SearchesAgreement:
    """How sure the search is.

    Attributes:
        told: By the summary.
        nodes: What was chosen at each fusion node.
        usage: Heading to (name, how many searches) for modalities, depths and interaction orders.
        spreads: Scores over searches: "found" of what was proposed, "late" of late fusion if the space names it.
        difference: How much better the proposals are than late fusion, paired; None if unknown.
    """

    told: Agreement
    nodes: tuple[NodeCounts, ...]
    usage: Mapping[str, tuple[tuple[str, int], ...]]
    spreads: Mapping[RowKind, Spread]
    difference: Interval | None


def agreement_of_searches(summary: Summary, *, max_rows: int = MAX_ROWS) -> SearchesAgreement | None:
    """Reads the summary's `stability`, or None if the run has but one search.

    Args:
        summary: Of the run.
        max_rows: Choices of a node that have a row of their own.
    """
    told = summary.stability
    if told is None:
        return None
    chosen = {step.name: step.choice for step in told.consensus.architecture.steps}
    titles = node_titles(summary.search.nodes)
    spreads: dict[RowKind, Spread | None] = {"found": told.found, "late": told.late}
    return SearchesAgreement(
        told=told,
        nodes=tuple(
            NodeCounts(titles.get(node.node, clean(node.node)), _counted(node, chosen.get(node.node), max_rows))
            for node in told.choices
        ),
        usage={
            "modalities": _counts(told.modalities),
            "depths": tuple((f"depth {d}", c) for d, c in _counts(told.depths)),
            "highest interaction": tuple(
                (_ORDERS.get(o, f"order {o}"), c) for o, c in _counts(told.interaction_orders)
            ),
        },
        spreads={kind: spread for kind, spread in spreads.items() if spread is not None},
        difference=told.difference if told.difference and told.difference.is_known else None,
    )


_ORDERS = {"0": "none", "1": "additive", "2": "multiplicative", "3": "nonlinear"}


def _counts(values: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple((clean(name), count) for name, count in values.items())


def _counted(node: NodeVotes, chosen: Choice | None, max_rows: int) -> tuple[ChoiceCount, ...]:
    counts = [
        ChoiceCount(clean(one.label), modalities_of(one.inputs), one.count, _is_same(one, chosen))
        for one in node.choices
    ]
    if len(counts) > max_rows + 1:
        kept = sorted(range(len(counts)), key=lambda i: (not counts[i].is_consensus, i))[:max_rows]
        rest = [count for i, count in enumerate(counts) if i not in kept]
        counts = [counts[i] for i in sorted(kept)]
        counts.append(ChoiceCount(f"{len(rest)} others", (), sum(count.count for count in rest), is_consensus=False))
    return tuple(counts)


def _is_same(votes: Votes, chosen: Choice | None) -> bool:
    if chosen is None:  # the node is no step of what was found
        return not votes.inputs
    return Choice(votes.operation, votes.inputs) == chosen


def stability_table(sure: SearchesAgreement) -> Iterator[Sequence[Any]]:
    """The numbers behind the figure: rows of (part, of what, what, value)."""
    for node in sure.nodes:
        for choice in node.choices:
            yield "choices", node.node, choice.label, choice.count
    for kind, spread in sure.spreads.items():
        name = SPREADS[kind]
        for seed, score in zip(sure.told.seeds, spread.scores, strict=True):
            yield "scores", name, f"search of seed {seed}", score
        for key in ("mean", "low", "high"):
            yield "scores", name, key, getattr(spread.score, key)
