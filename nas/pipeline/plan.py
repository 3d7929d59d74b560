"""What a search would do, and how long it would take; nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nas.config import RunConfig
from nas.config.keywords import takes_options
from nas.data import FusionData
from nas.encoders import EncoderBuilder, Named, build_encoders
from nas.network.cost import num_parameters
from nas.pipeline.cross_validate import of_folds
from nas.pipeline.retraining import asked_again
from nas.pipeline.search import asked_for
from nas.pipeline.timing import AFTERWARDS, expected_seconds, measure, seconds_of
from nas.pipeline.workload import Stages, workload, workload_again
from nas.records import from_plain
from nas.report.numbers import seconds_text
from nas.retraining.frozen_taps import blank_taps
from nas.retraining.preparation import TrainingSetup
from nas.saved.run import load_run
from nas.seeding import seeded
from nas.space.search_space import SearchSpace
from nas.summary import DataDescription


@dataclass(frozen=True, kw_only=True)
class PlannedEncoder:
    """What reads a modality.

    Attributes:
        name: Of its class.
        taps: How many depths it offers.
        parameters: How many scalars it learns.
    """

    name: str
    taps: int
    parameters: int


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """Some trainings.

    Attributes:
        words: What they are for.
        fewest: How many whole trainings, at least.
        most: At most, as a rule.
        seconds: That they take, at least and at most, by the steps that were timed.
    """

    words: str
    fewest: float
    most: float
    seconds: tuple[float, float]


@dataclass(frozen=True, kw_only=True, repr=False)
class RunPlan:
    """What a search or a retraining would do.

    Attributes:
        data: What it is done on.
        encoders: Modality to what reads it.
        space: Name of the search space.
        nodes: How many fusion nodes it has.
        architectures: How many it holds.
        strategy: By which it is searched; empty for a retraining.
        epochs: Of a whole training.
        device: Where it is trained.
        folds: How many times all of it is done, each time with another test split.
        stages: All trainings, in their order; of one fold.
        seconds: Of everything, at least and at most.
        expected_seconds: Of everything where nothing is out of the ordinary: encoders are frozen once trained.
        time_limit_seconds: The limit that is kept all the same; 0 for none.
    """

    data: DataDescription
    encoders: Mapping[str, PlannedEncoder]
    space: str
    nodes: int
    architectures: int
    strategy: str
    epochs: int
    device: str
    folds: int
    stages: tuple[PlannedStage, ...]
    seconds: tuple[float, float]
    expected_seconds: float
    time_limit_seconds: float = 0.0

    @property
    def in_words(self) -> str:
        """How long it would take, in a sentence."""
        low, high = map(seconds_text, self.seconds)
        every = f" for all {self.folds} folds" if self.folds > 1 else ""
        told = f"It will take about {seconds_text(self.expected_seconds)}{every}, between {low} and {high}."
        if self.time_limit_seconds and self.seconds[1] > self.time_limit_seconds:
            told += f" With a time limit of {seconds_text(self.time_limit_seconds)}, less is trained until it fits."
        return told

    def __repr__(self) -> str:
        return f"<RunPlan: {self.data.name}, {self.architectures:,} architectures. {self.in_words}>"


@takes_options
def plan(
    data: FusionData | str | Path | Any,
    config: RunConfig | None = None,
    *,
    preset: str = "default",
    folds: int = 0,
    builders: Mapping[str, EncoderBuilder] | None = None,
    on_data: Callable[[FusionData], None] = lambda _data: None,
    **options: Any,
) -> RunPlan:
    """Says what `nas.search` would do with the same arguments, and how long it would take.

    Some real steps of every kind of training are timed and thrown away. How long a run takes depends on what is found:
    whether encoders can be trained alone and frozen, and how often a variation of what leads is better. So there is a
    range.

    Args:
        data: As for `nas.search`, like all others.
        config: Likewise.
        preset: Likewise.
        folds: As for `nas.cross_validate`; 0 for one search.
        builders: Likewise.
        on_data: Likewise.
        options: Likewise.

    Raises:
        UserError: If something that was given is wrong.
    """
    config, found, space, where, builders = (
        of_folds(data, config, preset, builders, options, folds, on_data)
        if folds
        else asked_for(data, config, preset, builders, options, on_data)
    )
    return _planned(config, found, space, builders, where, workload, folds or 1)


def plan_retraining(
    run: str | Path,
    *,
    data: FusionData | str | Path | Any | None = None,
    builders: Mapping[str, EncoderBuilder] | None = None,
    encoders: Named | None = None,
    seed: int | None = None,
    retrain_seeds: int | None = None,
    epochs: int | None = None,
    objective: str | None = None,
    device: str = "auto",
    time_limit_seconds: float = 0.0,
) -> RunPlan:
    """Says what `nas.retrain` would do with the same arguments, and how long it would take; see `plan`.

    Args:
        run: As for `nas.retrain`, like all others.
        data: Likewise.
        builders: Likewise.
        encoders: Likewise.
        seed: Likewise.
        retrain_seeds: Likewise.
        epochs: Likewise.
        objective: Likewise.
        device: Likewise.
        time_limit_seconds: Likewise.

    Raises:
        UserError: If something that was given is wrong.
    """
    asked = asked_again(
        load_run(run, encoders=encoders),
        data=data,
        builders=builders,
        encoders=encoders,
        seed=seed,
        retrain_seeds=retrain_seeds,
        epochs=epochs,
        objective=objective,
        device=device,
        time_limit_seconds=time_limit_seconds,
    )
    stages = partial(workload_again, rows=asked.rows)
    made = _planned(asked.as_planned(), asked.data, asked.space, asked.builders, asked.device, stages)
    return replace(made, strategy="")


def _planned(
    config: RunConfig,
    data: FusionData,
    space: SearchSpace,
    builders: Mapping[str, EncoderBuilder],
    device: torch.device,
    stages_of: Stages,
    times: int = 1,
) -> RunPlan:
    """A plan from what was asked for, by timing a few steps."""
    taps, learning, before = blank_taps(data, builders, device)
    setup = TrainingSetup(
        data=data if taps is None else taps.data,
        taps=taps,
        space=space,
        training=config.training,
        device=device,
        builders=learning,
    )
    num_samples = len(data.splits["weights"])
    stages, pace = stages_of(setup, config), measure(setup, config)
    ranges = seconds_of(stages, pace, config, num_samples)
    low, high = (before + sum(ends) + after for ends, after in zip(zip(*ranges, strict=True), AFTERWARDS, strict=True))
    expected = before + expected_seconds(stages, pace, config, num_samples) + sum(AFTERWARDS) / 2
    with seeded(0):
        encoders = build_encoders(data, builders, peaks=config.training.peaks, regions=config.training.regions)
    return RunPlan(
        data=from_plain(DataDescription, data.describe()),
        encoders={
            name: PlannedEncoder(name=type(one).__name__, taps=one.num_taps, parameters=num_parameters(one))
            for name, one in encoders.items()
        },
        space=space.name,
        nodes=len(space.nodes),
        architectures=space.size(),
        strategy=config.search.strategy,
        epochs=config.training.num_epochs(num_samples),
        device=str(device),
        folds=times,
        stages=tuple(
            PlannedStage(words=one.words, fewest=one.fewest, most=one.most, seconds=seconds)
            for one, seconds in zip(stages, ranges, strict=True)
        ),
        seconds=(times * low, times * high),
        expected_seconds=times * expected,
        time_limit_seconds=config.search.time_limit_seconds,
    )


__all__ = ["PlannedEncoder", "PlannedStage", "RunPlan", "plan", "plan_retraining"]
