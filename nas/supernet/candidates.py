"""Candidates of a space and what the supernet thinks of them: all when the space is small, a beam when it is not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.supernet.path_scorer import PathScorer, paired_z

ENUMERATE_UP_TO = 5_000
BEAM_WIDTH = 24

GROWTH_WIDTH = 6
"""How many of the best are grown where nodes stand for one another: every one by all that its space offers."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Scored architectures.

    Attributes:
        indices: Choice index of every node, (architectures, nodes).
        losses: On samples of the architecture split, (architectures, samples).
        scorer: Which scored them, and may score others; None if it is gone.
    """

    indices: NDArray[np.int64]
    losses: Tensor
    scorer: PathScorer | None = None

    def best(self) -> int:
        """Row of the lowest mean loss."""
        return int(self.losses.mean(dim=1).argmin())

    def take(self, rows: NDArray[np.int64]) -> Candidates:
        """Some of them, (rows,)."""
        return replace(self, indices=self.indices[rows], losses=self.losses[torch.from_numpy(rows)])

    def including(self, index: tuple[int, ...], scorer: PathScorer) -> Candidates:
        """These and one more, with its index of every node, if it is not among them."""
        if (self.indices == np.array(index)).all(axis=1).any():
            return self
        return replace(
            self,
            indices=np.vstack([self.indices, index]),
            losses=torch.cat([self.losses, scorer.losses([index])]),
        )

    def extending(self, space: SearchSpace, architecture: Architecture) -> NDArray[np.int64]:
        """Rows of those that do all that an architecture does and one thing more, (rows,).

        Args:
            space: Of the candidates.
            architecture: Static.
        """
        own = {(step.name, step.choice) for step in architecture.steps}
        found = []
        for row, index in enumerate(self.indices.tolist()):
            steps = {(step.name, step.choice) for step in space.at(index).steps}
            if own < steps and len(steps) == len(own) + 1:
                found.append(row)
        return np.array(found, dtype=np.int64)

    def z(self) -> Tensor:
        """Paired standard errors above the best, (architectures,)."""
        return paired_z(self.losses, self.losses[self.best()])

    def choice_weights(self, space: SearchSpace) -> dict[str, list[float]]:
        """For every node how plausible each choice is: exp(−z²/2) of the best candidate that makes it, normalised.

        Of nodes that stand for one another those candidates count that have a step there; where none has, all choices
        are alike.
        """
        weights = torch.exp(-0.5 * self.z().square()).double().numpy()
        rows = self.indices.tolist() if space.interchangeable else []
        steps = [{step.name for step in space.at(row).steps} for row in rows]
        choice_weights = {}
        for column, node in enumerate(space.nodes):
            best = np.zeros(len(node.choices))
            is_live = np.ones(len(self.indices), dtype=bool)
            if node.name in space.interchangeable:
                is_live = np.array([node.name in made for made in steps])
            np.maximum.at(best, self.indices[is_live, column], weights[is_live])
            best = best if best.any() else np.ones_like(best)
            choice_weights[node.name] = (best / best.sum()).tolist()
        return choice_weights


def score_candidates(
    space: SearchSpace, scorer: PathScorer, *, limit: int = ENUMERATE_UP_TO, grow: bool = True
) -> Candidates:
    """Scores every architecture of a small space, or those that a beam search meets in a large one.

    The beam starts from the architectures with the fewest active nodes and changes one node at a time, keeping the
    best `BEAM_WIDTH`, until a round brings nothing better. Simple interactions come first by construction.

    Where nodes stand for one another, all that the last node can do by itself is scored, and the best `GROWTH_WIDTH`
    get one more step after them, in every way, until there is no node left or a round brings nothing better.

    Args:
        space: The space of the scorer's supernet.
        scorer: Of the trained supernet.
        limit: Largest size that is enumerated.
        grow: Whether steps are added where nodes stand for one another.
    """
    sizes = [len(node.choices) for node in space.nodes]
    if space.size() <= limit:
        indices = np.array(list(space.indices()), dtype=np.int64)
        return Candidates(indices, scorer.losses(indices), scorer)
    if space.interchangeable:
        return _score_grown(space, scorer, grow=grow)
    start = tuple(node.least_reading for node in space.nodes)
    seen: dict[tuple[int, ...], Tensor] = {}
    fresh, best = [start], float("inf")
    while fresh:
        seen.update(zip(fresh, scorer.losses(fresh), strict=True))
        beam = sorted(seen, key=lambda row: float(seen[row].mean()))[:BEAM_WIDTH]
        now = float(seen[beam[0]].mean())
        if now >= best:
            break
        best = now
        fresh = list(
            dict.fromkeys(
                neighbour
                for row in beam
                for column, size in enumerate(sizes)
                for value in range(size)
                if (neighbour := space.own_spelling((*row[:column], value, *row[column + 1 :]))) not in seen
            )
        )
    return Candidates(np.array(list(seen), dtype=np.int64), torch.stack(list(seen.values())), scorer)


def _score_grown(space: SearchSpace, scorer: PathScorer, *, grow: bool) -> Candidates:
    rest = tuple(node.least_reading for node in space.nodes[:-1])
    fresh = [(*rest, number) for number, is_nested in enumerate(space.nodes[-1].nested) if not is_nested]
    seen: dict[tuple[int, ...], Tensor] = {}
    best = float("inf")
    while fresh:
        seen.update(zip(fresh, scorer.losses(fresh), strict=True))
        order = sorted(seen, key=lambda row: float(seen[row].mean()))
        if (now := float(seen[order[0]].mean())) >= best or not grow:
            break
        best = now
        grown = [one for row in order[:GROWTH_WIDTH] for one in space.grown(space.at(row))]
        fresh = [row for row in dict.fromkeys(map(space.index, grown)) if row not in seen]
    return Candidates(np.array(list(seen), dtype=np.int64), torch.stack(list(seen.values())), scorer)
