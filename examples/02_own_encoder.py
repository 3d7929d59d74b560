"""Uses a network of one's own as the encoder of a modality, tapped by naming its submodules.

python examples/02_own_encoder.py
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import nas
from nas.encoders import Encoder, ModuleEncoder


def own_encoder(data: nas.FusionData, name: str) -> Encoder:
    """A builder: called for every network anew, so that each starts with fresh weights."""
    module = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
    example = torch.from_numpy(data.modalities[name].arrays[0][:2])
    return ModuleEncoder(module, ["1", "3", "5"], example)


def main() -> nas.RunResult:
    """Runs the example."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 600)
    sensor = generator.standard_normal((600, 12)).astype(np.float32) + 0.8 * np.eye(3, 12, dtype=np.float32)[labels]
    video = generator.standard_normal((600, 16, 5)).astype(np.float32) + 0.3 * labels[:, None, None].astype(np.float32)
    data = nas.FusionData.from_arrays({"sensor": sensor, "video": video}, labels)
    result = nas.search(data, builders={"sensor": own_encoder}, operations=["additive", "soft_gate"], retrain_seeds=1)
    print(result.verdict)
    return result


if __name__ == "__main__":
    main()
