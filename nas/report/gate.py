"""Draws a dynamic architecture: the gate as a diamond, every route of which it picks one, and what each route skips.

The routes of a cascade are laid out and drawn here too; how they follow one another is in `nas.report.cascade`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path

from nas.report.layout import FIRST_STREAM_Y, LAYER_WIDTH, LEFT, NODE_Y, STATE_Y, STREAM_PITCH, Layout, Node, layout
from nas.report.numbers import clean, count_text
from nas.report.routes import route_colour
from nas.report.style import FAINT, INK, PALE, SOFT, cut, sign, wrap
from nas.space.architecture import Cascading, deepest, read_by_gate
from nas.space.operation import carries
from nas.streams import plain_taps
from nas.summary import Route, Summary

WIDTH = 9.6
GATE_X = 1.35
LANE_X = 3.0
SCALE_Y = 0.46
TITLE = 0.55
GAP = 0.16

LayerState = Literal["gate", "there", "run", "skipped"]


def _done_by(node: Node) -> str:
    """What a fusion node does, in words."""
    names = ", ".join(node.modalities)
    if carries(node.operation) and node.modalities[1:]:
        return f"{node.modalities[0]}, into which {node.modalities[1]} is added"
    return f"{names} alone" if carries(node.operation) else f"{clean(node.operation).replace('_', ' ')} of {names}"


@dataclass(frozen=True)
class Lane:
    """One route.

    Attributes:
        plan: Its own architecture, laid out.
        states: Modality to what becomes of each of its layers: run for the gate, which reads a tap at or behind it; in
            a cascade there already, since an earlier route has run it; run for this route; or skipped.
        share: Of the samples that take it, or stop after it, 0 to 1; NaN if unknown.
        multiply_adds: Of one of them, gate or earlier routes included; NaN if unknown.
        part: The same as a share of the static architecture's; NaN if unknown.
        skips: What other routes run and this one does not, in words; "" if nothing.
        is_tried: Whether it is one of a cascade, after which some samples stop; if not, a gate picks it.
    """

    plan: Layout
    states: Mapping[str, tuple[LayerState, ...]]
    share: float
    multiply_adds: float
    part: float
    skips: str
    is_tried: bool

    @property
    def nodes(self) -> str:
        """What it fuses, in words."""
        return "; ".join(f"{node.title}: {_done_by(node)}" for node in self.plan.nodes)

    @property
    def in_words(self) -> str:
        """All that the drawing tells of it."""
        told = [self.nodes or "nothing", self.title, f"skips {self.skips}" if self.skips else "skips nothing"]
        return f"{'; '.join(words for words in told if words)}."

    @property
    def title(self) -> str:
        """Who takes it and what it costs."""
        words = []
        if not math.isnan(self.share):
            words.append(f"{100 * self.share:.0f} % of the samples{' stop here' if self.is_tried else ''}")
        if not math.isnan(self.multiply_adds):
            part = "" if math.isnan(self.part) else f", {100 * self.part:.0f} % of the static ones"
            words.append(f"{count_text(self.multiply_adds)} multiply-adds{' by then' if self.is_tried else ''}{part}")
        return "; ".join(words)


def lanes(summary: Summary) -> list[Lane]:
    """All routes of a run's dynamic architecture, in order."""
    gating, routes = summary.architecture.gating, summary.architecture.routes()
    assert gating is not None
    found: Sequence[Route | None] = summary.dynamic.routes if summary.dynamic else [None] * len(routes)
    static = summary.dynamic.static_multiply_adds if summary.dynamic else math.nan
    is_cascade = isinstance(gating, Cascading)
    reads = plain_taps(read_by_gate(gating), summary.search.depths)
    before = [reads or [tap for one in routes[:number] for tap in one.taps()] for number in range(len(routes))]
    plans = [layout(summary, route) for route in routes]
    states = [
        {
            stream.modality: tuple(
                _state(depth < _reached(stream.modality, taps), runs=layer.runs, is_tried=is_cascade)
                for depth, layer in enumerate(stream.layers)
            )
            for stream in plan.streams
        }
        for plan, taps in zip(plans, before, strict=True)
    ]
    lanes_of = []
    for plan, own, route in zip(plans, states, found, strict=True):
        skips = [
            words
            for name, layers in own.items()
            if (words := _skipped(name, layers, [other[name] for other in states]))
        ]
        share, cost = (route.share, route.multiply_adds) if route else (math.nan, math.nan)
        lanes_of.append(Lane(plan, own, share, cost, cost / static, ", ".join(skips), is_cascade))
    return lanes_of


