"""The verdict: fuse, don't fuse or can't tell yet, in plain sentences made from a run's summary.

It rests on paired differences alone. A row is measurably better than another if the 95 % interval of their paired
difference excludes zero. The test split judges; it never chooses the found architecture, and where several single
modalities compete, the claim has to hold against each of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nas.architecture import Architecture
from nas.explain import in_words as decided_in_words
from nas.load import why_static
from nas.metrics import METRICS
from nas.operation import Operation
from nas.report.numbers import PERCENT_METRICS, clean, metric_name, number
from nas.report.planning import ENOUGH_SEEDS, FEW_SEEDS, plan
from nas.report.tables import Row, difference_of, row_of
from nas.report.words import capital, how_in_words, listed, modalities_in_words
from nas.statistics import Interval

Answer = Literal["fuse", "dont_fuse", "cant_tell"]

SMALL = 0.05
"""Scores are called about the same if the interval rules out a larger difference, in accuracy or F1, or as a share of
the found architecture's error."""

ONE_SIDED = 0.75
"""Share of the most frequent class from which accuracy may say little."""

NEAR_CONSTANT = 0.02
"""An accuracy this little above that share says little."""

TINY = 0.01
"""A gain of less is not worth a fusion, however likely it is."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a run says to whoever started it.

    Attributes:
        answer: "fuse", "dont_fuse" or "cant_tell"; None for a run of an earlier version.
        headline: The answer in one sentence.
        sentences: What it rests on, the most important one first.
        recommended: Name of the leaderboard row that the headline describes; "" if it describes none.
        against: Name of the row of the single modality that the gain is measured against, or "".
        gain: How much better fusion scores than that, or None.
        best_row: Name of the row with the highest score on the test split, the controls aside.
        better_rows: Rows that are measurably better than the found architecture, with how much better it is than they
            are, a negative number.
    """

    answer: Answer | None
    headline: str
    sentences: tuple[str, ...]
    recommended: str = ""
    against: str = ""
    gain: Interval | None = None
    best_row: str = ""
    better_rows: tuple[tuple[str, Interval], ...] = ()

    def lines(self) -> list[str]:
        """Headline and sentences."""
        return [self.headline, *self.sentences]

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "answer": self.answer,
            "headline": self.headline,
            "sentences": list(self.sentences),
            "recommended": self.recommended,
            "against": self.against,
            "gain": self.gain.to_dict() if self.gain else None,
            "best_row": self.best_row,
            "better_rows": [{"name": name, "difference": gap.to_dict()} for name, gap in self.better_rows],
        }


def recorded_verdict(summary: Mapping[str, Any]) -> Verdict | None:
    """The verdict that stands in a summary, or None; that of an earlier version is a list of sentences."""
    told = summary.get("verdict")
    if not told:
        return None
    if isinstance(told, Mapping):
        answer: Answer | None = told["answer"] if told["answer"] in ("fuse", "dont_fuse", "cant_tell") else None
        return Verdict(
            answer=answer,
            headline=clean(told["headline"], 1000),
            sentences=tuple(clean(sentence, 1000) for sentence in told["sentences"]),
        )
    first, *others = (clean(sentence, 1000).replace("(-", "(−") for sentence in told)
    return Verdict(answer=None, headline=first, sentences=tuple(others))


@dataclass(frozen=True)
class _Entry:
    """A row of the leaderboard with what it reads; `read` is None where that is not known."""

    row: Row
    architecture: Architecture | None
    read: tuple[str, ...] | None

    @property
    def is_control(self) -> bool:
        """Random search and what is no network may be better, but they are never the answer."""
        return self.row.kind in ("random", "control")

    @property
    def is_helped(self) -> bool:
        """Whether it has more samples or more networks than the others, so that its gain says nothing about fusion."""
        return self.row.kind in ("refit", "ensemble")

    @property
    def fuses(self) -> bool:
        """Whether it reads two modalities or more; what is not known is taken to."""
        return self.row.kind != "modality" if self.read is None else len(self.read) > 1


