"""What each modality contributes to a trained network's score, and how little it may look at the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from nas.diagnostics.recombined import Recombined
from nas.metrics import metric_of
from nas.statistics import combination, sample_statistics
from nas.summary import Contribution
from nas.tasks import TASKS, Task

DRAWS = 8
"""Random exchanges of a modality between samples that are averaged over."""

MOST_MODALITIES = 8
"""Up to so many, all subsets are run; 2^8 of them take as long as 2000 passes of fusion nodes and head."""


def contributions(
    task: Task, networks: Sequence[Recombined], targets: NDArray[np.generic], *, seed: int = 0, metric: str = ""
) -> list[Contribution]:
    """What every modality that the networks read contributes.

    Args:
        task: What the target is.
        networks: Trained with different seeds, each on the same samples.
        targets: Of these samples.
        seed: Of the exchanges.
        metric: Of the scores; empty for the task's own.

    Raises:
        ValueError: If more than `MOST_MODALITIES` are read.
    """
    modalities = networks[0].modalities
    if len(modalities) > MOST_MODALITIES:
        raise ValueError(f"subsets of {len(modalities)} modalities are too many, expected at most {MOST_MODALITIES}")
    metric = metric_of(task, metric)
    subsets = [frozenset(s) for size in range(len(modalities) + 1) for s in combinations(modalities, size)]
    before = [(one, one.outputs()) for one in networks]
    exchanges = {kept: [_exchange(task, metric, *one, kept, targets, seed) for one in before] for kept in subsets}
    values = {kept: [statistics for statistics, _ in some] for kept, some in exchanges.items()}
    whole = frozenset(modalities)
    found = []
    for modality in modalities:
        without = [sample_statistics(metric, one.outputs({modality: None}).numpy(), targets) for one in networks]
        terms = [
            (sign * weight, values[subset])
            for kept in subsets
            if modality not in kept
            for weight in (_shapley_weight(len(kept), len(modalities)),)
            for sign, subset in ((1, kept | {modality}), (-1, kept))
        ]
        found.append(
            Contribution(
                modality=modality,
                left_out=combination(metric, [(1, values[whole]), (-1, without)]),
                permuted=combination(metric, [(1, values[whole]), (-1, values[whole - {modality}])]),
                shapley=combination(metric, terms),
                unchanged=float(np.mean([share for _, share in exchanges[whole - {modality}]])),
            )
        )
    return found


def _shapley_weight(size: int, count: int) -> float:
    """|S|! (m − |S| − 1)! / m! of a subset S of m players (Shapley 1953)."""
    return math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)


def _exchange(
    task: Task,
    metric: str,
    samples: Recombined,
    before: torch.Tensor,
    kept: frozenset[str],
    targets: NDArray[np.generic],
    seed: int,
) -> tuple[NDArray[np.float64], float]:
    """What comes of taking every modality that is not kept from another sample, each from one of its own.

    Returns:
        What each sample adds to the sums of the metric, (n, terms), and the share of answers that stay as `before`,
        mean over `DRAWS` exchanges both.
    """
    statistics, shares = [], []
    for draw in range(DRAWS if len(kept) < len(samples.modalities) else 1):
        generator = torch.Generator().manual_seed(1000 * seed + draw)
        orders = {name: torch.randperm(samples.num_samples, generator=generator) for name in samples.modalities}
        outputs = samples.outputs({name: order for name, order in orders.items() if name not in kept})
        statistics.append(sample_statistics(metric, outputs.numpy(), targets))
        answers, earlier = TASKS[task].answers(outputs), TASKS[task].answers(before)
        shares.append(
            math.nan if answers is None or earlier is None else float(torch.eq(answers, earlier).float().mean())
        )
    mean: NDArray[np.float64] = np.mean(statistics, axis=0)
    return mean, float(np.mean(shares))
