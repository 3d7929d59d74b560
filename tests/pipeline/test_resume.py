"""Whether a run is begun or gone on with, in this process; `test_kills` does the same to real ones."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from nas import RunResult, TrainingConfig, UserError, load_run, retrain
from nas.data.fusion_data import FusionData
from nas.encoders import Encoder
from nas.encoders.base import Standardize
from nas.encoders.vector import VectorEncoder
from nas.records import plain
from nas.runs.checkpoint import Checkpoints, status
from nas.runs.folder import RunFolder
from search_spaces import layerwise
from tests.helpers import contents
from tests.interruptions import Interrupted, interrupted_at, timeless
from tests.strategies.problems import same_tensors
from tests.tiny_runs import DYNAMIC, TRAINING, as_data, finished_run, no_report, tiny_arrays, tiny_search

NEVER = 10**9


@pytest.fixture(autouse=True)
def quick(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    finished_run(tmp_path_factory)  # which others share, and want with its figures
    no_report(monkeypatch)


@pytest.fixture
def copied(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """A copy of the shared run, of two seeds."""
    finished = finished_run(tmp_path_factory).folder
    assert finished is not None
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "weights.safetensors")


def search(folder: Path | None, **options: Any) -> RunResult:
    return tiny_search(as_data(tiny_arrays()), out=folder, **options)


def stop(patch: pytest.MonkeyPatch, number: int, folder: Path, **options: Any) -> None:
    """A search that is interrupted in its n-th step."""
    with interrupted_at(patch, number), pytest.raises(Interrupted):
        search(folder, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"encoders": "pretrained", "retrain_seeds": 2},
        {"encoders": "auto", "training": replace(TRAINING, preprocessing="auto")},
        {"encoders": "joint", "strategy": "darts", "discretization": "perturbation"},
        {"encoders": "joint", "strategy": "random"},
        {"encoders": "joint", "space": "experts", "training": replace(DYNAMIC, cost_weight=0.3), "seed": 7},
    ],
)
def test_a_search_that_is_stopped_goes_on_to_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    with interrupted_at(monkeypatch, NEVER) as taken:
        wanted = search(tmp_path / "whole", **options)
    for share in (0.3, 0.9):
        folder = tmp_path / f"{share}"
        stop(monkeypatch, round(share * taken[0]), folder, **options)
        with interrupted_at(monkeypatch, NEVER) as again:
            found = search(folder, resume=True, **options)
        assert again[0] <= (1 - share) * taken[0] + 15  # an epoch of three steps, and perturbation's fine-tuning
        assert found.architecture == wanted.architecture
        assert (found.architecture.gating is not None) == (options.get("space") == "experts")
        assert same_tensors(weights(folder), weights(tmp_path / "whole"))
        assert timeless(RunFolder(folder).read_metrics()) == timeless(RunFolder(tmp_path / "whole").read_metrics())
        for key in ("nodes", "discretization_loss", "verdict", "candidates"):
            assert plain(found.summary)[key] == plain(wanted.summary)[key]


def test_a_run_that_is_not_there_is_begun(tmp_path: Path) -> None:
    found = search(tmp_path / "run", encoders="joint", resume=True)
    assert same_tensors(found.network.state_dict(), search(None, encoders="joint").network.state_dict())


def test_a_run_that_was_stopped_before_any_state_is_begun(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run").write_config({"half": "written"})
    search(tmp_path / "run", encoders="joint", resume=True)
    assert load_run(tmp_path / "run").config.search.encoders == "joint"


def test_a_finished_run_is_told_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = search(tmp_path / "run", encoders="joint")
    before = contents(tmp_path)
    lines: list[str] = []
    with interrupted_at(monkeypatch, 1):
        second = search(tmp_path / "run", encoders="joint", resume=True, progress=lines.append)
    assert lines == [f"{str(tmp_path / 'run')!r} is finished: nothing is left to do"]
    assert second.architecture == first.architecture
    assert same_tensors(second.network.state_dict(), first.network.state_dict())
    assert second.summary.found.scores == first.summary.found.scores
    assert contents(tmp_path) == before


def test_states_of_a_finished_run_that_was_killed_as_it_removed_them_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_checkpoints: Checkpoints) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "remove_states", killed)
        with pytest.raises(Interrupted):
            search(tmp_path / "run", encoders="joint")
    checkpoints = tmp_path / "run" / "checkpoints"
    assert list(checkpoints.glob("*.state"))
    search(tmp_path / "run", encoders="joint", resume=True)
    assert [path.name for path in checkpoints.iterdir()] == ["run.json"]


def test_a_finished_run_of_before_there_were_checkpoints_is_left_alone(copied: Path) -> None:
    shutil.rmtree(copied / "checkpoints")
    before = contents(copied)
    with pytest.raises(UserError, match="holds a finished run and nothing to go on with; --overwrite replaces it"):
        search(copied, resume=True)
    assert contents(copied) == before


def own_encoder(data: FusionData, name: str) -> Encoder:
    array = data.modalities[name].arrays[0]
    return VectorEncoder(Standardize.fit(array, channel_axis=-1), array.shape[1], widths=(8, 8, 8), dropout_rate=0.0)


def test_a_run_is_bound_to_all_that_decides_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop(monkeypatch, 12, tmp_path / "run")
    before = contents(tmp_path)
    other_labels = tiny_arrays()
    other_labels["label"] = other_labels["label"][::-1].copy()
    for options, told in (
        ({"seed": 1}, r"search\.seed 0, now it is 1"),
        ({"budget_seconds": 5.0}, r"search\.budget_seconds 0\.0, now it is 5\.0"),
        ({"training": replace(TRAINING, dropout_rate=0.3)}, r"training\.dropout_rate 0\.2, now it is 0\.3"),
        ({"metric": "auroc"}, r"training\.metric '', now it is 'auroc'"),
        ({"data": as_data(other_labels)}, r"data '\w+', now it is '\w+'"),
        ({"builders": {"sound": own_encoder}}, r"builders \[\], now it is \['sound'\]"),
    ):
        given: dict[str, Any] = {"data": as_data(tiny_arrays()), **options}
        with pytest.raises(UserError, match=f"was begun with {told}") as caught:
            tiny_search(given.pop("data"), out=tmp_path / "run", resume=True, **given)
        assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before
    search(tmp_path / "run", resume=True)


def test_a_run_is_bound_to_a_space_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = layerwise({"sound": 3, "sight": 3}, operations=["additive", "multiplicative"])
    stop(monkeypatch, 12, tmp_path / "run", space=mine, operations=None)
    with pytest.raises(UserError, match=r"was begun with space '\w+', now it is '\w+'"):
        search(tmp_path / "run", space=replace(mine, warm_up=None), operations=None, resume=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resume": True, "out": None}, "resume needs the run folder to go on in"),
        ({"resume": True, "overwrite": True}, "--resume goes on with a run and --overwrite begins it anew"),
        ({"checkpoint_seconds": -1.0}, r"checkpoint_seconds must be 0 \(every epoch\) or more, got -1"),
        ({"checkpoint_seconds": float("nan")}, "checkpoint_seconds must be 0"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny_search(as_data(tiny_arrays()), **{"out": tmp_path / "run", **options})
    assert not list(tmp_path.iterdir())


def test_a_run_that_diverges_gives_the_one_that_it_replaces_back(copied: Path) -> None:
    before = contents(copied)
    with pytest.raises(UserError, match="diverged"):
        search(copied, overwrite=True, training=replace(TRAINING, learning_rate=1e30))
    assert contents(copied) == before
    assert status(copied / "checkpoints") == "finished"


def test_a_retraining_in_place_can_be_stopped_and_gone_on_with(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Path(shutil.copytree(copied, copied.parent / "wanted"))
    before = {name: content for name, content in contents(copied).items() if not name.startswith("checkpoints")}
    retrain(wanted, seed=8, retrain_seeds=1)
    with interrupted_at(monkeypatch, 40), pytest.raises(Interrupted):
        retrain(copied, seed=8, retrain_seeds=1)
    after = {name: content for name, content in contents(copied).items() if not name.startswith("checkpoints")}
    assert after == before
    assert status(copied / "checkpoints") == "stopped"
    with pytest.raises(UserError, match=r"begun with seeds \[8\], now it is \[9\]"):
        retrain(copied, seed=9, retrain_seeds=1, resume=True)
    with interrupted_at(monkeypatch, NEVER) as taken:
        retrain(copied, seed=8, retrain_seeds=1, resume=True)
    assert taken[0] > 0
    assert same_tensors(weights(copied), weights(wanted))
    with interrupted_at(monkeypatch, 1):
        retrain(copied, seed=8, retrain_seeds=1, resume=True)  # it is finished
    with interrupted_at(monkeypatch, 1), pytest.raises(Interrupted):
        retrain(copied, seed=9, retrain_seeds=1, resume=True)  # another one is begun


def test_a_retraining_elsewhere_can_be_gone_on_with(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = copied.parent / "one", copied.parent / "other"
    retrain(copied, retrain_seeds=1, out=one)
    with interrupted_at(monkeypatch, 30), pytest.raises(Interrupted):
        retrain(copied, retrain_seeds=1, out=other)
    retrain(copied, retrain_seeds=1, out=other, resume=True)
    assert same_tensors(weights(one), weights(other))
    assert timeless(RunFolder(one).read_metrics()) == timeless(RunFolder(other).read_metrics())


def test_times_add_up_over_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with interrupted_at(monkeypatch, NEVER) as taken:
        search(tmp_path / "whole", encoders="joint")
    stop(monkeypatch, taken[0], tmp_path / "run", encoders="joint")
    summary = search(tmp_path / "run", encoders="joint", resume=True).summary
    assert summary.search.search_seconds > 0.01  # nothing of it was done by the process that ended the run
    assert all(row.train_seconds > 0.001 for row in summary.leaderboard)
    assert summary.total_seconds > summary.search.search_seconds + summary.leaderboard[0].train_seconds


def test_the_config_names_no_option_of_resuming(tmp_path: Path) -> None:
    search(tmp_path / "run", encoders="joint", checkpoint_seconds=0.0, training=TrainingConfig(epochs=1))
    text = (tmp_path / "run" / "config.toml").read_text()
    assert not re.search("resume|checkpoint|overwrite", text)
