"""Second-order DARTS: the architecture gradient looks one step of the weights ahead.

Liu et al. 2019, "DARTS: Differentiable Architecture Search", Eqs. 6 to 8.
With w' = w − xi · ∇w Ltrain(w, a),

    gradient = ∇a Lval(w', a) − xi · [∇a Ltrain(w⁺, a) − ∇a Ltrain(w⁻, a)] / (2 e),   w± = w ± e · ∇w' Lval(w', a)

and e = 0.01 / ‖∇w' Lval‖. Departures: the step ahead is one of plain gradient descent, without the optimiser's
moments and weight decay, and xi is the present learning rate; the probes leave weights and BatchNorm statistics exactly
as they were.

The last term is a small difference of two gradients, so whatever else differs between the probes drowns it: both see
the dropout masks of the step ahead, and everything is computed in float32 on a GPU too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nas.seeding import seeded
from nas.strategies.base import SearchProblem, StrategyResult
from nas.strategies.bilevel import bilevel
from nas.supernet.relaxation import softmax
from nas.supernet.supernet import Supernet


def unrolled_gradient(
    weights: Sequence[nn.Parameter],
    arch_logits: Sequence[nn.Parameter],
    weights_loss: Callable[[], Tensor],
    architecture_loss: Callable[[], Tensor],
    *,
    xi: float,
    weight_decay: float = 0.0,
    probe_scale: float = 0.01,
) -> tuple[list[Tensor], Tensor]:
    """The second-order architecture gradient by finite differences.

    Args:
        weights: Changed during the call, restored exactly after it.
        arch_logits: With respect to which the gradient is taken.
        weights_loss: Ltrain at the present values of all parameters; each of its three calls sees the same draws of
            torch's random generator.
        architecture_loss: Lval likewise.
        xi: Learning rate of the step ahead, at least 0.
        weight_decay: Added to the gradient of the step ahead, times the weights.
        probe_scale: The paper's 0.01.

    Returns:
        One gradient per architecture parameter, and Lval after the step ahead, detached.
    """
    before = [weight.detach().clone() for weight in weights]
    noise = int(torch.randint(2**31, ()))
    with seeded(noise):
        descent = _gradients(weights_loss(), weights)
    _assign(weights, [w - xi * (g + weight_decay * w) for w, g in zip(before, descent, strict=True)])
    loss = architecture_loss()
    gradients = _gradients(loss, [*arch_logits, *weights])
    direct, direction = gradients[: len(arch_logits)], gradients[len(arch_logits) :]
    norm = torch.stack([part.norm() for part in direction]).norm()
    probe = float(probe_scale / norm.clamp(min=1e-12))
    implicit = []
    for sign in (1.0, -1.0):
        _assign(weights, [w + sign * probe * d for w, d in zip(before, direction, strict=True)])
        with seeded(noise):
            implicit.append(_gradients(weights_loss(), arch_logits))
    _assign(weights, before)
    result = [d - xi * (up - down) / (2 * probe) for d, up, down in zip(direct, *implicit, strict=True)]
    return result, loss.detach()


def _gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    with torch.enable_grad():
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


@torch.no_grad()
def _assign(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


@contextmanager
def _buffers_restored(module: nn.Module) -> Iterator[None]:
    before = [buffer.clone() for buffer in module.buffers()]
    yield
    for buffer, value in zip(module.buffers(), before, strict=True):
        buffer.copy_(value)


def second_order(
    supernet: Supernet,
    weights_loss: Callable[[], Tensor],
    architecture_loss: Callable[[], Tensor],
    learning_rate: float,
) -> Tensor:
    """Sets the second-order gradient; see the module's equation."""
    arch_logits = supernet.architecture_parameters()
    with _buffers_restored(supernet):
        gradients, loss = unrolled_gradient(
            list(supernet.weights()), arch_logits, weights_loss, architecture_loss, xi=learning_rate
        )
    for parameter, gradient in zip(arch_logits, gradients, strict=True):
        parameter.grad = gradient
    return loss


def darts_second_order(problem: SearchProblem) -> StrategyResult:
    """Searches by second-order DARTS."""
    return bilevel(
        problem,
        lambda supernet, _generator, _progress: softmax(supernet.logits()),
        second_order,
        mixed_precision=False,
    )
