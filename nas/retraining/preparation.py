"""What fusion is trained on for one seed: raw data with fresh encoders, or cached taps of encoders trained alone.

Fusion networks are built and trained on a `FusionData` either way. With `joint` encoders it is the user's own. With
`pretrained` ones every modality is first trained alone, its taps are computed once and become ready-made per-depth
features; afterwards `Prepared.assemble` puts the frozen encoders back before the trained fusion.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch

from nas.config import EncoderMode, TrainingConfig
from nas.data.batches import Batch, in_order, split_batch
from nas.data.fusion_data import FusionData, Modality, Split
from nas.data.stored import Spool
from nas.encoders import Encoder, EncoderBuilder, build_encoders
from nas.encoders.features import FeaturesEncoder
from nas.encoders.frozen import FrozenEncoder
from nas.encoders.pretrained.encoder import merge_all
from nas.errors import UserError
from nas.metrics import (
    balanced_importance,
    constant_losses,
    constant_outputs,
    metric_of,
    sample_errors,
    sample_losses,
    weighted_importance,
)
from nas.network.cost import CostTable
from nas.network.fusion_network import FusionNetwork, Inputs
from nas.network.prediction import EVALUATION_BATCH, autocast, predict
from nas.retraining.frozen_taps import FrozenTaps
from nas.routing.network import DerivedNetwork, static_part
from nas.runs.checkpoint import NOWHERE, Checkpoints
from nas.runs.metrics_log import Log
from nas.seeding import seeded
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.supernet.path_scorer import standard_errors
from nas.tasks import TASKS, Task
from nas.training.build import build_network
from nas.training.train import Trained, train

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSetup:
    """What stays the same from the first pretraining to the last retraining of a run.

    Attributes:
        data: The user's data.
        space: What may be chosen.
        training: How networks are trained.
        device: Where.
        builders: Encoder builders that replace the defaults, by modality.
        log: Called with a record now and then.
        progress: Called with a line for people whenever something new begins.
        checkpoints: Where trainings keep their states.
        taps: Where encoders are frozen from the beginning: then `data` has their taps.
    """

    data: FusionData
    space: SearchSpace
    training: TrainingConfig
    device: torch.device
    builders: Mapping[str, EncoderBuilder] | None = None
    log: Log = lambda _record: None
    progress: Progress = lambda _line: None
    checkpoints: Checkpoints = NOWHERE
    taps: FrozenTaps | None = None

    def whole(self, network: DerivedNetwork) -> DerivedNetwork:
        """A network on `data` as one that takes what the user gave."""
        return network if self.taps is None else self.taps.whole(network)

    @property
    def metric(self) -> str:
        """What everything in the run is judged by."""
        return metric_of(self.data.task, self.training.metric)


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedEncoders:
    """What fusion is trained on for one seed. The test split is in none of it.

    Attributes:
        data: The user's data, or the cached taps of its weights and architecture splits.
        weights: The weights split as a batch.
        architecture: The architecture split as a batch.
        unimodal: Modality to the network trained on it alone, where that was done already.
        frozen: Modality to its pretrained encoder; empty for joint training.
        sample: One sample of the user's weights split as a batch of one, raw.
        whole: See `TrainingSetup`.
        seed: Of the pretraining.
        seconds: Wall time of the preparation.
        trained: What was trained on it from scratch already, by how and what, see `nas.retraining.retrain.train_all`.
    """

    data: FusionData
    weights: Batch
    architecture: Batch
    unimodal: Mapping[str, Trained[FusionNetwork]] = field(default_factory=dict)
    frozen: Mapping[str, FrozenEncoder] = field(default_factory=dict)
    sample: Inputs
    whole: Callable[[DerivedNetwork], DerivedNetwork]
    seed: int
    seconds: float
    trained: dict[tuple[TrainingConfig, Architecture], Trained[DerivedNetwork]] = field(
        default_factory=dict, repr=False
    )

    def assemble(self, network: DerivedNetwork) -> DerivedNetwork:
        """The network that takes the user's raw arrays: itself if encoders are joint, else with the frozen ones."""
        if not self.frozen:
            return network
        whole = copy.deepcopy(network)
        for name in whole.encoders:
            whole.encoders[name] = self.frozen[name]
        return whole.eval()

    def measure_cost(self, network: FusionNetwork) -> CostTable:
        """Multiply-adds of every part of a network for one raw sample, those of frozen encoders among them."""
        return CostTable.measure(static_part(self.whole(self.assemble(network))), self.sample)


