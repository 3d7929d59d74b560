"""The target: its task, its number type and its classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.data.targets import make_targets
from tests.data.helpers import refused


@pytest.mark.parametrize(
    ("value", "task", "expected", "values"),
    [
        ([2, 0, 2], None, "classification", [1, 0, 1]),
        ([True, False], None, "classification", [1, 0]),
        (["dog", "cat", "dog"], None, "classification", [1, 0, 1]),
        (np.array([b"dog", b"cat"]), None, "classification", [1, 0]),
        ([3.0, 1.0], "classification", "classification", [1, 0]),
        ([[3], [1]], "classification", "classification", [1, 0]),
        ([[1, 0], [1, 1]], None, "multilabel", [[1, 0], [1, 1]]),
        ([[1.0, 0.0]], None, "multilabel", [[1, 0]]),
        ([[True, False]], None, "multilabel", [[1, 0]]),
        ([0.5, 1.5], None, "regression", [[0.5], [1.5]]),
        ([1.0, 2.0], None, "regression", [[1], [2]]),
        ([[0.5, 1.5]], None, "regression", [[0.5, 1.5]]),
        ([[1.0, 0.0]], "regression", "regression", [[1, 0]]),
        ([3, 4], "regression", "regression", [[3], [4]]),
        (np.array([[2, 300]], dtype=">i2"), "regression", "regression", [[2, 300]]),
    ],
)
def test_task_and_values(value: Any, task: str | None, expected: str, values: list[Any]) -> None:
    made = make_targets(value, task)
    assert made.task == expected
    assert made.values.tolist() == values
    assert made.values.dtype == (np.int64 if expected == "classification" else np.float32)


@pytest.mark.parametrize(
    ("value", "given_names", "values", "names"),
    [
        ([5, 2, 5], None, [1, 0, 1], ("2", "5")),
        (["dog", "cat"], None, [1, 0], ("cat", "dog")),
        ([2.0, 1.0], None, [1, 0], ("1", "2")),
        (["dog", "cat"], ["dog", "eel", "cat"], [0, 2], ("dog", "eel", "cat")),  # words are looked up
        ([0, 2], ["dog", "eel", "cat"], [0, 2], ("dog", "eel", "cat")),  # integers index the names
        ([True, False], ["no", "yes"], [1, 0], ("no", "yes")),
        ([1, 3, 3], ["dog", "eel"], [0, 1, 1], ("dog", "eel")),  # or are taken in ascending order
        ([-1, 1], ["minus", "plus"], [0, 1], ("minus", "plus")),
    ],
)
def test_classes_and_their_names(
    value: Any, given_names: list[str] | None, values: list[int], names: tuple[str, ...]
) -> None:
    made = make_targets(value, "classification", given_names)
    assert (made.values.tolist(), made.class_names) == (values, names)


def test_labels_are_named_or_numbered() -> None:
    assert make_targets([[1, 0]]).class_names == ("0", "1")
    assert make_targets([[1, 0]], class_names=["rain", "wind"]).class_names == ("rain", "wind")
    assert make_targets([0.5]).class_names == ()


@given(st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.just(0)), min_size=1, max_size=8))
def test_class_names_give_the_labels_back(labels: list[int]) -> None:
    made = make_targets(np.array(labels, dtype=np.int64))
    assert [int(made.class_names[index]) for index in made.values] == labels


@pytest.mark.parametrize(
    ("value", "task", "class_names", "message"),
    [
        ([0, 1], "regresion", None, "unknown task 'regresion'; did you mean 'regression'.*multilabel"),
        ([0, 1], 3, None, "unknown task '3'"),
        ([], None, None, r"the target is empty: shape \(0,\); expected at least one sample"),
        (3, None, None, r"the target is int64 of shape \(\); expected \(n,\) labels"),
        (np.zeros((2, 2, 2)), None, None, r"the target is float64 of shape \(2, 2, 2\); expected"),
        (np.array([1j]), None, None, "the target is complex128"),
        (None, None, None, "the target holds Python objects"),
        ([{}, {}], None, None, r"the target holds Python objects .*astype\(str\)"),
        ([0.5, np.nan, np.inf], None, None, "the target has NaN or infinity in 2 places; drop"),
        ([[2, 0], [0, 1]], None, None, "the target, int64 of shape .* name the task: classification, multilabel"),
        ([["a", "b"]], None, None, "the target, <U1 of shape .* name the task"),
        ([[1, 0], [0, 1]], "classification", None, r"one-hot rows: use argmax\(axis=1\)"),
        ([0.5, 1.0], "classification", None, "whole numbers or words; for quantities task='regression'"),
        ([0.0, 1e300], "classification", None, "whole numbers or words"),
        ([1, 0], "multilabel", None, r"must be \(n, labels\) of 0 and 1, got int64 of shape \(2,\)"),
        ([[2, 0]], "multilabel", None, r"must be \(n, labels\) of 0 and 1"),
        (["a", "b"], "regression", None, "must hold numbers, got words; for labels task='classification'"),
        ([0.5, 1e39], "regression", None, "beyond the range of float32; rescale"),
        ([0.5, 1.5], None, ["a"], "class_names were given, but a regression target has no classes; leave them out"),
        ([0, 1, 7], None, ["a", "b"], "the target has 3 classes, but class_names has 2; give one name per class"),
        (["a", "c"], None, ["a", "b"], r"label 'c' of the target is not among class_names \('a', 'b'\); add it"),
        (["c"], None, ["a\nb"], "label 'c' .*add it"),
        ([0, 1], None, ["a", "a"], "class_names holds a name twice"),
        ([[1, 0]], None, ["a"], "the target has 2 labels, but class_names has 1; give one per label"),
    ],
)
def test_what_cannot_be_a_target_is_refused(
    value: Any, task: str | None, class_names: list[str] | None, message: str
) -> None:
    with refused(message):
        make_targets(value, task, class_names)
