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
from scipy.special import expit, softmax
from sklearn import metrics as reference

from nas.errors import UserError
from nas.influence import INFLUENCES
from nas.metrics import (
    METRICS,
    constant_losses,
    higher_is_better,
    losses_of_routes,
    metric_of,
    sample_losses,
    score,
    shown_beside,
)
from nas.tasks import TASKS, Task


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
    assert {metric for metric in METRICS if not higher_is_better(metric)} == {"log_loss", "mae", "rmse"}
    for task in TASKS:
        assert task in METRICS[TASKS[task].metric].tasks
        assert task in METRICS[TASKS[task].second_metric].tasks
        assert metric_of(task) == TASKS[task].metric


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


EACH = [(task, name) for name, metric in METRICS.items() for task in metric.tasks]


def _told(*answers: float) -> NDArray[np.float64]:
    """Logits of two classes of which the second one has these."""
    return np.stack([np.zeros(len(answers)), np.array(answers)], axis=1)


def test_balanced_accuracy_by_hand() -> None:
    # Three of four right in class 0, one of two in class 1; nobody is of class 2, so that it does not count.
    outputs, targets = _one_hot([0, 0, 0, 2, 1, 0], 3), np.array([0, 0, 0, 0, 1, 1])
    assert score("balanced_accuracy", outputs, targets) == pytest.approx((3 / 4 + 1 / 2) / 2)
    # A constant answer has an accuracy of 95 %, and is right in one of two classes.
    rare = np.array([1] + [0] * 19)
    assert score("accuracy", _told(*[-1] * 20), rare) == 0.95
    assert score("balanced_accuracy", _told(*[-1] * 20), rare) == 0.5


def test_area_and_precision_by_hand() -> None:
    # From the highest: right, wrong, right, wrong. Of the four pairs of right and wrong three are in order.
    outputs, targets = _told(4, 3, 2, 1), np.array([1, 0, 1, 0])
    assert score("auroc", outputs, targets) == pytest.approx(3 / 4)
    # Precision 1/1 at the first and 2/3 at the second of two.
    assert score("average_precision", outputs, targets) == pytest.approx((1 + 2 / 3) / 2)
    labels = targets[:, None].astype(np.float32)
    assert score("auroc", outputs[:, 1:], labels) == pytest.approx(3 / 4)
    assert score("average_precision", outputs[:, 1:], labels) == pytest.approx((1 + 2 / 3) / 2)
    assert score("auroc", _told(0, 0, 0, 0), targets) == 1 / 2


def test_log_loss_by_hand() -> None:
    # Probabilities 3/4 and 1/2 of what is right.
    outputs = _told(math.log(3), 0)
    assert score("log_loss", outputs, np.array([1, 0])) == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)
    labels = np.array([[1.0], [0.0]], dtype=np.float32)
    assert score("log_loss", outputs[:, 1:], labels) == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_squared_error_by_hand() -> None:
    # 3 and 4 in the first column, a mean square of 12.5; 1 and 1 in the second.
    outputs, targets = np.array([[3.0, 1.0], [4.0, 1.0]]), np.zeros((2, 2), dtype=np.float32)
    assert score("rmse", outputs, targets) == pytest.approx((math.sqrt(12.5) + 1) / 2)


def _drawn(task: Task, count: int = 60, width: int = 3) -> tuple[NDArray[np.float64], NDArray[Any]]:
    generator = np.random.default_rng(0)
    outputs = generator.normal(size=(count, width)).round(1)  # with ties
    noisy = outputs + generator.normal(size=outputs.shape)
    if task == "classification":
        return outputs, noisy.argmax(axis=1)
    return outputs, (noisy > 0.3).astype(np.float32) if task == "multilabel" else noisy.astype(np.float32)


def _reference(task: Task, name: str, outputs: NDArray[np.float64], true: NDArray[Any], **weighted: Any) -> float:
    """As scikit-learn has it in one call, with samples weighted."""
    likely = softmax(outputs, axis=1) if task == "classification" else expit(outputs)
    wins = outputs.argmax(axis=1) if task == "classification" else outputs > 0
    one_hot = np.eye(outputs.shape[1])[true] if task == "classification" else true
    found = {
        "accuracy": lambda: reference.accuracy_score(true, wins, **weighted),
        "balanced_accuracy": lambda: reference.balanced_accuracy_score(true, wins, **weighted),
        "micro_f1": lambda: reference.f1_score(true, wins, average="micro", **weighted),
        "macro_f1": lambda: reference.f1_score(true, wins, average="macro", **weighted),
        "auroc": lambda: reference.roc_auc_score(one_hot, likely, average="macro", **weighted),
        "average_precision": lambda: reference.average_precision_score(one_hot, likely, average="macro", **weighted),
        "log_loss": lambda: (
            reference.log_loss(true, likely, **weighted)
            if task == "classification"
            else np.mean([reference.log_loss(t, p, **weighted) for t, p in zip(true.T, likely.T, strict=True)])
        ),
        "mae": lambda: reference.mean_absolute_error(true, outputs, **weighted),
        "rmse": lambda: reference.root_mean_squared_error(true, outputs, **weighted),
        "r2": lambda: reference.r2_score(true, outputs, **weighted),
    }
    return float(found[name]())


