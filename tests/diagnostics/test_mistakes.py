"""Where networks are wrong: counts by hand, and of bounded size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.diagnostics import mistakes
from nas.diagnostics.mistakes import MOST_CLASSES, MOST_OUTPUTS, MOST_POINTS
from nas.summary import Mistakes


def _logits(answers: list[int], classes: int) -> NDArray[np.float64]:
    return np.eye(classes)[answers]


def test_rows_are_true_classes_and_counts_add_up_over_networks() -> None:
    targets = np.array([0, 0, 1, 2])
    found = mistakes("classification", ["a", "b", "c"], [_logits([0, 1, 1, 0], 3), _logits([0, 1, 1, 2], 3)], targets)
    assert found == Mistakes(classes=("a", "b", "c"), counts=((2, 2, 0), (0, 2, 0), (1, 0, 1)))


def test_a_class_without_test_samples_keeps_its_row() -> None:
    found = mistakes("classification", ["a", "b"], [_logits([1, 1], 2)], np.array([1, 1]))
    assert found is not None
    assert found.counts == ((0, 0), (0, 2))


def test_the_rarest_of_many_classes_share_a_row() -> None:
    """Class 5 has no sample of its own and all of 40 others have one more than they, so it is with the last ones."""
    classes = MOST_CLASSES + 10
    targets = np.concatenate([np.arange(MOST_CLASSES - 1), np.arange(classes)])
    targets = targets[targets != 5]
    answers = targets.copy()
    answers[targets == 7] = classes - 1  # a kept class is taken for one of the others
    answers[targets == classes - 2] = classes - 1  # one of the others for another of them: not told apart
    names = [str(place) for place in range(classes)]
    found = mistakes("classification", names, [_logits(answers.tolist(), classes)], targets)
    assert found is not None
    assert len(found.counts) == len(found.classes) == MOST_CLASSES
    assert found.classes[-1] == f"{found.others} others" == "11 others"
    assert "5" not in found.classes
    row = found.counts[found.classes.index("7")]
    assert row[-1] == sum(row) == 2
    assert found.counts[-1][-1] == classes - MOST_CLASSES
    assert sum(map(sum, found.counts)) == len(targets)


def test_numbers_come_as_pairs_of_target_and_prediction_of_the_first_network() -> None:
    targets = np.array([[1.0, 10.0], [2.0, 20.0]])
    found = mistakes("regression", [], [targets + 0.5, targets + 9], targets)
    assert found == Mistakes(points=(((1.0, 1.5), (2.0, 2.5)), ((10.0, 10.5), (20.0, 20.5))))


def test_of_many_samples_and_outputs_some_are_taken() -> None:
    targets = np.arange(6.0 * 5000).reshape(5000, 6)
    found = mistakes("regression", [], [targets], targets)
    assert found is not None
    assert [len(points) for points in found.points] == [MOST_POINTS] * MOST_OUTPUTS
    assert np.mean(found.points[0]) > 0.9 * targets[:, 0].mean()  # an even draw, not the first ones


def test_several_labels_have_none() -> None:
    assert mistakes("multilabel", ["a", "b"], [np.zeros((3, 2))], np.zeros((3, 2))) is None
