"""Candidates: found by enumeration or beam, judged on samples that did not choose them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.space.search_space import SearchSpace
from nas.supernet.candidates import Candidates, score_candidates
from nas.supernet.path_scorer import PathScorer
from search_spaces import layerwise
from tests.strategies.problems import CPU, tiny_problem

_SPACE = layerwise({"image": 4, "audio": 4}, operations=["additive", "multiplicative", "mlp"])
"""Six choices at each of four nodes: 1 296 architectures."""


class Fabricated:
    """Stands for a supernet: the loss of an architecture is a sum over nodes and, if asked for, pairs of neighbours."""

    def __init__(self, *, coupled: bool = False) -> None:
        generator = np.random.default_rng(3)  # coupled, the best lies beyond the reach of a beam of one
        self.alone = generator.normal(size=(4, 6))
        self.pairs = generator.normal(size=(3, 6, 6)) * (1.5 if coupled else 0)
        self.seen: list[tuple[int, ...]] = []

    def losses(self, indices: NDArray[np.int64] | Sequence[tuple[int, ...]]) -> Tensor:
        rows = [tuple(map(int, row)) for row in indices]
        self.seen += rows
        losses = [
            sum(self.alone[i, row[i]] for i in range(4)) + sum(self.pairs[i, row[i], row[i + 1]] for i in range(3))
            for row in rows
        ]
        # Three samples whose mean is the loss.
        return torch.tensor(losses, dtype=torch.float32)[:, None] + torch.tensor([-1.0, 0.0, 1.0])


def search(space: SearchSpace, scorer: Fabricated, limit: int) -> Candidates:
    return score_candidates(space, cast(PathScorer, scorer), limit=limit)


def best_of(candidates: Candidates) -> tuple[int, ...]:
    return tuple(candidates.indices[candidates.best()].tolist())


def test_a_small_space_is_scored_whole() -> None:
    scorer = Fabricated()
    candidates = search(_SPACE, scorer, limit=1296)
    assert candidates.indices.tolist() == [list(_SPACE.index(one)) for one in _SPACE.enumerate()]
    assert best_of(candidates) == tuple(scorer.alone.argmin(axis=1))


@pytest.mark.parametrize("coupled", [False, True])
def test_the_beam_finds_the_best_of_a_larger_space_without_seeing_it_all(coupled: bool) -> None:
    whole = search(_SPACE, Fabricated(coupled=coupled), limit=1296)
    scorer = Fabricated(coupled=coupled)
    beam = search(_SPACE, scorer, limit=1295)
    assert best_of(beam) == best_of(whole)
    assert len(scorer.seen) == len(set(scorer.seen)) < 1000  # nothing is scored twice
    assert scorer.seen[0] == (0, 0, 0, 0)  # begins where nothing is fused
    assert sorted(map(tuple, beam.indices.tolist())) == sorted(scorer.seen)


def test_the_beam_of_a_real_supernet_finds_what_enumeration_finds() -> None:
    problem = tiny_problem()
    scorer = PathScorer(problem.make_network(), "classification", problem.architecture, CPU)
    whole, beam = score_candidates(problem.space, scorer), score_candidates(problem.space, scorer, limit=1)
    assert best_of(beam) == best_of(whole)
    row = whole.indices.tolist().index(beam.indices[beam.best()].tolist())
    assert torch.equal(whole.losses[row], beam.losses[beam.best()])


def test_beliefs_are_those_of_the_best_candidate_that_makes_the_choice() -> None:
    space = layerwise({"image": 1, "audio": 1}, operations=["additive"])  # nothing, image, audio, both
    best = torch.tensor([1.0, 2.0, 3.0, 4.0])
    worse = torch.tensor([2.0, 2.0, 4.0, 4.0])  # sqrt(3) standard errors above, see `paired_z`
    losses = torch.stack([best, worse, best + 1e3 * torch.tensor([1.0, 2.0, 1.0, 2.0]), best])
    candidates = Candidates(np.arange(4)[:, None], losses)
    assert candidates.z()[:2].tolist() == pytest.approx([0, 3**0.5])
    plausible = np.array([1, np.exp(-1.5), np.exp(-0.5 * float(candidates.z()[2]) ** 2), 1])
    assert candidates.choice_weights(space)["fusion0"] == pytest.approx(plausible / plausible.sum(), abs=1e-6)
    assert plausible[2] < 1e-5
