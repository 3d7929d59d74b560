"""The loop that gradient strategies share: architecture parameters on one split, weights on the other, in turn.

Liu et al. 2019, "DARTS: Differentiable Architecture Search", Algorithm 1. Departures: the weights are trained by AdamW
with a one-cycle learning rate, as every network here is, instead of SGD with a cosine; the architecture's learning
rate is ten times the paper's, since searches here last hundreds of steps and not tens of thousands. As in the authors'
code, a first-order pass over the architecture split counts towards the running statistics of BatchNorm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from nas.data.batches import Batch, Endless, shuffled
from nas.graph import Selection
from nas.guards import LOOKS, Guards
from nas.objectives import ForwardPass, dropout_rate, make_objective
from nas.prediction import autocast, evaluation_losses, losses
from nas.relaxation import softmax
from nas.snapshot import Stateful, restore_snapshot, take_snapshot
from nas.strategies.base import Explored, Problem
from nas.supernet import Supernet
from nas.training import (
    check_finite,
    drop_modalities,
    fitting,
    make_optimizer,
    seeded,
    step,
    steps_per_epoch,
    with_objective,
)

Select = Callable[[Supernet, torch.Generator, float], Selection]
"""The relaxation: what the supernet runs, given a generator and the progress from 0 to 1."""


Mixture = Callable[[Supernet], Selection]
"""What the supernet is judged by: the relaxation without its chance."""

Beliefs = Callable[[Supernet], dict[str, Tensor]]
"""What the architecture parameters say: node to a distribution over its choices, (choices,)."""

Penalty = Callable[[Supernet, float], Tensor]
"""Added to the architecture loss, given the progress from 0 to 1."""


def plain_softmax(supernet: Supernet) -> dict[str, Tensor]:
    """Softmax of the architecture logits: the mixture and the beliefs of most strategies."""
    return softmax(supernet.logits())


class ArchitectureGradient(Protocol):
    """Sets the gradients of the architecture parameters."""

    def __call__(
        self,
        supernet: Supernet,
        weights_loss: Callable[[], Tensor],
        architecture_loss: Callable[[], Tensor],
        learning_rate: float,
    ) -> Tensor:
        """Fills `.grad` of the architecture parameters and returns the architecture loss, detached.

        Args:
            supernet: Whose architecture parameters receive gradients.
            weights_loss: The loss of one batch of the weights split, as a function of the supernet's present state.
            architecture_loss: The loss of one batch of the architecture split, likewise.
            learning_rate: The present one of the weights.
        """


def first_order(
    supernet: Supernet,
    weights_loss: Callable[[], Tensor],  # noqa: ARG001  # the interface of all architecture gradients
    architecture_loss: Callable[[], Tensor],
    learning_rate: float,  # noqa: ARG001
) -> Tensor:
    """The gradient at the present weights, as if they were the best ones: xi = 0 in the paper's Eq. 6."""
    loss = architecture_loss()
    parameters = supernet.architecture_parameters()
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
        parameter.grad = torch.zeros_like(parameter) if gradient is None else gradient
    return loss.detach()


def add_penalty_gradient(supernet: Supernet, penalty: Tensor) -> None:
    """Adds the gradient of a penalty on the architecture parameters to theirs, which are there already.

    The gradient of a sum is the sum of the gradients, so this is as good as a penalty inside the loss, and the loss
    that is logged stays one of the data alone.
    """
    parameters = supernet.architecture_parameters()
    for parameter, gradient in zip(
        parameters, torch.autograd.grad(penalty, parameters, allow_unused=True), strict=True
    ):
        if gradient is not None:
            assert parameter.grad is not None
            parameter.grad += gradient


