"""Losses and scores of the three tasks."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.metrics import f1_score, mean_absolute_error, r2_score
from torch import Tensor

from nas.data.fusion_data import Task

PRIMARY: dict[Task, str] = {"classification": "accuracy", "multilabel": "micro_f1", "regression": "mae"}
SECONDARY: dict[Task, str] = {"classification": "macro_f1", "multilabel": "macro_f1", "regression": "r2"}


def higher_is_better(metric: str) -> bool:
    """Whether more of it is better: true but for the mean absolute error."""
    return metric != "mae"


def sample_losses(
    task: Task, outputs: Tensor, targets: Tensor, scale: Tensor | None = None, *, label_smoothing: float = 0.0
) -> Tensor:
    """The loss of every sample, (batch,).

    Cross-entropy for classes, the mean binary cross-entropy over labels, the mean squared error over outputs in units
    of the target's deviation.

    Args:
        task: What the target is.
        outputs: Logits or predictions, (batch, outputs).
        targets: (batch,) int64 or (batch, outputs) float.
        scale: Deviation of each regression output, (outputs,); ones if None.
        label_smoothing: Share of the target that is spread evenly over all classes, 0 to 1, for training: Szegedy et
            al. 2016, "Rethinking the Inception Architecture for Computer Vision", section 7. Other tasks have none.
    """
    outputs = outputs.float()
    if task == "classification":
        # As F.cross_entropy, which takes eight times as long for the many rows and few classes of a scored space.
        aim = outputs.gather(1, targets[:, None]).squeeze(1)
        if label_smoothing:
            aim = (1 - label_smoothing) * aim + label_smoothing * outputs.mean(dim=1)
        return outputs.logsumexp(dim=1) - aim
    if task == "multilabel":
        return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(dim=1)
    errors = outputs - targets
    return (errors if scale is None else errors / scale).square().mean(dim=1)


def losses_of_routes(
    task: Task, outputs: Tensor, targets: Tensor, scale: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """The `sample_losses` of what several routes put out for the same samples, (n, routes).

    Args:
        task: What the target is.
        outputs: Of every route, (routes, n, outputs).
        targets: (n,) or (n, outputs).
        scale: Of the network's head.
        label_smoothing: As in `sample_losses`.
    """
    every = [sample_losses(task, some, targets, scale, label_smoothing=label_smoothing) for some in outputs]
    return torch.stack(every, dim=1)


def score(metric: str, outputs: NDArray[np.floating], targets: NDArray[np.generic]) -> float:
    """One number for a whole split.

    Args:
        metric: accuracy or macro_f1 of classes (1-D integer targets); micro_f1 or macro_f1 of labels (2-D); mae or r2.
        outputs: Logits or predictions, (n, outputs). A label is predicted where its logit is positive.
        targets: (n,) or (n, outputs).
    """
    if metric == "mae":
        return float(mean_absolute_error(targets, outputs))
    if metric == "r2":
        return float(r2_score(targets, outputs))
    predicted = outputs.argmax(axis=1) if targets.ndim == 1 else outputs > 0
    if metric == "accuracy":
        return float((predicted == targets).mean())
    # Of a single column scikit-learn would take the zeros for a second label.
    labels = [1] if predicted.ndim == 2 and predicted.shape[1] == 1 else None
    return float(f1_score(targets, predicted, labels=labels, average=metric.removesuffix("_f1"), zero_division=0))


def sample_errors(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """How wrong every sample is in the units of the primary metric, (batch,); 0 is right.

    Whether the class is wrong, the share of labels that are, or the mean absolute error over outputs.

    Args:
        task: What the target is.
        outputs: Logits or predictions, (batch, outputs).
        targets: (batch,) int64 or (batch, outputs) float.
    """
    if task == "classification":
        return (outputs.argmax(dim=1) != targets).float()
    if task == "multilabel":
        return ((outputs > 0) != (targets > 0)).float().mean(dim=1)
    return (outputs.float() - targets).abs().mean(dim=1)


def constant_outputs(task: Task, targets: Tensor, fitted_on: Tensor) -> Tensor:
    """The best constant answer: what a network says that knows nothing, (n, outputs).

    Args:
        task: What the target is.
        targets: As many answers as these, (n,) or (n, outputs).
        fitted_on: The constant is fitted on these, by class frequencies, label frequencies or means.
    """
    if task == "classification":
        counts = torch.bincount(fitted_on, minlength=int(max(fitted_on.max(), targets.max())) + 1).float()
        return torch.log((counts + 1) / (counts + 1).sum()).expand(len(targets), -1)
    mean = fitted_on.float().mean(dim=0)
    if task == "multilabel":
        mean = torch.logit(mean.clamp(1e-3, 1 - 1e-3))
    return mean.expand_as(targets)


def constant_losses(task: Task, targets: Tensor, fitted_on: Tensor) -> Tensor:
    """The losses of the best constant answer, (n,), comparable with `sample_losses`; see `constant_outputs`."""
    scale = fitted_on.float().std(dim=0).clamp(min=1e-12) if task == "regression" else None
    return sample_losses(task, constant_outputs(task, targets, fitted_on), targets, scale)
