"""The whole path: what it writes, that it repeats, and that the test split has no say in what it decides."""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

import nas
from nas import RunResult, SearchConfig, UserError, load_run
from nas.data.fusion_data import FusionData
from nas.encoders import DEFAULT_ENCODERS, Encoder, ModuleEncoder
from nas.pipeline.search import make_space
from nas.records import plain
from nas.space.architecture import Architecture, Choice, read_choice
from nas.strategies.sampled import LENGTH
from nas.supernet.candidates import score_candidates
from search_spaces import layerwise
from tests.strategies.problems import same_tensors
from tests.summaries import known
from tests.tiny_runs import SIZES, TRAINING, Arrays, as_data, finished_run, no_report, tiny_arrays, tiny_search

Search = Callable[..., tuple[RunResult, dict[str, Tensor]]]


@pytest.fixture
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return finished_run(tmp_path_factory)


@pytest.fixture
def search_and_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """Searches without drawing figures, and reads the weights that were written."""
    no_report(monkeypatch)

    def run(data: FusionData, **options: Any) -> tuple[RunResult, dict[str, Tensor]]:
        out = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        result = tiny_search(data, out=out, **options)
        return result, load_file(out / "weights.safetensors")

    return run


def shuffled_test_labels(arrays: Arrays) -> Arrays:
    label = arrays["label"].copy()
    label[-SIZES[2] :] = np.roll(label[-SIZES[2] :], 1)  # classes take turns, so every one of them is now wrong
    return {**arrays, "label": label}


def noisy_test_inputs(arrays: Arrays) -> Arrays:
    generator = np.random.default_rng(99)
    noisy = {name: arrays[name].copy() for name in ("sound", "sight")}
    for array in noisy.values():
        array[-SIZES[2] :] = 50 * generator.normal(size=array[-SIZES[2] :].shape)
    return {**arrays, **noisy}


def decisions(result: RunResult) -> dict[str, Any]:
    """All that a run decides before it reads the test split."""
    summary = plain(result.summary)
    rows = [{key: row[key] for key in _CHOSEN_BEFORE} for row in summary["leaderboard"]]
    keys = ("architecture", "nodes", "encoders", "discretization_loss", "pareto")
    return {"rows": rows, **{key: summary[key] for key in keys}}


_CHOSEN_BEFORE = ("name", "kind", "architecture", "architecture_score", "parameters", "multiply_adds")


@pytest.mark.parametrize(
    ("strategy", "discretization", "encoders"),
    [
        ("sampled", "one_standard_error", "pretrained"),
        ("darts", "perturbation", "joint"),
        ("gdas", "argmax", "auto"),
        ("random", "one_standard_error", "joint"),
        ("nsga2", "one_standard_error", "pretrained"),
        ("mfas", "one_standard_error", "joint"),
    ],
)
def test_a_poisoned_test_split_changes_nothing_that_is_decided(
    search_and_load: Search, strategy: str, discretization: str, encoders: str
) -> None:
    options = {
        "strategy": strategy,
        "discretization": discretization,
        "encoders": encoders,
        "max_trials": 4,
    }
    arrays = tiny_arrays()
    clean, weights = search_and_load(as_data(arrays), **options)
    for poison in (shuffled_test_labels, noisy_test_inputs):
        poisoned, poisoned_weights = search_and_load(as_data(poison(arrays)), **options)
        assert decisions(poisoned) == decisions(clean)
        assert same_tensors(poisoned_weights, weights)
        # The poison was there: the scores, and they alone, tell.
        assert [row.scores for row in poisoned.summary.leaderboard] != [row.scores for row in clean.summary.leaderboard]


def test_the_same_seed_gives_the_same_run_and_another_seed_other_weights(search_and_load: Search) -> None:
    data = as_data(tiny_arrays())
    (one, weights), (same, same_weights), (_, other_weights) = (
        search_and_load(data, seed=seed, encoders="joint") for seed in (5, 5, 6)
    )
    assert decisions(one) == decisions(same)
    assert [row.scores for row in one.summary.leaderboard] == [row.scores for row in same.summary.leaderboard]
    assert same_tensors(weights, same_weights)
    assert not same_tensors(weights, other_weights)


