"""Candidates of a space and what the supernet thinks of them: all when the space is small, a beam when it is not."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.scoring import PathScorer, paired_z
from nas.space import SearchSpace

ENUMERATE_UP_TO = 5_000
BEAM_WIDTH = 24


@dataclass(frozen=True, eq=False)
class Candidates:
    """Scored architectures.

    Attributes:
        indices: Choice index of every node, (architectures, nodes).
        losses: On samples of the architecture split, (architectures, samples).
    """

    indices: NDArray[np.int64]
    losses: Tensor

    def best(self) -> int:
        """Row of the lowest mean loss."""
        return int(self.losses.mean(dim=1).argmin())

    def take(self, rows: NDArray[np.int64]) -> Candidates:
        """Some of them, (rows,)."""
        return Candidates(self.indices[rows], self.losses[torch.from_numpy(rows)])

    def including(self, index: tuple[int, ...], scorer: PathScorer) -> Candidates:
        """These and one more, with its index of every node, if it is not among them."""
        if (self.indices == np.array(index)).all(axis=1).any():
            return self
        return Candidates(np.vstack([self.indices, index]), torch.cat([self.losses, scorer.losses([index])]))

    def is_active(self, space: SearchSpace) -> NDArray[np.bool_]:
        """Which nodes of each read something, (architectures, nodes)."""
        reads = [np.array([bool(choice.inputs) for choice in node.choices]) for node in space.nodes]
        return np.stack([some[column] for some, column in zip(reads, self.indices.T, strict=True)], axis=1)

    def extending(
        self, index: NDArray[np.int64], kept: NDArray[np.bool_], is_active: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Rows of those that do one thing more than an architecture, (rows,).

        Args:
            index: Its choice index of every node, (nodes,).
            kept: Which of its nodes read something, (nodes,).
            is_active: As `is_active` returns it.
        """
        same = (self.indices[:, kept] == index[kept]).all(axis=1)
        return np.flatnonzero(same & (is_active.sum(axis=1) == kept.sum() + 1))

    def z(self) -> Tensor:
        """Paired standard errors above the best, (architectures,)."""
        return paired_z(self.losses, self.losses[self.best()])

    def beliefs(self, space: SearchSpace) -> dict[str, list[float]]:
        """For every node how plausible each choice is: exp(−z²/2) of the best candidate that makes it, normalised."""
        weights = torch.exp(-0.5 * self.z().square()).double().numpy()
        beliefs = {}
        for column, node in enumerate(space.nodes):
            best = np.zeros(len(node.choices))
            np.maximum.at(best, self.indices[:, column], weights)
            beliefs[node.name] = (best / best.sum()).tolist()
        return beliefs


def score_candidates(space: SearchSpace, scorer: PathScorer, *, limit: int = ENUMERATE_UP_TO) -> Candidates:
    """Scores every architecture of a small space, or those that a beam search meets in a large one.

    The beam starts from the architectures with the fewest active nodes and changes one node at a time, keeping the
    best `BEAM_WIDTH`, until a round brings nothing better. Simple interactions come first by construction.

    Args:
        space: The space of the scorer's supernet.
        scorer: Of the trained supernet.
        limit: Largest size that is enumerated.
    """
    sizes = [len(node.choices) for node in space.nodes]
    if space.size() <= limit:
        indices = np.array(list(itertools.product(*(range(size) for size in sizes))), dtype=np.int64)
        return Candidates(indices, scorer.losses(indices))
    start = tuple(node.idlest() for node in space.nodes)
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
                if (neighbour := (*row[:column], value, *row[column + 1 :])) not in seen
            )
        )
    return Candidates(np.array(list(seen), dtype=np.int64), torch.stack(list(seen.values())))
