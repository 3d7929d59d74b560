"""What a gate could gain from a route before one is trained: by regression of losses on what the gate would read."""

from __future__ import annotations

import torch
from torch import Tensor

FOLDS = 5

PENALTY = 0.1
"""Of the regression, in units of the features' variance."""


def gains(seen: Tensor, differences: Tensor) -> Tensor:
    """What a linear gate that chooses between two routes would change for every sample, for many such pairs at once.

    The difference that the one route makes is predicted from what the gate sees by ridge regression (Hoerl and Kennard
    1970, "Ridge Regression: Biased Estimation for Nonorthogonal Problems") and the route is taken where that is below
    zero. Every sample is predicted by a regression on four fifths of the samples that it is not among, so noise that no
    gate can foresee gains nothing; the lower loss of both routes, which needs the target, would gain from it.

    Args:
        seen: What the gate reads, (samples, features).
        differences: Loss of the one route minus that of the other, (samples, pairs).

    Returns:
        The difference where the one route is taken, 0 elsewhere, (samples, pairs).
    """
    features = seen.double()
    features = (features - features.mean(dim=0)) / features.std(dim=0, correction=0).clamp(min=1e-6)
    features = torch.cat([features, features.new_ones(len(seen), 1)], dim=1)
    penalty = PENALTY * torch.eye(features.shape[1], dtype=features.dtype)
    penalty[-1, -1] = 1e-6  # the constant is free
    wanted = differences.double()
    predicted = torch.zeros_like(wanted)
    fold_of = torch.randperm(len(seen), generator=torch.Generator().manual_seed(0)) % FOLDS
    for fold in range(FOLDS):
        others, own = fold_of != fold, fold_of == fold
        if others.any():
            gram = features[others].T @ features[others] + penalty * int(others.sum())
            weights = torch.linalg.solve(gram, features[others].T @ wanted[others])
            predicted[own] = features[own] @ weights
    return torch.where(predicted < 0, wanted, torch.zeros_like(wanted)).to(differences.dtype)
