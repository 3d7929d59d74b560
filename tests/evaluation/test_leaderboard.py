"""The leaderboard from made-up outputs, and the sentences that it comes to."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from nas.evaluation.leaderboard import leaderboard
from nas.network.fusion_network import FusionNetwork
from nas.records import plain
from nas.retraining.baselines import Contestant
from nas.retraining.retrain import Entry, Judged
from nas.space.architecture import Architecture, Choice
from nas.statistics import Interval, amount
from nas.summary import RowKind
from search_spaces import layerwise

_SPACE = layerwise({"image": 2, "sound": 2})


def _architecture(shallow: Choice, deep: Choice) -> Architecture:
    return Architecture.chain("layerwise", (("fusion0", shallow), ("fusion1", deep)))


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
    assert plain(image)["difference"] == plain(image.difference)
    assert plain(found)["difference"] is None
    assert Architecture.from_dict(plain(found)["architecture"]) == _TIMES


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


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ("accuracy", "12.3 ± 4.0 points"),
        ("micro_f1", "12.3 ± 4.0 points"),
        ("mae", "0.123 ± 0.04 of mean absolute error"),
        ("log_loss", "0.123 ± 0.04 of log loss"),
    ],
)
def test_an_amount_has_the_unit_of_the_metric(metric: str, text: str) -> None:
    assert amount(metric, Interval(0.123, 0.083, 0.163)) == text
