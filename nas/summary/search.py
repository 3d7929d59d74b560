"""How the architecture was found: the space, what the search came to believe, and how that was read out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nas.errors import UserError
from nas.fields import AMOUNT, Whole
from nas.records import checked
from nas.space.architecture import Architecture
from nas.summary.leaderboard import COUNT

SEED = Whole(0, 2**33)
"""Those of retrainings count up from one below 2³²."""

DEPTHS = Whole(1, 10_000)
"""Taps of one modality: far more than any search has."""


@dataclass(frozen=True, kw_only=True)
class SearchedChoice:
    """One thing that a fusion node may do.

    Attributes:
        operation: Its name.
        inputs: Names of what it reads.
        label: The choice in words.
        order: Of the interaction, 0 to 3.
        formula: Of the operation.
    """

    operation: str
    inputs: tuple[str, ...]
    label: str
    order: int = checked(Whole(0, 3))
    formula: str


@dataclass(frozen=True, kw_only=True)
class SearchedNode:
    """A fusion node as it was searched.

    Attributes:
        name: Of the node.
        residual: Name of the node whose state its output is added to, if there is one.
        choices: All that it may do.
        choice_weights: Weight of each choice at the end of the search; empty while it goes on.
        chosen: Place of what was found in the end; None of what no supernet holds.
        title: For people; "" where the name says it.
    """

    name: str
    residual: str | None
    choices: tuple[SearchedChoice, ...] = checked(fewest=1)
    choice_weights: tuple[float, ...] = ()
    chosen: int | None = checked(COUNT, default=None)
    title: str = ""

    def __post_init__(self) -> None:
        count = len(self.choices)
        if len(self.choice_weights) not in (0, count) or (self.chosen is not None and self.chosen >= count):
            raise UserError(
                f"node {self.name!r} has {count} choices and another number of weights, or none such chosen"
            )

    @property
    def choice_weight(self) -> float:
        """Weight of what was found; NaN if unknown."""
        return float("nan") if self.chosen is None or not self.choice_weights else self.choice_weights[self.chosen]


@dataclass(frozen=True, kw_only=True)
class SearchedReference:
    """What the space compares with.

    Attributes:
        name: For people.
        kind: What it stands for.
        architecture: What is trained.
    """

    name: str
    kind: Literal["modality", "late", "transformer", "early", "operation"]
    architecture: Architecture


@dataclass(frozen=True, kw_only=True)
class Compromise:
    """An architecture that no other one that was tried beats in loss without costing more, or in cost without losing.

    Attributes:
        architecture: Trained from scratch.
        in_words: The same.
        loss: Its mean loss on the architecture split.
        multiply_adds: Of its whole network for one sample.
    """

    architecture: Architecture
    in_words: str
    loss: float
    multiply_adds: int = checked(COUNT)


@dataclass(frozen=True, kw_only=True)
class Guards:
    """How a guarded search ended; see `nas.supernet.guards`.

    Attributes:
        tripped: Name of the guard, or None.
        epoch: Of the look at which it tripped, or of the last look.
        restored_epoch: Of the state that was restored; None if none was.
        values: Of that look.
        fell_back: Whether another discretization than what was asked for decided.
        in_words: All that in a sentence.
    """

    tripped: str | None
    epoch: int = checked(COUNT)
    restored_epoch: int | None = checked(COUNT)
    values: Mapping[str, float]
    fell_back: bool
    in_words: str


@dataclass(frozen=True, kw_only=True)
class TriedGate:
    """A dynamic architecture that was compared with the static one, and its loss with the price of multiply-adds."""

    in_words: str
    loss: float


@dataclass(frozen=True, kw_only=True)
class GateTrial:
    """What came of letting the architecture decide per sample; numbers are NaN where there was nothing to compare.

    Attributes:
        taken: Whether it does.
        tried: What was compared.
        static_loss: Of the static architecture, trained on likewise.
        errors_behind: How far the best of those tried lies behind it, in standard errors of paired differences.
        decided: Share of the judging samples that do not take the route that most take, in the best of those tried.
        in_words: Why nothing is decided per sample, in a sentence; "" if something is.
    """

    taken: bool
    tried: tuple[TriedGate, ...]
    static_loss: float = float("nan")
    errors_behind: float = float("nan")
    decided: float = float("nan")
    in_words: str


@dataclass(frozen=True, kw_only=True)
class Search:
    """What one search came to, before anything was trained from scratch.

    Attributes:
        space: Its name.
        depths: Modality to the number of its taps.
        nodes: What every fusion node may do.
        references: That the space names.
        search_seconds: Wall time of search, read-out and gates; of several searches all of it.
        encoder_seconds: Wall time of encoders trained alone, likewise.
        discretization: How it was read out; None for a strategy without a supernet.
        discretization_loss: Loss that reading out has cost; NaN for a strategy without a supernet.
        guards: How a guarded search ended; None for a search without guards.
        gated: What came of letting it decide per sample; None in a static space.
        candidates: Paths that the supernet was asked about; None for a strategy without one.
        pareto: What nothing that was tried beats in loss and multiply-adds, the cheapest first.
        seed: Of the search.
    """

    space: str
    depths: Mapping[str, int] = checked(DEPTHS, fewest=1)
    nodes: tuple[SearchedNode, ...]
    references: tuple[SearchedReference, ...] = ()
    search_seconds: float = checked(AMOUNT)
    encoder_seconds: float = checked(AMOUNT)
    discretization: str | None
    discretization_loss: float
    guards: Guards | None = None
    gated: GateTrial | None = None
    candidates: int | None = checked(COUNT, default=None)
    pareto: tuple[Compromise, ...] = ()
    seed: int = checked(SEED)
