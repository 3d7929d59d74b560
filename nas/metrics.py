"""Losses and scores of the three tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    recall_score,
    roc_auc_score,
    root_mean_squared_error,
)
from torch import Tensor

from nas.errors import UserError, unknown_name
from nas.tasks import TASKS, Task

Outputs = NDArray[np.floating]
Targets = NDArray[np.generic]
Weights = NDArray[np.floating] | None


def _accuracy(outputs: Outputs, targets: Targets, weights: Weights = None) -> float:
    return float(np.average(outputs.argmax(axis=1) == targets, weights=weights))


def _balanced_accuracy(outputs: Outputs, targets: Targets, weights: Weights = None) -> float:
    there = np.unique(targets)
    options: dict[str, Any] = {"average": "macro", "zero_division": 0, "sample_weight": weights}
    return float(recall_score(targets, outputs.argmax(axis=1), labels=there, **options))


def _f1(average: str) -> Callable[[Outputs, Targets, Weights], float]:
    def f1(outputs: Outputs, targets: Targets, weights: Weights = None) -> float:
        predicted = outputs.argmax(axis=1) if targets.ndim == 1 else outputs > 0
        # Of a single column scikit-learn would take the zeros for a second label.
        labels = [1] if predicted.ndim == 2 and predicted.shape[1] == 1 else None
        options: dict[str, Any] = {"average": average, "zero_division": 0, "sample_weight": weights}
        return float(f1_score(targets, predicted, labels=labels, **options))

    return f1


def probabilities(outputs: Outputs, targets: Targets) -> NDArray[np.float64]:
    """Of classes or labels, (n, outputs), in float64: there, two of float32 rarely become equal."""
    finite = np.nan_to_num(outputs.astype(np.float64))
    return TASKS["classification" if targets.ndim == 1 else "multilabel"].probabilities(finite)


def rankings(outputs: Outputs, targets: Targets) -> list[tuple[NDArray[np.bool_], NDArray[np.float64]]]:
    """Per class or label which samples have it and how probable it is, each (n,).

    Of two classes the second one alone, as scikit-learn has it: its positives are what is looked for.
    """
    likely = probabilities(outputs, targets)
    classes = range(likely.shape[1])
    true = targets[:, None] == np.arange(likely.shape[1]) if targets.ndim == 1 else targets > 0  # type: ignore[operator]
    wanted = classes[1:] if targets.ndim == 1 and len(classes) == 2 else classes
    return [(true[:, one], likely[:, one]) for one in wanted]


def _auroc(outputs: Outputs, targets: Targets, weights: Weights = None) -> float:
    told = [
        roc_auc_score(true, by, sample_weight=weights)
        for true, by in rankings(outputs, targets)
        if true.any() and not true.all()
    ]
    return float(np.mean(told)) if told else 0.5


def _average_precision(outputs: Outputs, targets: Targets, weights: Weights = None) -> float:
    told = [
        average_precision_score(true, by, sample_weight=weights)
        for true, by in rankings(outputs, targets)
        if true.any()
    ]
    return float(np.mean(told)) if told else 0.0


def _log_loss(outputs: Outputs, targets: Targets, weights: Weights = None) -> float:
    likely = probabilities(outputs, targets)
    if targets.ndim == 1:
        return float(log_loss(targets, likely, labels=np.arange(likely.shape[1]), sample_weight=weights))
    return float(
        np.mean(
            [
                log_loss(true > 0, by, labels=[False, True], sample_weight=weights)
                for true, by in zip(targets.T, likely.T, strict=True)
            ]
        )
    )


def _mae(outputs: Outputs, targets: Targets, weights: Weights = None) -> float:
    return float(mean_absolute_error(targets, outputs, sample_weight=weights))


def _rmse(outputs: Outputs, targets: Targets, weights: Weights = None) -> float:
    return float(root_mean_squared_error(targets, outputs, sample_weight=weights))


def _r2(outputs: Outputs, targets: Targets, weights: Weights = None) -> float:
    if len(targets) < 2:
        return 0.0  # of one sample nothing varies
    return float(r2_score(targets, outputs, sample_weight=weights))


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number for how good the outputs for a whole split are.

    Attributes:
        title: Its name for people.
        words: What it tells, in one line, with what it is where it is not defined.
        tasks: That it judges.
        score: From outputs (n, outputs), targets (n,) or (n, outputs), and sample weights (n,) or None.
        higher_is_better: Whether more of it is better.
        percent: Whether people read it in percent, and differences in points.
        lowest: It is never less.
        highest: It is never more.
    """

    title: str
    words: str
    tasks: tuple[Task, ...]
    score: Callable[[Outputs, Targets, Weights], float]
    higher_is_better: bool = True
    percent: bool = True
    lowest: float = 0.0
    highest: float = 1.0


