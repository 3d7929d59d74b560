"""Alignment before fusion: taps of two modalities of one sample are drawn together, with momentum distillation (ALBEF).

Li et al. 2021, "Align before Fuse: Vision and Language Representation Learning with Momentum Distillation", sections
3.2 and 3.3. With unit vectors v = normalized(projection(tap)), v' likewise of a momentum model, and s(v, w) = vᵀw / τ:

    p_ab = softmax over w' of s(v_a, w'_b),    w' of the batch's own momentum vectors and of a queue of earlier ones
    targets q_ab = (1 − α) · onehot(own) + α · softmax of s(v'_a, w'_b)
    loss = ½ (H(q_ab, p_ab) + H(q_ba, p_ba)),    θ' ← m · θ' + (1 − m) · θ

It is added to the loss of the task. α rises from 0 to 0.4 over the first tenth of the training (in the paper, over the
first epoch), m = 0.995, τ is learned from 0.07 on and kept within 0.001 and 0.5.

Departures: what is aligned is the mean over time of the deepest adapted tap of each of the two modalities (in the
paper, the tokens [CLS]); the momentum model runs in evaluation mode; projections are as wide as the taps, and the queue
holds `QUEUE` vectors (65536 in the paper, whose set has four million pairs). Samples that lack one of the two are left
out. There is no matching loss and no masked language modelling. The encoders' running statistics are copied. With
frozen encoders, the adapters alone are aligned.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.errors import UserError, unknown_name
from nas.network.fusion_network import FusionNetwork
from nas.objectives.base import ForwardPass, Objective, deepest_taps
from nas.space.architecture import tap_depth

MOMENTUM = 0.995

DISTILLED = 0.4
"""α: how much of the targets comes from the momentum model."""

RAMP = 0.1
"""Share of a training over which α rises."""

TEMPERATURE = 0.07

QUEUE = 512
"""Earlier momentum vectors that stand as wrong pairs beside the batch's own."""


class Align(Objective):
    """Adds the contrastive loss of two modalities.

    Args:
        network: To be trained; reads both.
        modalities: The two.
    """

    queues: Tensor
    filled: Tensor

    def __init__(self, network: FusionNetwork, modalities: tuple[str, str]) -> None:
        super().__init__()
        taps = deepest_taps(network)
        self.modalities = modalities
        self.taps = tuple(taps[modality] for modality in modalities)
        self.reads = self.taps
        width = network.channels
        self.live = nn.ModuleList([nn.Linear(width, width) for _ in modalities])
        self.temperature = nn.Parameter(torch.tensor(TEMPERATURE))
        parts = _learned(network, modalities, self.taps)
        self.momentum = nn.ModuleDict({name: copy.deepcopy(part) for name, part in parts.items()})
        self.momentum["projections"] = copy.deepcopy(self.live)
        self.momentum.requires_grad_(requires_grad=False).eval()
        self.register_buffer("queues", torch.zeros(2, QUEUE, width))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self._latest: Tensor | None = None
        self.to(network.head.shift.device)

    def train(self, mode: bool = True) -> Align:
        """Sets the mode of what is trained; the momentum model stays in evaluation mode."""
        super().train(mode)
        self.momentum.eval()
        return self

    def loss(self, forward: ForwardPass, progress: float) -> Tensor:
        """The contrastive loss with momentum distillation."""
        both = self._have_both(forward)
        vectors = torch.stack([_unit(self.live[i](forward.taps[tap].mean(dim=1))) for i, tap in enumerate(self.taps)])
        with torch.no_grad():
            momentum = torch.stack([self._momentum_vectors(forward, i) for i in range(2)])[:, both]
        self._latest = momentum
        alpha = DISTILLED * min(1.0, progress / RAMP)
        queues = self.queues[:, : int(self.filled)]
        temperature = self.temperature.clamp(0.001, 0.5)
        return contrastive_loss(vectors[:, both], momentum, queues, temperature=temperature, alpha=alpha)

    def _have_both(self, forward: ForwardPass) -> Tensor:
        """Rows of the samples that have both modalities."""
        both = torch.ones(len(forward.batch), dtype=torch.bool, device=self.queues.device)
        for modality in self.modalities:
            if modality in forward.batch.present:
                both = both & forward.batch.present[modality]
        return torch.nonzero(both).flatten()

    def _momentum_vectors(self, forward: ForwardPass, side: int) -> Tensor:
        modality, tap = self.modalities[side], self.taps[side]
        depth = tap_depth(tap)
        encoded = self.momentum[f"encoder {side}"](forward.batch.inputs[modality], depth + 1)[depth]
        adapted = self.momentum[f"adapter {side}"](encoded)
        projections = self.momentum["projections"]
        assert isinstance(projections, nn.ModuleList)
        return _unit(projections[side](adapted.mean(dim=1)))

    @torch.no_grad()
    def after_step(self, network: FusionNetwork) -> None:
        """Moves the momentum model a little, and the batch's vectors into the queue."""
        live = {**_learned(network, self.modalities, self.taps), "projections": self.live}
        for name, part in live.items():
            follow(self.momentum[name], part)
        if self._latest is not None:
            joined = torch.cat([self._latest, self.queues], dim=1)[:, :QUEUE]
            self.queues.copy_(joined)
            self.filled.copy_((self.filled + self._latest.shape[1]).clamp(max=QUEUE))
            self._latest = None


def contrastive_loss(vectors: Tensor, momentum: Tensor, queues: Tensor, *, temperature: Tensor, alpha: float) -> Tensor:
    """The loss of the module's equation, ().

    Args:
        vectors: Unit vectors of both modalities, (2, batch, channels).
        momentum: The momentum model's, likewise.
        queues: Earlier ones of the momentum model, (2, length, channels); length may be 0.
        temperature: τ, ().
        alpha: How much of the targets comes from the momentum model, 0 to 1.
    """
    if not vectors.shape[1]:
        return vectors.sum()
    targets_of = torch.eye(vectors.shape[1], vectors.shape[1] + queues.shape[1], device=vectors.device)
    losses = []
    for one, other in ((0, 1), (1, 0)):
        against = torch.cat([momentum[other], queues[other]]).T
        with torch.no_grad():
            soft = F.softmax(momentum[one] @ against / temperature, dim=1)
            targets = (1 - alpha) * targets_of + alpha * soft
        logits = F.log_softmax(vectors[one] @ against / temperature, dim=1)
        losses.append(-(targets * logits).sum(dim=1).mean())
    return torch.stack(losses).mean()


@torch.no_grad()
def follow(slow: nn.Module, live: nn.Module) -> None:
    """θ' ← m · θ' + (1 − m) · θ for all parameters; buffers are copied."""
    for errors_behind, ahead in zip(slow.parameters(), live.parameters(), strict=True):
        errors_behind.lerp_(ahead, 1 - MOMENTUM)
    for kept, now in zip(slow.buffers(), live.buffers(), strict=True):
        kept.copy_(now)


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.float(), dim=-1)


def _learned(network: FusionNetwork, modalities: tuple[str, str], taps: tuple[str, ...]) -> Mapping[str, nn.Module]:
    """Encoder and adapter of both modalities."""
    pairs = enumerate(zip(modalities, taps, strict=True))
    return dict(
        chain.from_iterable(
            (
                (f"encoder {side}", network.encoders[modality]),
                (f"adapter {side}", network.adapter(tap)),
            )
            for side, (modality, tap) in pairs
        )
    )


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