def test_a_search_leaves_the_callers_random_states_alone() -> None:
    def states() -> list[Any]:
        everyones = np.random.get_state(legacy=False)["state"]  # noqa: NPY002  # the global state must not change
        return [torch.get_rng_state().tolist(), random.getstate(), everyones["key"].tolist(), everyones["pos"]]

    before = states()
    tiny_search(as_data(tiny_arrays()), encoders="pretrained")
    assert states() == before


def test_the_summary_tells_what_each_part_costs(finished: RunResult) -> None:
    """Eight channels at one time: a matrix of 8 × 8 for each of two inputs, none to carry one, three classes."""
    costs, steps = finished.summary.costs, finished.architecture.steps
    assert costs.nodes == {step.name: 64 * len(step.inputs) * (len(step.inputs) > 1) for step in steps}
    assert costs.head == 24
    for tap in (tap for step in steps for tap in step.inputs):
        assert 0 < costs.encoders[tap] < known(finished.summary.found.multiply_adds)


def test_the_summary_tells_where_the_found_network_is_wrong(finished: RunResult) -> None:
    """Eight test samples of each class, judged by two networks, right as often as the leaderboard says."""
    counts, found = known(finished.summary.mistakes).counts, finished.summary.leaderboard[0]
    assert [sum(row) for row in counts] == [16, 16, 16]
    assert sum(counts[place][place] for place in range(3)) / 48 == pytest.approx(found.score.mean)


def test_the_run_folder_holds_every_file(finished: RunResult) -> None:
    folder = finished.folder
    assert folder is not None
    for name in ("config.toml", "architecture.json", "weights.safetensors", "summary.json", "metrics.jsonl"):
        assert (folder / name).stat().st_size > 0
    assert finished.report == folder / "report.html"
    assert finished.report.read_text().lstrip().lower().startswith("<!doctype html")
    assert list((folder / "tensorboard").glob("events.*"))
    figures = {file.suffix: file for file in (folder / "figures").iterdir()}
    assert b"<svg" in figures[".svg"].read_bytes()
    assert figures[".png"].read_bytes().startswith(b"\x89PNG")
    assert {file.stem for file in (folder / "figures").glob("*.svg")} == {
        file.stem for file in (folder / "figures").glob("*.png")
    }
    exported = {file.name for file in (folder / "exports").iterdir()}
    graph = {"architecture.graphml", "architecture.dot", "architecture.svg"}
    assert exported == {"architecture.json", "card.md", *graph}


def test_the_config_says_how_to_repeat_the_run(finished: RunResult) -> None:
    assert finished.folder is not None
    config = tomllib.loads((finished.folder / "config.toml").read_text())
    assert config["source"] == {
        "data": str(finished.folder.parent / "tiny.npz"),
        "modalities": "sound,sight",
        "columns": "",
        "target": "label",
        "split": "split",
        "task": "",
        "group": "",
        "weight": "",
        "memory_bytes": 0,
        "fold": "",
        "builders": [],
    }
    wanted = {
        "strategy": "sampled",
        "encoders": "pretrained",
        "seed": 3,
        "device": "cpu",
        "length": 2.0,
    }
    assert wanted.items() <= config["search"].items()
    assert config["evaluation"]["retrain_seeds"] == 2
    assert config["search"]["operations"] == ["additive", "multiplicative"]
    assert config["training"]["epochs"] == TRAINING.epochs
    assert config["training"]["channels"] == TRAINING.channels


def test_the_summary_holds_what_was_promised(finished: RunResult) -> None:
    assert finished.folder is not None
    summary = json.loads((finished.folder / "summary.json").read_text())
    assert summary == plain(finished.summary)
    architecture = Architecture.from_dict(summary["architecture"])
    assert architecture == finished.architecture
    assert Architecture.from_json((finished.folder / "architecture.json").read_text()) == architecture
    assert summary["in_words"] == architecture.in_words()
    assert (summary["metric"], summary["higher_is_better"]) == ("accuracy", True)
    assert summary["search_seconds"] > 0
    # Every candidate was scored, the best of them is what the loss is counted from.
    assert summary["discretization_loss"] >= 0
    assert summary["candidates"] == 5**3
    assert summary["data"]["splits"] == dict(zip(("weights", "architecture", "test"), SIZES, strict=True))
    assert summary["versions"]["torch"] == torch.__version__
    assert summary["command"] == "the command"
    assert summary["seeds"] == [3, 4]
    for node in summary["nodes"]:
        assert sum(node["choice_weights"]) == pytest.approx(1)