@pytest.mark.parametrize(("task", "name"), EACH)
def test_scores_are_those_of_scikit_learn(task: Task, name: str) -> None:
    outputs, targets = _drawn(task)
    assert score(name, outputs, targets) == pytest.approx(_reference(task, name, outputs, targets))


@pytest.mark.parametrize("name", ["auroc", "average_precision"])
def test_of_two_classes_the_second_is_looked_for(name: str) -> None:
    outputs, targets = _drawn("classification", width=2)
    wanted = getattr(reference, {"auroc": "roc_auc_score"}.get(name, f"{name}_score"))
    assert score(name, outputs, targets) == pytest.approx(wanted(targets, softmax(outputs, axis=1)[:, 1]))


@pytest.mark.parametrize(("task", "name"), [pair for pair in EACH if pair[1] in INFLUENCES])
def test_an_influence_is_the_slope_of_the_score_by_the_weight_of_a_sample(task: Task, name: str) -> None:
    outputs, targets = _drawn(task)
    found = INFLUENCES[name](outputs, targets)
    assert found.sum() == pytest.approx(0, abs=1e-9)
    step = 1e-4
    for number in range(0, len(targets), 7):
        more, less = np.ones(len(targets)), np.ones(len(targets))
        more[number], less[number] = 1 + step, 1 - step
        high = _reference(task, name, outputs, targets, sample_weight=more)
        low = _reference(task, name, outputs, targets, sample_weight=less)
        assert found[number] == pytest.approx(len(targets) * (high - low) / (2 * step), abs=1e-5)


@pytest.mark.parametrize(("task", "name"), EACH)
def test_what_is_perfect_has_the_best_score(task: Task, name: str) -> None:
    _, targets = _drawn(task)
    perfect = targets.astype(np.float64)
    if task != "regression":
        perfect = 80 * ((np.eye(3)[targets] if task == "classification" else targets) - 0.5)
    metric = METRICS[name]
    assert score(name, perfect, targets) == pytest.approx(metric.highest if metric.higher_is_better else metric.lowest)


_ODD: dict[Task, list[NDArray[Any]]] = {
    "classification": [np.zeros(5, dtype=np.int64), np.array([0, 1, 1, 0, 1]), np.array([2])],
    "multilabel": [np.zeros((5, 3), dtype=np.float32), np.ones((5, 3), dtype=np.float32), np.ones((1, 1))],
    "regression": [np.full((5, 3), 2.5, dtype=np.float32), np.ones((1, 1), dtype=np.float32)],
}


@pytest.mark.parametrize(("task", "name"), EACH)
def test_a_split_that_lacks_a_class_or_is_constant_has_a_score(task: Task, name: str) -> None:
    for targets in _ODD[task]:
        width = 3 if task == "classification" else targets.shape[1]
        for outputs in (np.zeros((len(targets), width)), np.random.default_rng(0).normal(size=(len(targets), width))):
            reached = score(name, outputs, targets)
            assert METRICS[name].lowest <= reached <= METRICS[name].highest
            assert math.isfinite(reached)
            if name in INFLUENCES:
                assert np.isfinite(INFLUENCES[name](outputs, targets)).all()


def test_what_is_not_defined_is_what_the_words_say() -> None:
    outputs, zeros = _told(1, 2, 3), np.zeros(3, dtype=np.int64)
    assert score("auroc", outputs, zeros) == 0.5
    assert score("average_precision", outputs, zeros) == 0
    constant = np.full((3, 1), 2.5)
    assert score("r2", outputs[:, 1:], constant) == 0
    assert score("r2", constant, constant) == 1


@pytest.mark.parametrize("name", ["auroc", "average_precision", "log_loss"])
def test_outputs_beyond_all_bounds_have_a_score(name: str) -> None:
    outputs = np.array([[np.inf, 0], [-np.inf, 0], [0, np.nan], [1e30, -1e30]], dtype=np.float32)
    assert math.isfinite(score(name, outputs, np.array([0, 1, 0, 1])))


def test_a_metric_must_suit_the_task() -> None:
    assert metric_of("classification", "auroc") == "auroc"
    with pytest.raises(UserError, match=r"unknown metric of regression: 'auroc'.*Known: mae, r2, rmse"):
        metric_of("regression", "auroc")
    with pytest.raises(UserError, match=r"unknown metric of classification: 'acuracy'; did you mean 'accuracy'\?"):
        metric_of("classification", "acuracy")


def test_the_metric_of_the_task_is_told_beside_another_one() -> None:
    assert shown_beside("classification", "accuracy") == "macro_f1"
    assert shown_beside("classification", "macro_f1") == "accuracy"
    assert shown_beside("regression", "rmse") == "mae"
