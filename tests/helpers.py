"""What several tests need: tiny data and networks, random taps, counted calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.config import TrainingConfig
from nas.data.batches import Batch, split_batch
from nas.data.fusion_data import FusionData, Kind, Split
from nas.encoders import DEFAULT_ENCODERS, Encoder, EncoderBuilder, from_blueprint
from nas.network.fusion_network import Chosen, FusionNetwork, States
from nas.routing.network import RoutedNetwork
from nas.seeding import seeded
from nas.space.architecture import Architecture, Choice
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from nas.training.build import build_network
from search_spaces.operations import OPERATIONS

CPU = torch.device("cpu")

TINY = TrainingConfig(channels=4, dropout_rate=0.1)

TINY_WIDTHS = (5, 6, 7)

NESTED = SearchSpace(
    "nested",
    {"image": 2, "audio": 2},
    (
        FusionNode("first", (Choice("none"), Choice("additive", ("image@0", "audio@0")))),
        FusionNode("second", (Choice("carry", ("first",)), Choice("mlp", ("first", "audio@1"))), residual="first"),
    ),
    OPERATIONS,
)
"""A space whose second node reads the first."""


def tiny_array(
    kind: Kind, count: int, generator: np.random.Generator
) -> NDArray[np.generic] | list[NDArray[np.generic]]:
    """Samples of one kind: 3 features, 9 × 2 steps, up to 6 tokens, 2 × 6 × 6 maps, or two depths of features."""
    match kind:
        case "vector":
            return generator.normal(size=(count, 3)).astype(np.float32)
        case "sequence":
            return generator.normal(size=(count, 9, 2)).astype(np.float32)
        case "tokens":
            tokens = generator.integers(1, 8, size=(count, 6))
            lengths = generator.integers(1, 7, size=(count, 1))
            return np.where(np.arange(6) < lengths, tokens, 0)
        case "map":
            return generator.normal(size=(count, 2, 6, 6)).astype(np.float32)
        case "features":
            shapes = [(count, 3), (count, 5, 4), (count, 2, 3, 3)]
            return [generator.normal(size=shape).astype(np.float32) for shape in shapes]


def tiny_data(
    kinds: Mapping[str, Kind],
    *,
    count: int = 30,
    task: str = "classification",
    present: Mapping[str, NDArray[np.bool_]] | None = None,
) -> FusionData:
    """Random data of these modalities: three classes, two labels or two quantities."""
    generator = np.random.default_rng(0)
    arrays = {name: tiny_array(kind, count, generator) for name, kind in kinds.items()}
    targets = {
        "classification": np.arange(count) % 3,
        "multilabel": generator.integers(0, 2, size=(count, 2)),
        "regression": generator.normal(3, 2, size=(count, 2)),
    }[task]
    plain_kinds = {name: kind for name, kind in kinds.items() if kind != "features"}
    return FusionData.from_arrays(arrays, targets, task=task, kinds=plain_kinds, present=present)


def tiny_builder(num_taps: int) -> EncoderBuilder:
    """Builds the default encoder of the modality's kind with few channels and so many taps, at most three."""

    def build(data: FusionData, name: str) -> Encoder:
        blueprint = DEFAULT_ENCODERS[data.modalities[name].kind](data, name).blueprint
        assert blueprint is not None
        return from_blueprint({**blueprint, "widths": TINY_WIDTHS[:num_taps]})

    return build


def tiny_network(space: SearchSpace, data: FusionData, *, seed: int = 0) -> FusionNetwork:
    """A network of four channels in evaluation mode, with encoders as deep as the space says."""
    builders = {
        name: tiny_builder(depth) for name, depth in space.depths.items() if data.modalities[name].kind != "features"
    }
    with seeded(seed):
        return build_network(space, data, TINY, builders).eval()


def tiny_routed(space: SearchSpace, data: FusionData, *, seed: int = 0) -> RoutedNetwork:
    """Likewise of a space that holds one dynamic architecture; its router begins at random, and knows no costs."""
    with seeded(seed):
        return RoutedNetwork.of(tiny_network(space, data, seed=seed), data.task).eval()


def dynamic(routes: Sequence[Architecture], reads: Sequence[str]) -> Architecture:
    """Routes and a gate that reads these taps, or a cascade if it reads none."""
    return Architecture.gated(routes, reads) if reads else Architecture.cascaded(routes)


def tiny_batch(data: FusionData, split: Split = "weights") -> Batch:
    """One split as a batch on the CPU."""
    return split_batch(data, split, CPU)


def run_node(
    network: FusionNetwork, node: FusionNode, values: Mapping[str, Tensor | None], chosen: Chosen
) -> Tensor | None:
    """The state of one node of a network, from those of what it may read."""
    states = States(dict(values))
    network.run_node(node, states, chosen)
    return states.values[node.name]


def random_taps(
    times: Sequence[int], channels: int, *, batch: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    """One tap (batch, time, channels) of standard normal values per time."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, time, channels, generator=generator, dtype=dtype) for time in times]


@contextmanager
def counted_calls(module: nn.Module) -> Iterator[Counter[str]]:
    """Counts inside the block how often each submodule that has none of its own is called, by its name."""
    calls: Counter[str] = Counter()

    def count(name: str, _module: nn.Module, _arguments: object) -> None:
        calls[name] += 1

    leaves = [(name, leaf) for name, leaf in module.named_modules() if not list(leaf.children())]
    handles = [leaf.register_forward_pre_hook(partial(count, name)) for name, leaf in leaves]
    yield calls
    for handle in handles:
        handle.remove()


def assert_finite_and_nonzero(gradients: Iterable[tuple[str, Tensor | None]]) -> None:
    """Every gradient is there, finite, and far above what rounding leaves of a zero."""
    found = dict(gradients)
    assert found
    for name, gradient in found.items():
        assert gradient is not None, f"{name} is not reached"
        assert gradient.isfinite().all(), f"{name} has a gradient that is not finite"
        # Values are of order one: what cancels in exact arithmetic is below 1e-6 in float32, 1e-14 in float64.
        assert gradient.abs().max() > (1e-5 if gradient.dtype == torch.float32 else 1e-10), f"{name} gets no gradient"


def assert_learns(module: nn.Module) -> None:
    """Every parameter has a finite gradient that is not zero."""
    assert_finite_and_nonzero((name, parameter.grad) for name, parameter in module.named_parameters())


def contents(folder: Path) -> dict[str, bytes]:
    """Name and bytes of every file in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