def test_the_summary_holds_the_pareto_set_of_a_strategy_that_weighs_cost(search_and_load: Search) -> None:
    result, _ = search_and_load(as_data(tiny_arrays()), strategy="nsga2", encoders="pretrained", max_trials=12)
    summary = plain(result.summary)
    found = summary["leaderboard"][0]
    assert summary["discretization"] is None
    rows = {row["in_words"]: row for row in summary["pareto"]}
    for in_words, row in rows.items():
        assert Architecture.from_dict(row["architecture"]).in_words() == in_words
    # The decision is one of them, and what it costs is what the leaderboard, which counts encoders too, says of it.
    assert rows[summary["in_words"]]["multiply_adds"] == found["multiply_adds"]
    losses, costs = ([row[key] for row in summary["pareto"]] for key in ("loss", "multiply_adds"))
    assert costs == sorted(costs)
    assert losses == sorted(losses, reverse=True)


def test_a_strategy_that_does_not_weigh_cost_has_no_pareto_set(finished: RunResult) -> None:
    assert finished.summary.search.pareto == ()


def test_the_leaderboard_always_holds_found_and_every_control(finished: RunResult) -> None:
    board = finished.summary.leaderboard
    assert board[0].kind == "found"
    rows = [(row.kind, row.name) for row in board[1:] if row.kind != "proposal"]
    assert rows == [
        ("modality", "sound"),
        ("modality", "sight"),
        ("sum", "sum of single networks"),
        ("late", "late fusion"),
        ("early", "early fusion"),
        *(("operation", row.name) for row in board if row.kind == "operation"),
        ("random", "random search"),
        ("control", "logistic regression"),
        ("control", "gradient boosting"),
    ]
    operations = {row.name for row in board if row.kind == "operation"}
    assert operations - {"additive"} == {"multiplicative"}  # the best sum may be the one at the last depth, late fusion
    for row in board:
        assert len(row.scores) == 2
        assert row.score.mean == pytest.approx(np.mean(row.scores))
        assert row.score.low <= row.score.mean <= row.score.high
        if row.kind == "control":
            assert (row.parameters, row.multiply_adds, row.architecture) == (None, None, None)
        else:
            assert known(row.parameters) > 0
            assert known(row.multiply_adds) > 0
        assert row.train_seconds > 0


