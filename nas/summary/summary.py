"""The summary of a run: all that it came to, as one value that is written to `summary.json`, read back and drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from nas.errors import UserError
from nas.fields import AMOUNT, Registered
from nas.metrics import METRICS, higher_is_better
from nas.records import checked, inline
from nas.space.architecture import Architecture
from nas.statistics import Interval
from nas.summary.attention import Attention
from nas.summary.data import DataDescription
from nas.summary.diagnosis import Calibration, Diagnosis, Mistakes
from nas.summary.leaderboard import COUNT, Costs, Row
from nas.summary.objectives import Advice, Objectives
from nas.summary.routes import Decisions
from nas.summary.search import SEED, Search
from nas.summary.stability import Agreement
from nas.summary.verdict import Verdict

FORMAT_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class Standings:
    """What the tournament came to; see `nas.discretize.tournament`.

    Attributes:
        prefer: "accuracy" or "simplicity".
        proposed: What the search itself chose.
        winner: Name of the row that won; "found" if that is what the search itself chose.
        errors_behind: Name of every row that could win to its paired standard errors behind the winner.
        trainings: How many no baseline needed: of proposals and variations.
        seconds: That these took.
    """

    prefer: Literal["accuracy", "simplicity"]
    proposed: Architecture
    winner: str
    errors_behind: Mapping[str, float]
    trainings: int = checked(COUNT)
    seconds: float = checked(AMOUNT)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What was decided for one modality.

    Attributes:
        chosen: A name of `nas.encoders.preprocessing.PREPROCESSING`, or "standardize".
        scores: Of each that was tried, on the architecture split; empty where there was no choice.
    """

    chosen: str
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What has to be known to repeat a result.

    Attributes:
        command: The command line.
        commit: Of the checkout; None outside one.
        versions: Package to version.
        hardware: Processor, cores and GPU.
        started_at: UTC, ISO 8601.
    """

    command: str
    commit: str | None
    versions: Mapping[str, str]
    hardware: str
    started_at: str


@dataclass(frozen=True, kw_only=True)
class Results:
    """What trainings from scratch came to: the part of a summary that a retraining replaces.

    Attributes:
        architecture: What was found.
        in_words: The same.
        interaction_order: Its highest.
        encoders: Mode that they were trained in.
        metric: What networks are judged by.
        higher_is_better: Whether that is so.
        leaderboard: The found architecture first.
        costs: Of the found network.
        diagnosis: What the found networks do with their modalities.
        calibration: How far probabilities may be believed; None for regression.
        mistakes: Where they are wrong; None of several labels.
        attention: What attends to what in the kept network; None if none of its operations has attention.
        seeds: Of the trainings.
        objective: As it was asked for.
        advice: What to try.
        tournament: How the winner was chosen; None of what decides per sample, and of a retraining.
        objectives: What came of those that were tried; None if none was to be.
        dynamic: What a network that decides per sample does; None for a static one.
        left_out: What there was no time for, to keep the time limit.
        on_fewer: What was made on a part of the samples, drawn at random.
    """

    architecture: Architecture
    in_words: str
    interaction_order: int = checked(COUNT)
    encoders: Literal["auto", "pretrained", "joint"]
    metric: str = checked(Registered(METRICS))
    higher_is_better: bool = dataclasses.field(init=False)
    leaderboard: tuple[Row, ...] = checked(fewest=1)
    costs: Costs
    diagnosis: Diagnosis
    calibration: Calibration | None = None
    mistakes: Mistakes | None = None
    attention: Attention | None = None
    seeds: tuple[int, ...] = checked(SEED, fewest=1)
    objective: str
    advice: tuple[Advice, ...] = ()
    tournament: Standings | None = None
    objectives: Objectives | None = None
    dynamic: Decisions | None = None
    left_out: tuple[str, ...] = ()
    on_fewer: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "higher_is_better", higher_is_better(self.metric))
        if self.leaderboard[0].kind != "found":
            raise UserError(f"leaderboard[0].kind must be 'found', got {self.leaderboard[0].kind!r}")

    def values(self) -> dict[str, Any]:
        """Its fields by name, to make a summary with, or to put into another one."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.init}

    @property
    def sense(self) -> int:
        """1 if a higher score is the better one, else -1."""
        return 1 if self.higher_is_better else -1

    @property
    def found(self) -> Row:
        """The row of what was found."""
        return self.leaderboard[0]

    @property
    def saved(self) -> Row:
        """The row whose network of the first seed is in the run folder."""
        return next((row for row in self.leaderboard if row.kind == "refit"), self.found)

    def is_found_again(self, row: Row) -> bool:
        """Whether a row other than the first is the network that was found, so that comparing them says nothing."""
        return (
            row.kind not in ("found", "random", "refit", "ensemble")
            and row.difference == Interval(0.0, 0.0, 0.0)
            and row.architecture == self.architecture
            and row.separate == self.found.separate
        )


@dataclass(frozen=True, kw_only=True)
class Summary(Results):
    """All that a run came to.

    Attributes:
        data: What it was searched on.
        search: How it was found; in JSON its fields stand beside the others.
        device: Where it was trained.
        preprocessing: Modality to what was decided for it.
        training_seconds: What one fixed architecture, late fusion, takes at full length.
        search_cost: Time of the search in units of that.
        stability: How far several searches agree; None of one.
        strategy: That searched.
        provenance: Where it comes from; in JSON likewise.
        total_seconds: Wall time of everything.
        verdict: The answer; None until it is given.
    """

    format_version: Literal[1] = FORMAT_VERSION
    data: DataDescription
    search: Search = inline()
    device: str
    preprocessing: Mapping[str, Preprocessing]
    training_seconds: float = checked(AMOUNT)
    search_cost: float = checked(AMOUNT)
    stability: Agreement | None = None
    strategy: str
    provenance: Provenance = inline()
    total_seconds: float = checked(AMOUNT)
    verdict: Verdict | None = None

    @property
    def why_static(self) -> str:
        """Why nothing is decided per sample although it was asked for, in a sentence; "" if that is not so."""
        return self.search.gated.in_words if self.search.gated else ""

    @property
    def temperature(self) -> float:
        """That logits are divided by; 1 for regression."""
        return self.calibration.temperature if self.calibration else 1.0
