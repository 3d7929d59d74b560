"""Matching with hard negatives: from what is fused, it is told whether two modalities are of one sample.

Li et al. 2021, "Align before Fuse", section 3.2, "Image-Text Matching". Every sample is fused as it is, with the second
modality of another sample, and with the first one of another: one match and two mismatches. The other sample is drawn
from the batch in proportion to exp(s(v, w')), the contrastive similarity, so that mismatches are hard to tell. A linear
layer of two classes reads the fused vector, which is what the head of the network reads.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.objectives.base import ForwardPass
from nas.space.architecture import tap_modality

MISMATCH, MATCH = 0, 1


class Matching(nn.Module):
    """Tells matches from mismatches.

    Args:
        modalities: The two.
        channels: Of fused states.
    """

    def __init__(self, modalities: tuple[str, str], channels: int) -> None:
        super().__init__()
        self.modalities = modalities
        self.linear = nn.Linear(channels, 2)

    def forward(self, run: ForwardPass, partners: Tensor, rows: Tensor) -> Tensor:
        """Logits of mismatch and match, (3 · selections · rows, 2); the first third are matches.

        Other modalities stay those of the sample.

        Args:
            run: As far as the taps.
            partners: For each of the two the sample whose modality stands in for a sample's own, (2, batch).
            rows: Samples that are judged, (rows,).
        """
        swapped = [with_partners(run.taps, *pair) for pair in zip(self.modalities, partners, strict=True)]
        vectors = torch.stack([run.fused(taps) for taps in (run.taps, *swapped)])
        logits: Tensor = self.linear(vectors[:, :, rows])
        return logits.flatten(0, 2)


def matching_targets(logits: Tensor) -> Tensor:
    """The classes of what `Matching` returns, (3 · selections · rows,)."""
    targets = torch.full((len(logits),), MISMATCH, device=logits.device)
    targets[: len(logits) // 3] = MATCH
    return targets


def hard_partners(vectors: Tensor, momentum: Tensor, rows: Tensor, temperature: Tensor, batch_size: int) -> Tensor:
    """For each modality the sample whose one stands in for a sample's own, (2, batch).

    That is a hard negative for the samples of `rows`, drawn from among them, and the sample itself for all others.

    Args:
        vectors: Unit vectors of both modalities, (2, rows, channels).
        momentum: The momentum model's, likewise.
        rows: Samples that have both, two at least, (rows,).
        temperature: τ, ().
        batch_size: Of all samples.
    """
    partners = torch.arange(batch_size, device=rows.device).repeat(2, 1)
    for kept, exchanged in ((1, 0), (0, 1)):
        similarities = vectors[kept].detach() @ momentum[exchanged].T / temperature.detach()
        partners[exchanged, rows] = rows[hard_negatives(similarities)]
    return partners


def hard_negatives(similarities: Tensor) -> Tensor:
    """For every sample another one, drawn in proportion to exp(similarity), (samples,).

    Args:
        similarities: Between what a sample keeps and what it may get, divided by τ, (samples, samples), two at least.
    """
    own = torch.eye(len(similarities), dtype=torch.bool, device=similarities.device)
    shares = F.softmax(similarities.float().masked_fill(own, -torch.inf), dim=1)
    return torch.multinomial(shares, 1).squeeze(1)


def with_partners(taps: Mapping[str, Tensor], modality: str, partners: Tensor) -> dict[str, Tensor]:
    """The same taps, those of one modality taken from the samples' partners, (batch,)."""
    return {name: tap[partners] if tap_modality(name) == modality else tap for name, tap in taps.items()}
