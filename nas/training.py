"""Training a derived network from scratch, and running a network over a split."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nas.cascade import Cascade
from nas.checkpoint import NOWHERE, Slot
from nas.data.batches import Batch, Endless, in_order, shuffled
from nas.data.fusion_data import FusionData, Task
from nas.encoders import EncoderBuilder, build_encoders
from nas.errors import UserError
from nas.gated_training import GateConfig, gate_decides, gated_loss, price_of_routes, routes_loss
from nas.graph import FusionNetwork, Head, Selection
from nas.metrics import PRIMARY, higher_is_better, losses_of_routes, sample_losses, score
from nas.objectives import Fit, ForwardPass, Objective, dropout_rate, make_objective, parse
from nas.routing import every_route, run_routes
from nas.snapshot import Stateful, restore_snapshot, take_snapshot
from nas.space import SearchSpace
from nas.thresholds import fitted_to

EVALUATION_BATCH = 512

Log = Callable[[Mapping[str, Any]], None]
"""Takes a record of how a search or a training goes."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(GateConfig):
    """How a network is trained, its gate included: AdamW with one-cycle learning rate, the best epoch kept.

    Attributes:
        epochs: Passes over the weights split, of every stage where an objective has several; 0 chooses by its size, so
            that small sets get more.
        batch_size: Samples per step, at least 2.
        learning_rate: Highest of the cycle.
        weight_decay: Of AdamW.
        patience: Epochs without a better architecture-split loss before it stops; 0 never stops early.
        gradient_clip: Largest norm of the gradient.
        channels: Width of adapters, fusion nodes and head.
        dropout_rate: In the adapters, 0 to 1.
        compile: Whether to use `torch.compile` where a static network is trained; pays on a GPU and long runs.
        objective: What networks of two modalities or more are trained by beside, or in place of, the task's loss: names
            of `nas.objectives.OBJECTIVES`, comma-separated; empty for none.
    """

    epochs: int = 0
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    patience: int = 10
    gradient_clip: float = 5.0
    channels: int = 48
    dropout_rate: float = 0.2
    compile: bool = False
    objective: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 0:
            raise UserError(f"epochs must be 0 (automatic) or more, got {self.epochs}")
        if self.batch_size < 2:
            raise UserError(f"batch_size must be at least 2, got {self.batch_size}; BatchNorm needs two samples")
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"learning_rate must be positive, got {self.learning_rate}; 3e-3 is the default")
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"weight_decay must be 0 or more, got {self.weight_decay}; 1e-2 is the default")
        if self.patience < 0:
            raise UserError(f"patience must be 0 (never stop early) or more, got {self.patience}")
        if not self.gradient_clip > 0:
            raise UserError(f"gradient_clip must be positive, got {self.gradient_clip}; 5.0 is the default")
        if self.channels < 1:
            raise UserError(f"channels must be at least 1, got {self.channels}; 48 is the default")
        if not 0 <= self.dropout_rate < 1:
            raise UserError(f"dropout_rate must be at least 0 and below 1, got {self.dropout_rate}")
        if parse(self.objective) and self.compile:
            raise UserError(
                f"objective {self.objective!r} runs networks in parts, which are not compiled; leave one out"
            )

    def num_epochs(self, num_samples: int) -> int:
        """Epochs for a weights split of this size: as given, else about 90 000 samples seen, 10 to 40 passes."""
        return self.epochs or max(10, min(40, round(90_000 / max(1, num_samples))))


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """Seeds initialisation and dropout inside the block, leaves the outer random state as it was.

    Yields:
        A CPU generator of the same seed for everything that takes one.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


def autocast(device: torch.device) -> torch.autocast:
    """bf16 arithmetic on a GPU, plain float32 elsewhere."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def build_network(
    space: SearchSpace,
    data: FusionData,
    config: TrainingConfig,
    builders: Mapping[str, EncoderBuilder] | None = None,
) -> FusionNetwork:
    """A fresh network for a space, its sizes and statistics read off the weights split.

    Args:
        space: A whole space for the supernet, a restricted one for a derived network.
        data: Its architecture and test splits are not read.
        config: Channels and dropout.
        builders: Encoder builders that replace the defaults, by modality.
    """
    shift = scale = None
    if data.task == "regression":
        targets = torch.from_numpy(data.targets[data.splits["weights"]]).float()
        shift, scale = targets.mean(dim=0), targets.std(dim=0).clamp(min=1e-12)
    head = Head(config.channels, data.num_outputs, shift, scale)
    encoders = build_encoders(data, builders)
    return FusionNetwork(
        space, encoders, head, channels=config.channels, dropout_rate=config.dropout_rate, task=data.task
    )


