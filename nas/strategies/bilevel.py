"""The loop that gradient strategies share: architecture parameters on one split, weights on the other, in turn.

Liu et al. 2019, "DARTS: Differentiable Architecture Search", Algorithm 1. Departures: the weights are trained by AdamW
with a one-cycle learning rate, as every network here is, instead of SGD with a cosine; the architecture's learning
rate is ten times the paper's, since searches here last hundreds of steps and not tens of thousands. As in the authors'
code, a first-order pass over the architecture split counts towards the running statistics of BatchNorm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from nas.data.batches import Batch, shuffled
from nas.graph import Selection
from nas.relaxation import entropy, softmax
from nas.strategies.base import Explored, Problem
from nas.supernet import Supernet
from nas.training import (
    autocast,
    check_finite,
    evaluation_losses,
    losses,
    make_optimizer,
    seeded,
    step,
    steps_per_epoch,
)

Select = Callable[[Supernet, torch.Generator, float], Selection]
"""The relaxation: what the supernet runs, given a generator and the progress from 0 to 1."""


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
    parameters = list(supernet.arch_logits.values())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
        parameter.grad = torch.zeros_like(parameter) if gradient is None else gradient
    return loss.detach()


def endless(batch: Batch, batch_size: int, generator: torch.Generator, device: torch.device) -> Iterator[Batch]:
    """Passes over the samples without end, each in a new random order."""
    while True:
        yield from shuffled(batch, batch_size, generator, device)


def bilevel(
    problem: Problem, select: Select, architecture_gradient: ArchitectureGradient, *, mixed_precision: bool = True
) -> Explored:
    """Searches by gradient: per step first the architecture parameters, then the weights.

    Args:
        problem: With the two splits.
        select: The relaxation.
        architecture_gradient: How the architecture parameters get their gradients.
        mixed_precision: Whether losses may be computed in bf16 where the device has it.
    """
    config, device, task = problem.training, problem.device, problem.data.task
    with seeded(problem.seed) as generator:
        supernet = Supernet(problem.make_network()).to(device)
        network = supernet.network
        per_epoch = steps_per_epoch(len(problem.weights), config)
        num_epochs = problem.num_epochs(network)
        optimizer, scheduler = make_optimizer(network, config, num_epochs * per_epoch)
        architecture_optimizer = torch.optim.Adam(
            supernet.arch_logits.parameters(),
            lr=problem.search.architecture_learning_rate,
            betas=(0.5, 0.999),
            weight_decay=problem.search.architecture_weight_decay,
        )
        held_out = endless(problem.architecture, config.batch_size, generator, device)
        done = 0
        for epoch in range(num_epochs):
            network.train()
            sums, before = torch.zeros(2), done
            for batch in shuffled(problem.weights, config.batch_size, generator, device):
                progress = max(done / (num_epochs * per_epoch), problem.spent())
                judged = next(held_out)

                def loss_of(part: Batch, progress: float = progress) -> Tensor:
                    with autocast(device) if mixed_precision else nullcontext():
                        return losses(task, network, part, select(supernet, generator, progress)).mean()

                learning_rate = float(scheduler.get_last_lr()[0])
                loss_held_out = architecture_gradient(
                    supernet, partial(loss_of, batch), partial(loss_of, judged), learning_rate
                )
                architecture_optimizer.step()
                loss = loss_of(batch)
                step(loss, optimizer, scheduler, config)
                done += 1
                sums += torch.stack([loss.detach().cpu(), loss_held_out.cpu()])
            check_finite(float(sums.sum()), epoch, config)
            weights = softmax({name: logits.detach() for name, logits in supernet.logits().items()})
            problem.log(
                {
                    "phase": "search",
                    "step": done,
                    "epoch": epoch + 1,
                    "seconds": problem.elapsed_seconds(),
                    "train_loss": float(sums[0]) / (done - before),
                    "architecture_loss": float(sums[1]) / (done - before),
                    "mixing_weights": {name: values.tolist() for name, values in weights.items()},
                    "entropy": {name: float(entropy(values)) for name, values in weights.items()},
                }
            )
            if problem.spent() >= 1:
                break
        return Explored(
            network=network,
            beliefs={name: values.tolist() for name, values in weights.items()},
            loss=float(evaluation_losses(task, network, problem.architecture, device, weights).mean()),
        )
