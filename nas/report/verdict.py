"""The verdict: fuse, don't fuse or can't tell yet, in plain sentences made from a run's summary.

It rests on paired differences alone. A row is measurably better than another if the 95 % interval of their paired
difference excludes zero. The test split judges; it never chooses the found architecture, and where several single
modalities compete, the claim has to hold against each of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from nas.discretize.tournament import DEPOSED
from nas.report.board import OWN_CHOICE, SMALL, Board
from nas.report.numbers import PERCENT_METRICS, clean, metric_name
from nas.report.planning import ENOUGH_SEEDS, FEW_SEEDS, plan
from nas.report.words import capital, listed, modalities_in_words
from nas.routing.explain import in_words as decided_in_words
from nas.space.architecture import Cascading
from nas.space.operation import Operation
from nas.statistics import Interval
from nas.summary import Agreement, Answer, BetterRow, Row, Summary, Verdict

ONE_SIDED = 0.75
"""Share of the most frequent class from which accuracy may say little."""

NEAR_CONSTANT = 0.02
"""An accuracy this little above that share says little."""

WORTH_TELLING = 0.05
"""Standard errors that are called more than level."""

TINY = 0.01
"""A gain of less is not worth a fusion, however likely it is."""


def recorded_verdict(summary: Summary) -> Verdict | None:
    """The verdict that stands in a summary, in printable texts of bounded length; None if there is none."""
    told = summary.verdict
    if told is None:
        return None
    sentences = tuple(clean(sentence, 1000) for sentence in told.sentences)
    return replace(told, headline=clean(told.headline, 1000), sentences=sentences)


def verdict(summary: Summary, operations: Mapping[str, type[Operation]]) -> Verdict:
    """What the leaderboard says: whether to fuse, when and how, what it gains and what it costs.

    Args:
        summary: Of the run.
        operations: Of the space, which say what they do.
    """
    board = Board(summary, {name: operation.phrase for name, operation in operations.items()})
    found = board.found
    contender, single = _contender(board), _best_single(board)
    if contender is not None and single is not None:
        single = _closest(board, contender, single)
    gain = board.gain(contender, single) if contender is not None and single is not None else None
    answer, headline, recommended, first = _decide(board, contender, single, gain)
    subject = recommended or found
    told = (recommended, contender, single)
    compared = single if contender is found else None
    deposed = _deposed(board)
    sentences = [*first, *_better(board, compared), *_tournament(board, told), *_references(board, subject)]
    sentences += [*_highest(board, recommended, (*told, deposed)), *_control(board), *_beside(board, subject, answer)]
    sentences += _rare(board)
    return Verdict(
        answer=answer,
        headline=headline,
        sentences=tuple(sentences),
        recommended=recommended.name if recommended else "",
        against=single.name if single else "",
        gain=gain,
        best_row=board.best().name,
        better_rows=tuple(
            BetterRow(name=one.name, difference=one.difference) for one in board.better if one.difference
        ),
    )


def _contender(board: Board) -> Row | None:
    """The fusion that is judged: what was found, unless another row is measurably better or it does not fuse.

    Whoever asks for decisions per sample may trade a little of the score for them, so the same network without a gate
    does not take its place. Nor do an ensemble and a training on both splits: a single modality would gain by them.
    """
    rivals = [one for one in board.others if one.fuses and not one.is_control and not one.is_helped]
    better = [one for one in board.better if one in rivals and one.kind != "static"]
    if better:
        return better[0]
    if board.found.fuses:
        return board.found
    return board.best_by_held_out(rivals)


def _best_single(board: Board) -> Row | None:
    """The single modality that fusion has to beat."""
    better = [one for one in board.better if one.kind == "modality"]
    if board.found.read is not None and len(board.found.read) == 1:
        return better[0] if better else board.found
    return board.best_by_held_out(board.singles)


def _closest(board: Board, contender: Row, single: Row) -> Row:
    """Where fusion beats a single modality, the one that it beats least, so that no claim rests on a weak opponent."""
    if board.gain(contender, single).low <= 0:
        return single

    def how_hard(one: Row) -> tuple[bool, float]:
        gain = board.gain(contender, one)
        return gain.low > 0, gain.mean

    return min((single, *(one for one in board.singles if one not in board.again)), key=how_hard)


_Decided = tuple[Answer, str, Row | None, list[str]]
"""The answer, its headline, the row that it recommends, and the sentences that give the reason."""


def _decide(board: Board, contender: Row | None, single: Row | None, gain: Interval | None) -> _Decided:
    names = modalities_in_words(list(board.depths))
    if len(board.found.scores) == 1:
        return _one_seed(board, contender, single, gain)
    if (nothing := _nothing(board)) is not None:
        return nothing
    if contender is None or single is None or gain is None:
        lacking = "no single modality" if single is None else "no fusion"
        return "cant_tell", f"Can't tell whether to fuse {names}: {lacking} was trained beside it.", None, []
    is_best = " the best single modality," if _is_best_single(board, single) else ""
    against = f"{_named(single)} alone,{is_best}".removesuffix(",")
    if gain.low > 0:
        subject = "This" if contender is board.found else board.label(contender)
        first = board.compare(subject, gain, against, also=board.cost(contender, single))
        return "fuse", _fuse_headline(board, contender), contender, [first]
    if _is_as_good(board, gain) and not _is_beaten(board, single):
        better = "is better" if gain.high < 0 else "is as good"
        more = [board.compare(board.described(contender), gain, f"{_named(single)} alone")]
        if gain.high > 0:
            at_most = f"at most {board.size(gain.high)}"
            gains = f"gains {at_most}" if board.metric in PERCENT_METRICS else f"improves this by {at_most}"
            more.append(f"So fusing {gains}{_simpler(board, single, contender)}.")
        return "dont_fuse", f"Don't fuse: {_use(board, single)} {better}.", single, more
    told = [
        board.compare(board.described(contender), gain, against, also=board.cost(contender, single), is_open=True),
        *_what_would_tell(board, contender, single, gain),
    ]
    return "cant_tell", f"Can't tell yet whether fusing {names} beats {_named(single)} alone.", None, told


def _one_seed(board: Board, contender: Row | None, single: Row | None, gain: Interval | None) -> _Decided:
    told = []
    if contender is not None and single is not None and gain is not None:
        told.append(board.compare(board.described(contender), gain, f"{_named(single)} alone"))
        told.append("This interval counts the test samples only, not the luck of a single training.")
    told.append("At least 3 seeds would tell (--retrain-seeds 3).")
    return "cant_tell", "Can't tell yet: each network was trained only once.", None, told


def _nothing(board: Board) -> _Decided | None:
    """If nothing measurably beats a constant answer, which a found architecture that reads nothing is."""
    rivals = [one for one in board.others if one.kind != "random"]
    if board.found.read == ():
        if any(one.kind != "random" for one in board.better):
            return None
        gaps = [board.gain(one, board.found) for one in rivals]
    else:
        constant = _constant(board.summary)
        scores = [one.score for one in (board.found, *rivals)]
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


def _rare(board: Board) -> list[str]:
    """A hint where nearly all samples are of one class and accuracy says no more than that."""
    constant = _constant(board.summary)
    if math.isnan(constant) or constant < ONE_SIDED or board.found.score.mean - constant > NEAR_CONSTANT:
        return []
    share = f"{100 * constant:.1f} % of the test samples are of one class"
    return [f"{share}, so that accuracy says little: consider --metric balanced_accuracy."]


def _constant(summary: Summary) -> float:
    """The score of the best constant answer on the test split; NaN where it is not known.

    That of accuracy is the share of the most frequent class.
    """
    if (known := {"auroc": 0.5, "r2": 0.0}.get(summary.metric)) is not None:
        return known
    counted = summary.mistakes
    if summary.metric != "accuracy" or counted is None or not counted.counts or counted.others:
        return math.nan
    rows = [sum(row) for row in counted.counts]
    return max(rows) / sum(rows) if sum(rows) > 0 else math.nan


def _is_as_good(board: Board, gain: Interval) -> bool:
    """Whether a gain is ruled out, or so small that it does not count; one that is nearly measured is neither."""
    is_near_zero = gain.high <= SMALL * board.unit and 2 * gain.mean <= gain.margin
    return is_near_zero or gain.high <= TINY * board.unit


def _is_beaten(board: Board, single: Row) -> bool:
    """Whether anything that fuses, the controls included, measurably beats a single modality."""
    return any(
        board.gain(one, single).low > 0 for one in board.others if (one.fuses and not one.is_helped) or one.is_control
    )


def _is_best_single(board: Board, single: Row) -> bool:
    scores = [board.sense * one.score.mean for one in board.singles]
    return len(scores) > 1 and board.sense * single.score.mean >= max(scores)


def _named(single: Row) -> str:
    """The modality of a row that reads one."""
    return single.name if single.kind == "modality" or not single.read else clean(single.read[0], 40)


def _use(board: Board, single: Row) -> str:
    """Such as "image alone", with its layer if that is not the last one."""
    return board.how(single).removeprefix("use ")


def _simpler(board: Board, single: Row, contender: Row) -> str:
    cost = board.cost(single, contender).removeprefix(", ")
    return f", while {_named(single)} alone runs {cost}" if cost.startswith("at ") else ""


def _fuse_headline(board: Board, contender: Row) -> str:
    architecture = contender.architecture
    names = modalities_in_words(architecture.modalities() if architecture else list(board.depths))
    also = "" if contender is board.found or architecture is None else f" ({board.label(contender)})"
    if architecture is None or architecture.gating is None:
        return f"Fuse {names}: {board.how(contender)}{also}."
    way = "step by step" if isinstance(architecture.gating, Cascading) else "and decide for every sample"
    return f"Fuse {names} {way}: {board.how(contender)}{also}."


def _better(board: Board, compared: Row | None) -> list[str]:
    """Every row that is measurably better than what was found, but for those that another sentence compares with it."""
    told = [
        f"{board.label(one)} by {board.size(gap.mean)} ({board.interval(gap)})"
        for one in board.better
        for gap in [board.gain(one, board.found)]
        if one is not compared and one.kind not in ("static", "control")
    ]
    sentences = [f"Measurably better than the found network: {listed(told)}."] if told else []
    if any(one.kind == "random" for one in board.better):
        sentences.append(
            "Random architectures beat this search, so do not trust its choice: search longer or with another seed."
        )
    return sentences


def _deposed(board: Board) -> Row | None:
    """What the search itself chose, where the tournament chose otherwise."""
    return next((one for one in board.others if one.kind == "proposal" and one.name == DEPOSED), None)


def _is_late(board: Board, deposed: Row | None) -> bool:
    """Whether what the search itself chose is the network of the row of late fusion."""
    late = next((one for one in board.others if one.kind == "late"), None)
    if late is None or deposed is None:
        return False
    return (late.architecture, late.difference) == (deposed.architecture, deposed.difference)


def _tournament(board: Board, told: Sequence[Row | None]) -> list[str]:
    """How the found network was chosen, where that is not what the search itself chose.

    Args:
        board: The leaderboard.
        told: Rows that have been compared with the found network already.
    """
    tournament = board.summary.tournament
    deposed = _deposed(board)
    sentences = []
    if tournament and board.winner:
        won = f"{capital(board.winner)} won the tournament of proposals and baselines"
        ahead = tournament.errors_behind.get("found", math.nan)
        own = OWN_CHOICE if deposed is None else board.described(deposed)
        if deposed is not None and deposed.read == ():
            why = "the search itself found nothing better than a constant answer"
        elif tournament.prefer == "simplicity":
            why = "it is the simplest row within one standard error of the best on held-out samples"
        elif ahead < WORTH_TELLING:
            why = f"on held-out samples, {own} is about level with it"
        else:
            why = f"on held-out samples, {own} is {ahead:.1f} standard errors behind it"
        sentences.append(f"{won}: {why}.")
    if deposed is not None and deposed not in (*board.better, *told):
        gap = board.gain(deposed, board.found)
        own = f"{OWN_CHOICE}, late fusion," if _is_late(board, deposed) else OWN_CHOICE
        sentences.append(board.compare(f"on the test split, {own}", gap, board.label(board.found)))
    return sentences


def _highest(board: Board, recommended: Row | None, told: Sequence[Row | None]) -> list[str]:
    """The row with the best score, unless another sentence names it."""
    best = board.best()
    if best is board.found and best is recommended:
        is_highest = all(board.sense * (one.score.mean - best.score.mean) <= 0 for one in board.others)
        return ["No other row of the leaderboard scores higher."] if is_highest and len(board.others) > 1 else []
    is_late = best.kind == "late" and (recommended or board.found).fuses
    if best in (board.found, *board.better, *told) or is_late:
        return []
    gap = board.gain(best, board.found)
    side = "higher" if board.sense > 0 else "lower"
    by = f"{board.size(gap.mean)} {side} than that of {board.label(board.found)}"
    what = "score" if board.metric in PERCENT_METRICS else metric_name(board.metric)
    return [f"{capital(board.label(best))} has the best {what}, {by}, but that may be chance ({board.interval(gap)})."]


def _references(board: Board, subject: Row) -> list[str]:
    """Beside late fusion and the same network without a gate, with what it costs."""
    sentences = []
    it = board.label(subject)
    if subject is board.found and subject.separate:
        sentences.append("This is late fusion whose networks are trained alone.")
    late = next((one for one in board.rows if one.kind == "late"), None)
    if late is not None and late in board.again:
        if subject is board.found and not board.winner:
            sentences.append("This is plain late fusion.")
    elif subject is board.found and _is_late(board, _deposed(board)):
        pass  # compared already
    elif late in board.others and late not in (subject, *board.better) and subject.fuses:
        other = "late fusion trained as one network" if subject.separate else "late fusion"
        also = board.cost(subject, late)
        sentences.append(board.compare(it, board.gain(subject, late), other, also=also))
    static = next((one for one in board.others if one.kind == "static"), None)
    if static is not None:
        gap, also = board.gain(board.found, static), board.cost(board.found, static)
        sentences.append(board.compare("deciding for every sample", gap, board.label(static), also=also))
    return sentences


def _control(board: Board) -> list[str]:
    """Beside random search, unless that is measurably better and has been told; and every better one of no network."""
    told = []
    for one in board.others:
        gap = board.gain(one, board.found)
        if one.kind == "control" and (one in board.better or gap.mean > 0):
            name = f"{board.label(one)} on all inputs, no network,"
            told.append(board.compare(name, gap, board.label(board.found)))
        elif one.kind == "random" and one not in board.better:
            told.append(board.compare(f"{board.label(one)}, the control,", gap, board.label(board.found)))
    return told


def _beside(board: Board, subject: Row, answer: Answer) -> list[str]:
    """What diagnosis, repeated searches and decisions per sample add."""
    summary = board.summary
    sentences = []
    gain = summary.diagnosis.additivity.gain
    if gain.is_known and subject is board.found and subject.fuses and summary.interaction_order >= 2:
        if gain.low > 0:
            part = f"{board.size(gain.mean)} of its {metric_name(board.metric)}"
            verb = "come from" if board.sense > 0 else "are saved by"
            sentences.append(f"{part} {verb} interaction between modalities, which no sum can give.")
        elif gain.high < 0:
            sentences.append("Interaction between modalities does harm here: a sum over them would do better.")
        else:
            told = "The gain does not" if answer == "fuse" else "Nothing of the score seems to"
            sentences.append(f"{told} come from interaction: a sum over modalities would do about as well.")
    if summary.stability:
        sentences.append(_stability(board, summary.stability))
    if summary.dynamic:
        sentences.append(decided_in_words(summary.dynamic))
    if summary.why_static:
        sentences.append(summary.why_static)
    return sentences


def _stability(board: Board, stability: Agreement) -> str:
    """How far several searches agree on the answer."""
    count, distinct = len(stability.seeds), stability.num_distinct
    fusing = count - stability.interaction_orders.get("0", 0)
    same = "the same architecture" if distinct == 1 else f"{distinct} different architectures"
    told = f"{count} searches proposed {same}; {fusing} of them fuse{'s' if fusing == 1 else ''}."
    gap = stability.difference
    if gap is None or not gap.is_known:
        return told
    return f"{told} {board.compare('over these searches, what each proposed', gap, 'late fusion')}"


def _what_would_tell(board: Board, contender: Row, single: Row, gain: Interval) -> list[str]:
    """How far single trainings lie apart, if that is much, and how many seeds or samples would settle it."""
    told = []
    scores = contender.scores
    spread = max(scores, default=0.0) - min(scores, default=0.0)
    if spread > SMALL * board.unit:
        told.append(f"The {len(scores)} trainings of {board.label(contender)} lie {board.size(spread)} apart.")
    pairs = zip(scores, single.scores, strict=False)
    differences = [one - other for one, other in pairs if not math.isnan(one - other)]
    samples = board.summary.data.splits.get("test", math.nan)
    if len(differences) < FEW_SEEDS:
        few = f"{len(differences)} seeds say too little about luck"
        return [*told, f"{few}: {ENOUGH_SEEDS} or more would tell (--retrain-seeds {ENOUGH_SEEDS})."]
    if math.isnan(samples) or gain.margin == 0:
        return told
    score = contender.score.mean if board.metric in PERCENT_METRICS else math.nan
    found = plan(gain, differences, int(samples), score=score)
    if found is None:
        return [*told, "Neither more seeds nor more test samples of a practical number would tell."]
    needs = []
    if found.seeds > len(differences):
        needs.append(f"{found.seeds} seeds instead of {len(differences)} (--retrain-seeds {found.seeds})")
    if found.samples > samples:
        needs.append(f"{found.samples:,} test samples instead of {int(samples):,}")
    if found.halves:
        return [*told, f"About {listed(needs)} would halve this interval."]
    return [*told, f"About {listed(needs)} would tell, if the difference stays as it is."]
