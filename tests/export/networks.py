"""Derived networks for the tests of export: every kind of modality, and any operation on any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from nas.config import TrainingConfig
from nas.data.batches import Batch, split_batch
from nas.data.fusion_data import FusionData
from nas.encoders import Encoder, EncoderBuilder, build_encoders
from nas.encoders.features import FeaturesEncoder
from nas.encoders.frozen import FrozenEncoder
from nas.export.portable import Portable
from nas.network.fusion_network import FusionNetwork
from nas.routing.cascade import LEVER, Cascade
from nas.routing.gates import Gate
from nas.routing.network import DerivedNetwork, RoutedNetwork, build_routed
from nas.seeding import seeded
from nas.space.architecture import Architecture, Choice
from nas.tasks import TASKS
from nas.training.build import build_network
from search_spaces import OPERATIONS, layerwise
from tests import helpers
from tests.helpers import CPU

MODALITIES = ("blood", "pulse", "notes", "scan", "ready")

FUSING = [name for name, operation in OPERATIONS.items() if operation.max_inputs != 1 and name != "none"]

BLOCKS = [name for name, operation in OPERATIONS.items() if operation.max_inputs == 1 and not operation.carries]


def every_kind(
    task: str = "classification",
    *,
    names: Sequence[str] = MODALITIES,
    present: Mapping[str, Sequence[bool]] | None = None,
) -> FusionData:
    """A vector, a sequence and tokens too long for a tap, a map, and ready-made features: times of 1 to 16 steps."""
    generator = np.random.default_rng(0)
    count = 30
    targets = {
        "classification": np.arange(count) % 3,
        "multilabel": generator.integers(0, 2, size=(count, 2)),
        "regression": 50 + 7 * generator.normal(size=(count, 2)),
    }
    arrays = (
        generator.normal(3, 5, size=(count, 3)).astype(np.float32),
        generator.normal(size=(count, 41, 2)).astype(np.float16),
        generator.integers(1, 8, size=(count, 18)) * (np.arange(18) < generator.integers(1, 19, size=(count, 1))),
        generator.integers(0, 255, size=(count, 2, 9, 6)).astype(np.uint8),
        [generator.normal(size=(count, *shape)).astype(np.float32) for shape in ((5,), (20, 4), (2, 3, 1))],
    )
    return FusionData.from_arrays(
        dict(zip(names, arrays, strict=True)),
        targets[task],
        task=task,
        kinds={names[1]: "sequence", names[2]: "tokens"},
        present=present,
    )


def derived(
    data: FusionData,
    *choices: Choice,
    builders: Mapping[str, EncoderBuilder] | None = None,
    peaks: bool = False,
    regions: bool = False,
    preprocessing: str = "standardize",
) -> FusionNetwork:
    """The network of one choice per depth, with BatchNorm statistics of the data, in evaluation mode."""
    space = layerwise(dict.fromkeys(data.modalities, 3))
    nodes = tuple((node.name, choice) for node, choice in zip(space.nodes, choices, strict=True))
    with seeded(0):
        config = TrainingConfig(channels=8, peaks=peaks, regions=regions, preprocessing=preprocessing)
        network = build_network(space.only(Architecture.chain("layerwise", nodes)), data, config, builders)
        batch = split_batch(data, "weights", CPU)
        for _ in range(5):
            network.train()(batch.inputs)
    return network.eval()


def dynamic(
    data: FusionData,
    reads: Sequence[str],
    *routes: Sequence[Choice],
    builders: Mapping[str, EncoderBuilder] | None = None,
) -> RoutedNetwork:
    """Likewise of a gate and routes, of which the samples of the test split take one after another."""
    network = _with_routes(data, reads, routes, builders)
    gate = network.router
    assert isinstance(gate, Gate)
    hidden: list[Tensor] = []
    handle = gate.output.register_forward_pre_hook(lambda _layer, given: hidden.append(given[0]))
    with torch.no_grad():
        gate(network.encode(held_out(data).inputs))
        handle.remove()
        count = len(hidden[0])
        wanted = torch.eye(len(routes))[torch.arange(count) % len(routes)]
        solved = torch.linalg.pinv(torch.cat([hidden[0], torch.ones(count, 1)], dim=1)) @ wanted
        gate.output.weight.copy_(solved[:-1].T)
        gate.output.bias.copy_(solved[-1])
    return network


def cascaded(
    data: FusionData, *routes: Sequence[Choice], builders: Mapping[str, EncoderBuilder] | None = None
) -> RoutedNetwork:
    """Likewise of a cascade, each route of which is sure of as many samples of the test split as any other."""
    network = _with_routes(data, (), routes, builders)
    cascade = network.router
    assert isinstance(cascade, Cascade)
    with torch.no_grad():
        outputs, _ = network.every_route(held_out(data).inputs)
        left = torch.arange(outputs.shape[1])
        for number in range(len(routes) - 1):
            sure = TASKS[data.task].confidence(outputs[number, left])
            share = 1 / (len(routes) - number)
            cascade.threshold[number] = sure.quantile(1 - share) / LEVER
            left = left[sure <= LEVER * cascade.threshold[number]]
    return network


def _with_routes(
    data: FusionData,
    reads: Sequence[str],
    routes: Sequence[Sequence[Choice]],
    builders: Mapping[str, EncoderBuilder] | None,
) -> RoutedNetwork:
    space = layerwise(dict.fromkeys(data.modalities, 3))
    names = [node.name for node in space.nodes]
    static = [Architecture.chain("layerwise", tuple(zip(names, route, strict=True))) for route in routes]
    with seeded(0):
        space = space.only(helpers.dynamic(static, reads))
        network = build_routed(space, data, TrainingConfig(channels=8), builders)
        batch = split_batch(data, "weights", CPU)
        for _ in range(5):
            network.train().every_route(batch.inputs)
    return network.eval()


def frozen(
    data: FusionData, name: str, *, peaks: bool = False, preprocessing: Mapping[str, str] | None = None
) -> Encoder:
    """The default encoder of a modality with its taps standardized, as after training alone."""
    inner = build_encoders(data, peaks=peaks, preprocessing=preprocessing)[name].eval()
    with torch.no_grad():
        taps = inner([torch.from_numpy(array) for array in data.modalities[name].arrays])
    return FrozenEncoder(inner, FeaturesEncoder.fit([tap.numpy() for tap in taps]))


def held_out(data: FusionData) -> Batch:
    """The test split."""
    return split_batch(data, "test", CPU)


def with_outputs(network: DerivedNetwork, data: FusionData) -> tuple[Portable, tuple[Tensor, ...], Tensor]:
    """A portable network, its inputs for the test split, and its outputs for them."""
    masked = [name for name, modality in data.modalities.items() if modality.present is not None]
    portable = Portable(network, masked).eval()
    inputs = portable.inputs(held_out(data))
    with torch.no_grad():
        return portable, inputs, portable(*inputs)
