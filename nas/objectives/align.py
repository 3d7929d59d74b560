"""Alignment before fusion: two modalities are drawn together, and what is fused of them has to tell them (ALBEF).

Li et al. 2021, "Align before Fuse: Vision and Language Representation Learning with Momentum Distillation", sections
3.2 and 3.3. Three losses are added to the loss of the task, each with weight 1 as in the paper's Eq. 5:

- *contrastive*: taps of one sample are drawn together, before they are fused (`nas.objectives.contrastive`);
- *matching*: what is fused tells whether both are of one sample, against hard negatives (`nas.objectives.matching`);
- *masked tokens*: of a modality of tokens, hidden ones are predicted with the help of the other modality
  (`nas.objectives.masked_tokens`); where neither is tokens, there is no such loss, and of two the mean.

The targets of all three are softened by a momentum model (`nas.objectives.momentum`), a copy of the network and of what
is added to it. Vectors v = normalized(projection(tap)); τ is learned from 0.07 on and kept within 0.001 and 0.5.

Departures. The paper softens no targets of matching. Here it does, for what its section 3.3 says of the contrastive
loss holds for hard negatives all the more: some match as well, and of the samples of one class many do. What is aligned
is the mean over time of the deepest adapted tap of each modality (in the paper, the tokens [CLS]); projections are as
wide as the taps, and the queue holds `QUEUE` vectors (65536 in the paper, whose set has four million pairs). The paper
pretrains with these losses and then fine-tunes without; here they stand beside the task's loss throughout. Samples that
lack one of the two are left out of all three, and selections of a supernet that read only one of them, of matching and
masked tokens. What an additive architecture fuses cannot tell which sample of one modality goes with which of the
other, so that matching teaches it little. Tokens are masked if their encoder is our `TokenEncoder`, for others do not
tell their vocabulary. With frozen encoders, the adapters alone are aligned, and nothing is masked, for taps are cached.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.errors import UserError, unknown_name
from nas.network.fusion_network import FusionNetwork
from nas.objectives.base import ForwardPass, Objective, deepest_taps
from nas.objectives.contrastive import contrastive_loss
from nas.objectives.masked_tokens import MaskedTokens, masked_tokens_of
from nas.objectives.matching import Matching, hard_partners, matching_targets
from nas.objectives.momentum import distilled_loss, follow, share_distilled
from nas.space.architecture import tap_modality

TEMPERATURE = 0.07

QUEUE = 512
"""Earlier momentum vectors that stand as wrong pairs beside the batch's own."""


class AlignmentHeads(nn.Module):
    """What the losses read taps and fused vectors with.

    Args:
        network: To be trained; reads both.
        taps: Names of the deepest taps of the two modalities.
    """

    def __init__(self, network: FusionNetwork, taps: tuple[str, str]) -> None:
        super().__init__()
        width = network.channels
        self.taps = taps
        self.projections = nn.ModuleList([nn.Linear(width, width) for _ in taps])
        self.matching = Matching((tap_modality(taps[0]), tap_modality(taps[1])), width)
        self.masked_tokens = nn.ModuleList([made for tap in taps if (made := masked_tokens_of(network, tap))])

    def predictors(self) -> list[MaskedTokens]:
        """Of the modalities that are tokens."""
        return [one for one in self.masked_tokens if isinstance(one, MaskedTokens)]

    def vectors(self, run: ForwardPass) -> Tensor:
        """Unit vectors of both modalities, (2, batch, channels)."""
        pairs = zip(self.projections, self.taps, strict=True)
        return torch.stack([_unit(projection(run.taps[tap].mean(dim=1))) for projection, tap in pairs])


class MomentumModel(nn.Module):
    """A network and its heads as they were on average lately; without gradients, and always in evaluation mode.

    Args:
        network: To be followed.
        heads: Likewise.
    """

    def __init__(self, network: FusionNetwork, heads: AlignmentHeads) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.heads = copy.deepcopy(heads)
        self.requires_grad_(requires_grad=False)
        self.eval()

    def train(self, mode: bool = True) -> MomentumModel:  # noqa: ARG002  # the interface of all modules
        """Stays in evaluation mode."""
        return super().train(mode=False)


