"""A table is searched by one command, and its run is judged, trained again and exported like any other."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import nas
from nas import UserError
from nas.data.tables import RECIPE_FILE
from nas.export.check import imported
from nas.export.portable import Portable
from nas.runs.folder import RunFolder
from nas.saved.run import data_of, load_run
from nas.saved.weights import load_weights
from tests.command import Run, runner
from tests.data.tables.helpers import toy_frame, write_toy
from tests.tiny_runs import no_report, tiny_search, write_npz

QUICK = (
    *("--operations", "additive", "--preset", "quick", "--encoders", "joint"),
    *("--epochs", "2", "--retrain-seeds", "1", "--device", "cpu"),
)


ROOT = Path(nas.__file__).parents[1]

PROGRAMS = ("safetensors", "python", "torch", "onnx")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Without figures."""
    no_report(monkeypatch)
    return runner(monkeypatch, capsys)


@pytest.mark.slow
def test_classes_from_pictures_sound_text_and_numbers(command: Run, tmp_path: Path) -> None:
    table, out = write_toy(tmp_path), tmp_path / "run"
    code, _, err = command("search", table, "--target", "kind", *QUICK, "--out", out, "--columns", "sold:ignore")
    assert code == 0, err
    for told in (
        "paths of pictures",
        "paths of recordings",
        "36 different texts",
        "left out",
        "as you said",
        "3 differ",
    ):
        assert told in err
    source = tomllib.loads((out / "config.toml").read_text())["source"]
    assert (source["data"], source["columns"]) == (str(table), "sold:ignore")
    run = load_run(out)
    assert run.recipe == nas.load_data(table, target="kind", columns="sold:ignore").recipe
    assert sorted(run.network.encoders) == ["picture", "sound", "table", "title"]

    code, printed, err = command("evaluate", out, "--json", "--device", "cpu")
    assert code == 0, err
    judged = json.loads(printed)
    assert judged["same_data"]
    assert judged["repeated"]

    code, printed, err = command("export", out, "--format", "python", "--json")
    assert code == 0, err
    assert json.loads(printed)["files"][0]["difference"] < 1e-4


@pytest.mark.slow
def test_numbers_from_text_and_numbers_and_again(command: Run, tmp_path: Path) -> None:
    table, out = write_toy(tmp_path), tmp_path / "run"
    groups = "table=weight+maker,title"
    code, printed, err = command(
        *("search", table, "--target", "price", "--modalities", groups), *QUICK, "--out", out, "--json"
    )
    assert code == 0, err
    assert json.loads(printed)["data"]["task"] == "regression"
    assert "columns; --columns" not in err
    code, _, err = command("retrain", out, "--device", "cpu", "--out", tmp_path / "again")
    assert code == 0, err
    assert (tmp_path / "again" / RECIPE_FILE).read_bytes() == (out / RECIPE_FILE).read_bytes()

    # The stored recipe is applied, not a new one: other rows do not change what a row becomes.
    run = load_run(out)
    longer = pd.concat([pd.read_csv(table)] * 2).assign(weight=lambda frame: frame["weight"] * 100)
    with_more = data_of(run, longer)
    assert with_more.recipe == run.recipe
    assert len(with_more) == 120

    (out / RECIPE_FILE).write_text('{"format_version": 1}')
    code, _, err = command("evaluate", out)
    assert code == 2
    assert "preprocessing: 'target' is missing" in err.splitlines()[-1]


@pytest.mark.slow
def test_a_frame_is_searched_in_python_and_handed_over_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    frame = toy_frame(tmp_path)[["title", "weight", "maker", "kind", "split"]]
    told: list[nas.FusionData] = []
    result = tiny_search(frame, target="kind", encoders="joint", out=tmp_path / "run", on_data=told.append)
    assert result.summary.data.name == told[0].name == "table"
    assert nas.evaluate(tmp_path / "run", data=frame)["repeated"]
    with pytest.raises(UserError, match="was searched on data in memory; hand it over"):
        nas.evaluate(tmp_path / "run")


