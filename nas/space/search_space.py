"""A search space: fusion nodes with everything each may choose. It holds choices, no tensors."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from typing import Any, Literal

import networkx as nx

from nas.errors import UserError, unknown_name
from nas.space.architecture import (
    NOTHING,
    Architecture,
    Choice,
    Option,
    Step,
    is_tap,
    natural_key,
    read_by_gate,
    tap_name,
)
from nas.space.html import Listed, space_html
from nas.space.node import FusionNode
from nas.space.operation import Operation
from nas.space.renaming import count_renamed, renamed
from nas.space.spelling import count, is_sum, spelled
from nas.streams import is_joined, offers_tap, tap_modalities, wiring

OUTPUT = "output"

JOINED_ORDER = 3
"""Interaction order of two modalities in one encoder, whose further layers may do anything with their sum."""

ReferenceKind = Literal["modality", "late", "transformer", "early", "operation"]


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
        name: Name under which `find_space` knows it, or any other one.
        depths: For each modality, how many taps its encoder offers.
        nodes: The fusion nodes; each reads taps and earlier nodes alone.
        operations: Name to operation class, for every operation that some choice or reference names.
        references: What a found architecture is compared with; several of one operation differ in depth or in order.
        warm_up: An architecture that every encoder can learn through at full depth, whatever the interaction between
            modalities; a supernet whose encoders train along starts with it. None for none.
        dynamic: Names of `nas.routing.levels.LEVELS` at which a found architecture may decide per sample; empty for a
            static space.
        options: (name, value) of the options that it was built with, which its architectures record.
        interchangeable: Names of nodes that stand for one another: all but the last, each of which may read all before
            it. What is chosen at one of them could be chosen at another, see `nas.space.renaming`. Empty for none.
        fixed: The architecture that it holds alone; None for a space in which something can be chosen.
    """

    name: str
    depths: Mapping[str, int]
    nodes: tuple[FusionNode, ...]
    operations: Mapping[str, type[Operation]]
    references: tuple[Reference, ...] = field(default=(), repr=False)
    warm_up: Architecture | None = field(default=None, repr=False)
    dynamic: tuple[str, ...] = field(default=(), repr=False)
    options: tuple[tuple[str, Option | tuple[Option, ...]], ...] = ()
    interchangeable: tuple[str, ...] = ()
    fixed: Architecture | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        depths = ", ".join(f"{name} {depth}" for name, depth in self.depths.items())
        return f"<SearchSpace {self.name!r}: {len(self.nodes)} nodes, {self.size():,} architectures; taps: {depths}>"

    def _repr_html_(self) -> str:
        depths = ", ".join(f"{name} ({depth} taps)" for name, depth in self.depths.items())
        words = f"{self.name}: {self.size():,} architectures of {len(self.nodes)} fusion nodes over {depths}"
        nodes = [
            Listed(
                node.name,
                len(node.choices),
                [choice.operation for choice in node.choices],
                [source for choice in node.choices for source in choice.inputs],
            )
            for node in self.nodes
        ]
        return space_html(words, nodes)

    def __post_init__(self) -> None:
        known = {f"{modality}@{depth}" for modality, depths in self.depths.items() for depth in range(depths)}
        if not self.nodes and self.fixed is None:
            raise UserError("a search space needs at least one fusion node")
        for node in self.nodes:
            if len({choice.key for choice in node.choices}) != len(node.choices) or not node.choices:
                raise UserError(f"node {node.name!r} needs choices, each listed once")
            for choice in node.choices:
                if choice.operation not in self.operations:
                    raise unknown_name("operation", choice.operation, self.operations)
            named = {*node.sources} | ({node.residual} if node.residual else set())
            unknown = {name for name in named - known if not (is_tap(name) and offers_tap(name, self.depths))}
            if unknown:
                raise UserError(f"node {node.name!r} reads {sorted(unknown)}, which no tap or earlier node offers")
            if node.name in known:
                raise UserError(f"node name {node.name!r} is taken twice")
            known.add(node.name)
        if self.warm_up is not None:
            self.validate(self.warm_up)
        reads = read_by_gate(self.fixed.gating) if self.fixed else ()
        if unread := [tap for tap in reads if not (is_tap(tap) and offers_tap(tap, self.depths))]:
            raise UserError(f"the gate reads {unread}, which no encoder offers")

    @classmethod
    def of(
        cls, architecture: Architecture, depths: Mapping[str, int], operations: Mapping[str, type[Operation]]
    ) -> SearchSpace:
        """The space that holds one architecture alone: what the derived network is built from.

        Args:
            architecture: Whatever space it is of.
            depths: For each modality, how many taps its encoder offers.
            operations: Name to operation class, for those that it applies.

        Raises:
            UserError: If it reads a tap that is not there, or applies an operation that is not.
        """
        steps = [step for route in architecture.routes() for step in route.steps]
        nodes = tuple(
            FusionNode(name, tuple(dict.fromkeys(step.choice for step in steps if step.name == name)))
            for name in _in_order(steps)
        )
        if architecture.gating is None:
            nodes = tuple(replace(node, residual=architecture[node.name].add_to) for node in nodes)
        return cls(
            architecture.space, dict(depths), nodes, operations, options=architecture.options, fixed=architecture
        )

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in order."""
        return tuple(self.depths)

    @property
    def joins_encoders(self) -> bool:
        """Whether some tap is of one modality's encoder into which another one is added, see `nas.streams`."""
        return any(map(is_joined, self.taps()))

    def graph(self) -> nx.DiGraph:
        """Taps, fusion nodes and the output as a directed graph.

        An edge's `kind` is encoder, sum (of one encoder into another), tap, residual or head.
        """
        graph = nx.DiGraph(space=self.name)
        for modality, depths in self.depths.items():
            for depth in range(depths):
                graph.add_node(f"{modality}@{depth}", kind="tap", modality=modality, depth=depth)
                if depth:
                    graph.add_edge(f"{modality}@{depth - 1}", f"{modality}@{depth}", kind="encoder")
        for node in self.nodes:
            graph.add_node(node.name, kind="fusion", choices=len(node.choices))
            for source in node.sources:
                shown = wiring(source, self.depths)
                graph.add_edges_from(shown.sums, kind="sum")
                graph.add_edges_from(((tap, node.name) for tap in shown.read), kind="tap")
            if node.residual:
                graph.add_edge(node.residual, node.name, kind="residual")
        graph.add_node(OUTPUT, kind="output")
        graph.add_edge(self.nodes[-1].name, OUTPUT, kind="head")
        return graph

    def is_sum(self) -> bool:
        """Whether every node reads taps alone and adds its output to the state of the node before."""
        return is_sum(self.nodes)

    def size(self) -> int:
        """Number of architectures."""
        if self.is_sum():  # the general count, which takes longer the more nodes there are, comes to the same
            return math.prod(len(node.choices) - max(0, len(node.idle) - 1) for node in self.nodes)
        return count_renamed(self.nodes, self.interchangeable) if self.interchangeable else count(self.nodes)

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Index of each node's choice for every architecture once, the last node varying fastest."""
        every = itertools.product(*(range(len(node.choices)) for node in self.nodes))
        return (index for index in every if self.own_spelling(index) == index)

    def enumerate(self) -> Iterator[Architecture]:
        """Every architecture once."""
        return map(self.at, self.indices())

    def compose(self, choices: Mapping[str, Choice]) -> Architecture:
        """The static architecture of these choices, whether or not their nodes offer them.

        Args:
            choices: Node to what it does; nodes that are left out do nothing.
        """
        made = [(node, choices.get(node.name, NOTHING)) for node in self.nodes]
        steps = tuple(Step(node.name, choice.operation, choice.inputs, node.residual) for node, choice in made)
        return self.named(Architecture(self.name, steps, self.nodes[-1].name if self.nodes else None, self.options))

    def named(self, architecture: Architecture) -> Architecture:
        """A static architecture of this space by the names that its steps have here, see `nas.space.renaming`."""
        if not self.interchangeable:
            return architecture
        taps = [tap_name(name, depth) for name, taps in self.depths.items() for depth in range(taps)]
        sources = [*taps, *(node.name for node in self.nodes)]
        return renamed(
            architecture, self.interchangeable, sources, lambda operation: self.operations[operation].is_ordered
        )

    def sample(self, generator: random.Random) -> Architecture:
        """One architecture, every choice of every node equally likely."""
        return self.compose({node.name: generator.choice(node.choices) for node in self.nodes})

    def mutate(self, architecture: Architecture, generator: random.Random) -> Architecture:
        """Another architecture, by another choice at one node, drawn among the nodes that have one.

        Where the new choice makes no difference, since nothing depends on it, more nodes make another one.

        Raises:
            UserError: If no node has a second choice, or no choice makes a difference.
        """
        free = [node for node in self.nodes if len(node.choices) > 1]
        if not free:
            raise UserError("nothing to mutate: every node has one choice only")
        choices = self.choices(architecture)
        while True:
            node = generator.choice(free)
            choices[node.name] = generator.choice([one for one in node.choices if one != choices[node.name]])
            if (mutated := self.compose(choices)) != architecture:
                return mutated
            if self.size() == 1:
                raise UserError("nothing to mutate: all choices make one architecture")

    def grown(self, architecture: Architecture) -> Iterator[Architecture]:
        """A static architecture with one more step after it: what it comes to is read by a new last one.

        Only a space with interchangeable nodes has such, as long as one of them is free; only those that a supernet
        holds are told. What is but carried is read as it is, and is nothing to go on from.

        Args:
            architecture: Of this space, with one step or more.
        """
        free = [name for name in self.interchangeable if name not in {step.name for step in architecture.steps}]
        if not free or architecture.output is None:
            return
        *before, last = architecture.steps
        if self.operations[last.operation].carries:
            return
        made = {step.name: step.choice for step in before} | {free[0]: last.choice}
        for choice in self.nodes[-1].choices:
            if free[0] in choice.inputs and made.keys() >= {name for name in choice.inputs if not is_tap(name)}:
                yield self.compose({**made, self.nodes[-1].name: choice})

    def validate(self, architecture: Architecture) -> None:
        """Checks that the architecture is one of this space.

        Raises:
            UserError: If it is of another space, or a step is at no node, or makes a choice that its node does not
                offer, or is joined to others in another way than the space joins them.
        """
        for route in architecture.routes():
            self.choices(route)

    def offers(self, architecture: Architecture) -> bool:
        """Whether the architecture is one of this space."""
        try:
            self.validate(architecture)
        except UserError:
            return False
        return True

    def with_options(self, **options: Option | Sequence[Option]) -> SearchSpace:
        """The same space, which records these options and those before; so do its references and all it composes."""
        given = {name: tuple(v) if isinstance(v, list | tuple) else v for name, v in options.items()}
        every: Any = tuple(sorted((dict(self.options) | given).items()))

        def recorded(architecture: Architecture) -> Architecture:
            return replace(architecture, options=every)

        return replace(
            self,
            options=every,
            references=tuple(replace(one, architecture=recorded(one.architecture)) for one in self.references),
            warm_up=recorded(self.warm_up) if self.warm_up else None,
        )

    def restrict(self, architecture: Architecture) -> SearchSpace:
        """The space that holds one of its architectures alone."""
        self.validate(architecture)
        return self.only(architecture)

    def only(self, architecture: Architecture) -> SearchSpace:
        """Like `restrict`, for an architecture whose choices the space need not offer, such as a reference's."""
        return SearchSpace.of(architecture, self.depths, self.operations)

    def taps(self) -> tuple[str, ...]:
        """Names of all taps that some choice reads, each once, in order of first use."""
        return tuple(dict.fromkeys(name for node in self.nodes for name in node.sources if is_tap(name)))

    def choices(self, architecture: Architecture) -> dict[str, Choice]:
        """What each node chooses for a static architecture, those that are no step of it too; see `nas.space.spelling`.

        Raises:
            UserError: If the architecture is not of this space.
        """
        if architecture.space != self.name:
            raise UserError(f"architecture is of space {architecture.space!r}, expected {self.name!r}")
        choices = spelled(self.nodes, architecture)
        if (made := self.compose(choices)) != architecture:
            raise UserError(
                f"the space has no architecture {architecture.in_short()}; the nearest is {made.in_short()}"
            )
        return choices

    def index(self, architecture: Architecture) -> tuple[int, ...]:
        """Index of each node's choice, in the order of the nodes.

        Raises:
            UserError: If the architecture is not of this space, or makes a choice that no supernet holds.
        """
        made = self.choices(architecture)
        for node in self.nodes:
            if made[node.name] not in node.index:
                raise UserError(f"no supernet holds {made[node.name].key!r} at node {node.name!r}")
        return tuple(node.index[made[node.name]] for node in self.nodes)

    def path(self, architecture: Architecture) -> dict[str, int]:
        """Node name to the index of its choice: what a supernet runs to compute the architecture."""
        return dict(zip((node.name for node in self.nodes), self.index(architecture), strict=True))

    def at(self, index: Sequence[int]) -> Architecture:
        """The architecture with these choice indices."""
        pairs = zip(self.nodes, index, strict=True)
        return self.compose({node.name: node.choices[place] for node, place in pairs})

    def own_spelling(self, index: tuple[int, ...]) -> tuple[int, ...]:
        """The choice indices that stand for the same architecture in `indices`."""
        if self.is_sum() and all(len(node.idle) < 2 for node in self.nodes):
            return index
        return self.index(self.at(index))

    def holds(self, architecture: Architecture) -> bool:
        """Whether a supernet of this space holds the architecture."""
        try:
            self.index(architecture)
        except UserError:
            return False
        return True

    def interaction_order(self, architecture: Architecture) -> int:
        """The highest interaction order among the steps of all routes: 0 when each route reads one modality at most.

        Carrying two modalities at two nodes adds them up, so two or more modalities make it at least 1.
        """
        routes = architecture.routes()
        highest = max((order for route in routes for order in self.step_orders(route).values()), default=0)
        return max(highest, 1) if any(len(route.modalities()) > 1 for route in routes) else 0

    def step_orders(self, architecture: Architecture) -> dict[str, int]:
        """Interaction order of every step of a static architecture, by its name.

        It is that of its operation where the inputs hold several modalities, which one state may do that was fused
        before; else it is 0, as of a block on a tap.
        """
        held: dict[str, set[str]] = {}  # modalities in the state of every step
        orders = {}
        for step in architecture.steps:
            read = set[str]().union(*(tap_modalities(name) if is_tap(name) else held[name] for name in step.inputs))
            held[step.name] = read | (held[step.add_to] if step.add_to else set())
            order = JOINED_ORDER if any(map(is_joined, step.inputs)) else self.operations[step.operation].order
            orders[step.name] = order if len(read) > 1 else 0
        return orders


def _in_order(steps: Sequence[Step]) -> list[str]:
    """Names of the steps of all routes of an architecture, each once, in an order in which all routes run them."""
    graph = nx.DiGraph()
    for step in steps:
        graph.add_node(step.name)
        graph.add_edges_from((source, step.name) for source in step.sources)
    if not nx.is_directed_acyclic_graph(graph):
        raise UserError("the routes of the architecture run the same steps in different orders")
    return list(nx.lexicographical_topological_sort(graph, key=natural_key))


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


__all__ = [
    "OUTPUT",
    "Reference",
    "SearchSpace",
    "SpaceBuilder",
    "find_space",
    "space_names",
]
