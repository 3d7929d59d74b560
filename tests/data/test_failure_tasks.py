"""Failure tasks: what is planted is there, in training alone where that is said, and equal tasks are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from nas.data.failure_tasks import FailureTask
from nas.errors import UserError


def split_of(kind: Any, name: str, split: Any) -> tuple[np.ndarray, np.ndarray]:
    """One modality and the labels of one split."""
    task = FailureTask(kind=kind, samples=600, test_samples=600)
    data = task.make()
    rows = data.splits[split]
    return data.modalities[name].arrays[0][rows], data.targets[rows]


def accuracies(kind: Any, name: str) -> tuple[float, float]:
    """Of a linear model of one modality, on the samples that it was fitted to, and on the test split."""
    inputs, labels = split_of(kind, name, "weights")
    model = LogisticRegression(C=0.1, max_iter=300).fit(inputs, labels)
    return float(model.score(inputs, labels)), float(model.score(*split_of(kind, name, "test")))


@pytest.mark.parametrize(
    ("kind", "name", "seen", "unseen"),
    [
        ("hasty", "hasty", (0.7, 1.0), (0.22, 0.36)),  # 512 features learn 600 samples by heart
        ("hasty", "steady", (0.25, 0.4), (0.2, 0.36)),  # what it knows takes products
        ("dominant", "dominant", (0.8, 1.0), (0.36, 0.6)),  # some of it is of use elsewhere
        ("dominant", "slow", (0.25, 0.4), (0.2, 0.36)),
        ("leak", "tag", (0.99, 1.0), (0.25, 0.45)),
        ("leak", "picture", (0.25, 0.4), (0.2, 0.36)),
        ("prior", "tag", (0.85, 0.97), (0.2, 0.3)),  # 0.9 + 0.1 / 4, and chance
        ("prior", "picture", (0.4, 0.7), (0.4, 0.7)),
        ("hidden", "left", (0.35, 0.6), (0.35, 0.6)),  # at every depth
    ],
)
def test_a_modality_alone_says_what_it_is_said_to(
    kind: str, name: str, seen: tuple[float, float], unseen: tuple[float, float]
) -> None:
    found = accuracies(kind, name)
    assert seen[0] <= found[0] <= seen[1]
    assert unseen[0] <= found[1] <= unseen[1]


def test_what_both_modalities_show_is_the_same_for_one_sample_whatever_its_label() -> None:
    """The largest canonical correlations of the two are those of the four numbers that they share."""
    (left, _), (right, labels) = split_of("unaligned", "left", "test"), split_of("unaligned", "right", "test")
    whitened = [np.linalg.qr(part - part.mean(axis=0))[0] for part in (left, right)]
    correlations = np.linalg.svd(whitened[0].T @ whitened[1], compute_uv=False)
    assert correlations[3] > 0.75
    assert correlations[4] < 0.5
    weights, told = split_of("unaligned", "left", "weights")
    train, test = (
        LogisticRegression(C=0.1, max_iter=300).fit(part[:300], some[:300]).score(part[300:], some[300:])
        for part, some in ((weights, told), (left, labels))
    )
    assert train < test  # half of the labels are wrong in training alone


def test_equal_tasks_are_equal_and_seeds_differ() -> None:
    one, same, other = (FailureTask(kind="prior", samples=100, seed=seed).make() for seed in (0, 0, 1))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    assert list(one.modalities) == list(FailureTask(kind="prior").modalities)


def test_what_makes_no_task_is_refused() -> None:
    with pytest.raises(UserError, match="hasty"):
        FailureTask(kind="haste")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="100 samples, got 10 and 5000"):
        FailureTask(kind="leak", samples=10)