def bilevel(  # noqa: PLR0915  # a training loop, told in order
    problem: Problem,
    select: Select,
    architecture_gradient: ArchitectureGradient,
    *,
    mixture: Mixture = plain_softmax,
    beliefs: Beliefs = plain_softmax,
    read_out: Beliefs | None = None,
    penalty: Penalty | None = None,
    frozen_share: float = 0.0,
    edges: bool = False,
    mixed_precision: bool = True,
) -> Explored:
    """Searches by gradient: per step first the architecture parameters, then the weights.

    Args:
        problem: With the two splits.
        select: The relaxation.
        architecture_gradient: How the architecture parameters get their gradients.
        mixture: What the supernet is judged by.
        beliefs: What the architecture parameters say on the way.
        read_out: What they say in the end; None for the same.
        penalty: On the architecture parameters; None for none.
        frozen_share: Share of the search, from its beginning, in which the weights alone are trained.
        edges: Whether the supernet has logits for sets of inputs, too.
        mixed_precision: Whether losses may be computed in bf16 where the device has it.
    """
    config, device, task = problem.training, problem.device, problem.data.task
    with seeded(problem.seed) as generator:
        supernet = Supernet(problem.make_network(), edges=edges).to(device)
        network = supernet.network
        per_epoch = steps_per_epoch(len(problem.weights), config)
        num_epochs = problem.num_epochs(network)
        with seeded(problem.seed):
            objective = make_objective(config.objective, network, task)
        optimizer, scheduler = make_optimizer(with_objective(network, objective), config, num_epochs * per_epoch)
        rate = dropout_rate(config.objective)
        architecture_optimizer = torch.optim.Adam(
            supernet.architecture_parameters(),
            lr=problem.search.architecture_learning_rate,
            betas=(0.5, 0.999),
            weight_decay=problem.search.architecture_weight_decay,
        )
        held_out = Endless(problem.architecture, config.batch_size, generator, device)
        guards = None
        if problem.search.guards:
            guards = Guards(supernet, mixture, task, problem.architecture, problem.weights.targets, device)
        look_every = -(-num_epochs // LOOKS)
        done = epochs = 0
        slot = problem.slot("supernet")
        log = slot.keep(problem.log)
        learned: dict[str, Stateful] = {"supernet": supernet, **({"guards": guards} if guards is not None else {})}
        parts: dict[str, Stateful] = {
            **learned,
            "optimizer": optimizer,
            "scheduler": scheduler,
            "architecture_optimizer": architecture_optimizer,
            "held_out": held_out,
            **({"objective": objective} if objective is not None else {}),
        }

        def state() -> dict[str, Any]:
            return {"done": done, "epochs": epochs, "is_over": is_over, **take_snapshot(generator, **parts)}

        is_over = False
        if (found := slot.restore()) is not None:
            with slot.fitting():
                is_over = slot.finished or bool(found["is_over"])
                if slot.finished:
                    for name, part in learned.items():
                        part.load_state_dict(found[name])
                else:
                    restore_snapshot(found, generator, **parts)
                    done, epochs = int(found["done"]), int(found["epochs"])
        while not (is_over or (epochs and problem.spent() >= 1)):  # time may have been spent before a stop
            network.train()
            if objective is not None:
                fit = fitting(config, problem.seed, device)
                objective.begin_epoch(epochs, num_epochs, network, problem.weights, fit)
            sums, before = torch.zeros(2), done
            for whole in shuffled(problem.weights, config.batch_size, generator, device):
                batch = drop_modalities(whole, rate, generator)
                progress = max(done / (num_epochs * per_epoch), problem.spent())
                judged = next(held_out)

                def loss_of(part: Batch, progress: float = progress) -> Tensor:
                    with autocast(device) if mixed_precision else nullcontext():
                        return losses(task, network, part, select(supernet, generator, progress)).mean()

                def weights_loss(part: Batch = batch, progress: float = progress) -> Tensor:
                    if objective is None:
                        return loss_of(part)
                    with autocast(device) if mixed_precision else nullcontext():
                        chosen = [select(supernet, generator, progress)]
                        forward = ForwardPass.run(task, network, part, chosen, objective.reads)
                        return objective.loss(forward, min(1.0, progress))

                if progress < frozen_share:
                    with torch.no_grad():
                        loss_held_out = loss_of(judged)
                else:
                    learning_rate = float(scheduler.get_last_lr()[0])
                    loss_held_out = architecture_gradient(
                        supernet, weights_loss, partial(loss_of, judged), learning_rate
                    )
                    if penalty is not None:
                        add_penalty_gradient(supernet, penalty(supernet, min(1.0, progress)))
                    architecture_optimizer.step()
                loss = weights_loss()
                step(loss, optimizer, scheduler, config, objective=objective, network=network)
                done += 1
                sums += torch.stack([loss.detach().cpu(), loss_held_out.cpu()])
            check_finite(float(sums.sum()), epochs, config)
            epochs += 1
            is_over = epochs == num_epochs or problem.spent() >= 1
            weights = _detached((read_out or beliefs if is_over else beliefs)(supernet))
            seen = {}
            if guards is not None and (is_over or epochs % look_every == 0):
                reached = max(epochs / num_epochs, min(1.0, problem.spent()))
                seen = {"guards": guards.look(epochs, weights, progress=reached, is_last=is_over)}
                is_over = is_over or guards.tripped is not None
            problem.log_search(
                log,
                step=done,
                epoch=epochs,
                train_loss=float(sums[0]) / (done - before),
                architecture_loss=float(sums[1]) / (done - before),
                beliefs={name: values.tolist() for name, values in weights.items()},
                **seen,
            )
            slot.offer(state)
        slot.finish(lambda: {name: part.state_dict() for name, part in learned.items()})
        guarded = guards.end() if guards is not None else None
        with torch.no_grad():
            mixed = mixture(supernet)
        return Explored(
            network=network,
            beliefs={name: values.tolist() for name, values in _detached((read_out or beliefs)(supernet)).items()},
            loss=float(evaluation_losses(task, network, problem.architecture, device, mixed).mean()),
            guards=guarded,
        )


def _detached(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: values.detach() for name, values in weights.items()}
