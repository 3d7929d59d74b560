"""What a target can be, each kind with all that it means: its loss, its errors, its best constant, its probabilities.

A new kind of task is one class here and one entry in `TASKS`; how it is read from an array says `nas.data.targets`, and
which scores suit it `nas.metrics`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import Tensor

Task = Literal["classification", "multilabel", "regression"]
"""The name of a kind of task."""


class TaskKind(ABC):
    """One kind of target.

    Attributes:
        metric: What networks are judged by, a name of `nas.metrics.METRICS`.
        second_metric: What is told beside it.
        surprise: The metric that tells what answers hide: how sure they are.
        has_probabilities: Whether outputs are logits of classes or labels, which have names, and not quantities.
        output: What one output is, for people, such as "one logit per class".
        printing: Statements that print the tensor `outputs` of one sample, by the names `CLASSES`.
    """

    metric: str
    second_metric: str
    surprise: str
    has_probabilities: bool
    output: str
    printing: str

    @abstractmethod
    def size(self, count: int) -> str:
        """How many outputs there are, in words, such as "10 classes"."""

    @abstractmethod
    def losses(
        self,
        outputs: Tensor,
        targets: Tensor,
        scale: Tensor | None,
        *,
        label_smoothing: float,
        importance: Tensor | None,
    ) -> Tensor:
        """The loss of every sample, (batch,); see `nas.metrics.sample_losses`, like the others."""

    @abstractmethod
    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """How wrong every sample is, (batch,); 0 is right."""

    @abstractmethod
    def constant(self, targets: Tensor, fitted_on: Tensor) -> Tensor:
        """The best constant answer for each of the targets, (n, outputs)."""

    @abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """What several networks say together, from (networks, n, outputs) to (n, outputs)."""

    @abstractmethod
    def combined(self, outputs: Tensor, constant: Tensor, weights: Tensor) -> Tensor:
        """What independent evidence comes to, (n, outputs); see `nas.retraining.summed.summed`.

        Args:
            outputs: Of every network, (networks, n, outputs).
            constant: The best constant answer, (outputs,).
            weights: How much each network counts, (networks,).
        """

    def answers(self, outputs: Tensor) -> Tensor | None:
        """What is answered: the class, (n,), or which labels, (n, labels); None for quantities."""
        return None

    def probabilities(self, outputs: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
        """Of each class or label, (n, outputs), from logits that a temperature divides.

        Raises:
            TypeError: If there are none.
        """
        raise TypeError(f"{type(self).__name__} has no probabilities")

    def logits(self, probabilities: NDArray[np.floating], least: float) -> NDArray[np.float64]:
        """Logits of probabilities, which are at least so much, (n, outputs); quantities are themselves."""
        return np.asarray(probabilities, dtype=np.float64)

    def confidence(self, outputs: Tensor) -> Tensor:
        """Log-odds that the most probable answer is right, by the network's own account, (batch,).

        Raises:
            TypeError: If answers do not tell how sure they are.
        """
        raise TypeError(f"answers of {type(self).__name__} do not tell how sure they are")


class _Logits(TaskKind):
    """What classes and labels have in common."""

    second_metric = "macro_f1"
    surprise = "log_loss"
    has_probabilities = True

    def combined(self, outputs: Tensor, constant: Tensor, weights: Tensor) -> Tensor:
        """The sum of what each network says beyond the constant; of classes up to what all of them share."""
        return (weights.to(outputs)[:, None, None] * (outputs - constant)).sum(dim=0) + constant


class Classification(_Logits):
    """One of several classes: targets are (n,) int64, outputs are logits of a softmax."""

    metric = "accuracy"
    output = "one logit per class"
    printing = """\