def test_tensorboard_shows_losses_mixing_weights_and_entropy(finished: RunResult) -> None:
    assert finished.folder is not None
    events = EventAccumulator(str(finished.folder / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"search/train_loss", "search/architecture_loss", "retrain/found/3/train_loss"} <= tags
    assert {"encoders/sound/3/architecture_loss", "retrain/found/4/architecture_score"} <= tags
    for node in finished.summary.search.nodes:
        assert f"entropy/{node.name}" in tags
        last = [events.Scalars(f"mixing_weights/{node.name}/{choice.label}")[-1].value for choice in node.choices]
        assert last == pytest.approx(node.choice_weights, abs=1e-6)  # of the same network on the same samples; float32
        nats = -sum(weight * np.log(weight) for weight in last if weight > 0)
        assert events.Scalars(f"entropy/{node.name}")[-1].value == pytest.approx(nats, abs=1e-5)


def test_the_first_record_holds_the_choices_so_that_a_search_that_goes_on_can_be_shown(search_and_load: Search) -> None:
    result, _ = search_and_load(as_data(tiny_arrays()), encoders="joint")
    assert result.folder is not None
    first, *records = map(json.loads, (result.folder / "metrics.jsonl").read_text().splitlines())
    assert first["phase"] == "space"
    kept = ("name", "residual", "choices")
    told = plain(result.summary)["nodes"]
    assert [{key: node[key] for key in kept} for node in first["nodes"]] == [
        {key: node[key] for key in kept} for node in told
    ]
    weights = next(record["mixing_weights"] for record in records if record["phase"] == "search")
    assert {node["name"]: len(node["choices"]) for node in first["nodes"]} == {k: len(v) for k, v in weights.items()}


def test_nothing_is_written_unless_a_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = tiny_search(as_data(tiny_arrays()), encoders="joint")
    assert (result.folder, result.report) == (None, None)
    assert not list(tmp_path.iterdir())


def test_a_spent_budget_ends_the_search_after_an_epoch(search_and_load: Search) -> None:
    def epochs(**options: Any) -> int:
        result, _ = search_and_load(as_data(tiny_arrays()), encoders="joint", **options)
        assert result.folder is not None
        records = map(json.loads, (result.folder / "metrics.jsonl").read_text().splitlines())
        return max(int(record["epoch"]) for record in records if record["phase"] == "search")

    assert epochs() == round(2 * LENGTH * TRAINING.epochs)  # where encoders train along, twice that of cached taps
    assert epochs(budget_seconds=1e-9) == 1
    assert epochs(budget_seconds=1e-9, search=SearchConfig(budget_seconds=1e9)) == 1


@pytest.fixture
def read_out(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], RunResult]:
    """Searches by darts, to be read out by argmax, with a guard that trips at the end or never."""

    def run(tripped: str | None) -> RunResult:
        monkeypatch.setattr("nas.supernet.guards.judge", lambda _looks, *, is_last: tripped if is_last else None)
        return tiny_search(as_data(tiny_arrays()), strategy="darts", discretization="argmax", encoders="pretrained")

    return run


def test_a_search_that_no_guard_stopped_is_read_out_as_was_asked(
    read_out: Callable[[str | None], RunResult],
) -> None:
    summary = plain(read_out(None).summary)
    assert summary["discretization"] == "argmax"
    guards = summary["guards"]
    assert (guards["tripped"], guards["fell_back"], guards["restored_epoch"]) == (None, False, None)
    assert guards["epoch"] == 3
    assert set(guards["values"]) == {"none_share", "nothing_nodes", "eigenvalue", "discretization"}
    assert guards["in_words"] == "No guard tripped: the search showed no sign of collapse up to epoch 3."
    proposed = {step.name: step.choice for step in Architecture.from_dict(summary["tournament"]["proposed"]).steps}
    for node in summary["nodes"]:
        by_belief = dict(zip(node["choice_weights"], node["choices"], strict=True))
        best = read_choice(by_belief[max(by_belief)])
        assert best == proposed.get(node["name"], Choice("none"))


def test_a_search_that_a_guard_stopped_is_read_out_by_what_was_validated(
    read_out: Callable[[str | None], RunResult],
) -> None:
    summary = plain(read_out("nothing").summary)
    assert summary["discretization"] == "one_standard_error"
    guards = summary["guards"]
    assert (guards["tripped"], guards["fell_back"]) == ("nothing", True)
    assert guards["epoch"] == 3
    assert "stopped by the guard 'nothing' in epoch 3" in guards["in_words"]
    assert "one_standard_error decided instead" in guards["in_words"]


def test_without_guards_there_is_nothing_to_tell() -> None:
    options = {"strategy": "darts", "discretization": "argmax", "encoders": "pretrained"}
    summary = tiny_search(as_data(tiny_arrays()), guards=False, **options).summary
    assert summary.search.guards is None
    assert summary.search.discretization == "argmax"


@pytest.mark.parametrize("encoders", ["pretrained", "joint"])
@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_quantities_and_labels_can_be_searched(task: str, encoders: str) -> None:
    arrays = tiny_arrays()
    classes = np.eye(3, dtype=np.float32)[arrays["label"]]
    arrays["label"] = 100 + 5 * arrays["sight"][:, :2] + arrays["sound"][:, :2] if task == "regression" else classes
    summary = tiny_search(as_data(arrays, task=task), encoders=encoders).summary
    assert (summary.metric, summary.higher_is_better) == (
        ("mae", False) if task == "regression" else ("micro_f1", True)
    )
    assert summary.encoders == encoders
    assert all(np.isfinite(row.score.mean) for row in summary.leaderboard)


