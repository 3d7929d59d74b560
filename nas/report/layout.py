"""Where everything in the architecture figure goes, in inches, origin at the lower left. Nothing is drawn here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.report.numbers import clean
from nas.space.architecture import Architecture, is_tap, tap_depth, tap_modality
from nas.summary import DataDescription, ModalityDescription, Search, Summary
from nas.tasks import TASKS

LEFT = 2.0
PITCH = 2.15
STREAM_PITCH = 0.8
LAYER_WIDTH = 0.78
TAP_OFFSET = 1.02
NODE_OFFSET = 1.58
NODE_WIDTH = 1.72
NODE_HEIGHT = 0.8
RIGHT = 1.6
STATE_Y = 0.75
NODE_Y = 1.85
FIRST_STREAM_Y = 3.05

MAX_TAPS = 100
"""More for one modality is damage, or no figure that anybody could read."""


@dataclass(frozen=True)
class Layer:
    """One encoder layer and the tap behind it.

    Attributes:
        x: Left edge of the layer.
        y: Of its stream.
        tap_x: Where its tap is.
        runs: Whether the derived network runs it.
        read: Whether a fusion node reads its tap.
    """

    x: float
    y: float
    tap_x: float
    runs: bool
    read: bool


@dataclass(frozen=True)
class Stream:
    """One modality's encoder: its name, a word on its input, its layers from shallow to deep."""

    modality: str
    detail: str
    y: float
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Wire:
    """From a tap, or an earlier fused state, to a fusion node; `modality` is None for a fused state."""

    modality: str | None
    start: tuple[float, float]
    end: tuple[float, float]


@dataclass(frozen=True)
class Node:
    """One fusion node.

    Attributes:
        name: Of the node.
        operation: That it applies.
        modalities: That it reads.
        choice_weight: Weight of its choice at the end of the search, NaN if unknown.
        x: Of its middle.
        state_before: Modalities in the fused state that its output is added to; empty if there is none.
        state_after: Modalities in the fused state behind it.
        wires: What it reads.
    """

    name: str
    operation: str
    modalities: tuple[str, ...]
    choice_weight: float
    x: float
    state_before: tuple[str, ...]
    state_after: tuple[str, ...]
    wires: tuple[Wire, ...]


@dataclass(frozen=True)
class Layout:
    """The whole figure: its size, its columns, its parts, and what the head puts out."""

    width: float
    height: float
    num_columns: int
    streams: tuple[Stream, ...]
    nodes: tuple[Node, ...]
    output: str


def layout(summary: Summary, architecture: Architecture | None = None) -> Layout:
    """Places streams from top to bottom, the steps below them from left to right, the fused state at the bottom.

    Args:
        summary: Of the run.
        architecture: A static one, such as a route; None for what was found.
    """
    architecture = architecture or summary.architecture
    choice_weights = {node.name: node.choice_weight for node in summary.search.nodes}
    depths = summary.search.depths
    if not depths or not all(0 < depth <= MAX_TAPS for depth in depths.values()):
        raise ValueError(f"not 1 to {MAX_TAPS} taps for every modality")
    read = set(architecture.taps())

    tap_columns, node_columns = _columns(summary.search, architecture)
    tops = {name: FIRST_STREAM_Y + STREAM_PITCH * i for i, name in enumerate(reversed(list(depths)))}
    streams = tuple(_stream(name, tap_columns[name], tops[name], read, summary.data) for name in depths)
    taps = {f"{s.modality}@{i}": (layer.tap_x, layer.y) for s in streams for i, layer in enumerate(s.layers)}

    nodes: list[Node] = []
    for column, step in zip(node_columns, architecture.steps, strict=True):
        earlier = {node.name: node for node in nodes}
        before = earlier[step.add_to].state_after if step.add_to else ()
        x = LEFT + PITCH * column + NODE_OFFSET
        wires = _wires(step.inputs, taps, earlier, x)
        own = step.choice.modalities
        passed = [m for name in step.inputs if name in earlier for m in earlier[name].state_after]
        after = tuple(m for m in depths if m in {*before, *own, *passed})
        choice_weight = choice_weights.get(step.name, math.nan)
        nodes.append(Node(step.name, step.operation, own, choice_weight, x, before, after, wires))
    num_columns = 1 + max(*node_columns, *(columns[-1] for columns in tap_columns.values() if columns), 0)
    height = FIRST_STREAM_Y + STREAM_PITCH * (len(depths) - 1) + 0.85
    width = LEFT + PITCH * num_columns + RIGHT
    return Layout(
        width, height, num_columns, streams, tuple(nodes), TASKS[summary.data.task].size(summary.data.classes)
    )


def _columns(search: Search, architecture: Architecture) -> tuple[dict[str, list[int]], list[int]]:
    """Columns of every modality's taps and of the steps.

    A tap stands over the first node that may read it, so that a shallower encoder spreads out. Where that puts two taps
    in one column, they stand side by side from the left, and the nodes move right until every wire leads forward.
    """
    offered = [{tap for choice in node.choices for tap in choice.inputs} for node in search.nodes]
    taps: dict[str, list[int]] = {}
    for modality, depth in search.depths.items():
        first = [next((i for i, on in enumerate(offered) if f"{modality}@{d}" in on), -1) for d in range(depth)]
        is_orderly = all(one < other for one, other in zip([-1, *first], first, strict=False))
        taps[modality] = first if is_orderly else list(range(depth))
    columns: list[int] = []
    for step in architecture.steps:
        needed = [taps[tap_modality(tap)][tap_depth(tap)] for tap in step.inputs if is_tap(tap)]
        columns.append(max(columns[-1] + 1 if columns else 0, 0, *needed))
    return taps, columns


def _stream(modality: str, columns: list[int], y: float, read: set[str], data: DataDescription) -> Stream:
    deepest = max((i for i in range(len(columns)) if f"{modality}@{i}" in read), default=-1)
    layers = []
    for i, column in enumerate(columns):
        x = LEFT + PITCH * column
        layers.append(Layer(x, y, x + TAP_OFFSET, i <= deepest, f"{modality}@{i}" in read))
    info = data.modalities.get(modality)
    return Stream(modality, _detail(info) if info else "", y, tuple(layers))


def _detail(info: ModalityDescription) -> str:
    """Kind and shape of a modality's input, such as "map, 1 × 8 × 8"."""
    sizes = " × ".join(clean(size, 10) for size in (info.shapes[0] if info.shapes else ()))
    return clean(f"{info.kind}, {sizes}" if sizes else info.kind, 40)


def _wires(
    inputs: Sequence[str], taps: Mapping[str, tuple[float, float]], earlier: Mapping[str, Node], x: float
) -> tuple[Wire, ...]:
    """Wires reach the top of the node side by side, the farther stream to the right, so that they do not cross."""
    unknown = [name for name in inputs if name not in taps and name not in earlier]
    if unknown:
        raise ValueError(f"no tap or earlier node is called {unknown[0]!r}")
    near_first = sorted((name for name in inputs if name in taps), key=lambda name: taps[name][1])
    wires = []
    for i, name in enumerate(near_first):
        spread = min(0.26, 0.72 / max(len(near_first) - 1, 1))
        end = (x + spread * (i - (len(near_first) - 1) / 2), NODE_Y + NODE_HEIGHT / 2)
        wires.append(Wire(name.split("@", 1)[0], taps[name], end))
    for name in inputs:
        if name in earlier:
            wires.append(Wire(None, (earlier[name].x, STATE_Y), (x - NODE_WIDTH / 2, NODE_Y)))
    return tuple(wires)
