"""The page: everything on it prepared as plain values, then one template."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup

from nas.architecture import Architecture
from nas.encoders.preprocessing import PREPROCESSING
from nas.report.diagnosis import cures_of, diagnosis_of
from nas.report.film import Film
from nas.report.frame import fill
from nas.report.mistakes import confusion
from nas.report.numbers import (
    PERCENT_METRICS,
    active_words,
    clean,
    count_text,
    metric_name,
    metric_words,
    number,
    range_text,
    score_text,
    seconds_text,
    tone,
    with_unit,
)
from nas.report.stability import Sureness, sureness
from nas.report.standings import Standings, standings
from nas.report.style import GROUPS, modality_colours
from nas.report.tables import Row, leaderboard_rows
from nas.report.verdict import recorded_verdict


def render(summary: Mapping[str, Any], figures: Mapping[str, Markup], film: Film | None = None) -> str:
    """The page as HTML that needs nothing from anywhere.

    Args:
        summary: The run's summary.
        figures: Name to what `inline_svg` made of it.
        film: Of the search, if there is one.
    """
    metric = str(summary["metric"])
    rows = leaderboard_rows(summary)
    verdict = recorded_verdict(summary)
    words = clean(summary.get("in_words") or "", 2000)
    sure = sureness(summary)
    return fill(
        "page.html.j2",
        scripts=("tips.js", "film.js") if film else ("tips.js",),
        figures=figures,
        film=film,
        colours=modality_colours([str(name) for name in summary["depths"]]),
        headline=verdict.headline if verdict else words or "A run of fusenas",
        sentences=verdict.sentences if verdict else (),
        data_name=clean(summary["data"].get("name") or "unnamed data"),
        steps=[clean(step, 400) for step in _steps(summary, words)],
        space_words=_space_words(summary),
        facts=_facts(summary, rows, metric, sure),
        metric_words=metric_words(metric),
        metric_name=metric_name(metric),
        difference_unit="points" if metric in PERCENT_METRICS else metric_words(metric),
        groups=_groups(rows, metric),
        tournament=_tournament(standings(summary), metric),
        told=diagnosis_of(summary),
        cures=cures_of(summary),
        sure=_sure(sure) if sure is not None else None,
        matrix=confusion(summary),
        is_regression=summary["data"].get("task") == "regression",
        is_classes=summary["data"].get("task") == "classification",
        num_seeds=len(summary.get("seeds") or []),
        pareto=_pareto(summary),
        missing=_missing(summary, metric),
        calibrated=calibrated(summary),
        left_out=[clean(words, 200) for words in summary.get("left_out") or []],
        repeat=_repeat(summary),
        command=clean(summary.get("command") or "", 2000),
        guards=clean((summary.get("guards") or {}).get("in_words") or "", 1000),
        data=_data(summary["data"]),
    )


def _steps(summary: Mapping[str, Any], words: str) -> list[str]:
    """The architecture in words, a step each."""
    if summary["architecture"].get("gate"):
        return Architecture.from_dict(summary["architecture"]).in_lines()
    return words.split("; ") if words else []


def _space_words(summary: Mapping[str, Any]) -> str:
    """How large the space is, in a sentence."""
    choices = [len(node["choices"]) for node in summary.get("nodes") or []]
    if any("fusion nodes" in words for words in summary.get("left_out") or []):
        return f"Its first {len(choices)} fusion nodes have {math.prod(choices):,} architectures."
    return f"{len(choices)} fusion nodes with {math.prod(choices):,} architectures in all."


def _facts(
    summary: Mapping[str, Any], rows: Sequence[Row], metric: str, sure: Sureness | None
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
    if found is not None and found.multiply_adds > 0:
        facts.append(("multiply-adds", count_text(found.multiply_adds), f"{count_text(found.parameters)} parameters"))
    cost = number(summary.get("search_cost"))
    seconds = seconds_text(number(summary.get("search_seconds")))
    what = "the search took" if sure is None else f"{len(sure.searches)} searches took"
    facts.append((what, seconds, f"as long as {cost:.1f} trainings" if not math.isnan(cost) else ""))
    if sure is not None:
        facts.append(
            (
                "two searches agree on",
                _share(sure.agreement),
                f"of the nodes; by chance {_share(sure.chance_agreement)}",
            )
        )
    return facts


def _best_modality(summary: Mapping[str, Any], rows: Sequence[Row]) -> Row | None:
    """The one that the verdict compares with, or else the best one on the architecture split."""
    told = summary.get("verdict")
    against = told["against"] if isinstance(told, Mapping) else ""
    sense = 1 if summary["higher_is_better"] else -1
    alone = [row for row in rows if row.kind == "modality" and not math.isnan(row.architecture_score)]
    if any(row.same_as_found for row in alone):  # a network has no gain over itself
        return None
    return max(alone, key=lambda row: (row.name == against, sense * row.architecture_score), default=None)


def _missing(summary: Mapping[str, Any], metric: str) -> list[tuple[str, str]]:
    """For every modality what is left of the score, and at which cost, where no sample has it."""
    found = (summary.get("dynamic") or {}).get("missing") or {}
    told = []
    for name, one in found.items():
        reached = f"{metric_name(metric)} {with_unit(score_text(number(one['score']), metric), metric)}"
        cost = f"{count_text(number(one['multiply_adds']))} multiply-adds"
        forced = "" if one.get("does_without", True) else "; no route does without it, so zeros are read in its place"
        told.append((f"without {clean(name)}", f"{reached}, {cost}{forced}"))
    return told


def _groups(rows: Sequence[Row], metric: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Rows of the table under the heading of their kind."""
    groups = groupby(rows, key=lambda row: GROUPS.get(row.kind, row.kind))
    return [(heading, [_cells(row, metric) for row in members]) for heading, members in groups]


