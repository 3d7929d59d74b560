"""Verdicts in words: of made-up networks, and of networks trained on tasks of known answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from nas.diagnostics import diagnose
from nas.records import plain
from nas.summary import Diagnosis, Overfitting
from nas.tasks import Task
from tests.diagnostics.test_contribution import MadeUp, numbers

COUNT = 400


def diagnosed(
    answer: Callable[..., Tensor], right: Callable[..., Tensor], *, task: Task = "classification", names: str = "ab"
) -> Diagnosis:
    """Of a network that answers so, when it is right to answer otherwise, from one number per modality."""
    drawn = numbers(*names)
    targets = (right(**drawn) > 0).long().numpy() if task == "classification" else right(**drawn)[:, None].numpy()
    unimodal = {name: np.stack([np.zeros(COUNT), values.numpy()], axis=1)[:, -2:] for name, values in drawn.items()}
    if task == "regression":
        unimodal = {name: values[:, 1:] for name, values in unimodal.items()}
    return diagnose(task, [MadeUp(drawn, answer)], targets, unimodal=unimodal, overfitting={})


def test_a_product_is_seen_as_interaction() -> None:
    found = diagnosed(lambda a, b: a * b, lambda a, b: a * b)
    assert found.additivity.samples == COUNT
    assert found.additivity.grid == COUNT**2
    assert found.additivity.gain.low > 0.3
    assert found.in_words[0].endswith("points of this accuracy come from cross-modal interaction")
    assert not found.in_words[0].startswith("An additive")


def test_a_sum_is_seen_as_a_sum() -> None:
    found = diagnosed(lambda a, b: a + b, lambda a, b: a + b)
    assert found.additivity.gain.margin == 0
    assert found.in_words[0] == "An additive function scores the same: no accuracy comes from cross-modal interaction"
    assert any("contributes (Shapley values): a " in sentence for sentence in found.in_words)


def test_of_three_modalities_all_samples_are_taken_and_what_is_drawn_is_told() -> None:
    found = diagnosed(lambda a, b, c: a * b + c, lambda a, b, c: a * b + c, names="abc")
    assert (found.additivity.samples, found.additivity.grid) == (COUNT, 250_000)
    assert found.additivity.standard_error > 0
    said = "come from cross-modal interaction (measured by 250,000 random recombinations)"
    assert found.in_words[0].endswith(said)


def test_an_interaction_that_buys_nothing_is_said_to_be_needless() -> None:
    found = diagnosed(lambda a, b: a + b + 0.05 * a * b, lambda a, b: a + b)
    assert found.in_words[0].startswith("An additive model would do as well: ")


def test_an_interaction_that_does_harm_is_named() -> None:
    found = diagnosed(lambda a, b: a + b - 2 * a * b, lambda a, b: a + b)
    assert found.in_words[0].startswith("Cross-modal interaction does harm: its best additive approximation is better")


def test_a_single_modality_cannot_interact() -> None:
    drawn = numbers("a")
    targets = (drawn["a"] > 0).long().numpy()
    found = diagnose("classification", [MadeUp(drawn, lambda a: a)], targets, unimodal={}, overfitting={})
    assert found.in_words == ("It reads a alone, so that nothing of its score comes from cross-modal interaction",)
    assert found.regression == ()


def test_a_modality_without_a_say_is_named() -> None:
    found = diagnosed(lambda a, b: a + 0.01 * b, lambda a, b: a)
    a, b = (f"{100 * one.unchanged:.0f} %" for one in found.contributions)
    said = f"With a from another sample it answers the same in {a} of all cases, with b in {b}"
    assert f"{said}, so that b has next to no say" in found.in_words
    both = diagnosed(lambda a, b: a + b, lambda a, b: a + b)
    assert not any("no say" in sentence for sentence in both.in_words)


def test_of_an_error_interaction_saves_something() -> None:
    found = diagnosed(lambda a, b: a * b, lambda a, b: a * b, task="regression")
    assert "of mean absolute error are saved by cross-modal interaction" in found.in_words[0]
    assert (
        "Beyond what networks of one modality each say, their product matters: a × b (likelihood ratio, p < 0.001)"
        in found.in_words
    )
    added = diagnosed(lambda a, b: a + b, lambda a, b: a + b + torch.sin(9 * a), task="regression")
    wanted = "What networks of one modality each say adds up: their product explains nothing more, a × b (likelihood"
    assert added.in_words[-1].startswith(wanted)


def test_what_overfits_faster_is_named() -> None:
    def course(ratio: float) -> list[Overfitting]:
        return [Overfitting(overfitting=ratio, generalization=1.0, ratio=ratio, best_epoch=3)]

    drawn = numbers("a", "b")
    targets = (drawn["a"] > 0).long().numpy()
    courses = {"a": course(0.4), "b": course(1.0)}
    found = diagnose("classification", [MadeUp(drawn, lambda a, b: a + b)], targets, unimodal={}, overfitting=courses)
    assert found.in_words[-1] == "Trained alone, b overfits 2.5 times as fast as a for what it generalizes"
    courses["b"] = course(float("inf"))
    found = diagnose("classification", [MadeUp(drawn, lambda a, b: a + b)], targets, unimodal={}, overfitting=courses)
    assert found.in_words[-1] == "Trained alone, b generalizes nothing"


def test_plain_values_hold_it_all() -> None:
    found = plain(diagnosed(lambda a, b: a * b, lambda a, b: a * b))
    assert found["additivity"]["gain"]["mean"] > 0.3
    assert [one["modality"] for one in found["contributions"]] == ["a", "b"]
    assert len(found["regression"]) == 3


def test_labels_are_judged_too() -> None:
    drawn = numbers("a", "b")
    targets = torch.stack([drawn["a"] > 0, drawn["b"] > 0], dim=1).float().numpy()
    made_up = MadeUp(drawn, lambda a, b: a + b)
    found = diagnose("multilabel", [made_up], targets, unimodal={}, overfitting={})
    assert found.in_words[0] == "An additive function scores the same: no F1 comes from cross-modal interaction"
    assert found.regression == ()
