"""How long a run will take: its workload, and a few real steps of each kind of training to time it by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nas.config import RunConfig
from nas.data.fusion_data import Split
from nas.pipeline.workload import Stage, Unit
from nas.retraining.preparation import PreparedEncoders, TrainingSetup, prepare, raw
from nas.retraining.retrain import train_from_scratch
from nas.runs.checkpoint import Checkpoints
from nas.strategies import STRATEGIES, WITH_SUPERNET, SearchProblem

STEPS = 8
"""Steps of an epoch that is timed, unless the data has fewer."""

EPOCHS = 2
"""That are timed; the first one also pays for what is done once."""

AFTERWARDS = (8.0, 30.0)
"""Seconds of judging, controls, diagnosis and report, at least and as a rule at most."""

SPREAD = (0.7, 1.4)
"""How far the time of a training may lie from what a few steps tell: machines are shared, and epochs are not alike."""

EARLY = 0.4
"""Share of a whole training after which one with patience may stop."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds of an epoch of each kind of training, at least and at most.

    Attributes:
        epochs: Unit of a workload to seconds of one epoch: the lower with encoders that are frozen, the higher with
            encoders that train along.
    """

    epochs: Mapping[Unit, tuple[float, float]]


def measure(setup: TrainingSetup, config: RunConfig) -> Pace:
    """Trains for a few steps, and throws away what comes of it.

    Args:
        setup: Of the run; its folder, log and random states are left alone.
        config: Of the run.
    """
    splits, training = setup.data.splits, setup.training
    steps = STEPS * training.batch_size
    share = min(1.0, steps / len(splits["weights"]))

    def some(split: Split) -> np.ndarray:
        count = max(min(2, len(splits[split])), math.ceil(share * len(splits[split])))
        return np.sort(np.random.default_rng(0).permutation(splits[split])[:count])

    few: dict[Split, np.ndarray] = {"weights": some("weights"), "architecture": some("architecture")}
    small = replace(
        setup,
        data=replace(setup.data, splits={**splits, **few}),
        training=replace(training, epochs=EPOCHS, patience=0, objective="", preprocessing="standardize"),
        log=lambda _record: None,
        progress=lambda _line: None,
        checkpoints=Checkpoints(),
    )
    references = setup.space.references
    has_all = {one.name for one in references if one.kind == "modality"} >= set(setup.data.modalities)
    late = next((one.architecture for one in references if one.kind == "late"), references[0].architecture)
    joint = raw(small, 0)
    alone_first = has_all and config.search.encoders != "joint" and not setup.space.joins_encoders
    prepared = prepare(small, "pretrained", 0)[0] if alone_first else joint
    alone = [one.train_seconds for one in prepared.unimodal.values()]
    fused = [train_from_scratch(small, some_of, late, "timed").train_seconds for some_of in (prepared, joint)]
    found = {"unimodal": (min(alone, default=0.0), max(alone, default=0.0)), "fused": (min(fused), max(fused))}
    if config.search.strategy in WITH_SUPERNET:
        searched = _search_seconds(small, config, prepared)
        dearer = max(fused) / min(fused) if prepared.frozen else 1.0  # at most, where encoders train along
        found["search"] = (searched, searched * dearer)
    if alone:  # an epoch of the mean modality
        found["unimodal"] = (float(np.mean(alone)),) * 2
    return Pace(epochs={unit: tuple(s / EPOCHS / share for s in two) for unit, two in found.items()})  # type: ignore[misc]


def _search_seconds(setup: TrainingSetup, config: RunConfig, prepared: PreparedEncoders) -> float:
    checkpoints = Checkpoints()
    started = checkpoints.now()
    STRATEGIES[config.search.strategy](
        SearchProblem(
            space=setup.space,
            data=prepared.data,
            weights=prepared.weights,
            architecture=prepared.architecture,
            training=setup.training,
            search=replace(config.search, length=1.0, budget_seconds=0.0, guards=False),
            seed=0,
            device=setup.device,
            builders=None if prepared.frozen else setup.builders,
            measure_cost=prepared.measure_cost,
            checkpoints=checkpoints,
        )
    )
    return checkpoints.now() - started


def seconds_of(stages: Sequence[Stage], pace: Pace, config: RunConfig, num_samples: int) -> list[tuple[float, float]]:
    """Seconds of every stage, at least and at most as a rule; without reading the data and without what comes after.

    Args:
        stages: See `nas.pipeline.workload.workload`.
        pace: See `measure`.
        config: Of the run.
        num_samples: Of the weights split.
    """
    epochs = config.training.num_epochs(num_samples)
    shortest = EARLY if config.training.patience else 1.0
    found = []
    for stage in stages:
        low, high = pace.epochs.get(stage.unit, pace.epochs["fused"])
        least = shortest if stage.unit != "search" else 1.0
        found.append((least * SPREAD[0] * epochs * low * stage.fewest, SPREAD[1] * epochs * high * stage.most))
    return found


def expected_seconds(stages: Sequence[Stage], pace: Pace, config: RunConfig, num_samples: int) -> float:
    """Seconds of all stages where nothing is out of the ordinary; arguments are those of `seconds_of`.

    Encoders that may be frozen are expected to be: nearly always each modality tells something alone.
    """
    epochs = config.training.num_epochs(num_samples)
    paces = [pace.epochs.get(stage.unit, pace.epochs["fused"])[0] for stage in stages]
    return sum(epochs * low * (one.fewest + one.most) / 2 for low, one in zip(paces, stages, strict=True))


__all__ = ["AFTERWARDS", "Pace", "expected_seconds", "measure", "seconds_of"]
