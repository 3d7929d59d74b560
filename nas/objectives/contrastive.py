"""The contrastive loss: vectors of two modalities of one sample are drawn together, those of other samples apart.

Li et al. 2021, "Align before Fuse", section 3.2, "Image-Text Contrastive Learning". With unit vectors v of the trained
model, v' of a momentum model, and s(v, w) = vᵀw / τ:

    p_ab = softmax over w' of s(v_a, w'_b),    w' of the batch's own momentum vectors and of a queue of earlier ones
    loss = ½ (H(own_ab, p_ab) + H(own_ba, p_ba))

Its targets are softened by the softmax of s(v'_a, w'_b), see `nas.objectives.momentum`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nas.objectives.momentum import distilled_loss


def contrastive_loss(vectors: Tensor, momentum: Tensor, queues: Tensor, *, temperature: Tensor, alpha: float) -> Tensor:
    """The loss of the module's equation, (); zero without samples.

    Args:
        vectors: Unit vectors of both modalities, (2, batch, channels).
        momentum: The momentum model's, likewise.
        queues: Earlier ones of the momentum model, (2, length, channels); length may be 0.
        temperature: τ, ().
        alpha: How much of the targets comes from the momentum model, 0 to 1.
    """
    if not vectors.shape[1]:
        return vectors.sum()
    own = torch.arange(vectors.shape[1], device=vectors.device)
    losses = []
    for one, other in ((0, 1), (1, 0)):
        against = torch.cat([momentum[other], queues[other]]).T / temperature
        losses.append(distilled_loss(vectors[one] @ against, own, momentum[one] @ against, alpha))
    return torch.stack(losses).mean()
