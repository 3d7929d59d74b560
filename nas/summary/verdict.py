"""The verdict: fuse, don't fuse or can't tell yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nas.statistics import Interval

Answer = Literal["fuse", "dont_fuse", "cant_tell"]


@dataclass(frozen=True, kw_only=True)
class BetterRow:
    """A row that is measurably better than the found architecture.

    Attributes:
        name: Of the row.
        difference: How much better the found architecture is, a negative number.
    """

    name: str
    difference: Interval


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a run says to whoever started it.

    Attributes:
        answer: "fuse", "dont_fuse" or "cant_tell".
        headline: The answer in one sentence.
        sentences: What it rests on, the most important one first.
        recommended: Name of the leaderboard row that the headline describes; "" if it describes none.
        against: Name of the row of the single modality that the gain is measured against, or "".
        gain: How much better fusion scores than that, or None.
        best_row: Name of the row with the highest score on the test split, the controls aside.
        better_rows: Rows that are measurably better than the found architecture.
    """

    answer: Answer
    headline: str
    sentences: tuple[str, ...]
    recommended: str = ""
    against: str = ""
    gain: Interval | None = None
    best_row: str = ""
    better_rows: tuple[BetterRow, ...] = ()

    def lines(self) -> list[str]:
        """Headline and sentences."""
        return [self.headline, *self.sentences]
