"""The command line: what it prints, what it writes, and one line with exit code 2 for every mistake of the user's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from nas import RunResult, UserError, load_run
from nas.config import RunConfig
from nas.config.presets import PRESETS
from nas.config.spelling import read_duration, read_share
from nas.discretize.discretize import DISCRETIZATIONS
from nas.discretize.tournament import FAVOURITE
from nas.export import FORMATS
from nas.metrics import METRICS
from nas.routing.levels import LEVELS
from nas.runs.folder import RunFolder
from nas.statistics import Interval
from nas.strategies import STRATEGIES
from nas.summary import Objectives, TriedObjective
from nas.tasks import TASKS
from nas.terminal.printing import print_objectives
from search_spaces import OPERATIONS
from tests.command import Printed, Run, runner
from tests.summaries import known
from tests.tiny_runs import finished_run, no_report, tiny_arrays, write_npz

COMMANDS = ("search", "retrain", "evaluate", "predict", "export", "report", "compare", "list")

QUICK = ("--operations", "additive, multiplicative", "--encoders", "joint", "--epochs", "2", "--retrain-seeds", "1")

FILE = ("--modalities", "sound,sight", "--target", "label", "--split", "split")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_npz(tmp_path)


@pytest.fixture
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared run, to be read only."""
    result: RunResult = finished_run(tmp_path_factory)
    assert result.folder is not None
    return result.folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run: Run, command: str) -> None:
    printed = run(command, "--help")
    assert printed.code == 0
    assert re.search(rf"Example: fusenas {command}\b", printed.out)


def test_the_help_names_every_command(run: Run) -> None:
    printed = run("--help")
    assert printed.code == 0
    assert [name for name in COMMANDS if not re.search(rf"\b{name}\b", printed.out)] == []


def test_list_tells_every_name_in_a_line(run: Run) -> None:
    printed = run("list")
    assert printed.code == 0
    listed = {line.split()[0] for line in printed.out.splitlines() if line.startswith("  ")}
    assert {"emoji", "layerwise", *OPERATIONS, *STRATEGIES, *DISCRETIZATIONS, *METRICS, *PRESETS, *FORMATS} <= listed


def test_list_as_json_says_the_same(run: Run) -> None:
    found = json.loads(run("list", "--json").out)
    kinds = [
        "data",
        "spaces",
        "operations",
        "strategies",
        "dynamic",
        "gates",
        "discretizations",
        "objectives",
        "metrics",
        "presets",
        "formats",
    ]
    assert list(found) == kinds
    assert list(found["dynamic"]) == [*LEVELS, "cascade"]
    assert set(found["operations"]) == set(OPERATIONS)
    assert found["operations"]["additive"].startswith("order 1: ")
    assert all(found["strategies"].values())
    assert found["metrics"]["rmse"] == "as mae, but large errors count more (regression)"