def _reached(modality: str, taps: Sequence[str]) -> int:
    """How many layers of a modality run for these taps."""
    return deepest(taps).get(modality, -1) + 1


def _state(has_run: bool, *, runs: bool, is_tried: bool) -> LayerState:
    if has_run:
        return "there" if is_tried else "gate"
    return "run" if runs else "skipped"


def _skipped(name: str, own: Sequence[LayerState], others: Sequence[Sequence[LayerState]]) -> str:
    """Such as "audio" or "audio from layer 1 on": layers that another route runs."""
    needed = [depth for depth in range(len(own)) if any(other[depth] != "skipped" for other in others)]
    skipped = [depth for depth in needed if own[depth] == "skipped"]
    if not skipped:
        return ""
    return clean(name) if skipped == needed else f"{clean(name)} from layer {skipped[0]} on"


def draw_gate(summary: Summary, colours: Mapping[str, str]) -> Figure:
    """The gate on the left, from which a line goes to each route, as wide as its share of the samples.

    Args:
        summary: Of a run with a dynamic architecture.
        colours: Modality to colour.
    """
    every = lanes(summary)
    figure, axes, tall, height = blank_figure(every)
    middle = height / 2
    for place, lane in enumerate(every):
        bottom = height - (place + 1) * (tall + GAP)
        _route_line(axes, middle, bottom + tall / 2, lane, route_colour(place))
        draw_lane(axes, lane, bottom, tall, route_colour(place), colours)
    _gate(axes, middle, plain_taps(read_by_gate(summary.architecture.gating), summary.search.depths), colours)
    return figure


def blank_figure(every: Sequence[Lane]) -> tuple[Figure, Axes, float, float]:
    """A figure with room for lanes one under the other: it, its axes, the height of a lane, and its own, in inches."""
    tall = lane_height(every[0])
    height = len(every) * (tall + GAP) + GAP
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, height))
    axes.set_axis_off()
    return figure, axes, tall, height


def _gate(axes: Axes, y: float, reads: Sequence[str], colours: Mapping[str, str]) -> None:
    """The diamond, and under it the taps that it reads."""
    half = 0.62
    corners = [(GATE_X - half, y), (GATE_X, y + half), (GATE_X + half, y), (GATE_X, y - half)]
    axes.add_patch(Polygon(corners, facecolor=FAINT, edgecolor=INK, lw=1.8, zorder=8, joinstyle="round"))
    axes.text(GATE_X, y, "gate", ha="center", va="center", weight="bold", zorder=9)
    axes.text(GATE_X, y - half - 0.16, "reads", ha="center", va="center", color=SOFT, fontsize=8)
    for row, tap in enumerate(reads):
        modality, depth = tap.rsplit("@", 1)
        words = f"{cut(clean(modality), 18)}, layer {clean(depth)}"
        colour = colours.get(modality, INK)
        axes.text(GATE_X, y - half - 0.36 - 0.19 * row, words, ha="center", va="center", color=colour, fontsize=8)


def _route_line(axes: Axes, start: float, end: float, lane: Lane, colour: str) -> None:
    share = 0.3 if math.isnan(lane.share) else lane.share
    turn = (GATE_X + 0.6 + LANE_X) / 2
    points = [(GATE_X + 0.6, start), (turn, start), (turn, end), (LANE_X, end)]
    path = Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
    style = (0, (3, 2)) if share == 0 else "-"
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=colour, lw=1.0 + 9.0 * share, ls=style, zorder=3))


def lane_height(lane: Lane) -> float:
    """How tall the frame of a route is, in inches."""
    streams = STREAM_PITCH * (len(lane.plan.streams) - 1)
    return (FIRST_STREAM_Y + streams - STATE_Y + 0.55) * SCALE_Y + TITLE + 0.2


