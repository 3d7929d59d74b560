"""Reads a run folder back and uses its network.

fusenas search digits_halves --out results/runs/digits
python examples/03_read_a_run.py results/runs/digits
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import nas


def main(folder: Path) -> torch.Tensor:
    """Runs the example: class probabilities of the first five test samples, (5, classes)."""
    run = nas.load_run(folder)
    print(run.architecture.in_words())
    data = nas.load_data("digits_halves")
    first = data.splits["test"][:5]
    inputs = {name: (torch.from_numpy(modality.arrays[0][first]),) for name, modality in data.modalities.items()}
    with torch.no_grad():
        probabilities: torch.Tensor = run.network(inputs).softmax(dim=1)
    print("predicted", probabilities.argmax(dim=1).tolist(), "true", data.targets[first].tolist())
    return probabilities


if __name__ == "__main__":
    main(Path(sys.argv[1]))