class Align(Objective):
    """Adds the three losses of two modalities.

    Args:
        network: To be trained; reads both.
        modalities: The two.
    """

    queues: Tensor
    filled: Tensor

    def __init__(self, network: FusionNetwork, modalities: tuple[str, str]) -> None:
        super().__init__()
        deepest = deepest_taps(network)
        self.modalities = modalities
        self.reads = taps = (deepest[modalities[0]], deepest[modalities[1]])
        self.heads = AlignmentHeads(network, taps)
        self.temperature = nn.Parameter(torch.tensor(TEMPERATURE))
        self.momentum = MomentumModel(network, self.heads)
        self.register_buffer("queues", torch.zeros(2, QUEUE, network.channels))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self._latest: Tensor | None = None
        self.to(network.head.shift.device)

    def loss(self, forward: ForwardPass, progress: float) -> Tensor:
        """The sum of the three losses, with momentum distillation."""
        alpha = share_distilled(progress)
        rows = self._have_both(forward)
        temperature = self.temperature.clamp(0.001, 0.5)
        vectors = self.heads.vectors(forward)[:, rows]
        with torch.no_grad():
            slow = self._followed(forward)
            momentum = self.momentum.heads.vectors(slow)[:, rows]
        self._latest = momentum
        queues = self.queues[:, : int(self.filled)]
        contrastive = contrastive_loss(vectors, momentum, queues, temperature=temperature, alpha=alpha)
        paths = [one for one in forward.selections if self._reads_both(forward.network.needed_taps(one))]
        if not paths:
            return contrastive
        forward, slow = replace(forward, selections=paths), replace(slow, selections=paths)
        matching = contrastive.new_zeros(())
        if len(rows) > 1:  # of a single sample there is no other partner
            partners = hard_partners(vectors, momentum, rows, temperature, len(forward.batch))
            matching = self._matching_loss(forward, slow, partners, rows, alpha)
        return contrastive + matching + self._masked_loss(forward, slow, rows, alpha)

    def _have_both(self, forward: ForwardPass) -> Tensor:
        """Rows of the samples that have both modalities."""
        both = torch.ones(len(forward.batch), dtype=torch.bool, device=self.queues.device)
        for modality in self.modalities:
            if modality in forward.batch.present:
                both = both & forward.batch.present[modality]
        return torch.nonzero(both).flatten()

    def _followed(self, forward: ForwardPass) -> ForwardPass:
        """The same pass of the momentum model."""
        taps = self.momentum.network.taps(forward.batch.inputs, list(forward.taps), forward.batch.present)
        return replace(forward, network=self.momentum.network, taps=taps)

    def _reads_both(self, taps: Sequence[str]) -> bool:
        return set(self.modalities) <= {tap_modality(tap) for tap in taps}

    def _matching_loss(
        self, forward: ForwardPass, slow: ForwardPass, partners: Tensor, rows: Tensor, alpha: float
    ) -> Tensor:
        logits = self.heads.matching(forward, partners, rows)
        with torch.no_grad():
            momentum = self.momentum.heads.matching(slow, partners, rows)
        return distilled_loss(logits, matching_targets(logits), momentum, alpha)

    def _masked_loss(self, forward: ForwardPass, slow: ForwardPass, rows: Tensor, alpha: float) -> Tensor:
        """Mean over the modalities that are tokens; zero without any, or if the draw has chosen no token."""
        usable = torch.zeros(len(forward.batch), dtype=torch.bool, device=rows.device)
        usable[rows] = True
        losses = [self.queues.new_zeros(())]
        for live, behind in zip(self.heads.predictors(), self.momentum.heads.predictors(), strict=True):
            masking = live.draw(forward, usable)
            if len(masking.targets):
                logits = live(forward, masking)
                with torch.no_grad():
                    momentum = behind(slow, masking)
                targets = masking.targets.repeat(len(forward.selections))
                losses.append(distilled_loss(logits, targets, momentum, alpha))
        return torch.stack(losses).sum() / max(1, len(self.heads.masked_tokens))

    @torch.no_grad()
    def after_step(self, network: FusionNetwork) -> None:
        """Moves the momentum model a little, and the batch's vectors into the queue."""
        follow(self.momentum.network, network)
        follow(self.momentum.heads, self.heads)
        if self._latest is not None:
            joined = torch.cat([self._latest, self.queues], dim=1)[:, :QUEUE]
            self.queues.copy_(joined)
            self.filled.copy_((self.filled + self._latest.shape[1]).clamp(max=QUEUE))
            self._latest = None


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.float(), dim=-1)


def pair_of(text: str, modalities: tuple[str, ...]) -> tuple[str, str]:
    """The two modalities of an argument such as "image+text"; of two in all, these need not be named.

    Raises:
        UserError: If there are not two, or one is not known.
    """
    names = tuple(part.strip() for part in text.split("+")) if text else modalities
    for name in names:
        if name not in modalities:
            raise unknown_name("modality of align:", name, modalities)
    if len(set(names)) != 2 or len(names) != 2:
        raise UserError(f"align draws two modalities together: give align:ONE+OTHER, of {', '.join(modalities)}")
    return names[0], names[1]
