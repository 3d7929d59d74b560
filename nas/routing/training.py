"""Training networks that decide per sample: the criteria of gates and of cascades in the one training loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nas.config import TrainingConfig
from nas.data.batches import Batch, Endless
from nas.metrics import losses_of_routes, score
from nas.objectives import check_objective, dropout_rate
from nas.routing.cascade import Cascade
from nas.routing.gates import Gate
from nas.routing.loss import gate_decides, gated_loss, hold_budget, routes_loss, with_cost_penalty
from nas.routing.network import RoutedNetwork
from nas.routing.prediction import answers, predict_gate, predict_routes
from nas.routing.thresholds import fitted_to
from nas.runs.checkpoint import Slot
from nas.runs.metrics_log import Log
from nas.tasks import Task
from nas.training.augmentation import drop_modalities
from nas.training.criteria import Criterion, Reached
from nas.training.snapshot import Stateful
from nas.training.train import Trained, train


def train_routed(
    network: RoutedNetwork,
    task: Task,
    weights: Batch,
    architecture: Batch,
    config: TrainingConfig,
    *,
    seed: int,
    device: torch.device,
    router_split: Batch | None = None,
    log: Log = lambda _record: None,
    slot: Slot | None = None,
) -> Trained[RoutedNetwork]:
    """Trains a network that decides per sample, router and weights together; see `nas.training.train.train`.

    Args:
        network: Whose router knows what its routes cost; moved to the device and changed in place.
        task: What the target is.
        weights: The weights split.
        architecture: The architecture split; it stops the training and chooses the epoch.
        config: How to train.
        seed: Order of samples and dropout.
        device: Where to train.
        router_split: By which the router learns; the architecture split if None.
        log: Called once an epoch with its losses and score.
        slot: Where the training keeps its state, to go on from it; None keeps nothing.

    Raises:
        UserError: As `nas.training.train.train`, and if an objective is asked for, which no gate can be trained by.
    """
    check_objective(config.objective, task, network.network.space.modalities, dynamic=True)
    criterion = CascadeCriterion if isinstance(network.router, Cascade) else GatedCriterion
    return train(
        network,
        task,
        weights,
        architecture,
        config,
        seed=seed,
        device=device,
        make_criterion=partial(criterion, held_out=router_split or architecture),
        log=log,
        slot=slot,
    )


@dataclass(kw_only=True)
class RoutedCriterion(Criterion):
    """What the criteria of gates and of cascades have in common.

    Attributes:
        network: That decides per sample.
        held_out: By which its router learns.
    """

    network: RoutedNetwork
    held_out: Batch

    def _reached(self, outputs: Tensor, lost: Tensor) -> Reached:
        targets = self.architecture.targets.cpu()
        return Reached(score(self.metric, outputs.numpy(), targets.numpy()), float(lost.mean()))

    def _priced(self) -> Reached:
        """What the network comes to as it decides now, its loss with the price of what samples spend."""
        outputs, lost, spent = answers(self.task, self.network, self.architecture, self.device)
        return self._reached(outputs, with_cost_penalty(lost, spent, self.config))


@dataclass(kw_only=True)
class GatedCriterion(RoutedCriterion):
    """The gate learns along with its routes, see `nas.routing.loss`.

    The best epoch is that of the lowest loss with the price of its multiply-adds, among those in which the gate decides
    alone; with a budget, of the loss of a gate that was made to keep it.
    """

    def __post_init__(self) -> None:
        """Sets the price that it begins with, and draws the batches that it learns by."""
        # What decides meets samples that lack something, too.
        shown = drop_modalities(self.held_out, dropout_rate(self.config.objective), self.generator)
        self._batches = Endless(shown, self.config.batch_size, self.generator, self.device)
        self._gate.price.fill_(0.0 if self.config.max_multiply_adds else self.config.cost_weight)

    def loss(self, batch: Batch, progress: float) -> Tensor:
        """That of `nas.routing.loss`."""
        held_out = next(self._batches)
        return gated_loss(
            self.task, self.network, batch, held_out, self.config, progress, self.num_steps, self.generator
        )

    def judge(self) -> Reached:
        """With the price of what samples spend, or within the budget."""
        learned = self._gate.output.bias.detach().clone()
        self._hold_budget()
        reached = self._priced()
        self._gate.output.bias.data.copy_(learned)
        return reached

    def finish(self, best: Reached, held_out: Tensor) -> Reached:  # noqa: ARG002  # as all criteria
        """Keeps to the budget."""
        self._hold_budget()
        return best

    @property
    def _gate(self) -> Gate:
        assert isinstance(self.network.router, Gate)
        return self.network.router

    def _hold_budget(self) -> None:
        if self.config.max_multiply_adds:
            logits = predict_gate(self.network, self.held_out, self.device)
            hold_budget(self._gate, logits, self.config.max_multiply_adds)

    def counts(self, progress: float) -> bool:
        """Whether the gate decides alone."""
        return gate_decides(progress)

    def parts(self) -> Mapping[str, Stateful]:
        """How far the held-out samples have been gone through."""
        return {"held_out": self._batches}


@dataclass(kw_only=True)
class CascadeCriterion(RoutedCriterion):
    """All routes learn from all samples; the best epoch is that of their lowest mean loss; then it learns to stop.

    Where to stop it learns by the held-out samples, see `nas.routing.thresholds`.
    """

    def loss(self, batch: Batch, progress: float) -> Tensor:  # noqa: ARG002
        """The mean of all routes."""
        return routes_loss(self.task, self.network, batch)

    def judge(self) -> Reached:
        """The score of the last route, and the mean loss of all."""
        outputs, lost = self._routes(self.architecture)
        return self._reached(outputs[-1], lost)

    def finish(self, best: Reached, held_out: Tensor) -> Reached:  # noqa: ARG002  # as all criteria
        """Fits where it stops; what it comes to has the price of what samples spend."""
        cascade = self.network.router
        assert isinstance(cascade, Cascade)
        outputs, lost = self._routes(self.held_out)
        present = {name: mask.cpu() for name, mask in self.held_out.present.items()}
        cascade.load_state_dict(fitted_to(cascade, outputs, lost, self.config, present).state_dict())
        return self._priced()

    def _routes(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What every route puts out, (routes, n, outputs), and loses, (n, routes)."""
        outputs, _ = predict_routes(self.network, batch, self.device)
        return outputs, losses_of_routes(self.task, outputs, batch.targets.cpu(), self.network.head.scale.cpu())
