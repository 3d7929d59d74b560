"""Predictions on new samples: the same everywhere, and one line for everything that does not fit."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import nas
from nas import Architecture, Choice, FusionData, Predictions, RunResult, UserError
from nas.config import RunConfig
from nas.export.check import imported
from nas.network.prediction import EVALUATION_BATCH
from nas.pipeline.predict import between
from nas.records import from_plain
from nas.seeding import seeded
from nas.summary import Calibration, DataDescription
from nas.tasks import TASKS
from nas.training.build import build_network
from search_spaces import layerwise
from tests.command import Run, runner
from tests.helpers import tiny_array
from tests.summaries import known, make_summary
from tests.tiny_runs import (
    OPERATIONS,
    TRAINING,
    Arrays,
    as_data,
    dynamic_run,
    finished_run,
    no_report,
    tiny_arrays,
    tiny_search,
)

NEW: Arrays = {name: array for name, array in tiny_arrays(seed=5).items() if name in ("sound", "sight")}
"""Samples that no run has seen."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A finished run, only to be read."""
    return finished_run(tmp_path_factory)


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose architecture has a gate."""
    return dynamic_run(tmp_path_factory)


def untrained(choice: Choice, targets: Any, **options: Any) -> RunResult:
    """A run, made by hand, of a network with fresh weights that does one thing at the last depth."""
    data = FusionData.from_arrays({name: tiny_arrays()[name] for name in NEW}, targets, **options)
    nothing = Choice("none")
    architecture = Architecture.chain("layerwise", (("fusion0", nothing), ("fusion1", nothing), ("fusion2", choice)))
    space = layerwise(dict.fromkeys(data.modalities, 3), operations=OPERATIONS).only(architecture)
    with seeded(0):
        network = build_network(space, data, TRAINING).eval()
    calibration = Calibration(temperature=2.0, error_before=0.1, error_after=0.1, bins=15)
    described = from_plain(DataDescription, data.describe())
    summary = make_summary(architecture, dict(space.depths), data=described, calibration=calibration)
    return RunResult(
        architecture=architecture, network=network, summary=summary, config=RunConfig(), folder=None, report=None
    )


BOTH = Choice("additive", ("sound@2", "sight@2"))


@pytest.fixture(scope="module")
def absent() -> RunResult:
    """One for labels, on samples that may lack their sound."""
    label = tiny_arrays()["label"]
    return untrained(
        BOTH,
        np.stack([label == 0, label > 0], axis=1).astype(np.int64),
        present={"sound": np.arange(len(label)) % 4 > 0},
        class_names=["zero", "more, or less"],
    )


def write(folder: Path, arrays: Mapping[str, Any], name: str = "new.npz") -> Path:
    np.savez(folder / name, **arrays)
    return folder / name


def folder_of(run: RunResult) -> Path:
    assert run.folder is not None
    return run.folder


def test_the_test_split_is_predicted_as_it_was_judged(finished: RunResult) -> None:
    arrays = tiny_arrays()
    is_test = arrays["split"] == 2
    found = nas.predict(finished, {name: arrays[name][is_test] for name in NEW})
    assert found.labels is not None
    right = found.labels == arrays["label"][is_test].astype(str)
    assert right.mean() == finished.summary.leaderboard[0].scores[0]


def test_a_moved_run_predicts_the_same_in_a_fresh_process(finished: RunResult, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "run"
    shutil.copytree(folder_of(finished), moved)
    here = nas.predict(finished, NEW)
    script = "import sys, numpy, nas; new = dict(numpy.load(sys.argv[2])); found = nas.predict(sys.argv[1], new); "
    script += "print(found.to_csv(), end='')"
    command = [sys.executable, "-c", script, str(moved), str(write(tmp_path, NEW))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    assert done.stdout == here.to_csv()
    assert len(done.stdout.splitlines()) == 1 + len(here) == 121


def test_exported_networks_predict_the_same(finished: RunResult, tmp_path: Path) -> None:
    folder = folder_of(finished)
    nas.export(folder, ["python", "onnx"], out=tmp_path)
    found = nas.predict(folder, NEW)
    program = imported(tmp_path / "network.py").load(tmp_path / "network.safetensors")
    with torch.no_grad():
        of_python = program(**{name: torch.from_numpy(array) for name, array in NEW.items()}).numpy()
    session = onnxruntime.InferenceSession(str(tmp_path / "network.onnx"), providers=["CPUExecutionProvider"])
    (of_onnx,) = session.run(None, {one.name: NEW[one.name] for one in session.get_inputs()})
    for outputs in (of_python, of_onnx):  # of order one; other kernels sum in another order
        np.testing.assert_allclose(outputs, found.outputs, atol=1e-5)
    assert found.probabilities is not None
    temperature = known(finished.summary.calibration).temperature
    np.testing.assert_array_equal(
        found.probabilities, TASKS["classification"].probabilities(found.outputs, temperature)
    )


def test_a_run_may_be_its_folder_a_loaded_run_or_a_result(finished: RunResult) -> None:
    folder = folder_of(finished)
    found = [nas.predict(run, NEW).outputs for run in (folder, str(folder), nas.load_run(folder), finished)]
    for one in found[1:]:
        np.testing.assert_array_equal(one, found[0])


def test_data_may_be_a_data_set_a_file_a_folder_or_tensors(finished: RunResult, tmp_path: Path) -> None:
    expected = nas.predict(finished, NEW).outputs
    labels = np.arange(120) % 3
    data = FusionData.from_arrays(NEW, labels)
    under_keys = {f"x/{name}": array for name, array in NEW.items()}
    (tmp_path / "three").mkdir()
    for name, part in (("train", slice(0, 40)), ("val", slice(40, 70)), ("test", slice(70, 120))):
        write(tmp_path / "three", {key: array[part] for key, array in NEW.items()}, f"{name}.npz")
    for given in (
        data,
        write(tmp_path, NEW, "plain.npz"),
        write(tmp_path, {**NEW, "label": labels, "split": labels}, "with_target.npz"),
        write(tmp_path, {**under_keys, "y": labels}, "keyed.npz"),
        tmp_path / "three",
        {name: torch.from_numpy(array) for name, array in NEW.items()},
        {name: array.astype(np.float64) for name, array in NEW.items()},
    ):
        np.testing.assert_array_equal(nas.predict(finished, given).outputs, expected)


def test_batches_do_not_show(finished: RunResult) -> None:
    count = 2 * EVALUATION_BATCH + 1
    many = {name: np.tile(array, (10, 1))[:count] for name, array in NEW.items()}
    found, alone = nas.predict(finished, many), nas.predict(finished, NEW)
    assert len(found) == count
    # A batch of another size may be summed in another order.
    np.testing.assert_allclose(found.outputs[-60:], np.tile(alone.outputs, (10, 1))[:count][-60:], atol=1e-6)


def test_samples_that_lack_a_modality_are_marked(absent: RunResult, tmp_path: Path) -> None:
    mask = np.arange(120) % 2 == 0
    marked = nas.predict(absent, NEW, present={"sound": mask}).outputs
    broken = {**NEW, "sound": np.where(mask[:, None], NEW["sound"], np.nan)}
    np.testing.assert_array_equal(nas.predict(absent, broken, present={"sound": mask}).outputs, marked)
    path = write(tmp_path, {**broken, "present/sound": mask})
    np.testing.assert_array_equal(nas.predict(absent, path).outputs, marked)
    everything = nas.predict(absent, NEW).outputs
    np.testing.assert_allclose(marked[mask], everything[mask], atol=1e-6)
    assert (marked[~mask] != everything[~mask]).any()


def test_labels_have_a_column_each(absent: RunResult) -> None:
    found = nas.predict(absent, NEW)
    assert found.labels is not None
    assert found.probabilities is not None
    assert found.labels.shape == found.probabilities.shape == (120, 2)
    np.testing.assert_array_equal(found.labels, found.probabilities > 0.5)
    assert list(found.to_columns()) == ["label_zero", "label_more, or less", "p_zero", "p_more, or less"]
    read = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [row["label_zero"] for row in read] == [str(int(one)) for one in found.labels[:, 0]]
    assert float(read[7]["p_more, or less"]) == pytest.approx(found.probabilities[7, 1], rel=1e-7)


def test_a_modality_that_is_not_read_may_be_missing() -> None:
    result = untrained(Choice("carry", ("sight@1",)), tiny_arrays()["sight"][:, :2])
    found = nas.predict(result, {"sight": NEW["sight"]})
    np.testing.assert_array_equal(found.outputs, nas.predict(result, {**NEW, "sound": np.zeros(3)}).outputs)
    assert list(found.to_columns()) == ["value_0", "value_1"]
    assert found.values is found.outputs
    assert found.labels is None
    assert found.probabilities is None
    assert found.temperature == 1
    one = untrained(BOTH, tiny_arrays()["sight"][:, 0])
    assert list(nas.predict(one, NEW).to_columns()) == ["value"]


def test_the_route_of_every_sample_is_told(dynamic: Path) -> None:
    run = nas.load_run(dynamic)
    found = nas.predict(run, NEW)
    assert found.routes is not None
    words = [route.in_short() for route in run.architecture.routes()]
    assert set(found.routes) <= set(words)
    with torch.no_grad():
        tensors = {name: torch.from_numpy(array) for name, array in NEW.items()}
        np.testing.assert_allclose(run.network(tensors).numpy(), found.outputs, atol=1e-6)
    assert list(found.to_columns()) == ["label", "p_0", "p_1", "p_2", "route"]
    assert nas.predict(dynamic, NEW).to_csv() == found.to_csv()


def test_a_network_that_reads_nothing_still_answers_every_sample() -> None:
    found = nas.predict(untrained(Choice("none"), tiny_arrays()["label"]), NEW)
    assert len(found) == 120
    assert len(np.unique(found.outputs, axis=0)) == 1


MISTAKES: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "modality missing": (
        lambda: {"data": {"sight": NEW["sight"]}},
        "the data has no modality 'sound', which the network reads; it has sight",
    ),
    "no data": (lambda: {"data": {}}, "has no modality 'sound', which the network reads; it has none"),
    "another shape": (
        lambda: {"data": {**NEW, "sound": np.zeros((120, 5))}},
        r"modality 'sound' of the data has samples of shape \(5\), but the run was searched on \(4\)",
    ),
    "another kind": (
        lambda: {"data": {**NEW, "sound": np.zeros((3, 4, 4))}},
        r"modality 'sound' of kind vector has shape \(3, 4, 4\); expected \(n, features\)",
    ),
    "data set of another kind": (
        lambda: {
            "data": FusionData.from_arrays(
                {**NEW, "sound": tiny_array("sequence", 120, np.random.default_rng(0))},
                np.arange(120) % 2,
            )
        },
        "modality 'sound' of the data is of kind sequence, but the run was searched on vector",
    ),
    "unequal length": (
        lambda: {"data": {**NEW, "sound": NEW["sound"][:7]}},
        "has .* samples, but '.*' has .*; align them",
    ),
    "not finite": (
        lambda: {"data": {**NEW, "sound": np.full((120, 4), np.nan)}},
        "modality 'sound' has NaN or infinity in 120 of 120 samples",
    ),
    "words": (lambda: {"data": {**NEW, "sound": np.full((120, 4), "x")}}, "modality 'sound' is of type <U1"),
    "no samples": (lambda: {"data": {**NEW, "sound": np.zeros((0, 4))}}, "modality 'sound' is empty"),
    "mask of another length": (
        lambda: {"data": NEW, "present": {"sound": [True]}},
        r"present of modality 'sound' is bool of shape \(1,\); expected \(120,\)",
    ),
    "mask of no modality": (
        lambda: {"data": NEW, "present": {"sond": [True]}},
        "unknown modality in present: 'sond'; did you mean 'sound'",
    ),
    "mask beside a file": (
        lambda: {"data": "new.npz", "present": {"sound": [True]}},
        "present belongs to a mapping of arrays",
    ),
    "no data at all": (lambda: {"data": 7}, "data is a int; expected a mapping from modality to array"),
    "no file": (lambda: {"data": "nowhere.npz"}, "no file or folder at 'nowhere.npz'"),
    "unknown set": (lambda: {"data": "emoij"}, "unknown data set 'emoij'; did you mean 'emoji'"),
    "another set": (lambda: {"data": "emoji"}, "the data has no modality 'sound', which the network reads"),
    "unknown device": (lambda: {"data": NEW, "device": "tpu"}, "unknown device"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line(finished: RunResult, mistake: str) -> None:
    assert set(finished.architecture.modalities()) == {"sound", "sight"}
    given, message = MISTAKES[mistake]
    with pytest.raises(UserError, match=message):
        nas.predict(finished, **given())


def test_a_file_that_lacks_a_modality_says_what_it_holds(finished: RunResult, tmp_path: Path) -> None:
    path = write(tmp_path, {"sight": NEW["sight"], "other": NEW["sound"]})
    with pytest.raises(UserError, match=r"has no array 'sound' for modality 'sound'.*it holds: other, sight"):
        nas.predict(finished, path)


def test_a_run_that_was_not_calibrated_keeps_its_probabilities(finished: RunResult, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder_of(finished), run)
    summary = json.loads((run / "summary.json").read_text())
    del summary["calibration"]
    (run / "summary.json").write_text(json.dumps(summary))
    found = nas.predict(run, NEW)
    assert found.temperature == 1
    assert found.probabilities is not None
    np.testing.assert_array_equal(found.probabilities, TASKS["classification"].probabilities(found.outputs))


@pytest.mark.parametrize("told", [{}, {"temperature": 0}, {"temperature": "1"}, {"temperature": None}, [], 1])
def test_a_garbled_temperature_is_refused(finished: RunResult, tmp_path: Path, told: object) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder_of(finished), run)
    summary = {**json.loads((run / "summary.json").read_text()), "calibration": told}
    (run / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(UserError, match=r"is damaged: calibration"):
        nas.predict(run, NEW)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def test_the_command_prints_a_table(command: Run, finished: RunResult, tmp_path: Path) -> None:
    path = write(tmp_path, NEW)
    code, out, said = command("predict", folder_of(finished), path)
    found: Predictions = nas.predict(finished, NEW)
    assert code == 0
    assert out == found.to_csv()
    assert out.startswith("label,p_0,p_1,p_2\n")
    assert said == f"predicting {path} with {finished.folder}\n"


def test_the_command_writes_a_file(command: Run, finished: RunResult, tmp_path: Path) -> None:
    path, out = write(tmp_path, NEW), tmp_path / "made" / "predictions.csv"
    code, printed, said = command("predict", folder_of(finished), path, "--out", out)
    assert (code, printed) == (0, "")
    assert said.endswith(f"120 predictions written to {out}\n")
    assert out.read_text() == nas.predict(finished, NEW).to_csv()
    assert [one.name for one in out.parent.iterdir()] == ["predictions.csv"]
    assert command("predict", folder_of(finished), path, "--out", out, "--quiet") == (0, "", "")
    code, _, said = command("predict", folder_of(finished), path, "--out", tmp_path / "made")
    assert code == 2
    assert re.fullmatch(r"(?s).*fusenas: [^\n]*is a folder where a file belongs[^\n]*\n", said)


def test_the_command_prints_json(command: Run, finished: RunResult, tmp_path: Path) -> None:
    path = write(tmp_path, NEW)
    code, out, _ = command("predict", folder_of(finished), path, "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["task"], told["samples"]) == ("classification", 120)
    assert told["predictions"] == nas.predict(finished, NEW).to_rows()
    _, out, _ = command("predict", folder_of(finished), path, "--json", "--out", tmp_path / "some.csv")
    assert json.loads(out)["out"] == str(tmp_path / "some.csv")


def test_a_mistake_of_the_command_is_one_line(command: Run, finished: RunResult, tmp_path: Path) -> None:
    for arguments, message in (
        ((tmp_path, "new.npz"), "is no run"),
        ((folder_of(finished), tmp_path / "absent.npz"), "no file or folder"),
        ((folder_of(finished),), "see --help"),
    ):
        code, out, said = command("predict", *arguments)
        assert (code, out) == (2, "")
        assert re.search(rf"fusenas: [^\n]*{message}[^\n]*\n$", said)


def test_evaluate_without_a_target_names_predict(command: Run, finished: RunResult, tmp_path: Path) -> None:
    code, _, said = command("evaluate", folder_of(finished), "--data", write(tmp_path, NEW))
    assert code == 2
    assert re.fullmatch(r"fusenas: [^\n]*'label'[^\n]*`fusenas predict` needs no target\n", said)


def test_intervals_are_those_of_another_draw_by_hand() -> None:
    low, high = between(np.array([[[1.0]], [[3.0]]]))
    # Mean 2, deviation √2, t of one degree of freedom 12.706: 12.706 · √2 · √1.5 = 22.01.
    assert (low.item(), high.item()) == pytest.approx((2 - 22.008, 2 + 22.008), abs=0.01)


def test_numbers_come_with_the_interval_of_the_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    arrays = tiny_arrays()
    arrays["label"] = arrays["sound"][:, 0] + arrays["sight"][:, 0]
    options: dict[str, Any] = {"retrain_seeds": 3, "refit": True}
    result = tiny_search(as_data(arrays), out=tmp_path / "run", **options)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    given = {name: arrays[name] for name in ("sound", "sight")}
    found = nas.predict(tmp_path / "copy", given)
    assert list(found.to_columns()) == ["value", "value_low", "value_high"]
    assert found.low is not None
    assert found.high is not None
    assert found.values is not None
    assert (found.low < found.high).all()
    assert ((found.low < found.values) & (found.values < found.high)).mean() > 0.9
    in_memory = nas.predict(result, given)
    np.testing.assert_array_equal(in_memory.low, found.low)
    nas.retrain(tmp_path / "copy", data=as_data(arrays), retrain_seeds=1)
    assert list(nas.predict(tmp_path / "copy", given).to_columns()) == ["value"]
    shutil.copy(tmp_path / "run" / "weights.safetensors", tmp_path / "run" / "members" / "1.safetensors")
    assert len(nas.load_run(tmp_path / "run").members) == 2
    other = tiny_search(as_data(tiny_arrays()), out=tmp_path / "other")
    assert other.members == ()
    shutil.copy(tmp_path / "other" / "weights.safetensors", tmp_path / "run" / "members" / "1.safetensors")
    with pytest.raises(UserError, match=r"members/1\.safetensors of .* has another"):
        nas.load_run(tmp_path / "run")