def losses(task: Task, network: FusionNetwork, batch: Batch, selection: Selection | None = None) -> Tensor:
    """The loss of every sample of a batch, (batch,)."""
    outputs = network(batch.inputs, batch.present, selection)
    return sample_losses(task, outputs, batch.targets, network.head.scale)


@torch.no_grad()
def predict(
    network: nn.Module, batch: Batch, device: torch.device, selection: Selection | None = None
) -> tuple[Tensor, Tensor]:
    """Runs a network over a split in evaluation mode.

    Returns:
        Outputs (n, outputs) in float32 and targets, both on the CPU.
    """
    network.eval()
    outputs = []
    for part in in_order(batch, EVALUATION_BATCH, device):
        with autocast(device):
            outputs.append(network(part.inputs, part.present, selection).float())
    return torch.cat(outputs).cpu(), batch.targets.cpu()


@torch.no_grad()
def predict_routed(network: FusionNetwork, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    """Runs a dynamic network over a split in evaluation mode.

    Returns:
        Outputs (n, outputs) in float32 and the route of every sample (n,), both on the CPU.
    """
    network.eval()
    outputs, picked = [], []
    for part in in_order(batch, EVALUATION_BATCH, device):
        with autocast(device):
            some, routes = run_routes(network, part.inputs, part.present)
        outputs.append(some.float())
        picked.append(routes)
    return torch.cat(outputs).cpu(), torch.cat(picked).cpu()


def predict_routes(network: FusionNetwork, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    """Runs every route of a dynamic network over a split in evaluation mode.

    Returns:
        Outputs (routes, n, outputs) and logits of the gate (n, routes), in float32 on the CPU.
    """
    network.eval()
    outputs, logits = [], []
    for part in in_order(batch, EVALUATION_BATCH, device):
        with torch.no_grad(), autocast(device):
            some, gate = every_route(network, part.inputs, part.present)
        outputs.append(some.float().cpu())
        logits.append(gate.float().cpu())
    return torch.cat(outputs, dim=1), torch.cat(logits)


def evaluation_losses(
    task: Task, network: FusionNetwork, batch: Batch, device: torch.device, selection: Selection | None = None
) -> Tensor:
    """The loss of every sample of a split in evaluation mode, (n,), on the CPU."""
    outputs, targets = predict(network, batch, device, selection)
    return sample_losses(task, outputs, targets, network.head.scale.cpu())


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network and how it came about.

    Attributes:
        network: In evaluation mode, with the weights of its best epoch.
        architecture_score: Primary metric on the architecture split.
        architecture_loss: Mean loss there; of a dynamic network with the price of its multiply-adds.
        train_seconds: Wall time of the training.
        num_epochs: Epochs that were run.
        course: Of every epoch the mean loss while it was trained and that on the architecture split after it.
    """

    network: FusionNetwork
    architecture_score: float
    architecture_loss: float
    train_seconds: float
    num_epochs: int
    course: tuple[tuple[float, float], ...]


def train(  # noqa: PLR0912, PLR0915  # a training loop, told in order
    network: FusionNetwork,
    task: Task,
    weights: Batch,
    architecture: Batch,
    config: TrainingConfig,
    *,
    seed: int,
    device: torch.device,
    gate_split: Batch | None = None,
    log: Log = lambda _record: None,
    slot: Slot | None = None,
) -> Trained:
    """Trains a derived network on the weights split and keeps its best epoch on the architecture split.

    The gate of a dynamic network learns on the architecture split, see `nas.gated_training`; a cascade does so when its
    routes are trained, see `nas.thresholds`. The best epoch of a static network is that of the best score; of a cascade
    that of the lowest mean loss of its routes; of another dynamic one that of the lowest loss with the price of its
    multiply-adds, among those in which the gate decides alone.

    Args:
        network: Built from a restricted space; moved to the device and changed in place.
        task: What the target is.
        weights: The weights split.
        architecture: The architecture split; it stops the training and chooses the epoch.
        config: How to train.
        seed: Order of samples and dropout.
        device: Where to train.
        gate_split: By which a gate learns; the architecture split if None.
        log: Called once an epoch with its losses and score.
        slot: Where the training keeps its state, to go on from it; None keeps nothing.

    Raises:
        UserError: If the loss is no longer finite, as with a learning rate that is far too high; or if what the slot
            holds is no state of this training.
    """
    slot = slot or NOWHERE.slot("training")
    log = slot.keep(log)
    network.to(device)
    if network.gate is not None:
        network.gate.price.fill_(0.0 if config.max_multiply_adds else config.cost_weight)
    run: Any = torch.compile(network) if config.compile else network
    with seeded(seed):
        objective = make_objective(config.objective, network, task)
    epochs_of_stage = config.num_epochs(len(weights))
    steps_of_stage = epochs_of_stage * steps_per_epoch(len(weights), config)
    stages = 1 if objective is None else objective.stages
    num_epochs, num_steps = stages * epochs_of_stage, stages * steps_of_stage
    optimizer, scheduler = make_optimizer(with_objective(network, objective), config, steps_of_stage)
    rate = config.modality_dropout_rate or dropout_rate(config.objective)
    metric = PRIMARY[task]
    is_cascade = isinstance(network.gate, Cascade)
    course = _Course(best_state=copy.deepcopy(network.state_dict()))
    with seeded(seed) as generator:
        held_out = Endless(gate_split or architecture, config.batch_size, generator, device)
        parts: dict[str, Stateful] = {"network": network, "optimizer": optimizer, "scheduler": scheduler}
        if network.gate is not None and not is_cascade:
            parts["held_out"] = held_out
        if objective is not None:
            parts["objective"] = objective

        def state() -> dict[str, Any]:
            return {"course": vars(course), **take_snapshot(generator, **parts)}

        def loss_of(batch: Batch, progress: float) -> Tensor:
            if objective is not None:
                return objective.loss(ForwardPass.run(task, network, batch, more_taps=objective.reads), progress)
            if network.gate is None:
                return losses(task, run, batch).mean()
            if is_cascade:
                return routes_loss(task, network, batch)
            return gated_loss(task, network, batch, next(held_out), config, progress, num_steps, generator)

        if (found := slot.restore()) is not None:
            with slot.fitting():
                course = _Course(**found["course"])
                network.load_state_dict(course.best_state)
                if not slot.finished:
                    restore_snapshot(found, generator, **parts)
        while not (slot.finished or course.is_over(num_epochs, config.patience)):
            network.train()
            if course.epochs and course.epochs % epochs_of_stage == 0:
                parts["scheduler"] = scheduler = one_cycle(optimizer, config, steps_of_stage)
            if objective is not None:
                objective.begin_epoch(course.epochs, num_epochs, network, weights, fitting(config, seed, device))
            total = torch.zeros((), device=device)
            for number, whole in enumerate(shuffled(weights, config.batch_size, generator, device)):
                batch = drop_modalities(whole, rate, generator)
                with autocast(device):
                    loss = loss_of(batch, course.epochs / num_epochs + number / num_steps)
                step(loss, optimizer, scheduler, config, objective=objective, network=network)
                total += loss.detach() * len(batch)
            train_loss = float(total) / len(weights)
            check_finite(train_loss, course.epochs, config)
            if is_cascade:
                score_now, loss_now = _judge_routes(task, network, architecture, device)
            else:
                score_now, loss_now = _judge(task, network, architecture, config, device)
            log(
                {
                    "epoch": course.epochs,
                    "train_loss": train_loss,
                    "architecture_loss": loss_now,
                    "architecture_score": score_now,
                }
            )
            if network.gate is None:
                is_best = _better(metric, score_now, course.best_score)
                is_best = is_best or (score_now == course.best_score and loss_now < course.best_loss)
            elif is_cascade:
                is_best = loss_now < course.best_loss
            else:
                is_best = loss_now < course.best_loss and gate_decides((course.epochs + 1) / num_epochs)
                if math.isinf(course.best_loss):
                    course.best_epoch = course.epochs  # patience begins when the gate decides
            if objective is not None and not objective.counts((course.epochs + 1) / num_epochs):
                is_best, course.best_epoch = False, course.epochs
            if is_best:
                course.best_loss, course.best_score, course.best_epoch = loss_now, score_now, course.epochs
                course.best_state = copy.deepcopy(network.state_dict())
            course.losses.append((train_loss, loss_now))
            course.epochs += 1
            slot.offer(state)
    network.load_state_dict(course.best_state)
    network.eval()
    slot.finish(lambda: {"course": vars(course)})
    reached = course.best_score, course.best_loss
    if isinstance(network.gate, Cascade):
        _learn_where_to_stop(task, network.gate, network, gate_split or architecture, config, device)
        reached = _judge(task, network, architecture, config, device)
    return Trained(
        network=network,
        architecture_score=reached[0],
        architecture_loss=reached[1],
        train_seconds=slot.seconds(),
        num_epochs=course.epochs,
        course=tuple(course.losses),
    )


def _judge(
    task: Task, network: FusionNetwork, architecture: Batch, config: TrainingConfig, device: torch.device
) -> tuple[float, float]:
    """Score and mean loss on the architecture split, the latter with the price of what a gate spends."""
    targets, price = architecture.targets.cpu(), 0.0
    if network.gate is None:
        outputs, _ = predict(network, architecture, device)
    else:
        outputs, picked = predict_routed(network, architecture, device)
        price = price_of_routes(network, picked, config)
    loss = float(sample_losses(task, outputs, targets, network.head.scale.cpu()).mean())
    return score(PRIMARY[task], outputs.numpy(), targets.numpy()), loss + price


def _judge_routes(task: Task, network: FusionNetwork, architecture: Batch, device: torch.device) -> tuple[float, float]:
    """Score of the last route and mean loss of all routes on the architecture split."""
    outputs, targets = predict_routes(network, architecture, device)[0], architecture.targets.cpu()
    loss = float(losses_of_routes(task, outputs, targets, network.head.scale.cpu()).mean())
    return score(PRIMARY[task], outputs[-1].numpy(), targets.numpy()), loss


def _learn_where_to_stop(
    task: Task, cascade: Cascade, network: FusionNetwork, batch: Batch, config: TrainingConfig, device: torch.device
) -> None:
    outputs, present = predict_routes(network, batch, device)[0], {name: m.cpu() for name, m in batch.present.items()}
    losses = losses_of_routes(task, outputs, batch.targets.cpu(), network.head.scale.cpu())
    found = fitted_to(cascade, outputs, losses, config, present)
    cascade.load_state_dict(found.state_dict())


@dataclass
class _Course:
    """How far a training has come, and what was best on the way."""

    best_state: Mapping[str, Tensor]
    best_epoch: int = -1
    best_score: float = math.nan
    best_loss: float = math.inf
    epochs: int = 0
    losses: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuses what a damaged state may hold."""
        numbers = (self.best_epoch, self.epochs, self.best_score, self.best_loss)
        if [type(number) for number in numbers] != [int, int, float, float] or not -1 <= self.best_epoch <= self.epochs:
            raise ValueError(f"epochs and scores cannot be {numbers}")

    def is_over(self, num_epochs: int, patience: int) -> bool:
        """Whether all epochs are done, or too many since the best one."""
        return self.epochs >= num_epochs or bool(patience and self.epochs - 1 - self.best_epoch >= patience)


def drop_modalities(batch: Batch, rate: float, generator: torch.Generator) -> Batch:
    """The same samples, each without a modality now and then; of those that it has, one at least is left.

    Neverova et al. 2016, "ModDrop: Adaptive Multi-modal Gesture Recognition", section 3.2. Departure: a sample that
    would lose all keeps one of them, drawn evenly.

    Args:
        batch: Of a training.
        rate: How often each modality of a sample is dropped; 0 draws nothing and returns the batch itself.
        generator: On the CPU, so that draws are the same on every device.
    """
    if not rate:
        return batch
    names, device = list(batch.inputs), batch.targets.device
    here = torch.ones(len(batch), dtype=torch.bool)
    had = torch.stack([batch.present[name].cpu() if name in batch.present else here for name in names])
    kept = had & (torch.rand(had.shape, generator=generator) >= rate)
    spared = (torch.rand(had.shape, generator=generator) * had).argmax(dim=0)
    lost_all = ~kept.any(dim=0)
    kept[spared[lost_all], torch.nonzero(lost_all).flatten()] = True
    kept &= had
    return Batch(batch.inputs, {name: mask.to(device) for name, mask in zip(names, kept, strict=True)}, batch.targets)


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


def _better(metric: str, now: float, best: float) -> bool:
    if math.isnan(best):  # nothing yet
        return True
    return now > best if higher_is_better(metric) else now < best


def steps_per_epoch(num_samples: int, config: TrainingConfig) -> int:
    """Upper bound of the steps that one pass takes."""
    return max(1, -(-num_samples // config.batch_size))


def make_optimizer(
    network: nn.Module, config: TrainingConfig, num_steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.OneCycleLR]:
    """AdamW over the network's parameters and a one-cycle schedule over a number of steps."""
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    return optimizer, one_cycle(optimizer, config, num_steps)


def one_cycle(
    optimizer: torch.optim.Optimizer, config: TrainingConfig, num_steps: int
) -> torch.optim.lr_scheduler.OneCycleLR:
    """A schedule that begins now, whatever the optimizer has done before."""
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=max(2, num_steps) + 1, pct_start=0.15
    )


def with_objective(network: nn.Module, objective: Objective | None) -> nn.Module:
    """All that is trained: the network, and what an objective adds to it."""
    return network if objective is None else nn.ModuleList([network, objective])


def fitting(config: TrainingConfig, seed: int, device: torch.device) -> Fit:
    """Trains for an objective, as `train` does, but with no epoch judged; outer random states are left alone."""

    def fit(
        module: nn.Module,
        loss_of: Callable[[Batch], Tensor],
        samples: Batch,
        epochs: int,
        after_epoch: Callable[[], None],
    ) -> None:
        optimizer, scheduler = make_optimizer(module, config, epochs * steps_per_epoch(len(samples), config))
        with seeded(seed) as generator:
            for _ in range(epochs):
                module.train()
                for batch in shuffled(samples, config.batch_size, generator, device):
                    with autocast(device):
                        loss = loss_of(batch)
                    step(loss, optimizer, scheduler, config)
                after_epoch()

    return fit


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


def pick_device(name: str) -> torch.device:
    """The device of a name: "auto" takes a GPU when there is one.

    Raises:
        UserError: If the name is unknown or there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"unknown device {name!r}; expected auto, cpu, cuda or cuda:0") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not supported; expected auto, cpu, cuda or cuda:0")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(f"device {name!r} is not there; use --device auto or cpu")
    return device
