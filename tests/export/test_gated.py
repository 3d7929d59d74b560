"""Dynamic networks as files: the gate's route for every sample, what it skips is not run, and all formats say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from nas.data.fusion_data import FusionData
from nas.export.check import imported
from nas.export.gated import Dense, Routed
from nas.export.portable import Portable
from nas.export.program import write_onnx, write_program
from nas.export.verify import verify
from nas.routing.network import RoutedNetwork
from nas.space.architecture import Choice
from tests.export.networks import dynamic, every_kind, frozen, held_out, with_outputs
from tests.export.test_code import assert_same, written
from tests.helpers import counted_calls, tiny_data

NONE = Choice("none")
LACKING = {"pulse": [number % 3 > 0 for number in range(30)]}


def all_kinds(data: FusionData, builders: Any = None) -> RoutedNetwork:
    """Three routes over five modalities: one encoder goes on after the gate, one begins, nodes differ by route."""
    first = Choice("additive", ("scan@0", "blood@0"))
    return dynamic(
        data,
        ("blood@0", "notes@1"),
        (NONE, Choice("carry", ("blood@1",)), NONE),
        (first, NONE, Choice("mlp", ("notes@2", "scan@2"))),
        (first, Choice("cross_attention", ("ready@1", "pulse@1")), Choice("mlp", ("notes@0", "scan@2"))),
        builders=builders,
    )


def takers(network: RoutedNetwork, data: FusionData) -> Tensor:
    """How many test samples take every route."""
    batch = held_out(data)
    _, picked = network.run(batch.inputs, batch.present)
    return torch.bincount(picked, minlength=len(network.routes))


@pytest.mark.parametrize(("task", "builder"), [("classification", None), ("regression", frozen)])
def test_the_python_file_routes_every_kind_of_modality(task: str, builder: Any, tmp_path: Path) -> None:
    data = every_kind(task)
    builders = {name: builder for name in data.modalities if builder and name != "ready"}
    network = all_kinds(data, builders)
    assert takers(network, data).all()
    code = assert_same(network, data, tmp_path)
    for text in (
        "blood_layer0, blood0 = self.blood_encoder.begin(blood)",
        "self.blood_encoder.tap1(blood_layer0)",
        "self.notes_encoder.tap2(notes_mask, notes_scale, notes_layer1)",
        "self.notes_encoder.tap0(notes_scale, notes_layer0)",
        "scan0, scan2 = self.scan_encoder(scan)",
        "self.fusion2_mlp_0(",
        "self.fusion2_mlp_1(",
        '"""depth 1: blood alone"""',
        "if taken.any():",
    ):
        assert text in code
    assert "pulse_present" not in code


def test_what_a_route_skips_is_not_run_by_the_python_file(tmp_path: Path) -> None:
    data = every_kind()
    network = all_kinds(data)
    batch = held_out(data)
    _, picked = network.run(batch.inputs, batch.present)
    _, file = written(network, data, tmp_path)
    loaded = imported(file).load(file.with_suffix(".safetensors"))
    inputs = Portable(network).inputs(batch)
    with torch.no_grad(), counted_calls(loaded) as calls:
        loaded(*(tensor[picked == 0] for tensor in inputs))
    assert calls["blood_encoder.layer0.0"] == calls["blood_encoder.layer1.0"] == 1
    assert calls["notes_encoder.layer1.0"] == 1  # by the gate
    assert not any(calls[f"{name}_encoder.layer0.0"] for name in ("scan", "pulse"))
    assert calls["head"] == 1
    with torch.no_grad(), counted_calls(loaded) as calls:
        loaded(*inputs)
    assert calls["head"] == 3
    assert calls["blood_encoder.layer0.0"] == 1


def test_a_sample_that_lacks_a_modality_takes_another_route(tmp_path: Path) -> None:
    data = every_kind(present=LACKING)
    network = all_kinds(data)
    code = assert_same(network, data, tmp_path)
    assert "allowed = torch.stack(" in code
    portable, inputs, expected = with_outputs(network, data)
    with torch.no_grad():
        assert not torch.allclose(portable(*inputs[:-1], torch.ones_like(inputs[-1])), expected)


def test_dense_computes_what_the_network_computes() -> None:
    data = every_kind("regression", present=LACKING)
    network = all_kinds(data)
    portable, inputs, expected = with_outputs(network, data)
    with torch.no_grad():
        for size in (1, 2, 6):
            some = Dense(portable)(*(tensor[:size] for tensor in inputs))
            torch.testing.assert_close(some, expected[:size], rtol=1e-5, atol=1e-4)  # quantities of about 50


@pytest.fixture(scope="module")
def small() -> tuple[Portable, tuple[Tensor, ...]]:
    """Two routes over two vectors, as small as it gets: tracers are slow."""
    data = tiny_data({"sound": "vector", "sight": "vector"})
    network = dynamic(
        data,
        ("sound@0",),
        (Choice("carry", ("sound@0",)), NONE, NONE),
        (NONE, Choice("multiplicative", ("sound@1", "sight@1")), NONE),
    )
    assert takers(network, data).all()
    portable, inputs, _ = with_outputs(network, data)
    return portable, inputs


@pytest.mark.slow
def test_an_archive_routes_and_says_so(small: tuple[Portable, tuple[Tensor, ...]], tmp_path: Path) -> None:
    write_program(*small, {"of": "us"}, tmp_path / "network.pt2")
    assert verify("torch", tmp_path / "network.pt2", *small)[0] < 1e-5
    about = {"fusenas.json": ""}
    program = torch.export.load(tmp_path / "network.pt2", extra_files=about)
    assert json.loads(about["fusenas.json"]) == {"of": "us", "gates": "routed"}
    assert sum("cond" in str(node.target) for node in program.graph.nodes) == 2


@pytest.mark.slow
def test_an_onnx_model_of_taps_routes_and_says_so(small: tuple[Portable, tuple[Tensor, ...]], tmp_path: Path) -> None:
    file = tmp_path / "network.onnx"
    whole, inputs = small
    with torch.no_grad():
        given = Portable(whole.network, encoders=False).eval(), whole.taps(*inputs)
    write_onnx(*given, {"of": "us"}, file)
    assert verify("onnx", file, *given)[0] < 1e-5
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["fusenas"]) == {"of": "us", "gates": "routed"}
    assert sum(node.op_type == "If" for node in onnx.load(file).graph.node) == 2


@pytest.mark.slow
def test_where_a_route_cannot_be_traced_all_of_them_run(
    small: tuple[Portable, tuple[Tensor, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_inputs: Tensor) -> Tensor:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(Routed, "forward", refused)
    write_program(*small, {}, tmp_path / "network.pt2")
    assert verify("torch", tmp_path / "network.pt2", *small)[0] < 1e-5
    about = {"fusenas.json": ""}
    torch.export.load(tmp_path / "network.pt2", extra_files=about)
    assert json.loads(about["fusenas.json"]) == {"gates": "dense"}
