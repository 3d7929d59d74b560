"""The verdict on made-up leaderboards: what it answers, what it names, and that it never contradicts itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.discretize.tournament import DEPOSED
from nas.report import report
from nas.report.verdict import verdict
from nas.report.words import how_in_words, modalities_in_words
from nas.space.architecture import Architecture, Choice
from nas.statistics import Interval
from nas.summary import (
    Agreement,
    GateTrial,
    Mistakes,
    OneSearch,
    Row,
    RowKind,
    Spread,
    Standings,
    Summary,
    Verdict,
)
from search_spaces import OPERATIONS, graph
from tests.report.fabricate import fabricate_run
from tests.summaries import known, make_data, make_diagnosis, make_row, make_search, make_summary, spread

DEPTHS = {"image": 3, "sound": 3}
PHRASES = {name: operation.phrase for name, operation in OPERATIONS.items()}
NONE = Choice("none")
CONTROLS = {"random", "control"}


def _architecture(*choices: Choice) -> Architecture:
    padded = [*choices, *[NONE] * (3 - len(choices))]
    return Architecture.chain("layerwise", tuple((f"fusion{depth}", choice) for depth, choice in enumerate(padded)))


def _single(modality: str) -> Architecture:
    return _architecture(NONE, NONE, Choice("carry", (f"{modality}@2",)))


NOTHING = _architecture()
IMAGE, SOUND = _single("image"), _single("sound")
SHALLOW = _architecture(Choice("carry", ("image@0",)))
LATE = _architecture(NONE, NONE, Choice("additive", ("image@2", "sound@2")))
EARLY = _architecture(Choice("mlp", ("image@0", "sound@0")))
TIMES = _architecture(NONE, Choice("multiplicative", ("image@1", "sound@1")))
GATE = Architecture.gated([IMAGE, LATE], ["image@0"])
CASCADE = Architecture.cascaded([IMAGE, LATE])


def _row(
    kind: RowKind,
    gap: float = 0.0,
    margin: float = 0.01,
    *,
    name: str | None = None,
    architecture: Architecture | None = None,
    cost: int = 1000,
    merit: float | None = None,
    seeds: int = 3,
    apart: float = 0.004,
    error: bool = False,
    separate: bool = False,
) -> Row:
    """A row that the found architecture beats by a gap; `merit` is its score on the architecture split."""
    mean = (2.0 + gap) if error else 0.8 - gap
    usual: dict[str, Architecture] = {"modality": IMAGE, "late": LATE, "early": EARLY, "found": TIMES, "static": LATE}
    scores = [mean + apart * (i - (seeds - 1) / 2) for i in range(seeds)]
    return make_row(
        name or {"late": "late fusion", "early": "early fusion", "random": "random search"}.get(kind, kind),
        kind,
        None if kind == "control" else architecture or usual.get(kind, EARLY),
        score=Interval(mean, mean - 0.02, mean + 0.02),
        scores=tuple(scores),
        difference=None if kind == "found" else Interval(gap, gap - margin, gap + margin),
        architecture_score=mean if merit is None else merit,
        multiply_adds=None if kind == "control" else cost,
        separate=separate,
    )


def _image(gap: float, margin: float = 0.01, **options: Any) -> Row:
    return _row("modality", gap, margin, name="image", architecture=IMAGE, **options)


def _sound(gap: float, margin: float = 0.01, **options: Any) -> Row:
    return _row("modality", gap, margin, name="sound", architecture=SOUND, **options)


def _summary(rows: Sequence[Row], found: Architecture, **more: Any) -> Summary:
    usual: dict[str, Any] = {
        "data": make_data(tuple(DEPTHS), splits={"test": 200}),
        "interaction_order": 2 if found == TIMES else 1,
    }
    return make_summary(found, DEPTHS, leaderboard=tuple(rows), **{**usual, **more})


def _emap(mean: float, margin: float) -> dict[str, Any]:
    return {"diagnosis": make_diagnosis(spread(mean, margin))}


def _counts(*counts: tuple[int, ...]) -> dict[str, Any]:
    return {"mistakes": Mistakes(classes=("a", "b"), counts=counts)}


def _searches(number: int, distinct: int, orders: dict[str, int], difference: Interval | None = None) -> dict[str, Any]:
    """Several searches that proposed so many different architectures."""
    one = OneSearch(
        seed=0,
        architecture=TIMES,
        in_words="",
        interaction_order=2,
        agreement=0.5,
        encoders="joint",
        parameters=1,
        multiply_adds=1,
        encoder_seconds=0.0,
        search_seconds=1.0,
        discretization_loss=0.0,
        score=0.8,
        late_score=0.8,
    )
    told = Agreement(
        seeds=tuple(range(number)),
        consensus_seed=0,
        num_distinct=distinct,
        agreement=0.5,
        chance_agreement=0.2,
        kappa=0.3,
        choices=(),
        modalities={},
        depths={},
        interaction_orders=orders,
        metric="accuracy",
        higher_is_better=True,
        found=Spread(score=spread(0.8), min=0.8, max=0.8, scores=(0.8,) * number),
        late=None,
        difference=difference,
        searches=tuple(replace(one, seed=seed) for seed in range(number)),
    )
    return {"stability": told}


def _own(gap: float = 0.01, margin: float = 0.06, architecture: Architecture = TIMES, **options: Any) -> Row:
    return _row("proposal", gap, margin, name=DEPOSED, architecture=architecture, **options)


def _sum(gap: float = 0.0, margin: float = 0.0) -> Row:
    return _row("sum", gap, margin, name="sum of single networks", architecture=LATE, separate=True)


def _won(winner: str, proposed: Architecture = TIMES, *, errors_behind: float = 1.3, **more: Any) -> dict[str, Any]:
    usual = {"prefer": "accuracy", "errors_behind": {"found": errors_behind}, "trainings": 6, "seconds": 1.0}
    return {"tournament": Standings(winner=winner, proposed=proposed, **{**usual, **more})}


_MAE = {"metric": "mae"}


@dataclass(frozen=True)
class Case:
    """A leaderboard without its first row, and what has to be said of it."""

    name: str
    answer: str
    says: tuple[str, ...]
    rows: tuple[Row, ...]
    found: Architecture = TIMES
    first: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    never: tuple[str, ...] = ()


NO_GAP = Interval(0.0, -0.01, 0.01)

CASES = (
    Case(
        "better than both single modalities",
        "fuse",
        (
            "Fuse image and sound: multiply them at the middle layer.",
            "This scores 10.0 points higher than sound alone, the best single modality (95 % interval 9.0 to 11.0)",
            "No other row of the leaderboard scores higher.",
        ),
        (_image(0.2), _sound(0.1), _row("late", 0.03)),
    ),
    Case(
        "the modality with the best held-out evidence is the weaker one on the test split",
        "fuse",
        ("This scores 5.0 points higher than sound alone, the best single modality (95 % interval 4.0 to 6.0)",),
        (_image(0.2, merit=0.9), _sound(0.05, merit=0.7)),
        never=("20.0 points",),
    ),
    Case("late fusion found", "fuse", ("Fuse image and sound: add them at the last layer.",), (_image(0.1),), LATE),
    Case("plain late fusion", "fuse", ("This is plain late fusion.",), (_image(0.1), _row("late", 0, 0)), LATE),
    Case(
        "better than late fusion and cheaper",
        "fuse",
        ("The found network scores 3.0 points higher than late fusion", "at a sixth of its multiply-adds"),
        (_image(0.1), _row("late", 0.03, cost=6000)),
    ),
    Case(
        "as good as late fusion at a sixth of the cost",
        "fuse",
        ("scores about the same as late fusion (0.4 points higher, 95 % interval −0.6 to 1.4), at a sixth of its mul",),
        (_image(0.1), _row("late", 0.004, cost=6200)),
    ),
    Case(
        "dear",
        "fuse",
        ("for 2.5 times its multiply-adds", "for 40 times its multiply-adds"),
        (_image(0.1, cost=400), _row("late", 0.03, cost=25)),
    ),
    Case("same cost", "fuse", ("9.0 to 11.0).",), (_image(0.1, cost=1050),), never=("multiply-adds",)),
    Case("much cheaper", "fuse", ("at 3 % of its multiply-adds",), (_image(0.1), _row("late", 0, cost=33_000))),
    Case(
        "late fusion is measurably better than what was found",
        "fuse",
        (
            "Fuse image and sound: add them at the last layer (late fusion).",
            "Late fusion scores 13.0 points higher than image alone",
            "Measurably better than the found network: late fusion by 3.0 points (95 % interval 2.0 to 4.0).",
        ),
        (_image(0.1), _row("late", -0.03)),
    ),
    Case(
        "early fusion and an operation are measurably better",
        "fuse",
        (
            "join them in a small network (MLP) at the first layer (early fusion)",
            "early fusion by 5.0 points (95 % interval 4.0 to 6.0) and soft gate by 4.0 points",
        ),
        (_image(0.1), _row("early", -0.05), _row("operation", -0.04, name="soft_gate", architecture=LATE)),
    ),
    Case(
        "a transformer is measurably better",
        "fuse",
        ("late-fusion transformer by 8.0 points",),
        (_image(0.1), _row("transformer", -0.08, name="late-fusion transformer")),
    ),
    Case(
        "a sum of single networks is better",
        "fuse",
        (
            "the sum of single networks by 4.0 points",
            "Fuse image and sound: train a network on each alone and add their answers (the sum of single networks).",
        ),
        (_image(0.1), _sum(-0.04), _row("late", 0.01)),
        never=("plain late fusion",),
    ),
    Case(
        "averaging and more samples are better, which says nothing about fusion",
        "dont_fuse",
        (
            "Don't fuse: image alone is as good.",
            "the ensemble of 3 found networks by 5.0 points",
            "the found network trained on both splits by 4.0 points",
        ),
        (
            _image(0.0, 0.004),
            _row("late", 0.01),
            _row("refit", -0.04, name="found, trained on both splits", architecture=TIMES),
            _row("ensemble", -0.05, name="ensemble of 3 found networks", architecture=TIMES),
        ),
    ),
    Case(
        "the best row is not measurably better",
        "fuse",
        ("Early fusion has the best score, 1.0 points higher than that of the found network, but that may be chance",),
        (_image(0.1), _row("early", -0.01, 0.02), _row("late", 0.02)),
    ),
    Case(
        "random search is as good",
        "fuse",
        ("Random search, the control, scores about the same as the found network (0.2 points higher",),
        (_image(0.1), _row("random", -0.002)),
        never=("(random search)", "has the best score"),
    ),
    Case(
        "random search is measurably better",
        "fuse",
        ("random search by 5.0 points", "Random architectures beat this search, so do not trust its choice"),
        (_image(0.1), _row("random", -0.05)),
        never=("(random search)",),
    ),
    Case(
        "random search is measurably better than the single modality that was found",
        "cant_tell",
        ("Can't tell yet whether fusing image and sound beats image alone.", "random search by 5.0 points"),
        (_image(0, 0), _row("late", 0.01), _row("random", -0.05)),
        IMAGE,
    ),
    Case(
        "trees are measurably better",
        "fuse",
        (
            "Fuse image and sound: multiply them at the middle layer.",
            "Gradient boosting on all inputs, no network, scores 3.3 points higher than the found network "
            "(95 % interval 2.3 to 4.3).",
        ),
        (_image(0.1), _row("control", -0.033, name="gradient boosting"), _row("random", 0.1)),
        never=("(gradient boosting)", "Random architectures", "Measurably better", "No other row"),
    ),
    Case(
        "a control may be better by chance, another is worse",
        "fuse",
        ("Gradient boosting on all inputs, no network, scores 3.0 points higher than the found network, but",),
        (
            _image(0.1),
            _row("control", -0.03, 0.06, name="gradient boosting"),
            _row("control", 0.03, name="logistic regression"),
        ),
        never=("ogistic regression", "No other row"),
    ),
    Case(
        "a control is measurably better than the single modality that was found",
        "cant_tell",
        ("Can't tell yet whether fusing image and sound beats image alone.", "Gradient boosting on all inputs"),
        (_image(0, 0), _row("late", 0.01), _row("control", -0.05, name="gradient boosting")),
        IMAGE,
    ),
    Case(
        "nothing was found, but a control beats the constant",
        "cant_tell",
        ("Gradient boosting on all inputs, no network, scores 5.0 points higher than the found network",),
        (_image(0.001), _sound(0.001), _row("late", 0.001), _row("control", -0.05, name="gradient boosting")),
        NOTHING,
        never=("nothing here predicts", "nothing predicts"),
    ),
    Case(
        "fusion is as good as one modality",
        "dont_fuse",
        (
            "Don't fuse: image alone is as good.",
            "The found network (multiply image and sound at the middle layer) scores about the same as image alone "
            "(0.5 points higher, 95 % interval −0.5 to 1.5).",
            "So fusing gains at most 1.5 points, while image alone runs at a tenth of its multiply-adds.",
        ),
        (_image(0.005, cost=100), _sound(0.3), _row("late", 0.01)),
    ),
    Case(
        "one modality is measurably better than what was found",
        "dont_fuse",
        (
            "Don't fuse: sound alone is better.",
            "scores 45.8 points lower than sound alone (95 % interval 24.8 to 66.8)",
        ),
        (_image(0.1, merit=0.1), _sound(-0.458, 0.21)),
        never=("gains", "Measurably better"),
    ),
    Case(
        "one modality found, late fusion worse",
        "dont_fuse",
        ("Don't fuse: image alone is better.", "Late fusion scores 2.0 points lower than image alone"),
        (_image(0, 0), _sound(0.2), _row("late", 0.02)),
        IMAGE,
    ),
    Case(
        "one modality found, late fusion the same",
        "dont_fuse",
        ("Don't fuse: image alone is as good.", "Late fusion scores about the same as image alone"),
        (_image(0, 0), _sound(0.2), _row("late", 0.0, 0.02)),
        IMAGE,
    ),
    Case(
        "one modality found at a shallow layer",
        "dont_fuse",
        ("Don't fuse: image alone (first layer) is as good.",),
        (_image(0.2), _row("late", 0.0, 0.01)),
        _architecture(Choice("carry", ("image@0",))),
    ),
    Case(
        "one modality found, late fusion measurably better",
        "fuse",
        (
            "Fuse image and sound: add them at the last layer (late fusion).",
            "Late fusion scores 3.0 points higher than image alone",
            "late fusion by 3.0 points",
        ),
        (_image(0, 0), _sound(0.2), _row("late", -0.03)),
        IMAGE,
    ),
    Case(
        "one modality found, the other one measurably better",
        "dont_fuse",
        ("Don't fuse: sound alone is better.", "sound alone by 4.0 points"),
        (_image(0, 0), _sound(-0.04), _row("late", 0.02)),
        IMAGE,
    ),
    Case(
        "a gain that is well within the noise",
        "dont_fuse",
        ("Don't fuse: image alone is as good.", "(0.3 points higher, 95 % interval −2.6 to 3.2)", "at most 3.2 points"),
        (_image(0.003, 0.029),),
    ),
    Case(
        "a small gain that is nearly measured",
        "cant_tell",
        ("scores 2.0 points higher than image alone, but that may be chance (95 % interval −0.5 to 4.5)",),
        (_image(0.02, 0.025),),
    ),
    Case(
        "a gain too small to care",
        "dont_fuse",
        ("gains at most 0.7 points",),
        (_image(0.003, 0.0035),),
    ),
    Case(
        "unsure against one modality",
        "cant_tell",
        (
            "Can't tell yet whether fusing image and sound beats image alone.",
            "scores 4.0 points higher than image alone, but that may be chance",
            "would tell, if the difference stays as it is.",
        ),
        (_image(0.04, 0.05),),
    ),
    Case(
        "unsure against late fusion is not unsure about fusing",
        "fuse",
        ("The found network scores 2.0 points higher than late fusion", "but that may be chance"),
        (_image(0.1), _row("late", 0.02, 0.07)),
    ),
    Case(
        "better than the best on the architecture split but not than another modality",
        "cant_tell",
        ("beats sound alone",),
        (_image(0.1, merit=0.9), _sound(0.03, 0.05, merit=0.1)),
    ),
    Case(
        "two seeds 38 points apart",
        "cant_tell",
        (
            "Can't tell yet",
            "scores 19.0 points higher than image alone, but that may be chance (95 % interval −100.0 to 100.0).",
            "The 2 trainings of the found network lie 38.0 points apart.",
            "2 seeds say too little about luck: 5 or more would tell (--retrain-seeds 5).",
        ),
        (_image(0.19, 2.4, seeds=2),),
        first={"seeds": 2, "apart": 0.38},
        never=("scores about the same", "−221"),
    ),
    Case(
        "more seeds would do",
        "cant_tell",
        ("About 5 seeds instead of 3 (--retrain-seeds 5) would tell",),
        (_image(0.05, 0.0515),),
        first={"apart": 0.02},
    ),
    Case(
        "more samples would do",
        "cant_tell",
        ("test samples instead of 200 would tell",),
        (_image(0.03, 0.06),),
        first={"apart": 0.0041},
    ),
    Case(
        "no difference but a wide interval",
        "cant_tell",
        ("scores the same as image alone, give or take", "would halve this interval."),
        (_image(0.0, 0.08),),
    ),
    Case("many seeds", "fuse", ("scores 1.0 points higher",), (_image(0.01, 0.004, seeds=9),), first={"seeds": 9}),
    Case(
        "one seed",
        "cant_tell",
        (
            "Can't tell yet: each network was trained only once.",
            "scores 10.0 points higher than image alone",
            "not the luck of a single training",
            "At least 3 seeds would tell (--retrain-seeds 3).",
        ),
        (_image(0.1, 0.03, seeds=1),),
        first={"seeds": 1},
        never=("Fuse image",),
    ),
    Case(
        "one seed with a better row",
        "cant_tell",
        ("only once", "late fusion by 5.0 points"),
        (_image(0.1, seeds=1), _row("late", -0.05, seeds=1)),
        first={"seeds": 1},
    ),
    Case(
        "nothing found, nothing better",
        "dont_fuse",
        ("Don't fuse: nothing here predicts the target better than a constant answer.", "The best row scores about"),
        (_image(0.01), _sound(0.005), _row("late", 0.0)),
        NOTHING,
    ),
    Case(
        "nothing found, wide intervals",
        "cant_tell",
        ("Can't tell yet: so far nothing predicts the target better than a constant answer.", "More samples"),
        (_image(0.01, 0.1), _row("late", 0.0, 0.2)),
        NOTHING,
    ),
    Case(
        "nothing found but one modality is better",
        "dont_fuse",
        ("Don't fuse: sound alone is better.", "sound alone by 30.0 points"),
        (_image(0.0), _sound(-0.3), _row("late", -0.25)),
        NOTHING,
    ),
    Case(
        "nothing found but fusion is better",
        "fuse",
        ("Fuse image and sound: add them at the last layer (late fusion).",),
        (_image(0.0), _sound(-0.02), _row("late", -0.25)),
        NOTHING,
    ),
    Case(
        "nothing beats the most frequent class",
        "dont_fuse",
        (
            "nothing here predicts the target better than a constant answer",
            "81.0 % of the test samples are of one class, so that accuracy says little: consider --metric balanced_acc",
        ),
        (_image(0.0), _row("late", 0.01)),
        more=_counts((81, 0), (19, 0)),
    ),
    Case(
        "the most frequent class is common, and much more is known",
        "fuse",
        ("Fuse image and sound",),
        (_image(0.1), _row("late", 0.05)),
        more=_counts((77, 0), (23, 0)),
        never=("of one class",),
    ),
    Case(
        "another metric of the same samples",
        "fuse",
        ("Fuse image and sound", "scores 10.0 points higher"),
        (_image(0.1), _row("late", 0.05)),
        more={"metric": "balanced_accuracy", **_counts((81, 0), (19, 0))},
        never=("of one class",),
    ),
    Case(
        "an area under the curve beside that of chance",
        "dont_fuse",
        ("nothing here predicts the target better than a constant answer",),
        (replace(_image(0.3), difference=NO_GAP), replace(_row("late", 0.3), difference=NO_GAP)),
        more={"metric": "auroc"},
        first={"gap": 0.3},
    ),
    Case(
        "a loss is told by its name",
        "fuse",
        ("Fuse image and sound", "has a log loss that is 0.3 lower"),
        (_image(0.3, error=True), _row("late", 0.2, error=True)),
        more={"metric": "log_loss"},
        first={"error": True},
    ),
    Case(
        "something beats the most frequent class",
        "dont_fuse",
        ("Don't fuse: image alone is as good.",),
        (_image(0.0), _row("late", 0.01)),
        more=_counts((50, 10), (10, 30)),
    ),
    Case(
        "regression that fusion helps",
        "fuse",
        (
            "This has a mean absolute error that is 0.5 lower than sound alone, the best single modality "
            "(95 % interval 0.3 to 0.7)",
            "late fusion (0.01 lower",
        ),
        (_image(0.9, error=True), _sound(0.5, 0.2, error=True), _row("late", 0.01, error=True)),
        first={"error": True},
        more=_MAE,
    ),
    Case(
        "regression that fusion does not help",
        "dont_fuse",
        ("Don't fuse: image alone is as good.", "has about the same mean absolute error as image alone"),
        (_image(0.01, 0.05, error=True),),
        first={"error": True},
        more=_MAE,
    ),
    Case(
        "regression that is not measured",
        "cant_tell",
        ("mean absolute error that is 0.3 lower than image alone", "may be chance", "would tell"),
        (_image(0.3, 0.5, error=True),),
        first={"error": True},
        more=_MAE,
    ),
    Case(
        "regression with a better row",
        "fuse",
        ("Measurably better than the found network: early fusion by 0.4 (95 % interval 0.3 to 0.5).",),
        (_image(0.5, error=True), _row("early", -0.4, 0.1, error=True)),
        first={"error": True},
        more=_MAE,
    ),
    Case(
        "labels",
        "fuse",
        ("scores 10.0 points higher",),
        (_image(0.1),),
        more={"metric": "micro_f1"},
    ),
    Case(
        "a gate that pays",
        "fuse",
        (
            "Fuse image and sound and decide for every sample: use image alone or add them at the last layer.",
            "Deciding for every sample scores about the same as the same network without a gate",
            "at half of its multiply-adds",
        ),
        (_image(0.1), _row("static", 0.0, cost=2000)),
        GATE,
    ),
    Case(
        "a cascade that costs accuracy",
        "fuse",
        (
            "Fuse image and sound step by step",
            "Deciding for every sample scores 4.0 points lower than the same network without a cascade (95 % interval "
            "3.0 to 5.0), at half of its multiply-adds.",
        ),
        (_image(0.1), _row("static", -0.04, cost=2000)),
        CASCADE,
    ),
    Case(
        "a cascade",
        "fuse",
        ("Fuse image and sound step by step: use image alone; if unsure, add them at the last layer.",),
        (_image(0.1),),
        CASCADE,
    ),
    Case(
        "no gate was taken",
        "fuse",
        ("Nothing is decided per sample: no cheaper route was worth having.",),
        (_image(0.1),),
        more={
            "search": make_search(
                DEPTHS,
                gated=GateTrial(
                    taken=False,
                    tried=(),
                    in_words="Nothing is decided per sample: no cheaper route was worth having.",
                ),
            )
        },
    ),
    Case(
        "interaction that pays",
        "fuse",
        ("2.0 points of its accuracy come from interaction between modalities, which no sum can give.",),
        (_image(0.1),),
        more=_emap(0.02, 0.01),
    ),
    Case(
        "interaction that does not pay",
        "fuse",
        ("The gain does not come from interaction: a sum over modalities would do about as well.",),
        (_image(0.1),),
        more=_emap(0.002, 0.01),
        never=("come from interaction between",),
    ),
    Case(
        "no gain is sure, and interaction makes none",
        "cant_tell",
        ("Nothing of the score seems to come from interaction: a sum over modalities would do about as well.",),
        (_image(0.04, 0.05),),
        more=_emap(0.002, 0.01),
        never=("The gain",),
    ),
    Case(
        "interaction that harms",
        "fuse",
        ("Interaction between modalities does harm",),
        (_image(0.1),),
        more=_emap(-0.1, 0.01),
    ),
    Case(
        "several searches",
        "fuse",
        (
            "5 searches proposed 3 different architectures; 4 of them fuse.",
            "Over these searches, what each proposed scores 2.0 points higher than late fusion",
        ),
        (_image(0.1),),
        more=_searches(5, 3, {"0": 1, "1": 4, "2": 0, "3": 0}, Interval(0.02, 0.01, 0.03)),
    ),
    Case(
        "the sum of single networks won",
        "fuse",
        (
            "Fuse image and sound: train a network on each alone and add their answers.",
            "This scores 10.0 points higher than image alone",
            "The sum of single networks won the tournament of proposals and baselines: on held-out samples, the "
            "search's own choice (multiply image and sound at the middle layer) is 1.3 standard errors behind it.",
            "On the test split, the search's own choice scores 1.0 points lower than the found network, but that",
            "This is late fusion whose networks are trained alone.",
            "The found network scores 3.0 points higher than late fusion trained as one network",
        ),
        (_own(), _image(0.1), _sum(), _row("late", 0.03)),
        LATE,
        first={"separate": True},
        more=_won("sum of single networks"),
        never=("plain late", "scores the same", "sum of single networks scores", "last layer"),
    ),
    Case(
        "a sum won that is no better than one modality",
        "dont_fuse",
        ("The found network (image and sound, each trained alone, their answers added) scores about the same as",),
        (_own(), _image(0.005), _sum(), _row("late", 0.03)),
        LATE,
        first={"separate": True},
        more=_won("sum of single networks"),
        never=("last layer",),
    ),
    Case(
        "late fusion won",
        "fuse",
        (
            "Fuse image and sound: add them at the last layer.",
            "Late fusion won the tournament of proposals and baselines: on held-out samples, the search's own choice",
            "On the test split, the search's own choice scores 1.0 points lower than the found network",
            "No other row of the leaderboard scores higher.",
        ),
        (_own(), _image(0.1), _row("late", 0, 0)),
        LATE,
        more=_won("late fusion"),
        never=("plain late", "than late fusion", "as late fusion"),
    ),
    Case(
        "late fusion won although it was level",
        "fuse",
        ("on held-out samples, the search's own choice (multiply image and sound at the middle layer) is about level",),
        (_own(), _image(0.1), _row("late", 0, 0)),
        LATE,
        more=_won("late fusion", errors_behind=0.0),
        never=("0.0 standard errors",),
    ),
    Case(
        "one modality at a shallow layer won",
        "dont_fuse",
        (
            "Don't fuse: image alone (first layer) is as good.",
            "Image alone won the tournament of proposals and baselines",
            "On the test split, the search's own choice scores 1.0 points lower than the found network",
        ),
        (
            _own(),
            _row("modality", 0, 0, name="image", architecture=SHALLOW),
            _sound(0.2),
            _row("late", 0, 0.01, merit=2),
        ),
        SHALLOW,
        more=_won("image"),
        never=("scores the same as image alone", "as the found network (0.0"),
    ),
    Case(
        "an operation won",
        "fuse",
        (
            "Fuse image and sound: multiply them at the middle layer.",
            "A single operation (multiplicative) won the tournament of proposals and baselines: on held-out samples, "
            "the search's own choice (join image and sound in a small network (MLP) at the first layer) is 1.3",
            "The found network scores 3.0 points higher than late fusion",
        ),
        (
            _own(0.01, 0.02, EARLY),
            _image(0.1),
            _row("late", 0.03),
            _row("operation", 0, 0, name="multiplicative", architecture=TIMES),
        ),
        more=_won("multiplicative", EARLY),
        never=("as multiplicative", "than multiplicative"),
    ),
    Case(
        "what the search chose is measurably better on the test split",
        "fuse",
        (
            "Fuse image and sound: multiply them at the middle layer (the search's own choice).",
            "Measurably better than the found network: the search's own choice by 3.0 points",
            "Late fusion won the tournament",
        ),
        (_own(-0.03, 0.01), _image(0.1), _row("late", 0, 0)),
        LATE,
        more=_won("late fusion"),
        never=("On the test split, the", "has the best score", "plain late", "than late fusion"),
    ),
    Case(
        "what the search chose has the best score by chance",
        "fuse",
        ("On the test split, the search's own choice scores 1.0 points higher than the found network, but that",),
        (_own(-0.01, 0.06), _image(0.1), _row("late", 0, 0)),
        LATE,
        more=_won("late fusion"),
        never=("has the best score", "No other row"),
    ),
    Case(
        "the simplest won",
        "fuse",
        (
            "Late fusion won the tournament of proposals and baselines: it is the simplest row within one standard "
            "error of the best on held-out samples.",
        ),
        (_own(-0.01, 0.06), _image(0.1), _row("late", 0, 0)),
        LATE,
        more=_won("late fusion", prefer="simplicity"),
        never=("behind it",),
    ),
    Case(
        "the search's own choice was late fusion, which is not compared twice",
        "fuse",
        (
            "the search's own choice (add image and sound at the last layer) is 1.3 standard errors behind it",
            "On the test split, the search's own choice, late fusion, scores 3.0 points lower than the found",
        ),
        (
            _own(0.03, 0.01, LATE),
            _image(0.1),
            _row("late", 0.03),
            _row("operation", 0, 0, name="x", architecture=TIMES),
        ),
        more=_won("x", LATE),
        never=("higher than late fusion",),
    ),
    Case(
        "a favourite of the supernet won",
        "fuse",
        ("The favourite of the supernet won the tournament", "the search's own choice (use image alone)"),
        (_own(0.01, 0.02, IMAGE), _image(0.1), _row("late", 0.03)),
        more=_won("favourite of the supernet", IMAGE),
    ),
    Case(
        "a favourite of the supernet lost",
        "fuse",
        ("The favourite of the supernet has the best score", "The found network scores 3.0 points higher than late"),
        (_image(0.1), _row("late", 0.03), _row("proposal", -0.01, 0.02, name="favourite of the supernet")),
        more=_won("found"),
        never=("own choice", "tournament"),
    ),
    Case(
        "the search found nothing, and late fusion won",
        "fuse",
        ("Late fusion won the tournament of proposals and baselines: the search itself found nothing better than",),
        (_own(0.3, 0.02, NOTHING), _image(0.1), _row("late", 0, 0)),
        LATE,
        more=_won("late fusion", NOTHING),
        never=("standard errors",),
    ),
    Case(
        "the search's own choice fuses, one modality won, and nothing is said twice",
        "dont_fuse",
        ("The search's own choice (multiply image and sound at the middle layer) scores about the same as",),
        (_own(0.005, 0.01, merit=2), _image(0, 0), _sound(0.2), _row("late", 0.03)),
        IMAGE,
        more=_won("image"),
        never=("On the test split",),
    ),
    Case(
        "the search's own choice won",
        "fuse",
        ("This is plain late fusion.",),
        (_image(0.1), _row("late", 0, 0)),
        LATE,
        more=_won("found", LATE),
        never=("tournament",),
    ),
    Case(
        "retrained under another objective, the winner is no copy any more",
        "fuse",
        ("The found network scores 2.0 points higher than late fusion",),
        (_own(), _image(0.1), _row("late", 0.02)),
        LATE,
        more=_won("late fusion"),
        never=("plain late",),
    ),
    Case(
        "several searches and a tournament",
        "fuse",
        ("3 searches proposed the same architecture; 3 of them fuse.", "Late fusion won the tournament"),
        (_own(), _image(0.1), _row("late", 0, 0)),
        LATE,
        more={**_won("late fusion"), **_searches(3, 1, {"0": 0, "2": 3})},
        never=("searches found",),
    ),
    Case("no single modality was trained", "cant_tell", ("no single modality was trained",), (_row("late", 0.1),)),
    Case("no fusion was trained", "cant_tell", ("no fusion was trained",), (_image(0, 0), _sound(0.1)), IMAGE),
)


def _told(case: Case) -> tuple[Verdict, str]:
    first = _row("found", architecture=case.found, **case.first)
    found = verdict(_summary([first, *case.rows], case.found, **case.more), OPERATIONS)
    return found, " ".join(found.lines())


RAW = re.compile(r"fusion\d|\w@\d|(?<!--metric balanced)_|\bdont\b")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_leaderboard_has_one_answer(case: Case) -> None:
    told, text = _told(case)
    assert told.answer == case.answer, text
    for words in case.says:
        assert words in text
    for words in case.never:
        assert words not in text
    assert not RAW.search(text)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 40
    assert len({case.name for case in CASES}) == len(CASES)


_GAPS = st.one_of(st.floats(-0.5, 0.5), st.sampled_from([0.0, 0.02, -0.02, 0.3, -0.3]))
_MARGINS = st.one_of(st.just(0.0), st.floats(0.001, 0.4))


@st.composite
def _boards(draw: st.DrawFn) -> tuple[Summary, list[Row]]:
    """A summary and its rows, of any mixture."""
    error, seeds = draw(st.booleans()), draw(st.integers(1, 4))
    found = draw(st.sampled_from([NOTHING, IMAGE, SOUND, LATE, EARLY, TIMES, GATE, CASCADE]))
    kinds: list[tuple[RowKind, str, Architecture]] = [
        ("modality", "image", IMAGE),
        ("modality", "sound", SOUND),
        ("late", "late fusion", LATE),
        ("early", "early fusion", EARLY),
        ("operation", "soft_gate", LATE),
        ("sum", "sum of single networks", LATE),
        ("transformer", "late-fusion transformer", EARLY),
        ("random", "random search", TIMES),
        ("proposal", DEPOSED, EARLY),
        ("proposal", "favourite of the supernet", TIMES),
        ("control", "gradient boosting", EARLY),
    ]
    options: dict[str, Any] = {"seeds": seeds, "error": error}
    others = draw(st.lists(st.sampled_from(kinds), unique_by=lambda one: one[1]))
    winner = draw(st.sampled_from([None, *(one for one in others if one[0] not in ("random", "proposal", "control"))]))
    found = found if winner is None else winner[2]
    separate = winner is not None and winner[0] == "sum"
    rows = [_row("found", architecture=found, apart=draw(st.floats(0, 0.2)), separate=separate, **options)]
    for kind, name, architecture in others:
        told: dict[str, Any] = {
            "cost": draw(st.integers(1, 10**6)),
            "merit": draw(st.floats(0, 1)),
            "separate": kind == "sum",
        }
        is_winner = winner is not None and name == winner[1]
        gap, margin = (0.0, 0.0) if is_winner else (draw(_GAPS), draw(_MARGINS))
        rows.append(_row(kind, gap, margin, name=name, architecture=architecture, **told, **options))
    more = dict(_MAE) if error else {}
    if winner is not None:
        prefer = draw(st.sampled_from(["accuracy", "simplicity"]))
        more |= _won(winner[1], EARLY, errors_behind=draw(st.floats(-1, 5)), prefer=prefer)
    return _summary(rows, found, **more, **_emap(draw(_GAPS), draw(_MARGINS))), rows


def _label(name: str, kind: str) -> str:
    own = "the search's own choice" if name == DEPOSED else name.replace("_", " ")
    return f"{name} alone" if kind == "modality" else own


@settings(max_examples=300, deadline=None)
@given(_boards())
def test_no_leaderboard_makes_it_contradict_itself(board: tuple[Summary, list[Row]]) -> None:
    summary, rows = board
    found = verdict(summary, OPERATIONS)
    text = " ".join(found.lines())
    begins = {"fuse": "Fuse ", "dont_fuse": "Don't fuse: ", "cant_tell": "Can't tell "}
    for answer, words in begins.items():
        assert (words in text) == (answer == found.answer), text
    assert not RAW.search(text), text
    others = rows[1:]
    better = {row.name: row.kind for row in others if known(row.difference).high < 0}
    assert len(set(found.lines())) == len(found.lines()), text
    copies = [_label(row.name, row.kind) for row in others if summary.is_found_again(row)]
    for copy in copies:  # what was found is not compared with itself; that it is one modality alone may be said
        assert not re.search(rf"(than|as) {re.escape(copy)}[ ,.]|{re.escape(copy)} by ", text) or "alone" in copy, text
    assert {row.name for row in found.better_rows} == set(better)
    for name, kind in better.items():
        label = _label(name, kind)
        assert label.lower() in text.lower(), text
        words = f"{label} on all inputs, no network," if kind == "control" else f"{label} by "
        assert words.lower() in text.lower() or name == found.against, text
    kinds = {row.name: row.kind for row in rows}
    assert kinds.get(found.recommended) not in CONTROLS
    assert kinds[found.best_row] not in CONTROLS
    if found.answer == "fuse":
        assert found.gain is not None
        assert found.gain.low > 0
        # Of the rows that may be the answer none is measurably better than the one that is described.
        assert not better or found.recommended in better or set(better.values()) <= CONTROLS
    if len(rows[0].scores) == 1:
        assert found.answer == "cant_tell"
    assert len(found.headline) < 250


def test_the_answer_is_the_first_thing_on_the_page(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    page = report(tmp_path).read_text()
    told = known(summary.verdict)
    headline, first = told.headline, told.sentences[0]
    body = page[page.index("<h1>") :]
    assert body.startswith(f"<h1>{headline}</h1>")
    assert body.index(first) < body.index('<dl class="facts">') < body.index("The found network</h2>")


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        (NOTHING, "use nothing"),
        (IMAGE, "use image alone"),
        (_architecture(Choice("carry", ("image@0",))), "use image alone (first layer)"),
        (LATE, "add image and sound at the last layer"),
        (TIMES, "multiply image and sound at the middle layer"),
        (
            _architecture(Choice("carry", ("image@0",)), NONE, Choice("carry", ("sound@2",))),
            "add image (first layer) and sound (last layer)",
        ),
        (
            _architecture(Choice("multiplicative", ("image@0", "sound@0")), NONE, Choice("carry", ("sound@2",))),
            "multiply image and sound at the first layer, then add sound at the last layer",
        ),
        (
            _architecture(Choice("carry", ("image@0",)), Choice("mlp", ("fusion0", "sound@1"))),
            "take image at the first layer, then join the result and sound in a small network (MLP) at the middle "
            "layer",
        ),
        (
            _architecture(Choice("modality_shift", ("sound@2", "image@0"))),
            "shift sound by image (sound at the last layer, image at the first layer)",
        ),
        (
            _architecture(Choice("my_own", ("image@2", "sound@2"))),
            "combine image and sound by my own at the last layer",
        ),
    ],
)
def test_an_architecture_is_told_as_an_instruction(architecture: Architecture, words: str) -> None:
    assert how_in_words(architecture, DEPTHS, PHRASES) == words


def test_steps_that_read_steps_are_told_by_their_results() -> None:
    space = graph({"image": 3, "sound": 3})
    chain = space.compose(
        {
            "step1": Choice("multiplicative", ("image@0", "sound@2")),
            "step2": Choice("mlp_block", ("step1",)),
            "final": Choice("mlp", ("sound@0", "step1", "step2")),
        }
    )
    assert how_in_words(chain, DEPTHS, PHRASES) == (
        "multiply image and sound (image at the first layer, sound at the last layer), then "
        "pass the result through a residual MLP block, then "
        "join sound, the result of step 1 and the result of step 2 in a small network (MLP) at the first layer"
    )


def test_many_modalities_routes_and_steps_are_summed_up() -> None:
    names = [f"m{i}" for i in range(9)]
    assert modalities_in_words(names) == "9 modalities"
    assert modalities_in_words(names[:3]) == "m0, m1 and m2"
    steps = Architecture.chain("x", tuple((f"fusion{i}", Choice("additive", ("a@0", "b@0"))) for i in range(9)))
    told = how_in_words(steps, {"a": 1, "b": 1}, PHRASES)
    assert told == "add a and b, then add a and b, then add a and b, then add a and b, then 5 more steps"
    layers = [Choice("carry", (f"a@{depth}",)) for depth in range(6)]
    routes = [Architecture.chain("x", (("fusion0", layer),)) for layer in layers]
    gated = Architecture.gated(routes, ["a@0"])
    assert how_in_words(gated, {"a": 6}, PHRASES).endswith("(layer 3 of 0 to 5) or one of 2 more routes")
