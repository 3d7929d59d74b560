"""How a network learns and is judged while `nas.training.train.train` trains it.

Networks that decide per sample have criteria of their own, see `nas.routing.training`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nas.config import TrainingConfig
from nas.data.batches import Batch
from nas.metrics import higher_is_better, metric_of, sample_losses, score
from nas.network.fusion_network import FusionNetwork
from nas.network.prediction import losses, predict
from nas.tasks import Task
from nas.training.snapshot import Stateful


class Reached(NamedTuple):
    """What a network comes to on the architecture split.

    Attributes:
        score: By its metric.
        loss: Mean loss.
        outputs: Of a static network what it says there, (n, outputs), on the CPU; None for what decides per sample.
    """

    score: float = math.nan
    loss: float = math.inf
    outputs: Tensor | None = None


@dataclass(kw_only=True)
class Criterion(ABC):
    """What is particular about the training of one kind of network; it is made when the training begins.

    Attributes:
        task: What the target is.
        network: That learns, on the device.
        architecture: The architecture split, which chooses the epoch.
        config: How it is trained.
        num_steps: Of the whole training.
        generator: On the CPU, of all draws of the training.
        device: Of the network.
    """

    task: Task
    network: nn.Module
    architecture: Batch
    config: TrainingConfig
    num_steps: int
    generator: torch.Generator
    device: torch.device

    @abstractmethod
    def loss(self, batch: Batch, progress: float) -> Tensor:
        """What a step descends on, ().

        Args:
            batch: Of the weights split.
            progress: Of the training, 0 to 1.
        """

    @abstractmethod
    def judge(self) -> Reached:
        """What the network comes to as it is."""

    def is_better(self, now: Reached, best: Reached) -> bool:
        """Whether an epoch is better than the best one so far: here that of the lower loss."""
        return now.loss < best.loss

    def counts(self, progress: float) -> bool:  # noqa: ARG002  # as all criteria
        """Whether an epoch that ends there may be the best one."""
        return True

    def parts(self) -> Mapping[str, Stateful]:
        """What else changes with a step, by name."""
        return {}

    @abstractmethod
    def finish(self, best: Reached, held_out: Tensor) -> Reached:
        """Learns what is left to be learned in the best epoch, and tells what the network comes to then.

        Args:
            best: What it came to.
            held_out: See `nas.training.train.Trained`.
        """

    @property
    def metric(self) -> str:
        """Of the scores, a name of `nas.metrics.METRICS`."""
        return metric_of(self.task, self.config.metric)


@dataclass(kw_only=True)
class StaticCriterion(Criterion):
    """Every sample runs through all of the network; the best epoch is that of the best score, then of the lowest loss.

    Attributes:
        network: A derived network.
    """

    network: FusionNetwork

    def __post_init__(self) -> None:
        """Compiles the network, if that is asked for."""
        self._run: Any = torch.compile(self.network) if self.config.compile else self.network

    def loss(self, batch: Batch, progress: float) -> Tensor:  # noqa: ARG002
        """The task's."""
        if self.config.compile:
            batch = replace(batch, inputs=dict(batch.inputs))  # what is read from disk is read before
        return losses(self.task, self._run, batch, label_smoothing=self.config.label_smoothing).mean()

    def judge(self) -> Reached:
        """By the task's loss."""
        return self.reached(predict(self.network, self.architecture, self.device)[0])

    def reached(self, outputs: Tensor, only: Tensor | None = None) -> Reached:
        """What outputs for the architecture split come to.

        Args:
            outputs: (n, outputs), on the CPU.
            only: Which samples count, (n,) bool; None for all.
        """
        targets = self.architecture.targets.cpu()
        if only is not None:
            outputs, targets = outputs[only], targets[only]
        lost = sample_losses(self.task, outputs, targets, self.network.head.scale.cpu())
        return Reached(score(self.metric, outputs.numpy(), targets.numpy()), float(lost.mean()), outputs)

    def is_better(self, now: Reached, best: Reached) -> bool:
        """Whether the score is better, or as good with a lower loss."""
        sense = 1 if higher_is_better(self.metric) else -1
        return math.isnan(best.score) or (sense * now.score, -now.loss) > (sense * best.score, -best.loss)

    def finish(self, best: Reached, held_out: Tensor) -> Reached:  # noqa: ARG002  # as all criteria
        """Nothing is left to be learned; it comes to what it says held out, which no choice of an epoch flatters."""
        return self.reached(held_out)
