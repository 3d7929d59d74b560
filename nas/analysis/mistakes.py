"""Where the networks of one architecture are wrong: a confusion matrix of classes, or predictions beside targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from nas.tasks import TASKS, Task

MOST_CLASSES = 30
"""So many rows has a matrix; of more classes the rarest share the last one."""

MOST_OUTPUTS = 4
MOST_POINTS = 1000


def mistakes(
    task: Task, class_names: Sequence[str], outputs: Sequence[NDArray[np.floating]], targets: NDArray[np.generic]
) -> dict[str, Any] | None:
    """Plain values of bounded size, however many classes and samples there are.

    Args:
        task: What the target is.
        class_names: One per class.
        outputs: Logits or predictions of each network, (n, outputs).
        targets: (n,) classes or (n, outputs) numbers.

    Returns:
        Of classes `classes`, their names, and `counts`, how often one of the row was taken for one of the column,
        summed over networks; where there are too many, `others` tells how many share the last row and column, in
        which they are not told apart. Of numbers `points`, for each output pairs of target and prediction of the first
        network on an even draw of samples. None of several labels.
    """
    if not TASKS[task].has_probabilities:
        drawn = np.sort(np.random.default_rng(0).permutation(len(targets))[:MOST_POINTS])
        pairs = np.stack([targets[drawn], outputs[0][drawn]], axis=2).astype(np.float64)
        return {"points": pairs.transpose(1, 0, 2)[:MOST_OUTPUTS].tolist()}
    if targets.ndim == 2:
        return None
    numbers = np.arange(len(class_names))
    counts = sum(confusion_matrix(targets, some.argmax(axis=1), labels=numbers) for some in outputs)
    if len(class_names) <= MOST_CLASSES:
        return {"classes": list(class_names), "counts": np.asarray(counts).tolist(), "others": 0}
    frequent = np.argsort(-np.bincount(targets.astype(np.int64), minlength=len(numbers)), kind="stable")
    kept = np.sort(frequent[: MOST_CLASSES - 1])
    row = np.full(len(numbers), len(kept))
    row[kept] = np.arange(len(kept))
    folded = np.zeros((len(kept) + 1, len(kept) + 1), dtype=np.int64)
    np.add.at(folded, (row[:, None], row[None, :]), counts)
    others = len(numbers) - len(kept)
    names = [*(class_names[place] for place in kept), f"{others} others"]
    return {"classes": names, "counts": folded.tolist(), "others": others}
