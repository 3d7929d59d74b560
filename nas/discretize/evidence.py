"""What the architecture split says of trained networks: how good each is, and how far one lies behind another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor

from nas.metrics import higher_is_better
from nas.retraining.preparation import TrainingSetup
from nas.retraining.retrain import Entry, constant_of
from nas.retraining.summed import cross_fitted
from nas.statistics import sample_statistics
from nas.supernet.path_scorer import MAX_SAMPLES
from nas.tasks import TASKS

CHANCE = 0.01
"""How likely it may be that any row at all seems better than a constant by chance, where nothing was found."""

MAX_NUMBERS = 10**6
"""Answers are compared on so many numbers, samples times outputs, or on `MAX_SAMPLES`; more take long to calibrate."""


class Evidence:
    """What the architecture split says of every row: its score, and how surprised calibrated answers are there.

    Both count alike: a better loss that answers no better buys nothing, and a better score that the loss knows nothing
    of is luck. Answers are calibrated by one temperature, cross-fitted, for what is trained differently is not equally
    sure of itself (Guo et al. 2017, "On Calibration of Modern Neural Networks").

    Args:
        setup: Of the run.
        rows: Of every row the entries of all seeds.
    """

    def __init__(self, setup: TrainingSetup, rows: Sequence[Sequence[Entry]]) -> None:
        self.task = setup.data.task
        self.metrics = (setup.metric, TASKS[self.task].surprise)
        splits, targets = setup.data.splits, setup.data.targets
        most = max(MAX_SAMPLES, MAX_NUMBERS // setup.data.num_outputs)
        read = np.sort(np.random.default_rng(0).permutation(len(splits["architecture"]))[:most])
        self.targets = targets[splits["architecture"]][read]
        self.constant = constant_of(setup).expand(len(read), -1)
        index = torch.from_numpy(read)
        terms = [np.stack([self._terms(one.held_out[index]) for one in row], axis=1) for row in rows]
        self.terms = np.stack(terms)

    def _terms(self, outputs: Tensor) -> NDArray[np.float64]:
        """What each sample adds to each metric, higher is better, (metrics, n)."""
        targets = torch.from_numpy(self.targets)
        calibrated = cross_fitted(self.task, outputs[None], targets, self.constant[0])
        return np.stack(
            [_terms(metric, one, self.targets) for metric, one in zip(self.metrics, (outputs, calibrated), strict=True)]
        )

    def merits(self) -> list[float]:
        """How good each row is: its mean score and loss, each in units of a typical standard error."""
        means = self.terms.mean(axis=(2, 3))  # (rows, metrics)
        units = [
            np.median([_error(self.terms[number, metric] - self.terms[best, metric]) for number in range(len(means))])
            for metric, best in enumerate(means.argmax(axis=0))
        ]
        merits: list[float] = (means / np.maximum(units, 1e-12)).mean(axis=1).tolist()
        return merits

    def errors_behind(self, one: int, other: int) -> float:
        """How many paired standard errors a row lies behind another, the mean of score and loss."""
        return float(np.mean([_lead(lead) for lead in self.terms[other] - self.terms[one]]))

    def beats_a_constant(self, row: int, rows: int) -> bool:
        """Whether a row is better than the best constant answer in either, however many rows were tried."""
        leads = self.terms[row] - self._terms(self.constant)[:, None]
        return max(map(_lead, leads)) > float(norm.isf(CHANCE / (len(leads) * rows)))


def _lead(differences: NDArray[np.float64]) -> float:
    """The mean of (seeds, samples) in standard errors; 0 where all are the same."""
    return float(differences.mean() / max(_error(differences), 1e-12))


def _error(differences: NDArray[np.float64]) -> float:
    """The standard error of a mean over seeds and samples, for both."""
    seeds, samples = differences.shape
    variance = differences.mean(axis=0).var() / samples
    if seeds > 1:
        variance += differences.mean(axis=1).var(ddof=1) / seeds
    return float(variance**0.5)


def _terms(metric: str, outputs: Tensor, targets: NDArray[np.generic]) -> NDArray[np.float64]:
    """What each sample adds to a metric, higher is better; the mean is the metric, exactly or to first order, (n,)."""
    over, under = sample_statistics(metric, outputs.numpy(), targets).T
    total = over.sum() / max(under.sum(), 1e-300)
    terms: NDArray[np.float64] = total + (over - total * under) / max(under.mean(), 1e-300)
    return terms if higher_is_better(metric) else -terms
