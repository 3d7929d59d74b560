"""What a finished run hands out: files that other programs and this one read, each tried before."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors import safe_open

import nas
from benchmarks.export import balance
from nas.errors import UserError
from nas.export import FORMATS, export
from nas.export.record import to_json
from nas.export.subject import Subject
from nas.network.prediction import predict
from nas.records import plain
from nas.routing.network import RoutedNetwork, static_part
from nas.runs.folder import RunFolder
from nas.saved.weights import load_weights
from nas.space.architecture import Architecture
from tests.helpers import CPU, tiny_batch
from tests.tiny_runs import as_data, dynamic_run, finished_run, tiny_arrays

FILES = {
    "json": ["architecture.json"],
    "safetensors": ["weights.safetensors"],
    "python": ["network.py", "network.safetensors"],
    "torch": ["network.pt2"],
    "onnx": ["network.onnx"],
    "graph": ["architecture.dot", "architecture.graphml", "architecture.svg"],
    "card": ["card.md"],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run, only to be read."""
    folder = finished_run(tmp_path_factory).folder
    assert folder is not None
    return RunFolder(folder)


@pytest.fixture
def run(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of it that may be changed."""
    shutil.copytree(finished.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def names(files: list[Path]) -> list[str]:
    return [path.name for path in files]


@pytest.mark.slow
def test_every_format_is_written_and_agrees_with_the_network(run: RunFolder, tmp_path: Path) -> None:
    written = export(run.path, out=tmp_path / "out")
    assert names([file.path for file in written]) == [name for some in FILES.values() for name in some]
    assert list(dict.fromkeys(file.format for file in written)) == list(FORMATS)
    for file in written:
        assert file.path.parent == tmp_path / "out"
        assert file.path.stat().st_size > 0
        if FORMATS[file.format].holds_network:
            assert file.difference is not None
            assert file.difference < 1e-5
        else:
            assert file.difference is None
    card = (tmp_path / "out" / "card.md").read_text(encoding="utf-8")
    assert all(f"network.{ending}" in card for ending in ("py", "pt2", "onnx"))
    # Only what a batch of other samples computes is a network; the traced example must not have been fixed in it.
    batch = tiny_batch(as_data(tiny_arrays()), "weights")
    expected = predict(static_part(nas.load_run(run.path).network), batch, CPU)[0]
    program = torch.export.load(tmp_path / "out" / "network.pt2").module()
    session = onnxruntime.InferenceSession(tmp_path / "out" / "network.onnx", providers=["CPUExecutionProvider"])
    given = {argument.name: batch.inputs[argument.name][0] for argument in session.get_inputs()}
    assert torch.allclose(program(*given.values()), expected, atol=1e-5)
    assert np.allclose(session.run(None, {k: v.numpy() for k, v in given.items()})[0], expected.numpy(), atol=1e-5)


def test_chosen_formats_are_written_beside_the_run_or_where_they_are_wanted(run: RunFolder, tmp_path: Path) -> None:
    shutil.rmtree(run.exports)
    written = export(str(run.path), ["json", "graph", "json"], out=str(tmp_path / "new" / "place"))
    assert names([file.path for file in written]) == [*FILES["json"], *FILES["graph"]]
    assert not run.exports.exists()
    assert [file.path for file in export(run.path, ["card"])] == [run.exports / "card.md"]


def test_the_json_is_an_architecture_with_more_beside_it(run: RunFolder) -> None:
    summary = run.read_summary()
    (file,) = export(run.path, ["json"])
    text = file.path.read_text(encoding="utf-8")
    assert Architecture.from_json(text) == summary.architecture
    values = json.loads(text)
    assert values.items() >= summary.architecture.to_dict().items()
    assert values["score"]["mean"] == summary.found.score.mean
    assert values["score"]["metrics"] == plain(summary.found.metrics)
    for key in ("in_words", "verdict", "metric", "data", "depths", "seeds", "command", "versions", "started_at"):
        assert values[key] == plain(summary)[key]
    assert to_json(summary) == values


def test_a_command_that_is_no_unicode_is_written_all_the_same(run: RunFolder) -> None:
    # As the shell hands over a file name of other bytes; the summary holds it escaped.
    run.write_json("summary.json", {**plain(run.read_summary()), "command": "fusenas search \udc80.npz"})
    (file,) = export(run.path, ["json"])
    assert json.loads(file.path.read_text(encoding="utf-8"))["command"] == "fusenas search \udc80.npz"


def test_exported_weights_load_elsewhere(finished: RunFolder, tmp_path: Path) -> None:
    export(finished.path, ["safetensors"], out=tmp_path)
    batch = tiny_batch(as_data(tiny_arrays()), "test")
    networks = (static_part(load_weights(RunFolder(path)).network) for path in (finished.path, tmp_path))
    before, after = (predict(network, batch, CPU)[0] for network in networks)
    assert torch.equal(before, after)


def test_the_python_file_runs_with_torch_and_safetensors_alone(finished: RunFolder, tmp_path: Path) -> None:
    (code, _) = export(finished.path, ["python"], out=tmp_path)
    script = f"""
import sys

class OnlyThese:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {{"nas", "search_spaces", "cli", "sklearn", "networkx", "matplotlib", "rich"}}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, OnlyThese)
sys.path.insert(0, {str(tmp_path)!r})
import network
network.main()
"""
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(\w+: 0\.\d{3}\n){3}", done.stdout)
    text = code.path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    assert "# (batch, 3)" in text
    assert "depth 0:" in text.split('"""')[1]


