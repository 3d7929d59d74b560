"""The leaderboard from made-up outputs, and the sentences that it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from nas.architecture import Architecture, Choice
from nas.baselines import Contestant, RowKind
from nas.data.fusion_data import Task
from nas.evaluate import Row, best_row, leaderboard, verdict
from nas.graph import FusionNetwork
from nas.retrain import Entry, Judged
from nas.space import SearchSpace
from nas.statistics import Interval, amount
from search_spaces import layerwise

_SPACE = layerwise({"image": 2, "sound": 2})


def _architecture(shallow: Choice, deep: Choice) -> Architecture:
    return Architecture("layerwise", (("fusion0", shallow), ("fusion1", deep)))


_NONE = Choice("none")
_IMAGE = _architecture(_NONE, Choice("carry", ("image@1",)))
_SOUND = _architecture(_NONE, Choice("carry", ("sound@1",)))
_LATE = _architecture(_NONE, Choice("additive", ("image@1", "sound@1")))
_TIMES = _architecture(_NONE, Choice("multiplicative", ("image@1", "sound@1")))


def _judged(
    name: str,
    kind: RowKind,
    outputs: NDArray[np.float32],
    *,
    architecture: Architecture = _LATE,
    architecture_score: float = 0.5,
    cost: int = 10,
    seed: int = 0,
) -> Judged:
    entry = Entry(
        contestant=Contestant(name, kind, None if kind == "random" else architecture),
        seed=seed,
        architecture=architecture,
        network=cast(FusionNetwork, None),
        architecture_score=architecture_score,
        train_seconds=float(cost),
        full_length_seconds=float(cost),
    )
    return Judged(entry=entry, outputs=outputs, parameters=cost, multiply_adds=2 * cost)


def _answers(right: int, of: int, *, first: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits of two classes that are right for so many samples in a row, and the targets."""
    targets = np.arange(of) % 2
    correct = (np.arange(of) >= first) & (np.arange(of) < first + right)
    return np.eye(2, dtype=np.float32)[np.where(correct, targets, 1 - targets)], targets


def test_a_row_tells_scores_differences_and_costs() -> None:
    (outputs_a, targets), (outputs_b, _) = _answers(6, 8), _answers(4, 8)
    rows = leaderboard(
        "classification",
        [
            [
                _judged("found", "found", outputs_a, architecture=_TIMES, architecture_score=0.7, cost=10),
                _judged("image", "modality", outputs_b, architecture=_IMAGE, architecture_score=0.6, cost=4),
            ],
            [
                _judged("found", "found", outputs_b, architecture=_TIMES, architecture_score=0.8, cost=13, seed=1),
                _judged("image", "modality", outputs_b, architecture=_IMAGE, architecture_score=0.4, cost=4, seed=1),
            ],
        ],
        targets,
    )
    found, image = rows
    assert (found.name, found.kind, found.architecture) == ("found", "found", _TIMES)
    assert found.scores == found.metrics["accuracy"] == (6 / 8, 4 / 8)
    assert found.score.mean == pytest.approx(5 / 8)
    assert found.score.low < 5 / 8 < found.score.high
    assert found.difference is None
    assert found.architecture_score == pytest.approx(0.75)
    assert (found.parameters, found.multiply_adds, found.train_seconds) == (12, 23, 11.5)  # 11.5 goes to the even 12
    assert image.difference is not None
    assert image.difference.mean == pytest.approx(1 / 8)  # how much better the found one is
    # 4 of 8 right and wrong in both classes: every class has precision and recall of one half.
    assert image.metrics["macro_f1"] == pytest.approx((1 / 2, 1 / 2))
    assert image.to_dict()["difference"] == image.difference.to_dict()
    assert found.to_dict()["difference"] is None
    assert Architecture.from_dict(found.to_dict()["architecture"]) == _TIMES


def test_an_error_is_better_when_it_is_lower() -> None:
    targets = np.zeros((6, 1), dtype=np.float32)
    rows = leaderboard(
        "regression",
        [[_judged("found", "found", targets + 1), _judged("image", "modality", targets + 3)]],
        targets,
    )
    assert [row.score.mean for row in rows] == [1, 3]
    assert rows[1].difference == Interval(2, 2, 2)
    assert set(rows[0].metrics) == {"mae", "r2"}


def test_rows_must_be_the_same_for_every_seed() -> None:
    outputs, targets = _answers(4, 8)
    one = _judged("found", "found", outputs)
    with pytest.raises(ValueError, match="zip"):
        leaderboard("classification", [[one, one], [one]], targets)


def _row(
    kind: RowKind,
    *,
    name: str | None = None,
    architecture: Architecture = _LATE,
    gap: float = 0.0,
    margin: float = 0.01,
    score: float = 0.5,
    architecture_score: float = 0.5,
) -> Row:
    """A row that the found architecture beats by a gap on the test split."""
    return Row(
        name=name or kind,
        kind=kind,
        architecture=architecture,
        score=Interval(score, score, score),
        scores=(score,),
        metrics={},
        difference=None if kind == "found" else Interval(gap, gap - margin, gap + margin),
        architecture_score=architecture_score,
        parameters=1,
        multiply_adds=1,
        train_seconds=1.0,
    )


