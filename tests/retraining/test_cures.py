"""`--objective auto`: what is tried, what is taken, and that the test split has no say in it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nas
from nas.config import TrainingConfig
from nas.errors import UserError
from nas.pipeline.search import make_space
from nas.report.diagnosis import cures_of
from nas.retraining.baselines import Contestant
from nas.retraining.cures import try_objectives
from nas.retraining.preparation import TrainingSetup, prepare
from nas.retraining.refit import refit, unimodal_epochs
from nas.retraining.retrain import train_all
from nas.routing.network import static_part
from nas.summary import Advice
from tests.helpers import CPU
from tests.summaries import known
from tests.tiny_runs import OPERATIONS, TRAINING, as_data, no_report, tiny_arrays, tiny_search

AUTO = TrainingConfig(epochs=5, channels=8, batch_size=24, learning_rate=2e-2, objective="auto")

SAME = {"operations": ("additive",), "encoders": "joint", "retrain_seeds": 2, "strategy": "random", "training": AUTO}


@pytest.fixture
def advised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two objectives are advised, whatever was found."""
    no_report(monkeypatch)
    given = [Advice(objective=name, because="it is a test") for name in ("align", "modality_dropout")]
    monkeypatch.setattr(import_module("nas.pipeline.search"), "advice_on", lambda _setup, _entries: given)
    choose = import_module("nas.retraining.baselines").Contestant
    late = import_module("nas.pipeline.search")
    contestants = late.contestants

    def fused(space: Any, *_rest: Any) -> Any:
        rows = contestants(space, *_rest)
        reference = next(r for r in space.references if r.kind == "late")
        return [choose("found", "found", reference.architecture), *rows[1:4]]

    monkeypatch.setattr(late, "contestants", fused)


@pytest.mark.usefixtures("advised")
def test_what_scores_best_on_the_architecture_split_is_taken_and_all_is_told(tmp_path: Path) -> None:
    run = tiny_search(as_data(tiny_arrays()), out=tmp_path / "run", **SAME)
    tried = known(run.summary.objectives).tried
    assert [row.objective for row in tried] == ["", "align", "modality_dropout"]
    scores = [row.architecture_score for row in tried]
    assert known(run.summary.objectives).chosen == tried[int(np.argmax(scores))].objective
    found = run.summary.leaderboard[0]
    taken = next(row for row in tried if row.objective == known(run.summary.objectives).chosen)
    assert (found.score.mean, found.architecture_score) == (taken.score.mean, taken.architecture_score)
    assert tried[0].difference is None
    assert known(tried[1].difference).mean == pytest.approx(tried[1].score.mean - tried[0].score.mean)
    # The network that is saved is the one that was taken.
    assert nas.evaluate(tmp_path / "run", data=as_data(tiny_arrays()))["repeated"]
    told = cures_of(run.summary)
    assert told is not None
    assert [row.name for row in told.rows] == ["plain training", "align", "modality_dropout"]
    assert sum(row.is_chosen for row in told.rows) == 1
    assert told.advice[0] == "it is a test: try --objective align or modality_dropout"


@pytest.mark.usefixtures("advised")
def test_the_test_split_has_no_say_in_what_is_taken() -> None:
    arrays = tiny_arrays()
    shuffled = {**arrays, "label": arrays["label"].copy()}
    rows = np.flatnonzero(arrays["split"] == 2)
    shuffled["label"][rows] = (arrays["label"][rows] + 1) % 3
    one, other = (known(tiny_search(as_data(some), **SAME).summary.objectives) for some in (arrays, shuffled))
    assert one.chosen == other.chosen
    assert [row.architecture_score for row in one.tried] == [row.architecture_score for row in other.tried]
    assert [row.score.mean for row in one.tried] != [row.score.mean for row in other.tried]


@pytest.mark.usefixtures("advised")
def test_what_there_is_no_time_for_is_said() -> None:
    run = tiny_search(as_data(tiny_arrays()), budget_seconds=1e-9, **SAME)
    assert known(run.summary.objectives).left_out == ("align", "modality_dropout")
    assert known(run.summary.objectives).chosen == ""


def test_what_does_not_suit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for objective, options, message in (
        ("rubi:smell", {}, "unknown modality of rubi: 'smell'"),
        ("align", {"dynamic": ["modality"]}, "align cannot train a gate"),
        ("residual", {"strategy": "darts"}, "residual trains single paths, and darts mixtures of choices"),
    ):
        training = TrainingConfig(epochs=2, objective=objective)
        with pytest.raises(UserError, match=message):
            tiny_search(as_data(tiny_arrays()), training=training, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_an_objective_trains_the_whole_network_where_a_sum_of_single_ones_was_found() -> None:
    data = as_data(tiny_arrays())
    space = make_space("layerwise", data, operations=OPERATIONS)
    setup = TrainingSetup(data=data, space=space, training=TRAINING, device=CPU)
    prepared, _ = prepare(setup, "pretrained", 0)
    late = next(one.architecture for one in space.references if one.kind == "late")
    entries = train_all(setup, prepared, [Contestant("found", "found", late, separate=True)])
    advice = [Advice(objective="modality_dropout", because="it is a test")]
    tried, _ = try_objectives(setup, [prepared], [entries], advice, budget_seconds=0)
    plain, cured = (one.entries[0] for one in tried)
    assert (plain.contestant.separate, set(plain.parts)) == (True, {"sound", "sight"})
    assert (cured.contestant.separate, cured.parts) == (False, {})
    again = refit(setup, cured, unimodal_epochs(prepared))
    assert static_part(again.network).adapters.keys() == static_part(cured.network).adapters.keys()
    assert not torch.equal(again.network.head.linear.weight, torch.eye(*again.network.head.linear.weight.shape))
