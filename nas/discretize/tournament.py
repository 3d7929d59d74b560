"""The tournament: what the search proposes and what a practitioner would try compete for being the answer.

All are trained from scratch under the same conditions, and the architecture split judges; the test split is not read.
For the first seed everything enters: what was read out of the supernet, its best paths, and the references at every
tap; then variations of what leads, see `nas.discretize.local_search`. What does well there is trained for the other
seeds too. Most of these trainings are the leaderboard's own, so that the tournament costs hardly more than the
leaderboard does. Random search is a control and cannot win.

Early rejection after one round is successive halving with a single cut (Jamieson and Talwalkar 2016, "Non-stochastic
Best Arm Identification and Hyperparameter Optimization").
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from nas.config import Baselines, Preference
from nas.discretize.evidence import Evidence
from nas.discretize.local_search import able_to_lead, at_other_taps, local_search, with_one_tap_moved
from nas.network.cost import CostTable
from nas.retraining.baselines import PROMISING, Contestant
from nas.retraining.preparation import PreparedEncoders, TrainingSetup
from nas.retraining.retrain import Entry, train_all
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.summary import Standings
from nas.supernet.candidates import Candidates

PROPOSALS = 3
"""How many of the supernet's best paths are trained for the first seed."""

FAVOURITE = "favourite of the supernet"

VARIATION = "best variation"

DEPOSED = "the search's own choice"


@dataclass(frozen=True, kw_only=True)
class FirstSeed:
    """What the trainings of the first seed came to.

    Attributes:
        entries: Those that go on to the other seeds.
        trainings: How many no baseline needed: of proposals and variations.
        seconds: That these took.
    """

    entries: list[Entry]
    trainings: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TournamentResult:
    """What a tournament came to.

    Attributes:
        entries: Per seed the leaderboard's rows, the winner first as the one that was found.
        standings: How the winner was chosen; None of what decides per sample.
    """

    entries: list[list[Entry]]
    standings: Standings | None


def entrants(space: SearchSpace, rows: Sequence[Contestant], candidates: Candidates | None) -> list[Contestant]:
    """All that is trained for the first seed: the leaderboard's rows and what may stand in their place.

    Args:
        space: That was searched.
        rows: See `nas.retraining.baselines.contestants`.
        candidates: What the supernet thinks of its paths; None for a search without one.
    """
    pool = []
    for row in rows:
        pool.append(row)
        if row.kind in ("modality", "late") and row.architecture is not None:
            pool += [
                Contestant(f"{row.name} at depth {number}", row.kind, one, instead_of=row.name)
                for number, one in at_other_taps(space, row.architecture)
            ]
            pool += [
                Contestant(f"{row.name}, {one.in_words()}", row.kind, one, instead_of=row.name)
                for one in with_one_tap_moved(space, row.architecture)
            ]
    if candidates is None:
        return pool
    order = candidates.losses.mean(dim=1).argsort(stable=True).tolist()
    best = (space.at(candidates.indices[row].tolist()) for row in order)
    return with_proposals(pool, itertools.islice(best, PROPOSALS + len(pool)), PROPOSALS)


def is_in(row: Contestant, baselines: Baselines) -> bool:
    """Whether a row is trained: with `few` only what was found, each modality alone, and late fusion."""
    return baselines != "few" or (row.kind in ("found", "static", "modality", "late") and not row.instead_of)


def with_proposals(
    pool: Sequence[Contestant], architectures: Iterable[Architecture], most: int | None = None
) -> list[Contestant]:
    """A pool and what a supernet proposes besides, of which one goes on after the first seed.

    Nothing is added to what decides per sample, for it would be compared with what does not.

    Args:
        pool: The found one first.
        architectures: The most promising first; what is in the pool already is left out.
        most: How many may enter; None for all.
    """
    known = {row.architecture for row in pool}
    fresh = [one for one in dict.fromkeys(architectures) if one not in known and one.gating is None][:most]
    if pool[0].architecture is not None and pool[0].architecture.gating is not None:
        fresh = []
    first = 1 + sum(row.kind == "proposal" for row in pool)
    names = [FAVOURITE if number == 1 else f"{FAVOURITE} {number}" for number in range(first, first + len(fresh))]
    rows = [
        Contestant(name, "proposal", one, instead_of="" if name == FAVOURITE else FAVOURITE)
        for name, one in zip(names, fresh, strict=True)
    ]
    return [pool[0], *rows, *pool[1:]]