class _Board:
    """The leaderboard of a summary, and how its rows are told in a sentence."""

    def __init__(self, summary: Mapping[str, Any], phrases: Mapping[str, str]) -> None:
        self.summary = summary
        self.phrases = phrases
        self.metric = str(summary["metric"])
        self.sense = 1 if summary["higher_is_better"] else -1
        self.depths = {str(name): int(depth) for name, depth in summary["depths"].items()}
        self.entries = [self._entry(values) for values in summary["leaderboard"]]
        self.found = self.entries[0]
        others = [one for one in self.entries[1:] if one.row.difference is not None]
        self.others = [one for one in others if not math.isnan(one.row.score.mean)]
        self.singles = [one for one in self.others if one.row.kind == "modality"]
        self.unit = 1.0 if self.metric in PERCENT_METRICS else abs(self.found.row.score.mean)
        self.better = sorted((one for one in self.others if self.gain(one, self.found).low > 0), key=self._rank)

    def _entry(self, values: Mapping[str, Any]) -> _Entry:
        row = row_of(values)
        plain = self.summary.get("architecture") if row.kind == "found" else values.get("architecture")
        if row.kind == "random" or not plain:  # another one for every seed
            return _Entry(row, None, (row.name,) if row.kind == "modality" else None)
        architecture = Architecture.from_dict(plain)
        return _Entry(row, architecture, architecture.modalities())

    def _rank(self, entry: _Entry) -> float:
        return -self.sense * entry.row.score.mean

    def best_by_held_out(self, entries: Sequence[_Entry]) -> _Entry | None:
        """The best one on the architecture split, so that the test split chooses nothing."""
        known = [one for one in entries if not math.isnan(one.row.architecture_score)] or list(entries)

        def merit(entry: _Entry) -> float:
            score = entry.row.architecture_score
            return self.sense * (entry.row.score.mean if math.isnan(score) else score)

        return max(known, key=merit, default=None)

    def best(self) -> _Entry:
        """The row with the best score, the controls aside."""
        return min([self.found, *(one for one in self.others if not one.is_control)], key=self._rank)

    def gain(self, one: _Entry, other: _Entry) -> Interval:
        """How much better one row is than another.

        Exact against the found architecture. Of two others the margins are added as if they were independent; as both
        are differences to the same scores, that is too wide rather than too narrow.
        """
        mine, its = (entry.row.difference or Interval(0.0, 0.0, 0.0) for entry in (one, other))
        if one is self.found:
            return its
        if other is self.found:
            return Interval(-mine.mean, -mine.high, -mine.low)
        mean, margin = its.mean - mine.mean, math.hypot(mine.margin, its.margin)
        return Interval(mean, mean - margin, mean + margin)

    def label(self, entry: _Entry) -> str:
        """A row's name in a sentence."""
        row = entry.row
        if entry is self.found:
            return "the found network"
        if row.kind == "modality":
            return f"{row.name} alone"
        if row.kind == "refit":
            return "the found network trained on both splits"
        if row.kind in ("sum", "ensemble", "proposal"):
            return f"the {row.name}"
        if row.kind == "static":
            return f"the same network without a {self.decider}"
        return row.name.replace("_", " ")

    @property
    def decider(self) -> str:
        """What decides per sample."""
        gating = self.found.architecture.gating if self.found.architecture else None
        return "cascade" if gating and gating.is_cascade else "gate"

    def how(self, entry: _Entry) -> str:
        """When and how a row fuses, as an instruction."""
        if (
            entry.row.separate or entry.row.kind == "sum"
        ):  # late fusion by its architecture, but its parts are trained alone
            return "add the answers of the networks of one modality each"
        if entry.architecture is None:
            return f"use {self.label(entry)}"
        how = how_in_words(entry.architecture, self.depths, self.phrases)
        read = modalities_in_words(entry.architecture.modalities())
        return how.replace(f" {read} ", " them ") if entry.fuses else how

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

    def cost(self, one: _Entry, other: _Entry) -> str:
        """What one row costs beside another: ", at a sixth of its multiply-adds"; "" if the same or not known."""
        mine, its = one.row.multiply_adds, other.row.multiply_adds
        if not (mine > 0 and its > 0):
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


