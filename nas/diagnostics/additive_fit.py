"""The additive function of several modalities that is nearest to what was seen on some of their recombinations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

TOLERANCE = 1e-12
MOST_SWEEPS = 1000


def additive_fit(orders: NDArray[np.int64], sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Effects a_u(i) for which sum_u a_u(i_u) has the least squared distance to values F(i_1, …, i_m).

    The normal equations K a_u(i) + sum_{v≠u} sum_{rows with i_u = i} a_v(i_v) = sum of F over these rows, of every
    modality u and sample i, are solved by backfitting (Friedman and Stuetzle 1981, "Projection Pursuit Regression";
    Buja, Hastie and Tibshirani 1989, "Linear Smoothers and Additive Models", section 3): one modality after another.

    Args:
        orders: Sample that each modality comes from in every row, (modalities, rows), each K times.
        sums: Sums of F over the rows in which a modality comes from a sample, (modalities, samples, outputs).

    Returns:
        a, (modalities, samples, outputs). Where F is additive its sums are exact on all recombinations.
    """
    modalities, samples, outputs = sums.shape
    rows, draws = orders.shape[1], orders.shape[1] // samples
    columns = orders + samples * np.arange(modalities)[:, None]
    ones = np.ones(orders.size)
    design = csr_matrix((ones, (np.tile(np.arange(rows), modalities), columns.ravel())), (rows, modalities * samples))
    together = (design.T @ design).tocsr()
    wanted, effects = sums.reshape(-1, outputs), np.zeros((modalities * samples, outputs))
    enough = TOLERANCE * max(float(np.abs(wanted).max()) / draws, 1e-300)
    for _ in range(MOST_SWEEPS):
        largest = 0.0
        for start in range(0, len(effects), samples):
            own = slice(start, start + samples)
            change = (wanted[own] - together[own] @ effects) / draws
            effects[own] += change
            largest = max(largest, float(np.abs(change).max()))
        if largest <= enough:
            break
    return effects.reshape(sums.shape)
