"""Searches on arrays in memory and prints what it came to.

    python examples/01_search_arrays.py

The target is the sign of a product of one feature of each modality: no sum of two functions can tell it.
"""

from __future__ import annotations

import numpy as np

import nas


def main() -> nas.RunResult:
    """Runs the example."""
    generator = np.random.default_rng(0)
    left, right = (generator.standard_normal((900, 6)).astype(np.float32) for _ in range(2))
    data = nas.FusionData.from_arrays({"left": left, "right": right}, (left[:, 0] * right[:, 0] > 0).astype(int))
    result = nas.search(data, operations=["additive", "multiplicative", "mlp"], retrain_seeds=2)
    print(result.architecture.in_words())
    for row in result.summary.leaderboard:
        score = row.score
        print(f"{row.name:16}{100 * score.mean:6.1f} [{100 * score.low:.1f}, {100 * score.high:.1f}]")
    print(result.verdict)
    return result


if __name__ == "__main__":
    main()
