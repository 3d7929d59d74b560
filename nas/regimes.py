"""How a network learns and is judged: one regime for static networks, one for those with a gate, one for cascades.

What all trainings have in common, their steps and epochs, is `nas.train.train`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nas.data.batches import Batch, Endless
from nas.graph import FusionNetwork
from nas.metrics import higher_is_better, losses_of_routes, sample_losses, score
from nas.prediction import answers, losses, predict, predict_gate, predict_routes
from nas.routing.cascade import Cascade
from nas.routing.gates import Gate
from nas.routing.loss import GateConfig, gate_decides, gated_loss, hold_budget, priced, routes_loss
from nas.routing.thresholds import fitted_to
from nas.snapshot import Stateful
from nas.tasks import Task


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
class Regime(ABC):
    """What is particular about the training of one kind of network.

    Attributes:
        task: What the target is.
        metric: Of the scores, a name of `nas.metrics.METRICS`.
        network: That learns, on the device.
        architecture: The architecture split, which chooses the epoch.
        device: Of the network.
    """

    task: Task
    metric: str
    network: FusionNetwork
    architecture: Batch
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

    def counts(self, progress: float) -> bool:  # noqa: ARG002  # as all regimes
        """Whether an epoch that ends there may be the best one."""
        return True

    def parts(self) -> Mapping[str, Stateful]:
        """What else changes with a step, by name."""
        return {}

    def finish(self, best: Reached) -> Reached:
        """Learns what is left to be learned in the best epoch, and tells what the network comes to then."""
        return best

    def reached(self, outputs: Tensor, only: Tensor | None = None) -> Reached:
        """What outputs of a static network for the architecture split come to.

        Args:
            outputs: (n, outputs), on the CPU.
            only: Which samples count, (n,) bool; None for all.
        """
        targets = self.architecture.targets.cpu()
        if only is not None:
            outputs, targets = outputs[only], targets[only]
        lost = sample_losses(self.task, outputs, targets, self.network.head.scale.cpu())
        return Reached(score(self.metric, outputs.numpy(), targets.numpy()), float(lost.mean()), outputs)

    def _reached(self, outputs: Tensor, lost: Tensor) -> Reached:
        targets = self.architecture.targets.cpu()
        return Reached(score(self.metric, outputs.numpy(), targets.numpy()), float(lost.mean()))

    def _priced(self, config: GateConfig) -> Reached:
        """What a network comes to as it decides now, its loss with the price of what samples spend."""
        outputs, lost, spent = answers(self.task, self.network, self.architecture, self.device)
        return self._reached(outputs, priced(lost, spent, config))


@dataclass(kw_only=True)
class StaticRegime(Regime):
    """Every sample runs through all of the network; the best epoch is that of the best score, then of the lowest loss.

    Attributes:
        run: The network, or what it was compiled to.
        label_smoothing: Of the loss that a step descends on.
    """

    run: Any
    label_smoothing: float = 0.0

    def loss(self, batch: Batch, progress: float) -> Tensor:  # noqa: ARG002
        """The task's."""
        return losses(self.task, self.run, batch, label_smoothing=self.label_smoothing).mean()

    def judge(self) -> Reached:
        """By the task's loss."""
        return self.reached(predict(self.network, self.architecture, self.device)[0])

    def is_better(self, now: Reached, best: Reached) -> bool:
        """Whether the score is better, or as good with a lower loss."""
        sense = 1 if higher_is_better(self.metric) else -1
        return math.isnan(best.score) or (sense * now.score, -now.loss) > (sense * best.score, -best.loss)


@dataclass(kw_only=True)
class GatedRegime(Regime):
    """The gate learns along with its routes, see `nas.routing.loss`.

    The best epoch is that of the lowest loss with the price of its multiply-adds, among those in which the gate decides
    alone; with a budget, of the loss of a gate that was made to keep it.

    Attributes:
        held_out: By which the gate learns.
        batches: Of these samples.
        config: How.
        num_steps: Of the whole training.
        generator: On the CPU, of draws of the relaxation.
    """

    held_out: Batch
    batches: Endless
    config: GateConfig
    num_steps: int
    generator: torch.Generator

    def __post_init__(self) -> None:
        """Sets the price that it begins with."""
        self._gate.price.fill_(0.0 if self.config.max_multiply_adds else self.config.cost_weight)

    def loss(self, batch: Batch, progress: float) -> Tensor:
        """That of `nas.routing.loss`."""
        held_out = next(self.batches)
        return gated_loss(
            self.task, self.network, batch, held_out, self.config, progress, self.num_steps, self.generator
        )

    def judge(self) -> Reached:
        """With the price of what samples spend, or within the budget."""
        learned = self._gate.output.bias.detach().clone()
        self._hold_budget()
        reached = self._priced(self.config)
        self._gate.output.bias.data.copy_(learned)
        return reached

    def finish(self, best: Reached) -> Reached:
        """Keeps to the budget."""
        self._hold_budget()
        return best

    @property
    def _gate(self) -> Gate:
        assert isinstance(self.network.gate, Gate)
        return self.network.gate

    def _hold_budget(self) -> None:
        if self.config.max_multiply_adds:
            logits = predict_gate(self.network, self.held_out, self.device)
            hold_budget(self._gate, logits, self.config.max_multiply_adds)

    def counts(self, progress: float) -> bool:
        """Whether the gate decides alone."""
        return gate_decides(progress)

    def parts(self) -> Mapping[str, Stateful]:
        """How far the held-out samples have been gone through."""
        return {"held_out": self.batches}


@dataclass(kw_only=True)
class CascadeRegime(Regime):
    """All routes learn from all samples; the best epoch is that of their lowest mean loss; then it learns to stop.

    Attributes:
        held_out: By which it learns where to stop, see `nas.routing.thresholds`.
        config: With price or budget.
    """

    held_out: Batch
    config: GateConfig

    def loss(self, batch: Batch, progress: float) -> Tensor:  # noqa: ARG002
        """The mean of all routes."""
        return routes_loss(self.task, self.network, batch)

    def judge(self) -> Reached:
        """The score of the last route, and the mean loss of all."""
        outputs, lost = self._routes(self.architecture)
        return self._reached(outputs[-1], lost)

    def finish(self, best: Reached) -> Reached:  # noqa: ARG002
        """Fits where it stops; what it comes to has the price of what samples spend."""
        cascade = self.network.gate
        assert isinstance(cascade, Cascade)
        outputs, lost = self._routes(self.held_out)
        present = {name: mask.cpu() for name, mask in self.held_out.present.items()}
        cascade.load_state_dict(fitted_to(cascade, outputs, lost, self.config, present).state_dict())
        return self._priced(self.config)

    def _routes(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What every route puts out, (routes, n, outputs), and loses, (n, routes)."""
        outputs, _ = predict_routes(self.network, batch, self.device)
        return outputs, losses_of_routes(self.task, outputs, batch.targets.cpu(), self.network.head.scale.cpu())
