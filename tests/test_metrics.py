"""Losses and scores against numbers worked by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from nas.data.fusion_data import TASKS, Task
from nas.metrics import (
    PRIMARY,
    SECONDARY,
    constant_losses,
    higher_is_better,
    losses_of_routes,
    sample_losses,
    score,
)


def _one_hot(predicted: list[int], num_classes: int) -> NDArray[np.float32]:
    """Logits that are largest at these classes, and all negative, which must not matter."""
    return np.eye(num_classes, dtype=np.float32)[predicted] - 3


def test_accuracy_and_macro_f1_of_classes() -> None:
    outputs, targets = _one_hot([0, 2, 2, 1], 3), np.array([0, 1, 2, 1])
    assert score("accuracy", outputs, targets) == 3 / 4
    # F1 = 2 TP / (2 TP + FP + FN): 2/2 of class 0, 2/3 of class 1 (one missed), 2/3 of class 2 (one false).
    assert score("macro_f1", outputs, targets) == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_f1_of_labels() -> None:
    outputs = np.array([[1.0, -1.0], [0.1, 2.0], [-0.1, -5.0]])
    targets = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=np.float32)
    # Both labels together: 2 hits, 3 predicted, 3 true. Label 0 alone: 1 hit of 2 and 2; label 1: 1 hit of 1 and 1.
    assert score("micro_f1", outputs, targets) == pytest.approx(2 * 2 / (3 + 3))
    assert score("macro_f1", outputs, targets) == pytest.approx((2 / 4 + 2 / 2) / 2)


def test_f1_of_a_single_label_counts_that_label_alone() -> None:
    outputs = np.array([[1.0], [1.0], [-1.0], [-1.0], [-1.0]])
    targets = np.array([[1.0], [0.0], [1.0], [0.0], [0.0]], dtype=np.float32)
    # 1 hit, 2 predicted, 2 true; that two zeros are right as well is no hit.
    assert score("micro_f1", outputs, targets) == pytest.approx(2 / 4)
    assert score("macro_f1", outputs, targets) == pytest.approx(2 / 4)


def test_a_logit_of_zero_predicts_no_label_and_f1_of_nothing_is_zero() -> None:
    nothing = np.zeros((3, 2), dtype=np.float32)
    assert score("micro_f1", nothing, nothing) == 0
    assert score("macro_f1", nothing, nothing) == 0
    assert score("micro_f1", nothing, np.ones((3, 2), dtype=np.float32)) == 0


def test_error_and_r2_of_quantities() -> None:
    outputs = np.array([[1.0, 0.0], [2.0, 2.0], [5.0, 4.0]])
    targets = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    assert score("mae", outputs, targets) == pytest.approx((0 + 0 + 2 + 1 + 0 + 1) / 6)
    # Both columns vary by 1 + 0 + 1 = 2 about their mean; squared errors are 4 in the first and 2 in the second.
    assert score("r2", outputs, targets) == pytest.approx(((1 - 4 / 2) + (1 - 2 / 2)) / 2)
    assert score("r2", targets, targets) == 1


def test_every_task_has_its_metrics_and_only_errors_are_better_when_low() -> None:
    assert PRIMARY.keys() == SECONDARY.keys() == set(TASKS)
    lower = {metric for metric in {*PRIMARY.values(), *SECONDARY.values()} if not higher_is_better(metric)}
    assert lower == {"mae"}


def test_losses_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    # The softmax of the first row is (1/4, 3/4).
    losses = sample_losses("classification", logits, torch.tensor([1, 0]))
    assert losses.tolist() == pytest.approx([math.log(4 / 3), math.log(2)])
    # The sigmoid of log 3 is 3/4; the mean is over both labels.
    losses = sample_losses("multilabel", logits, torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    assert losses.tolist() == pytest.approx([(math.log(2) + math.log(4 / 3)) / 2, math.log(2)])
    values, targets = torch.tensor([[1.0, 4.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    assert sample_losses("regression", values, targets).tolist() == pytest.approx([(1 + 16) / 2, 9 / 2])
    scale = torch.tensor([1.0, 2.0])
    assert sample_losses("regression", values, targets, scale).tolist() == pytest.approx([(1 + 4) / 2, 9 / 2])


_TARGETS: dict[Task, torch.Tensor] = {
    "classification": torch.arange(20) % 3,
    "multilabel": (torch.arange(60) % 7 < 3).float().reshape(20, 3),
    "regression": torch.linspace(-2, 2, 60).reshape(20, 3),
}


@pytest.mark.parametrize(
    ("task", "reference"),
    [
        ("classification", F.cross_entropy),
        ("multilabel", F.binary_cross_entropy_with_logits),
        ("regression", F.mse_loss),
    ],
)
def test_the_mean_of_the_sample_losses_is_the_loss_that_torch_has(task: Task, reference: Any) -> None:
    outputs = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    losses = sample_losses(task, outputs, _TARGETS[task])
    assert losses.shape == (20,)
    torch.testing.assert_close(losses.mean(), reference(outputs, _TARGETS[task]))


def test_smoothed_losses_are_those_that_torch_has() -> None:
    targets = _TARGETS["classification"]
    outputs = torch.randn(len(targets), 4, generator=torch.Generator().manual_seed(0))
    wanted = F.cross_entropy(outputs, targets, label_smoothing=0.3, reduction="none")
    torch.testing.assert_close(sample_losses("classification", outputs, targets, label_smoothing=0.3), wanted)
    routes = losses_of_routes("classification", outputs[None], targets, torch.ones(4), label_smoothing=0.3)
    torch.testing.assert_close(routes, wanted[:, None])


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_labels_and_numbers_are_not_smoothed(task: Task) -> None:
    outputs = torch.randn(_TARGETS[task].shape, generator=torch.Generator().manual_seed(0))
    plain = sample_losses(task, outputs, _TARGETS[task])
    assert torch.equal(sample_losses(task, outputs, _TARGETS[task], label_smoothing=0.3), plain)


@pytest.mark.parametrize("task", TASKS)
def test_losses_are_computed_in_float32(task: Task) -> None:
    outputs = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    losses = sample_losses(task, outputs, _TARGETS[task])
    assert losses.dtype == torch.float32
    assert torch.equal(losses, sample_losses(task, outputs.float(), _TARGETS[task]))


def test_constant_losses_of_classes_count_every_class_once_more() -> None:
    # Classes 0, 0, 1 and one more of each of three are shares of 3/6, 2/6 and 1/6; class 2 was never seen.
    losses = constant_losses("classification", torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1]))
    assert losses.tolist() == pytest.approx([math.log(2), math.log(3), math.log(6)])


def test_constant_losses_of_labels_answer_with_their_frequency() -> None:
    fitted_on = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # The frequencies are 3/4 and 0; the latter is taken for a thousandth, so that a surprise costs no infinity.
    expected = [(math.log(4 / 3) - math.log(0.999)) / 2, (math.log(4) + math.log(1000)) / 2]
    assert constant_losses("multilabel", targets, fitted_on).tolist() == pytest.approx(expected, rel=1e-5)


def test_constant_losses_of_quantities_answer_with_their_mean_in_units_of_their_deviation() -> None:
    # Mean 2 and variance (1 + 0 + 1) / 2 = 1 in the first column, mean 20 and variance 100 in the second.
    fitted_on = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    targets = torch.tensor([[2.0, 20.0], [4.0, 20.0], [2.0, 50.0]])
    assert constant_losses("regression", targets, fitted_on).tolist() == pytest.approx([0, 4 / 2, 9 / 2])


@given(
    arrays(np.float32, (12, 3), elements=st.floats(-4, 4, width=32)),
    arrays(np.int64, 12, elements=st.integers(0, 2)),
)
def test_scores_lie_between_nothing_and_everything(outputs: NDArray[np.float32], targets: NDArray[np.int64]) -> None:
    for metric in ("accuracy", "macro_f1"):
        assert 0 <= score(metric, outputs, targets) <= 1
    labels = np.eye(3, dtype=np.float32)[targets]
    for metric in ("micro_f1", "macro_f1"):
        assert 0 <= score(metric, outputs, labels) <= 1
    assert score("accuracy", labels, targets) == score("micro_f1", labels - 0.5, labels) == 1