_CLASSES: tuple[Task, ...] = ("classification",)
_BOTH: tuple[Task, ...] = ("classification", "multilabel")
_NUMBERS: tuple[Task, ...] = ("regression",)

METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(title="accuracy", words="share of right answers", tasks=_CLASSES, score=_accuracy),
    "balanced_accuracy": Metric(
        title="balanced accuracy",
        words="share of right answers in each class, mean over the classes that are there",
        tasks=_CLASSES,
        score=_balanced_accuracy,
    ),
    "micro_f1": Metric(
        title="micro F1", words="F1 of all labels counted together", tasks=("multilabel",), score=_f1("micro")
    ),
    "macro_f1": Metric(
        title="macro F1", words="F1 of each class or label, mean over them", tasks=_BOTH, score=_f1("macro")
    ),
    "auroc": Metric(
        title="AUROC",
        words="how well a class is ranked before the rest, mean over classes; 50 % where nothing can be ranked",
        tasks=_BOTH,
        score=_auroc,
    ),
    "average_precision": Metric(
        title="average precision",
        words="mean precision over all recalls, mean over the classes that are there; 0 where none is",
        tasks=_BOTH,
        score=_average_precision,
    ),
    "log_loss": Metric(
        title="log loss",
        words="surprise at the right answer, in nats",
        tasks=_BOTH,
        score=_log_loss,
        higher_is_better=False,
        percent=False,
        highest=math.inf,
    ),
    "mae": Metric(
        title="mean absolute error",
        words="mean distance from the target, in its units",
        tasks=_NUMBERS,
        score=_mae,
        higher_is_better=False,
        percent=False,
        highest=math.inf,
    ),
    "rmse": Metric(
        title="root mean squared error",
        words="as mae, but large errors count more",
        tasks=_NUMBERS,
        score=_rmse,
        higher_is_better=False,
        percent=False,
        highest=math.inf,
    ),
    "r2": Metric(
        title="R²",
        words="share of the target's variance that is explained; 0 where the target is constant, 100 % if it is hit",
        tasks=_NUMBERS,
        score=_r2,
        lowest=-math.inf,
    ),
}
"""By name. The mean over several outputs of a regression is that of each output's score."""


def metric_of(task: Task, name: str = "") -> str:
    """The metric that a run is judged by: the one that is asked for, or the task's own.

    Raises:
        UserError: If it is unknown, or of another task.
    """
    known = [one for one, metric in METRICS.items() if task in metric.tasks]
    if name and name not in known:
        raise unknown_name(f"metric of {task}:", name, known)
    return name or TASKS[task].metric


def shown_beside(task: Task, metric: str) -> str:
    """The metric that is told beside the one that a run is judged by: the task's own, or its second one."""
    kind = TASKS[task]
    return kind.second_metric if metric == kind.metric else kind.metric


def higher_is_better(metric: str) -> bool:
    """Whether more of it is better: true but for errors and losses."""
    return METRICS[metric].higher_is_better