def prepare(
    setup: TrainingSetup, mode: EncoderMode, seed: int
) -> tuple[PreparedEncoders, Literal["pretrained", "joint"]]:
    """Trains every modality alone unless encoders are joint, and decides between the two where it is left open.

    `auto` takes pretrained encoders if every modality says something about the target by itself: the mean loss of its
    network on the architecture split must lie two standard errors below that of the best constant answer. Otherwise an
    encoder would have learned nothing, and encoders are trained jointly; so they are in a space that names no reference
    for a modality alone, or that adds one modality into the encoder of another.

    Args:
        setup: Of the run.
        mode: What is asked for.
        seed: Of the pretraining.

    Returns:
        What to train fusion on, and the mode that it came to.

    Raises:
        UserError: If encoders shall be pretrained in a space without references, or one that joins encoders.
    """
    started = setup.checkpoints.now()
    unimodal_names = {reference.name for reference in setup.space.references if reference.kind == "modality"}
    unknown = [name for name in setup.data.modalities if name not in unimodal_names]
    if mode == "pretrained" and setup.space.joins_encoders:
        raise UserError(
            f"space {setup.space.name!r} adds one modality into the encoder of another, so encoders cannot be trained "
            "alone before; take encoders joint"
        )
    if mode == "pretrained" and unknown:
        raise UserError(
            f"space {setup.space.name!r} names no reference of kind 'modality' for {unknown[0]!r}, by which its "
            "encoder would be trained alone; add one, or train encoders jointly"
        )
    all_ready = all(modality.kind == "features" for modality in setup.data.modalities.values())
    if mode == "joint" or setup.space.joins_encoders or unknown or all_ready:
        return raw(setup, seed), "joint"
    weights, architecture = training_batches(setup, setup.data)
    unimodal: dict[str, Trained[FusionNetwork]] = {}
    for name in setup.data.modalities:
        setup.progress(f"training {name} alone (seed {seed})")
        unimodal[name] = train_unimodal(setup, name, weights, architecture, seed)
        if mode == "auto" and not informative(setup, unimodal[name].network, weights, architecture):
            setup.progress(f"{name} alone predicts nothing: encoders are trained jointly")
            return PreparedEncoders(
                data=setup.data,
                weights=weights,
                architecture=architecture,
                unimodal=unimodal,
                sample=raw_sample(setup, weights),
                whole=setup.whole,
                seed=seed,
                seconds=setup.checkpoints.now() - started,
            ), "joint"
    return frozen(setup, unimodal, weights, architecture, seed, setup.checkpoints.now() - started), "pretrained"


def frozen(
    setup: TrainingSetup,
    unimodal: Mapping[str, Trained[FusionNetwork]],
    weights: Batch,
    architecture: Batch,
    seed: int,
    seconds: float,
) -> PreparedEncoders:
    """The taps of encoders that were trained alone, ready for fusion to be trained on.

    Args:
        setup: Of the run.
        unimodal: Modality to the network that was trained on it alone.
        weights: The weights split, raw.
        architecture: The architecture split, raw.
        seed: Of the pretraining.
        seconds: That it took.
    """
    encoders: dict[str, Encoder] = {}
    for name, trained in unimodal.items():
        encoder = trained.network.encoders[name]
        assert isinstance(encoder, Encoder)
        merge_all(encoder)
        encoders[name] = encoder
    data = cached_taps(setup, encoders, weights, architecture)
    kept = {}
    for name, features in build_encoders(data).items():  # as `build_network` makes them for the cached taps
        assert isinstance(features, FeaturesEncoder)
        kept[name] = FrozenEncoder(encoders[name], features).to(setup.device)
    cached_weights, cached_architecture = training_batches(setup, data)
    return PreparedEncoders(
        data=data,
        weights=cached_weights,
        architecture=cached_architecture,
        unimodal=unimodal,
        frozen=kept,
        sample=raw_sample(setup, weights),
        whole=setup.whole,
        seed=seed,
        seconds=seconds,
    )


def raw(setup: TrainingSetup, seed: int) -> PreparedEncoders:
    """The user's own data, for encoders that are trained jointly."""
    weights, architecture = training_batches(setup, setup.data)
    return PreparedEncoders(
        data=setup.data,
        weights=weights,
        architecture=architecture,
        sample=raw_sample(setup, weights),
        whole=setup.whole,
        seed=seed,
        seconds=0.0,
    )


def train_unimodal(
    setup: TrainingSetup,
    modality: str,
    weights: Batch,
    architecture: Batch,
    seed: int,
    *,
    exact_epochs: int = 0,
    trial: str = "",
) -> Trained[FusionNetwork]:
    """Trains the reference network of one modality from scratch.

    Args:
        setup: Of the run.
        modality: That the network reads.
        weights: The weights split.
        architecture: The architecture split.
        seed: Of the training.
        exact_epochs: See `nas.training.train.train`.
        trial: What is tried, where it is no training of the run itself; its state and its records bear that name.
    """
    about = {"phase": "preprocessing", "row": trial} if trial else {"phase": "encoders"}
    reference = next(r for r in setup.space.references if r.kind == "modality" and r.name == modality)
    with seeded(seed):
        network = build_network(setup.space.only(reference.architecture), setup.data, setup.training, setup.builders)
    return train(
        network,
        setup.data.task,
        weights,
        architecture,
        setup.training,
        seed=seed,
        device=setup.device,
        log=lambda record: setup.log({**about, "modality": modality, "seed": seed, **record}),
        slot=setup.checkpoints.slot(
            *about.values(), modality, seed, *([exact_epochs, len(weights)] if exact_epochs else [])
        ),
        exact_epochs=exact_epochs,
    )


