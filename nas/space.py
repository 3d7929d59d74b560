"""A search space: fusion nodes with everything each may choose. It holds choices, no tensors."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from typing import Literal

import networkx as nx

from nas.architecture import Architecture, Choice, tap_depth, tap_modality
from nas.errors import UserError, unknown_name
from nas.operation import Operation

OUTPUT = "output"

ReferenceKind = Literal["modality", "late", "transformer", "early", "operation"]


@dataclass(frozen=True)
class FusionNode:
    """A place where inputs are chosen and one candidate operation is applied.

    Attributes:
        name: Unique in its space, such as "fusion1".
        choices: All that it may do, each at most once.
        residual: Earlier node whose fused state is added to this node's output, or None.
        any_subset: Whether an architecture may also apply an operation to a part of what it reads in some choice. A
            supernet does not hold these, for of many modalities they are too many to learn each.
    """

    name: str
    choices: tuple[Choice, ...]
    residual: str | None = None
    any_subset: bool = False

    def offers(self, choice: Choice) -> bool:
        """Whether an architecture may choose this here."""
        return choice in self.choices or (
            self.any_subset
            and len(choice.inputs) > 1
            and any(choice.operation == one.operation and set(choice.inputs) < set(one.inputs) for one in self.choices)
        )

    def sources(self) -> tuple[str, ...]:
        """Taps and earlier nodes that some choice reads, each once, in order of first use."""
        return tuple(dict.fromkeys(name for choice in self.choices for name in choice.inputs))

    def idlest(self) -> int:
        """Index of the choice that reads least: nothing where that is offered; of equals the first."""
        return min(range(len(self.choices)), key=lambda index: len(self.choices[index].inputs))

    def edges(self) -> dict[frozenset[str], list[int]]:
        """Every set of inputs that some choice reads, with the indices of those choices, in order of first use."""
        found: dict[frozenset[str], list[int]] = {}
        for index, choice in enumerate(self.choices):
            found.setdefault(frozenset(choice.inputs), []).append(index)
        return found

    def idle(self) -> list[int]:
        """Indices of the choices that read nothing."""
        return [index for index, choice in enumerate(self.choices) if not choice.inputs]


@dataclass(frozen=True)
class Reference:
    """A fixed architecture that a search is judged against, whether or not the space itself offers it.

    Attributes:
        name: For people; the modality, "late fusion", "late-fusion transformer", "early fusion" or the operation.
        kind: What it stands for.
        architecture: Over the same nodes and taps as the space.
    """

    name: str
    kind: ReferenceKind
    architecture: Architecture


@dataclass(frozen=True)
class SearchSpace:
    """Fusion nodes in topological order; the last node's fused state goes to the head.

    Attributes:
        name: Name under which `find_space` knows it.
        depths: For each modality, how many taps its encoder offers.
        nodes: The fusion nodes; each reads taps and earlier nodes alone.
        operations: Name to operation class, for every operation that some choice or reference names.
        references: What a found architecture is compared with; several of one operation differ in depth or in order.
        warm_up: An architecture that every encoder can learn through at full depth, whatever the interaction between
            modalities; a supernet whose encoders train along starts with it. None for none.
        dynamic: Names of `nas.routing.levels.LEVELS` at which a found architecture may decide per sample; empty for a
            static space.
        gated: The dynamic architecture that the space holds alone; None for any other space.
    """

    name: str
    depths: Mapping[str, int]
    nodes: tuple[FusionNode, ...]
    operations: Mapping[str, type[Operation]]
    references: tuple[Reference, ...] = field(default=(), repr=False)
    warm_up: Architecture | None = field(default=None, repr=False)
    dynamic: tuple[str, ...] = field(default=(), repr=False)
    gated: Architecture | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        known = {f"{modality}@{depth}" for modality, depths in self.depths.items() for depth in range(depths)}
        if not self.nodes:
            raise UserError("a search space needs at least one fusion node")
        for node in self.nodes:
            if len(set(node.choices)) != len(node.choices) or not node.choices:
                raise UserError(f"node {node.name!r} needs choices, each listed once")
            for choice in node.choices:
                if choice.operation not in self.operations:
                    raise unknown_name("operation", choice.operation, self.operations)
            unknown = ({*node.sources()} | ({node.residual} if node.residual else set())) - known
            if unknown:
                raise UserError(f"node {node.name!r} reads {sorted(unknown)}, which no tap or earlier node offers")
            if node.name in known:
                raise UserError(f"node name {node.name!r} is taken twice")
            known.add(node.name)
        if self.warm_up is not None:
            self.validate(self.warm_up)
        gating = self.gated.gating if self.gated else None
        if gating and (unread := [tap for tap in gating.reads if tap not in known or "@" not in tap]):
            raise UserError(f"the gate reads {unread}, which no encoder offers")

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in order."""
        return tuple(self.depths)

    def graph(self) -> nx.DiGraph:
        """Taps, fusion nodes and the output as a directed graph; an edge's `kind` is encoder, tap, residual or head."""
        graph = nx.DiGraph(space=self.name)
        for modality, depths in self.depths.items():
            for depth in range(depths):
                graph.add_node(f"{modality}@{depth}", kind="tap", modality=modality, depth=depth)
                if depth:
                    graph.add_edge(f"{modality}@{depth - 1}", f"{modality}@{depth}", kind="encoder")
        for node in self.nodes:
            graph.add_node(node.name, kind="fusion", choices=len(node.choices))
            for source in node.sources():
                graph.add_edge(source, node.name, kind="tap")
            if node.residual:
                graph.add_edge(node.residual, node.name, kind="residual")
        graph.add_node(OUTPUT, kind="output")
        graph.add_edge(self.nodes[-1].name, OUTPUT, kind="head")
        return graph

    def size(self) -> int:
        """Number of architectures."""
        return math.prod(len(node.choices) for node in self.nodes)

    def enumerate(self) -> Iterator[Architecture]:
        """Every architecture once, the last node varying fastest."""
        names = [node.name for node in self.nodes]
        for choices in itertools.product(*(node.choices for node in self.nodes)):
            yield Architecture(self.name, tuple(zip(names, choices, strict=True)))

    def sample(self, generator: random.Random) -> Architecture:
        """One architecture, every choice of every node equally likely."""
        return Architecture(self.name, tuple((node.name, generator.choice(node.choices)) for node in self.nodes))

    def mutate(self, architecture: Architecture, generator: random.Random) -> Architecture:
        """A copy with another choice at one node, drawn among the nodes that have one.

        Raises:
            UserError: If no node has a second choice.
        """
        free = [index for index, node in enumerate(self.nodes) if len(node.choices) > 1]
        if not free:
            raise UserError("nothing to mutate: every node has one choice only")
        index = generator.choice(free)
        name, now = architecture.choices[index]
        other = generator.choice([choice for choice in self.nodes[index].choices if choice != now])
        choices = (*architecture.choices[:index], (name, other), *architecture.choices[index + 1 :])
        return replace(architecture, choices=choices)

    def validate(self, architecture: Architecture) -> None:
        """Checks that the architecture is one of this space.

        Raises:
            UserError: If it is of another space, lacks a node, or makes a choice that its node does not offer.
        """
        if architecture.space != self.name:
            raise UserError(f"architecture is of space {architecture.space!r}, expected {self.name!r}")
        if [name for name, _ in architecture.choices] != [node.name for node in self.nodes]:
            raise UserError(f"architecture must decide {[node.name for node in self.nodes]}, in this order")
        for route in architecture.routes():
            for node in self.nodes:
                if not node.offers(route[node.name]):
                    raise UserError(f"node {node.name!r} does not offer {route[node.name].key!r}")

    def offers(self, architecture: Architecture) -> bool:
        """Whether the architecture is one of this space."""
        try:
            self.validate(architecture)
        except UserError:
            return False
        return True

    def restrict(self, architecture: Architecture) -> SearchSpace:
        """The space that holds this architecture alone: what the derived network is built from."""
        self.validate(architecture)
        return self.only(architecture)

    def only(self, architecture: Architecture) -> SearchSpace:
        """Like `restrict`, for an architecture whose choices the space need not offer, such as a reference's."""
        routes = architecture.routes()
        nodes = tuple(
            replace(node, choices=tuple(dict.fromkeys(route[node.name] for route in routes))) for node in self.nodes
        )
        gated = architecture if architecture.gating else None
        return replace(self, nodes=nodes, warm_up=None, gated=gated)

    def taps(self) -> tuple[str, ...]:
        """Names of all taps that some choice reads, each once, in order of first use."""
        return tuple(dict.fromkeys(name for node in self.nodes for name in node.sources() if "@" in name))

    def sole(self) -> Architecture:
        """The only architecture of a space that `only` or `restrict` made."""
        return self.gated or self.at((0,) * len(self.nodes))

    def index(self, architecture: Architecture) -> tuple[int, ...]:
        """Index of each node's choice, in the order of the nodes."""
        return tuple(node.choices.index(architecture[node.name]) for node in self.nodes)

    def path(self, architecture: Architecture) -> dict[str, int]:
        """Node name to the index of its choice: what a supernet runs to compute the architecture."""
        return dict(zip((node.name for node in self.nodes), self.index(architecture), strict=True))

    def at(self, index: tuple[int, ...]) -> Architecture:
        """The architecture with these choice indices: the inverse of `index`."""
        pairs = zip(self.nodes, index, strict=True)
        return Architecture(self.name, tuple((node.name, node.choices[i]) for node, i in pairs))

    def interaction_order(self, architecture: Architecture) -> int:
        """The highest interaction order among the choices of all routes: 0 when each reads one modality at most.

        Carrying two modalities at two nodes adds them up, so two or more modalities make it at least 1.
        """
        routes = architecture.routes()
        highest = max(self.operations[choice.operation].order for route in routes for _, choice in route.choices)
        return max(highest, 1) if any(len(route.modalities()) > 1 for route in routes) else 0


SpaceBuilder = Callable[..., SearchSpace]
"""Builds a space from how many taps each modality's encoder offers, and from options of its own."""


def space_names() -> list[str]:
    """Names of all installed spaces, in order."""
    return sorted({entry.name for entry in entry_points(group="fusenas.spaces")})


def find_space(name: str) -> SpaceBuilder:
    """The builder of an installed space, by its name in the entry-point group `fusenas.spaces`.

    Raises:
        UserError: If no installed package offers it.
    """
    for entry in entry_points(group="fusenas.spaces"):
        if entry.name == name:
            builder: SpaceBuilder = entry.load()
            return builder
    raise unknown_name("space", name, space_names())


def choice_depth(choice: Choice) -> int | None:
    """The deepest tap that a choice reads, or None if it reads none."""
    return max((tap_depth(name) for name in choice.inputs if "@" in name), default=None)


__all__ = [
    "OUTPUT",
    "FusionNode",
    "Reference",
    "SearchSpace",
    "SpaceBuilder",
    "choice_depth",
    "find_space",
    "space_names",
    "tap_depth",
    "tap_modality",
]
