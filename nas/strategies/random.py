"""The control: architectures drawn at random, each trained from scratch, the best one kept.

Li and Talwalkar 2019, "Random Search and Reproducibility for Neural Architecture Search". How many are trained is set
so that it costs what a search costs: three trainings by default. The test split is not read.
"""

from __future__ import annotations

from nas.strategies.base import Explored, Problem
from nas.training import Trained


def random(problem: Problem) -> Explored:
    """Searches at random."""
    generator = problem.generator()
    best: Trained | None = None
    counts = {node.name: [0.0] * len(node.choices) for node in problem.space.nodes}
    for number in range(problem.search.trainings):
        architecture = problem.space.sample(generator)
        trained = problem.train_from_scratch(architecture)
        for node, index in zip(problem.space.nodes, problem.space.index(architecture), strict=True):
            counts[node.name][index] += 1
        shares = {name: [count / (number + 1) for count in values] for name, values in counts.items()}
        problem.log(
            {
                "phase": "search",
                "step": number + 1,
                "epoch": number + 1,
                "seconds": problem.elapsed_seconds(),
                "train_loss": None,
                "architecture_loss": trained.architecture_loss,
                "mixing_weights": shares,
                "entropy": {},
            }
        )
        if best is None or trained.architecture_loss < best.architecture_loss:
            best, chosen = trained, architecture
        if problem.spent() >= 1:
            break
    assert best is not None
    return Explored(network=None, beliefs=shares, architecture=chosen, loss=best.architecture_loss)