def test_modalities_may_be_missing_for_some_samples() -> None:
    arrays = tiny_arrays()
    generator = np.random.default_rng(4)
    present = {"sound": generator.random(sum(SIZES)) > 0.3}
    summary = tiny_search(as_data(arrays, present=present), encoders="pretrained").summary
    assert summary.data.modalities["sound"].present_share == pytest.approx(present["sound"].mean())
    assert summary.data.modalities["sight"].present_share == 1


def test_three_modalities_of_three_kinds() -> None:
    arrays = tiny_arrays()
    generator = np.random.default_rng(5)
    words = generator.integers(1, 9, size=(sum(SIZES), 5))
    words[:, 0] = 1 + arrays["label"]
    words[::4, 3:] = 0
    steps = generator.normal(size=(sum(SIZES), 6, 2)).astype(np.float32)
    arrays = {**arrays, "words": words, "steps": steps}
    del arrays["sound"]
    summary = tiny_search(as_data(arrays, kinds={"words": "tokens"}), encoders="pretrained").summary
    assert [row.name for row in summary.leaderboard if row.kind == "modality"] == ["sight", "words", "steps"]
    assert {name: one.kind for name, one in summary.data.modalities.items()} == {
        "sight": "vector",
        "words": "tokens",
        "steps": "sequence",
    }


def test_a_space_without_operations_still_has_its_baselines() -> None:
    summary = tiny_search(as_data(tiny_arrays()), operations=["carry"], encoders="joint").summary
    kinds = {row.kind for row in summary.leaderboard}
    assert kinds - {"proposal"} == {"found", "modality", "sum", "late", "early", "random", "control"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "dart"}, "unknown strategy 'dart'; did you mean 'darts'"),
        ({"discretization": "max"}, "unknown discretization 'max'"),
        ({"encoders": "frozen"}, "unknown encoder mode 'frozen'"),
        ({"baselines": "most"}, "unknown baselines 'most'"),
        ({"space": "cellwise"}, "unknown space 'cellwise'"),
        ({"space": layerwise({"a": 2, "b": 2})}, "made for taps"),
        ({"operations": ["additiv"]}, "unknown operation 'additiv'; did you mean 'additive'"),
        ({"operations": ["additive", "additive"]}, "each listed once"),
        ({"builders": {"smell": DEFAULT_ENCODERS["vector"]}}, "modality in builders: 'smell'"),
        ({"retrain_seeds": 0}, "retrain_seeds must be at least 1, .*got 0"),
        ({"search_seeds": 0}, "search_seeds must be at least 1, .*got 0"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"seed": 2**64}, "seed must be 0 or more"),
        ({"seed": 2**32 - 2, "search_seeds": 3}, "3 search_seeds from seed 4294967294 on go beyond 4294967295"),
        ({"seed": 2**32 - 1, "retrain_seeds": 2}, "2 retrain_seeds from seed 4294967295 on go beyond"),
        ({"budget_seconds": -1.0}, "budget_seconds must be 0"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"device": "meta"}, "device 'meta' is not supported"),
        ({"target": "label"}, "belong to a file"),
    ],
)
def test_mistakes_are_told_in_a_line_before_anything_is_written(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        tiny_search(as_data(tiny_arrays()), out=tmp_path / "run", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_missing_file_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file or folder"):
        tiny_search(tmp_path / "absent.npz", out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        tiny_search(as_data(tiny_arrays()), out=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def own_module(data: FusionData, name: str) -> Encoder:
    width = data.modalities[name].arrays[0].shape[1]
    module = nn.Sequential(nn.Linear(width, 5), nn.ReLU(), nn.Linear(5, 5), nn.Linear(5, 5))
    return ModuleEncoder(module, ["0", "2", "3"], torch.zeros(2, width))


@pytest.mark.parametrize("encoders", ["pretrained", "joint"])
def test_a_run_with_a_module_of_ones_own_is_written_whole(tmp_path: Path, encoders: str) -> None:
    data = as_data(tiny_arrays())
    space = make_space("layerwise", data, {"sound": own_module})
    late = next(reference.architecture for reference in space.references if reference.kind == "late")
    result = tiny_search(
        data,
        space=replace(space.only(late), references=space.references),
        operations=None,
        builders={"sound": own_module},
        encoders=encoders,
        out=tmp_path / "run",
    )
    assert result.report is not None
    assert result.report.is_file()
    files = {path.name for path in (tmp_path / "run" / "exports").iterdir()}
    assert {"architecture.json", "architecture.graphml", "card.md"} <= files
    inputs = {name: (torch.from_numpy(tiny_arrays()[name]),) for name in ("sound", "sight")}
    predicted = result.network(inputs).argmax(dim=1).numpy()[-SIZES[2] :]
    right = float((predicted == tiny_arrays()["label"][-SIZES[2] :]).mean())
    assert right == pytest.approx(result.summary.leaderboard[0].scores[0])
    with pytest.raises(UserError, match=r"module of its own"):
        load_run(tmp_path / "run")


def test_a_run_in_a_space_of_ones_own_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    whole = layerwise({"sound": 3, "sight": 3}, operations=["additive"])
    mine = replace(whole, name="mine", references=(), warm_up=None)
    result = tiny_search(as_data(tiny_arrays()), space=mine, operations=None, out=tmp_path / "run")
    assert result.summary.encoders == "joint"  # there is no word on how to train a modality alone
    assert {row.kind for row in result.summary.leaderboard} == {"found", "proposal", "random", "control"}
    with pytest.raises(UserError, match="space 'mine' names no reference of kind 'modality' for 'sound'"):
        tiny_search(as_data(tiny_arrays()), space=mine, operations=None, encoders="pretrained")


def test_a_space_of_ones_own_keeps_its_operations_and_takes_levels() -> None:
    data = as_data(tiny_arrays())
    mine = layerwise({"sound": 3, "sight": 3}, operations=["additive"])
    with pytest.raises(UserError, match="brings its own operations"):
        tiny_search(data, space=mine)
    assert make_space(mine, data, None, None, ["modality"]).dynamic == ("modality",)
    assert make_space(mine, data, None, None, None).dynamic == ()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"training": replace(TRAINING, max_multiply_adds=0.4)}, "budget of networks that decide per sample"),
        ({"dynamic": "modality"}, "dynamic must be a list of names"),
        ({"dynamic": ["modality"], "strategy": "random"}, "dynamic none"),
    ],
)
def test_what_cannot_be_decided_per_sample_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        tiny_search(as_data(tiny_arrays()), **options)