def _cells(row: Row, metric: str) -> dict[str, Any]:
    """What the leaderboard table shows of one row; `tone` says whether found is surely better or worse."""
    interval = "" if row.score.low == row.score.high else range_text(row.score.low, row.score.high, metric)
    gap = row.difference
    return {
        "name": row.name,
        "in_words": active_words(row.in_words),
        "is_found": row.kind == "found",
        "mean": score_text(row.score.mean, metric),
        "interval": "" if math.isnan(row.score.mean) else interval,
        "same_as_found": row.same_as_found,
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
        "some_are_ahead": any(row.behind < 0 for row in told.rows),
        "rows": [
            {
                "name": row.name,
                "in_words": active_words(row.in_words),
                "is_winner": row.is_winner,
                "is_own": row.is_own,
                "held_out": score_text(row.held_out, metric),
                "behind": "won" if row.is_winner else _errors(row.behind),
            }
            for row in told.rows
        ],
    }


def calibrated(summary: Mapping[str, Any]) -> str:
    """How far the probabilities of the kept network may be believed, in a sentence or two; "" if that is not known."""
    told = summary.get("calibration") or {}
    temperature, before, after = (number(told.get(key)) for key in ("temperature", "error_before", "error_after"))
    if math.isnan(temperature + before + after):
        return ""
    return (
        "On the test split the confidence of the network and the share of its right answers differ by "
        f"{100 * before:.1f} points on average (expected calibration error). fusenas predict divides logits by a "
        f"temperature of {temperature:.2f}, fitted on held-out training data; after that they differ by "
        f"{100 * after:.1f} points."
    )


def _errors(behind: float) -> str:
    """A number of standard errors."""
    return "–" if math.isnan(behind) else f"{behind + 0.0:.1f}".replace("-0.0", "0.0").replace("-", "−")


