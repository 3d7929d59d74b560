"""Training a derived network from scratch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from nas.augmentation import shifted
from nas.cascade import Cascade
from nas.checkpoint import NOWHERE, Slot
from nas.data.batches import Batch, Endless, shuffled
from nas.data.fusion_data import FusionData, Task
from nas.encoders import Encoder, EncoderBuilder, build_encoders
from nas.encoders.map import MapEncoder
from nas.encoders.preprocessing import AUTO, parse_preprocessing
from nas.errors import UserError, unknown_name
from nas.fields import AMOUNT, MAX_CHANNELS, POSITIVE, SHARE, Flag, Number, Text, Whole, setting
from nas.folds import FOLDS, folds
from nas.gated_training import GateConfig
from nas.graph import FusionNetwork, Head
from nas.metrics import metric_of
from nas.objectives import Fit, ForwardPass, Objective, dropout_rate, make_objective, parse
from nas.prediction import autocast
from nas.regimes import CascadeRegime, GatedRegime, Reached, Regime, StaticRegime
from nas.snapshot import Stateful, restore_snapshot, take_snapshot
from nas.space import SearchSpace

Log = Callable[[Mapping[str, Any]], None]
"""Takes a record of how a search or a training goes."""

CLASS_WEIGHTS = ("none", "balanced")

MANY_PASSES = 30
"""Epochs from which on a map is seen so often that it may be known by heart; automatic up to some 3 000 samples."""

MAX_WEIGHTS = 2**28
"""Of adapters, fusion nodes and head together: 1 GiB, and four times that with gradients and what AdamW remembers."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(GateConfig):
    """How a network is trained, its gate included: AdamW with one-cycle learning rate, the best epoch kept.

    Attributes:
        epochs: Passes over the weights split, of every stage where an objective has several; 0 chooses by its size, so
            that small sets get more.
        batch_size: Samples per step, at least 2.
        learning_rate: Highest of the cycle.
        weight_decay: Of AdamW.
        max_epochs: Most passes that automatic `epochs` come to.
        patience: Epochs without a better epoch on the architecture split before it stops; 0 never stops early, but
            still keeps the best epoch.
        label_smoothing: Share of the target that is spread evenly over all classes while weights learn, 0 to 1, so that
            a network that knows its training samples does not go on to be ever surer of them. Nothing is judged so, and
            what decides per sample does not learn so, for it has to know how sure an answer is. Says nothing to other
            tasks than classification.
        gradient_clip: Largest norm of the gradient.
        channels: Width of adapters, fusion nodes and head.
        dropout_rate: In the adapters, 0 to 1.
        shift: Largest random shift of maps while the weights of default encoders learn, as a share of their height and
            width, 0 to 1, see `nas.augmentation`, in trainings of `MANY_PASSES` or more. Encoders of your own see their
            input as it is.
        peaks: Whether the taps of sequences hold the power mean over time beside the means, see
            `nas.encoders.base.beside_peaks`. Encoders of your own are as they are.
        preprocessing: What default encoders do with their input first: `standardize`, or pairs of a modality and a name
            of `nas.encoders.preprocessing.PREPROCESSING`, such as emg:magnitudes,genes:piecewise, where all else is
            standardized; or `auto`, by which a search decides, see `nas.preprocessing`. Undecided, it standardizes.
        compile: Whether to use `torch.compile` where a static network is trained; pays on a GPU and long runs.
        objective: What networks of two modalities or more are trained by beside, or in place of, the task's loss: names
            of `nas.objectives.OBJECTIVES`, comma-separated; empty for none.
        class_weights: Whether rare classes and labels count more while weights learn: `none`, or `balanced` for weights
            in inverse proportion to how frequent they are in the weights split. Nothing is judged so.
        metric: What networks are judged by, a name of `nas.metrics.METRICS`; empty for the task's own.
    """

    epochs: int = setting(0, Whole(0, 10**12, zero="automatic"))
    max_epochs: int = setting(60, Whole(10, 10**12))
    batch_size: int = setting(64, Whole(2, 10**9))  # BatchNorm needs two samples
    learning_rate: float = setting(3e-3, POSITIVE)
    weight_decay: float = setting(1e-2, AMOUNT)
    patience: int = setting(0, Whole(0, 10**12, zero="never stop early"))
    label_smoothing: float = setting(0.1, SHARE)
    gradient_clip: float = setting(5.0, Number("positive", above=True, below=False))
    channels: int = setting(48, Whole(1, MAX_CHANNELS))
    dropout_rate: float = setting(0.2, SHARE)
    shift: float = setting(0.08, SHARE)
    peaks: bool = setting(True, Flag())
    preprocessing: str = setting(AUTO, Text())
    compile: bool = setting(False, Flag())
    objective: str = setting("", Text())
    class_weights: str = setting("none", Text())
    metric: str = setting("", Text())

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.class_weights not in CLASS_WEIGHTS:
            raise unknown_name("class_weights", self.class_weights, CLASS_WEIGHTS)
        parse_preprocessing(self.preprocessing)
        if self.modality_dropout_rate and dropout_rate(self.objective):
            raise UserError("modality dropout is asked for twice, as an option and as an objective; leave one out")
        if parse(self.objective) and self.compile:
            raise UserError(
                f"objective {self.objective!r} runs networks in parts, which are not compiled; leave one out"
            )

    @property
    def dropped(self) -> float:
        """How often a training sample is shown without a modality, whichever way that is asked for, 0 to 1."""
        return self.modality_dropout_rate or dropout_rate(self.objective)

    def num_epochs(self, num_samples: int) -> int:
        """Epochs for a weights split of this size: as given, else about 90 000 samples seen, 10 to `max_epochs`."""
        return self.epochs or max(10, min(self.max_epochs, round(90_000 / max(1, num_samples))))


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
        config: Channels, dropout, peaks and preprocessing.
        builders: Encoder builders that replace the defaults, by modality.

    Raises:
        UserError: If it would have more than `MAX_WEIGHTS`.
    """
    shift = scale = None
    if data.task == "regression":
        targets = torch.from_numpy(data.targets[data.splits["weights"]]).float()
        shift, scale = targets.mean(dim=0), targets.std(dim=0).clamp(min=1e-12)
    _refuse_vast(config.channels * data.num_outputs, config)
    head = Head(config.channels, data.num_outputs, shift, scale)
    chosen = parse_preprocessing(config.preprocessing)
    encoders = build_encoders(data, builders, peaks=config.peaks, preprocessing=chosen)
    _refuse_vast(_count_weights(space, data, config, encoders), config)
    return FusionNetwork(
        space, encoders, head, channels=config.channels, dropout_rate=config.dropout_rate, task=data.task
    )


def _count_weights(
    space: SearchSpace, data: FusionData, config: TrainingConfig, encoders: Mapping[str, Encoder]
) -> int:
    """Those of a network beside its encoders; 0 where they are surely few. No memory is taken for them."""
    widest = max(config.channels, data.num_outputs, *(width for one in encoders.values() for width in one.channels))
    if widest * config.channels * sum(len(node.choices) for node in space.nodes) < MAX_WEIGHTS // 8:
        return 0
    with torch.device("meta"):
        head = Head(config.channels, data.num_outputs)
        network = FusionNetwork(space, encoders, head, channels=config.channels, dropout_rate=0.0, task=data.task)
    return sum(some.numel() for name, some in network.named_parameters() if not name.startswith("encoders."))


def _refuse_vast(count: int, config: TrainingConfig) -> None:
    if count > MAX_WEIGHTS:
        raise UserError(
            f"a network of {config.channels} channels would have {count:,} weights beside its encoders, more than "
            f"{MAX_WEIGHTS:,}; choose fewer channels, operations or modalities"
        )


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network and how it came about.

    Attributes:
        network: In evaluation mode, with the weights of its best epoch.
        architecture_score: The metric on the architecture split; of a static network that of `held_out`.
        architecture_loss: Mean loss there, likewise; of a dynamic network with the price of its multiply-adds.
        held_out: What a static network says of the architecture split, (n, outputs), each fold of it after the epoch
            that the other folds choose, see `nas.folds`. So it is not flattered by the choice of the epoch, as the
            answers of `network` are. Empty for what decides per sample.
        train_seconds: Wall time of the training.
        num_epochs: Epochs that were run.
        chosen_epochs: Epochs after which the network was as it is.
        course: Of every epoch the mean loss while it was trained and that on the architecture split after it.
    """

    network: FusionNetwork
    architecture_score: float
    architecture_loss: float
    held_out: Tensor
    train_seconds: float
    num_epochs: int
    chosen_epochs: int
    course: tuple[tuple[float, float], ...]


