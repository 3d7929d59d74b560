"""The overfitting-to-generalization ratio: what a training learns of its samples alone, per what it learns of others.

Wang et al. 2020, "What Makes Training Multi-Modal Classification Networks Hard?", Eq. 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nas.summary import Overfitting


def overfitting_ratio(train_losses: Sequence[float], held_out_losses: Sequence[float]) -> Overfitting:
    """The ratio of a training between its first epoch and that of its lowest held-out loss.

    If the first epoch is the best one, it is taken to the last, where ΔG is negative and the ratio infinite.

    Args:
        train_losses: Per epoch, at least two.
        held_out_losses: Per epoch, as many.

    Raises:
        ValueError: If there are fewer than two epochs, lengths differ, or a loss is not finite.
    """
    if len(train_losses) < 2 or len(train_losses) != len(held_out_losses):
        raise ValueError(f"need the losses of two epochs or more, got {len(train_losses)} and {len(held_out_losses)}")
    if not all(map(math.isfinite, [*train_losses, *held_out_losses])):
        raise ValueError("a loss is not finite")
    best = min(range(len(held_out_losses)), key=held_out_losses.__getitem__)
    end = best or len(held_out_losses) - 1
    gaps = [held_out - train for train, held_out in zip(train_losses, held_out_losses, strict=True)]
    overfitting, generalization = gaps[end] - gaps[0], held_out_losses[0] - held_out_losses[end]
    return Overfitting(
        overfitting=overfitting,
        generalization=generalization,
        ratio=abs(overfitting / generalization) if generalization > 0 else math.inf,
        best_epoch=best,
    )
