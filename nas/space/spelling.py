"""How a space spells its architectures: one choice for every node, the idle and the unread ones among them.

Where nodes read nodes, several spellings are one architecture: a node that reads an idle one is idle itself, one that
nobody reads does not matter, and the state of an idle node is that of its residual. One spelling of each architecture
is its own: a node that is no step of it makes the first choice that leaves it idle, or if there is none the idlest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, combinations

from nas.errors import UserError
from nas.space.architecture import Architecture, Choice, Step, is_tap
from nas.space.node import FusionNode

_UNREAD = "an unread node"
"""In place of the state of a node that is neither idle nor live: nothing live may depend on it."""

_States = Mapping[str, str | None]
"""Node to the step whose state it passes on; None for none."""


def is_sum(nodes: Sequence[FusionNode]) -> bool:
    """Whether every node reads taps alone and the fused state is the sum of all outputs."""
    before = [None, *(node.name for node in nodes)]
    in_chain = all(node.residual == name for node, name in zip(nodes, before, strict=False))
    return in_chain and all(is_tap(name) for node in nodes for name in node.sources)


def spelled(nodes: Sequence[FusionNode], architecture: Architecture) -> dict[str, Choice]:
    """What every node chooses so that the nodes make a static architecture.

    Raises:
        UserError: If they cannot.
    """
    steps = {step.name: step for step in architecture.steps}
    if unknown := steps.keys() - {node.name for node in nodes}:
        raise UserError(f"architecture has steps {sorted(unknown)}, expected some of {[node.name for node in nodes]}")
    states: dict[str, str | None] = {}
    found = {}
    for node in nodes:
        step = steps.get(node.name)
        if step is not None:
            found[node.name], states[node.name] = _spelled_step(node, step, states), node.name
            continue
        idle = next((choice for choice in _may_be_idle(node, states) if _reads(choice, states) is None), None)
        found[node.name] = idle or node.choices[node.least_reading]
        states[node.name] = _before(node, states) if idle else _UNREAD
    return found


def _spelled_step(node: FusionNode, step: Step, states: _States) -> Choice:
    if step.choice in node.index:
        return step.choice
    for choice in node.choices:
        if choice.operation == step.operation and _reads(choice, states) == step.inputs:
            return choice
    if not node.offers(step.choice):
        raise UserError(f"node {node.name!r} does not offer {step.choice.key!r}")
    return step.choice


def _may_be_idle(node: FusionNode, states: _States) -> Iterable[Choice]:
    """The choices of a node that read nothing, and if a node before it is idle all that may read that."""
    return node.choices if None in states.values() else (node.choices[number] for number in node.idle)


def _before(node: FusionNode, states: _States) -> str | None:
    return None if node.residual is None else states[node.residual]


def _reads(choice: Choice, states: _States) -> tuple[str, ...] | None:
    """What a choice reads once idle nodes are passed by; None if it reads nothing, or a node that has no state."""
    inputs = [name if is_tap(name) else states[name] for name in choice.inputs]
    read = tuple(name for name in inputs if name is not None)
    return read if read and len(read) == len(inputs) else None


def count(nodes: Sequence[FusionNode]) -> int:
    """Number of different architectures.

    For every set of nodes, those spellings are counted in which exactly these are live. So it takes 2ⁿ steps of n nodes
    that read each other, however many choices these have. Where no node can be idle there is a faster way.
    """
    if not any(node.idle for node in nodes):
        return _count_without_idle(nodes)
    names = [node.name for node in nodes]
    every = chain.from_iterable(combinations(names, size) for size in range(len(names) + 1))
    return sum(_count_live(nodes, frozenset(live)) for live in every)


def _count_without_idle(nodes: Sequence[FusionNode]) -> int:
    """From the last node back: by which earlier nodes are read so far, the number of ways to choose those that read."""
    ways = Counter({frozenset({nodes[-1].name}): 1})
    for node in reversed(nodes):
        made = Counter(frozenset(name for name in choice.inputs if not is_tap(name)) for choice in node.choices)
        before = {node.residual} if node.residual else set[str]()
        extra = Counter[frozenset[str]]()
        for read, number in ways.items():
            if node.name not in read:
                extra[read] += number
                continue
            for inputs, times in made.items():
                extra[read - {node.name} | inputs | before] += number * times
        ways = extra
    return ways[frozenset()]


def _count_live(nodes: Sequence[FusionNode], live: frozenset[str]) -> int:
    states: dict[str, str | None] = {}
    read = Counter({frozenset[str](): 1})  # nodes that those so far depend on to the number of ways
    for node in nodes:
        before = _before(node, states)
        if node.name not in live:
            is_idle = any(_reads(choice, states) is None for choice in node.choices)
            states[node.name] = before if is_idle else _UNREAD
            continue
        made = {(choice.operation, _reads(choice, states)) for choice in node.choices}
        ways = Counter(frozenset(inputs) | {before} for _, inputs in made if inputs)
        extra = Counter[frozenset[str]]()
        for names, number in read.items():
            for inputs, times in ways.items():
                extra[names | {name for name in inputs if name is not None and not is_tap(name)}] += number * times
        read, states[node.name] = extra, node.name
    last = states[nodes[-1].name]
    return read[live - {last}] if last in live or (last is None and not live) else 0


__all__ = ["count", "is_sum", "spelled"]
