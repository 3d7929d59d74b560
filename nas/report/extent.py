"""How much of a run is drawn: a part where all of it would take minutes and gigabytes, or be no picture any more.

What is left out is told on the page. Everything that is drawn is cut here, once, before anything looks at it, so that
no figure needs a limit of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nas.architecture import Architecture
from nas.report.numbers import clean
from nas.report.tables import own_records

MAX_ROWS = 60
"""Of the leaderboard, and of every other table."""

MAX_NODES = 24
MAX_MODALITIES = 24
MAX_LAYERS = 240
"""Of all modalities together."""

MAX_DEPTHS = 48
"""Layers of one modality."""

DAMAGED_DEPTHS = 1000
"""So many layers of one modality are no run's, and left to whoever tells of damage."""

MAX_WIRES = 400
"""Between taps and fusion nodes, in the drawing of the search space."""

MAX_ROUTES = 16
MAX_DRAWN_LAYERS = 1200
"""Of all routes together."""

MAX_CLASSES = 40
MAX_OUTPUTS = 8
MAX_POINTS = 2000
MAX_SEEDS = 100
MAX_TERMS = 60
MAX_RECORDS = 20_000
MAX_NAMES = 60
"""Entries of a record that are told by name, such as guards."""

MAX_TEXT = 2000
"""Characters of any text; most are cut much shorter where they are shown."""

MAX_TABLE = 10**6
"""Entries of any other list or table."""

MAX_DEPTH = 20
"""Lists and tables within one another."""

Values = dict[str, Any]


def drawable(summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> tuple[Values, list[Values]]:
    """The part of a run that is drawn.

    Args:
        summary: The run's summary.
        metrics: Its records.

    Returns:
        Both, cut; the summary has sentences on what was left out as `left_out`.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: If the summary is garbled.
    """
    found: Values = _plain(summary)
    told = found["left_out"] = []
    all_depths = {str(name): int(depth) for name, depth in found["depths"].items()}
    depths = found["depths"] = _depths(found, all_depths, told)
    _nodes(found, depths, told)
    _rows(found, "leaderboard", "rows of the leaderboard", told, first="found")
    for row in found.get("leaderboard") or []:
        row["scores"] = list(row.get("scores") or ())[:MAX_SEEDS]
    for key, words in (("pareto", "architectures that nothing beats"), ("seeds", "seeds"), ("advice", "advices")):
        _rows(found, key, words, told)
    for key in ("verdict", "advice"):
        _rows(found, key, "sentences", told)
    _data(found["data"], depths)
    _mistakes(found, told)
    _diagnosis(found.get("diagnosis") or {}, depths, told)
    tried = found.get("objectives") or {}
    for key in ("tried", "left_out"):
        _rows(tried, key, "objectives", told)
    _stability(found, told)
    _routes(found, depths, told)
    _rows(found, "versions", "versions", told)
    own = own_records(found, metrics)
    records = [_record(record, found) for record in _thinned(own, MAX_RECORDS)]
    if len(records) < len(own):
        told.append(f"{len(records):,} of {len(own):,} records")
    return found, records


def _plain(value: Any, depth: int = 0) -> Any:
    """A copy of lists, tables, numbers and texts of bounded size."""
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, Mapping | list) and depth > MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        pairs = list(value.items())[:MAX_TABLE]
        return {str(key)[:MAX_TEXT]: _plain(one, depth + 1) for key, one in pairs}
    if isinstance(value, list):
        return [_plain(one, depth + 1) for one in value]
    return value


def _rows(values: Values, key: str, words: str, told: list[str], *, first: str = "") -> None:
    """Cuts a list or table of a summary to `MAX_ROWS`; a row of the kind `first` stays."""
    rows = values.get(key)
    if not rows or len(rows) <= MAX_ROWS:
        return
    told.append(f"the first {MAX_ROWS} of {len(rows):,} {words}")
    if isinstance(rows, Mapping):
        values[key] = dict(list(rows.items())[:MAX_ROWS])
        return
    ahead = [row for row in rows if first and row.get("kind") == first][:1]
    values[key] = [*ahead, *(row for row in rows if not ahead or row is not ahead[0])][:MAX_ROWS]


