"""From-scratch training of everything on the leaderboard, once per seed, each network judged once on the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.data.batches import Batch, split_batch
from nas.metrics import constant_outputs, score
from nas.network.cost import multiply_adds, num_parameters
from nas.network.fusion_network import FusionNetwork
from nas.network.prediction import predict
from nas.retraining.baselines import Contestant, random_architectures
from nas.retraining.preparation import PreparedEncoders, TrainingSetup, raw_sample, train_unimodal
from nas.retraining.summed import cross_fitted, summed, trust
from nas.routing.network import DerivedNetwork, RoutedNetwork, build_routed
from nas.routing.prediction import answers, predict_routed
from nas.routing.training import train_routed
from nas.seeding import seeded
from nas.space.architecture import Architecture
from nas.training.build import build_network
from nas.training.train import Trained, train


class Part(NamedTuple):
    """What a modality's own network brings to a sum: after how many epochs, and how much its evidence counts."""

    epochs: int
    weight: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One contestant of one seed, trained.

    Attributes:
        contestant: The row that it belongs to.
        seed: Of initialisation, order and dropout.
        architecture: What was trained.
        network: Takes the user's raw arrays.
        architecture_score: The metric on the architecture split; of a static network that of `held_out`.
        train_seconds: Wall time of its training; that of frozen encoders, which all rows share, is not in it.
        full_length_seconds: What the training would have taken without stopping early.
        chosen_epochs: Epochs after which the network was as it is; 0 if it was not trained.
        course: Of every epoch the mean loss while it was trained and that on the architecture split after it.
        held_out: What it says of the architecture split, (n, outputs), see `nas.training.train.Trained`; empty for what
            decides per sample.
        parts: Modality to its part, of a sum of single networks or of one alone; empty for all else.
    """

    contestant: Contestant
    seed: int
    architecture: Architecture
    network: DerivedNetwork
    architecture_score: float
    train_seconds: float
    full_length_seconds: float
    chosen_epochs: int = 0
    course: tuple[tuple[float, float], ...] = ()
    held_out: Tensor = field(default_factory=lambda: torch.empty(0))
    parts: Mapping[str, Part] = field(default_factory=dict)


def train_all(setup: TrainingSetup, prepared: PreparedEncoders, rows: Sequence[Contestant]) -> list[Entry]:
    """Trains every contestant from scratch for the seed of what was prepared; equal architectures only once, ever.

    The test split is not read. If the time of the run is up, what is not trained yet is left out, but for the first;
    and so is what was under way, for it was not trained under the same conditions.
    """
    seed = prepared.seed

    def trained(architecture: Architecture, name: str) -> Trained[DerivedNetwork]:
        key = (setup.training, architecture)
        if key not in prepared.trained:
            setup.progress(f"training {name} from scratch (seed {seed}): {architecture.in_words()}")
            prepared.trained[key] = train_from_scratch(setup, prepared, architecture, name)
        return prepared.trained[key]

    def unimodal(modality: str) -> Trained[FusionNetwork]:
        if modality not in by_modality:
            setup.progress(f"training {modality} alone (seed {seed})")
            by_modality[modality] = train_unimodal(setup, modality, prepared.weights, prepared.architecture, seed)
        return by_modality[modality]

    by_modality = dict(prepared.unimodal)  # what is not in there is trained on what was prepared, which then is raw
    carried = {one.architecture: one.name for one in setup.space.references if one.kind == "modality"}
    entries: list[Entry] = []
    for row in rows:
        if entries and setup.checkpoints.time_is_up() and not _is_trained(setup, prepared, row, by_modality):
            setup.checkpoints.leave_out(f"{row.name} (seed {seed})")
            continue
        was_trained = _is_trained(setup, prepared, row, by_modality)
        if row.separate:
            assert row.architecture is not None
            networks = {name: unimodal(name) for name in setup.space.modalities}
            entries.append(_summed(setup, row, seed, row.architecture, networks))
        elif row.architecture in carried:
            name = carried[row.architecture]
            done: Trained[DerivedNetwork] = unimodal(name)
            entry = _entry(setup, row, seed, row.architecture, done, done.network)
            entries.append(replace(entry, parts={name: Part(done.chosen_epochs, 1.0)}))
        elif row.architecture is not None:
            done = trained(row.architecture, row.name)
            whole = prepared.assemble(done.network)
            entries.append(_entry(setup, row, seed, row.architecture, done, whole))
        else:
            drawn = random_architectures(setup.space, seed)
            tried = [trained(architecture, row.name) for architecture in drawn]
            best = min(range(len(drawn)), key=lambda i: tried[i].architecture_loss)
            whole = prepared.assemble(tried[best].network)
            entry = _entry(setup, row, seed, drawn[best], tried[best], whole)
            entries.append(replace(entry, train_seconds=sum(one.train_seconds for one in tried)))
        if setup.checkpoints.time_is_up() and not was_trained:
            is_first = len(entries) == 1
            setup.checkpoints.leave_out(f"{'the end of ' if is_first else ''}{row.name} (seed {seed})")
            if not is_first:
                entries.pop()
    return entries


def _is_trained(
    setup: TrainingSetup,
    prepared: PreparedEncoders,
    row: Contestant,
    by_modality: Mapping[str, Trained[FusionNetwork]],
) -> bool:
    """Whether a contestant takes no further training."""
    if row.separate:
        return set(setup.space.modalities) <= set(by_modality)
    carried = {one.architecture: one.name for one in setup.space.references if one.kind == "modality"}
    if row.architecture in carried:
        return carried[row.architecture] in by_modality
    return (setup.training, row.architecture) in prepared.trained


def train_from_scratch(
    setup: TrainingSetup, prepared: PreparedEncoders, architecture: Architecture, name: str, *, exact_epochs: int = 0
) -> Trained[DerivedNetwork]:
    """One derived network, initialised and trained from the seed of what was prepared.

    See `nas.training.train.train` for `exact_epochs`, which a static architecture alone may have.
    """
    seed, space = prepared.seed, setup.space.only(architecture)
    builders = None if prepared.frozen else setup.builders
    data = setup.data.task, prepared.weights, prepared.architecture, setup.training
    common: dict[str, Any] = {
        "seed": seed,
        "device": setup.device,
        "log": lambda record: setup.log({"phase": "retrain", "row": name, "seed": seed, **record}),
        "slot": setup.checkpoints.slot(
            "retrain",
            architecture.to_dict(),
            seed,
            sorted(prepared.frozen),
            setup.training.objective,
            *([exact_epochs, len(prepared.weights)] if exact_epochs else []),
        ),
    }
    if architecture.gating is None:
        with seeded(seed):
            network = build_network(space, prepared.data, setup.training, builders)
        return train(network, *data, exact_epochs=exact_epochs, **common)
    with seeded(seed):
        routed = build_routed(space, prepared.data, setup.training, builders)
    routed.to(setup.device).set_costs(prepared.measure_cost(routed.network))
    return train_routed(routed, *data, **common)


def _summed(
    setup: TrainingSetup,
    row: Contestant,
    seed: int,
    architecture: Architecture,
    unimodal: Mapping[str, Trained[FusionNetwork]],
) -> Entry:
    """The sum of the networks of single modalities, as far as they can be trusted; its time is theirs."""
    networks = {name: done.network for name, done in unimodal.items()}
    told = torch.stack([done.held_out for done in unimodal.values()])
    constant = constant_of(setup)
    targets = torch.from_numpy(setup.data.targets[setup.data.splits["architecture"]])
    outputs = cross_fitted(setup.data.task, told, targets, constant)
    weights = trust(setup.data.task, told, targets, constant)
    with seeded(seed):
        network = summed(setup.data.task, architecture, networks, constant, weights)
    seconds = sum(done.train_seconds for done in unimodal.values())
    return Entry(
        contestant=row,
        seed=seed,
        architecture=architecture,
        network=network,
        architecture_score=score(setup.metric, outputs.numpy(), targets.numpy()),
        held_out=outputs,
        train_seconds=seconds,
        full_length_seconds=seconds,
        parts={
            name: Part(done.chosen_epochs, weight)
            for (name, done), weight in zip(unimodal.items(), weights, strict=True)
        },
    )


def answers_held_out(setup: TrainingSetup, entry: Entry) -> Tensor:
    """What a contestant says of the architecture split, (n, outputs); what decides per sample has to be run for it."""
    if len(entry.held_out):
        return entry.held_out
    batch = split_batch(setup.data, "architecture", setup.device)
    return answers(setup.data.task, entry.network.to(setup.device), batch, setup.device)[0]


def constant_of(setup: TrainingSetup) -> Tensor:
    """The best constant answer of the weights split, (outputs,)."""
    fitted_on = torch.from_numpy(setup.data.targets[setup.data.splits["weights"]])
    return constant_outputs(setup.data.task, fitted_on[:1], fitted_on)[0]


def _entry(
    setup: TrainingSetup,
    row: Contestant,
    seed: int,
    architecture: Architecture,
    done: Trained[DerivedNetwork],
    network: DerivedNetwork,
) -> Entry:
    per_epoch = done.train_seconds / max(1, done.num_epochs)
    return Entry(
        contestant=row,
        seed=seed,
        architecture=architecture,
        network=network,
        architecture_score=done.architecture_score,
        held_out=done.held_out,
        train_seconds=done.train_seconds,
        full_length_seconds=per_epoch * setup.training.num_epochs(len(setup.data.splits["weights"])),
        chosen_epochs=done.chosen_epochs,
        course=done.course,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """What one trained contestant does on the test split, and what it costs there.

    Attributes:
        entry: The contestant.
        outputs: Logits or predictions, (n, outputs).
        parameters: Scalars of the whole network, encoders included; None if it is no network.
        multiply_adds: Per sample, of the whole network; of a dynamic one the mean over the routes that were taken; None
            if it is no network.
        picked: Route of every sample, (n,); None for a static network.
    """

    entry: Entry
    outputs: NDArray[np.float32]
    parameters: int | None
    multiply_adds: int | None
    picked: NDArray[np.int64] | None = None


def judge(setup: TrainingSetup, entries: Sequence[Entry]) -> tuple[list[Judged], NDArray[np.generic]]:
    """Runs every network over the test split, once.

    Returns:
        One verdict per entry, and the targets of the test split.
    """
    batch = split_batch(setup.data, "test", setup.device)
    return [judge_one(setup, entry, batch) for entry in entries], batch.targets.cpu().numpy()


def judge_one(setup: TrainingSetup, entry: Entry, batch: Batch) -> Judged:
    """Runs one network over a batch."""
    network = entry.network.to(setup.device)
    whole = setup.whole(network)
    if isinstance(network, RoutedNetwork):
        outputs, picked = predict_routed(network, batch, setup.device)
        return Judged(
            entry=entry,
            outputs=outputs.numpy(),
            parameters=num_parameters(whole),
            multiply_adds=round(float(network.router.costs.cpu()[picked].mean())),
            picked=picked.numpy(),
        )
    outputs, _ = predict(network, batch, setup.device)
    return Judged(
        entry=entry,
        outputs=outputs.numpy(),
        parameters=num_parameters(whole),
        multiply_adds=multiply_adds(whole, raw_sample(setup, batch)),
    )
