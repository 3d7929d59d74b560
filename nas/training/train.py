"""Training a derived network from scratch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from nas.config import TrainingConfig
from nas.data.batches import Batch
from nas.encoders.joined import by_modality
from nas.encoders.map import MapEncoder
from nas.network.fusion_network import FusionNetwork
from nas.objectives import ForwardPass, dropout_rate, make_objective
from nas.runs.checkpoint import NOWHERE, Slot
from nas.runs.metrics_log import Log
from nas.seeding import seeded
from nas.tasks import Task
from nas.training.criteria import Criterion, Reached, StaticCriterion
from nas.training.epoch_loop import EpochLoop, steps_per_epoch
from nas.training.folds import FOLDS, folds

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)
AnyNetwork_co = TypeVar("AnyNetwork_co", bound=nn.Module, covariant=True)

MANY_PASSES = 30
"""Epochs from which on a map is seen so often that it may be known by heart; automatic up to some 3 000 samples."""


@dataclass(frozen=True, kw_only=True)
class Trained(Generic[AnyNetwork_co]):
    """A trained network and how it came about.

    Attributes:
        network: In evaluation mode, with the weights of its best epoch.
        architecture_score: The metric on the architecture split; of a static network that of `held_out`.
        architecture_loss: Mean loss there, likewise; of a dynamic network with the price of its multiply-adds.
        held_out: What a static network says of the architecture split, (n, outputs), each fold of it after the epoch
            that the other folds choose, see `nas.training.folds`. So it is not flattered by the choice of the epoch, as
            the answers of `network` are. Empty for what decides per sample.
        train_seconds: Wall time of the training.
        num_epochs: Epochs that were run.
        chosen_epochs: Epochs after which the network was as it is.
        course: Of every epoch the mean loss while it was trained and that on the architecture split after it.
    """

    network: AnyNetwork_co
    architecture_score: float
    architecture_loss: float
    held_out: Tensor
    train_seconds: float
    num_epochs: int
    chosen_epochs: int
    course: tuple[tuple[float, float], ...]


def train(
    network: AnyNetwork,
    task: Task,
    weights: Batch,
    architecture: Batch,
    config: TrainingConfig,
    *,
    seed: int,
    device: torch.device,
    make_criterion: Callable[..., Criterion] = StaticCriterion,
    log: Log = lambda _record: None,
    slot: Slot | None = None,
    exact_epochs: int = 0,
) -> Trained[AnyNetwork]:
    """Trains a derived network on the weights split and keeps its best epoch on the architecture split.

    By which loss, and which epoch is the best one, is up to the criterion, see `nas.training.criteria`; or the loss is
    that of an objective.

    Args:
        network: Built from a restricted space, with `encoders` by modality; moved to the device and changed in place.
        task: What the target is.
        weights: The weights split.
        architecture: The architecture split; it stops the training and chooses the epoch.
        config: How to train.
        seed: Order of samples and dropout.
        device: Where to train.
        make_criterion: Makes the criterion of the network; networks that decide per sample have others, see
            `nas.routing.training.train_routed`.
        log: Called once an epoch with its losses and score.
        slot: Where the training keeps its state, to go on from it; None keeps nothing.
        exact_epochs: Epochs after which it stops and keeps what it has, whatever the architecture split says, such as
            another training has chosen; the learning rate goes the way of a whole one. 0 lets the split choose.

    Raises:
        UserError: If the loss is no longer finite, as with a learning rate that is far too high; or if what the slot
            holds is no state of this training.
    """
    slot = slot or NOWHERE.slot("training")
    log = slot.keep(log)
    network.to(device)
    with seeded(seed):
        objective = make_objective(config.objective, network, task) if isinstance(network, FusionNetwork) else None
    epochs_of_stage = config.num_epochs(len(weights))
    stages = 1 if objective is None else objective.stages
    num_epochs = stages * epochs_of_stage
    encoders = network.encoders
    assert isinstance(encoders, nn.ModuleDict)
    maps = [name for name, encoder in by_modality(encoders.items()).items() if isinstance(encoder, MapEncoder)]
    course = _Course(network)
    with seeded(seed) as generator:
        num_steps = num_epochs * steps_per_epoch(len(weights), config)
        criterion = make_criterion(
            task=task,
            network=network,
            architecture=architecture,
            config=config,
            num_steps=num_steps,
            generator=generator,
            device=device,
        )
        loop = EpochLoop(
            network,
            weights,
            config,
            num_epochs=num_epochs,
            generator=generator,
            seed=seed,
            device=device,
            objective=objective,
            stages=stages,
            shifted_maps=maps if epochs_of_stage >= MANY_PASSES else (),
            dropped=dropout_rate(config.objective),
            slot=slot,
            parts={"course": course, **criterion.parts()},
            kept=("course",),
        )

        def loss(batch: Batch, progress: float) -> Tensor:
            if objective is None:
                return criterion.loss(batch, progress)
            assert isinstance(network, FusionNetwork)
            forward = ForwardPass.run(
                task, network, batch, more_taps=objective.reads, label_smoothing=config.label_smoothing
            )
            return objective.loss(forward, progress)

        def judge(train_loss: float) -> None:
            now = criterion.judge()
            log(
                {
                    "epoch": loop.epochs,
                    "train_loss": train_loss,
                    "architecture_loss": now.loss,
                    "architecture_score": now.score,
                }
            )
            progress = (loop.epochs + 1) / num_epochs
            counts = criterion.counts(progress) and (objective is None or objective.counts(progress))
            course.note(train_loss, now, criterion, counts=counts, at_once=bool(exact_epochs))

        loop.run(loss, after_epoch=judge, is_over=lambda: course.is_over(exact_epochs or num_epochs, config.patience))
    network.load_state_dict(course.best_state)
    network.eval()
    reached = criterion.finish(course.best, course.held_out)
    return Trained(
        network=network,
        architecture_score=reached.score,
        architecture_loss=reached.loss,
        held_out=course.held_out,
        train_seconds=slot.seconds(),
        num_epochs=course.epochs,
        chosen_epochs=course.best_epoch + 1,
        course=tuple(course.losses),
    )


class _Course:
    """How far a training has come, and what was best on the way.

    Args:
        network: That is trained; takes over the best weights of a state that comes back.

    Attributes:
        best_state: Weights of the best epoch.
        best_epoch: Its number, from 0; −1 before there is one.
        best: What it has come to.
        epochs: How many are done.
        losses: Of every epoch the mean loss while it was trained and that on the architecture split after it.
        held_out: See `Trained`.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self.best_state: Mapping[str, Tensor] = copy.deepcopy(network.state_dict())
        self.best_epoch = -1
        self.best = Reached()
        self.epochs = 0
        self.losses: list[tuple[float, float]] = []
        self.held_out = torch.empty(0)
        self._best_without: list[tuple[float, float]] = []

    def note(self, train_loss: float, now: Reached, criterion: Criterion, *, counts: bool, at_once: bool) -> None:
        """Takes in an epoch.

        Args:
            train_loss: Mean loss while it was trained.
            now: What the network comes to after it.
            criterion: By which epochs are compared.
            counts: Whether it may be the best one; patience begins with the first that does.
            at_once: Whether it is the best one, whatever it has come to.
        """
        if not counts:
            self.best_epoch = self.epochs
        elif at_once or criterion.is_better(now, self.best):
            self.best = now._replace(outputs=None)
            self.best_epoch, self.best_state = self.epochs, copy.deepcopy(self._network.state_dict())
        if isinstance(criterion, StaticCriterion):
            assert now.outputs is not None
            self._keep_held_out(now.outputs, criterion, at_once=at_once or not counts)
        self.losses.append((train_loss, now.loss))
        self.epochs += 1

    def _keep_held_out(self, outputs: Tensor, criterion: StaticCriterion, *, at_once: bool) -> None:
        """Keeps what is said of each fold, if this epoch is the best one by all other folds."""
        if not self._best_without:
            self.held_out = outputs.clone()
            self._best_without = [(math.nan, math.inf)] * min(FOLDS, len(outputs))
        for number, (part, rest) in enumerate(folds(len(outputs))):
            others = criterion.reached(outputs, rest)
            if at_once or criterion.is_better(others, Reached(*self._best_without[number])):
                self.held_out[part] = outputs[part]
                self._best_without[number] = others.score, others.loss

    def is_over(self, num_epochs: int, patience: int) -> bool:
        """Whether all epochs are done, or too many since the best one."""
        return self.epochs >= num_epochs or bool(patience and self.epochs - 1 - self.best_epoch >= patience)

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return {
            "best_state": self.best_state,
            "best_epoch": self.best_epoch,
            "best_score": self.best.score,
            "best_loss": self.best.loss,
            "epochs": self.epochs,
            "losses": self.losses,
            "held_out": self.held_out,
            "best_without": self._best_without,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state, and its best weights into the network.

        Raises:
            ValueError: If that is no state of a course, as in a damaged file.
        """
        numbers = [state[name] for name in ("best_epoch", "epochs", "best_score", "best_loss")]
        if [type(number) for number in numbers] != [int, int, float, float] or not -1 <= numbers[0] <= numbers[1]:
            raise ValueError(f"epochs and scores cannot be {numbers}")
        self.best_epoch, self.epochs = numbers[:2]
        self.best = Reached(*numbers[2:])
        self.best_state = state["best_state"]
        self.losses = [(float(train), float(judged)) for train, judged in state["losses"]]
        self.held_out = state["held_out"].clone()
        self._best_without = [(float(score), float(loss)) for score, loss in state["best_without"]]
        self._network.load_state_dict(self.best_state)


__all__ = ["Trained", "train"]
