"""The target from what the user gave: its task, its number type and the names of its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.data.modality import as_words, plain_array
from nas.errors import UserError, unknown_name
from nas.tasks import TASKS, Task

_EXACT = 2**53
"""Up to here float64 tells all whole numbers apart; what is larger is no class."""

MAX_OUTPUTS = 2000
"""Classes, labels or numbers to predict. A search holds every output of hundreds of choices for 2,048 samples, which
takes 2 GB at this size."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What is to be predicted.

    Attributes:
        values: (n,) int64 class indices, (n, labels) float32 of 0 and 1, or (n, outputs) float32.
        task: What they are.
        class_names: One per class or label; empty for regression.
    """

    values: NDArray[Any]
    task: Task
    class_names: tuple[str, ...]


def make_targets(value: ArrayLike, task: str | None = None, class_names: Sequence[str] | None = None) -> Targets:
    """Checks the target and brings it to the form that `FusionData` documents.

    Args:
        value: (n,) integers, words or flags; (n, labels) of 0 and 1; or (n,) or (n, outputs) numbers.
        task: One of `TASKS`; None to tell it by the above.
        class_names: One per class or label. Words are looked up in it, integers index it if they can and otherwise
            are taken in ascending order; None names the classes after their labels, sorted.

    Raises:
        UserError: If the task is unknown, cannot be told or does not fit, values are missing, or there are more than
            `MAX_OUTPUTS`.
    """
    if task is not None and task not in TASKS:
        raise unknown_name("task", str(task), TASKS)
    array = as_words("the target", plain_array("the target", value))
    if array.dtype.kind not in "biufU" or array.ndim not in (1, 2):
        raise UserError(
            f"the target is {array.dtype} of shape {array.shape}; expected (n,) labels or numbers, or (n, outputs)"
        )
    if array.size == 0:
        raise UserError(f"the target is empty: shape {array.shape}; expected at least one sample")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        missing = int((~np.isfinite(array)).sum())
        raise UserError(f"the target has NaN or infinity in {missing} places; drop those samples")
    match task or _read_task(array):
        case "classification":
            made = _classes(array, class_names)
        case "multilabel":
            made = _labels(array, class_names)
        case _:
            made = _quantities(array, class_names)
    count = made.values.shape[1] if made.values.ndim == 2 else len(made.class_names)
    if count > MAX_OUTPUTS:
        what, remedy = _TOO_MANY[made.task]
        raise UserError(
            f"the target has {count} {what}; expected at most {MAX_OUTPUTS}, since a search holds a score of each for "
            f"every choice: {remedy}"
        )
    return made


_TOO_MANY: Mapping[Task, tuple[str, str]] = {
    "classification": ("classes", "merge or drop rare ones, or use task='regression' for a quantity"),
    "multilabel": ("labels", "merge or drop rare ones"),
    "regression": ("columns", "predict fewer, such as the first components of a PCA"),
}
"""Task to what there is too much of, and what to do."""


def _read_task(array: NDArray[Any]) -> Task:
    if array.ndim == 1:
        return "regression" if array.dtype.kind == "f" else "classification"
    if array.dtype.kind != "U" and np.isin(array, (0, 1)).all():
        return "multilabel"
    if array.dtype.kind == "f":
        return "regression"
    raise UserError(
        f"the target, {array.dtype} of shape {array.shape}, may be several things; name the task: {', '.join(TASKS)}"
    )


def _classes(array: NDArray[Any], class_names: Sequence[str] | None) -> Targets:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise UserError(
            f"a classification target must be (n,) labels, got shape {array.shape}; one-hot rows: use argmax(axis=1)"
        )
    if array.dtype.kind == "f":
        if (array != np.round(array)).any() or np.abs(array).max() > _EXACT:
            raise UserError(
                "a classification target must hold whole numbers or words; for quantities task='regression'"
            )
        array = array.astype(np.int64)
    found, indices = np.unique(array, return_inverse=True)
    if class_names is None:
        return Targets(
            values=indices.astype(np.int64).reshape(-1),
            task="classification",
            class_names=tuple(str(label) for label in found),
        )
    names = _checked_names(class_names)
    if array.dtype.kind == "U":
        unnamed = sorted(set(found.tolist()) - set(names))
        if unnamed:
            raise UserError(
                f"label {unnamed[0]!r} of the target is not among class_names ({', '.join(map(repr, names))}); add it"
            )
        lookup = np.array([names.index(label) for label in found.tolist()], dtype=np.int64)
    elif found[0] >= 0 and found[-1] < len(names):
        lookup = found.astype(np.int64)
    elif len(found) == len(names):
        lookup = np.arange(len(found), dtype=np.int64)
    else:
        raise UserError(
            f"the target has {len(found)} classes, but class_names has {len(names)}; give one name per class"
        )
    return Targets(values=lookup[indices].reshape(-1), task="classification", class_names=names)


def _labels(array: NDArray[Any], class_names: Sequence[str] | None) -> Targets:
    if array.ndim != 2 or array.dtype.kind == "U" or not np.isin(array, (0, 1)).all():
        raise UserError(f"a multilabel target must be (n, labels) of 0 and 1, got {array.dtype} of shape {array.shape}")
    names = tuple(str(i) for i in range(array.shape[1])) if class_names is None else _checked_names(class_names)
    if len(names) != array.shape[1]:
        raise UserError(f"the target has {array.shape[1]} labels, but class_names has {len(names)}; give one per label")
    return Targets(values=array.astype(np.float32), task="multilabel", class_names=names)


def _quantities(array: NDArray[Any], class_names: Sequence[str] | None) -> Targets:
    if array.dtype.kind == "U":
        raise UserError("a regression target must hold numbers, got words; for labels task='classification'")
    if class_names:
        raise UserError("class_names were given, but a regression target has no classes; leave them out")
    with np.errstate(over="ignore"):
        values = array.astype(np.float32).reshape(len(array), -1)
    if not np.isfinite(values).all():
        raise UserError("the target holds numbers beyond the range of float32; rescale it")
    return Targets(values=values, task="regression", class_names=())


def _checked_names(class_names: Sequence[str]) -> tuple[str, ...]:
    names = tuple(str(name) for name in class_names)
    if len(set(names)) < len(names):
        raise UserError("class_names holds a name twice; give every class its own")
    return names