def _sure(sure: Sureness) -> dict[str, Any]:
    """What the section on how sure the search is shows."""
    metric = sure.metric
    gap = sure.difference
    spreads = [
        {
            "name": row.name,
            "is_found": row.kind == "found",
            "mean": score_text(row.score.mean, metric),
            "interval": range_text(row.score.low, row.score.high, metric),
            "min": score_text(min(row.scores), metric),
            "max": score_text(max(row.scores), metric),
        }
        for row in sure.rows
    ]
    searches = [
        {
            "seed": one.seed,
            "is_consensus": one.is_consensus,
            "in_words": active_words(one.in_words),
            "agreement": _share(one.agreement),
            "score": score_text(one.score, metric),
            "late_score": score_text(one.late_score, metric),
            "multiply_adds": count_text(one.multiply_adds),
            "seconds": seconds_text(one.seconds),
            "encoders": one.encoders,
        }
        for one in sure.searches
    ]
    return {
        "num_searches": len(sure.searches),
        "num_distinct": sure.num_distinct,
        "agreement": _share(sure.agreement),
        "chance_agreement": _share(sure.chance_agreement),
        "kappa": "" if math.isnan(sure.kappa) else f"{sure.kappa:.2f}".replace("-", "−"),
        "consensus_seed": sure.consensus_seed,
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


def _pareto(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What nothing that the search tried beats in both: (architecture in words, loss, multiply-adds)."""
    return [
        (
            active_words(clean(row.get("in_words") or "", 400)),
            score_text(number(row.get("loss")), "loss"),
            count_text(number(row.get("multiply_adds"))),
        )
        for row in summary.get("pareto") or []
    ]


def _data(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the data are, for the list at the end."""
    splits = ", ".join(f"{clean(n)} {clean(name)}" for name, n in (data.get("splits") or {}).items())
    modalities = []
    for name, info in (data.get("modalities") or {}).items():
        present = number(info.get("present_share"))
        missing = f", present in {100 * present:.0f} %" if present < 1 else ""
        modalities.append(f"{clean(name)} ({clean(info.get('kind') or 'unknown')}{missing})")
    known = [
        ("task", clean(data.get("task") or "")),
        ("modalities", ", ".join(modalities)),
        ("samples", splits),
        ("fingerprint", clean(data.get("fingerprint") or "")),
    ]
    return [(key, value) for key, value in known if value]


def _preprocessing(chosen: object) -> str:
    """What is done with a modality beside standardizing it, in words; "" if nothing is."""
    return PREPROCESSING[chosen][1] if isinstance(chosen, str) and chosen in PREPROCESSING else ""


def _repeat(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What one needs to know to repeat the run."""
    versions = ", ".join(f"{clean(name)} {clean(version)}" for name, version in (summary.get("versions") or {}).items())
    total = number(summary.get("total_seconds"))
    loss = number(summary.get("discretization_loss"))
    shown = (summary.get("preprocessing") or {}).items()
    more = [f"{clean(name)}: {words}" for name, told in shown if (words := _preprocessing(told.get("chosen")))]
    known = [
        ("space", clean(summary.get("space") or "")),
        ("strategy", clean(summary.get("strategy") or "")),
        ("discretization", clean(summary.get("discretization") or "")),
        ("loss of discretization", "" if math.isnan(loss) else f"{loss:+.4g}".replace("-", "−")),
        ("encoders", clean(summary.get("encoders") or "")),
        ("preprocessing", ", ".join(more) or ("standardized" if shown else "")),
        ("objective", clean(summary.get("objective") or "")),
        ("seed of the search", clean(summary.get("seed", ""))),
        (
            "seeds of all searches",
            ", ".join(clean(seed, 20) for seed in (summary.get("stability") or {}).get("seeds") or []),
        ),
        ("seeds of the trainings", ", ".join(clean(seed, 20) for seed in summary.get("seeds") or [])),
        ("commit", clean(summary.get("commit") or "")),
        ("versions", versions),
        ("device", clean(summary.get("device") or "")),
        ("hardware", clean(summary.get("hardware") or "", 300)),
        ("started at", clean(summary.get("started_at") or "")),
        ("took", "" if math.isnan(total) else seconds_text(total)),
    ]
    return [(key, value) for key, value in known if value]