def test_without_encoders_programs_take_taps(finished: RunFolder, tmp_path: Path) -> None:
    written = export(finished.path, ["onnx", "torch"], out=tmp_path, taps_only=True)
    assert names([file.path for file in written]) == ["fusion.onnx", "fusion.pt2"]
    session = onnxruntime.InferenceSession(tmp_path / "fusion.onnx", providers=["CPUExecutionProvider"])
    run = nas.load_run(finished.path)
    taps = [name.replace("@", "_") for name in run.architecture.taps()]
    assert sorted(argument.name for argument in session.get_inputs()) == sorted(taps)
    about = json.loads(session.get_modelmeta().custom_metadata_map["fusenas"])
    assert about["takes"] == "encoder taps"
    assert about["gates"] == "none"
    with safe_open(finished.weights, framework="pt") as file:
        assert about["architecture_hash"] == json.loads(file.metadata()["fusenas"])["architecture_hash"]


def test_no_sample_of_the_data_is_in_an_archive(finished: RunFolder, tmp_path: Path) -> None:
    (file,) = export(finished.path, ["torch"], out=tmp_path)
    (example, _) = torch.export.load(file.path).example_inputs or ((), {})
    assert example
    assert not any(tensor.any() for tensor in example)


@pytest.mark.parametrize(("name", "near"), [("graphml", "graph"), ("jsn", "json"), ("../x", None)])
def test_an_unknown_format_is_refused_before_anything_is_written(
    finished: RunFolder, tmp_path: Path, name: str, near: str | None
) -> None:
    with pytest.raises(UserError, match="unknown format") as caught:
        export(finished.path, ["json", name], out=tmp_path / "out")
    assert all(known in str(caught.value) for known in FORMATS)
    assert (f"did you mean {near!r}" if near else "Known:") in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_format_whose_packages_are_missing_is_left_out_or_refused(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats = import_module("nas.export.formats")
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name in ("onnxruntime", "ruff") else object())
    with pytest.raises(UserError, match=r"format 'onnx' needs onnxruntime: pip install 'fusenas\[onnx\]'"):
        export(finished.path, ["onnx"], out=tmp_path / "out")
    written = export(finished.path, out=tmp_path / "out", taps_only=True)
    assert [file.format for file in written] == ["torch"]


def test_a_format_that_needs_encoders_is_refused_without_them(finished: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="format 'python' cannot do without the encoders; only torch and onnx can"):
        export(finished.path, ["torch", "python"], out=tmp_path / "out", taps_only=True)


def _disagree(file: Path) -> None:
    """Doubles the head's bias, whatever the format."""
    text = file.read_text(encoding="utf-8")
    assert "return self.head(" in text
    file.write_text(text.replace("return self.head(", "return 1.001 * self.head("), encoding="utf-8")