def sample_losses(
    task: Task,
    outputs: Tensor,
    targets: Tensor,
    scale: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    importance: Tensor | None = None,
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
        importance: What the loss of every sample, or of each of its labels or numbers, is multiplied with, shaped as
            the targets, for training; see `weighted_importance`. None for ones.
    """
    return TASKS[task].losses(outputs.float(), targets, scale, label_smoothing=label_smoothing, importance=importance)


def balanced_importance(targets: Tensor) -> Tensor:
    """Of every class or label n / (k · how many have it), shaped as the targets; all that are there count the same.

    Their mean is 1 in every column. k is how many there are: the classes, or yes and no of a label.

    Args:
        targets: Classes (n,) or labels (n, outputs), of the weights split.
    """
    columns = targets[:, None] if targets.dim() == 1 else targets
    found = torch.ones(columns.shape, device=targets.device)
    for number, column in enumerate(columns.T):
        _, where, counts = column.unique(return_inverse=True, return_counts=True)
        found[:, number] = (len(column) / (len(counts) * counts.float()))[where]
    return found.reshape(targets.shape)


def weighted_importance(targets: Tensor, weights: Tensor, importance: Tensor | None = None) -> Tensor:
    """Sample weights as what losses are multiplied with, shaped as the targets; their mean over the samples is 1.

    Args:
        targets: (n,) or (n, outputs), of the weights split.
        weights: Of every sample, (n,), 0 or more, not all 0.
        importance: What classes or labels count besides, shaped as the targets; None for ones.
    """
    shares = (weights / weights.mean()).reshape(-1, *[1] * (targets.dim() - 1))
    return shares.expand(targets.shape).clone() if importance is None else importance * shares


def losses_of_routes(
    task: Task,
    outputs: Tensor,
    targets: Tensor,
    scale: Tensor,
    *,
    label_smoothing: float = 0.0,
    importance: Tensor | None = None,
) -> Tensor:
    """The `sample_losses` of what several routes put out for the same samples, (n, routes).

    Args:
        task: What the target is.
        outputs: Of every route, (routes, n, outputs).
        targets: (n,) or (n, outputs).
        scale: Of the network's head.
        label_smoothing: As in `sample_losses`.
        importance: Likewise.
    """
    every = [
        sample_losses(task, some, targets, scale, label_smoothing=label_smoothing, importance=importance)
        for some in outputs
    ]
    return torch.stack(every, dim=1)


def score(metric: str, outputs: Outputs, targets: Targets, weights: Weights = None) -> float:
    """One number for a whole split.

    Args:
        metric: A name of `METRICS` that suits the targets: 1-D integers are classes.
        outputs: Logits or predictions, (n, outputs). A label is predicted where its logit is positive.
        targets: (n,) or (n, outputs).
        weights: How much each sample counts, (n,), 0 or more; None for all alike. A sample of weight 0 is as if it were
            not there, and so is a class whose samples all have weight 0.

    Raises:
        UserError: If all weights are 0.
    """
    if weights is not None:
        counted = np.asarray(weights) > 0
        if not counted.any():
            raise UserError("all samples to be judged have weight 0; give some of them more")
        outputs, targets, weights = outputs[counted], targets[counted], weights[counted]
    return METRICS[metric].score(outputs, targets, weights)


def sample_errors(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """How wrong every sample is in the units of the task's own metric, (batch,); 0 is right.

    Whether the class is wrong, the share of labels that are, or the mean absolute error over outputs.

    Args:
        task: What the target is.
        outputs: Logits or predictions, (batch, outputs).
        targets: (batch,) int64 or (batch, outputs) float.
    """
    return TASKS[task].errors(outputs, targets)


def constant_outputs(task: Task, targets: Tensor, fitted_on: Tensor) -> Tensor:
    """The best constant answer: what a network says that knows nothing, (n, outputs).

    Args:
        task: What the target is.
        targets: As many answers as these, (n,) or (n, outputs).
        fitted_on: The constant is fitted on these, by class frequencies, label frequencies or means.
    """
    return TASKS[task].constant(targets, fitted_on)


def constant_losses(task: Task, targets: Tensor, fitted_on: Tensor) -> Tensor:
    """The losses of the best constant answer, (n,), comparable with `sample_losses`; see `constant_outputs`."""
    scale = None if TASKS[task].has_probabilities else fitted_on.float().std(dim=0).clamp(min=1e-12)
    return sample_losses(task, constant_outputs(task, targets, fitted_on), targets, scale)
