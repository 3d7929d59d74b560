"""The tournament: what the search proposes and what a practitioner would try compete for being the answer.

All are trained from scratch under the same conditions, and the architecture split judges; the test split is not read.
For the first seed everything enters: what was read out of the supernet, its best paths, and the references at every
tap. What does well there is trained for the other seeds too. These trainings are the leaderboard's own, so that the
tournament costs hardly more than the leaderboard does. Random search is a control and cannot win.

Early rejection after one round is successive halving with a single cut (Jamieson and Talwalkar 2016, "Non-stochastic
Best Arm Identification and Hyperparameter Optimization").
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor

from nas.architecture import Architecture, Choice, tap_modality
from nas.baselines import PROMISING, Baselines, Contestant
from nas.candidates import Candidates
from nas.data.fusion_data import Task
from nas.metrics import higher_is_better
from nas.preparation import Setup
from nas.retrain import Entry, constant_of
from nas.scoring import MAX_SAMPLES
from nas.space import SearchSpace
from nas.statistics import sample_statistics
from nas.summed import cross_fitted

Preference = Literal["accuracy", "simplicity"]

PREFERENCES: tuple[Preference, ...] = ("accuracy", "simplicity")

PROPOSALS = 3
"""How many of the supernet's best paths are trained for the first seed."""

FAVOURITE = "favourite of the supernet"

DEPOSED = "the search's own choice"

CHANCE = 0.01
"""How likely it may be that any row at all seems better than a constant by chance, where nothing was found."""

MAX_NUMBERS = 10**6
"""Answers are compared on so many numbers, samples times outputs, or on `MAX_SAMPLES`; more take long to calibrate."""

SURPRISE: Mapping[Task, str] = {"classification": "log_loss", "multilabel": "log_loss", "regression": "rmse"}
"""The metric that tells what answers hide: how sure they are."""


@dataclass(frozen=True, kw_only=True)
class Crowned:
    """What a tournament came to.

    Attributes:
        entries: Per seed the leaderboard's rows, the winner first as the one that was found.
        told: The part of the summary that tells about it.
    """

    entries: list[list[Entry]]
    told: Mapping[str, Any]


def entrants(space: SearchSpace, rows: Sequence[Contestant], candidates: Candidates | None) -> list[Contestant]:
    """All that is trained for the first seed: the leaderboard's rows and what may stand in their place.

    Args:
        space: That was searched.
        rows: See `nas.baselines.contestants`.
        candidates: What the supernet thinks of its paths; None for a search without one.
    """
    pool = []
    for row in rows:
        pool.append(row)
        if row.kind in ("modality", "late"):
            pool += [
                Contestant(f"{row.name} at depth {number}", row.kind, one, instead_of=row.name)
                for number, one in _at_other_taps(space, row.architecture)
            ]
    if candidates is None:
        return pool
    order = candidates.losses.mean(dim=1).argsort(stable=True).tolist()
    best = (space.at(tuple(candidates.indices[row].tolist())) for row in order)
    return with_proposals(pool, itertools.islice(best, PROPOSALS + len(pool)), PROPOSALS)


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


def _at_other_taps(space: SearchSpace, architecture: Architecture | None) -> list[tuple[int, Architecture]]:
    """The same at every other node, at the taps that this node reads of the same modalities."""
    assert architecture is not None
    ((own, choice),) = ((name, one) for name, one in architecture.choices if one.inputs)
    found: dict[Choice, tuple[int, Architecture]] = {}
    for number, node in enumerate(space.nodes):
        taps = {tap_modality(tap): tap for tap in node.sources() if "@" in tap}
        inputs = tuple(taps.get(modality, "") for modality in choice.modalities)
        if node.name != own and all(inputs) and inputs != choice.inputs:
            moved = Choice(choice.operation, inputs)
            choices = tuple((name, moved if name == node.name else Choice("none")) for name, _ in architecture.choices)
            # A modality of few taps is read at the same one by several nodes.
            found.setdefault(moved, (number, replace(architecture, choices=choices)))
    return list(found.values())


@dataclass(frozen=True)
class Tournament:
    """Who stays after the first seed, and who wins.

    Attributes:
        prefer: `accuracy` or `simplicity`, see `crown`.
        baselines: `quick` keeps the best few operations, `full` all.
    """

    prefer: Preference = "accuracy"
    baselines: Baselines = "quick"

    def after_the_first_seed(self, setup: Setup, entries: Sequence[Entry]) -> list[Entry]:
        """The entries that go on to the other seeds: of those that stand for one row the best, and the best operations.

        Args:
            setup: Of the run.
            entries: Of the first seed, as many as there are `entrants`.
        """
        told = [number for number, entry in enumerate(entries) if len(entry.held_out)]
        merits = _Evidence(setup, [[entries[number]] for number in told]).merits()
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

    def crown(self, setup: Setup, entries: Sequence[Sequence[Entry]]) -> Crowned:
        """Chooses what is found among all rows that the space offers, by the architecture split.

        `accuracy` takes the row with the best evidence. `simplicity` takes, of all rows within one standard error of
        that one, the simplest (Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3): the fewest
        modalities, then active nodes, then the lowest interaction order, then the fewest parameters.
        Where nothing was read out of the supernet, a row has to be measurably better than a constant to win.

        What decides per sample is left as it is.

        Args:
            setup: Of the run.
            entries: Per seed the rows in the same order, what was read out first.
        """
        first = entries[0]
        rows = list(zip(*entries, strict=True))
        if first[0].architecture.gating is not None:
            return Crowned(entries=[list(some) for some in entries], told={})
        eligible = [
            number
            for number, entry in enumerate(first)
            if entry.contestant.kind != "random" and (not number or setup.space.offers(entry.architecture))
        ]
        evidence = _Evidence(setup, [list(row) for row in rows])
        if not first[0].architecture.taps():
            tried = len(eligible)
            eligible = [number for number in eligible if evidence.beats_a_constant(number, tried)] or [0]
        merits = evidence.merits()
        winner = max(eligible, key=lambda number: (merits[number], -number))
        if self.prefer == "simplicity":
            near = [number for number in eligible if evidence.behind(number, winner) <= 1]
            winner = min(near, key=lambda number: _complexity(setup.space, first[number]))
        told = {
            "prefer": self.prefer,
            "proposed": first[0].architecture.to_dict(),
            "winner": first[winner].contestant.name,
            "behind": {first[number].contestant.name: evidence.behind(number, winner) for number in eligible},
        }
        if winner == 0:
            return Crowned(entries=[list(some) for some in entries], told=told)
        found = replace(first[winner].contestant, name="found", kind="found")
        deposed = replace(first[0].contestant, name=DEPOSED, kind="proposal")
        named = [
            [replace(some[winner], contestant=found), replace(some[0], contestant=deposed), *some[1:]]
            for some in entries
        ]
        if first[winner].contestant.kind == "proposal":  # it is what was found, and no row to compare that with
            named = [[*some[: winner + 1], *some[winner + 2 :]] for some in named]
        return Crowned(entries=named, told=told)


