"""Several searches of one data set, end to end: what they tell, and that it is what each of them alone would."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas import RunResult, evaluate, load_run, retrain
from nas.data.fusion_data import FusionData
from nas.discretize.tournament import DEPOSED
from nas.evaluation.stability import stability
from nas.pipeline.repeated import Decision, judge_searches, repeat
from nas.records import plain
from nas.report import report
from nas.retraining.preparation import PreparedEncoders, TrainingSetup, raw
from nas.space.architecture import Architecture, Choice
from search_spaces import layerwise
from tests.strategies.problems import CPU, builders, tiny_data, tiny_space
from tests.strategies.problems import TRAINING as PROBLEM_TRAINING
from tests.summaries import known, make_search
from tests.tiny_runs import OPERATIONS, SIZES, as_data, no_report, tiny_arrays, tiny_search

SEEDS = (5, 6, 7)


def poisoned_data() -> FusionData:
    """The data of the other tests with a test split of noise, every label of it wrong."""
    arrays = tiny_arrays()
    generator = np.random.default_rng(99)
    for name in ("sound", "sight"):
        arrays[name][-SIZES[2] :] = 50 * generator.normal(size=arrays[name][-SIZES[2] :].shape)
    arrays["label"][-SIZES[2] :] = np.roll(arrays["label"][-SIZES[2] :], 1)
    return as_data(arrays)


def repeated_search(data: FusionData, **options: Any) -> RunResult:
    return tiny_search(data, **{"seed": SEEDS[0], "search_seeds": len(SEEDS), "encoders": "pretrained", **options})


def records_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """Three searches, then two retrainings, in a folder; only to be read."""
    return repeated_search(as_data(tiny_arrays()), retrain_seeds=2, out=tmp_path_factory.mktemp("repeated") / "run")


@pytest.fixture
def copied(run: RunResult, tmp_path: Path) -> Path:
    assert run.folder is not None
    return Path(shutil.copytree(run.folder, tmp_path / "copy"))


def test_each_search_is_what_its_seed_alone_would_come_to(run: RunResult) -> None:
    told = known(run.summary.stability)
    assert told.seeds == tuple(SEEDS)
    space = layerwise({"sound": 3, "sight": 3}, operations=OPERATIONS)
    late = next(one.architecture for one in space.references if one.kind == "late")
    for one in told.searches:
        alone = tiny_search(as_data(tiny_arrays()), seed=one.seed, encoders="pretrained")
        proposed = known(alone.summary.tournament).proposed
        assert one.architecture == proposed
        assert one.in_words == proposed.in_words()
        assert one.discretization_loss == alone.summary.search.discretization_loss
        rows = {row.name: row for row in alone.summary.leaderboard}
        own = rows.get(DEPOSED, rows["found"])
        assert one.score == own.scores[0]
        assert one.parameters == own.parameters
        assert one.multiply_adds == own.multiply_adds
        if rows["late fusion"].architecture == late:  # on the leaderboard it may be at another tap
            assert one.late_score == rows["late fusion"].scores[0]


def test_the_counts_are_those_of_the_found_architectures(run: RunResult) -> None:
    told = plain(run.summary.stability)
    architectures = [Architecture.from_dict(one["architecture"]) for one in told["searches"]]
    space = layerwise({"sound": 3, "sight": 3}, operations=OPERATIONS)
    found = stability(space, architectures)
    assert told["num_distinct"] == found.num_distinct > 1  # otherwise this run would test little
    assert (told["agreement"], told["kappa"]) == (found.agreement, found.kappa)
    assert told["chance_agreement"] == found.chance_agreement
    assert [one["agreement"] for one in told["searches"]] == [found.agreement_of(search) for search in range(3)]
    assert told["modalities"] == found.modalities
    assert told["depths"] == {str(depth): count for depth, count in found.depths.items()}
    assert told["interaction_orders"] == {str(order): count for order, count in found.interaction_orders.items()}
    for node in told["choices"]:
        counts = [choice["count"] for choice in node["choices"]]
        assert counts == sorted((count for count in found.choices[node["node"]] if count), reverse=True)
        for choice in node["choices"]:
            made = [space.choices(one)[node["node"]] for one in architectures]
            assert made.count(Choice(choice["operation"], tuple(choice["inputs"]))) == choice["count"]


def test_scores_are_spread_over_searches_beside_late_fusion(run: RunResult) -> None:
    told = known(run.summary.stability)
    of_found, of_late = ([one.score for one in told.searches], [one.late_score for one in told.searches])
    for spread, scores in ((told.found, of_found), (known(told.late), of_late)):
        assert spread.scores == tuple(scores)
        assert spread.score.mean == pytest.approx(np.mean(scores))
        assert (spread.min, spread.max) == (min(scores), max(scores))
        assert spread.score.low < spread.score.mean <= spread.score.high
    gains = [one.score - one.late_score for one in told.searches]
    assert known(told.difference).mean == pytest.approx(np.mean(gains))
    assert told.metric == run.summary.metric
    assert told.higher_is_better is True


def test_the_run_goes_on_with_the_consensus(run: RunResult) -> None:
    summary = run.summary
    told = known(summary.stability)
    costs = [one.multiply_adds for one in told.searches]
    architectures = [one.architecture for one in told.searches]
    number = stability(layerwise({"sound": 3, "sight": 3}, operations=OPERATIONS), architectures).medoid(costs)
    assert told.consensus_seed == summary.search.seed == SEEDS[number]
    assert known(summary.tournament).proposed == architectures[number]
    assert summary.architecture == summary.leaderboard[0].architecture == run.architecture
    assert summary.seeds == (5, 6)  # of the retrainings, whichever search it was
    alone = tiny_search(as_data(tiny_arrays()), seed=SEEDS[number], encoders="pretrained").summary
    assert [node.choice_weights for node in summary.search.nodes] == [
        node.choice_weights for node in alone.search.nodes
    ]
    # The searches took what all of them took.
    assert summary.search.search_seconds == pytest.approx(sum(one.search_seconds for one in told.searches))
    assert summary.search.encoder_seconds == pytest.approx(sum(one.encoder_seconds for one in told.searches))
    assert summary.search_cost == pytest.approx(summary.search.search_seconds / summary.training_seconds)


def test_one_search_tells_nothing_of_stability_and_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_report(monkeypatch)
    one = tiny_search(as_data(tiny_arrays()), encoders="pretrained", search_seeds=1)
    other = tiny_search(as_data(tiny_arrays()), encoders="pretrained", out=tmp_path / "run")
    assert one.summary.stability is other.summary.stability is None
    assert one.architecture == other.architecture
    assert one.summary.seeds == other.summary.seeds
    for key in ("nodes", "discretization_loss", "seed"):
        assert getattr(one.summary.search, key) == getattr(other.summary.search, key)
    assert [row.scores for row in one.summary.leaderboard] == [row.scores for row in other.summary.leaderboard]
    assert all("search" not in record for record in records_of(tmp_path / "run"))


def test_a_poisoned_test_split_changes_neither_consensus_nor_counts(run: RunResult) -> None:
    other = repeated_search(poisoned_data(), retrain_seeds=2)
    clean, bad = (plain(one.summary.stability) for one in (run, other))
    assert other.architecture == run.architecture
    for key in ("consensus_seed", "choices", "modalities", "depths", "interaction_orders", "agreement", "kappa"):
        assert bad[key] == clean[key]
    for key in ("architecture", "multiply_adds", "discretization_loss", "encoders"):
        assert [one[key] for one in bad["searches"]] == [one[key] for one in clean["searches"]]
    assert bad["found"]["scores"] != clean["found"]["scores"]  # the poison was there


def test_the_test_split_is_not_even_asked_for_before_the_consensus_stands() -> None:
    data = tiny_data(poisoned_test=True)
    records: list[Mapping[str, Any]] = []
    setup = TrainingSetup(
        data=data, space=tiny_space(), training=PROBLEM_TRAINING, device=CPU, builders=builders(), log=records.append
    )
    found = list(tiny_space().enumerate())

    def decide(own: TrainingSetup, seed: int) -> tuple[Decision, PreparedEncoders]:
        own.log({"phase": "search"})
        search = make_search({"image": 2, "audio": 2})
        decision = Decision(architecture=found[seed], encoders="joint", rows=(), candidates=None, search=search)
        return decision, raw(own, seed)

    repeated = repeat(setup, [7, 3, 7], decide)
    assert repeated.consensus == 0  # seed 7 stands twice
    assert [one.seed for one in repeated.repetitions] == [7, 3, 7]
    for one in repeated.repetitions:
        assert [entry.seed for entry in one.entries] == [one.seed] * 2
        assert [entry.contestant.kind for entry in one.entries] == ["found", "late"]
        assert one.entries[0].architecture == found[one.seed]
    assert {record["search"] for record in records} == {7, 3}
    with pytest.raises(AssertionError, match="test split was asked for"):
        judge_searches(setup, repeated)


@pytest.mark.parametrize("strategy", ["random", "darts"])
def test_other_strategies_are_repeated_too(strategy: str) -> None:
    run = repeated_search(as_data(tiny_arrays()), strategy=strategy, encoders="joint", search_seeds=2)
    searches = known(run.summary.stability).searches
    assert [one.encoders for one in searches] == ["joint", "joint"]
    assert math.isnan(searches[0].discretization_loss) == (strategy == "random")


def test_errors_are_spread_as_errors() -> None:
    arrays = tiny_arrays()
    arrays["label"] = 100 + 5 * arrays["sight"][:, :2]
    told = known(repeated_search(as_data(arrays, task="regression"), search_seeds=2).summary.stability)
    assert (told.metric, told.higher_is_better) == ("mae", False)
    gains = [one.late_score - one.score for one in told.searches]
    # Less error is better. Differences of samples are averaged in another order, of float32.
    assert known(told.difference).mean == pytest.approx(np.mean(gains), abs=1e-5)


def test_a_space_without_late_fusion_has_scores_without_a_control() -> None:
    space = layerwise({"sound": 3, "sight": 3}, operations=["additive"])
    mine = type(space)("mine", space.depths, space.nodes, space.operations)
    run = repeated_search(as_data(tiny_arrays()), space=mine, operations=None, encoders="joint", search_seeds=2)
    told = known(run.summary.stability)
    assert (told.late, told.difference) == (None, None)
    assert all(math.isnan(one.late_score) for one in told.searches)
    assert len(told.found.scores) == 2


def test_the_log_tells_the_searches_apart(run: RunResult) -> None:
    assert run.folder is not None
    records = records_of(run.folder)
    searching = [record for record in records if record["phase"] == "search"]
    assert {record["search"] for record in searching} == set(SEEDS)
    own = [record["seed"] for record in records if record["phase"] == "retrain" and "search" not in record]
    assert set(own) == {5, 6}
    steps = {seed: [record["step"] for record in searching if record["search"] == seed] for seed in SEEDS}
    assert all(of_one == sorted(set(of_one)) for of_one in steps.values())


def test_a_repeated_run_is_loaded_judged_and_drawn_like_any_other(run: RunResult, copied: Path) -> None:
    loaded = load_run(copied)
    assert plain(loaded.summary) == plain(run.summary)
    assert loaded.architecture == run.architecture
    assert loaded.config.search.search_seeds == 3
    found = evaluate(copied, data=as_data(tiny_arrays()), device="cpu")
    assert found["score"] == found["recorded"] == run.summary.leaderboard[0].scores[0]
    assert "How sure" in report(copied).read_text()
    assert (copied / "figures" / "stability.svg").is_file()


def test_retraining_leaves_what_was_said_of_the_searches(
    run: RunResult, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_report(monkeypatch)
    again = retrain(
        copied, data=as_data(tiny_arrays()), seed=9, retrain_seeds=1, device="cpu", out=tmp_path / "again"
    ).summary
    assert plain(again.stability) == plain(run.summary.stability)
    assert again.seeds == (9,)
    assert again.architecture == run.summary.architecture
