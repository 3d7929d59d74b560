"""What the drawing of an architecture tells of each of its parts when one points at it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nas.report.layout import Layout
from nas.report.numbers import clean, count_text, node_titles
from nas.streams import tap_in_words
from nas.summary import Summary


@dataclass(frozen=True)
class NodeFacts:
    """What is known of one fusion node.

    Attributes:
        title: What people call it.
        label: Its choice in words.
        formula: Of the operation, or "".
        inputs: What it reads, in the order of the formula.
        multiply_adds: Of its operation for one sample; NaN if unknown.
        choice_weight: Weight of its choice at the end of the search; NaN if unknown.
        rival: The heaviest other choice in words, or "".
        rival_weight: Its weight.
    """

    title: str
    label: str
    formula: str
    inputs: tuple[str, ...]
    multiply_adds: float
    choice_weight: float
    rival: str
    rival_weight: float


def node_facts(summary: Summary) -> tuple[NodeFacts, ...]:
    """Of every node of the found architecture, in order."""
    titles = node_titles(summary.search.nodes)
    searched = {node.name: node for node in summary.search.nodes}
    facts = []
    for step in summary.architecture.steps:
        name, made, node = step.name, step.choice, searched.get(step.name)
        choices, choice_weights, chosen = (node.choices, node.choice_weights, node.chosen) if node else ((), (), None)
        choice = None if chosen is None else choices[chosen]
        others = [
            place
            for place, choice_weight in enumerate(choice_weights)
            if place != chosen and not math.isnan(choice_weight)
        ]
        rival = max(others, key=choice_weights.__getitem__, default=None)
        facts.append(
            NodeFacts(
                title=titles.get(name, clean(name)),
                label=clean(choice.label if choice else made.in_words()),
                formula=clean(choice.formula, 200) if choice else "",
                inputs=tuple(clean(tap_in_words(tap)) for tap in made.inputs),
                multiply_adds=summary.costs.nodes.get(name, math.nan),
                choice_weight=node.choice_weight if node else math.nan,
                rival="" if rival is None else clean(choices[rival].label),
                rival_weight=math.nan if rival is None else choice_weights[rival],
            )
        )
    return tuple(facts)


def tooltips(summary: Summary, plan: Layout) -> dict[str, str]:
    """Some lines for every fusion node, "node-1", and every encoder layer, "layer-0-2" of the first modality's third.

    Args:
        summary: Of the run.
        plan: Of the drawing.
    """
    found = {f"node-{place}": _of_node(facts) for place, facts in enumerate(node_facts(summary))}
    for row, stream in enumerate(plan.streams):
        for depth, layer in enumerate(stream.layers):
            cost = summary.costs.encoders.get(f"{stream.modality}@{depth}", math.nan)
            state = "its tap is read" if layer.read else "run for a deeper tap" if layer.runs else "not run"
            lines = [f"{clean(stream.modality)}, layer {depth}: {state}"]
            if layer.runs and not math.isnan(cost):
                lines.append(f"{count_text(cost)} multiply-adds for one sample up to here")
            found[f"layer-{row}-{depth}"] = "\n".join(lines)
    return found


def _of_node(facts: NodeFacts) -> str:
    lines = [f"{facts.title}: {facts.label}"]
    if facts.inputs and facts.formula:
        lines.append(facts.formula)
        lines.append("where " + ", ".join(f"x{place} is {tap}" for place, tap in enumerate(facts.inputs, start=1)))
    if facts.inputs and not math.isnan(facts.multiply_adds):
        lines.append(f"{count_text(facts.multiply_adds)} multiply-adds for one sample")
    if not math.isnan(facts.choice_weight):
        lines.append(f"weight in the search {_share(facts.choice_weight)}")
    if facts.rival:
        word = "outweighed by" if facts.rival_weight > facts.choice_weight else "runner-up:"
        lines.append(f"{word} {facts.rival}, weight {_share(facts.rival_weight)}")
    return "\n".join(lines)


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