@dataclass(frozen=True)
class Tournament:
    """Who stays after the first seed, and who wins.

    Attributes:
        prefer: `accuracy` or `simplicity`, see `choose_winner`.
        baselines: `quick` keeps the best few operations, `full` all; see `is_in` for `few`.
        candidates: What the supernet thinks of its paths; None for a search without one.
    """

    prefer: Preference = "accuracy"
    baselines: Baselines = "quick"
    candidates: Candidates | None = field(default=None, repr=False, compare=False)

    def leader(
        self, setup: TrainingSetup, prepared: PreparedEncoders, rows: Sequence[Contestant], cost: CostTable
    ) -> Architecture:
        """Where gates and cascades start: the cheapest of what is as good as the best, by trainings of the first seed.

        As good is what reads the same modalities, for which of them to read is a question for every sample, and lies
        within one standard error of the best. Only what the supernet holds is taken.

        Args:
            setup: Of the run.
            prepared: For the first seed.
            rows: All `entrants`, what was read out first; it stays where nothing is measurably better than a constant.
            cost: Multiply-adds of every part of the supernet.
        """
        read_out = rows[0].architecture
        assert read_out is not None
        able = able_to_lead(setup, self._trained(setup, prepared, rows))
        held = [one for one in able if setup.space.holds(one.architecture)]
        if not held:
            return read_out
        evidence = Evidence(setup, [[one] for one in held])
        merits = evidence.merits()
        best = max(range(len(held)), key=merits.__getitem__)
        if not read_out.taps() and not evidence.beats_a_constant(best, len(held)):
            return read_out
        read = set(held[best].architecture.modalities())
        alike = [number for number, one in enumerate(held) if set(one.architecture.modalities()) == read]
        near = [held[number].architecture for number in alike if evidence.errors_behind(number, best) <= 1]
        return min(near, key=cost.total)

    def first_seed(self, setup: TrainingSetup, prepared: PreparedEncoders, rows: Sequence[Contestant]) -> FirstSeed:
        """Trains what enters and variations of what leads.

        Args:
            setup: Of the run.
            prepared: For the first seed.
            rows: All `entrants`.
        """
        entries = self._trained(setup, prepared, rows)
        extra = [one.train_seconds for one in entries if one.contestant.kind == "proposal"]
        return FirstSeed(
            entries=self.after_the_first_seed(setup, entries), trainings=len(extra), seconds=float(sum(extra))
        )

    def _trained(self, setup: TrainingSetup, prepared: PreparedEncoders, rows: Sequence[Contestant]) -> list[Entry]:
        entries = train_all(setup, prepared, [row for row in rows if is_in(row, self.baselines)])
        if self.baselines == "few":
            return entries
        return local_search(setup, prepared, entries, self.candidates, VARIATION)

    def after_the_first_seed(self, setup: TrainingSetup, entries: Sequence[Entry]) -> list[Entry]:
        """The entries that go on to the other seeds: of those that stand for one row the best, and the best operations.

        Args:
            setup: Of the run.
            entries: Of the first seed: `entrants` and variations.
        """
        told = [number for number, entry in enumerate(entries) if len(entry.held_out)]
        merits = Evidence(setup, [[entries[number]] for number in told]).merits()
        merit = {**dict.fromkeys(range(len(entries)), math.inf), **dict(zip(told, merits, strict=True))}
        best: dict[str, int] = {}
        for number, entry in enumerate(entries):
            name = entry.contestant.instead_of or entry.contestant.name
            if name not in best or merit[number] > merit[best[name]]:
                best[name] = number
        if self.baselines == "quick":
            operations = [number for number in best.values() if entries[number].contestant.kind == "operation"]
            dropped = sorted(operations, key=lambda number: -merit[number])[PROMISING:]
            best = {name: number for name, number in best.items() if number not in dropped}
        return [
            replace(entries[number], contestant=replace(entries[number].contestant, name=name, instead_of=""))
            for name, number in best.items()
        ]

    def choose_winner(
        self, setup: TrainingSetup, entries: Sequence[Sequence[Entry]], *, trainings: int = 0, seconds: float = 0.0
    ) -> TournamentResult:
        """Chooses what is found among all rows that the space offers, by the architecture split.

        `accuracy` takes the row with the best evidence. `simplicity` takes, of all rows within one standard error of
        that one, the simplest (Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3): the fewest
        modalities, then steps, then the lowest interaction order, then the fewest parameters.
        Where nothing was read out of the supernet, a row has to be measurably better than a constant to win.

        What decides per sample is left as it is.

        Args:
            setup: Of the run.
            entries: Per seed the rows in the same order, what was read out first.
            trainings: Of the first seed that no baseline needed, for the record.
            seconds: That these took, likewise.
        """
        first = entries[0]
        rows = list(zip(*entries, strict=True))
        if first[0].architecture.gating is not None:
            return TournamentResult(entries=[list(some) for some in entries], standings=None)
        eligible = [
            number
            for number, entry in enumerate(first)
            if entry.contestant.kind != "random" and (not number or setup.space.offers(entry.architecture))
        ]
        evidence = Evidence(setup, [list(row) for row in rows])
        if not first[0].architecture.taps():
            tried = len(eligible)
            eligible = [number for number in eligible if evidence.beats_a_constant(number, tried)] or [0]
        merits = evidence.merits()
        winner = max(eligible, key=lambda number: (merits[number], -number))
        if self.prefer == "simplicity":
            near = [number for number in eligible if evidence.errors_behind(number, winner) <= 1]
            winner = min(near, key=lambda number: _complexity(setup.space, first[number]))
        standings = Standings(
            prefer=self.prefer,
            proposed=first[0].architecture,
            winner=first[winner].contestant.name,
            errors_behind={
                first[number].contestant.name: evidence.errors_behind(number, winner) for number in eligible
            },
            trainings=trainings,
            seconds=seconds,
        )
        if winner == 0:
            return TournamentResult(entries=[list(some) for some in entries], standings=standings)
        found = replace(first[winner].contestant, name="found", kind="found")
        deposed = replace(first[0].contestant, name=DEPOSED, kind="proposal")
        named = [
            [replace(some[winner], contestant=found), replace(some[0], contestant=deposed), *some[1:]]
            for some in entries
        ]
        if first[winner].contestant.kind == "proposal":  # it is what was found, and no row to compare that with
            named = [[*some[: winner + 1], *some[winner + 2 :]] for some in named]
        return TournamentResult(entries=named, standings=standings)


def _complexity(space: SearchSpace, entry: Entry) -> tuple[float, ...]:
    architecture = entry.architecture
    return (
        len(architecture.modalities()),
        len(architecture.steps),
        space.interaction_order(architecture),
        sum(parameter.numel() for parameter in entry.network.parameters()),
    )


__all__ = ["Tournament", "TournamentResult", "entrants", "is_in", "with_proposals"]
