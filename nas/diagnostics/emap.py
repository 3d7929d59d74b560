"""EMAP: how much of a network's score needs its modalities to interact.

Hessel and Lee 2020, "Does my multimodal model learn cross-modal interactions? It's harder to tell than you might
think!": the empirical multimodally-additive projection is the additive function that is nearest, in squared distance
over all recombinations of the samples' modalities, to what a network says.

Departure: of three modalities or more all recombinations of more than a few dozen samples are too many. Then K random
orders of the samples are drawn for every modality, which puts each sample of each modality into K recombinations, and
the projection is the additive function that is nearest over these (`nas.diagnostics.additive_fit`). An additive network
stays what it is to rounding, whatever is drawn. Of any other what is not additive, of deviation σ over recombinations,
leaves an error of about σ √(m / K) in the projection of m modalities, with a bias of order 1 / K; its score is a little
lower for that, and interaction seems to buy a little more than it does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.diagnostics.additive_fit import additive_fit
from nas.diagnostics.recombined import BLOCK, Recombined

MAX_GRID = 250_000

MAX_WHOLE = 10_000
"""Recombinations where each takes the whole network, encoders included."""
"""Recombinations that are run unless more are asked for: all of 500 samples of two modalities."""

LEAST_DRAWS = 250
"""K at least, so that the error of what is drawn is at most 0.11 σ for three modalities."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Projection:
    """A network's answers and those of its additive projection.

    Attributes:
        rows: The samples that were taken, in order, (n,).
        outputs: Logits or predictions of the network, (n, outputs).
        projected: Those of its projection, (n, outputs).
        grid: Recombinations that were run.
        standard_error: Of `projected` for want of recombinations, root mean square over outputs; 0 where all were run.
    """

    rows: NDArray[np.int64]
    outputs: NDArray[np.float32]
    projected: NDArray[np.float32]
    grid: int
    standard_error: float = 0.0


def emap(
    samples: Recombined, *, max_grid: int = MAX_GRID, progress: Progress = lambda _done, _total: None
) -> Projection:
    """Projects a network onto the additive functions of its modalities.

    With F the network's logits or predictions, E over samples drawn for every modality by itself, and x the sample:
    projected(x) = sum_u E[F | x_u] − (m − 1) E[F] (Hessel and Lee 2020, Eq. 4, written there for m = 2). With encoders
    run once per sample, all N^m recombinations are run, and it is exact on the samples that are taken; or, of three
    modalities or more, as many as are allowed, see above.

    Args:
        samples: Of the network, N of them.
        max_grid: Most recombinations; of more samples a random subset is taken, always the same.
        progress: Called with the number of recombinations done and of all.
    """
    modalities = len(samples.modalities)
    count, draws = _plan(samples.num_samples, modalities, min(max_grid, MAX_WHOLE) if samples.is_raw else max_grid)
    kept: NDArray[np.int64] = np.sort(np.random.default_rng(0).permutation(samples.num_samples)[:count])
    some = samples if len(kept) == samples.num_samples else samples.take(torch.from_numpy(kept))
    outputs = some.outputs().double()
    if modalities < 2:  # a function of one modality is additive
        projected, error, grid = outputs, 0.0, count
    elif draws:
        projected, error = _on_drawn(some, outputs, draws, progress)
        grid = draws * count
    else:
        projected, error, grid = _on_all(some, outputs, progress), 0.0, count**modalities
    return Projection(kept, outputs.float().numpy(), projected.float().numpy(), grid, error)


def _on_all(some: Recombined, outputs: Tensor, progress: Progress) -> Tensor:
    """The projection of the samples, (n, outputs)."""
    count, total = len(outputs), len(outputs) ** len(some.modalities)
    sums = torch.zeros(len(some.modalities), *outputs.shape, dtype=torch.float64)
    for start in range(0, total, BLOCK):
        rows = _recombination(torch.arange(start, min(total, start + BLOCK)), len(some.modalities), count)
        _answer(some, rows, sums)
        progress(min(total, start + BLOCK), total)
    marginals = sums / count ** (len(sums) - 1)
    projected: Tensor = marginals.sum(dim=0) - (len(sums) - 1) * marginals[0].mean(dim=0)
    return projected


def _on_drawn(some: Recombined, outputs: Tensor, draws: int, progress: Progress) -> tuple[Tensor, float]:
    """The projection of the samples, (n, outputs), and its standard error, from random orders of every modality."""
    generator = np.random.default_rng(0)
    count, total = len(outputs), len(outputs) * draws
    orders = np.stack([np.concatenate([generator.permutation(count) for _ in range(draws)]) for _ in some.modalities])
    sums = torch.zeros(len(orders), *outputs.shape, dtype=torch.float64)
    middle, squares = outputs.mean(dim=0), torch.zeros_like(outputs[0])
    for start in range(0, total, BLOCK):
        answers = _answer(some, torch.from_numpy(orders[:, start : start + BLOCK]), sums, middle)
        squares += answers.square().sum(dim=0)
        progress(min(total, start + BLOCK), total)
    effects = torch.from_numpy(additive_fit(orders, sums.numpy()))
    unexplained = (squares - (effects * sums).sum(dim=(0, 1))).clamp(min=0)
    variance = unexplained.mean() / (total - len(orders) * (count - 1) - 1)
    return middle + effects.sum(dim=0), math.sqrt(float(variance) * len(orders) / draws)


def _answer(some: Recombined, rows: Tensor, sums: Tensor, middle: Tensor | float = 0.0) -> Tensor:
    """Runs recombinations, less `middle`, and adds them to the sums of the samples that their modalities come from.

    Args:
        some: The samples.
        rows: Which of them each modality comes from, (modalities, recombinations).
        sums: (modalities, samples, outputs), changed in place.
        middle: Taken from every answer.

    Returns:
        The answers, (recombinations, outputs).
    """
    answers = some.outputs(dict(zip(some.modalities, rows, strict=True))).double() - middle
    for own, index in zip(sums, rows, strict=True):
        own.index_add_(0, index, answers)
    return answers


def _plan(num_samples: int, num_modalities: int, max_grid: int) -> tuple[int, int]:
    """How many samples are taken, and how often each is drawn; 0 for all their recombinations."""
    most = num_samples
    if num_modalities > 1:
        while most**num_modalities > max_grid and most > 2:
            most = min(most - 1, round(max_grid ** (1 / num_modalities)))
    drawn = min(num_samples, max_grid // LEAST_DRAWS)
    return (drawn, max_grid // drawn) if num_modalities > 2 and drawn > most else (most, 0)


def _recombination(numbers: Tensor, modalities: int, count: int) -> Tensor:
    """Which sample each modality comes from in some recombinations, counted as digits of base `count`."""
    found = []
    for _ in range(modalities):
        found.append(numbers % count)
        numbers = numbers // count
    return torch.stack(found)
