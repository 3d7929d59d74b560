"""An architecture and a search space as HTML, for a notebook: a table each, and the graph of an architecture as SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

MAX_NODES = 50
"""Rows of a table; a space with more is cut."""

WIDTH, HEIGHT, GAP, ROW = 150, 34, 50, 50
"""Of a box in the graph, and between boxes, in pixels."""


class Drawn(NamedTuple):
    """One step of an architecture; see `nas.space.architecture.Step`."""

    name: str
    operation: str
    inputs: tuple[str, ...]
    add_to: str | None


class Listed(NamedTuple):
    """One fusion node of a space: its name, how many choices it has, by which operations, and what they read."""

    name: str
    choices: int
    operations: Iterable[str]
    sources: Iterable[str]


def architecture_html(words: str, steps: Sequence[Drawn]) -> str:
    """What an architecture does in words, its graph, and its steps."""
    rows = [(step.name, step.operation, ", ".join(step.inputs) or "–", step.add_to or "–") for step in steps]
    head = Markup("<p><b>{}</b></p>").format(words)
    return str(head + _graph(steps) + _table(("step", "operation", "reads", "adds to"), rows))


def space_html(words: str, nodes: Sequence[Listed]) -> str:
    """What a space holds in words, and its fusion nodes."""
    rows = [
        (one.name, str(one.choices), ", ".join(dict.fromkeys(one.operations)), ", ".join(dict.fromkeys(one.sources)))
        for one in nodes[:MAX_NODES]
    ]
    return str(Markup("<p><b>{}</b></p>").format(words) + _table(("node", "choices", "operations", "sources"), rows))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    head = Markup("").join(Markup("<th>{}</th>").format(one) for one in header)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row))
        for row in rows
    )
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(head, body)


def _graph(steps: Sequence[Drawn]) -> Markup:
    """Taps at the left, then the steps in columns, each behind all that it reads; an arrow for everything read."""
    columns: dict[str, int] = {}
    for step in steps:
        for source in step.inputs:
            columns.setdefault(source, 0)
        before = [columns[name] for name in (*step.inputs, *([step.add_to] if step.add_to else []))]
        columns[step.name] = 1 + max(before, default=0)
    if not columns:
        return Markup("")
    places: dict[str, tuple[int, int]] = {}
    for column in range(max(columns.values()) + 1):
        here = [name for name, its in columns.items() if its == column]
        places |= {name: (column * (WIDTH + GAP), row * ROW) for row, name in enumerate(here)}
    labels = {step.name: step.operation for step in steps}
    parts = [
        Markup("<line x1='{}' y1='{}' x2='{}' y2='{}' stroke='#888'{}/>").format(
            places[source][0] + WIDTH,
            places[source][1] + HEIGHT // 2,
            places[step.name][0],
            places[step.name][1] + HEIGHT // 2,
            Markup(" stroke-dasharray='4 3'") if source == step.add_to and source not in step.inputs else "",
        )
        for step in steps
        for source in (*step.inputs, *([step.add_to] if step.add_to else []))
    ]
    parts += [
        Markup(
            "<rect x='{0}' y='{1}' width='{2}' height='{3}' rx='6' fill='{4}' stroke='#555'/>"
            "<text x='{5}' y='{6}' text-anchor='middle' font-size='12' font-family='sans-serif'>{7}</text>"
        ).format(
            *places[name],
            WIDTH,
            HEIGHT,
            "#e8eef7" if name in labels else "#f4f4f4",
            places[name][0] + WIDTH // 2,
            places[name][1] + HEIGHT // 2 + 4,
            labels.get(name, name)[:22],
        )
        for name in columns
    ]
    width = max(x for x, _ in places.values()) + WIDTH + 2
    height = max(y for _, y in places.values()) + HEIGHT + 2
    return Markup(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='-1 -1 {} {}' style='max-width:{}px'>{}</svg>"
    ).format(width + 1, height + 1, width, Markup("").join(parts))


__all__ = ["Drawn", "Listed", "architecture_html", "space_html"]