def _complexity(space: SearchSpace, entry: Entry) -> tuple[float, ...]:
    architecture = entry.architecture
    return (
        len(architecture.modalities()),
        sum(bool(choice.inputs) for _, choice in architecture.choices),
        space.interaction_order(architecture),
        sum(parameter.numel() for parameter in entry.network.parameters()),
    )


class _Evidence:
    """What the architecture split says of every row: its score, and how surprised calibrated answers are there.

    Both count alike: a better loss that answers no better buys nothing, and a better score that the loss knows nothing
    of is luck. Answers are calibrated by one temperature, cross-fitted, for what is trained differently is not equally
    sure of itself (Guo et al. 2017, "On Calibration of Modern Neural Networks").

    Args:
        setup: Of the run.
        rows: Of every row the entries of all seeds.
    """

    def __init__(self, setup: Setup, rows: Sequence[Sequence[Entry]]) -> None:
        self.task = setup.data.task
        self.metrics = (setup.metric, SURPRISE[self.task])
        splits, targets = setup.data.splits, setup.data.targets
        most = max(MAX_SAMPLES, MAX_NUMBERS // setup.data.num_outputs)
        read = np.sort(np.random.default_rng(0).permutation(len(splits["architecture"]))[:most])
        self.targets = targets[splits["architecture"]][read]
        self.constant = constant_of(setup).expand(len(read), -1)
        index = torch.from_numpy(read)
        terms = [np.stack([self._terms(one.held_out[index]) for one in row], axis=1) for row in rows]
        self.terms = np.stack(terms)

    def _terms(self, outputs: Tensor) -> NDArray[np.float64]:
        """What each sample adds to each metric, higher is better, (metrics, n)."""
        targets = torch.from_numpy(self.targets)
        calibrated = cross_fitted(self.task, outputs[None], targets, self.constant[0])
        return np.stack(
            [_terms(metric, one, self.targets) for metric, one in zip(self.metrics, (outputs, calibrated), strict=True)]
        )

    def merits(self) -> list[float]:
        """How good each row is: its mean score and loss, each in units of a typical standard error."""
        means = self.terms.mean(axis=(2, 3))  # (rows, metrics)
        units = [
            np.median([_error(self.terms[number, metric] - self.terms[best, metric]) for number in range(len(means))])
            for metric, best in enumerate(means.argmax(axis=0))
        ]
        merits: list[float] = (means / np.maximum(units, 1e-12)).mean(axis=1).tolist()
        return merits

    def behind(self, one: int, other: int) -> float:
        """How many paired standard errors a row lies behind another, the mean of score and loss."""
        return float(np.mean([_lead(lead) for lead in self.terms[other] - self.terms[one]]))

    def beats_a_constant(self, row: int, rows: int) -> bool:
        """Whether a row is better than the best constant answer in either, however many rows were tried."""
        leads = self.terms[row] - self._terms(self.constant)[:, None]
        return max(map(_lead, leads)) > float(norm.isf(CHANCE / (len(leads) * rows)))


def _lead(differences: NDArray[np.float64]) -> float:
    """The mean of (seeds, samples) in standard errors; 0 where all are the same."""
    return float(differences.mean() / max(_error(differences), 1e-12))


def _error(differences: NDArray[np.float64]) -> float:
    """The standard error of a mean over seeds and samples, for both."""
    seeds, samples = differences.shape
    variance = differences.mean(axis=0).var() / samples
    if seeds > 1:
        variance += differences.mean(axis=1).var(ddof=1) / seeds
    return float(variance**0.5)


def _terms(metric: str, outputs: Tensor, targets: NDArray[np.generic]) -> NDArray[np.float64]:
    """What each sample adds to a metric, higher is better; the mean is the metric, exactly or to first order, (n,)."""
    over, under = sample_statistics(metric, outputs.numpy(), targets).T
    total = over.sum() / max(under.sum(), 1e-300)
    terms: NDArray[np.float64] = total + (over - total * under) / max(under.mean(), 1e-300)
    return terms if higher_is_better(metric) else -terms


__all__ = ["PREFERENCES", "Crowned", "Preference", "Tournament", "entrants", "with_proposals"]
