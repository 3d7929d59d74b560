"""The found networks of all seeds together: the mean of what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from nas.metrics import score
from nas.retraining.preparation import TrainingSetup
from nas.retraining.retrain import Judged, answers_held_out
from nas.tasks import TASKS, Task


def average(task: Task, outputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean of probabilities, as logits, or of predictions.

    Args:
        task: What the target is.
        outputs: Of every network for the same samples, (n, outputs) each.
    """
    every = torch.from_numpy(np.stack(outputs)).double()
    return np.asarray(TASKS[task].mean(every).float().numpy())


def ensemble(setup: TrainingSetup, networks: Sequence[Judged], found: Sequence[Judged]) -> Judged:
    """What the networks of all seeds come to together.

    Args:
        setup: Of the run.
        networks: One per seed, judged on the test split.
        found: The same seeds' networks that were not trained on the architecture split, and are averaged to score it.

    Returns:
        The same for every seed: its parameters, multiply-adds and seconds are those of all networks together.
    """
    task = setup.data.task
    targets = setup.data.targets[setup.data.splits["architecture"]]
    held_out = average(task, [answers_held_out(setup, one.entry).numpy() for one in found])
    first = networks[0].entry
    trained_on = ", trained on both splits" if first.contestant.kind == "refit" else ""
    name = f"ensemble of {len(networks)} found networks{trained_on}"
    return Judged(
        entry=replace(
            first,
            contestant=replace(first.contestant, name=name, kind="ensemble"),
            architecture_score=score(setup.metric, held_out, targets),
            train_seconds=sum(one.entry.train_seconds for one in networks),
        ),
        outputs=average(task, [one.outputs for one in networks]),
        parameters=sum(one.parameters or 0 for one in networks),
        multiply_adds=sum(one.multiply_adds or 0 for one in networks),
    )


__all__ = ["average", "ensemble"]
