"""The architecture as a graph file: GraphML for networkx and Gephi, DOT for Graphviz, and a drawing in SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import networkx as nx

from nas.architecture import Architecture, tap_name
from nas.report.architecture import draw_architecture
from nas.report.layout import layout
from nas.report.style import figure_style, modality_colours
from nas.report.style import to_svg as save_svg
from nas.space import OUTPUT


def architecture_graph(summary: Mapping[str, Any]) -> nx.DiGraph:
    """What the derived network computes: encoder layers as deep as they are read, active fusion nodes, the output.

    Args:
        summary: Of the run; its `architecture` and the `residual` of its `nodes` are read.

    Returns:
        Nodes have `kind` (tap, fusion or output) and `label`, edges have `kind` (encoder, tap, residual or head).
    """
    architecture = Architecture.from_dict(summary["architecture"])
    residual = {node["name"]: node["residual"] for node in summary["nodes"]}
    graph = nx.DiGraph(space=architecture.space, in_words=architecture.in_words())
    for modality, deepest in architecture.deepest().items():
        for depth in range(deepest + 1):
            graph.add_node(tap_name(modality, depth), kind="tap", label=f"{modality}, depth {depth}")
            if depth:
                graph.add_edge(tap_name(modality, depth - 1), tap_name(modality, depth), kind="encoder")
    state: dict[str, str | None] = {}
    for name, choice in architecture.choices:
        before = residual[name]
        before = state.get(before) if before else None
        sources = [source if "@" in source else state[source] for source in choice.inputs]
        if not sources or None in sources:  # what reads an idle node is idle too
            state[name] = before
            continue
        graph.add_node(name, kind="fusion", label=choice.in_words(), operation=choice.operation)
        for source in sources:
            graph.add_edge(source, name, kind="tap")
        if before:
            graph.add_edge(before, name, kind="residual")
        state[name] = name
    graph.add_node(OUTPUT, kind="output", label=OUTPUT)
    last = state[architecture.choices[-1][0]]
    if last:
        graph.add_edge(last, OUTPUT, kind="head")
    return graph


def to_graphml(summary: Mapping[str, Any]) -> bytes:
    """The graph as GraphML, UTF-8."""
    buffer = io.BytesIO()
    nx.write_graphml(architecture_graph(summary), buffer)
    return buffer.getvalue()


def to_svg(summary: Mapping[str, Any]) -> bytes:
    """The graph as the report draws it."""
    with figure_style():
        return save_svg(draw_architecture(layout(summary), modality_colours([str(name) for name in summary["depths"]])))


_SHAPES = {"tap": "ellipse", "fusion": "box", "output": "doublecircle"}


def to_dot(summary: Mapping[str, Any]) -> str:
    """The graph in the DOT language, left to right."""
    graph = architecture_graph(summary)
    lines = ["digraph architecture {", "  rankdir=LR;"]
    for name, values in graph.nodes(data=True):
        lines.append(f"  {_quoted(name)} [label={_quoted(values['label'])}, shape={_SHAPES[values['kind']]}];")
    for source, target, values in graph.edges(data=True):
        style = "dashed" if values["kind"] == "encoder" else "solid"
        lines.append(f"  {_quoted(source)} -> {_quoted(target)} [style={style}];")
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
