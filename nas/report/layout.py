"""Where everything in the architecture figure goes, in inches, origin at the lower left. Nothing is drawn here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.report.numbers import clean, node_titles
from nas.space.architecture import Architecture, Step, is_tap, tap_depth, tap_modality
from nas.streams import plain_taps, wiring
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
HEAD = 1.15
"""From the left edge of the head to that of the figure."""
STATE_Y = 0.75
NODE_Y = 1.85
FIRST_STREAM_Y = 3.05
LANE_PITCH = 0.42
GUTTER = 0.3
"""How far below its stream a wire runs that passes further layers, and where two of them do, `GUTTER_STEP` apart."""
GUTTER_STEP = 0.07
STATE_OFFSET = 0.6
"""How far to the left of a node's middle the first wire of a state meets it, and how far the next ones from there."""
STATE_STEP = 0.2

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
    """From a tap, or from the state of an earlier step, to a fusion node.

    Attributes:
        modality: Of the tap; None for a state.
        start: Where it begins: at the tap, or on the line of the state below the node.
        end: Where it meets the node: from above, or from below if it is of a state.
        along: Height at which it runs to the right: that of its stream, or below it where layers are in the way.
    """

    modality: str | None
    start: tuple[float, float]
    end: tuple[float, float]
    along: float


@dataclass(frozen=True)
class Sum:
    """From a tap of one encoder to a layer of another one, to whose output it is added.

    Attributes:
        modality: Of the tap.
        start: Where the tap is.
        end: Where it is added: behind the layer.
    """

    modality: str
    start: tuple[float, float]
    end: tuple[float, float]


@dataclass(frozen=True)
class Node:
    """One fusion node.

    Attributes:
        name: Of the node.
        title: What people call it.
        operation: That it applies.
        modalities: That it reads.
        choice_weight: Weight of its choice at the end of the search, NaN if unknown.
        x: Of its middle.
        lane: Height of the line of its state.
        reach: How far that line goes to the right: to the last that reads it, or to the head.
        state_before: Modalities in the fused state that its output is added to; empty if there is none.
        state_after: Modalities in the fused state behind it.
        wires: What it reads.
    """

    name: str
    title: str
    operation: str
    modalities: tuple[str, ...]
    choice_weight: float
    x: float
    lane: float
    reach: float
    state_before: tuple[str, ...]
    state_after: tuple[str, ...]
    wires: tuple[Wire, ...]


@dataclass(frozen=True)
class Layout:
    """The whole figure: its size, its columns, its parts, and what the head puts out.

    Attributes:
        width: In inches.
        height: In inches.
        num_columns: Columns that layers stand in.
        node_y: Height of the middle of all nodes.
        streams: From top to bottom.
        nodes: From left to right; the last one's state goes to the head.
        output: In words.
        sums: What is added into an encoder on the way.
    """

    width: float
    height: float
    num_columns: int
    node_y: float
    streams: tuple[Stream, ...]
    nodes: tuple[Node, ...]
    output: str
    sums: tuple[Sum, ...] = ()


def layout(summary: Summary, architecture: Architecture | None = None) -> Layout:
    """Places streams from top to bottom, the steps below them from left to right, their states at the bottom.

    A step that adds to a state goes on with its line; every other one begins a line of its own, the last one's lowest.

    Args:
        summary: Of the run.
        architecture: A static one, such as a route; None for what was found.
    """
    architecture = architecture or summary.architecture
    titles = node_titles(summary.search.nodes)
    choice_weights = {node.name: node.choice_weight for node in summary.search.nodes}
    depths = summary.search.depths
    if not depths or not all(0 < depth <= MAX_TAPS for depth in depths.values()):
        raise ValueError(f"not 1 to {MAX_TAPS} taps for every modality")
    read = set(plain_taps(architecture.taps(), depths))
    added = [one for tap in architecture.taps() for one in wiring(tap, depths).sums]

    tap_columns, node_columns = _columns(summary.search, architecture)
    lanes = _lanes(architecture)
    rise = max(lanes.values(), default=STATE_Y) - STATE_Y
    tops = {name: FIRST_STREAM_Y + rise + STREAM_PITCH * i for i, name in enumerate(reversed(list(depths)))}
    streams = tuple(_stream(name, tap_columns[name], tops[name], read, summary.data) for name in depths)
    wires = _Wires(streams, NODE_Y + rise)
    at = {
        step.name: LEFT + PITCH * column + NODE_OFFSET
        for column, step in zip(node_columns, architecture.steps, strict=True)
    }
    num_columns = 1 + max(*(columns[-1] for columns in tap_columns.values() if columns), 0)
    width = LEFT + PITCH * max(num_columns, 1 + max(node_columns, default=0)) + RIGHT

    nodes: list[Node] = []
    for step in architecture.steps:
        earlier = {node.name: node for node in nodes}
        before = earlier[step.add_to].state_after if step.add_to else ()
        readers = [_met(at[one.name], one, step.name) for one in architecture.steps if step.name in one.sources]
        reach = max(readers, default=width - HEAD)
        own = step.choice.modalities
        passed = [m for name in step.inputs if name in earlier for m in earlier[name].state_after]
        after = tuple(m for m in depths if m in {*before, *own, *passed})
        choice_weight = choice_weights.get(step.name, math.nan)
        nodes.append(
            Node(
                name=step.name,
                title=titles.get(step.name, clean(step.name)),
                operation=step.operation,
                modalities=own,
                choice_weight=choice_weight,
                x=at[step.name],
                lane=lanes[step.name],
                reach=reach,
                state_before=before,
                state_after=after,
                wires=wires.to(_read(step, depths), earlier, at[step.name]),
            )
        )
    return Layout(
        width=width,
        height=FIRST_STREAM_Y + rise + STREAM_PITCH * (len(depths) - 1) + 0.85,
        num_columns=num_columns,
        node_y=NODE_Y + rise,
        streams=streams,
        nodes=tuple(nodes),
        output=TASKS[summary.data.task].size(summary.data.classes),
        sums=tuple(Sum(tap_modality(tap), wires.taps[tap], wires.taps[onto]) for tap, onto in dict.fromkeys(added)),
    )


