"""What a run trains, counted from its options and its space before anything is trained."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nas.config import RunConfig
from nas.discretize.tournament import PROPOSALS, entrants, is_in
from nas.encoders.preprocessing import AUTO
from nas.objectives import AUTO as AUTO_OBJECTIVES
from nas.pipeline.preprocessing import candidates, length_of_trial
from nas.retraining.baselines import PROMISING, RANDOM_TRAININGS, Contestant, contestants
from nas.retraining.preparation import TrainingSetup
from nas.strategies import WITH_SUPERNET

Unit = Literal["unimodal", "fused", "search"]
"""One modality alone; a fusion network; the supernet of a search."""

VARIATIONS = 10
"""Most variations of what leads that are trained, roughly: there are few where none is better."""

GATES = 4
"""Likewise most trainings, in whole ones, by which a network learns to decide per sample."""

OBJECTIVES = 3
"""Likewise most objectives that `auto` tries."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Some trainings of a run.

    Attributes:
        words: What they are for.
        unit: Of what.
        fewest: How many whole trainings, at least.
        most: At most, as a rule.
    """

    words: str
    unit: Unit
    fewest: float
    most: float


def workload(setup: TrainingSetup, config: RunConfig) -> tuple[Stage, ...]:
    """The trainings of a run, in their order.

    How many there are is decided on the way, by what is found, so that there is a range.

    Args:
        setup: Of the run.
        config: Of the run; its epochs are what `setup` trains.
    """
    space, search, evaluation = setup.space, config.search, config.evaluation
    carried = {one.architecture for one in space.references if one.kind == "modality"}
    modalities, seeds = len(setup.data.modalities), evaluation.retrain_seeds
    found = next((one.architecture for one in space.references), space.sample(random.Random(0)))
    pool = [row for row in entrants(space, contestants(space, found, None), None) if is_in(row, evaluation.baselines)]
    fused = {row.architecture for row in pool if row.architecture is not None and not row.separate} - carried
    num_random = sum(RANDOM_TRAININGS for row in pool if row.kind == "random")
    operations = sum(row.kind == "operation" for row in pool)
    kept = operations if evaluation.baselines == "full" else min(PROMISING, operations)
    others = {row.architecture for row in pool if row.kind not in ("operation", "modality") and not row.instead_of}
    per_seed = 1 + len(others - carried - {found, None}) + kept + num_random
    stages = []
    if config.training.preprocessing == AUTO and search.encoders != "joint" and not space.joins_encoders:
        tried = [len(candidates(setup, name)) for name in setup.data.modalities]
        share = length_of_trial(config.training, len(setup.data.splits["weights"]))
        each = share * sum(number for number in tried if number > 1)
        if each:
            stages.append(Stage(words="preprocessings, briefly", unit="unimodal", fewest=each, most=2 * each))
    alone = modalities * (search.search_seeds + seeds - 1)
    stages.append(Stage(words="each modality alone", unit="unimodal", fewest=alone, most=alone))
    stages.append(_of_search(config, space.size()))
    if space.dynamic:
        stages.append(Stage(words="what decides per sample", unit="fused", fewest=1, most=GATES))
    if search.search_seeds > 1:
        both = 2 * search.search_seeds
        stages.append(Stage(words="what each search found", unit="fused", fewest=both, most=both))
    is_full = evaluation.baselines != "few"
    first = 1 + len(fused - {found}) + num_random + (PROPOSALS if is_full else 0)
    stages.append(
        Stage(words="the first seed", unit="fused", fewest=first, most=first + (VARIATIONS if is_full else 0))
    )
    if seeds > 1:
        rest = (seeds - 1) * per_seed
        most = rest + (2 * (seeds - 1) if is_full else 0)
        stages.append(Stage(words="the other seeds", unit="fused", fewest=rest, most=most))
    return (*stages, *_in_the_end(setup, config))


Stages = Callable[[TrainingSetup, RunConfig], Sequence[Stage]]
"""What counts the trainings of a run or a retraining."""


def workload_again(setup: TrainingSetup, config: RunConfig, rows: Sequence[Contestant]) -> tuple[Stage, ...]:
    """The trainings of a retraining, in their order.

    Args:
        setup: Of the retraining.
        config: See `nas.pipeline.retraining.Retraining.as_planned`.
        rows: All that are trained again; with few baselines, only some of them are.
    """
    seeds = config.evaluation.retrain_seeds
    carried = {one.architecture for one in setup.space.references if one.kind == "modality"}
    pool = [row for row in rows if is_in(row, config.evaluation.baselines)]
    fused = {row.architecture for row in pool if not row.separate} - carried - {None}
    each = len(fused) + sum(RANDOM_TRAININGS for row in pool if row.kind == "random")
    alone = seeds * len(setup.data.modalities)
    stages = [
        Stage(words="each modality alone", unit="unimodal", fewest=alone, most=alone),
        Stage(words="every row of the leaderboard", unit="fused", fewest=seeds * each, most=seeds * each),
    ]
    return (*stages, *_in_the_end(setup, config))


def to_be_expected(setup: TrainingSetup, stages: Sequence[Stage]) -> dict[str, Any]:
    """The record of what is to be expected of a run: epochs by unit of its workload."""
    length = setup.training.num_epochs(len(setup.data.splits["weights"]))
    epochs: dict[str, float] = {}
    for stage in stages:
        epochs[stage.unit] = epochs.get(stage.unit, 0.0) + length * (stage.fewest + stage.most) / 2
    left = setup.checkpoints.time_left()
    return {"phase": "plan", "epochs": epochs, "length": length, "seconds": left if math.isfinite(left) else None}


def _in_the_end(setup: TrainingSetup, config: RunConfig) -> Iterator[Stage]:
    """What follows all rows of the leaderboard."""
    seeds = config.evaluation.retrain_seeds
    if config.training.objective == AUTO_OBJECTIVES:
        yield Stage(words="objectives that may help", unit="fused", fewest=0, most=OBJECTIVES * seeds)
    if config.evaluation.refit and not setup.space.dynamic:
        splits = setup.data.splits
        longer = 1 + len(splits["architecture"]) / len(splits["weights"])
        encoders = len(setup.data.modalities) * seeds * longer
        yield Stage(words="encoders on both splits", unit="unimodal", fewest=0, most=encoders)
        yield Stage(words="what was found, on both splits", unit="fused", fewest=seeds * longer, most=seeds * longer)


def _of_search(config: RunConfig, size: int) -> Stage:
    search = config.search
    if search.strategy in WITH_SUPERNET:
        low, high = (0.5, 1.0) if search.strategy == "sampled" else (1.0, 2.0)
        low, high = (search.length or low), (search.length or high)
        lengths = (low * search.search_seeds, high * search.search_seeds)
        return Stage(words="the search", unit="search", fewest=lengths[0], most=lengths[1])
    tried = min(search.max_trials or {"random": 3, "exhaustive": size}.get(search.strategy, 40), size)
    return Stage(words="the search", unit="fused", fewest=tried, most=tried)


__all__ = ["Stage", "Stages", "Unit", "to_be_expected", "workload", "workload_again"]
