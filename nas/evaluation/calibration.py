"""How far the probabilities of a network can be believed, and one temperature that makes them more believable.

Guo et al. 2017, "On Calibration of Modern Neural Networks": p = softmax(logits / T), with T of the lowest mean loss on
held-out samples (section 4.2); of labels the sigmoid takes the place of the softmax. T > 0 leaves every answer as it
is. The paper has no prior; here T is pulled towards 1, for few held-out samples that are all answered right would call
for certainty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.retraining.preparation import TrainingSetup
from nas.retraining.retrain import Entry, Judged, answers_held_out
from nas.retraining.summed import PULL, trust
from nas.summary import Calibration
from nas.summary.diagnosis import TEMPERATURE
from nas.tasks import TASKS, Task

BINS = 15
"""Of equal width, for the expected calibration error: as many as in the paper."""

PRIOR = 0.5
"""With it a network that answers n held-out samples right is as sure as the rule of succession, up to a factor of 2."""


def fit_temperature(task: Task, outputs: Tensor, targets: Tensor) -> float:
    """The temperature of the lowest loss on held-out samples, with a normal prior on log T, of deviation `PRIOR`.

    Args:
        task: classification or multilabel.
        outputs: Logits, (n, outputs).
        targets: (n,) or (n, outputs).
    """
    pull = max(PULL, 1 / (2 * PRIOR**2 * targets.numel()))
    (weight,) = trust(task, outputs[None], targets, torch.zeros(outputs.shape[1]), pull=pull)
    return float(np.clip(1 / weight, TEMPERATURE.low, TEMPERATURE.high))


def expected_calibration_error(
    task: Task, outputs: NDArray[np.floating], targets: NDArray[np.generic], temperature: float = 1.0
) -> float:
    """How far confidence and accuracy lie apart: sum over bins |B|/n · |accuracy(B) − confidence(B)|.

    Guo et al. 2017, Eq. 5. Every label of every sample is an answer of its own.

    Args:
        task: classification or multilabel.
        outputs: Logits, (n, outputs).
        targets: (n,) or (n, outputs).
        temperature: Divides the logits.
    """
    probable = TASKS[task].probabilities(outputs, temperature)
    if targets.ndim == 1:
        confidence, is_right = probable.max(axis=1), probable.argmax(axis=1) == targets
    else:
        confidence = np.maximum(probable, 1 - probable).ravel()
        is_right = ((probable > 0.5) == (targets > 0)).ravel()  # type: ignore[operator]
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=is_right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def calibration(
    setup: TrainingSetup, entries: Sequence[Sequence[Entry]], judged: Sequence[Judged], targets: NDArray[np.generic]
) -> Calibration | None:
    """The temperature of the network that is kept, and how far it may be believed on the test split.

    None for regression.

    It is fitted on the architecture split. A network that was trained on both splits has no held-out samples: it takes
    the geometric mean of the temperatures of the same architecture trained on the weights split, over the seeds.

    Args:
        setup: Of the run.
        entries: Per seed the contestants, the found one first.
        judged: Those of the first seed on the test split, with what was refitted, if that was done.
        targets: Of the test split.
    """
    task = setup.data.task
    if not TASKS[task].has_probabilities:
        return None
    refitted = next((one for one in judged if one.entry.contestant.kind == "refit"), None)
    kept = refitted or judged[0]
    fitted_on = [some[0] for some in entries] if refitted else [judged[0].entry]
    held_out = torch.from_numpy(setup.data.targets[setup.data.splits["architecture"]])
    temperatures = [fit_temperature(task, answers_held_out(setup, entry), held_out) for entry in fitted_on]
    temperature = math.exp(float(np.mean(np.log(temperatures))))
    return Calibration(
        temperature=temperature,
        error_before=expected_calibration_error(task, kept.outputs, targets),
        error_after=expected_calibration_error(task, kept.outputs, targets, temperature),
        bins=BINS,
    )


__all__ = ["calibration", "expected_calibration_error", "fit_temperature"]
