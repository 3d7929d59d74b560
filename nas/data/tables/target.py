"""What a table is to teach: classes or numbers, told from the cells of one column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.data.tables.cells import is_plain, numbers, row_numbers, words
from nas.data.tables.parts import MAX_CELL, MAX_NAME, MOSTLY, OneOf
from nas.data.targets import MAX_OUTPUTS, Targets, make_targets
from nas.errors import UserError, unknown_name
from nas.fields import Form, Several, Text
from nas.tasks import TASKS, Task

MAX_CLASSES = 20
"""Different whole numbers up to which they may be classes."""

MIN_PER_CLASS = 5
"""Rows for each of them; with fewer they are quantities."""

TABLE_TASKS = ("classification", "regression")


@dataclass(frozen=True, kw_only=True)
class Target:
    """The column that is predicted.

    Attributes:
        column: Name.
        task: classification or regression.
        class_names: Words of the classes, sorted; none for regression.
        reason: Why that task, for people.
    """

    column: str
    task: str
    class_names: tuple[str, ...]
    reason: str

    @classmethod
    def forms(cls) -> Mapping[str, Form]:
        """What the fields may hold."""
        return {
            "column": Text(MAX_NAME),
            "task": OneOf(TABLE_TASKS),
            "class_names": Several(Text(MAX_CELL), 0, MAX_OUTPUTS),
            "reason": Text(2 * MAX_NAME),
        }

    @classmethod
    def decide(cls, column: pd.Series, task: str | None) -> Target:
        """The task of a column without empty cells, and its classes.

        Args:
            column: The target of every row that has one.
            task: classification or regression; None to tell it from the cells.

        Raises:
            UserError: If the task is unknown or does not suit the cells, or there are too many classes.
        """
        name = str(column.name)
        if task is not None and task not in TASKS:
            raise unknown_name("task", task, TASKS)
        if task == "multilabel":
            raise UserError(
                "a table has one target column, which cannot hold several labels; use an .npz for multilabel"
            )
        if not is_plain(column) or column.dtype.kind == "M":
            raise UserError(f"target {name!r} holds no words or numbers; expected one of them in every row")
        cells = [cell for cell in words(column) if cell is not None]
        values, odd = numbers(cells)
        counts = Counter(cells)
        if task is None:
            _refuse_mixture(column, cells, values, counts)
        told, reason = _told(values, counts, is_words=bool(odd.any() or np.isnan(values).any()))
        chosen, why = (told, reason) if task is None else (task, f"as you said; {reason.partition(';')[0]}")
        if chosen == "regression":
            return cls(column=name, task=chosen, class_names=(), reason=why)
        if len(counts) > MAX_OUTPUTS:
            raise UserError(
                f"target {name!r} has {len(counts)} classes; expected at most {MAX_OUTPUTS}: merge rare ones, or name "
                "another target"
            )
        if longest := [word for word in counts if len(word) > MAX_CELL]:
            raise UserError(
                f"target {name!r} holds a text of {len(longest[0])} characters; expected names of classes, of at "
                f"most {MAX_CELL}"
            )
        is_numeric = not odd.any()
        ordered = sorted(counts, key=lambda word: (float(numbers([word])[0][0]) if is_numeric else 0.0, word))
        return cls(column=name, task=chosen, class_names=tuple(ordered), reason=why)

    def values(self, column: pd.Series) -> NDArray[Any]:
        """The target of every row: (n,) int64 indices of classes, or (n, 1) float32.

        Raises:
            UserError: If a cell is empty, no number, or of a class that was not there when the task was decided.
        """
        cells, rows = words(column), row_numbers(column)
        classes = {word: index for index, word in enumerate(self.class_names)}
        found, odd = numbers(cells) if self.task == "regression" else (np.zeros(len(cells)), None)
        for place, cell in enumerate(cells):
            if cell is None:
                raise UserError(
                    f"target {self.column!r} is empty in row {rows[place]}; fill it in, or leave the row out"
                )
            if odd is None:
                if cell not in classes:
                    raise UserError(
                        f"target {self.column!r} holds {cell!r:.100} in row {rows[place]}, which is none of the "
                        f"{len(classes)} classes of the run"
                    )
                found[place] = classes[cell]
            elif odd[place] or np.isnan(found[place]):
                raise UserError(
                    f"target {self.column!r} holds {cell!r:.100} in row {rows[place]}; regression needs "
                    "numbers: correct it, or say --task classification"
                )
        if odd is None:
            return found.astype(np.int64)
        return make_targets(found, "regression").values

    def checked(self, values: NDArray[Any]) -> Targets:
        """As `nas.data` holds a target."""
        return Targets(values=values, task=cast(Task, self.task), class_names=self.class_names)


def _refuse_mixture(
    column: pd.Series, cells: Sequence[str], values: NDArray[np.float64], counts: Mapping[str, int]
) -> None:
    """Refuses many numbers with a few words among them, which would all be classes."""
    others = np.flatnonzero(np.isnan(values))
    if len(counts) > MAX_CLASSES and 0 < len(others) < (1 - MOSTLY) * len(cells):
        place = int(others[0])
        raise UserError(
            f"target {column.name!r} holds numbers, but {cells[place]!r:.100} in row {row_numbers(column)[place]} "
            f"({len(others)} such cells); correct or empty them, or say --task classification"
        )


def _told(values: NDArray[np.float64], counts: Mapping[str, int], *, is_words: bool) -> tuple[str, str]:
    """The task and why; what follows the semicolon tells how to have the other one."""
    if is_words or counts.keys() <= {"true", "false"}:
        return "classification", f"{len(counts)} different words"
    if not (values == np.round(values)).all():
        return "regression", "numbers with fractions; --task classification makes classes of them"
    if len(counts) == 2 or (len(counts) <= MAX_CLASSES and len(values) >= MIN_PER_CLASS * len(counts)):
        return "classification", f"{len(counts)} different whole numbers; --task regression takes them for quantities"
    return "regression", f"{len(counts)} different whole numbers; --task classification makes classes of them"