def train(  # noqa: PLR0915  # a training loop, told in order
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
    exact_epochs: int = 0,
) -> Trained:
    """Trains a derived network on the weights split and keeps its best epoch on the architecture split.

    By which loss, and which epoch is the best one, is up to the regime of its kind, see `nas.regimes`; or the loss is
    that of an objective. What decides per sample learns on the architecture split.

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
        objective = make_objective(config.objective, network, task)
    epochs_of_stage = config.num_epochs(len(weights))
    steps_of_stage = epochs_of_stage * steps_per_epoch(len(weights), config)
    stages = 1 if objective is None else objective.stages
    num_epochs, num_steps = stages * epochs_of_stage, stages * steps_of_stage
    optimizer, scheduler = make_optimizer(with_objective(network, objective), config, steps_of_stage)
    course = _Course(best_state=copy.deepcopy(network.state_dict()))
    maps = [name for name, encoder in network.encoders.items() if isinstance(encoder, MapEncoder)]
    maps = maps if epochs_of_stage >= MANY_PASSES else []
    with seeded(seed) as generator:
        regime = _regime(network, task, architecture, gate_split or architecture, config, num_steps, generator, device)
        parts: dict[str, Stateful] = {
            "network": network,
            "optimizer": optimizer,
            "scheduler": scheduler,
            **regime.parts(),
        }
        if objective is not None:
            parts["objective"] = objective

        def state() -> dict[str, Any]:
            return {"course": vars(course), **take_snapshot(generator, **parts)}

        def loss_of(batch: Batch, progress: float) -> Tensor:
            if objective is None:
                return regime.loss(batch, progress)
            forward = ForwardPass.run(
                task, network, batch, more_taps=objective.reads, label_smoothing=config.label_smoothing
            )
            return objective.loss(forward, progress)

        if (found := slot.restore()) is not None:
            with slot.fitting():
                course = _Course(**found["course"])
                network.load_state_dict(course.best_state)
                if not slot.finished:
                    restore_snapshot(found, generator, **parts)
        while not (slot.finished or course.is_over(exact_epochs or num_epochs, config.patience)):
            network.train()
            if course.epochs and course.epochs % epochs_of_stage == 0:
                parts["scheduler"] = scheduler = one_cycle(optimizer, config, steps_of_stage)
            if objective is not None:
                objective.begin_epoch(course.epochs, num_epochs, network, weights, fitting(config, seed, device))
            total = torch.zeros((), device=device)
            for number, whole in enumerate(shuffled(weights, config.batch_size, generator, device)):
                batch = drop_modalities(shifted(whole, maps, config.shift, generator), config.dropped, generator)
                with autocast(device):
                    loss = loss_of(batch, course.epochs / num_epochs + number / num_steps)
                step(loss, optimizer, scheduler, config, objective=objective, network=network)
                total += loss.detach() * len(batch)
            train_loss = float(total) / len(weights)
            check_finite(train_loss, course.epochs, config)
            now = regime.judge()
            log(
                {
                    "epoch": course.epochs,
                    "train_loss": train_loss,
                    "architecture_loss": now.loss,
                    "architecture_score": now.score,
                }
            )
            progress = (course.epochs + 1) / num_epochs
            if not regime.counts(progress) or (objective is not None and not objective.counts(progress)):
                course.best_epoch = course.epochs  # patience begins with the first epoch that counts
            else:
                if exact_epochs or regime.is_better(now, course.best):
                    course.best_score, course.best_loss = now.score, now.loss
                    course.best_epoch, course.best_state = course.epochs, copy.deepcopy(network.state_dict())
                course.keep_held_out(now, regime, at_once=bool(exact_epochs))
            course.losses.append((train_loss, now.loss))
            course.epochs += 1
            slot.offer(state)
    network.load_state_dict(course.best_state)
    network.eval()
    slot.finish(lambda: {"course": vars(course)})
    decides = network.gate is not None
    reached = regime.finish(course.best) if decides else regime.reached(course.held_out)
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


def _regime(
    network: FusionNetwork,
    task: Task,
    architecture: Batch,
    held_out: Batch,
    config: TrainingConfig,
    num_steps: int,
    generator: torch.Generator,
    device: torch.device,
) -> Regime:
    """That of a network's kind, at the beginning of a training."""
    common: dict[str, Any] = {
        "task": task,
        "metric": metric_of(task, config.metric),
        "network": network,
        "architecture": architecture,
        "device": device,
    }
    if network.gate is None:
        run = torch.compile(network) if config.compile else network
        return StaticRegime(run=run, label_smoothing=config.label_smoothing, **common)
    if isinstance(network.gate, Cascade):
        return CascadeRegime(held_out=held_out, config=config, **common)
    shown = drop_modalities(held_out, config.dropped, generator)  # what decides meets such samples, too
    batches = Endless(shown, config.batch_size, generator, device)
    return GatedRegime(
        held_out=held_out, batches=batches, config=config, num_steps=num_steps, generator=generator, **common
    )


