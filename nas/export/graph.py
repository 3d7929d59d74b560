"""The architecture as a graph file: GraphML for networkx and Gephi, DOT for Graphviz, and a drawing in SVG."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx

from nas.report.architecture import draw_architecture
from nas.report.cascade import draw_cascade
from nas.report.gate import draw_gate
from nas.report.layout import layout
from nas.report.style import figure_style, modality_colours
from nas.report.style import to_svg as save_svg
from nas.space.architecture import Architecture, Cascading, Choice, Gating, deepest, tap_name
from nas.space.search_space import OUTPUT
from nas.streams import plain_taps, wiring
from nas.summary import Summary

GATE = "gate"
"""Name of the gate's node: no modality's tap, which has an @, and no fusion node of ours."""

SURE = "sure"
"""Begins the names of a cascade's questions, which a route's number ends."""


def architecture_graph(summary: Summary) -> nx.DiGraph:
    """What the derived network computes: encoder layers as deep as they are read, its steps, the output.

    Of a dynamic architecture that is what all routes compute together, with the gate; in a cascade a question stands
    behind every route but the last. What a step does on one route and not on another is a node of its own.

    Args:
        summary: Of the run.

    Returns:
        Nodes have `kind` (tap, fusion, gate or output) and `label`, edges have `kind` (encoder, sum, tap, residual,
        head, gate). Of a dynamic architecture, fusion nodes and their edges have `routes`, such as "0, 2". In a cascade
        edges of kind gate lead from one question to the next.
    """
    architecture = summary.architecture
    graph = nx.DiGraph(space=architecture.space, in_words=architecture.in_words())
    depths = summary.search.depths
    for modality, last in deepest(plain_taps(architecture.taps(), depths)).items():
        for depth in range(last + 1):
            graph.add_node(tap_name(modality, depth), kind="tap", label=f"{modality}, depth {depth}")
            if depth:
                graph.add_edge(tap_name(modality, depth - 1), tap_name(modality, depth), kind="encoder")
    graph.add_node(OUTPUT, kind="output", label=OUTPUT)
    routes = architecture.routes()
    is_cascade = isinstance(architecture.gating, Cascading)
    for number, route in enumerate(routes):
        answer = OUTPUT
        if is_cascade and number < len(routes) - 1:
            answer = f"{SURE}{number}"
            graph.add_node(answer, kind="gate", label=f"sure of route {number}? if not, route {number + 1}")
            graph.add_edge(answer, OUTPUT, kind="head", routes=str(number))
            if number:
                graph.add_edge(f"{SURE}{number - 1}", answer, kind="gate")
        _add_route(graph, route, _names(routes), str(number) if len(routes) > 1 else None, answer, depths)
    if isinstance(architecture.gating, Gating):
        graph.add_node(GATE, kind="gate", label=f"gate: one of {len(routes)} routes")
        graph.add_edges_from([(tap, GATE) for tap in plain_taps(architecture.gating.reads, depths)], kind="gate")
    return graph


def _names(routes: Sequence[Architecture]) -> dict[tuple[str, Choice], str]:
    """What each step is called: by its own name, and by what it does where routes differ in that."""
    made = dict.fromkeys((step.name, step.choice) for route in routes for step in route.steps)
    counts = Counter(name for name, _ in made)
    return {(name, choice): name if counts[name] == 1 else f"{name}:{choice.key}" for name, choice in made}


def _add_route(
    graph: nx.DiGraph,
    route: Architecture,
    names: Mapping[tuple[str, Choice], str],
    number: str | None,
    answer: str,
    depths: Mapping[str, int],
) -> None:
    """Adds the steps of a route, and what goes into them and into its answer, marked with its number if any."""
    own = {step.name: names[step.name, step.choice] for step in route.steps}
    for step in route.steps:
        name = own[step.name]
        graph.add_node(name, kind="fusion", label=step.choice.in_words(with_depths=False), operation=step.operation)
        _mark(graph.nodes[name], number)
        shown = [wiring(source, depths) for source in step.inputs]
        edges = [(own.get(source, source), name, "tap") for one in shown for source in one.read]
        edges += [(source, target, "sum") for one in shown for source, target in one.sums]
        if step.add_to is not None:
            edges.append((own[step.add_to], name, "residual"))
        for source, target, kind in edges:
            graph.add_edge(source, target, kind=kind)
            _mark(graph.edges[source, target], number)
    if route.output is not None:
        graph.add_edge(own[route.output], answer, kind="head")
        _mark(graph.edges[own[route.output], answer], number)


def _mark(values: dict[str, Any], number: str | None) -> None:
    if number is not None:
        values["routes"] = f"{values['routes']}, {number}" if "routes" in values else number


def to_graphml(summary: Summary) -> bytes:
    """The graph as GraphML, UTF-8."""
    buffer = io.BytesIO()
    nx.write_graphml(architecture_graph(summary), buffer)
    return buffer.getvalue()


def to_svg(summary: Summary) -> bytes:
    """The graph as the report draws it; of a dynamic architecture all routes and what decides on them."""
    colours = modality_colours(list(summary.search.depths))
    with figure_style():
        if gating := summary.architecture.gating:
            return save_svg((draw_cascade if isinstance(gating, Cascading) else draw_gate)(summary, colours))
        return save_svg(draw_architecture(layout(summary), colours))


_SHAPES = {"tap": "ellipse", "fusion": "box", "gate": "diamond", "output": "doublecircle"}


def to_dot(summary: Summary) -> str:
    """The graph in the DOT language, left to right."""
    graph = architecture_graph(summary)
    lines = ["digraph architecture {", "  rankdir=LR;"]
    for name, values in graph.nodes(data=True):
        lines.append(f"  {_quoted(name)} [label={_quoted(values['label'])}, shape={_SHAPES[values['kind']]}];")
    for source, target, values in graph.edges(data=True):
        style = {"encoder": "dashed", "gate": "dotted"}.get(values["kind"], "solid")
        label = f", label={_quoted(values['routes'])}" if "routes" in values else ""
        lines.append(f"  {_quoted(source)} -> {_quoted(target)} [style={style}{label}];")
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
