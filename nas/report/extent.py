"""How much of a run is drawn: a part where all of it would take minutes and gigabytes, or be no picture any more.

What is left out is told on the page. Everything that is drawn is cut here, once, before anything looks at it, so that
no figure needs a limit of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from nas.report.numbers import clean
from nas.report.tables import own_records
from nas.space.architecture import Architecture, Cascading
from nas.streams import is_joined, offers_tap
from nas.summary import (
    Agreement,
    Confidence,
    DataDescription,
    Decisions,
    Diagnosis,
    Mistakes,
    Objectives,
    Spread,
    Summary,
    Verdict,
)

Value = TypeVar("Value")

MAX_ROWS = 60
"""Of the leaderboard, and of every other table."""

MAX_NODES = 24
MAX_MODALITIES = 24
MAX_LAYERS = 240
"""Of all modalities together."""

MAX_DEPTHS = 48
"""Layers of one modality."""

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

Values = dict[str, Any]


def drawable(summary: Summary, metrics: Sequence[Mapping[str, Any]]) -> tuple[Summary, list[Values], tuple[str, ...]]:
    """The part of a run that is drawn.

    Args:
        summary: The run's summary.
        metrics: Its records.

    Returns:
        Both, cut, and sentences on what was left out.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: If a record is garbled.
    """
    left: list[str] = []
    depths = _depths(summary, left)
    found = _nodes(summary, depths, left)
    found = replace(
        found,
        leaderboard=tuple(
            replace(row, scores=row.scores[:MAX_SEEDS])
            for row in _first(found.leaderboard, "rows of the leaderboard", left)
        ),
        search=replace(found.search, pareto=_first(found.search.pareto, "architectures that nothing beats", left)),
        seeds=_first(found.seeds, "seeds", left),
        advice=_first(found.advice, "advices", left),
        verdict=_verdict(found.verdict, left),
        data=_data(found.data, depths),
        mistakes=_mistakes(found.mistakes, left),
        diagnosis=_diagnosis(found.diagnosis, depths, left),
        objectives=_objectives(found.objectives, left),
        stability=_stability(found, left),
        dynamic=_decisions(found.dynamic, depths, _kept_routes(summary.architecture, depths)),
        provenance=replace(
            found.provenance, versions=dict(_first(tuple(found.provenance.versions.items()), "versions", left))
        ),
    )
    own = own_records(found, metrics)
    records = [_record(record, found) for record in _thinned(own, MAX_RECORDS)]
    if len(records) < len(own):
        left.append(f"{len(records):,} of {len(own):,} records")
    return found, records, tuple(left)


def _first(values: tuple[Value, ...], words: str, left: list[str]) -> tuple[Value, ...]:
    """At most `MAX_ROWS` of some values."""
    if len(values) > MAX_ROWS:
        left.append(f"the first {MAX_ROWS} of {len(values):,} {words}")
    return values[:MAX_ROWS]


def _depths(summary: Summary, left: list[str]) -> dict[str, int]:
    """The modalities that are drawn, those that the architecture reads before others, and how many taps of each."""
    depths = summary.search.depths
    read = {name for one in _architectures(summary) for name in one.modalities()}
    ahead = set(sorted(depths, key=lambda name: name not in read)[:MAX_MODALITIES])
    kept = {name: depth for name, depth in depths.items() if name in ahead}
    if len(kept) < len(depths):
        left.append(f"{len(kept)} of {len(depths):,} modalities, those first that the architecture reads")
    most = max(1, min(MAX_DEPTHS, MAX_LAYERS // max(1, len(kept))))
    if any(most < depth for depth in kept.values()):
        left.append(f"the first {most} layers of each encoder")
    return {name: min(depth, most) for name, depth in kept.items()}


def _architectures(summary: Summary) -> Iterator[Architecture]:
    yield summary.architecture
    if summary.tournament:
        yield summary.tournament.proposed


def _nodes(summary: Summary, depths: Mapping[str, int], left: list[str]) -> Summary:
    """Cuts fusion nodes, steps and routes, and what they read of modalities, layers and nodes that are not drawn."""
    architecture, tournament, nodes = summary.architecture, summary.tournament, summary.search.nodes
    count = max(len(nodes), *(len(route.steps) for route in architecture.routes()))
    if count > MAX_NODES:
        left.append(f"the first {MAX_NODES} of {count:,} fusion nodes")
    nodes = nodes[:MAX_NODES]
    if left:
        names = {node.name for node in nodes}
        nodes = tuple(
            replace(
                node,
                choices=tuple(
                    replace(one, inputs=tuple(tap for tap in one.inputs if _is_drawn(tap, depths, names)))
                    for one in node.choices
                ),
            )
            for node in nodes
        )
        tournament = tournament and replace(tournament, proposed=_cut(tournament.proposed, depths))
    wires = sum(len({tap for choice in node.choices for tap in choice.inputs}) for node in nodes)
    if wires > MAX_WIRES:
        left.append(f"the first {MAX_WIRES} of {wires:,} wires of the search space")
    kept = _kept_routes(architecture, depths)
    if kept is not None and architecture.gating is not None:
        left.append(f"{len(kept)} of {len(architecture.gating.routes):,} routes")
        routes = tuple(architecture.gating.routes[place] for place in kept)
        architecture = replace(routes[-1], gating=replace(architecture.gating, routes=routes))
    return replace(
        summary,
        architecture=_cut(architecture, depths) if left else architecture,
        search=replace(summary.search, depths=depths, nodes=nodes),
        tournament=tournament,
    )


def _kept_routes(architecture: Architecture, depths: Mapping[str, int]) -> list[int] | None:
    """Places of the routes that are drawn, the last one, which was found, among them; None for all."""
    count = len(architecture.routes())
    most = max(2, min(MAX_ROUTES, MAX_DRAWN_LAYERS // max(1, sum(depths.values()))))
    return [*range(most - 1), count - 1] if count > most else None


def _is_drawn(tap: str, depths: Mapping[str, int], nodes: Collection[str]) -> bool:
    modality, at, depth = tap.rpartition("@")
    if not at:
        return tap in nodes
    if is_joined(modality):
        return offers_tap(tap, depths)
    # What no modality offers is damage, which whoever draws it tells.
    return modality in depths and (not depth.isdecimal() or len(depth) > 9 or int(depth) < depths[modality])


def _cut(architecture: Architecture, depths: Mapping[str, int]) -> Architecture:
    """The first steps of every route, without what they read that is not drawn.

    If that leaves routes alike, what decides on them is left out.
    """
    routes = [_cut_route(route, depths) for route in architecture.routes()]
    gating = architecture.gating
    if gating is None or len(set(routes)) < len(routes):
        return routes[-1]
    if isinstance(gating, Cascading):
        return Architecture.cascaded(routes)
    return Architecture.gated(routes, [tap for tap in gating.reads if _is_drawn(tap, depths, ())] or gating.reads[:1])


def _cut_route(route: Architecture, depths: Mapping[str, int]) -> Architecture:
    names, steps = {step.name for step in route.steps[:MAX_NODES]}, []
    for step in route.steps[:MAX_NODES]:
        inputs = tuple(name for name in step.inputs if _is_drawn(name, depths, names))
        steps.append(replace(step, inputs=inputs))
    return replace(route, steps=tuple(steps), output=steps[-1].name if steps else None)


def _verdict(verdict: Verdict | None, left: list[str]) -> Verdict | None:
    return verdict and replace(verdict, sentences=_first(verdict.sentences, "sentences", left))


def _data(data: DataDescription, depths: Mapping[str, int]) -> DataDescription:
    """Cuts what is told of the data."""
    modalities = {
        name: replace(info, shapes=tuple(shape[:6] for shape in info.shapes[:6]))
        for name, info in data.modalities.items()
        if name in depths
    }
    return replace(data, modalities=modalities, splits=dict(list(data.splits.items())[:MAX_ROWS]))


def _mistakes(mistakes: Mistakes | None, left: list[str]) -> Mistakes | None:
    """Cuts points; a matrix is never large."""
    if mistakes is None:
        return None
    points = mistakes.points
    if len(points) > MAX_OUTPUTS or any(len(some) > MAX_POINTS for some in points):
        left.append(f"at most {MAX_OUTPUTS} outputs with {MAX_POINTS:,} points each")
    return replace(mistakes, points=tuple(some[:MAX_POINTS] for some in points[:MAX_OUTPUTS]))


def _diagnosis(diagnosis: Diagnosis, depths: Mapping[str, int], left: list[str]) -> Diagnosis:
    """Cuts what is told of modalities that are not drawn, and the terms of the regression."""
    models = diagnosis.regression[:MAX_OUTPUTS]
    terms = max((len(model.coefficients) for model in models), default=0)
    if terms > MAX_TERMS:
        left.append(f"the first {MAX_TERMS} of {terms:,} terms of the regression")
    courses = diagnosis.overfitting.items()
    return replace(
        diagnosis,
        contributions=tuple(one for one in diagnosis.contributions if one.modality in depths)[:MAX_ROWS],
        overfitting={name: some[:MAX_SEEDS] for name, some in courses if name in depths},
        in_words=diagnosis.in_words[:MAX_ROWS],
        regression=tuple(replace(model, coefficients=model.coefficients[:MAX_TERMS]) for model in models),
    )


def _objectives(objectives: Objectives | None, left: list[str]) -> Objectives | None:
    if objectives is None:
        return None
    tried = _first(objectives.tried, "objectives", left)
    return replace(objectives, tried=tried, left_out=_first(objectives.left_out, "objectives", left))


def _stability(found: Summary, left: list[str]) -> Agreement | None:
    """Cuts searches; that whose architecture stands for all stays."""
    told = found.stability
    if told is None:
        return None
    nodes = {node.name for node in found.search.nodes}

    def few(counts: Mapping[str, int]) -> dict[str, int]:
        return dict(list(counts.items())[:MAX_ROWS])

    kept = list(range(len(told.seeds)))
    if len(kept) > MAX_ROWS:
        left.append(f"{MAX_ROWS} of {len(told.seeds):,} searches")
        place = told.seeds.index(told.consensus_seed)
        kept = sorted({*range(MAX_ROWS - 1), max(place, MAX_ROWS - 1)})

    def of_kept(spread: Spread) -> Spread:
        return replace(spread, scores=tuple(spread.scores[at] for at in kept))

    return replace(
        told,
        seeds=tuple(told.seeds[at] for at in kept),
        searches=tuple(told.searches[at] for at in kept),
        choices=tuple(node for node in told.choices if node.node in nodes)[:MAX_NODES],
        modalities=few(told.modalities),
        depths=few(told.depths),
        interaction_orders=few(told.interaction_orders),
        found=of_kept(told.found),
        late=told.late and of_kept(told.late),
    )


def _decisions(dynamic: Decisions | None, depths: Mapping[str, int], kept: Sequence[int] | None) -> Decisions | None:
    """Cuts what is told of every route and of each sample."""
    if dynamic is None:
        return None
    routes = dynamic.routes if kept is None else [dynamic.routes[place] for place in kept]
    unimodal = [(name, some[:MAX_POINTS]) for name, some in dynamic.confidence.unimodal.items() if name in depths]
    return replace(
        dynamic,
        routes=tuple(replace(route, shares=dict(list(route.shares.items())[: 10 * MAX_CLASSES])) for route in routes),
        curve=_thinned(dynamic.curve, MAX_SEEDS),
        random=_thinned(dynamic.random, MAX_SEEDS),
        most_fused=dynamic.most_fused[:MAX_ROWS],
        least_fused=dynamic.least_fused[:MAX_ROWS],
        confidence=Confidence(fused=dynamic.confidence.fused[:MAX_POINTS], unimodal=dict(unimodal[:MAX_OUTPUTS])),
        missing={name: one for name, one in dynamic.missing.items() if name in depths},
    )


_KEPT = ("phase", "search", "seed", "modality", "row", "step", "epoch", "seconds")
_NUMBERS = ("train_loss", "architecture_loss", "architecture_score")


def _record(record: Mapping[str, Any], found: Summary) -> Values:
    """What is drawn of one record."""
    nodes = {node.name for node in found.search.nodes}
    own: Values = {key: record[key] for key in _KEPT if isinstance(record.get(key), str | int | float)}
    own = {key: clean(value) if isinstance(value, str) else value for key, value in own.items()}
    own |= {key: record[key] for key in _NUMBERS if key in record}
    for key in ("mixing_weights", "entropy"):
        if record.get(key):
            own[key] = {node: value for node, value in record[key].items() if node in nodes}
    if record.get("guards"):
        own["guards"] = dict(list(record["guards"].items())[:MAX_NAMES])
    return own


def _thinned(values: Sequence[Value], most: int) -> tuple[Value, ...]:
    """At most so many of them, evenly drawn, the first and the last among them."""
    if len(values) <= most:
        return tuple(values)
    return tuple(values[round(place * (len(values) - 1) / (most - 1))] for place in range(most))
