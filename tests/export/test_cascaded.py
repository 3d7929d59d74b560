"""Cascades as files: every sample stops where it does here, what comes after is not run, and encoders go on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from nas.data.fusion_data import FusionData
from nas.export.cascaded import Cascaded, CascadedDense
from nas.export.check import imported
from nas.export.portable import Portable, routed_network
from nas.export.program import _best, write_onnx, write_program
from nas.export.verify import verify
from nas.routing.network import RoutedNetwork
from nas.space.architecture import Choice
from tests.export.networks import cascaded, every_kind, frozen, held_out, with_outputs
from tests.export.test_code import assert_same, written
from tests.helpers import counted_calls

NONE = Choice("none")
LACKING = {"pulse": [number % 4 > 0 for number in range(30)]}
FIRST = Choice("additive", ("scan@0", "blood@0"))
READY = {"ready": [number % 2 > 0 for number in range(30)]}
FEW = {"pulse": [number % 8 > 0 for number in range(30)]}


def all_kinds(data: FusionData, builders: Any = None) -> RoutedNetwork:
    """Three routes over five modalities: one encoder goes on twice, taps are passed on for the next, nodes differ."""
    return cascaded(
        data,
        (Choice("carry", ("notes@0",)), Choice("carry", ("blood@1",)), NONE),
        (FIRST, Choice("carry", ("ready@0",)), Choice("mlp", ("notes@1", "blood@2"))),
        (FIRST, Choice("cross_attention", ("ready@1", "pulse@1")), Choice("mlp", ("notes@2", "scan@2"))),
        builders=builders,
    )


def stops(network: RoutedNetwork, data: FusionData) -> Tensor:
    """The route where every test sample stops; all are taken."""
    batch = held_out(data)
    _, picked = network.run(batch.inputs, batch.present)
    assert len(picked.unique()) == len(network.routes)
    return picked


@pytest.mark.parametrize(
    ("task", "present", "builder"),
    [("classification", None, None), ("multilabel", None, frozen), ("multilabel", LACKING, None)],
)
def test_the_python_file_tries_routes_in_turn(task: str, present: Any, builder: Any, tmp_path: Path) -> None:
    data = every_kind(task, present=present)
    network = all_kinds(data, {name: builder for name in data.modalities if builder and name != "ready"})
    stops(network, data)
    code = assert_same(network, data, tmp_path)
    for text in (
        "blood_layer1, blood0, blood1 = self.blood_encoder.begin(blood)",
        "blood2 = F.gelu(self.blood2(self.blood_encoder.tap2(blood_layer1)))",
        "notes_layer1, notes1 = self.notes_encoder.tap1(",
        "self.notes_encoder.tap2(notes_mask, notes_scale, notes_layer1)",
        "self.scan_encoder.tap2(scan_layer0)",
        "going_on = self.cascade(1, outputs",
        "if going_on.any():",
        "outputs[going_on] = self.route2(",
        '"""depth 0: notes alone, depth 1: blood alone"""',
    ):
        assert text in code
    assert code.count("self.scan0(scan0)") == code.count("self.fusion2_mlp_0(") == 1
    assert ("allowed = torch.stack(" in code) == bool(present)
    assert "gate" not in code.lower()


@pytest.mark.parametrize("present", [LACKING, READY | LACKING])
def test_a_sample_that_lacks_a_modality_stops_elsewhere(present: Any, tmp_path: Path) -> None:
    data = every_kind(present=present)
    network = all_kinds(data)
    batch = held_out(data)
    with_all = network.run(batch.inputs)[1]
    assert not torch.equal(network.run(batch.inputs, batch.present)[1], with_all)
    assert_same(network, data, tmp_path)


def test_every_layer_of_the_python_file_runs_once_on_the_samples_that_are_left(tmp_path: Path) -> None:
    data = every_kind()
    network = all_kinds(data)
    picked = stops(network, data)
    _, file = written(network, data, tmp_path)
    loaded = imported(file).load(file.with_suffix(".safetensors"))
    inputs = Portable(network).inputs(held_out(data))
    with torch.no_grad(), counted_calls(loaded) as calls:
        loaded(*(tensor[picked == 0] for tensor in inputs))
    assert calls["head"] == calls["notes_encoder.embedding"] == calls["blood_encoder.layer1.0"] == 1
    assert not any(
        calls[name] for name in ("notes_encoder.layer1.0", "blood_encoder.layer2.0", "scan_encoder.layer0.0")
    )
    seen: dict[str, list[int]] = {}
    for name in ("notes_encoder.embedding", "notes_encoder.layer1.0", "notes_encoder.layer2.0", "scan0", "scan2"):
        lengths = seen.setdefault(name, [])
        loaded.get_submodule(name).register_forward_pre_hook(lambda _m, given, seen=lengths: seen.append(len(given[0])))
    with torch.no_grad():
        loaded(*inputs)
    every, beyond_first, last = len(picked), int((picked > 0).sum()), int((picked == 2).sum())
    assert list(seen.values()) == [[every], [beyond_first], [last], [beyond_first], [last]]


@pytest.mark.parametrize(("task", "present"), [("classification", LACKING), ("multilabel", None)])
def test_dense_computes_what_the_network_computes(task: str, present: Any) -> None:
    data = every_kind(task, present=present)
    network = all_kinds(data)
    stops(network, data)
    portable, inputs, expected = with_outputs(network, data)
    with torch.no_grad():
        for size in (1, 2, 6):
            some = CascadedDense(portable)(*(tensor[:size] for tensor in inputs))
            torch.testing.assert_close(some, expected[:size], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("task", "present", "builder"),
    [("classification", LACKING, None), ("classification", None, frozen), ("multilabel", READY | LACKING, None)],
)
def test_a_program_computes_what_the_network_computes(
    task: str, present: Any, builder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = every_kind(task, present=present)
    network = all_kinds(data, {name: builder for name in data.modalities if builder and name != "ready"})
    portable, inputs, expected = with_outputs(network, data)
    picked = network.run(held_out(data).inputs, held_out(data).present)[1]
    conditions: list[bool] = []

    def either(condition: Tensor, run: Callable[..., Any], skip: Callable[..., Any], given: tuple[Tensor, ...]) -> Any:
        conditions.append(bool(condition))
        found, other = (run if condition else skip)(*given), skip(*given)
        assert [(one.shape, one.dtype) for one in found] == [(one.shape, one.dtype) for one in other]
        return found

    monkeypatch.setattr(torch, "cond", either)  # which is not traced here
    program = Cascaded(portable, inputs)
    for some in (torch.arange(len(picked)), *torch.arange(len(picked)).split(1), torch.nonzero(picked == 0).flatten()):
        conditions.clear()
        with torch.no_grad():
            found = program(*(tensor[some] for tensor in inputs))
        torch.testing.assert_close(found, expected[some], rtol=1e-5, atol=1e-5)
        assert conditions == [bool((picked[some] > number).any()) for number in range(2)]


def small(data: FusionData) -> tuple[Portable, tuple[Tensor, ...]]:
    """Three routes over a vector and a sequence: tracers are slow."""
    network = cascaded(
        data,
        (Choice("carry", ("blood@0",)), NONE, NONE),
        (NONE, Choice("additive", ("blood@0", "blood@1")), NONE),
        (NONE, Choice("multiplicative", ("blood@1", "pulse@0")), Choice("carry", ("blood@2",))),
    )
    stops(network, data)
    portable, inputs, _ = with_outputs(network, data)
    return portable, inputs


@pytest.mark.slow
def test_an_archive_goes_on_from_route_to_route_and_says_so(tmp_path: Path) -> None:
    portable, inputs = small(every_kind(present=FEW))
    write_program(portable, inputs, {"of": "us"}, tmp_path / "network.pt2")
    assert verify("torch", tmp_path / "network.pt2", portable, inputs)[0] < 1e-5
    about = {"fusenas.json": ""}
    program = torch.export.load(tmp_path / "network.pt2", extra_files=about)
    assert json.loads(about["fusenas.json"]) == {"of": "us", "gates": "routed"}
    graphs = [part for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule)]
    calls = Counter(str(node.target) for graph in graphs for node in graph.graph.nodes)
    assert calls["cond"] == 2
    # Of three layers of blood and the adapters of four taps each once, of both operations all, the head on every route.
    of_operations = sum(isinstance(part, nn.Linear) for part in routed_network(portable).network.nodes.modules())
    assert calls["aten.linear.default"] == 3 + 4 + of_operations + 3
    assert calls["aten.conv2d.default"] == 1


@pytest.mark.slow
def test_an_onnx_model_goes_on_from_route_to_route_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "network.onnx"
    portable, inputs = small(every_kind("multilabel"))
    write_onnx(portable, inputs, {"of": "us"}, file)
    assert verify("onnx", file, portable, inputs)[0] < 1e-5
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["fusenas"]) == {"of": "us", "gates": "routed"}
    assert sum(node.op_type == "If" for node in onnx.load(file).graph.node) == 2


def test_where_a_cascade_cannot_be_traced_all_routes_run() -> None:
    portable, inputs = small(every_kind("multilabel"))

    def traced(program: nn.Module) -> nn.Module:
        if isinstance(program, Cascaded):
            raise RuntimeError("no such operator")
        return program

    gates, program = _best(portable, inputs, traced)
    assert gates == "dense"
    assert isinstance(program, CascadedDense)


def test_what_a_route_leaves_to_later_ones_is_told_whether_encoders_are_in_or_not() -> None:
    portable, inputs = small(every_kind("multilabel"))
    with torch.no_grad():
        whole, of_taps = (
            Cascaded(portable, inputs),
            Cascaded(Portable(portable.network, encoders=False).eval(), portable.taps(*inputs)),
        )
    blood0, blood1 = ("adapted", "blood@0", 0), ("adapted", "blood@1", 0)
    assert whole.left == [[blood0, ("state", "blood", 0)], [blood1, ("state", "blood", 0)], []]
    assert [list(fresh) for fresh in whole.fresh] == whole.left
    assert whole.fresh[1] == {blood1: ((1, 8), torch.float32), ("state", "blood", 0): ((96,), torch.float32)}
    assert of_taps.left[0] == [blood0, ("tap", "blood@1", 0), ("tap", "blood@2", 0)]
    assert list(of_taps.fresh[1]) == [blood1]