@dataclass
class _Course:
    """How far a training has come, and what was best on the way."""

    best_state: Mapping[str, Tensor]
    best_epoch: int = -1
    best_score: float = math.nan
    best_loss: float = math.inf
    epochs: int = 0
    losses: list[tuple[float, float]] = field(default_factory=list)
    held_out: Tensor = field(default_factory=lambda: torch.empty(0))
    best_without: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuses what a damaged state may hold."""
        numbers = (self.best_epoch, self.epochs, self.best_score, self.best_loss)
        if [type(number) for number in numbers] != [int, int, float, float] or not -1 <= self.best_epoch <= self.epochs:
            raise ValueError(f"epochs and scores cannot be {numbers}")

    @property
    def best(self) -> Reached:
        """What the best epoch has come to."""
        return Reached(self.best_score, self.best_loss)

    def keep_held_out(self, now: Reached, regime: Regime, *, at_once: bool) -> None:
        """Keeps what a static network says of each fold, if this epoch is the best one by all other folds.

        Args:
            now: After this epoch.
            regime: By which epochs are compared.
            at_once: Whether this epoch is the best one, whatever the folds say.
        """
        if now.outputs is None:
            return
        if not self.best_without:
            self.held_out = now.outputs.clone()
            self.best_without = [(math.nan, math.inf)] * min(FOLDS, len(now.outputs))
        for number, (part, rest) in enumerate(folds(len(now.outputs))):
            others = regime.reached(now.outputs, rest)
            if at_once or regime.is_better(others, Reached(*self.best_without[number])):
                self.held_out[part] = now.outputs[part]
                self.best_without[number] = others.score, others.loss

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
    return replace(batch, present={name: mask.to(device) for name, mask in zip(names, kept, strict=True)})


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
