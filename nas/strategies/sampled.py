"""The default: train sampled single paths, decide by what the architecture split says of each.

After Guo et al. 2020, "Single Path One-Shot Neural Architecture Search with Uniform Sampling", and Li and Talwalkar
2019, "Random Search and Reproducibility for Neural Architecture Search". There are no architecture parameters that
could collapse: every step trains one path drawn by `nas.relaxation.single_path`, and runs its operations only.
Beliefs are read off the architecture split. Departures: a path's interaction order is drawn first, see
`nas.relaxation.single_path`; all paths share one learning-rate cycle; and where encoders train along, the first steps
all train the space's `warm_up` path. Without it, encoders learn what a single modality tells and no sampled
interaction, each rarely drawn, ever gets its turn: of a modality that says nothing by itself they learn nothing.
"""

from __future__ import annotations

from typing import Any

import torch

from nas.candidates import Candidates, score_candidates
from nas.data.batches import shuffled
from nas.relaxation import entropy, single_path
from nas.scoring import PathScorer
from nas.snapshot import restore_snapshot, take_snapshot
from nas.strategies.base import Explored, Problem, encoders_train
from nas.training import autocast, check_finite, losses, make_optimizer, seeded, step, steps_per_epoch

LOOKS = 6
"""How often on the way the beliefs are looked at, for the record."""

LOOK_SAMPLES = 128

WARM_UP_SHARE = 0.3
"""Share of the steps that train the warm-up path when encoders train along."""


def sampled(problem: Problem) -> Explored:
    """Searches by sampled single paths."""
    config, device, task = problem.training, problem.device, problem.data.task
    network = problem.make_network()
    choices = problem.generator()
    per_epoch = steps_per_epoch(len(problem.weights), config)
    num_epochs = problem.num_epochs(network)
    optimizer, scheduler = make_optimizer(network, config, num_epochs * per_epoch)
    warm_up_steps = round(WARM_UP_SHARE * num_epochs * per_epoch) if encoders_train(network) else 0
    warm_up = None if problem.space.warm_up is None else problem.space.path(problem.space.warm_up)
    done = epochs = 0
    look_at = {round((i + 1) * num_epochs / LOOKS) for i in range(LOOKS)}
    slot = problem.slot("supernet")
    log = slot.keep(problem.log)
    with seeded(problem.seed) as generator:

        def state() -> dict[str, Any]:
            parts = take_snapshot(generator, network=network, optimizer=optimizer, scheduler=scheduler)
            return {"done": done, "epochs": epochs, "choices": choices.getstate(), **parts}

        if (found := slot.restore()) is not None:
            with slot.fitting():
                network.load_state_dict(found["network"])
                if not slot.finished:
                    restore_snapshot(found, generator, optimizer=optimizer, scheduler=scheduler)
                    choices.setstate(found["choices"])
                    done, epochs = int(found["done"]), int(found["epochs"])
        while not (slot.finished or epochs >= num_epochs or (epochs and problem.spent() >= 1)):
            network.train()
            total = torch.zeros((), device=device)
            for batch in shuffled(problem.weights, config.batch_size, generator, device):
                path = single_path(problem.space, choices)
                if warm_up is not None and done < warm_up_steps:
                    path = warm_up
                done += 1
                with autocast(device):
                    loss = losses(task, network, batch, path).mean()
                step(loss, optimizer, scheduler, config)
                total += loss.detach() * len(batch)
            check_finite(float(total), epochs, config)
            epochs += 1
            if epochs in look_at:
                scorer = PathScorer(network, task, problem.architecture, device, max_samples=LOOK_SAMPLES)
                seen = score_candidates(problem.space, scorer)
                beliefs = seen.beliefs(problem.space)
                log(
                    {
                        "phase": "search",
                        "step": done,
                        "epoch": epochs,
                        "seconds": problem.elapsed_seconds(),
                        "train_loss": float(total) / len(problem.weights),
                        "architecture_loss": _best_loss(seen),
                        "mixing_weights": beliefs,
                        "entropy": {name: float(entropy(torch.tensor(values))) for name, values in beliefs.items()},
                    }
                )
            slot.offer(state)
    slot.finish(lambda: {"network": network.state_dict()})
    scored = score_candidates(problem.space, PathScorer(network, task, problem.architecture, device))
    return Explored(network=network, beliefs=scored.beliefs(problem.space), loss=_best_loss(scored), candidates=scored)


def _best_loss(candidates: Candidates) -> float:
    return float(candidates.losses[candidates.best()].mean())
