"""Advice: each finding leads to its objective, and nothing is advised where nothing was found."""

from __future__ import annotations

import math
from typing import Any

import pytest

from nas.diagnostics import advise
from nas.objectives import check_objective
from nas.space.architecture import Architecture, Choice
from nas.statistics import Interval
from nas.summary import Advice, Contribution, Overfitting
from search_spaces import layerwise

SPACE = layerwise({"audio": 3, "image": 3})
LAST = ("audio@2", "image@2")
NOTHING = Choice("none")
LATE = (NOTHING, NOTHING, Choice("additive", LAST))
ATTENDS = (NOTHING, NOTHING, Choice("cross_attention", LAST))
BOTH = (Choice("mlp", ("audio@0", "image@0")), NOTHING, Choice("additive", LAST))
ALONE = (NOTHING, NOTHING, Choice("carry", LAST[:1]))


def overfitting(ratio: float) -> list[Overfitting]:
    return [Overfitting(overfitting=1.0, generalization=1.0, ratio=ratio, best_epoch=3)]


def contribution(modality: str, unchanged: float) -> Contribution:
    nothing = Interval(0.0, 0.0, 0.0)
    return Contribution(modality=modality, left_out=nothing, permuted=nothing, shapley=nothing, unchanged=unchanged)


def advice(choices: tuple[Choice, ...] = LATE, *, task: Any = "classification", **found: Any) -> tuple[Advice, ...]:
    architecture = Architecture.chain("layerwise", tuple((f"fusion{i}", choice) for i, choice in enumerate(choices)))
    courses = {"audio": overfitting(1.0), "image": overfitting(1.0)}
    shares = [contribution("audio", 0.5), contribution("image", 0.5)]
    given = {"overfitting": courses, "contributions": shares, **found}
    return advise(task, SPACE, architecture, **given)


@pytest.mark.parametrize(
    ("found", "objectives", "first"),
    [
        ({}, [], ""),
        (
            {"overfitting": {"audio": overfitting(2.4), "image": overfitting(1.0)}},
            ["gradient_blending", "gradient_modulation"],
            "audio overfits 2.4 times as fast as image: try --objective gradient_blending",
        ),
        (
            {"overfitting": {"audio": overfitting(1.9), "image": overfitting(1.0)}},
            [],
            "",
        ),
        (
            {"overfitting": {"audio": overfitting(math.inf), "image": overfitting(1.0)}},
            ["rubi:audio", "modality_dropout"],
            "audio alone learns its training samples and nothing of others: try --objective rubi:audio",
        ),
        (
            {"contributions": [contribution("audio", 0.2), contribution("image", 0.94)]},
            ["gradient_modulation", "modality_dropout"],
            "in 94 % of all cases the answer does not depend on image: try --objective gradient_modulation",
        ),
        (
            {"choices": BOTH},
            ["residual", "align:audio+image"],
            "it both adds modalities and lets them interact: try --objective residual",
        ),
        (
            {"choices": ATTENDS},
            ["align:audio+image"],
            "the network lets audio and image interact, which need not lie in the same space: "
            "try --objective align:audio+image",
        ),
        ({"lacking": ["image"]}, ["modality_dropout"], "some samples lack image: try --objective modality_dropout"),
        ({"choices": ALONE, "lacking": ["image"]}, [], ""),
    ],
)
def test_findings_lead_to_their_objectives(found: dict[str, Any], objectives: list[str], first: str) -> None:
    given = advice(**found)
    assert [one.objective for one in given] == objectives
    assert not given or given[0].in_words == first


def test_an_objective_is_advised_once_for_the_first_reason() -> None:
    given = advice(
        overfitting={"audio": overfitting(3.0), "image": overfitting(1.0)},
        contributions=[contribution("audio", 0.2), contribution("image", 0.95)],
    )
    assert [one.objective for one in given] == ["gradient_blending", "gradient_modulation", "modality_dropout"]
    assert given[1].because == "audio overfits 3.0 times as fast as image"


def test_all_advice_can_be_followed() -> None:
    courses = {"audio": overfitting(math.inf), "image": overfitting(1.0)}
    for task in ("classification", "regression"):
        for one in advice(BOTH, task=task, overfitting=courses, lacking=["audio"]):
            check_objective(one.objective, task, ("audio", "image"))
