"""Draws the search space: which taps every fusion node may read, and how much it may choose from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import networkx as nx
from matplotlib.figure import Figure

from nas.report.extent import MAX_WIRES
from nas.report.numbers import clean
from nas.report.style import FAINT, INK, PALE, SOFT, cut
from nas.space.architecture import tap_name
from nas.space.search_space import OUTPUT
from nas.streams import wiring
from nas.summary import Search


def space_graph(search: Search) -> nx.DiGraph:
    """Everything that the search could have wired, with the place of every part.

    Args:
        search: Of the run.

    Returns:
        Nodes have `kind` (tap, fusion or output), `label` and `at` (x, y); edges have `kind` (encoder, sum, tap,
        residual or head).
    """
    graph = nx.DiGraph()
    nodes = search.nodes
    for row, (modality, depths) in enumerate(reversed(list(search.depths.items())), start=1):
        for depth in range(depths):
            x = depth * max(1, len(nodes) - 1) / max(1, depths - 1)
            graph.add_node(tap_name(modality, depth), kind="tap", modality=modality, label=str(depth), at=(x, row))
            if depth:
                graph.add_edge(tap_name(modality, depth - 1), tap_name(modality, depth), kind="encoder")
    for column, node in enumerate(nodes):
        name, choices = node.name, node.choices
        graph.add_node(name, kind="fusion", label=f"{clean(name, 20)}\n{len(choices)} choices", at=(column + 0.35, 0))
        for source in dict.fromkeys(source for choice in choices for source in choice.inputs):
            shown = wiring(source, search.depths)
            graph.add_edges_from(shown.sums, kind="sum")
            graph.add_edges_from(((read, name) for read in shown.read), kind="tap")
        if node.residual:
            graph.add_edge(node.residual, name, kind="residual")
    graph.add_node(OUTPUT, kind="output", label=OUTPUT, at=(len(nodes) - 0.1, 0))
    if nodes:
        graph.add_edge(nodes[-1].name, OUTPUT, kind="head")
    unplaced = [name for name, values in graph.nodes.items() if "at" not in values]
    if unplaced:
        raise ValueError(f"no tap or node is called {unplaced[0]!r}")
    return graph


def draw_space(graph: nx.DiGraph, colours: Mapping[str, str]) -> Figure:
    """The space as networkx draws it: modalities in rows, fusion nodes below, depths from left to right.

    Args:
        graph: From `space_graph`.
        colours: Modality to colour.
    """
    places = nx.get_node_attributes(graph, "at")
    right, top = (max(place[axis] for place in places.values()) for axis in (0, 1))
    figure = Figure(figsize=(2.6 + 2.3 * (right + 0.6), 0.8 + 0.85 * (top + 0.6)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.95, right + 0.45), ylim=(-0.6, top + 0.45))
    axes.set_axis_off()
    kinds = nx.get_node_attributes(graph, "kind")
    for kind, size, shape in (("tap", 420, "o"), ("fusion", 4200, "s"), ("output", 2300, "s")):
        some = [name for name in graph if kinds[name] == kind]
        faces = [colours[graph.nodes[name]["modality"]] if kind == "tap" else FAINT for name in some]
        edges = faces if kind == "tap" else INK
        nx.draw_networkx_nodes(
            graph, places, nodelist=some, node_size=size, node_shape=shape, node_color=faces, edgecolors=edges, ax=axes
        )
        labels = {name: graph.nodes[name]["label"] for name in some}
        font = {"font_size": 8.5, "font_color": "white" if kind == "tap" else INK, "font_family": "DejaVu Sans"}
        nx.draw_networkx_labels(graph, places, labels, ax=axes, **font)
    lines = {"encoder": (SOFT, 2.4), "sum": (PALE, 1.2), "tap": (PALE, 1.2), "residual": (INK, 2.4), "head": (INK, 2.4)}
    for kind, (colour, width) in lines.items():
        wanted = [edge for edge, found in nx.get_edge_attributes(graph, "kind").items() if found == kind][:MAX_WIRES]
        sizes = {"tap": (420, 4200), "residual": (4200, 4200), "head": (4200, 2300)}.get(kind, (420, 420))
        for edge in wanted:
            nx.draw_networkx_edges(
                graph,
                places,
                edgelist=[edge],
                edge_color=colour,
                width=width,
                arrowsize=9,
                node_size=[sizes[0] if name == edge[0] else sizes[1] for name in graph],
                ax=axes,
            )
    for modality, colour in colours.items():
        row = places[tap_name(modality, 0)][1]
        style: dict[str, Any] = {"ha": "right", "va": "center", "weight": "bold"}
        axes.text(-0.2, row, cut(clean(modality), 16), color=colour, **style)
    axes.text(-0.2, 0, "fusion", color=SOFT, ha="right", va="center", weight="bold")
    return figure