def _depths(found: Values, depths: Mapping[str, int], told: list[str]) -> dict[str, int]:
    """The modalities that are drawn, those that the architecture reads before others, and how many taps of each."""
    read = {name for one in _architectures(found) for name in one.modalities()}
    ahead = sorted(depths, key=lambda name: name not in read)[:MAX_MODALITIES]
    kept = {name: depth for name, depth in depths.items() if name in set(ahead)}
    if len(kept) < len(depths):
        told.append(f"{len(kept)} of {len(depths):,} modalities, those first that the architecture reads")
    most = max(1, min(MAX_DEPTHS, MAX_LAYERS // max(1, len(kept))))
    if any(most < depth for depth in kept.values()):
        told.append(f"the first {most} layers of each encoder")
    return {name: depth if depth >= DAMAGED_DEPTHS else min(depth, most) for name, depth in kept.items()}


def _architectures(found: Values) -> Iterator[Architecture]:
    yield Architecture.from_dict(found["architecture"])
    if proposed := (found.get("tournament") or {}).get("proposed"):
        yield Architecture.from_dict(proposed)


def _is_drawn(tap: str, depths: Mapping[str, int], nodes: Iterable[str]) -> bool:
    modality, at, depth = tap.rpartition("@")
    if not at:
        return tap in nodes
    # What no modality offers is damage, which whoever draws it tells.
    return modality in depths and (not depth.isdecimal() or len(depth) > 9 or int(depth) < depths[modality])


def _nodes(found: Values, depths: Mapping[str, int], told: list[str]) -> None:
    """Cuts the fusion nodes and steps, and what they read of modalities, layers and nodes that are not drawn."""
    architecture, *others = _architectures(found)
    searched = found.get("nodes") or []
    count = max(len(searched), *(len(route.steps) for route in architecture.routes()))
    if count > MAX_NODES:
        told.append(f"the first {MAX_NODES} of {count:,} fusion nodes")
    found["nodes"] = searched[:MAX_NODES]
    if told:
        found["architecture"] = _cut(architecture, depths).to_dict()
        for other in others:
            found["tournament"]["proposed"] = _cut(other, depths).to_dict()
        names = {str(node["name"]) for node in found["nodes"]}
        for choice in (choice for node in found["nodes"] for choice in node["choices"]):
            choice["inputs"] = [tap for tap in choice["inputs"] if _is_drawn(str(tap), depths, names)]
    wires = sum(len({str(tap) for choice in node["choices"] for tap in choice["inputs"]}) for node in found["nodes"])
    if wires > MAX_WIRES:
        told.append(f"the first {MAX_WIRES} of {wires:,} wires of the search space")


def _cut(architecture: Architecture, depths: Mapping[str, int]) -> Architecture:
    """The first steps of every route, without what they read that is not drawn.

    If that leaves routes alike, what decides on them is left out.
    """
    routes = [_cut_route(route, depths) for route in architecture.routes()]
    gating = architecture.gating
    if gating is None or len(set(routes)) < len(routes):
        return routes[-1]
    return Architecture.gated(routes, [tap for tap in gating.reads if _is_drawn(tap, depths, ())] or gating.reads[:1])


def _cut_route(route: Architecture, depths: Mapping[str, int]) -> Architecture:
    names, steps = {step.name for step in route.steps[:MAX_NODES]}, []
    for step in route.steps[:MAX_NODES]:
        inputs = tuple(name for name in step.inputs if _is_drawn(name, depths, names))
        steps.append(replace(step, inputs=inputs))
    return replace(route, steps=tuple(steps), output=steps[-1].name if steps else None)


def _data(data: Values, depths: Mapping[str, int]) -> None:
    """Cuts what is told of the data."""
    data["modalities"] = {name: info for name, info in (data.get("modalities") or {}).items() if name in depths}
    for info in data["modalities"].values():
        if isinstance(info, dict):
            shapes = info.get("shapes") or []
            info["shapes"] = [shape[:6] if isinstance(shape, list) else shape for shape in shapes[:6]]
    data["splits"] = dict(list((data.get("splits") or {}).items())[:MAX_ROWS])


def _mistakes(found: Values, told: list[str]) -> None:
    """Puts classes beyond `MAX_CLASSES` into one last row and column, and cuts points."""
    mistakes = found.get("mistakes") or {}
    count = len(mistakes.get("classes") or ())
    if "counts" in mistakes and count > MAX_CLASSES + 1:
        counts = np.array(mistakes["counts"], dtype=np.int64)
        if counts.shape != (count, count):
            raise ValueError(f"mistakes has {count} classes and another number of counts")
        kept = MAX_CLASSES
        rows = np.concatenate([counts[:kept], counts[kept:].sum(axis=0, keepdims=True)])
        folded = np.concatenate([rows[:, :kept], rows[:, kept:].sum(axis=1, keepdims=True)], axis=1)
        mistakes["counts"] = folded.tolist()
        mistakes["classes"] = [*mistakes["classes"][:kept], f"{count - kept:,} others"]
        mistakes["others"] = 0
        told.append(f"the first {kept} of {count:,} classes, all others in one row and column")
    points = mistakes.get("points") or []
    if len(points) > MAX_OUTPUTS or any(len(some) > MAX_POINTS for some in points):
        mistakes["points"] = [some[:MAX_POINTS] for some in points[:MAX_OUTPUTS]]
        told.append(f"at most {MAX_OUTPUTS} outputs with {MAX_POINTS:,} points each")


def _diagnosis(diagnosis: Values, depths: Mapping[str, int], told: list[str]) -> None:
    """Cuts what is told of modalities that are not drawn, and the terms of the regression."""
    if not diagnosis:
        return
    diagnosis["contributions"] = [one for one in diagnosis["contributions"] if one["modality"] in depths][:MAX_ROWS]
    courses = diagnosis.get("overfitting") or {}
    diagnosis["overfitting"] = {name: some[:MAX_SEEDS] for name, some in courses.items() if name in depths}
    diagnosis["in_words"] = diagnosis["in_words"][:MAX_ROWS]
    diagnosis["regression"] = diagnosis["regression"][:MAX_OUTPUTS]
    terms = max((len(model["coefficients"]) for model in diagnosis["regression"]), default=0)
    if terms > MAX_TERMS:
        told.append(f"the first {MAX_TERMS} of {terms:,} terms of the regression")
    for model in diagnosis["regression"]:
        model["coefficients"] = model["coefficients"][:MAX_TERMS]


def _stability(found: Values, told: list[str]) -> None:
    """Cuts searches; that whose architecture stands for all stays."""
    stability = found.get("stability")
    if not stability:
        return
    searches, seeds = stability["searches"], stability["seeds"]
    place = seeds.index(stability["consensus_seed"])
    nodes = {str(node["name"]) for node in found["nodes"]}
    stability["choices"] = [node for node in stability["choices"] if str(node["node"]) in nodes][:MAX_NODES]
    for key in ("modalities", "depths", "interaction_orders"):
        stability[key] = dict(list(stability[key].items())[:MAX_ROWS])
    if len(seeds) <= MAX_ROWS:
        return
    told.append(f"{MAX_ROWS} of {len(seeds):,} searches")
    kept = sorted({*range(MAX_ROWS - 1), place} if place >= MAX_ROWS - 1 else range(MAX_ROWS))
    for key, some in (("searches", searches), ("seeds", seeds)):
        stability[key] = [some[at] for at in kept]
    for key in ("found", "late"):
        if stability.get(key):
            stability[key]["scores"] = [stability[key]["scores"][at] for at in kept]


def _routes(found: Values, depths: Mapping[str, int], told: list[str]) -> None:
    """Cuts the routes of a dynamic architecture, and what is told of each sample."""
    gate, dynamic = found["architecture"].get("gate"), found.get("dynamic") or {}
    if gate:
        count = len(gate["routes"])
        most = max(2, min(MAX_ROUTES, MAX_DRAWN_LAYERS // max(1, sum(depths.values()))))
        if count > most:
            told.append(f"{most} of {count:,} routes")
            kept = [*range(most - 1), count - 1]  # the last one is what was found
            gate["routes"] = [gate["routes"][place] for place in kept]
            if dynamic.get("routes"):
                dynamic["routes"] = [dynamic["routes"][place] for place in kept]
    if not dynamic:
        return
    for route in dynamic.get("routes") or []:
        route["shares"] = dict(list(route["shares"].items())[: 10 * MAX_CLASSES])
    for key in ("curve", "random"):
        dynamic[key] = _thinned(dynamic[key], MAX_SEEDS)
    for key in ("most_fused", "least_fused"):
        dynamic[key] = dynamic[key][:MAX_ROWS]
    confidence = dynamic["confidence"]
    alone = {name: some for name, some in (confidence.get("alone") or {}).items() if name in depths}
    confidence["alone"] = {name: some[:MAX_POINTS] for name, some in list(alone.items())[:MAX_OUTPUTS]}
    confidence["fused"] = confidence["fused"][:MAX_POINTS] if "fused" in confidence else []
    dynamic["missing"] = {name: one for name, one in (dynamic.get("missing") or {}).items() if name in depths}


_KEPT = ("phase", "search", "seed", "modality", "row", "step", "epoch", "seconds")
_NUMBERS = ("train_loss", "architecture_loss", "architecture_score")


def _record(record: Mapping[str, Any], found: Values) -> Values:
    """What is drawn of one record."""
    nodes = {str(node["name"]) for node in found["nodes"]}
    own: Values = {key: record[key] for key in _KEPT if isinstance(record.get(key), str | int | float)}
    own = {key: clean(value) if isinstance(value, str) else value for key, value in own.items()}
    own |= {key: record[key] for key in _NUMBERS if key in record}
    for key in ("mixing_weights", "entropy"):
        if record.get(key):
            own[key] = {node: value for node, value in record[key].items() if node in nodes}
    if record.get("guards"):
        own["guards"] = dict(list(record["guards"].items())[:MAX_NAMES])
    return own


def _thinned(values: Sequence[Any], most: int) -> list[Any]:
    """At most so many of them, evenly drawn, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(place * (len(values) - 1) / (most - 1))] for place in range(most)]
