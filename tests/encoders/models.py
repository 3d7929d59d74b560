"""Tiny networks of transformers with random weights, saved to folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from nas.seeding import seeded

CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {"vocab_size": 50, "num_hidden_layers": 3},
    "wav2vec2": {
        "num_hidden_layers": 2,
        "conv_dim": [8, 8],
        "conv_stride": [5, 4],
        "conv_kernel": [10, 8],
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
    },
    "vit": {"num_hidden_layers": 2, "image_size": 32, "patch_size": 8},
}
CONFIGS["wavlm"] = CONFIGS["wav2vec2"]


def save_tiny(kind: str, folder: Path, **changes: Any) -> Path:
    """A network of 16 channels; the test is skipped where transformers is not installed."""
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(
        kind, hidden_size=16, num_attention_heads=2, intermediate_size=32, **CONFIGS[kind], **changes
    )
    with seeded(0), torch.device("cpu"):
        transformers.AutoModel.from_config(config).save_pretrained(folder / kind)
    return folder / kind
