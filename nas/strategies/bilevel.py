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
from typing import Protocol

import torch
from torch import Tensor

from nas.data.batches import Batch, Endless
from nas.network.fusion_network import Selection
from nas.network.prediction import autocast, evaluation_losses, losses
from nas.objectives import ForwardPass, dropout_rate, make_objective
from nas.seeding import seeded
from nas.strategies.base import SearchProblem, StrategyResult
from nas.supernet.guards import LOOKS, Guards
from nas.supernet.relaxation import softmax
from nas.supernet.supernet import Supernet
from nas.training.epoch_loop import EpochLoop, check_finite
from nas.training.snapshot import Stateful

Select = Callable[[Supernet, torch.Generator, float], Selection]
"""The relaxation: what the supernet runs, given a generator and the progress from 0 to 1."""


Mixture = Callable[[Supernet], Selection]
"""What the supernet is judged by: the relaxation without its chance."""

ChoiceWeights = Callable[[Supernet], dict[str, Tensor]]
"""What the architecture parameters say: node to a distribution over its choices, (choices,)."""

Penalty = Callable[[Supernet, float], Tensor]
"""Added to the architecture loss, given the progress from 0 to 1."""


def plain_softmax(supernet: Supernet) -> dict[str, Tensor]:
    """Softmax of the architecture logits: the mixture and the choice weights of most strategies."""
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


def bilevel(  # noqa: PLR0915  # one search, told in order
    problem: SearchProblem,
    select: Select,
    architecture_gradient: ArchitectureGradient,
    *,
    mixture: Mixture = plain_softmax,
    choice_weights: ChoiceWeights = plain_softmax,
    read_out: ChoiceWeights | None = None,
    penalty: Penalty | None = None,
    frozen_share: float = 0.0,
    edges: bool = False,
    mixed_precision: bool = True,
) -> StrategyResult:
    """Searches by gradient: per step first the architecture parameters, then the weights.

    Args:
        problem: With the two splits.
        select: The relaxation.
        architecture_gradient: How the architecture parameters get their gradients.
        mixture: What the supernet is judged by.
        choice_weights: What the architecture parameters say on the way.
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
        num_epochs = problem.num_epochs(network)
        with seeded(problem.seed):
            objective = make_objective(config.objective, network, task)
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
        slot = problem.slot("supernet")
        log = slot.keep(problem.log)
        learned: dict[str, Stateful] = {"arch_logits": supernet.arch_logits, "edge_logits": supernet.edge_logits}
        if guards is not None:
            learned["guards"] = guards
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
            mixed_precision=False,  # of the losses alone, see below
            slot=slot,
            parts={**learned, "architecture_optimizer": architecture_optimizer, "held_out": held_out},
            kept=("network", *learned),
        )
        judged_losses: list[float] = []

        def loss(batch: Batch, progress: float) -> Tensor:
            """Moves the architecture parameters, and returns what the weights descend on."""
            progress = max(progress, problem.spent())
            judged = next(held_out)

            def loss_of(part: Batch) -> Tensor:
                with autocast(device) if mixed_precision else nullcontext():
                    return losses(task, network, part, select(supernet, generator, progress)).mean()

            def weights_loss() -> Tensor:
                if objective is None:
                    return loss_of(batch)
                with autocast(device) if mixed_precision else nullcontext():
                    chosen = [select(supernet, generator, progress)]
                    forward = ForwardPass.run(task, network, batch, chosen, objective.reads)
                    return objective.loss(forward, min(1.0, progress))

            if progress < frozen_share:
                with torch.no_grad():
                    loss_held_out = loss_of(judged)
            else:
                learning_rate = float(loop.scheduler.get_last_lr()[0])
                loss_held_out = architecture_gradient(supernet, weights_loss, partial(loss_of, judged), learning_rate)
                if penalty is not None:
                    add_penalty_gradient(supernet, penalty(supernet, min(1.0, progress)))
                architecture_optimizer.step()
            judged_losses.append(float(loss_held_out))
            return weights_loss()

        def look(train_loss: float) -> None:
            architecture_loss = sum(judged_losses) / len(judged_losses)
            judged_losses.clear()
            check_finite(architecture_loss, loop.epochs, config)
            epochs = loop.epochs + 1
            is_over = epochs == num_epochs or problem.spent() >= 1
            weights = _detached((read_out or choice_weights if is_over else choice_weights)(supernet))
            seen = {}
            if guards is not None and (is_over or epochs % look_every == 0):
                reached = max(epochs / num_epochs, min(1.0, problem.spent()))
                seen = {"guards": guards.look(epochs, weights, progress=reached, is_last=is_over)}
            problem.log_search(
                log,
                step=loop.steps,
                epoch=epochs,
                train_loss=train_loss,
                architecture_loss=architecture_loss,
                choice_weights={name: values.tolist() for name, values in weights.items()},
                **seen,
            )

        def is_over() -> bool:
            tripped = guards is not None and guards.tripped is not None
            return tripped or (loop.epochs > 0 and problem.spent() >= 1)

        loop.run(loss, after_epoch=look, is_over=is_over)
        guarded = guards.end() if guards is not None else None
        with torch.no_grad():
            mixed = mixture(supernet)
        return StrategyResult(
            network=network,
            choice_weights={
                name: values.tolist() for name, values in _detached((read_out or choice_weights)(supernet)).items()
            },
            loss=float(evaluation_losses(task, network, problem.architecture, device, mixed).mean()),
            guards=guarded,
        )


def _detached(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: values.detach() for name, values in weights.items()}
