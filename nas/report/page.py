"""The page: everything on it prepared as plain values, then one template."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup

from nas.encoders.preprocessing import PREPROCESSING
from nas.report.animation import Animation
from nas.report.attention import lookings, samples_in_words
from nas.report.diagnosis import cures_of, diagnosis_of
from nas.report.frame import fill
from nas.report.mistakes import confusion
from nas.report.numbers import (
    PERCENT_METRICS,
    active_words,
    clean,
    count_text,
    metric_name,
    metric_words,
    range_text,
    score_text,
    seconds_text,
    tone,
    with_unit,
)
from nas.report.stability import SPREADS, SearchesAgreement, agreement_of_searches
from nas.report.standings import Standings, standings
from nas.report.style import GROUPS, modality_colours
from nas.report.tables import leaderboard_rows
from nas.report.verdict import recorded_verdict
from nas.report.words import capital
from nas.summary import DataDescription, Row, Summary


def render(
    summary: Summary, figures: Mapping[str, Markup], animation: Animation | None = None, left_out: Sequence[str] = ()
) -> str:
    """The page as HTML that needs nothing from anywhere.

    Args:
        summary: The run's summary.
        figures: Name to what `inline_svg` made of it.
        animation: Of the search, if there is one.
        left_out: Sentences on what is not drawn; see `nas.report.extent`.
    """
    metric = summary.metric
    rows = leaderboard_rows(summary)
    verdict = recorded_verdict(summary)
    words = clean(summary.in_words, 2000)
    sure = agreement_of_searches(summary)
    return fill(
        "page.html.j2",
        scripts=("tooltips.js", "animation.js") if animation else ("tooltips.js",),
        figures=figures,
        animation=animation,
        colours=modality_colours(list(summary.search.depths)),
        headline=verdict.headline if verdict else words or "A run of fusenas",
        sentences=verdict.sentences if verdict else (),
        data_name=clean(summary.data.name or "unnamed data"),
        steps=[clean(step, 400) for step in _steps(summary, words)],
        space_words=_space_words(summary, left_out),
        facts=_facts(summary, rows, metric, sure),
        metric_words=metric_words(metric),
        metric_name=metric_name(metric),
        difference_unit="points" if metric in PERCENT_METRICS else metric_words(metric),
        groups=_groups(summary, rows),
        tournament=_tournament(standings(summary), metric),
        told=diagnosis_of(summary),
        cures=cures_of(summary),
        sure=_sure(sure) if sure is not None else None,
        matrix=confusion(summary),
        looking=lookings(summary),
        looked_at=samples_in_words(summary),
        not_looked_at=summary.attention.left_out if summary.attention else 0,
        is_regression=summary.data.task == "regression",
        is_classes=summary.data.task == "classification",
        num_seeds=len(summary.seeds),
        pareto=_pareto(summary),
        missing=_missing(summary, metric),
        calibrated=calibrated(summary),
        left_out=[clean(words, 200) for words in left_out],
        no_time_for=[clean(words, 200) for words in summary.left_out],
        on_fewer=[capital(clean(words, 200)) for words in summary.on_fewer],
        repeat=_repeat(summary),
        command=clean(summary.provenance.command, 2000),
        guards=clean(summary.search.guards.in_words, 1000) if summary.search.guards else "",
        data=_data(summary.data),
    )


def _steps(summary: Summary, words: str) -> list[str]:
    """The architecture in words, a step each."""
    if summary.architecture.gating is not None:
        return summary.architecture.in_lines()
    return words.split("; ") if words else []


def _space_words(summary: Summary, left_out: Sequence[str]) -> str:
    """How large the space is, in a sentence."""
    choices = [len(node.choices) for node in summary.search.nodes]
    if any("fusion nodes" in words for words in left_out):
        return f"Its first {len(choices)} fusion nodes have {math.prod(choices):,} architectures."
    return f"{len(choices)} fusion nodes with {math.prod(choices):,} architectures in all."


def _facts(
    summary: Summary, rows: Sequence[Row], metric: str, sure: SearchesAgreement | None
) -> list[tuple[str, str, str]]:
    """The few numbers to remember: (what, number, how sure or of what)."""
    facts = []
    found = next((row for row in rows if row.kind == "found"), None)
    if found is not None and not math.isnan(found.score.mean):
        low, high = score_text(found.score.low, metric), score_text(found.score.high, metric)
        what = f"{metric_name(metric)} of the found network"
        facts.append((what, with_unit(score_text(found.score.mean, metric), metric), f"{low} to {high}"))
    modality = _best_modality(summary, rows)
    if modality is not None and modality.difference is not None:
        gap = modality.difference
        low, high = (score_text(value, metric, signed=True) for value in (gap.low, gap.high))
        gain = score_text(gap.mean, metric, signed=True)
        points = " points" if metric in PERCENT_METRICS else ""
        facts.append((f"gain over {modality.name} alone", f"{gain}{points}", f"{low} to {high}"))
    if found is not None and found.multiply_adds:
        facts.append(("multiply-adds", count_text(found.multiply_adds), f"{count_text(found.parameters)} parameters"))
    cost, seconds = summary.search_cost, seconds_text(summary.search.search_seconds)
    what = "the search took" if sure is None else f"{len(sure.told.searches)} searches took"
    facts.append((what, seconds, f"as long as {cost:.1f} trainings" if not math.isnan(cost) else ""))
    if sure is not None:
        facts.append(
            (
                "two searches agree on",
                _share(sure.told.agreement),
                f"of the nodes; by chance {_share(sure.told.chance_agreement)}",
            )
        )
    return facts


def _best_modality(summary: Summary, rows: Sequence[Row]) -> Row | None:
    """The one that the verdict compares with, or else the best one on the architecture split."""
    against = summary.verdict.against if summary.verdict else ""
    single = [row for row in rows if row.kind == "modality" and not math.isnan(row.architecture_score)]
    if any(summary.is_found_again(row) for row in single):  # a network has no gain over itself
        return None
    return max(single, key=lambda row: (row.name == against, summary.sense * row.architecture_score), default=None)


def _missing(summary: Summary, metric: str) -> list[tuple[str, str]]:
    """For every modality what is left of the score, and at which cost, where no sample has it."""
    found = summary.dynamic.missing if summary.dynamic else {}
    told = []
    for name, one in found.items():
        reached = f"{metric_name(metric)} {with_unit(score_text(one.score, metric), metric)}"
        cost = f"{count_text(one.multiply_adds)} multiply-adds"
        forced = "" if one.does_without else "; no route does without it, so zeros are read in its place"
        told.append((f"without {clean(name)}", f"{reached}, {cost}{forced}"))
    return told


def _groups(summary: Summary, rows: Sequence[Row]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Rows of the table under the heading of their kind."""
    groups = groupby(rows, key=lambda row: GROUPS.get(row.kind, row.kind))
    return [(heading, [_cells(row, summary) for row in members]) for heading, members in groups]