def verdict(summary: Mapping[str, Any], operations: Mapping[str, type[Operation]]) -> Verdict:
    """What the leaderboard says: whether to fuse, when and how, what it gains and what it costs.

    Args:
        summary: Of the run: `leaderboard` with the found architecture first, `architecture`, `depths`, `metric`,
            `higher_is_better`, and if there are `data`, `diagnosis`, `interaction_order`, `mistakes`, `stability`,
            `dynamic` and `gated`.
        operations: Of the space, which say what they do.
    """
    board = _Board(summary, {name: operation.phrase for name, operation in operations.items()})
    found = board.found
    contender, alone = _contender(board), _alone(board)
    if contender is not None and alone is not None:
        alone = _closest(board, contender, alone)
    gain = board.gain(contender, alone) if contender is not None and alone is not None else None
    answer, headline, recommended, first = _decide(board, contender, alone, gain)
    subject = recommended or found
    told = (recommended, contender, alone)
    compared = alone if contender is found else None
    sentences = [*first, *_better(board, compared), *_references(board, subject), *_highest(board, recommended, told)]
    sentences += [*_control(board), *_beside(board, subject), *_rare(board)]
    return Verdict(
        answer=answer,
        headline=headline,
        sentences=tuple(sentences),
        recommended=recommended.row.name if recommended else "",
        against=alone.row.name if alone else "",
        gain=gain,
        best_row=board.best().row.name,
        better_rows=tuple((one.row.name, one.row.difference) for one in board.better if one.row.difference),
    )


def _contender(board: _Board) -> _Entry | None:
    """The fusion that is judged: what was found, unless another row is measurably better or it does not fuse.

    Whoever asks for decisions per sample may trade a little of the score for them, so the same network without a gate
    does not take its place. Nor do an ensemble and a training on both splits: a single modality would gain by them.
    """
    rivals = [one for one in board.others if one.fuses and not one.is_control and not one.is_helped]
    better = [one for one in board.better if one in rivals and one.row.kind != "static"]
    if better:
        return better[0]
    if board.found.fuses:
        return board.found
    return board.best_by_held_out(rivals)


def _alone(board: _Board) -> _Entry | None:
    """The single modality that fusion has to beat."""
    better = [one for one in board.better if one.row.kind == "modality"]
    if board.found.read is not None and len(board.found.read) == 1:
        return better[0] if better else board.found
    return board.best_by_held_out(board.singles)


def _closest(board: _Board, contender: _Entry, alone: _Entry) -> _Entry:
    """Another single modality if fusion does not measurably beat it, so that no claim rests on a weak opponent."""
    rivals = [one for one in board.singles if board.gain(contender, one).low <= 0]
    if not rivals or board.gain(contender, alone).low <= 0:
        return alone
    return min(rivals, key=lambda one: board.gain(contender, one).mean)


_Decided = tuple[Answer, str, _Entry | None, list[str]]
"""The answer, its headline, the row that it recommends, and the sentences that give the reason."""


def _decide(board: _Board, contender: _Entry | None, alone: _Entry | None, gain: Interval | None) -> _Decided:
    names = modalities_in_words(list(board.depths))
    if len(board.found.row.scores) == 1:
        return _one_seed(board, contender, alone, gain)
    if (nothing := _nothing(board)) is not None:
        return nothing
    if contender is None or alone is None or gain is None:
        lacking = "no single modality" if alone is None else "no fusion"
        return "cant_tell", f"Can't tell whether to fuse {names}: {lacking} was trained beside it.", None, []
    is_best = " the best single modality," if _is_best_single(board, alone) else ""
    against = f"{_named(alone)} alone,{is_best}".removesuffix(",")
    if gain.low > 0:
        subject = "This" if contender is board.found else board.label(contender)
        first = board.compare(subject, gain, against, also=board.cost(contender, alone))
        return "fuse", _fuse_headline(board, contender), contender, [first]
    if _is_as_good(board, gain) and not _is_beaten(board, alone):
        better = "is better" if gain.high < 0 else "is as good"
        more = [board.compare(_described(board, contender), gain, f"{_named(alone)} alone")]
        if gain.high > 0:
            at_most = f"at most {board.size(gain.high)}"
            gains = f"gains {at_most}" if board.metric in PERCENT_METRICS else f"improves this by {at_most}"
            more.append(f"So fusing {gains}{_simpler(board, alone, contender)}.")
        return "dont_fuse", f"Don't fuse: {_use(board, alone)} {better}.", alone, more
    told = [
        board.compare(_described(board, contender), gain, against, also=board.cost(contender, alone), is_open=True),
        *_what_would_tell(board, contender, alone, gain),
    ]
    return "cant_tell", f"Can't tell yet whether fusing {names} beats {_named(alone)} alone.", None, told


