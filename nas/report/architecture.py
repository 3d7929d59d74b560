"""Draws the architecture as a map: every modality a line, fusion nodes its junctions, the fused state a line of all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch
from matplotlib.path import Path

from nas.report.layout import (
    HEAD,
    LAYER_WIDTH,
    LEFT,
    NODE_HEIGHT,
    NODE_WIDTH,
    PITCH,
    STATE_Y,
    TAP_OFFSET,
    Layer,
    Layout,
    Node,
    Stream,
    Sum,
    Wire,
)
from nas.report.numbers import clean
from nas.report.style import FAINT, INK, PALE, SOFT, sign, wrap
from nas.space.operation import carries

STREAM_LINE = 3.2
STRIPE = 0.05  # inches between the stripes of the fused state
CORNER = 0.2


def draw_architecture(plan: Layout, colours: Mapping[str, str]) -> Figure:
    """The architecture as a graph.

    Args:
        plan: Where everything goes.
        colours: Modality to colour.
    """
    figure = Figure(figsize=(plan.width, plan.height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, plan.width), ylim=(0, plan.height))
    axes.set_axis_off()
    for column in range(plan.num_columns):
        x, top = LEFT + PITCH * column + TAP_OFFSET / 2, plan.height
        axes.text(x, top - 0.3, f"depth {column}", color=SOFT, ha="center", va="center", fontsize=9.5)
    for stream in plan.streams:
        _stream(axes, stream, colours[stream.modality])
    for one in plan.sums:
        _sum(axes, one, colours.get(one.modality, INK))
    for node in plan.nodes:
        for wire in node.wires:
            _wire(axes, wire, node, colours)
    _fused_state(axes, plan, colours)
    for node in plan.nodes:
        _node(axes, node, plan.node_y, colours)
    _places_to_point_at(axes, plan)
    return figure


def _places_to_point_at(axes: Axes, plan: Layout) -> None:
    """Unseen boxes over nodes and layers, under the names by which `nas.report.tooltips` knows them."""
    boxes = {
        f"node-{place}": (node.x - NODE_WIDTH / 2, plan.node_y - NODE_HEIGHT / 2, NODE_WIDTH, NODE_HEIGHT)
        for place, node in enumerate(plan.nodes)
    }
    for row, stream in enumerate(plan.streams):
        for depth, layer in enumerate(stream.layers):
            boxes[f"layer-{row}-{depth}"] = (layer.x, layer.y - 0.22, layer.tap_x - layer.x + 0.1, 0.44)
    for name, (left, bottom, width, height) in boxes.items():
        shape = "round,pad=0.03,rounding_size=0.12"
        box = FancyBboxPatch((left, bottom), width, height, shape, facecolor="none", lw=0, zorder=20, gid=name)
        axes.add_patch(box)


def _stream(axes: Axes, stream: Stream, colour: str) -> None:
    """Name, input, encoder layers and taps of one modality; what the derived network does not run is a ghost."""
    used = any(layer.runs for layer in stream.layers)
    name = wrap(clean(stream.modality), 15)
    half = 0.065 if "\n" in name else 0.0  # half a line: two lines of name push name and detail apart
    raised = 0.09 + half / 2 if stream.detail else 0.0
    style: dict[str, Any] = {"ha": "right", "va": "center", "linespacing": 1.1}
    axes.text(LEFT - 0.5, stream.y + raised, name, color=colour if used else SOFT, weight="bold", **style)
    axes.text(LEFT - 0.5, stream.y - 0.11 - half, stream.detail, color=SOFT, fontsize=7.5, **style)
    axes.add_patch(Circle((LEFT - 0.32, stream.y), 0.065, color=colour if used else PALE, zorder=4))
    previous = LEFT - 0.32
    for layer in stream.layers:
        line = {"color": colour, "linewidth": STREAM_LINE} if layer.runs else _GHOST_LINE
        axes.plot([previous, layer.tap_x], [layer.y, layer.y], zorder=2, solid_capstyle="round", **line)
        _layer(axes, layer, colour)
        previous = layer.tap_x


_GHOST_LINE: dict[str, Any] = {"color": PALE, "linewidth": 1.4, "linestyle": (0, (2, 2))}


def _layer(axes: Axes, layer: Layer, colour: str) -> None:
    box = (layer.x, layer.y - 0.19)
    face, edge, line = ("white", colour, "-") if layer.runs else ("white", PALE, "--")
    shape = "round,pad=0,rounding_size=0.09"
    axes.add_patch(
        FancyBboxPatch(box, LAYER_WIDTH, 0.38, shape, facecolor=face, edgecolor=edge, lw=1.4, ls=line, zorder=3)
    )
    text_colour = INK if layer.runs else "#8a90a3"
    axes.text(
        layer.x + LAYER_WIDTH / 2,
        layer.y,
        "layer" if layer.runs else "not run",
        color=text_colour,
        ha="center",
        va="center",
        fontsize=8.5,
        zorder=4,
    )
    tap_face = colour if layer.read else "white"
    tap_edge = colour if layer.runs else PALE
    axes.add_patch(Circle((layer.tap_x, layer.y), 0.095, facecolor=tap_face, edgecolor=tap_edge, lw=1.6, zorder=7))


def _wire(axes: Axes, wire: Wire, node: Node, colours: Mapping[str, str]) -> None:
    """Along its stream, round a corner, down to the node: as a line branches off on a map."""
    (x0, y0), (x1, y1) = wire.start, wire.end
    choice_weight = 0.5 if math.isnan(node.choice_weight) else node.choice_weight
    width = 1.4 + 4.0 * choice_weight
    colour = INK if wire.modality is None else colours.get(wire.modality, INK)
    if wire.modality is None:
        points, codes = [(x0, y0), (x1, y1)], [Path.MOVETO, Path.LINETO]
        axes.add_patch(Circle((x0, y0), 0.07, color=INK, zorder=9))
    else:
        y = wire.along
        radius = min(CORNER, abs(x1 - x0), abs(y - y1))
        points, codes = [(x0, y0)], [Path.MOVETO]
        if y != y0:  # round the layers of its stream
            points += [(x0, y + 0.1), (x0, y), (x0 + 0.1, y)]
            codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
        points += [(x1 - radius, y), (x1, y), (x1, y - radius), (x1, y1)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3, Path.LINETO]
    path = Path(points, codes)
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor="white", lw=width + 3.5, capstyle="butt", zorder=5))
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=colour, lw=width, capstyle="round", zorder=6))


def _sum(axes: Axes, one: Sum, colour: str) -> None:
    """From a tap of the second modality's encoder to a plus behind a layer of the main one's."""
    (x, start), (_, end) = one.start, one.end
    axes.plot([x, x], [start, end], color="white", lw=STREAM_LINE + 3, zorder=5)
    axes.plot([x, x], [start, end], color=colour, lw=STREAM_LINE, zorder=6)
    axes.add_patch(Circle((x, end), 0.135, facecolor="white", edgecolor=INK, lw=1.8, zorder=8))
    for dx, dy in ((0.075, 0.0), (0.0, 0.075)):
        axes.plot([x - dx, x + dx], [end - dy, end + dy], color=INK, lw=1.8, zorder=9)


def _fused_state(axes: Axes, plan: Layout, colours: Mapping[str, str]) -> None:
    """The lines at the bottom: one stripe for every modality that has flowed in so far."""
    end = plan.width - HEAD
    for node in plan.nodes:
        _stripes(axes, node.x, node.reach, node.lane, node.state_after, colours)
    told = "fused state" if len({node.lane for node in plan.nodes}) < 2 else "fused states"
    axes.text(2.0 - 0.5, STATE_Y, told, color=SOFT, ha="right", va="center", weight="bold")
    first = next((node.x for node in plan.nodes if node.lane == STATE_Y), end)
    _stripes(axes, 2.0 - 0.32, first, STATE_Y, (), colours)
    axes.add_patch(
        FancyBboxPatch(
            (end, STATE_Y - 0.24), 0.68, 0.48, "round,pad=0,rounding_size=0.1", facecolor=INK, lw=0, zorder=8
        )
    )
    axes.text(end + 0.34, STATE_Y, "head", color="white", ha="center", va="center", fontsize=9.5, zorder=9)
    axes.text(end + 0.34, STATE_Y - 0.42, wrap(plan.output, 14), color=SOFT, ha="center", va="center", fontsize=8.5)


def _stripes(
    axes: Axes, left: float, right: float, middle: float, modalities: Sequence[str], colours: Mapping[str, str]
) -> None:
    if not modalities:
        axes.plot([left, right], [middle, middle], zorder=1, **_GHOST_LINE)
    for i, modality in enumerate(modalities):
        y = middle + STRIPE * ((len(modalities) - 1) / 2 - i)
        axes.plot(
            [left, right + 0.02],
            [y, y],
            color=colours.get(modality, INK),
            lw=STREAM_LINE,
            zorder=3,
            solid_capstyle="butt",
        )


def _node(axes: Axes, node: Node, middle: float, colours: Mapping[str, str]) -> None:
    bottom = middle - NODE_HEIGHT / 2
    axes.plot([node.x, node.x], [node.lane + 0.13, bottom], color="white", lw=5.0, zorder=4)
    axes.plot([node.x, node.x], [node.lane + 0.13, bottom], color=INK, lw=2.2, zorder=4)
    axes.add_patch(
        FancyBboxPatch(
            (node.x - NODE_WIDTH / 2, bottom),
            NODE_WIDTH,
            NODE_HEIGHT,
            "round,pad=0,rounding_size=0.16",
            facecolor=FAINT,
            edgecolor=INK,
            lw=1.6,
            zorder=7,
        )
    )
    reads_states = any(wire.modality is None for wire in node.wires)
    only = node.modalities[0] if len(node.modalities) == 1 and not reads_states else None
    glyph = sign(node.operation)
    size = 19 if len(glyph) < 3 else 12
    left = node.x - NODE_WIDTH / 2 + 0.32
    axes.text(
        left, middle, glyph, fontsize=size, ha="center", va="center", zorder=8, color=colours.get(only or "", INK)
    )
    name = clean(node.operation).replace("_", " ")
    if carries(node.operation):
        name = f"{clean(only)} alone" if only else " + ".join(map(clean, node.modalities)) or name
    words = wrap(name, 14)
    style: dict[str, Any] = {"ha": "left", "va": "center", "zorder": 8, "linespacing": 1.1}
    axes.text(left + 0.3, middle, words, fontsize=8.6, **style)
    _junction(axes, node)


def _junction(axes: Axes, node: Node) -> None:
    """Where the output joins the fused state: a plus if there is a state to add to, a plain dot if it begins here."""
    axes.add_patch(Circle((node.x, node.lane), 0.135, facecolor="white", edgecolor=INK, lw=1.8, zorder=8))
    if node.state_before:
        for dx, dy in ((0.075, 0.0), (0.0, 0.075)):
            xs, ys = [node.x - dx, node.x + dx], [node.lane - dy, node.lane + dy]
            axes.plot(xs, ys, color=INK, lw=1.8, zorder=9)
    else:
        axes.add_patch(Circle((node.x, node.lane), 0.055, color=INK, zorder=9))
