"""Keeps a limit on the time of a whole run: a smaller run where the whole one would not fit, then a hard end.

What a run would take is estimated from a few real steps. If that is too long, options are changed one after another,
what costs the least knowledge first, until it fits. Estimates may be wrong, so trainings also look at the clock: when
their time is up they end after the step, and what is not trained yet is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from nas.config import RunConfig
from nas.pipeline.timing import AFTERWARDS, Pace, expected_seconds, measure
from nas.pipeline.workload import Stages, workload
from nas.retraining.preparation import TrainingSetup

RESERVED = 0.15
"""Share of the limit that judging, diagnosis and report have for themselves."""

CONTROL_SHARE = 0.2
"""Share of what is reserved that each control without a network may take."""

SEARCH_SHARE = 0.3
"""Share of the time that is left for trainings which one search may take."""


def keep_limit(
    setup: TrainingSetup, config: RunConfig, started: float, stages: Stages = workload
) -> tuple[TrainingSetup, RunConfig]:
    """The run that fits into its limit, which its checkpoints then keep.

    What was decided is kept with the states of the run, so that a resumed run decides the same.

    Args:
        setup: Of the run, with checkpoints of its own.
        config: Of the run, with a limit.
        started: When the run began, by `time.perf_counter`.
        stages: Of the run.
    """
    limit, checkpoints = config.search.time_limit_seconds, setup.checkpoints
    reserved = min(max(AFTERWARDS[0], RESERVED * limit), limit / 2)
    slot = checkpoints.slot("time limit", limit)
    state = slot.restore()
    if state is None:
        setup.progress("timing a few steps, to keep the time limit")
        pace = measure(setup, config)
        checkpoints.ends_at = started + limit - reserved
        options, words = _fitting(setup, config, pace, checkpoints.time_left(), stages)
        state = {"options": options, "left_out": words}
        slot.finish(lambda: {"options": options, "left_out": words})
    checkpoints.ends_at, checkpoints.control_seconds = started + limit - reserved, CONTROL_SHARE * reserved
    with slot.fitting():
        smaller = RunConfig.of(config, **state["options"])
        checkpoints.left_out = [str(words) for words in state["left_out"]]
    for left_out in checkpoints.left_out:
        setup.progress(f"left out to keep the time limit: {left_out}")
    share = SEARCH_SHARE * checkpoints.time_left() / smaller.search.search_seeds
    searched = replace(smaller.search, budget_seconds=max(1.0, min(config.search.budget_seconds or math.inf, share)))
    return replace(setup, training=smaller.training), replace(smaller, search=searched)


def _fitting(
    setup: TrainingSetup, config: RunConfig, pace: Pace, seconds: float, stages: Stages = workload
) -> tuple[dict[str, Any], list[str]]:
    """Options that make a run fit into some seconds, and what they leave out in words; the smallest if none does."""
    num_samples = len(setup.data.splits["weights"])
    options: dict[str, Any] = {}
    told: dict[str, str] = {}
    for changed, about, left_out in (({}, "", ""), *_reductions(config, num_samples)):
        options |= changed
        if about:
            told[about] = left_out
        smaller = RunConfig.of(config, **options)
        own = replace(setup, training=smaller.training)
        if expected_seconds(stages(own, smaller), pace, smaller, num_samples) <= seconds:
            break
    return options, list(told.values())


def _reductions(config: RunConfig, num_samples: int) -> Iterator[tuple[dict[str, Any], str, str]]:
    """What is changed, one after the other: options, what they are about, and what that leaves out."""
    seeds, epochs = config.evaluation.retrain_seeds, config.training.num_epochs(num_samples)
    for fewer in (2, 1):
        if fewer < seeds:
            lost = f"{seeds - fewer} of {seeds} seeds of every training"
            ensemble = {"ensemble": False} if fewer == 1 else {}
            yield {"retrain_seeds": fewer, **ensemble}, "seeds", lost
    searches = config.search.search_seeds
    if searches > 1:
        yield {"search_seeds": 1}, "searches", f"{searches - 1} of {searches} searches"
    if epochs > 1:
        yield _shortened(epochs, 2)
    if config.training.preprocessing == "auto":
        yield {"preprocessing": "standardize"}, "preprocessing", "the choice of preprocessing"
    if config.evaluation.baselines != "few":
        without = "single operations, random search, and variations of what was found"
        yield {"baselines": "few"}, "baselines", without
    if config.evaluation.refit:
        yield {"refit": False}, "refit", "the training on both splits"
    parts = 4
    while epochs // parts >= 1:
        yield _shortened(epochs, parts)
        parts *= 2


def _shortened(epochs: int, parts: int) -> tuple[dict[str, Any], str, str]:
    fewer = max(1, epochs // parts)
    return {"epochs": fewer}, "epochs", f"{epochs - fewer} of {epochs} epochs of every training"


__all__ = ["keep_limit"]
