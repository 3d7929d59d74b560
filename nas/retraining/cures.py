"""Cures for a found architecture: which objectives suit it, and, if asked, which of them helps.

Both rest on the weights and architecture splits alone; the test split judges afterwards, once, whatever was tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nas.data.batches import split_batch
from nas.diagnostics import Recombined, advise, contributions, overfitting_ratio
from nas.diagnostics.contribution import MOST_MODALITIES
from nas.diagnostics.recombined import most_samples
from nas.metrics import higher_is_better
from nas.retraining.preparation import PreparedEncoders, TrainingSetup
from nas.retraining.retrain import Entry, Judged, train_from_scratch
from nas.statistics import interval, paired_interval, sample_statistics
from nas.summary import Advice, Objectives, Overfitting, TriedObjective
from nas.supernet.path_scorer import scored_samples


def courses_alone(entries: Sequence[Sequence[Entry]]) -> dict[str, list[Overfitting]]:
    """Modality to the course of its training alone, by seed; courses of one epoch are left out.

    Args:
        entries: Per seed the contestants.
    """
    courses: dict[str, list[Overfitting]] = {}
    for one in (one for some in entries for one in some if one.contestant.kind == "modality"):
        if len(one.course) > 1:
            losses = zip(*one.course, strict=True)
            courses.setdefault(one.contestant.name, []).append(overfitting_ratio(*map(list, losses)))
    return courses


def advice_on(setup: TrainingSetup, entries: Sequence[Sequence[Entry]]) -> tuple[Advice, ...]:
    """What to try for the found architecture; nothing for a dynamic one, whose gate no objective can train.

    Args:
        setup: Of the run.
        entries: Per seed the contestants, the found one first.
    """
    found = entries[0][0].architecture
    if found.gating is not None:
        return ()
    whole = split_batch(setup.data, "architecture", setup.device)
    batch = scored_samples(whole, most_samples(setup.data.memory, len(whole)))
    networks = [Recombined.of(some[0].network, batch, setup.device) for some in entries]
    few = len(networks[0].modalities) <= MOST_MODALITIES
    task = setup.data.task
    return advise(
        task,
        setup.space,
        found,
        overfitting=courses_alone(entries),
        contributions=contributions(task, networks, batch.targets.cpu().numpy(), metric=setup.metric) if few else (),
        lacking=[name for name, modality in setup.data.modalities.items() if modality.present is not None],
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Tried:
    """The found architecture, trained by one objective.

    Attributes:
        objective: As it is asked for; empty for plain training.
        entries: One per seed.
    """

    objective: str
    entries: tuple[Entry, ...]

    @property
    def architecture_score(self) -> float:
        """Mean of the metric on the architecture split."""
        return float(np.mean([one.architecture_score for one in self.entries]))


def try_objectives(
    setup: TrainingSetup,
    prepared: Sequence[PreparedEncoders],
    entries: Sequence[Sequence[Entry]],
    advice: Sequence[Advice],
    *,
    budget_seconds: float,
) -> tuple[list[Tried], list[str]]:
    """Trains the found architecture by everything that is advised, over the seeds of its plain training.

    Args:
        setup: Of the run.
        prepared: Per seed what is trained on.
        entries: Per seed the contestants, trained plainly, the found one first.
        advice: What to try, in this order.
        budget_seconds: Wall time after which nothing new is begun; 0 for no limit.

    Returns:
        Plain training and what was tried, and the objectives that there was no time for.
    """
    found = [some[0] for some in entries]
    tried = [Tried(objective="", entries=tuple(found))]
    left_out = []
    started = setup.checkpoints.now()
    for one in advice:
        spent = setup.checkpoints.now() - started
        if (budget_seconds and spent >= budget_seconds) or setup.checkpoints.time_is_up():
            left_out.append(one.objective)
            continue
        setup.progress(f"trying --objective {one.objective}, for {one.because}")
        own = replace(setup, training=replace(setup.training, objective=one.objective))
        done = [train_from_scratch(own, some, found[0].architecture, one.objective) for some in prepared]
        tried.append(
            Tried(
                objective=one.objective,
                entries=tuple(
                    replace(
                        plain,
                        # An objective trains the whole network, also where the plain one is a sum of single networks.
                        contestant=replace(plain.contestant, separate=False),
                        parts={},
                        network=some.assemble(trained.network),
                        architecture_score=trained.architecture_score,
                        held_out=trained.held_out,
                        train_seconds=trained.train_seconds,
                        chosen_epochs=trained.chosen_epochs,
                        course=trained.course,
                    )
                    for plain, some, trained in zip(found, prepared, done, strict=True)
                ),
            )
        )
    return tried, left_out


def best_of(setup: TrainingSetup, tried: Sequence[Tried]) -> int:
    """Number of what scores best on the architecture split; of equals the first, so that plain training stays."""
    higher = higher_is_better(setup.metric)
    scores = [one.architecture_score if higher else -one.architecture_score for one in tried]
    return max(range(len(tried)), key=lambda number: (scores[number], -number))


def told_of_tried(
    setup: TrainingSetup,
    tried: Sequence[Tried],
    judged: Sequence[Sequence[Judged]],
    targets: Any,
    *,
    chosen: int,
    left_out: Sequence[str],
) -> Objectives:
    """What came of everything that was tried, for the summary.

    Args:
        setup: Of the run.
        tried: Plain training first.
        judged: Of each of them per seed what it does on the test split.
        targets: Of the test split.
        chosen: Number of the one that was taken, by the architecture split.
        left_out: For want of time.
    """
    metric = setup.metric
    statistics = [[sample_statistics(metric, one.outputs, targets) for one in some] for some in judged]
    rows = tuple(
        TriedObjective(
            objective=one.objective,
            architecture_score=one.architecture_score,
            score=interval(metric, own),
            difference=paired_interval(metric, own, statistics[0]) if one.objective else None,
            train_seconds=float(np.mean([entry.train_seconds for entry in one.entries])),
        )
        for one, own in zip(tried, statistics, strict=True)
    )
    return Objectives(chosen=tried[chosen].objective, tried=rows, left_out=tuple(left_out))
