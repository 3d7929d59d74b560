"""Pretrained encoders by name on the whole path: searched, kept, loaded in a fresh process, exported, gone on with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import nas
from nas import FusionData
from nas.data.stored import StoredArray
from nas.encoders.frozen import FrozenEncoder
from nas.encoders.names import builders_of
from nas.encoders.pretrained.encoder import PretrainedEncoder
from nas.errors import UserError
from nas.retraining.frozen_taps import frozen_taps
from nas.runs.files import Folder
from tests.encoders.models import save_tiny
from tests.tiny_runs import OPERATIONS, TRAINING, no_report, tiny_search

MODES = {"wave": "lora"}


def three(path: Path) -> Path:
    """Two classes, told a little by words, by loudness and by a vector."""
    generator = np.random.default_rng(0)
    label = np.arange(90) % 2
    text = generator.integers(1, 26, (90, 8)) + 25 * label[:, None] * (generator.random((90, 8)) < 0.5)
    text[::3, 5:] = 0
    wave = generator.normal(size=(90, 400, 1)) * (1 + label)[:, None, None]
    wave[::4, 300:] = 0
    np.savez(path, text=text, wave=wave.astype(np.float32), label=label, split=np.repeat([0, 1, 2], (50, 20, 20)))
    return path


def search(folder: Path, **options: Any) -> nas.RunResult:
    given: dict[str, Any] = {
        "modalities": "text:tokens,wave:sequence",
        "target": "label",
        "split": "split",
        "encoders": {"text": f"hf:{folder / 'bert'}", "wave": f"hf:{folder / 'wav2vec2'}"},
        "encoder_mode": MODES,
        "out": folder / "run",
    }
    return tiny_search(str(folder / "three.npz"), **{**given, **options})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny networks, data, and a run with one of them frozen and one adapted."""
    path = tmp_path_factory.mktemp("hub")
    for kind in ("bert", "wav2vec2"):
        save_tiny(kind, path)
    pytest.importorskip("peft")
    three(path / "three.npz")
    with pytest.MonkeyPatch.context() as patch:
        no_report(patch)
        search(path)
    return path


def pretrained(run: nas.Run) -> dict[str, PretrainedEncoder]:
    return {
        name: one
        for name, encoder in run.network.encoders.items()
        for one in encoder.modules()
        if isinstance(one, PretrainedEncoder)
    }


def test_a_run_is_read_back_with_its_networks(folder: Path) -> None:
    run = nas.load_run(folder / "run")
    assert run.config.search.encoder_mode == ("wave=lora",)
    found = pretrained(run)
    assert found.keys() == run.network.encoders.keys()
    if "text" in found:
        given = load_file(folder / "bert" / "model.safetensors")
        assert all(torch.equal(one, given[name]) for name, one in found["text"].backbone.model.state_dict().items())
        assert isinstance(run.network.encoders["text"], FrozenEncoder)
    told = nas.evaluate(folder / "run", device="cpu")
    assert told["repeated"]
    assert run.summary.data.modalities["text"].kind == "tokens"  # as the user gave it
    # Those of the frozen encoders are among them.
    assert (run.summary.leaderboard[0].multiply_adds or 0) > 50_000


def test_frozen_taps_are_computed_once_and_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_report(monkeypatch)
    run = shutil.copytree(folder / "run", tmp_path / "run")
    names = {path.name for path in (run / "taps").iterdir()}
    assert names == {"text.json", *(f"text-{depth}.bin" for depth in range(3))}
    lines: list[str] = []
    encoders = nas.load_run(run).config.search.encoder
    nas.retrain(run, encoders=encoders, progress=lines.append, device="cpu")
    assert not any("running the frozen encoder" in line for line in lines)
    (run / "taps" / "text-0.bin").write_bytes(b"short")
    with pytest.raises(UserError, match=r"text-0\.bin.* is damaged"):
        nas.retrain(run, encoders=encoders, device="cpu")
    (run / "taps" / "text.json").unlink()
    nas.retrain(run, encoders=encoders, progress=lines.append, device="cpu")
    assert sum("running the frozen encoder of text" in line for line in lines) >= 1


@pytest.mark.slow
def test_a_copy_predicts_in_a_fresh_process_where_the_networks_are_gone(folder: Path, tmp_path: Path) -> None:
    code = "import sys, nas; sys.modules['peft'] = None\nprint(nas.predict(sys.argv[1], sys.argv[2]).outputs.sum())"
    environment = {**os.environ, "PYTHONPATH": str(Path(nas.__file__).parents[1]), "HF_HUB_OFFLINE": "1"}
    gone = {name: folder / name for name in ("bert", "wav2vec2")}
    for name, path in gone.items():
        path.rename(folder / f"{name}-gone")
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder / "run"), str(folder / "three.npz")],
            capture_output=True, text=True, check=True, env=environment,
        )  # fmt: skip
    finally:
        for name, path in gone.items():
            (folder / f"{name}-gone").rename(path)
    expected = float(nas.predict(folder / "run", folder / "three.npz").outputs.sum())
    assert float(done.stdout) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_every_export_agrees(folder: Path, tmp_path: Path) -> None:
    files = nas.export(folder / "run", ["safetensors", "python", "torch", "onnx"], out=tmp_path)
    assert {one.format for one in files} == {"safetensors", "python", "torch", "onnx"}
    assert all(one.difference is not None and one.difference < 1e-5 for one in files)
    assert "from transformers import" in (tmp_path / "network.py").read_text()


