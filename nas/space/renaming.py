"""One name for each network of a space some of whose nodes may stand for one another.

Where several nodes offer the same, a step may be made at any of them, and the networks are one. Of such nodes an
architecture uses the first ones, and its steps are made at them in a fixed order: by how many steps lie before each
(its level), then by what it does.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from nas.errors import UserError
from nas.space.architecture import Architecture, Step, is_tap
from nas.space.node import FusionNode


def renamed(
    architecture: Architecture,
    nodes: Sequence[str],
    sources: Sequence[str],
    is_ordered: Callable[[str], bool],
) -> Architecture:
    """A static architecture whose steps at interchangeable nodes are made at the first of these, in order.

    Args:
        architecture: Whose steps may be made at any of the nodes.
        nodes: The interchangeable ones, in their order.
        sources: All that can be read, in the order in which inputs are named.
        is_ordered: Whether an operation of this name tells its first input from the others.
    """
    names: dict[str, str] = {}
    place = {name: number for number, name in enumerate(sources)}

    def made(step: Step) -> Step:
        inputs = [names.get(name, name) for name in step.inputs]
        first = 1 if is_ordered(step.operation) else 0
        inputs = [*inputs[:first], *sorted(inputs[first:], key=lambda name: place.get(name, len(place)))]
        add_to = None if step.add_to is None else names.get(step.add_to, step.add_to)
        return Step(names.get(step.name, step.name), step.operation, tuple(inputs), add_to)

    level: dict[str, int] = {}
    for step in architecture.steps:
        level[step.name] = 1 + max((level[name] for name in step.sources), default=0)
    free = iter(nodes)
    for number in sorted(set(level.values())):
        steps = [made(step) for step in architecture.steps if level[step.name] == number]
        for step in sorted(steps, key=lambda step: (step.operation, step.inputs, step.add_to or "")):
            if step.name in nodes:
                names[step.name] = next(free)
    output = None if architecture.output is None else names.get(architecture.output, architecture.output)
    return replace(architecture, steps=tuple(made(step) for step in architecture.steps), output=output)


def count_renamed(nodes: Sequence[FusionNode], interchangeable: Sequence[str]) -> int:
    """Number of different architectures of interchangeable nodes that are read, in the end, by a last node.

    Args:
        nodes: Of the space; the last of them is the only one that is not interchangeable.
        interchangeable: Names of the others, of which each may read all before it.

    Raises:
        UserError: If the last node is not the only other one, or the choices of a node depend on which of the nodes
            before it they read, and not just on how many.
    """
    *inner, last = nodes
    if [node.name for node in inner] != list(interchangeable):
        raise UserError("of a space with interchangeable nodes the last node is the only other one")
    at_last = _ways(last, interchangeable)
    total = at_last[0] - max(0, len(last.idle) - 1)
    for size in range(1, len(inner) + 1):
        ways = [_ways(node, interchangeable[:number]) for number, node in enumerate(inner[:size])]
        for reads in itertools.product(*(list(_subsets(number)) for number in range(size))):
            levels = _levels(reads)
            order = list(zip(levels, reads, strict=True))
            if order != sorted(order):
                continue
            alike = Counter(order)
            number = math.prod(
                math.comb(ways[order.index(one)][len(one[1])] + times - 1, times) for one, times in alike.items()
            )
            for read_last in _subsets(size):
                if set().union(read_last, *reads) == set(range(size)):
                    total += number * at_last[len(read_last)]
    return total


def _subsets(size: int) -> list[tuple[int, ...]]:
    return [some for count in range(size + 1) for some in itertools.combinations(range(size), count)]


def _levels(reads: Sequence[Sequence[int]]) -> list[int]:
    levels: list[int] = []
    for some in reads:
        levels.append(1 + max((levels[number] for number in some), default=0))
    return levels


def _ways(node: FusionNode, before: Sequence[str]) -> Mapping[int, int]:
    """How many choices of a node read so many of the nodes before it, whichever these are."""
    found = Counter(frozenset(name for name in choice.inputs if not is_tap(name)) for choice in node.choices)
    ways: Counter[int] = Counter()
    for size in range(len(before) + 1):
        numbers = {found.pop(frozenset(some), 0) for some in itertools.combinations(before, size)}
        if len(numbers) > 1:
            raise UserError(f"node {node.name!r} does not offer the same for all nodes before it")
        ways[size] = numbers.pop()
    if found:
        raise UserError(f"node {node.name!r} reads a node that does not stand for others")
    return ways


__all__ = ["count_renamed", "renamed"]
