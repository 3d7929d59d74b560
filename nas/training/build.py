"""A fresh network for a space, with sizes and statistics read off the data."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from nas.config import TrainingConfig
from nas.data.fusion_data import FusionData
from nas.encoders import Encoder, EncoderBuilder, build_encoders
from nas.encoders.preprocessing import parse_preprocessing
from nas.errors import UserError
from nas.network.fusion_network import FusionNetwork, Head
from nas.space.search_space import SearchSpace
from nas.tasks import TASKS

MAX_WEIGHTS = 2**28
"""Of adapters, fusion nodes and head together: 1 GiB, and four times that with gradients and what AdamW remembers."""


def build_network(
    space: SearchSpace,
    data: FusionData,
    config: TrainingConfig,
    builders: Mapping[str, EncoderBuilder] | None = None,
) -> FusionNetwork:
    """A fresh network for a space, its sizes and statistics read off the weights split.

    Args:
        space: A whole space for the supernet, a restricted one for a derived network.
        data: Its architecture and test splits are not read.
        config: Channels, dropout, peaks, regions and preprocessing.
        builders: Encoder builders that replace the defaults, by modality.

    Raises:
        UserError: If it would have more than `MAX_WEIGHTS`.
    """
    shift = scale = None
    if not TASKS[data.task].has_probabilities:
        targets = torch.from_numpy(data.targets[data.splits["weights"]]).float()
        shift, scale = targets.mean(dim=0), targets.std(dim=0).clamp(min=1e-12)
    _refuse_vast(config.channels * data.num_outputs, config)
    head = Head(config.channels, data.num_outputs, shift, scale)
    chosen = parse_preprocessing(config.preprocessing)
    encoders = build_encoders(data, builders, peaks=config.peaks, regions=config.regions, preprocessing=chosen)
    _refuse_vast(_count_weights(space, data, config, encoders), config)
    return FusionNetwork(space, encoders, head, channels=config.channels, dropout_rate=config.dropout_rate)


def _count_weights(
    space: SearchSpace, data: FusionData, config: TrainingConfig, encoders: Mapping[str, Encoder]
) -> int:
    """Those of a network beside its encoders; 0 where they are surely few. No memory is taken for them."""
    widest = max(config.channels, data.num_outputs, *(width for one in encoders.values() for width in one.channels))
    if widest * config.channels * sum(len(node.choices) for node in space.nodes) < MAX_WEIGHTS // 8:
        return 0
    with torch.device("meta"):
        head = Head(config.channels, data.num_outputs)
        network = FusionNetwork(space, encoders, head, channels=config.channels, dropout_rate=0.0)
    return sum(some.numel() for name, some in network.named_parameters() if not name.startswith("encoders."))


def _refuse_vast(count: int, config: TrainingConfig) -> None:
    if count > MAX_WEIGHTS:
        raise UserError(
            f"a network of {config.channels} channels would have {count:,} weights beside its encoders, more than "
            f"{MAX_WEIGHTS:,}; choose fewer channels, operations or modalities"
        )