def _one_seed(board: _Board, contender: _Entry | None, alone: _Entry | None, gain: Interval | None) -> _Decided:
    told = []
    if contender is not None and alone is not None and gain is not None:
        told.append(board.compare(_described(board, contender), gain, f"{_named(alone)} alone"))
        told.append("This interval counts the test samples only, not the luck of a single training.")
    told.append("At least 3 seeds would tell (--seeds 3).")
    return "cant_tell", "Can't tell yet: each network was trained only once.", None, told


def _nothing(board: _Board) -> _Decided | None:
    """If nothing measurably beats a constant answer, which a found architecture that reads nothing is."""
    rivals = [one for one in board.others if one.row.kind != "random"]
    if board.found.read == ():
        if any(one.row.kind != "random" for one in board.better):
            return None
        gaps = [board.gain(one, board.found) for one in rivals]
    else:
        constant = _constant(board.summary)
        scores = [one.row.score for one in (board.found, *rivals)]
        if math.isnan(constant) or any(score.low > constant for score in scores):
            return None
        gaps = [Interval(s.mean - constant, s.low - constant, s.high - constant) for s in scores]
    best = max(gaps, key=lambda gap: gap.mean, default=None)
    told = [] if best is None else [board.compare("the best row", best, "a constant answer")]
    if all(_is_as_good(board, gap) for gap in gaps):
        nothing = "Don't fuse: nothing here predicts the target better than a constant answer."
        return "dont_fuse", nothing, board.found if board.found.read == () else None, told
    return (
        "cant_tell",
        "Can't tell yet: so far nothing predicts the target better than a constant answer.",
        None,
        [*told, "More samples would tell, or modalities that say more about the target."],
    )


def _rare(board: _Board) -> list[str]:
    """A hint where nearly all samples are of one class and accuracy says no more than that."""
    constant = _constant(board.summary)
    if math.isnan(constant) or constant < ONE_SIDED or board.found.row.score.mean - constant > NEAR_CONSTANT:
        return []
    share = f"{100 * constant:.1f} % of the test samples are of one class"
    return [f"{share}, so that accuracy says little: consider --metric balanced_accuracy."]


def _constant(summary: Mapping[str, Any]) -> float:
    """The score of the best constant answer on the test split; NaN where it is not known.

    That of accuracy is the share of the most frequent class.
    """
    if (known := {"auroc": 0.5, "r2": 0.0}.get(summary["metric"])) is not None:
        return known
    counted = summary.get("mistakes") or {}
    if summary["metric"] != "accuracy" or not counted.get("counts") or counted.get("others"):
        return math.nan
    rows = [sum(map(number, row)) for row in counted["counts"]]
    return max(rows) / sum(rows) if sum(rows) > 0 else math.nan


def _is_as_good(board: _Board, gain: Interval) -> bool:
    """Whether a gain is ruled out, or so small that it does not count; one that is nearly measured is neither."""
    is_near_zero = gain.high <= SMALL * board.unit and 2 * gain.mean <= gain.margin
    return is_near_zero or gain.high <= TINY * board.unit


def _is_beaten(board: _Board, alone: _Entry) -> bool:
    """Whether anything that fuses, the controls included, measurably beats a single modality."""
    return any(
        board.gain(one, alone).low > 0 for one in board.others if (one.fuses and not one.is_helped) or one.is_control
    )


