"""How far several searches agree, and what each of them came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nas.errors import UserError
from nas.fields import AMOUNT
from nas.records import checked, inline
from nas.space.architecture import Architecture
from nas.statistics import Interval
from nas.summary.leaderboard import COUNT
from nas.summary.search import SEED


@dataclass(frozen=True, kw_only=True)
class Votes:
    """How many searches made a choice.

    Attributes:
        label: The choice in words.
        operation: Its name.
        inputs: Names of what it reads.
        count: Of searches.
    """

    label: str
    operation: str
    inputs: tuple[str, ...]
    count: int = checked(COUNT)


@dataclass(frozen=True, kw_only=True)
class NodeVotes:
    """The choices that were made at one fusion node, the most frequent first."""

    node: str
    choices: tuple[Votes, ...] = checked(fewest=1)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Scores over searches: mean with its 95 % interval, the extremes, and all of them."""

    score: Interval = inline()
    min: float
    max: float
    scores: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class OneSearch:
    """One of the searches.

    Attributes:
        seed: Of it.
        architecture: What it proposed.
        in_words: The same.
        interaction_order: Its highest.
        agreement: Mean share of nodes at which it agrees with another search.
        encoders: Mode that they were trained in.
        parameters: Of what it proposed.
        multiply_adds: Likewise, for one sample.
        encoder_seconds: Wall time of encoders trained alone.
        search_seconds: Wall time of the search.
        discretization_loss: Loss that reading out has cost; NaN for a strategy without a supernet.
        score: Of what it proposed on the test split.
        late_score: Of late fusion with the same seed; NaN in a space that names no late fusion.
    """

    seed: int = checked(SEED)
    architecture: Architecture
    in_words: str
    interaction_order: int = checked(COUNT)
    agreement: float
    encoders: str
    parameters: int | None = checked(COUNT)
    multiply_adds: int = checked(COUNT)
    encoder_seconds: float = checked(AMOUNT)
    search_seconds: float = checked(AMOUNT)
    discretization_loss: float
    score: float
    late_score: float


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What several searches of one space came to. Intervals are over searches and test samples.

    They tell what another search would have come to, not another training of the consensus.

    Attributes:
        seeds: Of the searches.
        consensus_seed: Of the one whose architecture stands for all.
        num_distinct: How many different architectures were proposed.
        agreement: Mean share of nodes at which two searches agree; see `nas.evaluation.stability.Stability`, like the
            next two.
        chance_agreement: The same by chance.
        kappa: The agreement beyond chance; NaN where it is undefined.
        choices: That were made, per node.
        modalities: Name to how many of the architectures read it.
        depths: Depth to how many of the architectures fuse or carry there.
        interaction_orders: Order to how many of the architectures have it as their highest.
        metric: Of the scores.
        higher_is_better: Whether that is so.
        found: Scores of what was proposed.
        late: Of late fusion; None in a space that names none, like the difference.
        difference: How much better the proposals are than late fusion, paired.
        searches: Each of them.
    """

    seeds: tuple[int, ...] = checked(SEED, fewest=1)
    consensus_seed: int
    num_distinct: int = checked(COUNT)
    agreement: float
    chance_agreement: float
    kappa: float
    choices: tuple[NodeVotes, ...]
    modalities: Mapping[str, int] = checked(COUNT)
    depths: Mapping[str, int] = checked(COUNT)
    interaction_orders: Mapping[str, int] = checked(COUNT)
    metric: str
    higher_is_better: bool
    found: Spread
    late: Spread | None
    difference: Interval | None
    searches: tuple[OneSearch, ...]

    def __post_init__(self) -> None:
        if self.consensus_seed not in self.seeds or self.seeds != tuple(one.seed for one in self.searches):
            raise UserError("seeds of the searches must be those of `searches`, the seed of the consensus among them")

    @property
    def consensus(self) -> OneSearch:
        """The search whose architecture stands for all."""
        return self.searches[self.seeds.index(self.consensus_seed)]
