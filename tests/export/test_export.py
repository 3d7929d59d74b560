"""What a finished run hands out: files that other programs and this one read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas.architecture import Architecture, Choice
from nas.data.batches import split_batch
from nas.data.fusion_data import FusionData
from nas.errors import UserError
from nas.export import FORMATS, export
from nas.export.record import to_json
from nas.runs import RunFolder
from nas.training import TrainingConfig, build_network, predict, seeded
from nas.weights import load_weights, save_weights
from search_spaces import layerwise
from tests.report.fabricate import fabricate_run


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A finished run with weights; what its summary says was made up."""
    folder = RunFolder(tmp_path / "run")
    fabricate_run(folder.path)
    space = layerwise({"image": 3, "words": 3})
    architecture = Architecture(
        "layerwise", (("fusion0", Choice("none")), ("fusion1", Choice("none")), ("fusion2", _LATE))
    )
    data = _data()
    with seeded(0):
        network = build_network(space.restrict(architecture), data, TrainingConfig(channels=4))
    save_weights(folder, network.eval(), data)
    return folder


_LATE = Choice("additive", ("image@2", "words@2"))


def _data() -> FusionData:
    generator = np.random.default_rng(0)
    image, words = (generator.normal(size=(20, width)).astype(np.float32) for width in (3, 2))
    return FusionData.from_arrays({"image": image, "words": words}, np.arange(20) % 2)


def test_all_formats_are_written_beside_the_run(run: RunFolder) -> None:
    written = export(run.path)
    assert written == [
        run.exports / name
        for name in ("architecture.json", "weights.safetensors", "architecture.graphml", "architecture.dot")
    ]
    assert all(path.stat().st_size > 0 for path in written)


def test_chosen_formats_are_written_where_they_are_wanted(run: RunFolder, tmp_path: Path) -> None:
    written = export(str(run.path), ["json"], out=str(tmp_path / "new" / "place"))
    assert written == [tmp_path / "new" / "place" / "architecture.json"]
    assert not run.exports.exists()


def test_the_json_is_an_architecture_with_more_beside_it(run: RunFolder) -> None:
    summary = run.read_summary()
    (path,) = export(run.path, ["json"])
    text = path.read_text(encoding="utf-8")
    assert Architecture.from_json(text) == Architecture.from_dict(summary["architecture"])
    values = json.loads(text)
    assert values.items() >= summary["architecture"].items()
    assert values["score"]["mean"] == summary["leaderboard"][0]["mean"]
    assert values["score"]["metrics"] == summary["leaderboard"][0]["metrics"]
    for key in ("in_words", "verdict", "metric", "data", "depths", "seeds", "command", "versions", "started_at"):
        assert values[key] == summary[key]
    assert values["commit"] is None
    assert to_json(summary) == values


def test_a_command_that_is_no_unicode_is_written_all_the_same(run: RunFolder) -> None:
    # As the shell hands over a file name of other bytes; the summary holds it escaped.
    run.write_json("summary.json", {**run.read_summary(), "command": "fusenas search \udc80.npz"})
    (path,) = export(run.path, ["json"])
    assert json.loads(path.read_text(encoding="utf-8"))["command"] == "fusenas search \udc80.npz"


def test_exported_weights_load_elsewhere(run: RunFolder, tmp_path: Path) -> None:
    export(run.path, ["safetensors"], out=tmp_path / "elsewhere")
    data, cpu = _data(), torch.device("cpu")
    batch = split_batch(data, "test", cpu)
    before, after = (
        predict(load_weights(RunFolder(p)).network, batch, cpu)[0] for p in (run.path, tmp_path / "elsewhere")
    )
    assert torch.equal(before, after)


@pytest.mark.parametrize(("name", "near"), [("graphml", "graph"), ("jsn", "json"), ("../x", None)])
def test_an_unknown_format_is_refused_before_anything_is_written(run: RunFolder, name: str, near: str | None) -> None:
    with pytest.raises(UserError, match="unknown format") as caught:
        export(run.path, ["json", name])
    assert all(known in str(caught.value) for known in FORMATS)
    assert (f"did you mean {near!r}" if near else "Known:") in str(caught.value)
    assert not run.exports.exists()


def _without(run: RunFolder, name: str) -> None:
    (run.path / name).unlink()


def _cut(run: RunFolder, name: str) -> None:
    path = run.path / name
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("damage", [_without, _cut])
@pytest.mark.parametrize("name", ["summary.json", "weights.safetensors"])
def test_a_run_that_is_damaged_hands_out_nothing(run: RunFolder, damage: Any, name: str) -> None:
    damage(run, name)
    with pytest.raises(UserError, match=r"missing|cut off"):
        export(run.path)
    assert not run.exports.exists()


def test_there_must_be_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        export(tmp_path / "absent")
