"""What a training objective is: it says what a step descends on, and may act between gradients and weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.data.batches import Batch
from nas.metrics import sample_losses
from nas.network.fusion_network import FusionNetwork, Head, Selection
from nas.space.architecture import deepest, tap_name
from nas.tasks import Task

Fit = Callable[[nn.Module, Callable[[Batch], Tensor], Batch, int, Callable[[], None]], None]
"""Trains a module in place: what to train, its loss on a batch, all samples, how many passes over them, and what is
called after each."""


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """One step's batch, run as far as the taps; from there on an objective runs what it needs.

    Attributes:
        task: What the target is.
        network: That is trained.
        batch: Some samples.
        selections: What is trained on these taps: the derived network's only choice, paths of a supernet, or a mixture.
        taps: By name, (batch, time, channels) each.
        label_smoothing: Of the loss, see `nas.metrics.sample_losses`.
    """

    task: Task
    network: FusionNetwork
    batch: Batch
    selections: Sequence[Selection]
    taps: Mapping[str, Tensor]
    label_smoothing: float = 0.0

    @classmethod
    def run(
        cls,
        task: Task,
        network: FusionNetwork,
        batch: Batch,
        selections: Sequence[Selection] | None = None,
        more_taps: Sequence[str] = (),
        *,
        label_smoothing: float = 0.0,
    ) -> ForwardPass:
        """Runs encoders and adapters.

        Args:
            task: What the target is.
            network: That is trained.
            batch: Some samples.
            selections: What shall be run; None for the only choice of every node of a derived network.
            more_taps: Names of taps that an objective reads beside those of the selections.
            label_smoothing: Of the loss.
        """
        selections = selections or [only_choices(network)]
        needed = [tap for selection in selections for tap in network.needed_taps(selection)]
        taps = network.taps(batch.inputs, list(dict.fromkeys([*needed, *more_taps])), batch.present)
        return cls(task, network, batch, selections, taps, label_smoothing)

    def outputs(self, taps: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits or predictions of every selection, (selections, batch, outputs).

        Args:
            taps: In place of the pass's own.
        """
        taps = self.taps if taps is None else taps
        return torch.stack([self.network.fuse(taps, one, batch_size=len(self.batch)) for one in self.selections])

    def fused(self, taps: Mapping[str, Tensor] | None = None) -> Tensor:
        """What the head's linear layer reads of every selection, (selections, batch, channels).

        A selection that runs nothing gives zeros.

        Args:
            taps: In place of the pass's own.
        """
        taps = self.taps if taps is None else taps
        states = [self.network.last_state(taps, one) for one in self.selections]
        weight = self.network.head.linear.weight
        vectors = [weight.new_zeros(1, weight.shape[1]) if one is None else one.mean(dim=1) for one in states]
        return torch.stack([vector.expand(len(self.batch), -1) for vector in vectors])

    def losses(self, outputs: Tensor) -> Tensor:
        """The loss of every sample, (…, batch), of outputs (…, batch, outputs)."""
        copies = outputs[..., 0].numel() // len(self.batch)
        targets = self.batch.targets.repeat(copies, *[1] * (self.batch.targets.dim() - 1))
        importance = self.batch.importance
        if importance is not None:
            importance = importance.repeat(copies, *[1] * (importance.dim() - 1))
        found = sample_losses(
            self.task,
            outputs.flatten(0, -2),
            targets,
            self.network.head.scale,
            label_smoothing=self.label_smoothing,
            importance=importance,
        )
        return found.view(outputs.shape[:-1])


class Objective(nn.Module):
    """One cure. What it adds, such as heads, is trained along and thrown away: the derived network knows nothing of it.

    All that it carries from one step to the next is in its `state_dict`, so that a training that was stopped goes on to
    the same bits.

    Attributes:
        reads: Names of taps that it needs of every pass.
        replaces_loss: Whether its loss stands in place of the task's, instead of beside it.
        stages: Trainings that it takes one after another, each of all epochs and a learning-rate cycle of its own.
    """

    reads: tuple[str, ...] = ()
    replaces_loss: bool = False
    stages: int = 1

    def begin_epoch(self, epoch: int, num_epochs: int, network: FusionNetwork, samples: Batch, fit: Fit) -> None:
        """Called before every epoch, counted from 0.

        Args:
            epoch: Of the training.
            num_epochs: Of it, all stages together.
            network: As it is now; to be left as it is.
            samples: The weights split.
            fit: Trains copies.
        """

    def loss(self, forward: ForwardPass, progress: float) -> Tensor | None:  # noqa: ARG002  # for those that have one
        """What is added to the task's loss, or stands in its place, (); None for nothing.

        It changes no state, for it may be asked for more than once a step.

        Args:
            forward: Of the step.
            progress: Of the training, all stages together, 0 to 1.
        """
        return None

    def before_step(self, network: FusionNetwork) -> None:
        """Called when gradients are there and weights have not moved yet."""

    def after_step(self, network: FusionNetwork) -> None:
        """Called when weights have moved, with their gradients still there."""

    def counts(self, progress: float) -> bool:  # noqa: ARG002  # for those that say
        """Whether an epoch that ends at this progress may be the best one: before that it says little."""
        return True


class Combined(Objective):
    """Several objectives at once; one of them at most replaces the loss of the task.

    Args:
        parts: At least one.
    """

    def __init__(self, parts: Sequence[Objective]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.reads = tuple(dict.fromkeys(tap for part in parts for tap in part.reads))
        self.stages = max(part.stages for part in parts)

    def _each(self) -> list[Objective]:
        return [part for part in self.parts if isinstance(part, Objective)]

    def begin_epoch(self, epoch: int, num_epochs: int, network: FusionNetwork, samples: Batch, fit: Fit) -> None:
        """Of all parts."""
        for part in self._each():
            part.begin_epoch(epoch, num_epochs, network, samples, fit)

    def loss(self, forward: ForwardPass, progress: float) -> Tensor:
        """The task's loss unless a part replaces it, and what the parts add."""
        terms = [term for part in self._each() if (term := part.loss(forward, progress)) is not None]
        if not any(part.replaces_loss for part in self._each()):
            terms.insert(0, forward.losses(forward.outputs()).mean())
        return torch.stack(terms).sum()

    def before_step(self, network: FusionNetwork) -> None:
        """Of all parts."""
        for part in self._each():
            part.before_step(network)

    def after_step(self, network: FusionNetwork) -> None:
        """Of all parts."""
        for part in self._each():
            part.after_step(network)

    def counts(self, progress: float) -> bool:
        """Whether it does for all parts."""
        return all(part.counts(progress) for part in self._each())


def only_choices(network: FusionNetwork) -> Selection:
    """What a derived network runs; of a supernet the space's warm-up path, through which all modalities can learn."""
    space = network.space
    if space.fixed is not None:
        return network.selection
    if space.warm_up is not None:
        return space.path(space.warm_up)
    return {node.name: len(node.choices) - 1 for node in space.nodes}


def deepest_taps(network: FusionNetwork) -> dict[str, str]:
    """For every modality that some choice of the network reads the name of its deepest tap that is read."""
    depths = deepest(network.space.taps())
    return {
        modality: tap_name(modality, depths[modality]) for modality in network.space.modalities if modality in depths
    }


def fresh_head(network: FusionNetwork) -> Head:
    """A head like the network's own, with weights of its own."""
    old = network.head
    head = Head(network.channels, old.linear.out_features, old.shift.clone(), old.scale.clone())
    return head.to(old.shift.device)
