"""How sure a search is: what several searches of one space agree on, and the one that stands for them all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from nas.space.architecture import Architecture, is_tap, tap_depth
from nas.space.search_space import SearchSpace


@dataclass(frozen=True, kw_only=True)
class Stability:
    """What some searches chose, counted in searches, and how far they agree.

    Attributes:
        num_searches: How many, n.
        num_distinct: How many different architectures they found, 1 to n.
        choices: Node to how many searches made each of its choices, in the order of the node's choices; each node's
            counts add up to n.
        modalities: Modality to how many of the architectures read it.
        depths: Depth to how many of the architectures fuse or carry there: one of their choices has it as its deepest
            tap.
        interaction_orders: Order to how many of the architectures have it as their highest; adds up to n.
        shared_nodes: For each search, at how many nodes its choice is that of another search, over all others.
        agreement: Mean share of the nodes at which two searches make the same choice, 0 to 1; NaN for one search.
        chance_agreement: That share if choices were dealt to the nodes by chance, above 0 to 1; see `stability`.
        kappa: The agreement beyond chance, at most 1; NaN where it is undefined, see `stability`.
    """

    num_searches: int
    num_distinct: int
    choices: Mapping[str, tuple[int, ...]]
    modalities: Mapping[str, int]
    depths: Mapping[int, int]
    interaction_orders: Mapping[int, int]
    shared_nodes: tuple[int, ...]
    agreement: float
    chance_agreement: float
    kappa: float

    def agreement_of(self, search: int) -> float:
        """Mean share of the nodes at which one search agrees with another, over all others; NaN if there is none.

        Args:
            search: Its number, from 0.
        """
        pairs = len(self.choices) * (self.num_searches - 1)
        return self.shared_nodes[search] / pairs if pairs else math.nan

    def medoid(self, multiply_adds: Sequence[int]) -> int:
        """Number of the search, from 0, whose architecture agrees most with all others; a tie goes to the cheapest.

        A vote at every node could put together an architecture that no search has found; this one has been.

        Args:
            multiply_adds: Of every architecture, (searches,). Of equally cheap ones the first is taken.

        Raises:
            ValueError: If there are more or fewer of them than searches.
        """
        if len(multiply_adds) != self.num_searches:
            raise ValueError(f"expected multiply-adds of {self.num_searches} searches, got {len(multiply_adds)}")
        return min(range(self.num_searches), key=lambda i: (-self.shared_nodes[i], multiply_adds[i], i))


def stability(space: SearchSpace, architectures: Sequence[Architecture]) -> Stability:
    """Counts what several searches chose, and how far beyond chance they agree.

    Fleiss 1971, "Measuring nominal scale agreement among many raters", with nodes as subjects, searches as raters and
    choices as categories: n_ik of the n searches make choice k at node i of N. Then

        P̄ = 1/N Σ_i (Σ_k n_ik² − n) / (n (n − 1))     the agreement: a mean over nodes and pairs of searches
        P̄_e = Σ_k p_k²,  p_k = 1/(N n) Σ_i n_ik       the agreement by chance: every choice as frequent as it is
        κ = (P̄ − P̄_e) / (1 − P̄_e)

    Chance deals out the choices that were made without regard to the node, so κ tells whether the searches agree on
    *where* something is done: searches that do one thing each, anywhere, agree at most nodes, for most nodes of all of
    them do nothing, but their κ is near 0. A choice is told by its operation and the taps that it reads. Of what
    decides per sample the last route counts, the static architecture that was found; gates and other routes do not.

    κ is undefined, and NaN, for fewer than two searches, and where one choice is made everywhere, for then chance
    agrees as well. Departing from the paper, so it is in a space of a single node: there is no other place to deal a
    choice to, and the formula could not come above 0.

    Args:
        space: That all of them searched.
        architectures: What each search found, at least one.

    Raises:
        ValueError: If there is no architecture.
        UserError: If one is not of the space.
    """
    if not architectures:
        raise ValueError("expected the architecture of at least one search, got none")
    for architecture in architectures:
        space.validate(architecture)
    num_searches, num_nodes = len(architectures), len(space.nodes)
    indices = [space.index(architecture) for architecture in architectures]
    counts = {
        node.name: tuple(column.count(choice) for choice in range(len(node.choices)))
        for node, column in zip(space.nodes, zip(*indices, strict=True), strict=True)
    }
    shared = [0] * num_searches
    for i, j in combinations(range(num_searches), 2):
        same = sum(one == other for one, other in zip(indices[i], indices[j], strict=True))
        shared[i] += same
        shared[j] += same
    pairs = num_nodes * num_searches * (num_searches - 1)
    agreement = sum(shared) / pairs if pairs else math.nan
    everywhere = Counter(choice for architecture in architectures for choice in space.choices(architecture).values())
    chance = sum(count**2 for count in everywhere.values()) / (num_nodes * num_searches) ** 2
    is_defined = num_searches > 1 and num_nodes > 1 and len(everywhere) > 1
    orders = [space.operations[choice.operation].order for node in space.nodes for choice in node.choices]
    return Stability(
        num_searches=num_searches,
        num_distinct=len(set(architectures)),
        choices=counts,
        modalities={name: sum(name in one.modalities() for one in architectures) for name in space.modalities},
        depths={
            depth: sum(depth in _depths(one) for one in architectures) for depth in range(max(space.depths.values()))
        },
        interaction_orders={
            order: sum(space.interaction_order(one) == order for one in architectures)
            for order in range(max(1, *orders) + 1)
        },
        shared_nodes=tuple(shared),
        agreement=agreement,
        chance_agreement=chance,
        kappa=(agreement - chance) / (1 - chance) if is_defined else math.nan,
    )


def _depths(architecture: Architecture) -> set[int]:
    read = ([tap_depth(name) for name in step.inputs if is_tap(name)] for step in architecture.steps)
    return {max(depths) for depths in read if depths}
