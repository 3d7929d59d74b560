"""The one training loop: passes over samples, a step per batch, with checks, and a state to go on from.

Networks of one modality, supernets, gradient searches, derived networks and the short trainings of objectives all run
in it. What a step descends on, what follows an epoch and when it is over is up to who runs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from nas.config import TrainingConfig
from nas.data.batches import Batch, shuffled
from nas.errors import UserError
from nas.network.fusion_network import FusionNetwork
from nas.network.prediction import autocast
from nas.objectives import Fit, Objective
from nas.runs.checkpoint import NOWHERE, Slot
from nas.seeding import seeded
from nas.training.augmentation import drop_modalities, shifted
from nas.training.snapshot import Stateful, restore_snapshot, take_snapshot

Loss = Callable[[Batch, float], Tensor]
"""From a batch and the progress of the training, 0 to 1, to what a step descends on, ()."""


class EpochLoop:
    """Passes over samples, until it is over.

    Args:
        network: What is put into training mode, and what objectives act on.
        samples: What it learns from.
        config: Batch size, optimizer and learning rate.
        num_epochs: Of the whole training, all stages together.
        generator: On the CPU, of orders and augmentation.
        seed: Of what objectives train besides.
        device: Where the network is.
        objective: What acts between gradients and weights, and is trained along; None for nothing.
        stages: Trainings one after another, each with a learning-rate cycle of its own.
        shifted_maps: Modalities whose maps are shifted.
        dropped: How often a sample is shown without a modality, 0 to 1.
        mixed_precision: Whether losses are computed in bf16 where the device has it.
        slot: Where its state is kept.
        parts: What else changes with a step or an epoch, by name; it is part of the state.
        kept: Names of what is all of the state once it is over: `network`, `objective`, or parts.

    Attributes:
        epochs: How many are done.
        steps: How many were taken.
        optimizer: Of all that is trained.
        scheduler: Of its learning rate.
    """

    def __init__(
        self,
        network: nn.Module,
        samples: Batch,
        config: TrainingConfig,
        *,
        num_epochs: int,
        generator: torch.Generator,
        seed: int,
        device: torch.device,
        objective: Objective | None = None,
        stages: int = 1,
        shifted_maps: Sequence[str] = (),
        dropped: float = 0.0,
        mixed_precision: bool = True,
        slot: Slot | None = None,
        parts: Mapping[str, Stateful] | None = None,
        kept: Sequence[str] = (),
    ) -> None:
        self.network = network
        self.samples = samples
        self.config = config
        self.num_epochs = num_epochs
        self.epochs = self.steps = 0
        self.objective = objective
        self._generator = generator
        self._seed = seed
        self._device = device
        self._shifted_maps = shifted_maps
        self._dropped = dropped
        self._mixed_precision = mixed_precision
        self._slot = slot or NOWHERE.slot("training")
        self._parts = dict(parts or {})
        self._kept = kept
        self._in_training: list[nn.Module] = []
        self._epochs_of_stage = num_epochs // stages
        self._steps_of_stage = self._epochs_of_stage * steps_per_epoch(len(samples), config)
        self._num_steps = stages * self._steps_of_stage
        trained = network if objective is None else nn.ModuleList([network, objective])
        self.optimizer, self.scheduler = make_optimizer(trained, config, self._steps_of_stage)

    def run(
        self,
        loss: Loss,
        *,
        after_epoch: Callable[[float], None] = lambda _loss: None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """Trains until all epochs are done, or it is over before, or the time of the run is up.

        What was cut because time was up is no finished training: a resumed run that has time goes on with it.

        Args:
            loss: What a step descends on.
            after_epoch: Called with the mean loss of an epoch when its steps are done and `epochs` still counts those
                before it.
            is_over: Asked before every epoch.

        Raises:
            UserError: If the loss is no longer finite, as with a learning rate that is far too high; or if what the
                slot holds is no state of this training.
        """
        self._restore()
        self.network.train()
        self._in_training = [module for module in self.network.modules() if module.training]
        while not (self._slot.finished or self.epochs >= self.num_epochs or is_over()):
            if self._is_late():
                self._slot.cut(self._state)
                return
            train_loss = self._epoch(loss)
            check_finite(train_loss, self.epochs, self.config)
            after_epoch(train_loss)
            self.epochs += 1
            self._slot.offer(self._state)
        every = self._every_part()
        self._slot.finish(lambda: {name: every[name].state_dict() for name in self._kept})

    def _is_late(self) -> bool:
        """Whether the time of the run is up; one step is taken all the same, for there to be a network."""
        return bool(self.steps) and self._slot.time_is_up()

    def _epoch(self, loss: Loss) -> float:
        """One pass, or as much of it as there is time for; returns the mean loss."""
        if not all(module.training for module in self._in_training):  # a walk that sets them all takes far longer
            self.network.train()
        if self.epochs and self.epochs % self._epochs_of_stage == 0:
            self.scheduler = one_cycle(self.optimizer, self.config, self._steps_of_stage)
        acted_on = None
        if self.objective is not None:
            assert isinstance(self.network, FusionNetwork)
            acted_on = self.network
            fit = fitting(self.config, self._seed, self._device)
            self.objective.begin_epoch(self.epochs, self.num_epochs, acted_on, self.samples, fit)
        total, seen = torch.zeros((), device=self._device), 0
        for number, batch in enumerate(shuffled(self.samples, self.config.batch_size, self._generator, self._device)):
            moved = shifted(batch, self._shifted_maps, self.config.shift, self._generator)
            shown = drop_modalities(moved, self._dropped, self._generator)
            with autocast(self._device) if self._mixed_precision else nullcontext():
                descended = loss(shown, self.epochs / self.num_epochs + number / self._num_steps)
            step(descended, self.optimizer, self.scheduler, self.config, objective=self.objective, network=acted_on)
            self.steps += 1
            total += descended.detach() * len(batch)
            seen += len(batch)
            if self._is_late():
                break
        return float(total) / seen

    def _every_part(self) -> dict[str, Stateful]:
        own: dict[str, Stateful] = {"network": self.network, "optimizer": self.optimizer, "scheduler": self.scheduler}
        # The parts come first, for what keeps the best epoch loads its weights into the network.
        return {**self._parts, **own, **({} if self.objective is None else {"objective": self.objective})}

    def _state(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "steps": self.steps, **take_snapshot(self._generator, **self._every_part())}

    def _restore(self) -> None:
        if (found := self._slot.restore()) is None:
            return
        with self._slot.fitting():
            every = self._every_part()
            if self._slot.finished:
                for name in self._kept:
                    every[name].load_state_dict(found[name])
            else:
                restore_snapshot(found, self._generator, **every)
                self.epochs, self.steps = int(found["epochs"]), int(found["steps"])


def fitting(config: TrainingConfig, seed: int, device: torch.device) -> Fit:
    """Trains for an objective, with no epoch judged; outer random states are left alone."""

    def fit(
        module: nn.Module,
        loss_of: Callable[[Batch], Tensor],
        samples: Batch,
        epochs: int,
        after_epoch: Callable[[], None],
    ) -> None:
        with seeded(seed) as generator:
            loop = EpochLoop(module, samples, config, num_epochs=epochs, generator=generator, seed=seed, device=device)
            loop.run(lambda batch, _progress: loss_of(batch), after_epoch=lambda _loss: after_epoch())

    return fit


def check_finite(train_loss: float, epoch: int, config: TrainingConfig) -> None:
    """Stops a training that has diverged.

    Raises:
        UserError: If the mean loss of an epoch, counted from 0, is not finite.
    """
    if not math.isfinite(train_loss):
        raise UserError(
            f"training diverged in epoch {epoch + 1}: its loss is {train_loss}; lower the learning_rate of "
            f"{config.learning_rate}, or look for huge values in the data"
        )


def steps_per_epoch(num_samples: int, config: TrainingConfig) -> int:
    """Upper bound of the steps that one pass takes."""
    return max(1, -(-num_samples // config.batch_size))


def make_optimizer(
    network: nn.Module, config: TrainingConfig, num_steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.OneCycleLR]:
    """AdamW over the network's parameters and a one-cycle schedule over a number of steps.

    A module may have a `learning_rate_scale`, such as a pretrained encoder: its parameters learn at that share of the
    rate.
    """
    slower = {
        parameter: scale
        for module in network.modules()
        if isinstance(scale := getattr(module, "learning_rate_scale", None), float)
        for parameter in module.parameters()
    }
    scales = dict.fromkeys([1.0, *slower.values()])
    groups = [
        {"params": [one for one in network.parameters() if slower.get(one, 1.0) == scale], SCALE: scale}
        for scale in scales
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    return optimizer, one_cycle(optimizer, config, num_steps)


SCALE = "learning_rate_scale"
"""Of a group of parameters, as a share of the learning rate."""


def one_cycle(
    optimizer: torch.optim.Optimizer, config: TrainingConfig, num_steps: int
) -> torch.optim.lr_scheduler.OneCycleLR:
    """A schedule that begins now, whatever the optimizer has done before."""
    rates = [config.learning_rate * group[SCALE] for group in optimizer.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=max(2, num_steps) + 1, pct_start=0.15)


def step(
    loss: Tensor,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    config: TrainingConfig,
    *,
    objective: Objective | None = None,
    network: FusionNetwork | None = None,
) -> None:
    """One descent step: gradients, clipping, weights, learning rate. Gradients are gone before and after it.

    Args:
        loss: To descend on.
        optimizer: Of the weights.
        scheduler: Of its learning rate.
        config: Largest norm of the gradient.
        objective: What acts between gradients and weights; None for nothing.
        network: That it acts on.
    """
    loss.backward()
    if objective is not None and network is not None:
        objective.before_step(network)
    every = [group["params"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:  # what the path did not run shall not cost its step anything
        group["params"] = [parameter for parameter in group["params"] if parameter.grad is not None]
        nn.utils.clip_grad_norm_(group["params"], config.gradient_clip)
    optimizer.step()
    if objective is not None and network is not None:
        objective.after_step(network)
    optimizer.zero_grad(set_to_none=True)
    for group, parameters in zip(optimizer.param_groups, every, strict=True):
        group["params"] = parameters
    scheduler.step()


__all__ = [
    "EpochLoop",
    "Loss",
    "check_finite",
    "fitting",
    "make_optimizer",
    "one_cycle",
    "step",
    "steps_per_epoch",
]
