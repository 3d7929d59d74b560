"""The leaderboard: scores with intervals, paired differences, and why it is so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas.data.batches import Batch
from nas.diagnostics import Recombined, diagnose
from nas.diagnostics.recombined import most_samples
from nas.metrics import metric_of, score, shown_beside
from nas.network.cost import CostTable
from nas.retraining.controls import num_fitted
from nas.retraining.cures import courses_alone
from nas.retraining.preparation import TrainingSetup, raw_sample
from nas.retraining.retrain import Entry, Judged
from nas.routing.network import static_part
from nas.statistics import interval, paired_interval, sample_statistics
from nas.summary import Costs, Diagnosis, Row
from nas.supernet.path_scorer import drawn
from nas.tasks import Task


def leaderboard(
    task: Task, judged: Sequence[Sequence[Judged]], targets: NDArray[np.generic], metric: str = ""
) -> list[Row]:
    """One row per contestant, the found one first.

    Args:
        task: Of the data.
        judged: Per seed the contestants in the same order, the found one first.
        targets: Of the test split.
        metric: Of the scores; empty for the task's own.
    """
    metric = metric_of(task, metric)
    names = (metric, shown_beside(task, metric))
    statistics = [[sample_statistics(metric, one.outputs, targets) for one in row] for row in zip(*judged, strict=True)]
    rows = []
    for number, row in enumerate(zip(*judged, strict=True)):
        metrics = {name: tuple(score(name, one.outputs, targets) for one in row) for name in names}
        first = row[0].entry
        is_control = first.contestant.kind == "control"
        rows.append(
            Row(
                name=first.contestant.name,
                kind=first.contestant.kind,
                in_words="all inputs, no network" if is_control else first.architecture.in_words(),
                architecture=None if is_control else first.architecture,
                separate=first.contestant.separate,
                score=interval(metric, statistics[number]),
                scores=metrics[metric],
                metrics=metrics,
                difference=paired_interval(metric, statistics[0], statistics[number]) if number else None,
                architecture_score=float(np.mean([one.entry.architecture_score for one in row])),
                parameters=_mean([one.parameters for one in row]),
                multiply_adds=_mean([one.multiply_adds for one in row]),
                train_seconds=float(np.mean([one.entry.train_seconds for one in row])),
            )
        )
    return rows


def _mean(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return round(float(np.mean(known))) if known else None


def diagnosis(setup: TrainingSetup, judged: Sequence[Sequence[Judged]], batch: Batch) -> Diagnosis:
    """What the found networks do with their modalities; see `nas.diagnostics`.

    Args:
        setup: Of the run.
        judged: Per seed the contestants in the same order, the found one first.
        batch: The test split.
    """
    unimodal = {one.entry.contestant.name: one.outputs for one in judged[0] if one.entry.contestant.kind == "modality"}
    most = most_samples(setup.data.memory, len(batch))
    if most < len(batch):
        setup.progress(f"drawing {most:,} of {len(batch):,} test samples for the diagnosis")
        rows = drawn(len(batch), most)
        batch = batch.take(rows.to(batch.targets.device))
        unimodal = {name: outputs[rows.numpy()] for name, outputs in unimodal.items()}
    return diagnose(
        setup.data.task,
        [Recombined.of(some[0].entry.network, batch, setup.device) for some in judged],
        batch.targets.cpu().numpy(),
        unimodal=unimodal,
        metric=setup.metric,
        overfitting=courses_alone([[one.entry for one in some] for some in judged]),
    )


def on_fewer(setup: TrainingSetup, board: Sequence[Row]) -> tuple[str, ...]:
    """What was made on a part of the samples, drawn at random, to keep time and memory; a clause each, for people.

    Args:
        setup: Of the run.
        board: Its leaderboard.
    """
    told = []
    fitted_on, weights = num_fitted(setup.data), len(setup.data.splits["weights"])
    fitted = [row.name for row in board if row.kind == "control"]
    if fitted and fitted_on < weights:
        told.append(f"{' and '.join(fitted)} learned from {fitted_on:,} of {weights:,} training samples")
    test = len(setup.data.splits["test"])
    if (diagnosed := most_samples(setup.data.memory, test)) < test:
        told.append(f"diagnostics looked at {diagnosed:,} of {test:,} test samples")
    return tuple(told)


def costs(setup: TrainingSetup, entry: Entry, batch: Batch) -> Costs:
    """Multiply-adds for one sample of each encoder that is run up to each of its taps, each fusion node and the head.

    Args:
        setup: Of the run.
        entry: Of the found architecture, its network on the run's device.
        batch: Some samples, of which one is taken.
    """
    table = CostTable.measure(static_part(setup.whole(entry.network)), raw_sample(setup, batch))
    return Costs(encoders=dict(table.encoders), nodes=table.steps(entry.architecture), head=table.head)
