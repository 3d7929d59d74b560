"""How the winner of the tournament was chosen, read from a run's summary. Nothing is drawn here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nas.discretize.tournament import DEPOSED
from nas.report.numbers import clean
from nas.report.tables import shown
from nas.summary import Summary


@dataclass(frozen=True)
class Standing:
    """One row of the tournament.

    Attributes:
        name: As on the leaderboard.
        in_words: The architecture in words, or "".
        held_out: Score on the architecture split, mean over seeds; NaN if unknown.
        errors_behind: Paired standard errors behind the winner, the mean of score and loss; negative if ahead of it.
        is_winner: Whether it won.
        is_own: Whether it is what the search itself chose, and its name does not say so.
    """

    name: str
    in_words: str
    held_out: float
    errors_behind: float
    is_winner: bool
    is_own: bool


@dataclass(frozen=True)
class Standings:
    """What a tournament came to.

    Attributes:
        winner: Name of the row that won, as on the leaderboard.
        prefers_simple: Whether the simplest of the rows that are about as good as the best was taken.
        changed_the_answer: Whether something else won than what the search itself chose.
        rows: All that could win, the winner first, then by how far they are behind.
    """

    winner: str
    prefers_simple: bool
    changed_the_answer: bool
    rows: tuple[Standing, ...]


def standings(summary: Summary) -> Standings | None:
    """The tournament of a run, or None if there was none.

    The tournament calls what the search itself chose "found". If another row won, that row is found on the
    leaderboard, and the search's own choice has the name `DEPOSED` there.

    Args:
        summary: Of the run.
    """
    told = summary.tournament
    if told is None:
        return None
    rows = {row.name: row for row in map(shown, summary.leaderboard)}
    winner = clean(told.winner)
    found = []
    for raw, errors_behind in told.errors_behind.items():
        name = clean(raw)
        if winner != "found" and name == "found":
            row = rows.get(DEPOSED)
        else:  # a favourite of the supernet that won stands on the leaderboard as the found one alone
            row = rows.get(name) or (rows.get("found") if name == winner else None)
        if row is not None:
            known_as = DEPOSED if row.name == DEPOSED else name
            is_own = name == known_as == "found"  # else its name says so
            told_of = (row.in_words, row.architecture_score, errors_behind, name == winner, is_own)
            found.append(Standing(known_as, *told_of))
    order = sorted(found, key=lambda one: (not one.is_winner, math.isnan(one.errors_behind), one.errors_behind))
    return Standings(winner, told.prefer == "simplicity", winner != "found", tuple(order))
