"""How much each sample of a split moves a score that is no mean over samples, such as an F1 or an area under a curve.

The influence φ of sample i is n ∂θ/∂wᵢ at equal weights, where θ(w) is the score with samples weighted by w (Hampel
1974, "The influence curve and its role in robust estimation"). All φ add up to zero, and a score under a resample is
θ + Σ wᵢ φᵢ / n to first order (the infinitesimal jackknife: Efron 1982, "The jackknife, the bootstrap and other
resampling plans"). So every metric becomes a mean over samples of θ + φ, whose intervals `nas.statistics` knows. For
the area under the curve this gives the variance of DeLong et al. 1988.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.metrics import probabilities, rankings

Influence = NDArray[np.float64]


def _balanced_accuracy(outputs: NDArray[np.floating], targets: NDArray[Any]) -> Influence:
    _, where, counts = np.unique(targets, return_inverse=True, return_counts=True)
    hits = (outputs.argmax(axis=1) == targets).astype(np.float64)
    recalls = np.bincount(where, weights=hits) / counts
    return np.asarray((hits - recalls[where]) * len(targets) / counts[where] / len(counts))


def _macro_f1(outputs: NDArray[np.floating], targets: NDArray[Any]) -> Influence:
    if targets.ndim == 1:
        found = outputs.argmax(axis=1)
        names = np.union1d(found, targets)
        predicted, true = found[:, None] == names, targets[:, None] == names
    else:
        predicted, true = outputs > 0, targets > 0
    doubled, counted = 2.0 * (predicted & true), predicted.astype(np.float64) + true
    total = np.maximum(counted.sum(axis=0), 1)  # F1 of nothing is 0
    f1 = doubled.sum(axis=0) / total
    return np.asarray(((doubled - f1 * counted) * len(targets) / total).mean(axis=1))


def _auroc(outputs: NDArray[np.floating], targets: NDArray[Any]) -> Influence:
    told = [_area(true, by) for true, by in rankings(outputs, targets) if true.any() and not true.all()]
    return np.mean(told, axis=0) if told else np.zeros(len(targets))


def _area(true: NDArray[np.bool_], by: NDArray[np.float64]) -> Influence:
    places = np.empty(len(true))
    for own, sign in ((true, 1), (~true, -1)):  # the share of the others that each one is ranked rightly against
        others, values = np.sort(sign * by[~own]), sign * by[own]
        below, upto = np.searchsorted(others, values, "left"), np.searchsorted(others, values, "right")
        shares = (below + upto) / 2 / len(others)
        places[own] = (shares - shares.mean()) * len(true) / own.sum()
    return places


def _average_precision(outputs: NDArray[np.floating], targets: NDArray[Any]) -> Influence:
    told = [_precision(true, by) for true, by in rankings(outputs, targets) if true.any()]
    return np.mean(told, axis=0) if told else np.zeros(len(targets))


def _precision(true: NDArray[np.bool_], by: NDArray[np.float64]) -> Influence:
    """Of (1/P) Σ TP(sᵢ) / N(sᵢ) over positives i; TP and N count positives and all samples ranked at or above i."""
    values, where, counts = np.unique(-by, return_inverse=True, return_counts=True)  # the highest first
    positives = np.bincount(where, weights=true, minlength=len(values))
    hits, upto = np.cumsum(positives), np.cumsum(counts)
    precision, total = hits / upto, positives.sum()
    # A sample counts in the precision at its own place and at all below it.
    of_hits = np.cumsum((positives / upto)[::-1])[::-1] / total
    of_places = np.cumsum((positives * hits / upto**2)[::-1])[::-1] / total
    average = float((positives * precision).sum() / total)
    own = np.where(true, (precision[where] - average) / total + of_hits[where], 0.0)
    return np.asarray((own - of_places[where]) * len(true))


def _log_loss(outputs: NDArray[np.floating], targets: NDArray[Any]) -> Influence:
    likely = probabilities(outputs, targets)
    least = np.finfo(np.float64).eps  # as scikit-learn has it
    if targets.ndim == 1:
        losses = -np.log(np.clip(likely[np.arange(len(targets)), targets], least, 1 - least))
    else:
        losses = -np.log(np.clip(np.where(targets > 0, likely, 1 - likely), least, 1 - least)).mean(axis=1)
    return np.asarray(losses - losses.mean())


def _rmse(outputs: NDArray[np.floating], targets: NDArray[Any]) -> Influence:
    squares = (outputs.astype(np.float64) - targets) ** 2
    means = squares.mean(axis=0)
    return np.asarray(((squares - means) / np.maximum(2 * np.sqrt(means), 1e-300)).mean(axis=1))


def _r2(outputs: NDArray[np.floating], targets: NDArray[Any]) -> Influence:
    exact = targets.astype(np.float64)
    squares, spread = (outputs.astype(np.float64) - exact) ** 2, (exact - exact.mean(axis=0)) ** 2
    total = spread.sum(axis=0)
    varies = total > 0  # a constant target has a score of its own, whatever its samples weigh
    total = np.where(varies, total, 1.0)
    ratio = squares.sum(axis=0) / total
    return np.asarray(np.where(varies, len(exact) * (ratio * spread - squares) / total, 0.0).mean(axis=1))


INFLUENCES: Mapping[str, Callable[[NDArray[np.floating], NDArray[Any]], Influence]] = {
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "auroc": _auroc,
    "average_precision": _average_precision,
    "log_loss": _log_loss,
    "rmse": _rmse,
    "r2": _r2,
}
"""By name of the metric: from outputs (n, outputs) and targets (n,) or (n, outputs) to φ, (n,)."""

__all__ = ["INFLUENCES"]
