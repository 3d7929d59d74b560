"""Problems small enough to search in a fraction of a second, for the tests of all strategies."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.config import SearchConfig, TrainingConfig
from nas.data.batches import split_batch
from nas.data.fusion_data import FusionData, Modality, Split
from nas.encoders import Encoder, EncoderBuilder
from nas.encoders.base import Standardize
from nas.encoders.vector import VectorEncoder
from nas.runs.metrics_log import Log
from nas.space.search_space import SearchSpace
from nas.strategies import SearchProblem, StrategyResult
from nas.strategies.base import Evaluator
from nas.supernet.supernet import Supernet
from search_spaces import layerwise

CPU = torch.device("cpu")
DEPTHS = {"sound": 2, "sight": 2}
SPLIT_SIZES = (33, 24, 12)
"""Of weights, architecture and test. At a batch size of 16 the weights split ends in a batch of one sample."""

TRAINING = TrainingConfig(epochs=2, batch_size=16, channels=8, patience=0)
SEARCH = SearchConfig(length=1.0, max_trials=2)


def search_of(strategy: str, search: SearchConfig = SEARCH) -> SearchConfig:
    """How a strategy searches: `exhaustive` refuses to try only some."""
    return replace(search, max_trials=0) if strategy == "exhaustive" else search


def tiny_data(*, seed: int = 0, poisoned_test: bool = False) -> FusionData:
    """Two vectors of 3 and 2 features whose signs together tell the class; the three splits follow one another.

    Args:
        seed: Of the draw.
        poisoned_test: Whether everything in the test split is beyond use, and its indices cannot even be asked for.
    """
    generator = np.random.default_rng(seed)
    count = sum(SPLIT_SIZES)
    sound, sight = (generator.normal(size=(count, width)).astype(np.float32) for width in (3, 2))
    data = FusionData.from_arrays(
        {"sound": sound, "sight": sight},
        (sound[:, 0] * sight[:, 0] > 0).astype(np.int64),
        splits=np.repeat([0, 1, 2], SPLIT_SIZES),
    )
    return _poison_test(data) if poisoned_test else data


def _poison_test(data: FusionData) -> FusionData:
    chosen = data.splits["test"]

    def poisoned(array: NDArray[Any], value: float) -> NDArray[Any]:
        copied = array.copy()
        copied[chosen] = value
        return copied

    modalities = {
        name: Modality(kind=modality.kind, arrays=tuple(poisoned(array, np.nan) for array in modality.arrays))
        for name, modality in data.modalities.items()
    }
    targets = poisoned(data.targets, 10**6)
    return replace(data, modalities=modalities, targets=targets, splits=_WithoutTest(data.splits))


class _WithoutTest(dict[Split, NDArray[np.int64]]):
    def __getitem__(self, split: Split) -> NDArray[np.int64]:
        assert split != "test", "the test split was asked for"
        return super().__getitem__(split)


def tiny_space() -> SearchSpace:
    """Two nodes, each with nothing, two ways to carry, and two operations: 25 architectures."""
    return layerwise(DEPTHS, operations=["additive", "multiplicative"])


def builders(dropout_rate: float = 0.1) -> dict[str, EncoderBuilder]:
    """Encoders of two layers of eight, with BatchNorm and dropout."""

    def build(data: FusionData, name: str) -> Encoder:
        array = data.modalities[name].arrays[0][data.splits["weights"]]
        standardize = Standardize.fit(array, channel_axis=-1)
        return VectorEncoder(standardize, array.shape[1], widths=(8, 8), dropout_rate=dropout_rate)

    return dict.fromkeys(DEPTHS, build)


def tiny_problem(
    *,
    seed: int = 0,
    data: FusionData | None = None,
    training: TrainingConfig = TRAINING,
    search: SearchConfig = SEARCH,
    log: Log = lambda _record: None,
    encoder_dropout: float = 0.1,
    already_seconds: float = 0.0,
    space: SearchSpace | None = None,
    evaluator: Evaluator | None = None,
) -> SearchProblem:
    """A problem of tiny data and space.

    Args:
        seed: Of the search.
        data: None for `tiny_data`.
        training: How networks are trained.
        search: How the search is done.
        log: Receives the records.
        encoder_dropout: Dropout rate of the encoders; that of the adapters is among `training`.
        already_seconds: How long ago the search is made to have begun.
        space: None for `tiny_space`.
        evaluator: In place of training from scratch.
    """
    data = data or tiny_data()
    return SearchProblem(
        space=space or tiny_space(),
        data=data,
        weights=split_batch(data, "weights", CPU),
        architecture=split_batch(data, "architecture", CPU),
        training=training,
        search=search,
        seed=seed,
        device=CPU,
        builders=builders(encoder_dropout),
        log=log,
        evaluator=evaluator,
        started=time.perf_counter() - already_seconds,
    )


def tiny_supernet(*, dropout_rate: float = 0.0) -> Supernet:
    """The supernet of `tiny_problem`, without dropout unless it is asked for, with logits well apart."""
    problem = tiny_problem(training=replace(TRAINING, dropout_rate=dropout_rate), encoder_dropout=dropout_rate)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Supernet(problem.make_network(), init_deviation=0.5)


def state_of(explored: StrategyResult) -> Mapping[str, Tensor]:
    """Weights and buffers of the trained supernet; empty for a strategy without one."""
    return explored.network.state_dict() if explored.network is not None else {}


def same_tensors(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether both hold the same tensors, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
