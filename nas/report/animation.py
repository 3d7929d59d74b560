"""The search as an animation: what each of its moments shows. It is drawn by `animation.js` on the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.report.numbers import clean, count_text, node_titles, number, score_text, seconds_text
from nas.report.tables import HeatMap, heat_maps
from nas.summary import Summary

GUARDS = {
    "none_share": "weight on nothing",
    "nothing_nodes": "nodes that prefer nothing",
    "eigenvalue": "dominant eigenvalue",
    "discretization": "loss of discretizing",
}


@dataclass(frozen=True)
class Animation:
    """All that is shown.

    Attributes:
        nodes: Of each its rows; those that have one for all other choices have it last.
        words: What the numbers of a frame are.
        frames: For every moment its "weights", of every node and row, and its "numbers", one for each of the words.
        top: The greatest weight of a single choice at any moment: a full bar.
    """

    nodes: tuple[HeatMap, ...]
    words: tuple[str, ...]
    frames: tuple[Mapping[str, Any], ...]
    top: float


def animation(summary: Summary, metrics: Sequence[Mapping[str, Any]]) -> Animation | None:
    """The animation of a search with two records of its mixing weights or more; as many frames as a heat map at most.

    Args:
        summary: Of the run.
        metrics: Records of the one search that is shown.
    """
    records = {
        number(record.get("step")): record
        for record in metrics
        if record.get("phase") == "search" and record.get("mixing_weights")
    }
    nodes = heat_maps(
        summary.search.nodes,
        list(records.values()),
        summary.tournament.proposed if summary.tournament else None,
    )
    if not nodes or any(heat.steps != nodes[0].steps for heat in nodes) or len(nodes[0].steps) < 2:
        return None
    moments = [records[step] for step in nodes[0].steps]
    titles = node_titles(summary.search.nodes)
    told = [_numbers(record, titles) for record in moments]
    known = dict.fromkeys(word for numbers in told for word in numbers)
    words = tuple(word for word in known if any(numbers.get(word, "–") != "–" for numbers in told))
    frames = tuple(
        {
            "weights": [[_rounded(weights[at]) for weights in heat.weights] for heat in nodes],
            "numbers": [told[at].get(word, "–") for word in words],
        }
        for at in range(len(moments))
    )
    single = [w for heat in nodes for row in heat.weights[: len(heat.weights) - heat.has_others] for w in row]
    return Animation(nodes, words, frames, max((w for w in single if not math.isnan(w)), default=1.0))


def _numbers(record: Mapping[str, Any], titles: Mapping[str, str]) -> dict[str, str]:
    """What a record tells besides the weights: when it was, losses, entropy and guards."""
    found = {
        "search step": count_text(number(record.get("step"))),
        "epoch": count_text(number(record.get("epoch"))),
        "time": seconds_text(number(record.get("seconds"))),
        "training loss": score_text(number(record.get("train_loss")), "loss"),
        "held-out loss": score_text(number(record.get("architecture_loss")), "loss"),
    }
    for node, nats in (record.get("entropy") or {}).items():
        found[f"entropy at {titles.get(node, clean(node))}, nats"] = score_text(number(nats), "loss")
    for name, value in (record.get("guards") or {}).items():
        found[GUARDS.get(name, clean(name))] = score_text(number(value), "loss")
    return found


def _rounded(weight: float) -> float | None:
    return None if math.isnan(weight) else round(weight, 4)