for name, probability in zip(CLASSES, outputs.softmax(dim=0).tolist()):
        print(f"{name}: {probability:.3f}")"""

    def size(self, count: int) -> str:
        """See the base class, like the others."""
        return f"{count} classes"

    def losses(
        self,
        outputs: Tensor,
        targets: Tensor,
        scale: Tensor | None,
        *,
        label_smoothing: float,
        importance: Tensor | None,
    ) -> Tensor:
        """Cross-entropy."""
        # As F.cross_entropy, which takes eight times as long for the many rows and few classes of a scored space.
        aim = outputs.gather(1, targets[:, None]).squeeze(1)
        if label_smoothing:
            aim = (1 - label_smoothing) * aim + label_smoothing * outputs.mean(dim=1)
        found = outputs.logsumexp(dim=1) - aim
        return found if importance is None else importance * found

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Whether the class is wrong."""
        return (outputs.argmax(dim=1) != targets).float()

    def constant(self, targets: Tensor, fitted_on: Tensor) -> Tensor:
        """Log frequencies of classes, each counted once more than it is there."""
        counts = torch.bincount(fitted_on, minlength=int(max(fitted_on.max(), targets.max())) + 1).float()
        return torch.log((counts + 1) / (counts + 1).sum()).expand(len(targets), -1)

    def mean(self, outputs: Tensor) -> Tensor:
        """The mean of probabilities, as logits."""
        return outputs.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(outputs))

    def answers(self, outputs: Tensor) -> Tensor:
        """The most probable class."""
        return outputs.argmax(dim=1)

    def probabilities(self, outputs: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
        """The softmax."""
        found: NDArray[np.float64] = softmax(outputs.astype(np.float64) / temperature, axis=1)
        return found

    def logits(self, probabilities: NDArray[np.floating], least: float) -> NDArray[np.float64]:
        """Logarithms."""
        found: NDArray[np.float64] = np.log(np.maximum(probabilities, least))
        return found

    def confidence(self, outputs: Tensor) -> Tensor:
        """Log-odds of the most probable class."""
        ordered = outputs.float().sort(dim=1, descending=True).values
        return ordered[:, 0] - ordered[:, 1:].logsumexp(dim=1)


class Multilabel(_Logits):
    """Any of several labels: targets are (n, labels) float32 of 0 and 1, outputs are logits of sigmoids."""

    metric = "micro_f1"
    output = "one logit per label"
    printing = """\
for name, probability in zip(CLASSES, outputs.sigmoid().tolist()):
        print(f"{name}: {probability:.3f}")"""

    def size(self, count: int) -> str:
        """See the base class, like the others."""
        return f"{count} labels"

    def losses(
        self,
        outputs: Tensor,
        targets: Tensor,
        scale: Tensor | None,
        *,
        label_smoothing: float,
        importance: Tensor | None,
    ) -> Tensor:
        """The mean binary cross-entropy over labels."""
        return F.binary_cross_entropy_with_logits(outputs, targets, importance, reduction="none").mean(dim=1)

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The share of labels that are wrong."""
        return ((outputs > 0) != (targets > 0)).float().mean(dim=1)

    def constant(self, targets: Tensor, fitted_on: Tensor) -> Tensor:
        """Log-odds of each label's frequency."""
        return torch.logit(fitted_on.float().mean(dim=0).clamp(1e-3, 1 - 1e-3)).expand_as(targets)

    def mean(self, outputs: Tensor) -> Tensor:
        """The mean of probabilities, as logits."""
        return outputs.sigmoid().mean(dim=0).logit(eps=1e-12)

    def answers(self, outputs: Tensor) -> Tensor:
        """Labels that are more probable than not."""
        return outputs > 0

    def probabilities(self, outputs: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
        """The sigmoid."""
        found: NDArray[np.float64] = expit(outputs.astype(np.float64) / temperature)
        return found

    def logits(self, probabilities: NDArray[np.floating], least: float) -> NDArray[np.float64]:
        """Log-odds."""
        kept = np.clip(probabilities, least, 1 - least)
        found: NDArray[np.float64] = np.log(kept) - np.log1p(-kept)
        return found

    def confidence(self, outputs: Tensor) -> Tensor:
        """Log-odds that all labels are right."""
        right = F.logsigmoid(outputs.float().abs()).sum(dim=1)
        return right - torch.log(-torch.expm1(right).clamp(max=-1e-7))


class Regression(TaskKind):
    """Quantities: targets are (n, outputs) float32, outputs are predictions."""

    metric = "mae"
    second_metric = "r2"
    surprise = "rmse"
    has_probabilities = False
    output = "quantities"
    printing = "print(outputs.tolist())"

    def size(self, count: int) -> str:
        """See the base class, like the others."""
        return "a number"

    def losses(
        self,
        outputs: Tensor,
        targets: Tensor,
        scale: Tensor | None,
        *,
        label_smoothing: float,
        importance: Tensor | None,
    ) -> Tensor:
        """The mean squared error over outputs, in units of the target's deviation."""
        errors = outputs - targets
        squares = (errors if scale is None else errors / scale).square()
        return (squares if importance is None else importance * squares).mean(dim=1)

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean absolute error over outputs."""
        return (outputs.float() - targets).abs().mean(dim=1)

    def constant(self, targets: Tensor, fitted_on: Tensor) -> Tensor:
        """Means."""
        return fitted_on.float().mean(dim=0).expand_as(targets)

    def mean(self, outputs: Tensor) -> Tensor:
        """The mean of predictions."""
        return outputs.mean(dim=0)

    def combined(self, outputs: Tensor, constant: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum of predictions."""
        return (weights.to(outputs)[:, None, None] * outputs).sum(dim=0)


TASKS: Mapping[Task, TaskKind] = {
    "classification": Classification(),
    "multilabel": Multilabel(),
    "regression": Regression(),
}
"""Name to kind."""

assert tuple(TASKS) == get_args(Task)


__all__ = ["TASKS", "Classification", "Multilabel", "Regression", "Task", "TaskKind"]
