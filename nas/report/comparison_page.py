"""The page that holds several runs side by side: everything on it prepared as plain values, then one template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nas.report.comparison import Compared, Group
from nas.report.frame import fill
from nas.report.numbers import active_words, count_text, metric_words, range_text, score_text, seconds_text, tone
from nas.statistics import Interval


def render_comparison(groups: Sequence[Group], figures: Mapping[str, Markup]) -> str:
    """The page as HTML that needs nothing from anywhere.

    Args:
        groups: Of runs that may be compared.
        figures: Name to what `inline_svg` made of it; "scores-1" and "cost-1" are of the first group.
    """
    return fill(
        "comparison.html.j2",
        figures=figures,
        num_runs=sum(len(group.runs) for group in groups),
        groups=[
            {
                "title": group.title,
                "in_words": group.in_words(),
                "metric_words": metric_words(group.metric),
                "is_percent": metric_words(group.metric).endswith("%"),
                "scores": f"scores-{place}",
                "cost": f"cost-{place}",
                "runs": [_cells(run, group.metric) for run in group.runs],
            }
            for place, group in enumerate(groups, start=1)
        ],
    )


def _cells(run: Compared, metric: str) -> dict[str, Any]:
    row = run.row
    return {
        "name": row.name,
        "page": run.page,
        "in_words": active_words(row.in_words),
        "strategy": run.strategy,
        "space": run.space,
        "mean": score_text(row.score.mean, metric),
        "interval": range_text(row.score.low, row.score.high, metric),
        "gaps": [_gap(gap, metric) for gap in (run.over_modality, run.over_late, run.over_control)],
        "multiply_adds": count_text(row.multiply_adds),
        "parameters": count_text(row.parameters),
        "seconds": seconds_text(run.search_seconds),
        "cost": f"{run.search_cost:.1f} trainings" if run.search_cost >= 0 else "",
    }


def _gap(gap: Interval | None, metric: str) -> dict[str, str] | None:
    if gap is None:
        return None
    interval = range_text(gap.low, gap.high, metric, signed=True)
    return {"mean": score_text(gap.mean, metric, signed=True), "interval": interval, "tone": tone(gap)}