def test_the_best_row_is_chosen_by_the_architecture_split_never_by_the_test_split() -> None:
    rows = [
        _row("found", architecture_score=0.99),
        _row("modality", name="image", score=0.9, architecture_score=0.6),
        _row("modality", name="sound", score=0.1, architecture_score=0.7),
    ]
    best = best_row(rows, "modality", higher_is_better=True)
    assert best is not None
    assert best.name == "sound"
    best = best_row(rows, "modality", higher_is_better=False)
    assert best is not None
    assert best.name == "image"
    assert best_row(rows, "early", higher_is_better=True) is None


def _verdict(
    found: Architecture, *others: Row, task: Task = "classification", space: SearchSpace = _SPACE
) -> list[str]:
    return verdict(space, task, [_row("found", architecture=found), *others])


def test_fusion_that_helps() -> None:
    sentences = _verdict(
        _TIMES,
        _row("modality", name="image", architecture=_IMAGE, gap=0.2, architecture_score=0.6),
        _row("modality", name="sound", architecture=_SOUND, gap=0.1, margin=0.02, architecture_score=0.7),
        _row("late", gap=0.031, margin=0.004),
        _row("early", gap=0.4),
        _row("operation", name="mlp", architecture=_SOUND, gap=0.05, margin=0.01),
        _row("random", gap=0.02, margin=0.01),
    )
    assert sentences == [
        "Fuse image × sound at depth 1: fusion adds 10.0 ± 2.0 points over sound alone, the best single modality.",
        "Multiplicative interaction adds 3.1 ± 0.4 points over late fusion.",
        "The found architecture adds 5.0 ± 1.0 points over the best single operation (mlp).",
        "The found architecture adds 2.0 ± 1.0 points over random search of 3 trainings.",
    ]


def test_fusion_that_does_nothing_and_fusion_that_harms() -> None:
    sentences = _verdict(
        _TIMES,
        _row("modality", name="image", gap=0.01, margin=0.01),
        _row("late", gap=-0.03, margin=0.01),
        _row("random", gap=-0.0001, margin=0.01),
    )
    assert sentences == [
        "Fuse image × sound at depth 1: fusion adds nothing measurable over image alone, the best single modality "
        "(1.0 ± 1.0 points).",
        "Multiplicative interaction loses 3.0 ± 1.0 points against late fusion.",
        "The found architecture adds nothing measurable over random search of 3 trainings (0.0 ± 1.0 points).",
    ]


def test_a_single_modality_that_was_found() -> None:
    sentences = _verdict(
        _SOUND,
        _row("modality", name="sound", architecture=_SOUND, gap=0, margin=0),
        _row("late", gap=0.02, margin=0.01),
    )
    assert sentences == [
        "Do not fuse, use sound alone: the search adds nothing measurable over sound alone, the best single modality "
        "(0.0 ± 0.0 points).",
        "A single modality adds 2.0 ± 1.0 points over late fusion.",
    ]


def test_nothing_that_was_found() -> None:
    sentences = _verdict(_architecture(_NONE, _NONE), _row("modality", name="sound", gap=-0.3, margin=0.1))
    assert sentences == [
        "Nothing here predicts the target: the search loses 30.0 ± 10.0 points against sound alone, the best single "
        "modality."
    ]


def test_late_fusion_that_was_found() -> None:
    sentences = _verdict(_LATE, _row("modality", name="image", gap=0.1), _row("late", architecture=_LATE))
    assert sentences == [
        "Fuse image + sound at depth 1: fusion adds 10.0 ± 1.0 points over image alone, the best single modality.",
        "The found architecture is plain late fusion.",
    ]


def test_a_single_operation_that_was_found_is_not_compared_with_itself() -> None:
    sentences = _verdict(_TIMES, _row("operation", name="multiplicative", architecture=_TIMES))
    assert sentences == []


@pytest.mark.parametrize(
    ("reads", "headline", "who"),
    [
        (["image@0"], "Decide for every sample: image alone at depth 1, or image + sound at depth 1: ", "gate"),
        (
            [],
            "For every sample, until the answer is sure: image alone at depth 1; else image + sound at depth 1: ",
            "cascade",
        ),
    ],
)
def test_what_decides_per_sample_is_named(reads: list[str], headline: str, who: str) -> None:
    dynamic = Architecture.gated([_IMAGE, _LATE], reads)
    static = _row("static", gap=-0.02)
    first, second = _verdict(dynamic, _row("modality", name="image", gap=0.1), static)
    assert first.startswith(headline)
    assert second == f"The {who} loses 2.0 ± 1.0 points against the same without a {who}."