@pytest.mark.parametrize(("discretization", "strategy"), [("argmax", "gdas"), ("one_standard_error", "sampled")])
def test_where_no_gate_pays_the_run_says_so(discretization: str, strategy: str, tmp_path: Path) -> None:
    """At no price nothing is saved by a cheaper route that is not as good."""
    told: list[str] = []
    result = tiny_search(
        as_data(tiny_arrays()),
        dynamic=["operation"],
        operations=["additive"],
        strategy=strategy,
        discretization=discretization,
        progress=told.append,
        out=tmp_path / "run",
    )
    gated = known(result.summary.search.gated)
    assert not gated.taken
    assert gated.in_words in told
    assert gated.in_words == known(result.summary.verdict).sentences[-1]
    assert gated.in_words.startswith("Nothing is decided per sample")
    again = nas.retrain(tmp_path / "run", data=as_data(tiny_arrays()), out=tmp_path / "again", epochs=1)
    assert known(again.summary.verdict).sentences[-1] == gated.in_words


def test_a_found_architecture_that_was_not_scored_gets_routes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a large space a beam scores some architectures, and a discretization may find another one."""
    monkeypatch.setattr("nas.discretize.discretize.score_candidates", partial(score_candidates, limit=5))
    monkeypatch.setattr("nas.supernet.candidates.BEAM_WIDTH", 1)
    result = tiny_search(as_data(tiny_arrays()), dynamic=["modality"], strategy="gdas", discretization="argmax", seed=1)
    assert result.summary.search.gated is not None
