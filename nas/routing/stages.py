"""Which routes a cascade tries, and in which order: those that lower the loss most for what they add."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod

from torch import Tensor

from nas.network.cost import CostTable
from nas.space.architecture import MAX_ROUTES, Architecture, Choice, tap_name
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from nas.supernet.path_scorer import standard_errors

Reach = Mapping[str, int]
"""Modality to its deepest layer that has been run, −1 for none."""


def every_stage(space: SearchSpace, found: Architecture, cost: CostTable) -> dict[Architecture, Reach]:
    """What a found architecture comes to wherever its encoders may stop, see `within`, but for what costs as much.

    With three modalities of three layers these are up to 62. Where there would be more than `MAX_ROUTES`, encoders stop
    after their first or last layer alone, or after the last one alone; of seven modalities and more, the cheapest ones
    are taken together, one more in every stage.

    Args:
        space: That all are of.
        found: A static architecture.
        cost: Multiply-adds of every part of the supernet.
    """
    stages: dict[Architecture, Reach] = {}
    for reach in _reaches(found.deepest(), cost):
        one = within(space, found, reach)
        keeps_to_it = all(last <= reach[name] for name, last in one.deepest().items())
        if one.taps() and keeps_to_it and cost.total(one) < cost.total(found):
            stages.setdefault(one, reach)
    return stages


def _reaches(end: Reach, cost: CostTable) -> Iterator[Reach]:
    every = [range(last + 1) for last in end.values()]
    for depths in (every, [{0, last} for last in end.values()], [{last} for last in end.values()]):
        levels = [(-1, *sorted(some)) for some in depths]
        if prod(map(len, levels)) <= MAX_ROUTES:
            return (dict(zip(end, some, strict=True)) for some in product(*levels))
    order = sorted(end, key=lambda name: cost.encoders[tap_name(name, end[name])])
    return ({name: end[name] if name in order[:count] else -1 for name in end} for count in range(1, len(order)))


def steepest(
    stages: Mapping[Architecture, Reach], losses: Mapping[Architecture, Tensor], nothing: Tensor, cost: CostTable
) -> list[Architecture]:
    """The routes of a cascade but for the found architecture, the cheapest first.

    Steepest descent from the constant answer: of all that read what the one before has read and more, the next one is
    that which lowers the loss most per multiply-add, as long as that is by more than one paired standard error. So
    every route goes on from what is there, and none would be better replaced by a mixture of its neighbours.

    Args:
        stages: As `every_stage` returns them.
        losses: Of every stage on the same samples, (samples,).
        nothing: Of the best constant answer, (samples,).
        cost: Multiply-adds of every part of the supernet.
    """
    chosen: list[Architecture] = []
    before, spent, reach = nothing, 0.0, dict[str, int]()
    while True:
        cheaper = [
            one
            for one, some in stages.items()
            if cost.total(one) > spent and all(some[name] >= last for name, last in reach.items())
        ]
        gained = {one: before - losses[one] for one in cheaper}
        cheaper = [one for one in cheaper if float(standard_errors(gained[one])) > 1]
        if not cheaper:
            return chosen
        best = max(cheaper, key=lambda one: float(gained[one].mean()) / (cost.total(one) - spent))
        chosen.append(best)
        before, spent, reach = losses[best], float(cost.total(best)), dict(stages[best])


def within(space: SearchSpace, found: Architecture, reach: Reach) -> Architecture:
    """What a found architecture comes to if its encoders run so far and no further.

    A node that reads deeper taps besides does what it does without them: the same operation on those that are left, or
    carries the one that is left. A modality that is then read nowhere is added where its deepest tap that is there is
    read, if that node has nothing else to do.

    Args:
        space: Of the architecture.
        found: A static architecture.
        reach: How far its encoders run.
    """
    there = {tap_name(name, depth) for name, last in reach.items() for depth in range(last + 1)}
    choices = {}
    for node, choice in zip(space.nodes, space.choices(found).values(), strict=True):
        choices[node.name] = made = _without(space, node, choice, there)
        if (made.inputs and there.issuperset(made.inputs)) or node.residual in there:
            there.add(node.name)
    read = set(space.compose(choices).modalities())
    for node in space.nodes:
        taps = [tap_name(name, last) for name, last in reach.items() if name not in read]
        taps = [tap for tap in node.sources if tap in taps]
        if not choices[node.name].inputs:
            choices[node.name] = _join(space, node, "", taps)
            read |= set(choices[node.name].modalities)
    return space.compose(choices)


def _without(space: SearchSpace, node: FusionNode, choice: Choice, there: set[str]) -> Choice:
    """What a node does with those of its inputs that are there."""
    left = [name for name in choice.inputs if name in there]
    return choice if len(left) == len(choice.inputs) else _join(space, node, choice.operation, left)


def _join(space: SearchSpace, node: FusionNode, operation: str, names: list[str]) -> Choice:
    """An operation on some inputs, or the best that a node offers in its place: adding them, carrying one, nothing."""
    same = [choice for choice in node.choices if choice.inputs == tuple(names) != ()]
    own = [choice for choice in same if choice.operation == operation]
    adds = [choice for choice in same if space.operations[choice.operation].order == 1]
    carried = {c.inputs[0]: c for c in node.choices if space.operations[c.operation].carries}
    carries = [carried[name] for name in reversed(names) if name in carried]
    return next(iter([*own, *adds, *carries]), node.choices[node.least_reading])
