"""Where the networks of one architecture are wrong: a confusion matrix of classes, or predictions beside targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from nas.summary import Mistakes
from nas.tasks import TASKS, Task

MOST_CLASSES = 30
"""So many rows has a matrix; of more classes the rarest share the last one."""

MOST_OUTPUTS = 4
MOST_POINTS = 1000


def mistakes(
    task: Task, class_names: Sequence[str], outputs: Sequence[NDArray[np.floating]], targets: NDArray[np.generic]
) -> Mistakes | None:
    """A confusion matrix or points, of bounded size however many classes and samples there are; None of several labels.

    Args:
        task: What the target is.
        class_names: One per class.
        outputs: Logits or predictions of each network, (n, outputs).
        targets: (n,) classes or (n, outputs) numbers.
    """
    if not TASKS[task].has_probabilities:
        drawn = np.sort(np.random.default_rng(0).permutation(len(targets))[:MOST_POINTS])
        pairs = np.stack([targets[drawn], outputs[0][drawn]], axis=2).astype(np.float64)
        return Mistakes(
            points=tuple(
                tuple((float(target), float(prediction)) for target, prediction in output)
                for output in pairs.transpose(1, 0, 2)[:MOST_OUTPUTS]
            )
        )
    if targets.ndim == 2:
        return None
    numbers = np.arange(len(class_names))
    counts = sum(confusion_matrix(targets, some.argmax(axis=1), labels=numbers) for some in outputs)
    if len(class_names) <= MOST_CLASSES:
        return Mistakes(classes=tuple(class_names), counts=_rows(np.asarray(counts)))
    frequent = np.argsort(-np.bincount(targets.astype(np.int64), minlength=len(numbers)), kind="stable")
    kept = np.sort(frequent[: MOST_CLASSES - 1])
    row = np.full(len(numbers), len(kept))
    row[kept] = np.arange(len(kept))
    folded = np.zeros((len(kept) + 1, len(kept) + 1), dtype=np.int64)
    np.add.at(folded, (row[:, None], row[None, :]), counts)
    others = len(numbers) - len(kept)
    names = (*(class_names[place] for place in kept), f"{others} others")
    return Mistakes(classes=names, counts=_rows(folded), others=others)


def _rows(counts: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in counts.tolist())
