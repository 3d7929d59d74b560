"""The leaderboard: what was trained and judged, the network that was found first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from nas.fields import AMOUNT, Whole
from nas.records import checked, inline
from nas.space.architecture import Architecture
from nas.statistics import Interval

RowKind = Literal[
    "found",
    "refit",
    "ensemble",
    "static",
    "proposal",
    "modality",
    "sum",
    "late",
    "transformer",
    "early",
    "operation",
    "control",
    "random",
]
"""What a row stands for, in the order in which a report shows them."""

ROW_KINDS: tuple[str, ...] = get_args(RowKind)

COUNT = Whole(0, 2**62)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the leaderboard.

    Attributes:
        name: For people.
        kind: What it stands for.
        in_words: The architecture in words.
        score: Mean of the metric over seeds on the test split, with its 95 % interval.
        scores: One per seed.
        metrics: The metric and the one that is told beside it, one value per seed.
        difference: How much better the found architecture is, paired, whether or not a higher score is the better one;
            None for the found one itself.
        architecture_score: Mean of the metric on the architecture split, by which rows are chosen.
        parameters: Of the whole network, mean over seeds; None if it is no network.
        multiply_adds: Per sample, likewise.
        train_seconds: Mean over seeds.
        architecture: What was trained; for random search that of the first seed; None if it is no network.
        separate: Whether its weights come from networks that were trained on one modality each.
    """

    name: str
    kind: RowKind
    in_words: str
    score: Interval = inline()
    scores: tuple[float, ...] = checked(fewest=1)
    metrics: Mapping[str, tuple[float, ...]]
    difference: Interval | None
    architecture_score: float
    parameters: int | None = checked(COUNT)
    multiply_adds: int | None = checked(COUNT)
    train_seconds: float = checked(AMOUNT)
    architecture: Architecture | None
    separate: bool = False

    @property
    def read(self) -> tuple[str, ...] | None:
        """The modalities that it reads; None where that is not one answer: random search has one for every seed."""
        return None if self.architecture is None or self.kind == "random" else self.architecture.modalities()

    @property
    def fuses(self) -> bool:
        """Whether it reads two modalities or more; what is not known is taken to."""
        return self.read is None or len(self.read) > 1

    @property
    def is_control(self) -> bool:
        """Random search and what is no network may be better, but they are never the answer."""
        return self.kind in ("random", "control")

    @property
    def is_helped(self) -> bool:
        """Whether it has more samples or more networks than the others, so that its gain says nothing about fusion."""
        return self.kind in ("refit", "ensemble")

    @property
    def known_difference(self) -> Interval | None:
        """The difference, or None if its interval is undefined, for then nothing can be said."""
        return self.difference if self.difference and self.difference.is_known else None


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Multiply-adds of the found network for one sample.

    Attributes:
        encoders: Tap to those of its encoder up to there.
        nodes: Fusion node to those of its operation.
        head: Of the head.
    """

    encoders: Mapping[str, int] = checked(COUNT)
    nodes: Mapping[str, int] = checked(COUNT)
    head: int = checked(COUNT)
