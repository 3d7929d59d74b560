"""FairDARTS: choices do not compete for one softmax, each has a sigmoid that is driven to zero or one.

Chu et al. 2020, "Fair DARTS: Eliminating Unfair Advantages in Differentiable Architecture Search". The architecture
loss gains 10 · `zero_one_loss`, and only a choice whose sigmoid reaches 0.85 is kept.

Departures: see `nas.strategies.bilevel`. The paper keeps up to two operations per node; a fusion node here makes one
choice. So choice weights are the sigmoids that pass the threshold, normalised, and everything is on `none` where none
passes. `none` itself adds nothing to the mixture, hence nothing but the zero-one loss ever moves its sigmoid: it is
believed in where nothing else is. A node without such a choice normalises all its sigmoids instead.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nas.space.node import FusionNode
from nas.strategies.base import SearchProblem, StrategyResult
from nas.strategies.bilevel import bilevel, first_order
from nas.supernet.relaxation import sigmoid
from nas.supernet.supernet import Supernet

ZERO_ONE_WEIGHT = 10.0
THRESHOLD = 0.85


def zero_one_loss(supernet: Supernet) -> Tensor:
    """−mean (σ(a) − ½)² over all architecture logits: −¼ when every sigmoid is 0 or 1, 0 when all are ½."""
    every = torch.cat(list(sigmoid(supernet.logits()).values()))
    return -(every - 0.5).square().mean()


def sparse(node: FusionNode, shares: Tensor, *, threshold: float = THRESHOLD) -> Tensor:
    """A distribution over a node's choices from their sigmoids, see above.

    Args:
        node: With the choices.
        shares: Sigmoids, (choices,).
        threshold: That a sigmoid has to reach, 0 to 1.
    """
    idle = torch.tensor(node.idle, dtype=torch.long, device=shares.device)
    kept = torch.where(shares >= threshold, shares, torch.zeros_like(shares)).index_fill(0, idle, 0.0)
    if kept.sum() > 0:
        return kept / kept.sum()
    if len(idle):
        return torch.zeros_like(shares).index_fill(0, idle[:1], 1.0)
    return shares / shares.sum()


def choice_weights(supernet: Supernet) -> dict[str, Tensor]:
    """Node to its sigmoids, normalised, (choices,): `sparse` without the threshold, which all may pass late."""
    shares = sigmoid(supernet.logits())
    return {node.name: sparse(node, shares[node.name], threshold=0.0) for node in supernet.network.space.nodes}


def read_out(supernet: Supernet) -> dict[str, Tensor]:
    """Node to the sparse read-out of its sigmoids, (choices,)."""
    shares = sigmoid(supernet.logits())
    return {node.name: sparse(node, shares[node.name]) for node in supernet.network.space.nodes}


def fair_darts(problem: SearchProblem) -> StrategyResult:
    """Searches by FairDARTS."""
    return bilevel(
        problem,
        lambda supernet, _generator, _progress: sigmoid(supernet.logits()),
        first_order,
        mixture=lambda supernet: sigmoid(supernet.logits()),
        choice_weights=choice_weights,
        read_out=read_out,
        penalty=lambda supernet, _progress: ZERO_ONE_WEIGHT * zero_one_loss(supernet),
    )
