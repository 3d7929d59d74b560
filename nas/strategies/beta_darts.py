"""beta-DARTS: DARTS with a penalty that keeps the mixing weights from running apart, stronger as the search goes on.

Ye et al. 2022, "beta-DARTS: Beta-Decay Regularization for Differentiable Architecture Search". The architecture loss
gains 50 · progress · `beta_penalty`. Departures: see `nas.strategies.bilevel`; the weight rises from 0 to 50 over the
whole search, whatever its length, where the authors count up to 50 over 100 epochs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nas.strategies.base import SearchProblem, StrategyResult
from nas.strategies.bilevel import bilevel, first_order, plain_softmax
from nas.supernet.supernet import Supernet

LAST_WEIGHT = 50.0


def beta_penalty(supernet: Supernet) -> Tensor:
    """The mean over nodes of logsumexp(a), whose gradient is the softmax itself."""
    return torch.stack([logits.logsumexp(dim=0) for logits in supernet.logits().values()]).mean()


def beta_darts(problem: SearchProblem) -> StrategyResult:
    """Searches by beta-DARTS."""
    return bilevel(
        problem,
        lambda supernet, _generator, _progress: plain_softmax(supernet),
        first_order,
        penalty=lambda supernet, progress: LAST_WEIGHT * progress * beta_penalty(supernet),
    )
