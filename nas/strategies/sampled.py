"""The default: train sampled single paths, decide by what the architecture split says of each.

After Guo et al. 2020, "Single Path One-Shot Neural Architecture Search with Uniform Sampling", and Li and Talwalkar
2019, "Random Search and Reproducibility for Neural Architecture Search". There are no architecture parameters that
could collapse: every step trains one path of every interaction order, drawn by `nas.supernet.relaxation.fair_paths`,
and runs their operations only; encoders and adapters run once for all of them. Beliefs are read off the architecture
split. Departures: paths are fair to orders, see there; all share one learning-rate cycle, whose peak is twice that of a
training, for every choice is trained in a small part of the steps; and where encoders train along, the first steps
all train the space's `warm_up` path. Without it, encoders learn what a single modality tells and no sampled
interaction, each rarely drawn, ever gets its turn: of a modality that says nothing by itself they learn nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nas.data.batches import Batch
from nas.metrics import sample_losses
from nas.network.fusion_network import FusionNetwork
from nas.objectives import ForwardPass, dropout_rate, make_objective
from nas.seeding import seeded
from nas.strategies.base import SearchProblem, StrategyResult, encoders_train
from nas.supernet.candidates import Candidates, score_candidates
from nas.supernet.path_scorer import PathScorer
from nas.supernet.relaxation import fair_paths
from nas.tasks import Task
from nas.training.epoch_loop import EpochLoop, steps_per_epoch
from nas.training.snapshot import Draws

LOOKS = 6
"""How often on the way the choice weights are looked at, for the record."""

LOOK_SAMPLES = 128

LENGTH = 0.5
"""Automatic length of the search on cached taps; twice that where encoders train along.

A step, of a path of every order, costs twice that of a training on cached taps.
"""

RATE = 2.0
"""Peak learning rate of the supernet, as a multiple of a training's."""

WARM_UP_SHARE = 0.3
"""Share of the steps that train the warm-up path when encoders train along."""


def sampled(problem: SearchProblem) -> StrategyResult:
    """Searches by sampled single paths."""
    device, task = problem.device, problem.data.task
    config = replace(problem.training, learning_rate=RATE * problem.training.learning_rate)
    network = problem.make_network()
    choices = problem.generator()
    num_epochs = problem.num_epochs(network, on_cached_taps=LENGTH, with_encoders=2 * LENGTH)
    num_steps = num_epochs * steps_per_epoch(len(problem.weights), config)
    warm_up_steps = round(WARM_UP_SHARE * num_steps) if encoders_train(network) else 0
    warm_up = None if problem.space.warm_up is None else problem.space.path(problem.space.warm_up)
    look_at = {round((i + 1) * num_epochs / LOOKS) for i in range(LOOKS)}
    slot = problem.slot("supernet")
    log = slot.keep(problem.log)
    with seeded(problem.seed):
        objective = make_objective(config.objective, network, task)
    with seeded(problem.seed) as generator:
        loop = EpochLoop(
            network,
            problem.weights,
            config,
            num_epochs=num_epochs,
            generator=generator,
            seed=problem.seed,
            device=device,
            objective=objective,
            dropped=dropout_rate(config.objective),
            slot=slot,
            parts={"choices": Draws(choices)},
            kept=("network",),
        )

        def loss(batch: Batch, progress: float) -> Tensor:
            paths = fair_paths(problem.space, choices)
            if warm_up is not None and loop.steps < warm_up_steps:
                paths = [warm_up]
            if objective is None:
                return losses_of_paths(task, network, batch, paths).mean()
            return objective.loss(ForwardPass.run(task, network, batch, paths, objective.reads), progress)

        def look(train_loss: float) -> None:
            if loop.epochs + 1 in look_at:
                scorer = PathScorer(network, task, problem.architecture, device, max_samples=LOOK_SAMPLES)
                seen = score_candidates(problem.space, scorer, grow=False)
                problem.log_search(
                    log,
                    step=loop.steps,
                    epoch=loop.epochs + 1,
                    train_loss=train_loss,
                    architecture_loss=_best_loss(seen),
                    choice_weights=seen.choice_weights(problem.space),
                )

        loop.run(loss, after_epoch=look, is_over=lambda: bool(loop.epochs) and problem.spent() >= 1)
    scored = score_candidates(problem.space, PathScorer(network, task, problem.architecture, device))
    return StrategyResult(
        network=network, choice_weights=scored.choice_weights(problem.space), loss=_best_loss(scored), candidates=scored
    )


def losses_of_paths(task: Task, network: FusionNetwork, batch: Batch, paths: Sequence[Mapping[str, int]]) -> Tensor:
    """The losses of several paths on the same taps, (paths, batch)."""
    needed = list(dict.fromkeys(tap for path in paths for tap in network.needed_taps(path)))
    taps = network.taps(batch.inputs, needed, batch.present)
    outputs = torch.cat([network.fuse(taps, path, batch_size=len(batch)) for path in paths])
    copies = (len(paths), *[1] * (batch.targets.dim() - 1))
    importance = None if batch.importance is None else batch.importance.repeat(copies)
    found = sample_losses(task, outputs, batch.targets.repeat(copies), network.head.scale, importance=importance)
    return found.view(len(paths), -1)


def _best_loss(candidates: Candidates) -> float:
    return float(candidates.losses[candidates.best()].mean())