@pytest.mark.slow
def test_arrays_in_place_of_a_table_leave_no_recipe(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    table = write_toy(tmp_path)
    tiny_search(table, target="kind", modalities="title,table", encoders="joint", out=out)
    assert load_run(out).recipe is not None
    shutil.rmtree(out / "exports")
    tiny_search(
        write_npz(tmp_path), modalities="sound,sight", target="label", encoders="joint", out=out, overwrite=True
    )
    assert not (out / RECIPE_FILE).exists()
    assert load_run(out).recipe is None
    code, _, err = command("evaluate", out, "--data", table)
    assert code == 2
    assert f"has no {RECIPE_FILE}, without which no table becomes its arrays" in err


def test_a_mistake_in_a_table_is_one_line(command: Run, tmp_path: Path) -> None:
    code, _, err = command("search", write_toy(tmp_path), "--target", "price", "--columns", "title:words")
    assert code == 2
    assert err.splitlines()[-1].startswith("fusenas: unknown kind of column 'title': 'words'")
    code, _, err = command("search", tmp_path / "none.csv", "--target", "price")
    assert code == 2
    assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_rows_without_a_target_are_predicted_from_a_copy_of_the_run(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Here all of it is run on raw rows instead.
    monkeypatch.setattr(import_module("nas.export.formats"), "verify", lambda *_given: (0.0, {}))
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    table = write_toy(here)
    result = nas.search(
        table,
        target="kind",
        columns="sold:ignore",
        operations=["additive"],
        preset="quick",
        encoders="joint",
        baselines="few",
        epochs=2,
        retrain_seeds=1,
        device="cpu",
        out=here / "run",
    )
    shutil.copytree(here, there)  # pictures and recordings beside the table, and the run
    moved = pd.read_csv(there / table.name).drop(columns=["kind", "sold"])
    moved.to_csv(there / "new.csv", index=False)
    shutil.rmtree(here)
    words = ["predict", str(there / "run"), str(there / "new.csv"), "--quiet", "--device", "cpu"]
    printed = subprocess.run(
        [sys.executable, "-c", f"from cli import main; import sys; sys.argv[1:] = {words!r}; main()"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    told = pd.read_csv(io.StringIO(printed))
    data = nas.load_data(there / table.name, target="kind", columns="sold:ignore")
    wanted = nas.predict(result, data, device="cpu")
    assert wanted.labels is not None
    assert wanted.probabilities is not None
    assert told["label"].tolist() == wanted.labels.tolist()
    for number, name in enumerate(wanted.class_names):
        assert told[f"p_{name}"].to_numpy() == pytest.approx(wanted.probabilities[:, number], abs=1e-6)
    nas.export(there / "run", PROGRAMS, data=there / table.name, out=there / "exports")
    found = _exported(there, moved)
    assert found.keys() == set(PROGRAMS)
    for kind, outputs in found.items():
        np.testing.assert_allclose(outputs, wanted.outputs, atol=1e-4, err_msg=kind)
    moved.drop(columns="title").to_csv(there / "lacking.csv", index=False)
    code, _, err = command("predict", there / "run", there / "lacking.csv", "--device", "cpu")
    assert code == 2
    assert "lacks column 'title'" in err


def _exported(folder: Path, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """What every exported network makes of raw rows, which the run's own preprocessing turned into arrays."""
    recipe = load_run(folder / "run").recipe
    assert recipe is not None
    given: dict[str, torch.Tensor] = {}
    for name, modality in recipe.apply(rows, folder).items():
        given[name] = torch.from_numpy(modality.arrays[0])
        there = np.ones(len(rows), dtype=np.bool_) if modality.present is None else modality.present
        given[f"{name}_present"] = torch.from_numpy(there)
    exports = folder / "exports"
    session = pytest.importorskip("onnxruntime").InferenceSession(exports / "network.onnx")
    names = [one.name for one in session.get_inputs()]
    inputs = [given[name] for name in names]
    weights = load_weights(RunFolder(exports)).network
    with torch.no_grad():
        return {
            "onnx": session.run(None, {name: one.numpy() for name, one in zip(names, inputs, strict=True)})[0],
            "torch": torch.export.load(exports / "network.pt2").module()(*inputs).numpy(),
            "python": imported(exports / "network.py").load(exports / "network.safetensors")(*inputs).numpy(),
            "safetensors": Portable(weights, [name for name in weights.encoders if f"{name}_present" in names])(
                *inputs
            ),
        }


def test_a_run_on_arrays_predicts_no_table(tmp_path: Path) -> None:
    result = tiny_search(write_npz(tmp_path), modalities="sound,sight", target="label", split="split")
    with pytest.raises(UserError, match="searched on arrays"):
        nas.predict(result, tmp_path / "new.csv")
    with pytest.raises(UserError, match="data is a DataFrame; expected a mapping"):
        nas.predict(result, pd.DataFrame({"a": [1, 2]}))
