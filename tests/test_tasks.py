"""Every kind of task is whole: its scores exist, and what it answers, averages and combines are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas.metrics import METRICS
from nas.tasks import TASKS, Task


@pytest.mark.parametrize("task", TASKS)
def test_its_scores_suit_it(task: Task) -> None:
    kind = TASKS[task]
    for metric in (kind.metric, kind.second_metric, kind.surprise):
        assert task in METRICS[metric].tasks


@pytest.mark.parametrize("task", ["classification", "multilabel"])
def test_logits_of_probabilities_are_their_inverse(task: Task) -> None:
    outputs = np.random.default_rng(0).normal(size=(5, 3))
    probable = TASKS[task].probabilities(outputs)
    np.testing.assert_allclose(TASKS[task].probabilities(TASKS[task].logits(probable, 1e-9)), probable)
    assert (probable.sum(axis=1) == pytest.approx(1)) == (task == "classification")


def test_a_temperature_divides_logits() -> None:
    told = TASKS["multilabel"].probabilities(np.array([[2.0]]), temperature=2.0)
    assert told[0, 0] == pytest.approx(1 / (1 + np.exp(-1)))


def test_answers_are_classes_labels_or_none() -> None:
    outputs = torch.tensor([[0.5, -1.0, 2.0]])
    classes, labels = (TASKS[task].answers(outputs) for task in ("classification", "multilabel"))
    assert classes is not None and labels is not None  # noqa: PT018  # for the type checker
    assert classes.tolist() == [2]
    assert labels.tolist() == [[True, False, True]]
    assert TASKS["regression"].answers(outputs) is None


def test_quantities_have_no_probabilities_and_are_sure_of_nothing() -> None:
    kind = TASKS["regression"]
    with pytest.raises(TypeError, match="no probabilities"):
        kind.probabilities(np.zeros((1, 1)))
    with pytest.raises(TypeError, match="how sure"):
        kind.confidence(torch.zeros(1, 1))
    assert kind.logits(np.array([[3.0]]), 1e-9).tolist() == [[3.0]]


def test_evidence_of_two_networks_is_added_to_what_is_known_before() -> None:
    outputs, constant = torch.tensor([[[1.0, 0.0]], [[3.0, 0.0]]]), torch.tensor([0.5, 0.0])
    weights = torch.tensor([1.0, 0.5])
    # 0.5 + 1 · (1 − 0.5) + 0.5 · (3 − 0.5) = 2.25
    assert TASKS["multilabel"].combined(outputs, constant, weights).tolist() == [[2.25, 0.0]]
    assert TASKS["regression"].combined(outputs, constant, weights).tolist() == [[2.5, 0.0]]