def _is_best_single(board: _Board, alone: _Entry) -> bool:
    scores = [board.sense * one.row.score.mean for one in board.singles]
    return len(scores) > 1 and board.sense * alone.row.score.mean >= max(scores)


def _named(alone: _Entry) -> str:
    """The modality of a row that reads one."""
    return alone.row.name if alone.row.kind == "modality" or not alone.read else clean(alone.read[0], 40)


def _use(board: _Board, alone: _Entry) -> str:
    """Such as "image alone", with its layer if that is not the last one."""
    return f"{_named(alone)} alone" if alone.row.kind == "modality" else board.how(alone).removeprefix("use ")


def _simpler(board: _Board, alone: _Entry, contender: _Entry) -> str:
    cost = board.cost(alone, contender).removeprefix(", ")
    return f", while {_named(alone)} alone runs {cost}" if cost.startswith("at ") else ""


def _fuse_headline(board: _Board, contender: _Entry) -> str:
    architecture = contender.architecture
    names = modalities_in_words(architecture.modalities() if architecture else list(board.depths))
    also = "" if contender is board.found or architecture is None else f" ({board.label(contender)})"
    if architecture is None or architecture.gating is None:
        return f"Fuse {names}: {board.how(contender)}{also}."
    way = "step by step" if architecture.gating.is_cascade else "and decide for every sample"
    return f"Fuse {names} {way}: {board.how(contender)}{also}."


def _described(board: _Board, contender: _Entry) -> str:
    """A row as the subject of a sentence, with what it does."""
    if contender.architecture is None or contender.row.kind not in ("found", "operation"):
        return board.label(contender)
    return f"{board.label(contender)} ({how_in_words(contender.architecture, board.depths, board.phrases)})"


def _better(board: _Board, compared: _Entry | None) -> list[str]:
    """Every row that is measurably better than what was found, but for those that another sentence compares with it."""
    told = [
        f"{board.label(one)} by {board.size(gap.mean)} ({board.interval(gap)})"
        for one in board.better
        for gap in [board.gain(one, board.found)]
        if one is not compared and one.row.kind not in ("static", "control")
    ]
    sentences = [f"Measurably better than the found network: {listed(told)}."] if told else []
    if any(one.row.kind == "random" for one in board.better):
        sentences.append(
            "Random architectures beat this search, so do not trust its choice: search longer or with another seed."
        )
    return sentences


def _highest(board: _Board, recommended: _Entry | None, told: Sequence[_Entry | None]) -> list[str]:
    """The row with the best score, unless another sentence names it."""
    best = board.best()
    if best is board.found and best is recommended:
        is_highest = all(board.sense * (one.row.score.mean - best.row.score.mean) <= 0 for one in board.others)
        return ["No other row of the leaderboard scores higher."] if is_highest and len(board.others) > 1 else []
    is_late = best.row.kind == "late" and (recommended or board.found).fuses
    if best in (board.found, *board.better, *told) or is_late:
        return []
    gap = board.gain(best, board.found)
    side = "higher" if board.sense > 0 else "lower"
    by = f"{board.size(gap.mean)} {side} than that of {board.label(board.found)}"
    what = "score" if board.metric in PERCENT_METRICS else metric_name(board.metric)
    return [f"{capital(board.label(best))} has the best {what}, {by}, but that may be chance ({board.interval(gap)})."]


def _references(board: _Board, subject: _Entry) -> list[str]:
    """Beside late fusion and the same network without a gate, with what it costs."""
    sentences = []
    it = board.label(subject)
    late = next((one for one in board.others if one.row.kind == "late"), None)
    if late is not None and late is not subject and late not in board.better and subject.fuses:
        same = late.architecture is not None and late.architecture == subject.architecture
        if same and subject.row.kind == "found":
            sentences.append("This is plain late fusion.")
        else:
            also = board.cost(subject, late)
            sentences.append(board.compare(it, board.gain(subject, late), "late fusion", also=also))
    static = next((one for one in board.others if one.row.kind == "static"), None)
    if static is not None:
        gap, also = board.gain(board.found, static), board.cost(board.found, static)
        sentences.append(board.compare("deciding for every sample", gap, board.label(static), also=also))
    return sentences