def test_several_steps_are_told_in_order() -> None:
    both = _architecture(Choice("mlp", ("image@0", "sound@0")), Choice("carry", ("sound@1",)))
    sentences = _verdict(both, _row("modality", name="image", gap=0.1), _row("late", gap=0.1))
    assert sentences[0].startswith("Fuse mlp(image, sound) at depth 0, then sound alone at depth 1: fusion adds")
    assert sentences[1].startswith("Nonlinear interaction adds")


def test_two_modalities_carried_at_two_depths_are_fused_by_addition() -> None:
    apart = _architecture(Choice("carry", ("image@0",)), Choice("carry", ("sound@1",)))
    sentences = _verdict(apart, _row("modality", name="image", gap=0.1), _row("late", gap=0.1))
    assert sentences[0].startswith("Fuse image alone at depth 0, then sound alone at depth 1: fusion adds")
    assert sentences[1].startswith("Fusing at these depths adds")


def test_fewer_modalities_added_at_the_end_are_not_said_to_be_elsewhere() -> None:
    space = layerwise({"image": 1, "sound": 1, "touch": 1})
    pair, late = (
        Architecture("layerwise", (("fusion0", Choice("additive", inputs)),))
        for inputs in (("image@0", "sound@0"), ("image@0", "sound@0", "touch@0"))
    )
    sentences = _verdict(pair, _row("late", architecture=late, gap=0.1), space=space)
    assert sentences == ["Fusing at these depths adds 10.0 ± 1.0 points over late fusion."]


def test_an_error_that_falls_is_saved_and_one_that_rises_costs() -> None:
    sentences = _verdict(
        _TIMES,
        _row("modality", name="image", gap=1.234, margin=0.5, architecture_score=2.0),
        _row("modality", name="sound", gap=9.0, architecture_score=3.0),  # a higher error: not the best
        _row("late", gap=-0.5, margin=0.1),
        _row("random", gap=0.0, margin=0.1),
        task="regression",
    )
    assert sentences == [
        "Fuse image × sound at depth 1: fusion saves 1.23 ± 0.5 of mean absolute error over image alone, the best "
        "single modality.",
        "Multiplicative interaction costs 0.5 ± 0.1 of mean absolute error against late fusion.",
        "The found architecture adds nothing measurable over random search of 3 trainings "
        "(0 ± 0.1 of mean absolute error).",
    ]


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("classification", "12.3 ± 4.0 points"),
        ("multilabel", "12.3 ± 4.0 points"),
        ("regression", "0.123 ± 0.04 of mean absolute error"),
    ],
)
def test_an_amount_has_the_unit_of_the_task(task: Task, text: str) -> None:
    assert amount(task, Interval(0.123, 0.083, 0.163)) == text


def _whole(shuffled: Sequence[int]) -> tuple[list[str], list[Any]]:
    """Verdict and rows of made-up outputs, the test targets taken in some order."""
    (found, targets), (image, _), (sound, _) = _answers(90, 100), _answers(60, 100), _answers(55, 100, first=45)
    judged = [
        [
            _judged("found", "found", found, architecture=_TIMES, architecture_score=0.9, seed=seed),
            _judged("image", "modality", image, architecture=_IMAGE, architecture_score=0.6, seed=seed),
            _judged("sound", "modality", sound, architecture=_SOUND, architecture_score=0.7, seed=seed),
            _judged("late fusion", "late", found, architecture=_LATE, architecture_score=0.8, seed=seed),
        ]
        for seed in range(3)
    ]
    rows = leaderboard("classification", judged, targets[list(shuffled)])
    return verdict(_SPACE, "classification", rows), rows


def test_the_words_follow_from_the_outputs() -> None:
    sentences, rows = _whole(range(100))
    # The found one is right for the first 90 of 100, sound for the last 55.
    assert rows[2].difference.mean == pytest.approx(0.35)
    margin = 100 * rows[2].difference.margin
    assert sentences == [
        f"Fuse image × sound at depth 1: fusion adds 35.0 ± {margin:.1f} points over sound alone, the best single "
        "modality.",
        "Multiplicative interaction adds nothing measurable over late fusion (0.0 ± 0.0 points).",
    ]
    # Of 100 paired differences 45 are +1, 10 are −1: a variance of 0.55 − 0.35², and 9 % for a thousand resamples.
    assert margin == pytest.approx(1.98 * 100 * ((0.55 - 0.35**2) / 100) ** 0.5, rel=0.09)


def test_other_targets_of_the_test_split_change_numbers_but_no_choice() -> None:
    there, back = _whole(range(100)), _whole([*range(1, 100), 0])  # every answer that was right is wrong
    assert there[1][0].score.mean == pytest.approx(1 - back[1][0].score.mean)
    assert [row.architecture for row in there[1]] == [row.architecture for row in back[1]]
    assert "fusion loses 35.0" in back[0][0]
    assert "sound alone, the best single modality" in there[0][0]
    assert "sound alone, the best single modality" in back[0][0]
