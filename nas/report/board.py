"""The leaderboard of a summary, and how its rows are told in a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nas.discretize.tournament import DEPOSED
from nas.metrics import METRICS
from nas.report.numbers import PERCENT_METRICS, clean, metric_name
from nas.report.tables import shown
from nas.report.words import capital, how_in_words, modalities_in_words, separately_in_words
from nas.space.architecture import Cascading
from nas.statistics import Interval
from nas.summary import Row, Summary

SMALL = 0.05
"""Scores are called about the same if the interval rules out a larger difference, in accuracy or F1, or as a share of
the found architecture's error."""

OWN_CHOICE = "the search's own choice"


class Board:
    """The leaderboard of a summary, and how its rows are told in a sentence.

    Rows that are the found network under another name are not among the `others`: they are not compared with it.
    """

    def __init__(self, summary: Summary, phrases: Mapping[str, str]) -> None:
        self.summary = summary
        self.phrases = phrases
        self.metric = summary.metric
        self.sense = summary.sense
        self.depths = summary.search.depths
        self.rows = [shown(row) for row in summary.leaderboard]
        self.found = self.rows[0]
        again = [summary.is_found_again(row) for row in summary.leaderboard]
        self.again = [row for row, is_again in zip(self.rows, again, strict=True) if is_again]
        others = [row for row in self.rows[1:] if row.difference is not None and not math.isnan(row.score.mean)]
        self.others = [row for row in others if row not in self.again]
        self.singles = [row for row in others if row.kind == "modality"]
        self.unit = 1.0 if self.metric in PERCENT_METRICS else abs(self.found.score.mean)
        self.better = sorted((one for one in self.others if self.gain(one, self.found).low > 0), key=self._rank)

    def _rank(self, row: Row) -> float:
        return -self.sense * row.score.mean

    def best_by_held_out(self, rows: Sequence[Row]) -> Row | None:
        """The best one on the architecture split, so that the test split chooses nothing."""
        known = [one for one in rows if not math.isnan(one.architecture_score)] or list(rows)

        def merit(row: Row) -> float:
            score = row.architecture_score
            return self.sense * (row.score.mean if math.isnan(score) else score)

        return max(known, key=merit, default=None)

    def best(self) -> Row:
        """The row with the best score, the controls aside."""
        return min([self.found, *(one for one in self.others if not one.is_control)], key=self._rank)

    def gain(self, one: Row, other: Row) -> Interval:
        """How much better one row is than another.

        Exact against the found architecture. Of two others the margins are added as if they were independent; as both
        are differences to the same scores, that is too wide rather than too narrow.
        """
        mine, its = (row.difference or Interval(0.0, 0.0, 0.0) for row in (one, other))
        if one is self.found:
            return its
        if other is self.found:
            return Interval(-mine.mean, -mine.high, -mine.low)
        mean, margin = its.mean - mine.mean, math.hypot(mine.margin, its.margin)
        return Interval(mean, mean - margin, mean + margin)

    def label(self, row: Row) -> str:
        """A row's name in a sentence."""
        told = {
            "modality": f"{row.name} alone",
            "refit": "the found network trained on both splits",
            "sum": f"the {row.name}",
            "ensemble": f"the {row.name}",
            "proposal": OWN_CHOICE if row.name == DEPOSED else f"the {row.name}",
            "static": f"the same network without a {self.decider}",
        }
        return "the found network" if row is self.found else told.get(row.kind, row.name.replace("_", " "))

    @property
    def winner(self) -> str:
        """The row that won the tournament, in a sentence; "" if that is what the search itself chose."""
        name = clean(self.summary.tournament.winner) if self.summary.tournament else "found"
        if name == "found":
            return ""
        row = next((one for one in self.rows if one.name == name), None)
        if row is None:  # a favourite of the supernet, which now stands there as the found one
            return f"the {name}"
        return f"a single operation ({self.label(row)})" if row.kind == "operation" else self.label(row)

    def described(self, row: Row) -> str:
        """A row's name in a sentence, with what it does if the name does not tell."""
        if row.architecture is None or row.kind not in ("found", "operation", "proposal"):
            return self.label(row)
        if row.separate:
            how = f"{modalities_in_words(row.architecture.modalities())}, each trained alone, their answers added"
        else:
            how = how_in_words(row.architecture, self.depths, self.phrases)
        return f"{self.label(row)} ({how})"

    @property
    def decider(self) -> str:
        """What decides per sample."""
        architecture = self.found.architecture
        return "cascade" if architecture and isinstance(architecture.gating, Cascading) else "gate"

    def how(self, row: Row) -> str:
        """When and how a row fuses, as an instruction."""
        if row.separate:  # late fusion, but its parts are trained alone
            return separately_in_words(())
        if row.architecture is None:
            return f"use {self.label(row)}"
        how = how_in_words(row.architecture, self.depths, self.phrases)
        read = modalities_in_words(row.architecture.modalities())
        return how.replace(f" {read} ", " them ") if row.fuses else how

    def size(self, value: float) -> str:
        """An amount of the metric without its sign."""
        if self.metric in PERCENT_METRICS:
            return f"{100 * abs(value):.1f} points"
        return f"{abs(value):.3g}"

    def interval(self, gap: Interval) -> str:
        """Such as "95 % interval −0.4 to 2.1"."""
        bounds = [gap.low, gap.high]
        form = ".3g"
        if self.metric in PERCENT_METRICS:  # two scores are at most a hundred points apart, unless they have no end
            apart = METRICS[self.metric].highest - METRICS[self.metric].lowest
            bounds, form = [100 * max(-apart, min(apart, value)) for value in bounds], ".1f"
        low, high = (format(round(value, 9) + 0.0, form).replace("-", "−") for value in bounds)
        return f"95 % interval {low} to {high}"

    def compare(self, subject: str, gap: Interval, other: str, *, also: str = "", is_open: bool = False) -> str:
        """A sentence on how much better the subject is, with its interval.

        Args:
            subject: Begins the sentence.
            gap: How much better it is.
            other: Than what.
            also: Added behind that, such as what it costs.
            is_open: Whether it is not called the same unless it is measurably so.
        """
        told = gap if gap.mean >= 0 else Interval(-gap.mean, -gap.high, -gap.low)
        up = (self.sense > 0) == (gap.mean > 0)
        amount = f"{self.size(gap.mean)} {'higher' if up else 'lower'}"
        name = metric_name(self.metric)
        is_percent = self.metric in PERCENT_METRICS
        if gap.excludes_zero:
            verb = f"scores {amount}" if is_percent else f"has a {name} that is {amount}"
            return f"{capital(subject)} {verb} than {other} ({self.interval(told)}){also}."
        is_zero = not any(digit in "123456789" for digit in amount)
        if max(abs(gap.low), abs(gap.high)) <= SMALL * self.unit and not is_open:
            same = "scores about the same as" if is_percent else f"has about the same {name} as"
            by = self.interval(told) if is_zero else f"{amount}, {self.interval(told)}"
            return f"{capital(subject)} {same} {other} ({by}){also}."
        if is_zero:
            same = "scores the same as" if is_percent else f"has the same {name} as"
            return f"{capital(subject)} {same} {other}{also}, give or take ({self.interval(told)})."
        verb = f"scores {amount} than" if is_percent else f"has a {name} that is {amount} than"
        return f"{capital(subject)} {verb} {other}{also}, but that may be chance ({self.interval(told)})."

    def cost(self, one: Row, other: Row) -> str:
        """What one row costs beside another: ", at a sixth of its multiply-adds"; "" if the same or not known."""
        mine, its = one.multiply_adds, other.multiply_adds
        if not (mine and its):
            return ""
        ratio = mine / its
        if 0.9 < ratio < 1.1:
            return ""
        if ratio > 1:
            times = f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}".removesuffix(".0")
            return f", for {times} times its multiply-adds"
        parts = round(1 / ratio)
        if parts in _PARTS and abs(1 / ratio - parts) < 0.15 * parts:
            return f", at {_PARTS[parts]} of its multiply-adds"
        return f", at {max(1, round(100 * ratio))} % of its multiply-adds"


_PARTS = {
    2: "half",
    3: "a third",
    4: "a quarter",
    5: "a fifth",
    6: "a sixth",
    7: "a seventh",
    8: "an eighth",
    9: "a ninth",
    10: "a tenth",
}
