"""What can be done with a finished run: load it, judge it again, train it again; and what a damaged one says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nas import RunResult, UserError, evaluate, load_run, retrain
from nas.data.fusion_data import FusionData
from nas.encoders import Encoder
from nas.encoders.base import Standardize
from nas.encoders.vector import VectorEncoder
from nas.records import plain
from tests.helpers import contents
from tests.strategies.problems import same_tensors
from tests.tiny_runs import DYNAMIC, as_data, finished_run, no_report, tiny_arrays, tiny_search


@pytest.fixture
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return finished_run(tmp_path_factory)


@pytest.fixture
def folder(finished: RunResult) -> Path:
    """The shared run, to be read only."""
    assert finished.folder is not None
    return finished.folder


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be written to or damaged."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_a_run_comes_back_as_it_was_written(finished: RunResult, folder: Path) -> None:
    run = load_run(folder)
    assert run.folder == folder
    assert run.architecture == finished.architecture
    assert plain(run.summary) == plain(finished.summary)
    assert run.config.search.seed == 3
    assert same_tensors(run.network.state_dict(), load_file(folder / "weights.safetensors"))
    assert not run.network.training


def test_the_loaded_network_answers_on_raw_arrays(folder: Path) -> None:
    arrays, network = tiny_arrays(), load_run(folder).network
    test = arrays["split"] == 2
    with torch.no_grad():
        logits = network({name: [torch.from_numpy(arrays[name][test])] for name in ("sound", "sight")})
    accuracy = float((logits.argmax(dim=1).numpy() == arrays["label"][test]).mean())
    assert accuracy == evaluate(folder, device="cpu")["score"]


def test_evaluate_repeats_the_recorded_score_exactly(folder: Path) -> None:
    found = evaluate(folder, device="cpu")
    assert found["score"] == found["recorded"] == found["metrics"]["accuracy"]
    assert set(found["metrics"]) == {"accuracy", "macro_f1"}
    assert (found["metric"], found["samples"], found["same_data"]) == ("accuracy", 24, True)


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_evaluate_repeats_the_score_of_every_task_with_samples_that_lack_a_modality(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    no_report(monkeypatch)
    arrays = tiny_arrays()
    arrays["label"] = arrays["sight"] * 3 if task == "regression" else np.eye(3, dtype=np.float32)[arrays["label"]]
    data = as_data(arrays, task=task, present={"sound": np.arange(len(arrays["split"])) % 4 != 0})
    tiny_search(data, encoders="pretrained", out=tmp_path / "run")
    found = evaluate(tmp_path / "run", data=data, device="cpu")
    assert found["score"] == found["recorded"]
    assert found["same_data"]


def test_evaluate_goes_by_the_metric_of_the_config(copied: Path) -> None:
    edit_config(copied, 'metric = ""', 'metric = "rmse"')
    with pytest.raises(UserError, match="unknown metric of classification: 'rmse'"):
        evaluate(copied, device="cpu")
    edit_config(copied, 'metric = "rmse"\n', "")  # as runs of before there was a choice
    assert evaluate(copied, device="cpu")["metric"] == "accuracy"


def test_evaluate_says_when_the_data_is_another(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    np.savez(other, **tiny_arrays(seed=1))  # type: ignore[arg-type]  # the stub takes the keys for its own argument
    found = evaluate(folder, data=other, device="cpu")
    assert not found["same_data"]
    assert 0 <= found["score"] <= 1


def test_evaluate_refuses_data_of_another_form(folder: Path) -> None:
    arrays = tiny_arrays()
    label, sight = arrays["label"], arrays["sight"]
    others = {
        "modality 'sight'": as_data({**arrays, "sight": sight[:, :2]}),
        "task": as_data({**arrays, "label": label.astype(np.float32)}),
        "classes": as_data({**arrays, "label": np.minimum(label, 1)}),
        "class_names": as_data({**arrays, "label": label + 1}),  # the run's class 0 is not this data's first
    }
    for what, data in others.items():
        with pytest.raises(UserError, match=f"{what} of the data is .* searched on"):
            evaluate(folder, data=data)
    assert evaluate(folder, data=as_data(arrays), device="cpu")["same_data"]


def test_data_in_memory_has_to_be_handed_over_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    tiny_search(as_data(tiny_arrays()), encoders="joint", out=tmp_path / "run")
    with pytest.raises(UserError, match="data in memory; hand it over"):
        evaluate(tmp_path / "run")
    found = evaluate(tmp_path / "run", data=as_data(tiny_arrays()), device="cpu")
    assert found["score"] == found["recorded"]


def test_retraining_with_the_same_seeds_repeats_scores_and_weights(folder: Path, tmp_path: Path) -> None:
    before = contents(folder)
    result = retrain(folder, device="cpu", out=tmp_path / "again", command="fusenas retrain")
    assert contents(folder) == before
    old, new = load_run(folder), load_run(tmp_path / "again")
    assert [row.scores for row in new.summary.leaderboard] == [row.scores for row in old.summary.leaderboard]
    assert same_tensors(old.network.state_dict(), new.network.state_dict())
    assert new.config == old.config
    assert new.summary.device == "cpu"
    assert new.summary.provenance.command == "fusenas retrain"
    assert result.report == tmp_path / "again" / "report.html"
    assert (tmp_path / "again" / "exports" / "card.md").is_file()


def test_retraining_elsewhere_with_other_seeds(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    retrain(folder, seed=7, retrain_seeds=3, epochs=2, device="cpu", out=tmp_path / "again")
    old, new = load_run(folder), load_run(tmp_path / "again")
    assert new.architecture == old.architecture
    assert new.summary.seeds == (7, 8, 9)
    assert [row.name for row in new.summary.leaderboard] == [row.name for row in old.summary.leaderboard]
    assert all(len(row.scores) == 3 for row in new.summary.leaderboard)
    assert not same_tensors(old.network.state_dict(), new.network.state_dict())
    assert new.config.training.epochs == 2
    assert evaluate(tmp_path / "again", device="cpu")["score"] == new.summary.leaderboard[0].scores[0]
    # What has once been retrained starts from its own first seed.
    assert list(retrain(tmp_path / "again", retrain_seeds=1, device="cpu").summary.seeds) == [7]


def test_retraining_in_place_keeps_the_course_of_the_search(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    before = contents(copied)
    retrain(copied, seed=11, retrain_seeds=1, device="cpu")
    after = contents(copied)
    assert after["metrics.jsonl"] == before["metrics.jsonl"]
    assert after["architecture.json"] == before["architecture.json"]
    assert after["weights.safetensors"] != before["weights.safetensors"]
    assert json.loads(after["summary.json"])["seeds"] == [11]
    assert evaluate(copied, device="cpu")["score"] == json.loads(after["summary.json"])["leaderboard"][0]["scores"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retrain_seeds": 0}, "retrain_seeds must be at least 1"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"seed": 2**32 - 1, "retrain_seeds": 2}, "2 retrain_seeds from seed 4294967295 on go beyond"),
        ({"epochs": -1}, "epochs must be 0"),
        ({"device": "tpu"}, "unknown device"),
        ({"data": "nowhere.npz"}, "no file or folder"),
    ],
)
@pytest.mark.parametrize("in_place", [True, False])
def test_mistakes_in_retraining_leave_everything_as_it_is(
    copied: Path, options: dict[str, Any], message: str, in_place: bool
) -> None:
    before = contents(copied)
    out = None if in_place else copied.parent / "out"
    with pytest.raises(UserError, match=message):
        retrain(copied, out=out, **options)
    assert contents(copied) == before
    assert not (copied.parent / "out").exists()


def test_retraining_on_other_modalities_is_refused(copied: Path) -> None:
    arrays = tiny_arrays()
    arrays["touch"] = arrays.pop("sound")
    with pytest.raises(UserError, match=r"the encoders of the data offer taps .*touch.*, those of the run"):
        retrain(copied, data=as_data(arrays), out=copied.parent / "out")
    assert not (copied.parent / "out").exists()


def edit_summary(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    change(summary)
    (folder / "summary.json").write_text(json.dumps(summary))


def edit_config(folder: Path, old: str, new: str) -> None:
    text = (folder / "config.toml").read_text()
    assert old in text
    (folder / "config.toml").write_text(text.replace(old, new))


def cut(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no weights": lambda folder: (folder / "weights.safetensors").unlink(),
    "weights cut off": lambda folder: cut(folder, "weights.safetensors"),
    "weights are text": lambda folder: (folder / "weights.safetensors").write_text("weights"),
    "no summary": lambda folder: (folder / "summary.json").unlink(),
    "summary cut off": lambda folder: cut(folder, "summary.json"),
    "no config": lambda folder: (folder / "config.toml").unlink(),
    "config garbled": lambda folder: edit_config(folder, "[search]", "[search"),
    "config without source": lambda folder: edit_config(folder, "[source]", "[sauce]"),
    "seed of the config is text": lambda folder: edit_config(folder, "seed = 3\n", 'seed = "3"\n'),
    "option of an earlier version": lambda folder: edit_config(folder, "retrain_seeds", "seeds"),
    "unknown training option": lambda folder: edit_config(folder, "dropout_rate", "dropped"),
    "training option of another type": lambda folder: edit_config(folder, "channels = 8", 'channels = "8"'),
    "refused training option": lambda folder: edit_config(folder, "batch_size = 24", "batch_size = 1"),
    "no leaderboard": lambda folder: edit_summary(folder, lambda s: s.pop("leaderboard")),
    "empty leaderboard": lambda folder: edit_summary(folder, lambda s: s.update(leaderboard=[])),
    "row is text": lambda folder: edit_summary(folder, lambda s: s.update(leaderboard=["found"])),
    "no seeds": lambda folder: edit_summary(folder, lambda s: s.update(seeds=[])),
    "seed is text": lambda folder: edit_summary(folder, lambda s: s.update(seeds=["3"])),
    "no data": lambda folder: edit_summary(folder, lambda s: s.update(data=None)),
    "data of no modalities": lambda folder: edit_summary(folder, lambda s: s["data"].update(modalities=[])),
    "no depths": lambda folder: edit_summary(folder, lambda s: s.pop("depths")),
    "architecture is text": lambda folder: edit_summary(folder, lambda s: s.update(architecture="late fusion")),
    "another architecture": lambda folder: edit_summary(
        folder, lambda s: s["architecture"]["steps"][0].update(operation="soft_gate", inputs=["sound@0", "sight@0"])
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_refused_in_one_line(copied: Path, damage: str) -> None:
    DAMAGE[damage](copied)
    before = contents(copied)
    calls: list[Callable[[Path], object]] = [load_run, evaluate, retrain]
    for call in calls:
        with pytest.raises(UserError) as caught:
            call(copied)
        assert "\n" not in str(caught.value)
    assert contents(copied) == before


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "absent", "no run folder"), (tmp_path, "is no run")):
        with pytest.raises(UserError, match=message):
            load_run(path)


def test_a_run_with_encoders_of_ones_own_is_not_retrained_with_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_report(monkeypatch)

    def wide(data: FusionData, name: str) -> Encoder:
        array = data.modalities[name].arrays[0]
        return VectorEncoder(Standardize.fit(array, channel_axis=-1), array.shape[1], widths=(7, 7, 7))

    data, run = as_data(tiny_arrays()), tmp_path / "run"
    tiny_search(data, builders={"sound": wide}, encoders="joint", out=run)
    before = contents(run)
    with pytest.raises(UserError, match=r"builders are given for \[\], but .* \['sound'\]"):
        retrain(run, data=data)
    assert contents(run) == before
    again = retrain(run, data=data, builders={"sound": wide}, out=tmp_path / "again")
    assert same_tensors(load_file(run / "weights.safetensors"), load_file(tmp_path / "again" / "weights.safetensors"))
    assert again.summary.leaderboard[0].parameters == load_run(run).summary.leaderboard[0].parameters


def test_a_dynamic_run_is_loaded_judged_and_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    data = as_data(tiny_arrays())
    options: dict[str, Any] = {"encoders": "pretrained", "space": "experts", "training": DYNAMIC}
    first = tiny_search(data, out=tmp_path / "run", seed=2, **options)  # with seed 0 the gate does not pay
    assert first.architecture.gating is not None
    told = evaluate(tmp_path / "run", data=data, device="cpu")
    assert told["repeated"]
    again = retrain(tmp_path / "run", data=data, device="cpu", out=tmp_path / "same")
    assert same_tensors(again.network.state_dict(), first.network.state_dict())
    assert again.summary.dynamic == first.summary.dynamic
    other = retrain(tmp_path / "run", data=data, device="cpu", seed=7, retrain_seeds=1, epochs=4)
    assert other.architecture == load_run(tmp_path / "run").architecture == first.architecture
    assert not same_tensors(other.network.state_dict(), first.network.state_dict())
    assert [row.kind for row in other.summary.leaderboard[:2]] == ["found", "static"]


def test_a_row_of_which_an_input_was_taken_away_is_told_in_one_line(copied: Path) -> None:
    summary = json.loads((copied / "summary.json").read_text())
    row = next(row for row in summary["leaderboard"] if row["kind"] == "operation")
    step = next(step for step in row["architecture"]["steps"] if len(step["inputs"]) > 1)
    del step["inputs"][1:]
    (copied / "summary.json").write_text(json.dumps(summary))
    before = (copied / "weights.safetensors").read_bytes()
    with pytest.raises(UserError, match=r"takes 2 to .* inputs, got 1"):
        retrain(copied, retrain_seeds=1, device="cpu")
    assert (copied / "weights.safetensors").read_bytes() == before