def _break(file: Path) -> None:
    file.write_text(file.read_text(encoding="utf-8") + "\nimport nas\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_disagree, r"the exported network.py disagrees with the network by \d.*more than 1e-04; nothing was written"),
        (_break, r"the exported network.py does not run by itself \(ModuleNotFoundError: nas is hidden"),
    ],
)
def test_an_export_that_disagrees_or_needs_us_is_not_handed_out(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], words: str
) -> None:
    formats = import_module("nas.export.formats")
    real = formats.verify

    def damaged(kind: str, file: Path, *arguments: Any) -> Any:
        damage(file)
        return real(kind, file, *arguments)

    monkeypatch.setattr(formats, "verify", damaged)
    with pytest.raises(UserError, match=words) as caught:
        export(finished.path, ["json", "python"], out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def _without(run: RunFolder, name: str) -> None:
    (run.path / name).unlink()


def _cut(run: RunFolder, name: str) -> None:
    path = run.path / name
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("damage", [_without, _cut])
@pytest.mark.parametrize("name", ["summary.json", "weights.safetensors", "config.toml"])
def test_a_run_that_is_damaged_hands_out_nothing(run: RunFolder, tmp_path: Path, damage: Any, name: str) -> None:
    damage(run, name)
    with pytest.raises(UserError, match=r"missing|cut off|lacks or garbles"):
        export(run.path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_that_has_moved_has_to_be_named(run: RunFolder, tmp_path: Path) -> None:
    config = run.read_config()
    config["source"]["data"] = str(tmp_path / "gone.npz")
    run.write_config(config)
    with pytest.raises(UserError, match=r"gone\.npz"):
        export(run.path, ["python"])
    (file,) = export(run.path, ["safetensors"], data=as_data(tiny_arrays()))
    assert file.difference is not None
    assert file.difference < 1e-6


def test_there_must_be_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        export(tmp_path / "absent")


@pytest.mark.slow
def test_a_dynamic_run_is_exported_with_a_sample_of_every_route(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(dynamic_run(tmp_path_factory), run)
    data = as_data(tiny_arrays())
    balance(run, data)
    network = nas.load_run(run).network
    assert isinstance(network, RoutedNetwork)
    batch = tiny_batch(data, "test")
    _, picked = network.run(batch.inputs)
    assert set(picked.tolist()) == {0, 1}
    files = export(run, ["safetensors", "python", "graph", "card"], out=tmp_path / "out")
    assert all(file.difference < 1e-5 for file in files if file.difference is not None)
    text = (tmp_path / "out" / "network.py").read_text(encoding="utf-8")
    assert "route 0: depth 0: sight alone" in text.split('"""')[1]
    # Shapes stand where a sample was seen, so both routes were run by themselves.
    assert [text.split(f"def route{number}")[1].split("def ")[0].count("# (batch, 3)") for number in (0, 1)] == [1, 1]
    subject = Subject(RunFolder(run), ["python"], data, encoders=True)
    first = network.run(
        {name: (tensor[:2],) for name, tensor in zip(subject.network.names, subject.inputs, strict=True)}
    )
    assert first[1].tolist() == [0, 1]


@pytest.mark.slow
def test_a_network_that_has_met_absent_modalities_takes_masks(run: RunFolder, tmp_path: Path) -> None:
    """By modality dropout: no sample of the data lacks one."""
    config = run.path / "config.toml"
    text = config.read_text().replace('objective = ""', 'objective = "modality_dropout:0.2"')
    config.write_text(text)
    assert "modality_dropout:0.2" in text
    network = nas.load_run(run.path).network
    read = list(network.encoders)
    export(run.path, out=tmp_path / "out", formats=["python", "onnx", "card"])
    session = onnxruntime.InferenceSession(tmp_path / "out" / "network.onnx")
    assert [given.name for given in session.get_inputs()] == [*read, *(f"{name}_present" for name in read)]
    inputs = tiny_batch(as_data(tiny_arrays()), "test").inputs
    fed = {name: inputs[name][0].numpy() for name in read}
    masks = {f"{name}_present": np.ones(len(array), dtype=np.bool_) for name, array in fed.items()}
    whole, lacking = (
        session.run(None, {**fed, **masks, f"{read[0]}_present": np.full(len(fed[read[0]]), there)})[0]
        for there in (True, False)
    )
    absent = {read[0]: torch.zeros(len(fed[read[0]]), dtype=torch.bool)}
    with torch.no_grad():
        np.testing.assert_allclose(whole, network(inputs), atol=1e-5)
        np.testing.assert_allclose(lacking, network(inputs, absent), atol=1e-5)
