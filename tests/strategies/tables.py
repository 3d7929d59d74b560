"""Landscapes to search without training anything: a loss for every architecture, and a memory of who was asked for."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nas.network.cost import CostTable
from nas.space.architecture import Architecture, Choice
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from nas.strategies import SearchProblem
from search_spaces import OPERATIONS, layerwise

NUM_SAMPLES = 6


@dataclass
class Table:
    """An evaluator that looks losses up; every sample has the same one.

    Attributes:
        loss: Of an architecture.
        asked: All that were evaluated, in order.
    """

    loss: Callable[[Architecture], float]
    asked: list[Architecture] = field(default_factory=list)

    def __call__(self, problem: SearchProblem, architecture: Architecture) -> Tensor:
        self.asked.append(architecture)
        return torch.full((NUM_SAMPLES,), self.loss(architecture))


def medium_space() -> SearchSpace:
    """Three nodes of seven choices each: 343 architectures."""
    return layerwise({"sound": 3, "sight": 3}, operations=["additive", "multiplicative", "mlp", "low_rank"])


def uneven_space() -> SearchSpace:
    """Three nodes that have not one choice in common, two, four and three of them: 24 architectures."""
    return SearchSpace(
        "uneven",
        {"sound": 2, "sight": 2},
        (
            FusionNode("first", (Choice("carry", ("sound@0",)), Choice("carry", ("sight@0",)))),
            FusionNode(
                "second",
                tuple(
                    Choice(name, ("sound@0", "sight@1")) for name in ("additive", "multiplicative", "mlp", "low_rank")
                ),
                "first",
            ),
            FusionNode(
                "third",
                (Choice("none"), *(Choice(name, ("first", "sight@1")) for name in ("additive", "mlp"))),
                "second",
            ),
        ),
        OPERATIONS,
    )


def additive(space: SearchSpace, seed: int = 0) -> Callable[[Architecture], float]:
    """A landscape without interactions: every choice of every node adds a number of its own between 0 and 1."""
    generator = random.Random(seed)
    worth = [[generator.random() for _ in node.choices] for node in space.nodes]
    return lambda architecture: sum(row[index] for row, index in zip(worth, space.index(architecture), strict=True))


def costs_of_inputs(space: SearchSpace) -> CostTable:
    """A table in which every choice costs as many multiply-adds as it has inputs, and nothing else costs any."""
    taps = {f"{modality}@{depth}": 0 for modality, depths in space.depths.items() for depth in range(depths)}
    choices = [choice for node in space.nodes for choice in node.choices if choice.inputs]
    operations = {(choice.operation, (1,) * len(choice.inputs)): len(choice.inputs) for choice in choices}
    return CostTable(taps, {}, taps, dict.fromkeys(taps, 1), operations, head=0)