def test_search_as_json_prints_the_summary_and_nothing_else(run: Run, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    printed = run("search", data, *FILE, *QUICK, "--seed", "5", "--device", "cpu", "--out", out, "--json")
    assert printed.code == 0
    assert json.loads(printed.out) == json.loads((out / "summary.json").read_text())
    assert json.loads(printed.out)["seeds"] == [5]
    assert json.loads(printed.out)["command"].startswith(f"fusenas search {data}")
    assert "searching layerwise by sampled" in printed.err  # progress goes where it disturbs no pipe
    config = load_run(out).config
    assert config.search.operations == ("additive", "multiplicative")
    assert config.training.epochs == 2


def test_flags_win_over_the_preset(run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    out = tmp_path / "run"
    fast = (
        "--operations",
        "additive",
        "--strategy",
        "random",
        "--max-trials",
        "1",
        "--epochs",
        "2",
        "--retrain-seeds",
        "2",
    )
    printed = run("search", data, *FILE, *fast, "--preset", "best", "--no-ensemble", "--out", out)
    assert printed.code == 0
    config = load_run(out).config
    assert config.training == RunConfig.of(preset="best", epochs=2).training
    assert config.evaluation.ensemble is False
    refused = run("search", data, *FILE, "--preset", "bset", "--out", tmp_path / "none")
    assert refused.code == 2
    assert "unknown preset 'bset'" in refused.err


@pytest.mark.parametrize(
    ("task", "metric", "title", "options"),
    [
        ("classification", "balanced_accuracy", "balanced accuracy", ("--search-seeds", "2")),
        ("multilabel", "auroc", "AUROC", ("--retrain-seeds", "2", "--ensemble", "--refit")),
        ("regression", "rmse", "root mean squared error", ("--objective", "auto")),
    ],
)
def test_a_run_is_judged_by_the_metric_that_is_asked_for(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    metric: str,
    title: str,
    options: tuple[str, ...],
) -> None:
    arrays, out = tiny_arrays(), tmp_path / "run"
    if task != "classification":
        arrays["label"] = 3 * arrays["sight"] if task == "regression" else np.eye(3, dtype=np.float32)[arrays["label"]]
    np.savez(tmp_path / "tiny.npz", **arrays)  # type: ignore[arg-type]  # the stub takes the keys for its own argument
    given = (*FILE, *QUICK, "--task", task, *options, "--metric", metric)
    printed = run("search", tmp_path / "tiny.npz", *given, "--out", out)
    assert printed.code == 0, printed.err
    summary = json.loads((out / "summary.json").read_text())
    assert load_run(out).config.training.metric == summary["metric"] == metric
    assert summary["higher_is_better"] == METRICS[metric].higher_is_better
    assert f"{title} on the test split" in printed.out
    assert title in (out / "report.html").read_text()
    assert title.lower() in (out / "exports" / "card.md").read_text().lower()
    for row in summary["leaderboard"]:
        assert set(row["metrics"]) == {metric, TASKS[task].metric}  # type: ignore[index]  # not known to be a task
        assert row["mean"] == pytest.approx(np.mean(row["metrics"][metric]))
        assert row["low"] <= row["mean"] <= row["high"]
    assert (summary["stability"] or summary)["metric"] == metric
    assert summary["diagnosis"]["additivity"]["score"]["mean"] == pytest.approx(summary["leaderboard"][0]["mean"])
    judged = run("evaluate", out, "--device", "cpu")
    assert re.search(rf"^{metric} \d", judged.out, re.MULTILINE)
    assert "note:" not in judged.out
    no_report(monkeypatch)
    assert run("retrain", out, "--seed", "1", "--out", tmp_path / "again").code == 0
    again = json.loads((tmp_path / "again" / "summary.json").read_text())
    assert again["metric"] == metric
    assert set(again["leaderboard"][0]["metrics"]) == set(summary["leaderboard"][0]["metrics"])


def test_search_says_so_when_a_guard_has_tripped(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_report(monkeypatch)
    monkeypatch.setattr("nas.supernet.guards.judge", lambda looks, *, is_last: "nothing" if is_last and looks else None)
    out = tmp_path / "run"
    options = ("--strategy", "darts", "--discretization", "argmax", "--out", str(out))
    printed = run("search", data, *FILE, *QUICK, *options)
    assert printed.code == 0
    guards = json.loads((out / "summary.json").read_text())["guards"]
    assert guards["tripped"] == "nothing"
    assert guards["in_words"] in " ".join(printed.out.split())


def test_search_prints_the_leaderboard_and_the_verdict(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_report(monkeypatch)
    monkeypatch.chdir(tmp_path)
    compiled: list[object] = []

    def fake_compile(network: object) -> object:
        compiled.append(network)
        return network

    monkeypatch.setattr(torch, "compile", fake_compile)
    printed = run("search", data, *FILE, *QUICK, "--budget", "10m", "--compile", "--strategy", "random")
    assert printed.code == 0
    out = Path("results/runs/tiny-0")  # where a run goes if nobody says where
    summary = json.loads((out / "summary.json").read_text())
    for row in summary["leaderboard"]:
        assert re.search(rf"{re.escape(row['name'])}\s.*{100 * row['mean']:.1f} \[", printed.out)
    read = RunFolder(out).read_summary()
    copies = [row.name for row in read.leaderboard if read.is_found_again(row)]
    assert {known(read.tournament).winner} <= {"found", FAVOURITE, *copies}
    assert printed.out.count("same network") == len(copies)
    said = " ".join(printed.out.split())
    assert said.index(summary["verdict"]["headline"]) < said.index("found is better by")
    for sentence in summary["verdict"]["sentences"]:
        assert sentence in said
    assert summary["guards"] is None
    assert f"report: {out / 'report.html'}" in printed.out
    assert load_run(out).config.search.budget_seconds == 600
    assert load_run(out).config.search.strategy == "random"
    assert compiled


def test_several_searches_print_how_far_they_agree(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_report(monkeypatch)
    out = tmp_path / "out"
    printed = run("search", data, *FILE, *QUICK, "--search-seeds", "2", "--strategy", "random", "--out", out)
    assert printed.code == 0
    told = json.loads((out / "summary.json").read_text())["stability"]
    assert re.search(rf"proposed by each search\s.*{100 * told['found']['mean']:.1f} \[", printed.out)
    assert re.search(rf"late fusion\s.*{100 * told['difference']['mean']:.1f} \[", printed.out)
    for node in told["choices"]:
        made = ", ".join(f"{choice['label']} {choice['count']}" for choice in node["choices"])
        assert f"{node['node'].replace('fusion', 'depth ')}, of 2: {made}" in printed.out
    assert f"two agree on {100 * told['agreement']:.0f} % of the nodes" in printed.out
    said = " ".join(printed.out.split())
    assert f"that of seed {told['consensus_seed']}, which agrees most with all others, entered the tournament" in said
    assert "2 searches " in printed.out


def test_search_prints_the_pareto_set_where_there_is_one(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_report(monkeypatch)
    out = tmp_path / "out"
    printed = run("search", data, *FILE, *QUICK, "--strategy", "nsga2", "--max-trials", "5", "--out", out)
    assert printed.code == 0
    assert load_run(out).config.search.max_trials == 5
    rows = json.loads((out / "summary.json").read_text())["pareto"]
    assert rows
    for row in rows:
        line = f"  loss {row['loss']:.4f}, {row['multiply_adds']:,} multiply-adds: {row['in_words']}"
        assert line in printed.out.splitlines()


def test_an_errors_unit_is_not_a_percentage(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    arrays = tiny_arrays()
    arrays["label"] = (1000 * arrays["sight"][:, 0]).astype(np.float32)
    np.savez(tmp_path / "far.npz", **arrays)  # type: ignore[arg-type]  # the stub takes the keys for its own argument
    printed = run("search", tmp_path / "far.npz", *FILE, *QUICK, "--out", tmp_path / "out")
    assert printed.code == 0
    mean = json.loads((tmp_path / "out" / "summary.json").read_text())["leaderboard"][0]["mean"]
    assert f"{mean:.4g} [" in printed.out


def test_evaluate_prints_the_score_and_the_recorded_one(run: Run, finished: Path) -> None:
    recorded = json.loads((finished / "summary.json").read_text())["leaderboard"][0]["scores"][0]
    printed = run("evaluate", finished, "--device", "cpu")
    assert printed.code == 0
    assert f"accuracy {recorded:.4f} on 24 test samples, recorded {recorded:.4f}" in printed.out
    assert "note" not in printed.out
    found = json.loads(run("evaluate", finished, "--json").out)
    assert found["score"] == found["recorded"] == recorded
    assert found["repeated"]


def test_evaluate_notes_that_the_recorded_score_is_another(run: Run, copied: Path) -> None:
    summary = json.loads((copied / "summary.json").read_text())
    summary["leaderboard"][0]["scores"][0] += 0.01
    (copied / "summary.json").write_text(json.dumps(summary))
    printed = run("evaluate", copied, "--device", "cpu")
    assert printed.code == 0
    assert "note: the recorded score is not repeated" in printed.out


def test_evaluate_notes_that_the_data_is_another(run: Run, finished: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", **tiny_arrays(seed=1))  # type: ignore[arg-type]  # see above
    assert "note: this is not the data of the search" in run("evaluate", finished, "--data", tmp_path / "other.npz").out


def test_export_writes_the_formats_that_are_asked_for(run: Run, finished: Path, tmp_path: Path) -> None:
    printed = run("export", finished, "--format", "json", "--format", "graph", "--out", tmp_path / "out")
    assert printed.code == 0
    written = [Path(line) for line in printed.out.splitlines()]
    assert sorted(written) == sorted((tmp_path / "out").iterdir())
    graph = {"architecture.graphml", "architecture.dot", "architecture.svg"}
    assert {file.name for file in written} == {"architecture.json", *graph}
    asked = ("export", finished, "--format", "torch", "--taps-only", "--out", tmp_path / "out")
    assert re.fullmatch(r".*fusion\.pt2  \(differs by \d\.\de-\d\d\)\n", run(*asked).out)
    (file,) = json.loads(run(*asked, "--json").out)["files"]
    assert file["path"] == str(tmp_path / "out" / "fusion.pt2")
    assert file["format"] == "torch"
    assert 0 <= file["difference"] < 1e-5


def test_report_draws_the_page_again(run: Run, copied: Path) -> None:
    (copied / "report.html").unlink()
    printed = run("report", copied)
    assert printed.code == 0
    assert printed.out.strip() == str(copied / "report.html")
    assert (copied / "report.html").is_file()


@pytest.mark.parametrize("command", ["report", "compare"])
def test_several_runs_give_a_page_that_compares_them(
    run: Run, finished: Path, copied: Path, tmp_path: Path, command: str
) -> None:
    printed = run(command, finished, copied, "--out", tmp_path / "out", "--json")
    assert json.loads(printed.out) == {"report": str(tmp_path / "out" / "report.html")}
    assert "2 runs compared" in (tmp_path / "out" / "report.html").read_text()


def test_a_comparison_does_not_take_the_place_of_a_runs_own_report(run: Run, finished: Path, copied: Path) -> None:
    for out, words in (((), "needs a folder of its own"), (("--out", copied), "is a run")):
        printed = run("report", finished, copied, *out)
        assert printed.code == 2
        assert words in printed.err
        assert printed.err.count("\n") == 1


def test_a_served_report_is_of_one_run(run: Run, finished: Path, tmp_path: Path) -> None:
    for more in ((tmp_path,), ("--out", tmp_path)):
        printed = run("report", finished, *more, "--serve")
        assert (printed.code, printed.err) == (2, "fusenas: --serve takes one run and no --out\n")
    assert "no run folder at" in run("report", tmp_path / "none", "--serve").err


def test_retrain_takes_other_seeds(run: Run, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    out = tmp_path / "again"
    printed = run("retrain", finished, "--seed", "9", "--retrain-seeds", "1", "--epochs", "2", "--out", out, "--json")
    assert printed.code == 0
    assert json.loads(printed.out) == json.loads((out / "summary.json").read_text())
    assert json.loads(printed.out)["seeds"] == [9]
    assert json.loads(printed.out)["command"].startswith("fusenas retrain")


def test_overwrite_replaces_an_earlier_run(run: Run, copied: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    assert run("search", data, *FILE, *QUICK, "--out", copied, "--overwrite").code == 0
    assert load_run(copied).summary.seeds == (0,)


SEARCH_MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown key": (("--modalities", "sound,smell"), "unknown key in .*'smell'"),
    "unknown target": (("--target", "lable"), "'lable'; did you mean 'label'"),
    "unknown split": (("--split", "fold"), "'fold'"),
    "one modality": (("--modalities", "sound"), "two or more modalities"),
    "unknown kind": (("--modalities", "sound:noise,sight"), "unknown kind"),
    "unknown task": (("--task", "clustering"), "clustering"),
    "trials below none": (("--max-trials", "-1"), r"max_trials must be 0 \(automatic\) or more, .*got -1"),
    "too few trials": (
        ("--strategy", "exhaustive", "--max-trials", "5"),
        "has 125 architectures, more than the 5 trainings allowed",
    ),
    "budget of no unit": (("--budget", "soon"), "budget 'soon' is no duration"),
    "budget of nothing": (("--budget", "0s"), "budget '0s' is no duration"),
    "negative budget": (("--budget=-5m",), "budget '-5m' is no duration"),
    "checkpoints of no unit": (("--checkpoint-every", "soon"), "checkpoint-every 'soon' is no duration"),
    "begun and gone on with": (("--overwrite", "--resume"), "give one of them"),
    "unknown encoder mode": (("--encoders", "frozen"), "unknown encoder mode 'frozen'"),
    "unknown baselines": (("--baselines", "some"), "unknown baselines 'some'"),
    "unknown device": (("--device", "tpu"), "unknown device 'tpu'"),
    "unusable device": (("--device", "meta"), "device 'meta' is not supported"),
    "absent device": (("--device", "cuda:99"), "device 'cuda:99' is not there"),
    "unknown level": (("--dynamic", "modalities"), "unknown dynamic level 'modalities'; did you mean 'modality'"),
    "unknown gate": (("--gate", "sfot"), "unknown gate 'sfot'; did you mean 'soft'"),
    "no share": (("--max-multiply-adds", "40"), "max-multiply-adds '40' is no share"),
    "gates without a supernet": (("--dynamic", "modality", "--strategy", "tpe"), "has no supernet"),
    "unknown strategy": (("--strategy", "dart"), "unknown strategy 'dart'; did you mean 'darts'"),
    "unknown operation": (("--operations", "additiv"), "unknown operation 'additiv'; did you mean 'additive'"),
    "empty operation": (("--operations", "additive,"), "unknown operation ''"),
    "unknown space": (("--space", "cellwise"), "unknown space 'cellwise'"),
    "unknown metric": (("--metric", "acuracy"), "unknown metric of classification: 'acuracy'; did you mean 'accuracy'"),
    "unknown class weights": (("--class-weights", "yes"), "unknown class_weights 'yes'"),
    "metric of another task": (("--metric", "rmse"), "unknown metric of classification: 'rmse'"),
    "unknown discretization": (("--discretization", "max"), "unknown discretization 'max'"),
    "negative seed": (("--seed", "-1"), "seed must be 0 or more"),
    "no seeds": (("--retrain-seeds", "0"), "retrain_seeds must be at least 1, .*got 0"),
    "negative seeds": (("--retrain-seeds", "-3"), "retrain_seeds must be at least 1, .*got -3"),
    "no searches": (("--search-seeds", "0"), "search_seeds must be at least 1, .*got 0"),
    "seeds beyond 32 bits": (
        ("--seed", "4294967295", "--search-seeds", "2"),
        "2 search_seeds from seed 4294967295 on go beyond",
    ),
    "negative epochs": (("--epochs", "-1"), "epochs must be 0"),
}


def assert_one_line(printed: Printed, message: str) -> None:
    assert printed.code == 2
    assert printed.out == ""
    assert re.fullmatch(rf"fusenas: [^\n]*{message}[^\n]*\n", printed.err), printed.err


@pytest.mark.parametrize("mistake", SEARCH_MISTAKES)
def test_a_mistake_in_a_search_is_one_line(run: Run, data: Path, tmp_path: Path, mistake: str) -> None:
    options, message = SEARCH_MISTAKES[mistake]
    printed = run("search", data, *FILE, *QUICK, "--out", tmp_path / "out", *options)
    assert_one_line(printed, message)
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.npz"]


def test_a_missing_or_unreadable_file_is_one_line(run: Run, tmp_path: Path) -> None:
    assert_one_line(run("search", tmp_path / "absent.npz", "--out", tmp_path / "out"), "no file or folder")
    assert_one_line(run("search", "emoij", "--out", tmp_path / "out"), "'emoij'; did you mean 'emoji'")
    (tmp_path / "text.npz").write_text("text")
    assert_one_line(run("search", tmp_path / "text.npz", "--out", tmp_path / "out"), "is no .npz")
    assert [file.name for file in tmp_path.iterdir()] == ["text.npz"]


def test_a_file_whose_arrays_are_not_named_is_one_line(run: Run, data: Path) -> None:
    assert_one_line(run("search", data), "It holds: label, sight, sound, split")


def test_a_folder_in_use_is_one_line_and_left_as_it_is(run: Run, data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for options, message in (((), "not empty"), (("--overwrite",), "no fusenas run")):
        assert_one_line(run("search", data, *FILE, *QUICK, "--out", tmp_path / "mine", *options), message)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("command", ["retrain", "evaluate", "export", "report"])
def test_a_run_that_is_not_there_is_one_line(run: Run, tmp_path: Path, command: str) -> None:
    assert_one_line(run(command, tmp_path / "absent"), "no run folder")
    assert_one_line(run(command, tmp_path), "is no run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("retrain", "--retrain-seeds", "-1"), "retrain_seeds must be at least 1"),
        (("retrain", "--seed", "-1"), "seed must be 0 or more"),
        (("retrain", "--epochs", "-1"), "epochs must be 0"),
        (("retrain", "--device", "tpu"), "unknown device"),
        (("evaluate", "--device", "tpu"), "unknown device"),
        (("evaluate", "--data", "nowhere.npz"), "no file or folder"),
        (("export", "--format", "pickle"), "unknown format 'pickle'"),
        (("export", "--format", "json", "--taps-only"), "format 'json' cannot do without the encoders"),
        (("export", "--format", "torch", "--data", "nowhere.npz"), "no file or folder"),
    ],
)
def test_a_mistake_with_a_run_is_one_line(run: Run, finished: Path, arguments: tuple[str, ...], message: str) -> None:
    command, *options = arguments
    assert_one_line(run(command, finished, *options), message)


@pytest.mark.parametrize(
    "arguments", [("search", "emoji", "--bogus"), ("search", "emoji", "--seed", "x"), ("serach", "emoji"), ("search",)]
)
def test_an_unknown_option_or_command_is_one_line(run: Run, arguments: tuple[str, ...]) -> None:
    assert_one_line(run(*arguments), "see --help")


def test_a_stopped_command_says_so(run: Run, monkeypatch: pytest.MonkeyPatch, finished: Path) -> None:
    def stop(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nas.evaluate", stop)
    printed = run("evaluate", finished)
    assert printed.code == 130
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("90", 90), ("10m", 600), ("1h", 3600), ("1.5m", 90), (" 2 s ", 2)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert read_duration(text, "budget") == seconds


def test_a_duration_may_be_nothing_where_that_means_something() -> None:
    assert read_duration("0s", "checkpoint-every", zero=True) == 0


@pytest.mark.parametrize("text", ["0", "0.0h", "-1s", "m", "1d", "1s2", "1e3s", "ten", "inf", "nan"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=f"budget {text!r} is no duration; expected such as 90s, 10m or 1h"):
        read_duration(text, "budget")


def test_threads_wait_asleep_unless_the_user_says_otherwise(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    run("list")
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    run("list")
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize(("text", "value"), [("40%", 0.4), ("40 %", 0.4), ("0.4", 0.4), ("1", 1), ("100%", 1)])
def test_shares_are_read(text: str, value: float) -> None:
    assert read_share(text, "max-multiply-adds") == value


@pytest.mark.parametrize("text", ["0", "0%", "40", "101%", "-0.4", "%", "half"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=f"max-multiply-adds {text!r} is no share; expected such as 40% or 0.4"):
        read_share(text, "max-multiply-adds")


def test_options_of_gates_reach_the_search(run: Run, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--dynamic", "modality,operation", "--gate", "gumbel", "--gate-temperature", "linear")
    more = ("--max-multiply-adds", "60%", "--cost-weight", "0.3", "--objective", "modality_dropout:0.1")
    printed = run("search", data, *FILE, *QUICK, *options, *more, "--device", "cpu", "--out", out)
    assert printed.code == 0, printed.err
    config = load_run(out).config
    assert config.search.dynamic == ("modality", "operation")
    wanted = {
        "gate": "gumbel",
        "gate_temperature": "linear",
        "cost_weight": 0.3,
        "max_multiply_adds": 0.6,
        "objective": "modality_dropout:0.1",
    }
    assert {name: getattr(config.training, name) for name in wanted} == wanted


def test_what_objectives_came_to_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    def tried(objective: str, score: Interval, difference: Interval | None) -> TriedObjective:
        return TriedObjective(
            objective=objective, architecture_score=0.7, score=score, difference=difference, train_seconds=1.0
        )

    rows = (
        tried("", Interval(0.7, 0.6, 0.8), None),
        tried("rubi:sound", Interval(0.72, 0.62, 0.82), Interval(0.02, 0.01, 0.03)),
    )
    objectives = Objectives(chosen="rubi:sound", tried=rows, left_out=("align:[a]+b",))
    print_objectives(Console(width=100), objectives, percent=True)
    printed = capsys.readouterr().out
    assert re.search(r"plain training +│ 70.0 \[60.0, 80.0\] +│ +│", printed)
    assert re.search(r"rubi:sound, taken +│ 72.0 \[62.0, 82.0\] +│ +2.0 \[1.0, 3.0\]", printed)
    assert "no time for align:[a]+b" in printed


def test_an_interrupt_after_the_end_is_no_interrupt() -> None:
    """While Python takes itself down, which takes a while once torch is loaded; here as its last act of all."""
    code = (
        "import atexit, os, signal, sys, time\n"
        "atexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(0.2)))\n"
        "import cli\n"
        "sys.argv = ['fusenas', '--help']\n"
        "cli.main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Usage" in ended.stdout


@pytest.mark.parametrize("when", ["swallowed", "at the end"])
def test_a_stop_is_heard_whenever_it_comes(tmp_path: Path, when: str) -> None:
    """Python prints and forgets what is raised in a callback of a weak reference or in `__del__`."""
    code = {
        "swallowed": (
            "class Dying:\n"
            "    def __del__(self):\n"
            "        os.kill(os.getpid(), signal.SIGTERM)\n"
            "        for _ in range(1000): pass\n"
            "def work():\n"
            "    with stopping.resumable(Path(sys.argv.pop())):\n"
            "        Dying()\n"
            "        time.sleep(20)\n"
        ),
        "at the end": (
            "def work():\n"
            "    try:\n"
            "        with stopping.resumable(Path(sys.argv.pop())):\n"
            "            handler = signal.getsignal(signal.SIGTERM)\n"
            "    finally:\n"
            "        handler(signal.SIGTERM, None)\n"
        ),
    }[when]
    start = "import os, signal, sys, time\nfrom pathlib import Path\nimport cli\nfrom nas.terminal import stopping\n"
    run = "cli.app = lambda *_given, **_options: work()\ncli.main()\n"
    done = subprocess.run(
        [sys.executable, "-c", start + code + run, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (143, "fusenas: stopped\n")


@pytest.mark.parametrize(
    ("words", "completed"),
    [("fusenas ret", "retrain"), ("fusenas search --retr", "--retrain-seeds"), ("fusenas search x --gate g", "gumbel")],
)
def test_the_shell_completes_commands_options_and_names(words: str, completed: str) -> None:
    asked = {"_FUSENAS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    code = "import cli; cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **asked}
    )
    assert done.stdout.split() == [completed]


def test_the_help_of_a_search_groups_its_options(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    printed = run("search", "--help").out
    panels = re.findall(r"^╭─ (.*?) ─+╮$", printed, re.MULTILINE)
    assert panels[2:] == ["Data", "Search", "Deciding per sample", "Training", "Retraining and choice", "Run folder"]
    flags = [option.flag for option in RunConfig.options().values() if option.flag is not None]
    assert [flag for flag in flags if f"--{flag} " not in printed] == []


def test_version_is_that_of_the_package(run: Run) -> None:
    printed = run("--version")
    assert (printed.code, printed.out, printed.err) == (0, f"fusenas {version('fusenas')}\n", "")


def test_quiet_says_nothing_while_it_works_and_preprocessing_is_an_option(run: Run, tmp_path: Path) -> None:
    path = write_npz(tmp_path)
    out = tmp_path / "run"
    printed = run("search", path, *FILE, *QUICK, "--quiet", "--preprocessing", "sound:piecewise", "--out", out)
    assert (printed.code, printed.err) == (0, "")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["preprocessing"]["sound"]["chosen"] == "piecewise"
    page = (out / "report.html").read_text()
    assert "sound: numbers told bin by bin" in page
    printed = run("search", path, *FILE, *QUICK, "--preprocessing", "sound:spectrum", "--out", tmp_path / "other")
    assert printed.code == 2
    assert "'spectrum'" in printed.err