def _cells(row: Row, summary: Summary) -> dict[str, Any]:
    """What the leaderboard table shows of one row; `tone` says whether found is surely better or worse."""
    metric = summary.metric
    interval = "" if row.score.low == row.score.high else range_text(row.score.low, row.score.high, metric)
    gap = row.difference
    return {
        "name": row.name,
        "in_words": active_words(row.in_words),
        "is_found": row.kind == "found",
        "mean": score_text(row.score.mean, metric),
        "interval": "" if math.isnan(row.score.mean) else interval,
        "same_as_found": summary.is_found_again(row),
        "difference": "" if gap is None else score_text(gap.mean, metric, signed=True),
        "difference_interval": "" if gap is None else range_text(gap.low, gap.high, metric, signed=True),
        "tone": tone(gap),
        "parameters": count_text(row.parameters),
        "multiply_adds": count_text(row.multiply_adds),
        "train_seconds": seconds_text(row.train_seconds),
    }


def _tournament(told: Standings | None, metric: str) -> dict[str, Any] | None:
    """What the section on how the winner was chosen shows."""
    if told is None or not told.rows:
        return None
    return {
        "winner": told.winner,
        "prefers_simple": told.prefers_simple,
        "changed_the_answer": told.changed_the_answer,
        "some_are_ahead": any(row.errors_behind < 0 for row in told.rows),
        "rows": [
            {
                "name": row.name,
                "in_words": active_words(row.in_words),
                "is_winner": row.is_winner,
                "is_own": row.is_own,
                "held_out": score_text(row.held_out, metric),
                "errors_behind": "won" if row.is_winner else _errors(row.errors_behind),
            }
            for row in told.rows
        ],
    }


def calibrated(summary: Summary) -> str:
    """How far the probabilities of the kept network may be believed, in a sentence or two; "" if that is not known."""
    told = summary.calibration
    if told is None:
        return ""
    return (
        "On the test split the confidence of the network and the share of its right answers differ by "
        f"{100 * told.error_before:.1f} points on average (expected calibration error). fusenas predict divides logits "
        f"by a temperature of {told.temperature:.2f}, fitted on held-out training data; after that they differ by "
        f"{100 * told.error_after:.1f} points."
    )