def draw_lane(axes: Axes, lane: Lane, bottom: float, tall: float, edge: str, colours: Mapping[str, str]) -> None:
    """A route in a frame: its streams, junctions and head, small."""
    shape = "round,pad=0,rounding_size=0.12"
    frame = FancyBboxPatch((LANE_X, bottom), WIDTH - LANE_X - 0.15, tall, shape, facecolor="white", edgecolor=edge)
    frame.set_linewidth(1.6)
    frame.set_zorder(5)
    axes.add_patch(frame)
    left, top = LANE_X + 0.18, bottom + tall - 0.2
    axes.text(left, top, lane.title or "a route", fontsize=8.5, va="center", zorder=9)
    skips = f"skips {lane.skips}" if lane.skips else "skips nothing"
    axes.text(left, top - 0.2, cut(skips, 100), fontsize=8.5, va="center", color=SOFT, style="italic", zorder=9)
    plan = lane.plan
    scale = (WIDTH - LANE_X - 0.4) / plan.width

    def x_of(x: float) -> float:
        return LANE_X + 0.1 + scale * x

    def y_of(y: float) -> float:
        return bottom + 0.26 + SCALE_Y * (y - STATE_Y)

    for stream in plan.streams:
        _stream(axes, lane, stream.modality, colours.get(stream.modality, INK), x_of, y_of)
    for one in plan.sums:
        (x, y0), (_, y1) = one.start, one.end
        axes.plot([x_of(x)] * 2, [y_of(y0), y_of(y1)], color=colours.get(one.modality, INK), lw=1.6, zorder=6)
    first = min((node.x for node in plan.nodes), default=plan.width)
    end, y = x_of(plan.width - 0.85), y_of(STATE_Y)
    axes.plot([x_of(first), end], [y, y], color=INK, lw=2.0, zorder=6)
    axes.plot(end, y, "s", color=INK, ms=7, zorder=7)
    axes.text(end + 0.12, y, "head", fontsize=7.5, va="center", color=SOFT, zorder=9)
    for node in plan.nodes:
        x, middle = x_of(node.x), y_of(NODE_Y)
        for wire in node.wires:
            colour = INK if wire.modality is None else colours.get(wire.modality, INK)
            (x0, y0), (x1, _) = wire.start, wire.end
            route = [x_of(x0), x_of(x1), x_of(x1)], [y_of(y0), y_of(y0), middle]
            if wire.modality is None:
                route = [x_of(x0), x_of(x0), x], [y_of(y0), middle, middle]
            axes.plot(*route, color="white", lw=4.0, zorder=7)
            axes.plot(*route, color=colour, lw=1.6, zorder=7)
        axes.plot([x, x], [y, middle], color=INK, lw=1.6, zorder=7)
        axes.add_patch(Circle((x, middle), 0.19, facecolor=FAINT, edgecolor=INK, lw=1.3, zorder=8))
        glyph = sign(node.operation)
        axes.text(x, middle, glyph, fontsize=11 if len(glyph) < 3 else 6.5, ha="center", va="center", zorder=9)


def _stream(axes: Axes, lane: Lane, modality: str, colour: str, x_of: Any, y_of: Any) -> None:
    """One modality's layers: filled if they have run before, framed if run for this route, dashed if skipped."""
    stream = next(some for some in lane.plan.streams if some.modality == modality)
    states = lane.states[modality]
    y, previous = y_of(stream.y), x_of(LEFT - 0.32)
    used = any(state != "skipped" for state in states)
    name = wrap(clean(modality), 14, lines=1)
    axes.text(previous - 0.1, y, name, fontsize=7.5, ha="right", va="center", color=colour if used else SOFT, zorder=9)
    for layer, state in zip(stream.layers, states, strict=True):
        runs = state != "skipped"
        line: dict[str, Any] = {"color": colour, "lw": 1.8} if runs else {"color": PALE, "lw": 1.2, "ls": (0, (2, 2))}
        axes.plot([previous, x_of(layer.tap_x)], [y, y], zorder=6, **line)
        left, right = x_of(layer.x), x_of(layer.x + LAYER_WIDTH)
        box = FancyBboxPatch((left, y - 0.1), right - left, 0.2, "round,pad=0,rounding_size=0.05", zorder=7)
        box.set(facecolor=colour if state in ("gate", "there") else "white", edgecolor=colour if runs else PALE)
        box.set_linewidth(1.3)
        box.set_linestyle("-" if runs else "--")
        axes.add_patch(box)
        ink = {"run": INK, "skipped": "#8a90a3"}.get(state, "white")
        axes.text((left + right) / 2, y, state, fontsize=6.5, ha="center", va="center", color=ink, zorder=8)
        face = colour if layer.read else "white"
        tap = Circle((x_of(layer.tap_x), y), 0.05, facecolor=face, edgecolor=colour if runs else PALE, lw=1.2, zorder=8)
        axes.add_patch(tap)
        previous = x_of(layer.tap_x)