def informative(setup: TrainingSetup, network: FusionNetwork, weights: Batch, architecture: Batch) -> bool:
    """Whether a network's loss or its error on the architecture split lies two standard errors below a constant's.

    What tells some of the samples and nothing of the others may be surely wrong on these, at a loss like a constant's.
    """
    task, fitted_on = setup.data.task, weights.targets.cpu()
    outputs, targets = predict(network, architecture, setup.device)
    gained = constant_losses(task, targets, fitted_on) - sample_losses(task, outputs, targets, network.head.scale.cpu())
    constant = constant_outputs(task, targets, fitted_on)
    righter = sample_errors(task, constant, targets) - sample_errors(task, outputs, targets)
    return max(float(standard_errors(gained)), float(standard_errors(righter))) > 2


@torch.no_grad()
def cached_taps(
    setup: TrainingSetup, encoders: Mapping[str, Encoder], weights: Batch, architecture: Batch
) -> FusionData:
    """The taps of all encoders on both training splits, as per-depth features (n, time, channels) in float32."""
    modalities = {}
    for name, encoder in encoders.items():
        encoder.eval()
        count, memory = len(weights) + len(architecture), setup.data.memory
        room = None if memory is None else memory // (ROOM_FOR_TAPS * len(encoders) * encoder.num_taps)
        spools = [Spool(count, room) for _ in range(encoder.num_taps)]
        for batch in (weights, architecture):
            for part in in_order(batch, EVALUATION_BATCH, setup.device):
                with autocast(setup.device):
                    taps = encoder(part.inputs[name])
                for spool, tap in zip(spools, taps, strict=True):
                    spool.add(tap.float().cpu().numpy())
        present = setup.data.modalities[name].present
        kept = None if present is None else np.concatenate([present[setup.data.splits[s]] for s in _TRAINING])
        modalities[name] = Modality(kind="features", arrays=tuple(one.array() for one in spools), present=kept)
    first, second = (len(setup.data.splits[split]) for split in _TRAINING)
    both = np.concatenate([setup.data.splits[split] for split in _TRAINING])
    counts = setup.data.sample_weights
    return FusionData(
        name=setup.data.name,
        modalities=modalities,
        targets=setup.data.targets[both],
        task=setup.data.task,
        splits={
            "weights": np.arange(first),
            "architecture": np.arange(first, first + second),
            "test": np.arange(0),
        },
        class_names=setup.data.class_names,
        sample_weights=None if counts is None else counts[both],
        memory=None if setup.data.memory is None else setup.data.memory // 2,
    )


ROOM_FOR_TAPS = 8
"""Part of the memory of a run that the taps of all encoders may take before their splits are copied, one in so many."""

_TRAINING: tuple[Split, Split] = ("weights", "architecture")


def training_batches(setup: TrainingSetup, data: FusionData) -> tuple[Batch, Batch]:
    """The weights and architecture splits of the user's data or of cached taps, on the device."""
    weights = split_batch(data, "weights", setup.device)
    if setup.training.class_weights == "balanced":
        weights = replace(weights, importance=balanced_importance(weights.targets))
    if data.sample_weights is not None:
        counts = torch.from_numpy(data.sample_weights[data.splits["weights"]]).to(weights.targets.device)
        weights = replace(weights, importance=weighted_importance(weights.targets, counts, weights.importance))
    return weights, split_batch(data, "architecture", setup.device)


def check_judging(training: TrainingConfig, task: Task) -> None:
    """Refuses a metric and class weights that do not suit the task.

    Raises:
        UserError: If they do not.
    """
    metric_of(task, training.metric)
    if not TASKS[task].has_probabilities and training.class_weights != "none":
        raise UserError(f"class_weights {training.class_weights!r} need classes or labels, the task is regression")


def raw_sample(setup: TrainingSetup, batch: Batch) -> Inputs:
    """One sample as the user gave it, as a batch of one on the device.

    Args:
        setup: Of the run.
        batch: Some samples of its data.
    """
    if setup.taps is not None:
        return setup.taps.sample(setup.device)
    return batch.take(slice(0, 1)).to(setup.device).inputs


__all__ = ["PreparedEncoders", "TrainingSetup", "prepare", "raw"]
