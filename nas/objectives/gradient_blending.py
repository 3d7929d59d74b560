"""Gradient blending: a loss for every modality and one for all, weighted by how well each generalizes.

Wang, Tran and Feiszli 2020, "What Makes Training Multi-Modal Classification Networks Hard?". With O the gap between the
losses on held-out and on training samples, ΔO its growth over a few epochs and ΔG the fall of the held-out loss, both
of one head trained alone (Eq. 5):

    w_k ∝ ΔG_k / ΔO_k²,    sum_k w_k = 1,    loss = sum_k w_k · L_k

k runs over the modalities and the joint head. *Offline* weights are measured once, from the initial weights; *online*
ones anew in every super-epoch, from the present weights. Heads are measured on a part of the weights split that is
drawn at random and held out for that alone; the architecture split is not read.

Departures. A modality's head reads its deepest adapted tap, after the adapter, so that with frozen encoders the
blended gradients still reach the adapters, and nothing else. Growths are taken up to the epoch of a head's lowest
held-out loss, as by `nas.diagnostics.overfitting_ratio`, so that a head that has learned and then overfits does not
count as one that never learned. Degenerate cases, on which the paper is silent: a head that generalizes nothing (ΔG ≤
0) weighs nothing; if that is the joint one, which is what predicts, it is trained alone, as without blending; a gap
that hardly grew, or closed, counts as `LEAST_OVERFITTING` times the largest ΔG, so that no head is weighed by the
inverse of noise. Under AdamW the size of a loss is divided out: so that the weights matter as they do under the
paper's SGD, the steps of each modality's encoder and adapters are scaled by w_m + w_joint, as a share of the largest.
In a supernet the joint head is measured on the warm-up path, and trained on whatever paths are drawn.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from nas.data.batches import Batch, in_order
from nas.network.fusion_network import FusionNetwork, Head
from nas.objectives.base import Fit, ForwardPass, Objective, deepest_taps, fresh_head
from nas.objectives.steps import ScaledSteps
from nas.tasks import Task

LEAST_OVERFITTING = 0.1
"""Smallest ΔO that is told from noise, as a share of the largest ΔG."""

HELD_OUT_SHARE = 0.2
"""Of the weights split, while weights of losses are measured."""

MEASURED_SHARE = 0.25
"""Length of the trainings that measure, as a share of the training, or of the super-epoch, that they are for."""

SUPER_EPOCHS = 4
"""In how many parts of a training the weights of losses are measured anew."""

BLOCK = 512


def blending_weights(generalization: Tensor, overfitting: Tensor) -> Tensor:
    """The weight of every head's loss, summing to 1; see the module's equation.

    Args:
        generalization: ΔG of every head, (heads,), the joint one last.
        overfitting: ΔO likewise.
    """
    gained = generalization.clamp(min=0)
    if not gained[-1]:
        return torch.eye(len(gained))[-1].to(gained)
    weights = gained / overfitting.clamp(min=LEAST_OVERFITTING * float(gained.max())).square()
    return weights / weights.sum()


class GradientBlending(Objective):
    """Trains a head for every modality beside the joint one.

    Args:
        network: To be trained.
        task: What the target is.
        online: Whether weights are measured anew in every super-epoch.
    """

    weights: Tensor
    replaces_loss = True

    def __init__(self, network: FusionNetwork, task: Task, *, online: bool) -> None:
        super().__init__()
        self.task: Task = task
        self.online = online
        self.taps = deepest_taps(network)
        self.reads = tuple(self.taps.values())
        self.heads = nn.ModuleDict({modality: fresh_head(network) for modality in self.taps})
        even = torch.full((len(self.taps) + 1,), 1 / (len(self.taps) + 1), device=network.head.shift.device)
        self.register_buffer("weights", even)
        self._steps = ScaledSteps()

    def begin_epoch(self, epoch: int, num_epochs: int, network: FusionNetwork, samples: Batch, fit: Fit) -> None:
        """Measures the weights where it is time to."""
        length = max(1, -(-num_epochs // SUPER_EPOCHS)) if self.online else num_epochs
        if epoch % length == 0:
            epochs = max(1, round(MEASURED_SHARE * length))
            self.weights.copy_(blending_weights(*self._measure(network, samples, fit, epochs)))

    def loss(self, forward: ForwardPass, progress: float) -> Tensor:  # noqa: ARG002
        """The blended loss."""
        return (self.weights * self.head_losses(forward)).sum()

    def head_losses(self, forward: ForwardPass) -> Tensor:
        """Mean loss of every head on a batch, (heads,), the joint one last."""
        alone = [forward.losses(self._head(modality)(forward.taps[tap])) for modality, tap in self.taps.items()]
        return torch.stack([*(losses.mean() for losses in alone), forward.losses(forward.outputs()).mean()])

    def steps(self) -> dict[str, float]:
        """How much of a step each modality's encoder and adapters take, by the losses that train them, 0 to 1."""
        trained_by = self.weights[:-1] + self.weights[-1]
        return dict(zip(self.taps, (trained_by / trained_by.max()).tolist(), strict=True))

    def before_step(self, network: FusionNetwork) -> None:
        """Keeps the weights that shall not go all the way."""
        self._steps.start(network, self.steps())

    def after_step(self, network: FusionNetwork) -> None:  # noqa: ARG002  # the interface of all objectives
        """Takes back what was too much of the step."""
        self._steps.end()

    def _head(self, modality: str) -> Head:
        head = self.heads[modality]
        assert isinstance(head, Head)
        return head

    def _measure(self, network: FusionNetwork, samples: Batch, fit: Fit, epochs: int) -> tuple[Tensor, Tensor]:
        """ΔG and ΔO of every head, each trained by itself from the present weights, (heads,) both."""
        order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0)).to(samples.targets.device)
        cut = max(1, round(HELD_OUT_SHARE * len(samples)))
        held_out, seen = samples.take(order[:cut]), samples.take(order[cut:])
        before = torch.stack([self._evaluated(network, part) for part in (seen, held_out)])
        generalization, overfitting = [], []
        for number in range(len(self.weights)):
            twin, own = copy.deepcopy(network), copy.deepcopy(self)

            def loss_of(
                batch: Batch, twin: FusionNetwork = twin, own: GradientBlending = own, number: int = number
            ) -> Tensor:
                return own.head_losses(ForwardPass.run(self.task, twin, batch, more_taps=own.reads))[number]

            course: list[Tensor] = []

            def judge(twin: FusionNetwork = twin, own: GradientBlending = own, course: list[Tensor] = course) -> None:
                course.append(torch.stack([own._evaluated(twin, part) for part in (seen, held_out)]))

            fit(nn.ModuleList([twin, own]), loss_of, seen, epochs, judge)
            after = min((losses[:, number] for losses in course), key=lambda losses: float(losses[1]))
            gained = before[:, number] - after
            generalization.append(gained[1])
            overfitting.append(gained[0] - gained[1])
        return torch.stack(generalization), torch.stack(overfitting)

    @torch.no_grad()
    def _evaluated(self, network: FusionNetwork, samples: Batch) -> Tensor:
        """Mean loss of every head in evaluation mode, (heads,)."""
        was_training = network.training
        network.eval()
        total = torch.zeros_like(self.weights)
        for part in in_order(samples, BLOCK, self.weights.device):
            total += self.head_losses(ForwardPass.run(self.task, network, part, more_taps=self.reads)) * len(part)
        network.train(was_training)
        return total / len(samples)
