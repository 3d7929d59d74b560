"""What a network that decides per sample does on the test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nas.fields import AMOUNT, Number
from nas.records import checked
from nas.summary.leaderboard import COUNT

Decider = Literal["gate", "cascade"]

FRACTION = Number("from 0 to 1", high=1.0, below=False)


@dataclass(frozen=True, kw_only=True)
class Route:
    """One route.

    Attributes:
        in_words: What it does.
        modalities: That it reads.
        multiply_adds: Of a sample that takes it; in a cascade of all routes so far.
        share: Of the samples that take it.
        shares: The same per class; empty unless the task is classification.
        score: If all samples take it.
    """

    in_words: str
    modalities: tuple[str, ...]
    multiply_adds: float = checked(AMOUNT)
    share: float = checked(FRACTION)
    shares: Mapping[str, float] = checked(FRACTION)
    score: float


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample of the test split.

    Attributes:
        sample: Its number in the split.
        target: Its class, or its values.
        fused: The multiply-adds that the probabilities expect, as a share of the static architecture's.
    """

    sample: int = checked(COUNT)
    target: str | tuple[float, ...]
    fused: float


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """How sure single modalities are of some samples.

    Attributes:
        fused: As in `Sample`, for each of them.
        unimodal: Modality to the largest probability that its own network gives to a class, for each of them; empty
            unless the task is classification.
    """

    fused: tuple[float, ...] = ()
    unimodal: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Without:
    """What is left if no sample has a modality.

    Attributes:
        score: Of the network.
        multiply_adds: Mean over samples.
        does_without: Whether some route does not read it.
    """

    score: float
    multiply_adds: float = checked(AMOUNT)
    does_without: bool


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """All that is told of a network that decides per sample. Points are (multiply-adds, score).

    Attributes:
        decider: What decides on the routes.
        reads: Names of the taps that its gate reads; none for a cascade.
        routes: In their order.
        lacking: Share of samples that lack a modality, by which the gate is forced.
        multiply_adds: Mean over samples.
        static_multiply_adds: Of the static architecture.
        curve: Of one network as its gate is biased from cheap to dear.
        random: The best gates that do not look at the sample.
        oracle: For every sample the cheapest route that is no more wrong than the last one.
        most_fused: Samples that lack nothing, if there are any.
        least_fused: Likewise.
        confidence: Of single modalities.
        missing: Modality to what is left without it.
        budget: Share of the static multiply-adds that it may spend; 0 for none.
    """

    decider: Decider
    reads: tuple[str, ...]
    routes: tuple[Route, ...] = checked(fewest=1)
    lacking: float = checked(FRACTION)
    multiply_adds: float = checked(AMOUNT)
    static_multiply_adds: float = checked(Number("positive, and finite", above=True))
    curve: tuple[tuple[float, float], ...]
    random: tuple[tuple[float, float], ...]
    oracle: tuple[float, float]
    most_fused: tuple[Sample, ...]
    least_fused: tuple[Sample, ...]
    confidence: Confidence
    missing: Mapping[str, Without]
    budget: float = checked(FRACTION, default=0.0)