def _errors(errors_behind: float) -> str:
    """A number of standard errors."""
    return "–" if math.isnan(errors_behind) else f"{errors_behind + 0.0:.1f}".replace("-0.0", "0.0").replace("-", "−")


def _sure(sure: SearchesAgreement) -> dict[str, Any]:
    """What the section on how sure the search is shows."""
    told, metric, gap = sure.told, sure.told.metric, sure.difference
    spreads = [
        {
            "name": SPREADS[kind],
            "is_found": kind == "found",
            "mean": score_text(spread.score.mean, metric),
            "interval": range_text(spread.score.low, spread.score.high, metric),
            "min": score_text(min(spread.scores), metric),
            "max": score_text(max(spread.scores), metric),
        }
        for kind, spread in sure.spreads.items()
    ]
    searches = [
        {
            "seed": one.seed,
            "is_consensus": one is told.consensus,
            "in_words": active_words(clean(one.in_words, 400)),
            "agreement": _share(one.agreement),
            "score": score_text(one.score, metric),
            "late_score": score_text(one.late_score, metric),
            "multiply_adds": count_text(one.multiply_adds),
            "seconds": seconds_text(one.search_seconds),
            "encoders": clean(one.encoders, 20),
        }
        for one in told.searches
    ]
    return {
        "num_searches": len(told.searches),
        "num_distinct": told.num_distinct,
        "agreement": _share(told.agreement),
        "chance_agreement": _share(told.chance_agreement),
        "kappa": "" if math.isnan(told.kappa) else f"{told.kappa:.2f}".replace("-", "−"),
        "consensus_seed": told.consensus_seed,
        "metric_words": metric_words(metric),
        "metric_name": metric_name(metric),
        "is_percent": metric in PERCENT_METRICS,
        "spreads": spreads,
        "difference": "" if gap is None else score_text(gap.mean, metric, signed=True),
        "difference_interval": "" if gap is None else range_text(gap.low, gap.high, metric, signed=True),
        "tone": tone(gap),
        "searches": searches,
        "usage": [
            (what, ", ".join(f"{name}: {count}" for name, count in counts)) for what, counts in sure.usage.items()
        ],
    }


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.0f} %"


def _pareto(summary: Summary) -> list[tuple[str, str, str]]:
    """What nothing that the search tried beats in both: (architecture in words, loss, multiply-adds)."""
    return [
        (active_words(clean(row.in_words, 400)), score_text(row.loss, "loss"), count_text(row.multiply_adds))
        for row in summary.search.pareto
    ]


def _data(data: DataDescription) -> list[tuple[str, str]]:
    """What the data are, for the list at the end."""
    splits = ", ".join(f"{n} {clean(name)}" for name, n in data.splits.items())
    modalities = []
    for name, info in data.modalities.items():
        missing = f", present in {100 * info.present_share:.0f} %" if info.present_share < 1 else ""
        modalities.append(f"{clean(name)} ({info.kind}{missing})")
    known = [
        ("task", data.task),
        ("modalities", ", ".join(modalities)),
        ("samples", splits),
        ("fingerprint", clean(data.fingerprint)),
    ]
    return [(key, value) for key, value in known if value]


def _repeat(summary: Summary) -> list[tuple[str, str]]:
    """What one needs to know to repeat the run."""
    search, origin = summary.search, summary.provenance
    versions = ", ".join(f"{clean(name)} {clean(version)}" for name, version in origin.versions.items())
    loss = search.discretization_loss
    more = [
        f"{clean(name)}: {PREPROCESSING[told.chosen][1]}"
        for name, told in summary.preprocessing.items()
        if told.chosen in PREPROCESSING
    ]
    known = [
        ("space", clean(search.space)),
        ("strategy", clean(summary.strategy)),
        ("discretization", clean(search.discretization or "")),
        ("loss of discretization", "" if math.isnan(loss) else f"{loss:+.4g}".replace("-", "−")),
        ("encoders", clean(summary.encoders)),
        ("preprocessing", ", ".join(more) or ("standardized" if summary.preprocessing else "")),
        ("objective", clean(summary.objective)),
        ("seed of the search", str(search.seed)),
        ("seeds of all searches", ", ".join(map(str, summary.stability.seeds if summary.stability else ()))),
        ("seeds of the trainings", ", ".join(map(str, summary.seeds))),
        ("commit", clean(origin.commit or "")),
        ("versions", versions),
        ("device", clean(summary.device)),
        ("hardware", clean(origin.hardware, 300)),
        ("started at", clean(origin.started_at)),
        ("took", seconds_text(summary.total_seconds)),
    ]
    return [(key, value) for key, value in known if value]
