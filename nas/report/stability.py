"""What the section on how sure the search is shows, read from a run's summary. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.architecture import Architecture, Choice
from nas.report.numbers import clean, node_words, number
from nas.report.tables import Row, choice_label, choice_modalities, difference_of, row_of
from nas.statistics import Interval

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
class OneSearch:
    """One of the searches.

    Attributes:
        seed: Of it.
        in_words: What it proposed.
        encoders: Mode that they were trained in.
        agreement: Mean share of nodes at which it agrees with another search; NaN if unknown, like all that follows.
        score: Of what it proposed on the test split.
        late_score: Of late fusion with the same seed.
        multiply_adds: Of what it proposed.
        seconds: Of the search.
        is_consensus: Whether its architecture stands for all.
    """

    seed: str
    in_words: str
    encoders: str
    agreement: float
    score: float
    late_score: float
    multiply_adds: float
    seconds: float
    is_consensus: bool


@dataclass(frozen=True)
class Sureness:
    """How sure the search is.

    Attributes:
        metric: Of the scores.
        num_distinct: How many different architectures were proposed.
        agreement: Mean share of nodes at which two searches agree; NaN if unknown, like the next two.
        chance_agreement: The same by chance.
        kappa: The agreement beyond chance.
        consensus_seed: Of the search whose architecture stands for all.
        searches: Each of them.
        nodes: What was chosen at each fusion node.
        usage: Heading to (name, how many searches) for modalities, depths and interaction orders.
        rows: Scores over searches of what was proposed, and of late fusion if the space names it.
        difference: How much better the proposals are than late fusion, paired; None if unknown.
    """

    metric: str
    num_distinct: int
    agreement: float
    chance_agreement: float
    kappa: float
    consensus_seed: str
    searches: tuple[OneSearch, ...]
    nodes: tuple[NodeCounts, ...]
    usage: Mapping[str, tuple[tuple[str, int], ...]]
    rows: tuple[Row, ...]
    difference: Interval | None


def sureness(summary: Mapping[str, Any], *, max_rows: int = MAX_ROWS) -> Sureness | None:
    """Reads the summary's `stability`, or None if the run has but one search.

    Args:
        summary: Of the run.
        max_rows: Choices of a node that have a row of their own.
    """
    told = summary.get("stability")
    if told is None:
        return None
    consensus = told["searches"][told["seeds"].index(told["consensus_seed"])]
    chosen = {step.name: step.choice for step in Architecture.from_dict(consensus["architecture"]).steps}
    names = {"found": "proposed by each search", "late": "late fusion"}
    return Sureness(
        metric=str(told["metric"]),
        num_distinct=int(told["num_distinct"]),
        agreement=number(told["agreement"]),
        chance_agreement=number(told["chance_agreement"]),
        kappa=number(told["kappa"]),
        consensus_seed=clean(told["consensus_seed"], 20),
        searches=tuple(_search(one, is_consensus=one is consensus) for one in told["searches"]),
        nodes=tuple(_node(node, chosen.get(str(node["node"])), max_rows) for node in told["choices"]),
        usage={
            "modalities": _counts(told["modalities"]),
            "depths": tuple((f"depth {d}", c) for d, c in _counts(told["depths"])),
            "highest interaction": tuple(
                (_ORDERS.get(o, f"order {o}"), c) for o, c in _counts(told["interaction_orders"])
            ),
        },
        rows=tuple(row_of({"name": names[key], "kind": key, **told[key]}) for key in names if told[key] is not None),
        difference=difference_of(told["difference"]),
    )


_ORDERS = {"0": "none", "1": "additive", "2": "multiplicative", "3": "nonlinear"}


def _counts(values: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    return tuple((clean(name), int(count)) for name, count in values.items())


def _search(values: Mapping[str, Any], *, is_consensus: bool) -> OneSearch:
    return OneSearch(
        seed=clean(values["seed"], 20),
        in_words=clean(values["in_words"], 400),
        encoders=clean(values["encoders"], 20),
        agreement=number(values["agreement"]),
        score=number(values["score"]),
        late_score=number(values["late_score"]),
        multiply_adds=number(values["multiply_adds"]),
        seconds=number(values["search_seconds"]),
        is_consensus=is_consensus,
    )


def _node(node: Mapping[str, Any], chosen: Choice | None, max_rows: int) -> NodeCounts:
    counts = [
        ChoiceCount(choice_label(choice), choice_modalities(choice), int(choice["count"]), _is_same(choice, chosen))
        for choice in node["choices"]
    ]
    if len(counts) > max_rows + 1:
        kept = sorted(range(len(counts)), key=lambda i: (not counts[i].is_consensus, i))[:max_rows]
        rest = [count for i, count in enumerate(counts) if i not in kept]
        counts = [counts[i] for i in sorted(kept)]
        counts.append(ChoiceCount(f"{len(rest)} others", (), sum(count.count for count in rest), is_consensus=False))
    return NodeCounts(node_words(node["node"]), tuple(counts))


def _is_same(choice: Mapping[str, Any], chosen: Choice | None) -> bool:
    if chosen is None:  # the node is no step of what was found
        return not choice["inputs"]
    return Choice(str(choice["operation"]), tuple(map(str, choice["inputs"]))) == chosen


def stability_table(sure: Sureness) -> Iterator[Sequence[Any]]:
    """The numbers behind the figure: rows of (part, of what, what, value)."""
    for node in sure.nodes:
        for choice in node.choices:
            yield "choices", node.node, choice.label, choice.count
    for row in sure.rows:
        for search, score in zip(sure.searches, row.scores, strict=True):
            yield "scores", row.name, f"search of seed {search.seed}", score
        for key in ("mean", "low", "high"):
            yield "scores", row.name, key, getattr(row.score, key)
