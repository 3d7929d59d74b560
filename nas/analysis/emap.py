"""EMAP: how much of a network's score needs its modalities to interact.

Hessel and Lee 2020, "Does my multimodal model learn cross-modal interactions? It's harder to tell than you might
think!": the empirical multimodally-additive projection is the additive function that is nearest, in squared distance
over all recombinations of the samples' modalities, to what a network says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.analysis.recombined import BLOCK, Recombined

MAX_GRID = 250_000
"""Recombinations that are run unless more are asked for: all of 500 samples of two modalities, of 62 of three."""


@dataclass(frozen=True, eq=False)
class Projection:
    """A network's answers and those of its additive projection.

    Attributes:
        rows: The samples that were taken, in order, (n,).
        outputs: Logits or predictions of the network, (n, outputs).
        projected: Those of its projection, (n, outputs).
        grid: Recombinations that were run.
    """

    rows: NDArray[np.int64]
    outputs: NDArray[np.float32]
    projected: NDArray[np.float32]
    grid: int


def emap(
    samples: Recombined,
    *,
    max_grid: int = MAX_GRID,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Projection:
    """Projects a network onto the additive functions of its modalities.

    With F the network's logits or predictions, E over samples drawn for every modality by itself, and x the sample:
    projected(x) = sum_u E[F | x_u] − (m − 1) E[F] (Hessel and Lee 2020, Eq. 4, written there for m = 2). It is exact on
    the samples that are taken: all N^m recombinations are run, encoders once per sample.

    Args:
        samples: Of the network, N of them.
        max_grid: Most recombinations; of more samples a random subset is taken, always the same.
        progress: Called with the number of recombinations done and of all.
    """
    kept = _rows(samples.num_samples, len(samples.modalities), max_grid)
    some = samples if len(kept) == samples.num_samples else samples.take(torch.from_numpy(kept))
    outputs = some.outputs().double()
    if len(some.modalities) < 2:  # a function of one modality is additive
        return Projection(kept, outputs.float().numpy(), outputs.float().numpy(), len(kept))
    marginal_sums = {modality: torch.zeros_like(outputs) for modality in some.modalities}
    count, total = len(kept), len(kept) ** len(some.modalities)
    for start in range(0, total, BLOCK):
        rows = _recombination(torch.arange(start, min(total, start + BLOCK)), some.modalities, count)
        answers = some.outputs(rows).double()
        for modality, index in rows.items():
            marginal_sums[modality].index_add_(0, index, answers)
        progress(min(total, start + BLOCK), total)
    per_sample = count ** (len(some.modalities) - 1)
    marginals = torch.stack([sums / per_sample for sums in marginal_sums.values()])
    projected = marginals.sum(dim=0) - (len(marginals) - 1) * marginals[0].mean(dim=0)
    return Projection(kept, outputs.float().numpy(), projected.float().numpy(), total)


def _rows(num_samples: int, num_modalities: int, max_grid: int) -> NDArray[np.int64]:
    """The samples whose recombinations are not too many, (n,), in order."""
    most = num_samples
    if num_modalities > 1:
        while most**num_modalities > max_grid and most > 2:
            most = min(most - 1, round(max_grid ** (1 / num_modalities)))
    chosen: NDArray[np.int64] = np.sort(np.random.default_rng(0).permutation(num_samples)[:most])
    return chosen


def _recombination(numbers: Tensor, modalities: list[str], count: int) -> dict[str, Tensor]:
    """Which sample each modality comes from in some recombinations, counted as digits of base `count`."""
    found = {}
    for modality in modalities:
        found[modality] = numbers % count
        numbers = numbers // count
    return found
