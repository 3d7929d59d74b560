"""RUBi: what one modality answers by itself is masked out of what the network has to learn.

Cadene et al. 2019, "RUBi: Reducing Unimodal Biases for Visual Question Answering", section 3. With u the representation
of the biased modality, held fixed, and q a small network:

    q = MLP(u),    masked = logits ⊙ sigmoid(q),    biased = Linear(q)
    loss = CE(masked, y) + CE(biased, y)

Samples that the biased modality answers by itself get a confident mask and so a small loss: they teach the network
little. The network is used without the mask. Departures: u is the mean over time of the modality's deepest adapted tap
(in the paper, of the question's encoding), and labels, with their cross-entropy, are taken as well as classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.errors import UserError, unknown_name
from nas.network.fusion_network import FusionNetwork
from nas.objectives.base import ForwardPass, Objective, deepest_taps


class Rubi(Objective):
    """Masks the logits by what a modality says alone.

    Args:
        network: To be trained; reads the biased modality.
        modality: The biased one.
    """

    replaces_loss = True

    def __init__(self, network: FusionNetwork, modality: str) -> None:
        super().__init__()
        self.tap = deepest_taps(network)[modality]
        self.reads = (self.tap,)
        outputs, width = network.head.linear.out_features, network.channels
        self.mask = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))
        self.biased = nn.Linear(outputs, outputs)
        self.to(network.head.shift.device)

    def loss(self, forward: ForwardPass, progress: float) -> Tensor:  # noqa: ARG002  # the interface of all objectives
        """That of the masked logits and that of the biased answer."""
        mask, biased = self.answers(forward.taps[self.tap])
        masked = forward.losses(forward.outputs() * torch.sigmoid(mask))
        return masked.mean() + forward.losses(biased).mean()

    def answers(self, tap: Tensor) -> tuple[Tensor, Tensor]:
        """The mask before its sigmoid, and the biased answer, (batch, outputs) both; the tap learns from neither.

        Args:
            tap: (batch, time, channels).
        """
        mask = self.mask(tap.detach().mean(dim=1))
        return mask, self.biased(mask)


def check_biased(modality: str, modalities: tuple[str, ...]) -> None:
    """Refuses a modality that is not there.

    Raises:
        UserError: If none is named, or one that the data does not have.
    """
    if not modality:
        raise UserError(
            f"rubi needs to know which modality leads astray: give rubi:NAME, one of {', '.join(modalities)}"
        )
    if modality not in modalities:
        raise unknown_name("modality of rubi:", modality, modalities)
