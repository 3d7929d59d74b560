"""A search repeated over seeds: every architecture judged by its own search's seed, and the one that stands for all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nas.config import EncoderMode
from nas.data.batches import split_batch
from nas.evaluation.leaderboard import leaderboard
from nas.evaluation.stability import Stability, stability
from nas.metrics import higher_is_better
from nas.network.cost import multiply_adds
from nas.retraining.baselines import Contestant
from nas.retraining.preparation import PreparedEncoders, TrainingSetup
from nas.retraining.retrain import Entry, judge, train_all
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.summary import Agreement, NodeVotes, OneSearch, Row, Search, Spread, Votes
from nas.supernet.candidates import Candidates


@dataclass(frozen=True, kw_only=True, eq=False)
class Decision:
    """What the rest of a run needs of one search: neither its supernet nor its cached taps, which may be large.

    Attributes:
        architecture: What was found.
        encoders: The mode that encoders are trained in.
        rows: The contestants of its leaderboard, the found architecture first.
        candidates: What its supernet thinks of its paths; None for a search without one.
        search: How it was found.
    """

    architecture: Architecture
    encoders: EncoderMode
    rows: Sequence[Contestant]
    candidates: Candidates | None
    search: Search


@dataclass(frozen=True, kw_only=True, eq=False)
class Repetition:
    """One search of several.

    Attributes:
        seed: Of its encoders, its supernet and its trainings.
        decision: What it came to.
        entries: The found architecture, then late fusion if the space names it, trained from scratch with that seed.
        multiply_adds: Of the found architecture, per sample.
    """

    seed: int
    decision: Decision
    entries: Sequence[Entry]
    multiply_adds: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Repeated:
    """Several searches before the test split is read.

    Attributes:
        repetitions: One per seed.
        stability: How far they agree.
        consensus: Number, from 0, of the one that stands for all; see `Stability.medoid`.
    """

    repetitions: Sequence[Repetition]
    stability: Stability
    consensus: int

    @property
    def decision(self) -> Decision:
        """The consensus, told with the seconds of all searches, for these it took to find it."""
        decisions = [one.decision for one in self.repetitions]
        chosen = decisions[self.consensus]
        search = replace(
            chosen.search,
            search_seconds=sum(one.search.search_seconds for one in decisions),
            encoder_seconds=sum(one.search.encoder_seconds for one in decisions),
        )
        return replace(chosen, search=search)


def repeat(
    setup: TrainingSetup,
    seeds: Sequence[int],
    decide: Callable[[TrainingSetup, int], tuple[Decision, PreparedEncoders]],
) -> Repeated:
    """Searches once per seed, trains what was found and late fusion with that seed, and chooses the consensus.

    The test split is not read. Records of the log say under `search` which seed's search they are of.

    Args:
        setup: Of the run.
        seeds: Of the searches, at least one.
        decide: Prepares encoders, searches and decides, given a setup and a seed.
    """
    one_sample = split_batch(setup.data, "architecture", setup.device).take(slice(0, 1)).to(setup.device)
    repetitions = []
    for number, seed in enumerate(seeds, start=1):
        setup.progress(f"search {number} of {len(seeds)} (seed {seed})")
        own = replace(setup, log=_tagged(setup, seed))
        decision, prepared = decide(own, seed)
        entries = train_all(own, prepared, _rows(setup.space, decision.architecture))
        cost = multiply_adds(entries[0].network.to(setup.device), one_sample.inputs)
        repetitions.append(Repetition(seed=seed, decision=decision, entries=entries, multiply_adds=cost))
    found = stability(setup.space, [one.decision.architecture for one in repetitions])
    consensus = found.medoid([one.multiply_adds for one in repetitions])
    chosen = repetitions[consensus]
    setup.progress(
        f"consensus of {len(seeds)} searches (seed {chosen.seed}): {chosen.decision.architecture.in_words()}"
    )
    return Repeated(repetitions=repetitions, stability=found, consensus=consensus)


def _tagged(setup: TrainingSetup, seed: int) -> Callable[[Mapping[str, Any]], None]:
    return lambda record: setup.log({**record, "search": seed})


def _rows(space: SearchSpace, found: Architecture) -> list[Contestant]:
    late = next((reference for reference in space.references if reference.kind == "late"), None)
    rows = [Contestant("found", "found", found)]
    return rows if late is None else [*rows, Contestant(late.name, "late", late.architecture)]


def judge_searches(setup: TrainingSetup, repeated: Repeated) -> Agreement:
    """Reads the test split once for every search.

    Args:
        setup: Of the run.
        repeated: The searches.
    """
    metric = setup.metric
    judged = [judge(setup, one.entries) for one in repeated.repetitions]
    board = leaderboard(setup.data.task, [some for some, _ in judged], judged[0][1], metric)
    late = board[1] if len(board) > 1 else None
    found = repeated.stability
    return Agreement(
        seeds=tuple(one.seed for one in repeated.repetitions),
        consensus_seed=repeated.repetitions[repeated.consensus].seed,
        num_distinct=found.num_distinct,
        agreement=found.agreement,
        chance_agreement=found.chance_agreement,
        kappa=found.kappa,
        choices=_votes(setup.space, found),
        modalities=dict(found.modalities),
        depths={str(depth): count for depth, count in found.depths.items()},
        interaction_orders={str(order): count for order, count in found.interaction_orders.items()},
        metric=metric,
        higher_is_better=higher_is_better(metric),
        found=_spread(board[0]),
        late=_spread(late) if late else None,
        difference=late.difference if late else None,
        searches=tuple(
            OneSearch(
                seed=one.seed,
                architecture=one.decision.architecture,
                in_words=one.decision.architecture.in_words(),
                interaction_order=setup.space.interaction_order(one.decision.architecture),
                agreement=found.agreement_of(number),
                encoders=one.decision.encoders,
                parameters=judged[number][0][0].parameters,
                multiply_adds=one.multiply_adds,
                encoder_seconds=one.decision.search.encoder_seconds,
                search_seconds=one.decision.search.search_seconds,
                discretization_loss=one.decision.search.discretization_loss,
                score=board[0].scores[number],
                late_score=late.scores[number] if late else math.nan,
            )
            for number, one in enumerate(repeated.repetitions)
        ),
    )


def _votes(space: SearchSpace, found: Stability) -> tuple[NodeVotes, ...]:
    """Per node the choices that were made, the most frequent first, those of equal count as the node offers them."""
    told = []
    for node in space.nodes:
        made = [one for one in zip(node.choices, node.labels(), found.choices[node.name], strict=True) if one[2]]
        choices = tuple(
            Votes(label=label, operation=choice.operation, inputs=choice.inputs, count=count)
            for choice, label, count in sorted(made, key=lambda one: -one[2])
        )
        told.append(NodeVotes(node=node.name, choices=choices))
    return tuple(told)


def _spread(row: Row) -> Spread:
    return Spread(score=row.score, min=min(row.scores), max=max(row.scores), scores=row.scores)