def test_other_weights_or_modes_are_another_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    with pytest.raises(UserError, match=r"search\.encoder_mode \['wave=lora'\], now it is \['wave=last:1'\]"):
        search(folder, resume=True, encoder_mode={"wave": "last:1"})
    file = folder / "bert" / "model.safetensors"
    before = file.read_bytes()
    save_file({name: tensor + 1 for name, tensor in load_file(file).items()}, file, metadata={"format": "pt"})
    try:
        with pytest.raises(UserError, match=r"was begun with pretrained\.text"):
            search(folder, resume=True)
    finally:
        file.write_bytes(before)
    with pytest.raises(UserError, match="encoder is none, but the run was searched with text=hf:"):
        nas.retrain(folder / "run", out=tmp_path / "again")


def test_all_of_it_works_with_joint_encoders(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_report(monkeypatch)
    names = [f"text=hf:{folder / 'bert'}", f"wave=hf:{folder / 'wav2vec2'}"]
    search(folder, encoder=names, encoders="joint", encoder_mode={"text": "finetune"}, out=tmp_path / "run")
    assert nas.evaluate(tmp_path / "run", device="cpu")["repeated"]
    assert not (tmp_path / "run" / "taps" / "text.json").exists()


def test_a_plan_runs_a_frozen_network_on_one_batch_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    forward = PretrainedEncoder.forward

    def counted(self: PretrainedEncoder, inputs: Any, num_taps: int | None = None) -> list[torch.Tensor]:
        if not any(one.requires_grad for one in self.parameters()):
            read.append(len(inputs[0]))
        return forward(self, inputs, num_taps)

    monkeypatch.setattr(PretrainedEncoder, "forward", counted)
    found = nas.plan(
        folder / "three.npz",
        modalities="text:tokens,wave:sequence",
        target="label",
        split="split",
        encoder=[f"text=hf:{folder / 'bert'}"],
        training=TRAINING,
        operations=OPERATIONS,
    )
    assert found.encoders["text"].taps == 3
    assert max(read) == 32
    assert read.count(32) == 1


def test_taps_of_a_run_that_was_stopped_are_computed_anew(tmp_path: Path) -> None:
    """A run with other taps begins in the folder of one that has its own, and is killed."""
    save_tiny("bert", tmp_path)
    tokens = np.random.default_rng(0).integers(1, 51, (80, 12))
    arrays: dict[str, Any] = {"text": tokens, "more": np.zeros((80, 2), np.float32)}
    data = FusionData.from_arrays(arrays, np.arange(80) % 2, kinds={"text": "tokens"})
    others = FusionData.from_arrays({**arrays, "text": tokens[::-1]}, np.arange(80) % 2, kinds={"text": "tokens"})
    builders = builders_of({"text": f"hf:{tmp_path / 'bert'}"}, None)
    folder, device = Folder(tmp_path / "run"), torch.device("cpu")

    def killed(_line: str) -> None:
        raise KeyboardInterrupt

    wanted, _ = frozen_taps(data, builders, folder, device, lambda _line: None)
    assert wanted is not None
    expected = [np.array(one) for one in wanted.data.modalities["text"].arrays]
    with pytest.raises(KeyboardInterrupt):
        frozen_taps(others, builders, folder, device, killed)
    again, _ = frozen_taps(data, builders, folder, device, lambda _line: None)
    assert again is not None
    for one, other in zip(again.data.modalities["text"].arrays, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_taps_without_a_folder_take_no_more_memory_than_they_may(tmp_path: Path) -> None:
    save_tiny("bert", tmp_path)
    data = nas.load_data(three(tmp_path / "three.npz"), modalities="text:tokens,wave", target="label", split="split")
    builders = builders_of([f"text=hf:{tmp_path / 'bert'}"], [])
    device = torch.device("cpu")
    wanted, streamed = (
        frozen_taps(replace(data, memory=memory), builders, None, device, lambda _line: None)[0]
        for memory in (None, 10_000)
    )
    assert wanted is not None
    assert streamed is not None
    for on_disk, array in zip(*(one.data.modalities["text"].arrays for one in (streamed, wanted)), strict=True):
        assert isinstance(on_disk, StoredArray)
        np.testing.assert_array_equal(on_disk[:], array)
    assert streamed.sample(device)["text"][0].shape == (1, 8)
