"""Who stands on the leaderboard: the found architecture and everything it has to be compared with."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from nas.retraining.summed import can_be_summed
from nas.space.architecture import Architecture
from nas.space.search_space import Reference, SearchSpace
from nas.summary import RowKind
from nas.supernet.path_scorer import PathScorer

PROMISING = 3
"""How many single operations `quick` trains for every seed: the best of the first one."""

RANDOM_TRAININGS = 3
"""How many random architectures the control trains per seed; the best of them on the architecture split is judged.

As many as a search may cost, so the control has a budget at least as large."""


@dataclass(frozen=True)
class Contestant:
    """One row of the leaderboard before anything is trained.

    Attributes:
        name: For people.
        kind: What it stands for.
        architecture: What is trained; None for `random`, which draws its own for every seed, and for `control`, which
            has none, see `nas.retraining.controls`.
        separate: Whether its weights come from networks that were trained on one modality each, see
            `nas.retraining.summed`.
        instead_of: Name of the row whose place it takes if it does better for the first seed, see
            `nas.discretize.tournament`.
    """

    name: str
    kind: RowKind
    architecture: Architecture | None
    separate: bool = False
    instead_of: str = ""


def contestants(space: SearchSpace, found: Architecture, scorer: PathScorer | None) -> list[Contestant]:
    """The rows of the leaderboard, none of which depends on the test split.

    Args:
        space: With its references.
        found: What was read out of the supernet.
        scorer: Of the trained supernet, which tells at which depth an operation is at its best; None for a search
            without one.
    """
    rows = [Contestant("found", "found", found)]
    if found.gating is not None:
        rows.append(Contestant("static", "static", found.routes()[-1]))
    for one in space.references:
        if one.kind == "late" and can_be_summed(space):
            rows.append(Contestant("sum of single networks", "sum", one.architecture, separate=True))
        if one.kind != "operation":
            rows.append(Contestant(one.name, one.kind, one.architecture))
    named = {one.architecture for one in space.references if one.kind != "operation"}
    rows += [
        Contestant(one.name, "operation", one.architecture)
        for one in _operations(space, scorer)
        if one.architecture not in named  # such as additive at the last depth, which is late fusion
    ]
    return [*rows, Contestant("random search", "random", None)]


def random_architectures(space: SearchSpace, seed: int) -> list[Architecture]:
    """What the control trains for one seed: a few architectures, every choice equally likely.

    They are not those that the strategy `random` draws from the same seed.
    """
    generator = random.Random(f"control {seed}")
    return [space.sample(generator) for _ in range(RANDOM_TRAININGS)]


def _operations(space: SearchSpace, scorer: PathScorer | None) -> list[Reference]:
    """Each operation once, alone at its best depth."""
    best: dict[str, tuple[float, Reference]] = {}
    for reference in space.references:
        if reference.kind == "operation":
            loss = _loss(space, scorer, reference)
            if reference.name not in best or loss < best[reference.name][0]:
                best[reference.name] = (loss, reference)
    return [reference for _, reference in best.values()]


def _loss(space: SearchSpace, scorer: PathScorer | None, reference: Reference) -> float:
    """The supernet's loss of a reference, infinite of one that the space does not offer.

    Without a supernet, deeper is taken for better.
    """
    if scorer is None:
        return -float(_depth(reference))
    if not space.offers(reference.architecture):
        return math.inf
    return scorer.loss(reference.architecture)


def _depth(reference: Reference) -> int:
    return max(reference.architecture.deepest().values())


__all__: Sequence[str] = ["Contestant", "contestants", "random_architectures"]
