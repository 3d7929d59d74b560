"""Programs for other runtimes: the same outputs in a fresh process, of batches of any size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from nas.export.portable import Portable
from nas.export.program import write_onnx, write_program
from nas.export.verify import verify
from nas.space.architecture import Choice
from tests.export.networks import derived, every_kind, with_outputs

CHOICES = (
    Choice("tensor", ("notes@0", "pulse@0", "blood@0")),
    Choice("hard_gate", ("scan@1", "pulse@1")),
    Choice("cross_attention", ("ready@1", "pulse@2", "scan@2")),
)
"""Unlike times, an argmax, attention, an outer product, ready-made features, regions, bins and magnitudes."""


@pytest.fixture(scope="module")
def network() -> tuple[Portable, tuple[Tensor, ...]]:
    """A network of quantities, of which some samples lack a modality, and its inputs."""
    data = every_kind("regression", present={"pulse": [number % 3 > 0 for number in range(30)]})
    network = derived(data, *CHOICES, regions=True, preprocessing="pulse:magnitudes,blood:piecewise")
    portable, inputs, _ = with_outputs(network, data)
    return portable, inputs


@pytest.mark.slow
def test_an_archive_agrees_with_the_network(network: tuple[Portable, tuple[Tensor, ...]], tmp_path: Path) -> None:
    write_program(*network, {"gates": "none"}, tmp_path / "network.pt2")
    difference, shapes = verify("torch", tmp_path / "network.pt2", *network)
    assert difference < 1e-5
    assert not shapes
    about = {"fusenas.json": ""}
    torch.export.load(tmp_path / "network.pt2", extra_files=about)
    assert json.loads(about["fusenas.json"]) == {"gates": "none"}


@pytest.mark.slow
def test_an_onnx_model_names_its_inputs_and_takes_batches_of_any_size(
    network: tuple[Portable, tuple[Tensor, ...]], tmp_path: Path
) -> None:
    portable, inputs = network
    write_onnx(portable, inputs, {"gates": "none"}, tmp_path / "network.onnx")
    session: Any = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    assert [argument.name for argument in session.get_inputs()] == list(portable.names)
    assert [argument.name for argument in session.get_outputs()] == ["outputs"]
    assert json.loads(session.get_modelmeta().custom_metadata_map["fusenas"]) == {"gates": "none"}
    many = [torch.cat([tensor] * 20) for tensor in inputs]
    for count in (1, 2, 7, 100):
        some = [tensor[:count] for tensor in many]
        given = {name: tensor.numpy() for name, tensor in zip(portable.names, some, strict=True)}
        with torch.no_grad():
            expected = portable(*some).numpy()
        assert np.allclose(session.run(None, given)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_an_archive_of_taps_that_are_views_is_tried_too(tmp_path: Path) -> None:
    data = every_kind()
    whole, inputs, _ = with_outputs(derived(data, Choice("none"), Choice("none"), Choice("carry", ("pulse@2",))), data)
    with torch.no_grad():
        taps = [tap.transpose(1, 2).contiguous().transpose(1, 2) for tap in whole.taps(*inputs)]
    given = Portable(whole.network, encoders=False).eval(), taps
    assert not taps[0].is_contiguous()
    write_program(*given, {}, tmp_path / "fusion.pt2")
    assert verify("torch", tmp_path / "fusion.pt2", *given)[0] < 1e-5
