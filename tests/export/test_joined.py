"""Networks in which one modality is added into the encoder of another are exported like all others."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from nas.config import TrainingConfig
from nas.data.batches import split_batch
from nas.data.fusion_data import FusionData
from nas.routing.gates import Gate
from nas.routing.network import DerivedNetwork, RoutedNetwork, build_routed
from nas.seeding import seeded
from nas.space.architecture import Architecture
from nas.training.build import build_network
from search_spaces import dynmm_fusion
from tests.export.networks import held_out
from tests.export.test_code import assert_same
from tests.helpers import CPU

How = Literal["sum", "squeeze_excitation"]

CONFIG = TrainingConfig(channels=8, peaks=True)


def two(kind: str, *, present: bool = False) -> FusionData:
    """Two maps, or two sequences, of unlike sizes; some samples may lack the second one."""
    generator = np.random.default_rng(0)
    shapes = ((2, 12, 9), (1, 7, 10)) if kind == "map" else ((41, 3), (23, 2))
    arrays = {
        name: generator.normal(size=(60, *shape)).astype(np.float32)
        for name, shape in zip(("scan", "photo"), shapes, strict=True)
    }
    there = {"photo": generator.random(60) < 0.7} if present else None
    return FusionData.from_arrays(arrays, np.arange(60) % 3, kinds=dict.fromkeys(arrays, kind), present=there)


def network_of(data: FusionData, how: How, *joins: int) -> DerivedNetwork:
    """The network of one k, or a gate on several; with BatchNorm statistics of the data, in evaluation mode."""
    space = dynmm_fusion({"scan": 3, "photo": 3}, how=how)
    routes = [space.at((number,)) for number in joins]
    found = routes[0] if len(routes) == 1 else Architecture.gated(routes, ["scan+photo@0"])
    if how == "squeeze_excitation":
        found = routes[0] if len(routes) == 1 else Architecture.gated(routes, ["scan+se*photo@0"])
    batch = split_batch(data, "weights", CPU)
    with seeded(0):
        build = build_network if len(routes) == 1 else build_routed
        network = build(space.restrict(found), data, CONFIG)
        for _ in range(5):
            if isinstance(network, RoutedNetwork):
                network.train().every_route(batch.inputs, batch.present)
            else:
                network.train()(batch.inputs, batch.present)
    network.eval()
    if isinstance(network, RoutedNetwork):
        gate = network.router
        assert isinstance(gate, Gate)
        with torch.no_grad():
            batch = held_out(data)
            seen = gate(network.network.encode(batch.inputs, gate.reads, batch.present))
            gate.output.bias.sub_(torch.where(seen.isfinite(), seen, 0).mean(dim=0))  # so that all routes are taken
    return network


@pytest.mark.parametrize("kind", ["map", "sequence"])
@pytest.mark.parametrize("how", ["sum", "squeeze_excitation"])
@pytest.mark.parametrize("joins", [(0,), (2,), (0, 1, 3)])
@pytest.mark.parametrize("present", [False, True], ids=["all", "some"])
def test_the_python_file_computes_the_same(
    kind: str, how: How, joins: tuple[int, ...], present: bool, tmp_path: Path
) -> None:
    data = two(kind, present=present)
    network = network_of(data, how, *joins)
    if isinstance(network, RoutedNetwork):
        batch = held_out(data)
        _, picked = network.run(batch.inputs, batch.present)
        assert len(picked.unique()) > 1
    code = assert_same(network, data, tmp_path)
    assert ("photo: Tensor" in code) == (joins != (0,))
    if len(joins) > 1:
        assert "def begin(" in code  # routes go on from the first layers, which the gate has run