def _read(step: Step, depths: Mapping[str, int]) -> list[str]:
    """What a step reads, by taps of single modalities and earlier steps."""
    return [name for source in step.inputs for name in wiring(source, depths).read]


def _met(x: float, step: Step, state: str) -> float:
    """Where a step with its middle at x meets a state: on its line if it adds to it, else where its wire starts."""
    states = [name for name in step.inputs if not is_tap(name)]
    return x if step.add_to == state else x - STATE_OFFSET + STATE_STEP * states.index(state)


def _lanes(architecture: Architecture) -> dict[str, float]:
    """Height of the line of every step's state, the last one's lowest."""
    first: dict[str, str] = {}
    for step in architecture.steps:
        first[step.name] = first[step.add_to] if step.add_to else step.name
    order = list(dict.fromkeys(reversed([first[step.name] for step in architecture.steps])))
    return {name: STATE_Y + LANE_PITCH * order.index(begun) for name, begun in first.items()}


def _columns(search: Search, architecture: Architecture) -> tuple[dict[str, list[int]], list[int]]:
    """Columns of every modality's taps and of the steps.

    A tap stands over the first node that may read it, so that a shallower encoder spreads out. Where that puts two taps
    in one column, they stand side by side from the left, and the nodes move right until every wire leads forward.
    """
    depths = search.depths
    offered = [set(plain_taps((t for choice in node.choices for t in choice.inputs), depths)) for node in search.nodes]
    taps: dict[str, list[int]] = {}
    for modality, depth in search.depths.items():
        first = [next((i for i, on in enumerate(offered) if f"{modality}@{d}" in on), -1) for d in range(depth)]
        is_orderly = all(one < other for one, other in zip([-1, *first], first, strict=False))
        taps[modality] = first if is_orderly else list(range(depth))
    columns: list[int] = []
    for step in architecture.steps:
        needed = [taps[tap_modality(tap)][tap_depth(tap)] for tap in _read(step, depths) if is_tap(tap)]
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


class _Wires:
    """Leads wires to nodes, so that they run over no layer, and not over one another."""

    def __init__(self, streams: Sequence[Stream], node_y: float) -> None:
        self.taps = {f"{s.modality}@{i}": (layer.tap_x, layer.y) for s in streams for i, layer in enumerate(s.layers)}
        self.layers = {s.modality: [layer.x for layer in s.layers] for s in streams}
        self.node_y = node_y
        self.below: Counter[str] = Counter()

    def to(self, inputs: Sequence[str], earlier: Mapping[str, Node], x: float) -> tuple[Wire, ...]:
        """Wires reach the node side by side: of taps from above, the farther stream to the right; of states from below.

        Args:
            inputs: What the node reads.
            earlier: The nodes before it.
            x: Of the node's middle.
        """
        if unknown := [name for name in inputs if name not in self.taps and name not in earlier]:
            raise ValueError(f"no tap or earlier node is called {unknown[0]!r}")
        near_first = sorted((name for name in inputs if name in self.taps), key=lambda name: self.taps[name][1])
        spread = min(0.26, 0.72 / max(len(near_first) - 1, 1))
        wires = []
        for i, name in enumerate(near_first):
            end = (x + spread * (i - (len(near_first) - 1) / 2), self.node_y + NODE_HEIGHT / 2)
            wires.append(Wire(tap_modality(name), self.taps[name], end, self._along(name, end[0])))
        states = [earlier[name] for name in inputs if name in earlier]
        for i, node in enumerate(states):
            left = x - STATE_OFFSET + STATE_STEP * i
            wires.append(Wire(None, (left, node.lane), (left, self.node_y - NODE_HEIGHT / 2), node.lane))
        return tuple(wires)

    def _along(self, tap: str, end: float) -> float:
        """The height at which the wire of a tap runs: below its stream if that has a layer before the wire's end."""
        modality, (start, y) = tap_modality(tap), self.taps[tap]
        if not any(start < layer < end for layer in self.layers[modality]):
            return y
        self.below[modality] += 1
        return y - GUTTER - GUTTER_STEP * ((self.below[modality] - 1) % 3)