def _control(board: _Board) -> list[str]:
    """Beside random search, unless that is measurably better and has been told; and every better one of no network."""
    told = []
    for one in board.others:
        gap = board.gain(one, board.found)
        if one.row.kind == "control" and (one in board.better or gap.mean > 0):
            name = f"{board.label(one)} on all inputs, no network,"
            told.append(board.compare(name, gap, board.label(board.found)))
        elif one.row.kind == "random" and one not in board.better:
            told.append(board.compare(f"{board.label(one)}, the control,", gap, board.label(board.found)))
    return told


def _beside(board: _Board, subject: _Entry) -> list[str]:
    """What diagnosis, repeated searches and decisions per sample add."""
    summary = board.summary
    sentences = []
    gain = difference_of(((summary.get("diagnosis") or {}).get("additivity") or {}).get("gain"))
    if gain is not None and subject is board.found and subject.fuses and number(summary.get("interaction_order")) >= 2:
        if gain.low > 0:
            part = f"{board.size(gain.mean)} of its {metric_name(board.metric)}"
            verb = "come from" if board.sense > 0 else "are saved by"
            sentences.append(f"{part} {verb} interaction between modalities, which no sum can give.")
        elif gain.high < 0:
            sentences.append("Interaction between modalities does harm here: a sum over them would do better.")
        else:
            sentences.append("The gain does not come from interaction: a sum over modalities would do about as well.")
    if stability := summary.get("stability"):
        sentences.append(_stability(board, stability))
    if dynamic := summary.get("dynamic"):
        sentences.append(decided_in_words(dynamic))
    if why := why_static(summary):
        sentences.append(why)
    return sentences


def _stability(board: _Board, stability: Mapping[str, Any]) -> str:
    """How far several searches agree on the answer."""
    count, distinct = len(stability["seeds"]), int(number(stability["num_distinct"]))
    orders = stability.get("interaction_orders") or {}
    fusing = count - int(number(orders.get("0", orders.get(0, 0))))
    same = "the same architecture" if distinct == 1 else f"{distinct} different architectures"
    told = f"{count} searches found {same}; {fusing} of them fuse{'s' if fusing == 1 else ''}."
    gap = difference_of(stability.get("difference"))
    if gap is None:
        return told
    return f"{told} {board.compare('over these searches, what each found', gap, 'late fusion')}"


def _what_would_tell(board: _Board, contender: _Entry, alone: _Entry, gain: Interval) -> list[str]:
    """How far single trainings lie apart, if that is much, and how many seeds or samples would settle it."""
    told = []
    scores = contender.row.scores
    spread = max(scores, default=0.0) - min(scores, default=0.0)
    if spread > SMALL * board.unit:
        told.append(f"The {len(scores)} trainings of {board.label(contender)} lie {board.size(spread)} apart.")
    pairs = zip(scores, alone.row.scores, strict=False)
    differences = [one - other for one, other in pairs if not math.isnan(one - other)]
    samples = number(((board.summary.get("data") or {}).get("splits") or {}).get("test"))
    if len(differences) < FEW_SEEDS:
        few = f"{len(differences)} seeds say too little about luck"
        return [*told, f"{few}: {ENOUGH_SEEDS} or more would tell (--seeds {ENOUGH_SEEDS})."]
    if math.isnan(samples) or gain.margin == 0:
        return told
    score = contender.row.score.mean if board.metric in PERCENT_METRICS else math.nan
    found = plan(gain, differences, int(samples), score=score)
    if found is None:
        return [*told, "Neither more seeds nor more test samples of a practical number would tell."]
    needs = []
    if found.seeds > len(differences):
        needs.append(f"{found.seeds} seeds instead of {len(differences)} (--seeds {found.seeds})")
    if found.samples > samples:
        needs.append(f"{found.samples:,} test samples instead of {int(samples):,}")
    if found.halves:
        return [*told, f"About {listed(needs)} would halve this interval."]
    return [*told, f"About {listed(needs)} would tell, if the difference stays as it is."]
