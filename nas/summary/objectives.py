"""Training objectives: what suits the found architecture, and what came of those that were tried."""

from __future__ import annotations

from dataclasses import dataclass, field

from nas.records import inline
from nas.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One thing to try.

    Attributes:
        objective: As it is asked for, such as "rubi:words".
        because: What was found, as a clause.
        in_words: Such as "audio overfits 2.4 times as fast as image: try --objective gradient_blending".
    """

    objective: str
    because: str
    in_words: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_words", f"{self.because}: try --objective {self.objective}")


@dataclass(frozen=True, kw_only=True)
class TriedObjective:
    """The found architecture, trained by one objective.

    Attributes:
        objective: As it is asked for; empty for plain training.
        architecture_score: Mean of the metric on the architecture split.
        score: Mean of the metric over seeds on the test split, with its 95 % interval.
        difference: How much better it is than plain training, paired; None for that itself.
        train_seconds: Mean over seeds.
    """

    objective: str
    architecture_score: float
    score: Interval = inline()
    difference: Interval | None
    train_seconds: float


@dataclass(frozen=True, kw_only=True)
class Objectives:
    """All that were tried.

    Attributes:
        chosen: The best one on the architecture split; empty for plain training.
        tried: Plain training first.
        left_out: For want of time.
    """

    chosen: str
    tried: tuple[TriedObjective, ...]
    left_out: tuple[str, ...]
