"""Momentum distillation: a model that follows the trained one slowly softens the targets that the trained one has.

Li et al. 2021, "Align before Fuse: Vision and Language Representation Learning with Momentum Distillation", section
3.3. With p the answer of the trained model, p' that of the momentum model, and θ, θ' their parameters:

    loss = H((1 − α) · onehot(target) + α · p', p),    θ' ← m · θ' + (1 − m) · θ

m = 0.995, and α rises from 0 to 0.4 over the first tenth of the training (in the paper, over the first epoch).
Departures: running statistics are copied, and the momentum model answers in evaluation mode.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOMENTUM = 0.995

DISTILLED = 0.4
"""α: how much of the targets comes from the momentum model."""

RAMP = 0.1
"""Share of a training over which α rises."""


def share_distilled(progress: float) -> float:
    """α at some progress of the training, 0 to 1."""
    return DISTILLED * min(1.0, progress / RAMP)


def distilled_loss(logits: Tensor, targets: Tensor, momentum: Tensor, alpha: float) -> Tensor:
    """The loss of the module's equation, the mean over rows, ().

    Args:
        logits: Of the trained model, (rows, classes), at least one row.
        targets: The class of every row, (rows,).
        momentum: Logits of the momentum model, (rows, classes); they get no gradient.
        alpha: How much of the targets comes from it, 0 to 1.
    """
    log_probabilities = F.log_softmax(logits, dim=1)
    hard = log_probabilities.gather(1, targets[:, None]).squeeze(1)
    soft = (F.softmax(momentum.detach(), dim=1) * log_probabilities).sum(dim=1)
    return -((1 - alpha) * hard + alpha * soft).mean()


@torch.no_grad()
def follow(slow: nn.Module, live: nn.Module) -> None:
    """θ' ← m · θ' + (1 − m) · θ for all parameters; buffers are copied."""
    for behind, ahead in zip(slow.parameters(), live.parameters(), strict=True):
        behind.lerp_(ahead, 1 - MOMENTUM)
    for kept, now in zip(slow.buffers(), live.buffers(), strict=True):
        kept.copy_(now)
