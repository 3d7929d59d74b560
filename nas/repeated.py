"""A search repeated over seeds: every architecture judged by its own search's seed, and the one that stands for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nas.architecture import Architecture
from nas.baselines import Contestant
from nas.candidates import Candidates
from nas.config import EncoderMode
from nas.cost import multiply_adds
from nas.data.batches import split_batch
from nas.evaluate import Row, leaderboard
from nas.metrics import higher_is_better
from nas.preparation import Prepared, Setup
from nas.retrain import Entry, judge, train_all
from nas.space import SearchSpace
from nas.stability import Stability, stability


@dataclass(frozen=True, kw_only=True, eq=False)
class Decision:
    """What the rest of a run needs of one search: neither its supernet nor its cached taps, which may be large.

    Attributes:
        architecture: What was found.
        encoders: The mode that encoders are trained in.
        rows: The contestants of its leaderboard, the found architecture first.
        candidates: What its supernet thinks of its paths; None for a search without one.
        told: The part of the summary that tells how it was found.
    """

    architecture: Architecture
    encoders: EncoderMode
    rows: Sequence[Contestant]
    candidates: Candidates | None
    told: Mapping[str, Any]


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
        seconds = {key: sum(one.told[key] for one in decisions) for key in ("search_seconds", "encoder_seconds")}
        return replace(chosen, told={**chosen.told, **seconds})


def repeat(setup: Setup, seeds: Sequence[int], decide: Callable[[Setup, int], tuple[Decision, Prepared]]) -> Repeated:
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


def _tagged(setup: Setup, seed: int) -> Callable[[Mapping[str, Any]], None]:
    return lambda record: setup.log({**record, "search": seed})


def _rows(space: SearchSpace, found: Architecture) -> list[Contestant]:
    late = next((reference for reference in space.references if reference.kind == "late"), None)
    rows = [Contestant("found", "found", found)]
    return rows if late is None else [*rows, Contestant(late.name, "late", late.architecture)]


def judge_searches(setup: Setup, repeated: Repeated) -> dict[str, Any]:
    """Reads the test split once for every search, and tells all of it as plain values.

    Intervals are over searches and test samples: what another search would have come to, not another training of the
    consensus. A number that is undefined is NaN here and null in JSON.

    Args:
        setup: Of the run.
        repeated: The searches.

    Returns:
        The summary's `stability`:

        - `seeds` of the searches, `consensus_seed`, `num_distinct` architectures, `agreement`, `chance_agreement` and
          `kappa` as in `nas.stability.Stability`;
        - `choices`: per node its `node` and `choices`, those that were made with their `label`, `operation`, `inputs`
          and `count`, the most frequent first; `modalities`, `depths` and `interaction_orders`: name to count;
        - `metric` and `higher_is_better`; `found` and `late`, each with `mean`, `low`, `high`, `min`, `max` and
          `scores`, one per search; `difference`: how much better the found architectures are than late fusion, paired.
          `late` and `difference` are None in a space that names no late fusion;
        - `searches`: one each with `seed`, `architecture`, `in_words`, `interaction_order`, `agreement` with the
          others, `encoders`, `parameters`, `multiply_adds`, `encoder_seconds`, `search_seconds`, `discretization_loss`,
          `score` and `late_score`.
    """
    metric = setup.metric
    judged = [judge(setup, one.entries) for one in repeated.repetitions]
    board = leaderboard(setup.data.task, [some for some, _ in judged], judged[0][1], metric)
    late = board[1] if len(board) > 1 else None
    found = repeated.stability
    return {
        "seeds": [one.seed for one in repeated.repetitions],
        "consensus_seed": repeated.repetitions[repeated.consensus].seed,
        "num_distinct": found.num_distinct,
        "agreement": found.agreement,
        "chance_agreement": found.chance_agreement,
        "kappa": found.kappa,
        "choices": _choices(setup.space, found),
        "modalities": dict(found.modalities),
        "depths": {str(depth): count for depth, count in found.depths.items()},
        "interaction_orders": {str(order): count for order, count in found.interaction_orders.items()},
        "metric": metric,
        "higher_is_better": higher_is_better(metric),
        "found": _spread(board[0]),
        "late": _spread(late) if late else None,
        "difference": late.difference.to_dict() if late and late.difference else None,
        "searches": [
            {
                "seed": one.seed,
                "architecture": one.decision.architecture.to_dict(),
                "in_words": one.decision.architecture.in_words(),
                "interaction_order": setup.space.interaction_order(one.decision.architecture),
                "agreement": found.agreement_of(number),
                "encoders": one.decision.encoders,
                "parameters": judged[number][0][0].parameters,
                "multiply_adds": one.multiply_adds,
                **{key: one.decision.told[key] for key in _TOLD},
                "score": board[0].scores[number],
                "late_score": late.scores[number] if late else None,
            }
            for number, one in enumerate(repeated.repetitions)
        ],
    }


_TOLD = ("encoder_seconds", "search_seconds", "discretization_loss")


def _choices(space: SearchSpace, found: Stability) -> list[dict[str, Any]]:
    """Per node the choices that were made, the most frequent first, those of equal count as the node offers them."""
    told = []
    for node in space.nodes:
        made = [one for one in zip(node.choices, node.labels(), found.choices[node.name], strict=True) if one[2]]
        choices = [
            {"label": label, "operation": choice.operation, "inputs": list(choice.inputs), "count": count}
            for choice, label, count in sorted(made, key=lambda one: -one[2])
        ]
        told.append({"node": node.name, "choices": choices})
    return told


def _spread(row: Row) -> dict[str, Any]:
    """Scores over searches: mean with interval, the extremes, and all of them."""
    return {**row.score.to_dict(), "min": min(row.scores), "max": max(row.scores), "scores": list(row.scores)}
