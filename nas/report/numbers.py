"""Numbers and names as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from nas.metrics import METRICS
from nas.statistics import Interval
from nas.summary import SearchedNode

PERCENT_METRICS = tuple(name for name, metric in METRICS.items() if metric.percent)


def number(value: Any) -> float:
    """A finite float, or NaN for whatever is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if math.isfinite(value) else math.nan


def clean(text: Any, limit: int = 120) -> str:
    """Text for a label: one line, printable, of bounded length."""
    line = "".join(c if c.isprintable() else " " for c in str(text)[: limit + 1])
    return line if len(line) <= limit else line[: limit - 1] + "…"


def node_titles(nodes: Iterable[SearchedNode]) -> dict[str, str]:
    """What people call each fusion node: "depth 1" for "fusion1" of the default space."""
    return {node.name: clean(node.title or node.name) for node in nodes}


def active_words(words: str) -> str:
    """An architecture in words without the depths at which it does nothing, unless it does nothing at all."""
    active = [step for step in words.split("; ") if not step.endswith(": nothing")]
    return "; ".join(active) or words


def metric_words(metric: str) -> str:
    """A metric's name for people, with its unit."""
    if metric not in METRICS:
        return metric.replace("_", " ")
    return METRICS[metric].title + (", %" if METRICS[metric].percent else "")


def metric_name(metric: str) -> str:
    """Likewise without its unit."""
    return metric_words(metric).split(",")[0]


def with_unit(text: str, metric: str) -> str:
    """A score as `score_text` has it, such as "91.2 %"."""
    return f"{text} %" if metric in PERCENT_METRICS else text


def scale(metric: str) -> float:
    """What a score is multiplied with before it is shown."""
    return 100.0 if metric in PERCENT_METRICS else 1.0


def score_text(value: float, metric: str, *, signed: bool = False) -> str:
    """A score, such as "91.2" (percent) or "0.4071"; "–" if there is none."""
    if math.isnan(value):
        return "–"
    plus = "+" if signed else ""
    text = format(value * scale(metric), f"{plus}.1f" if metric in PERCENT_METRICS else f"{plus}.4g")
    return text.replace("-", "−")


def range_text(low: float, high: float, metric: str, *, signed: bool = False) -> str:
    """An interval of scores, such as "89.1 to 92.4"."""
    return f"{score_text(low, metric, signed=signed)} to {score_text(high, metric, signed=signed)}"


def tone(gap: Interval | None) -> str:
    """Whether what is compared is surely "better" or "worse", or "" if neither."""
    if gap is None or not gap.excludes_zero:
        return ""
    return "better" if gap.mean > 0 else "worse"


def count_text(value: float | None) -> str:
    """A count, such as "950", "12.3 k" or "4.5 M"; "–" if there is none."""
    if value is None or math.isnan(value):
        return "–"
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}" if abs(value) < 999.5 * size else f"{value / size:.0f} {unit}"
    return f"{value:.0f}"


def seconds_text(value: float) -> str:
    """A duration, such as "0.8 s", "4 min 12 s" or "2 h 5 min"; "–" if there is none."""
    if math.isnan(value):
        return "–"
    if value < 59.5:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"
