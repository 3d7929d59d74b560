"""The dominant eigenvalue of a Hessian, by power iteration with products that autograd computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


@torch.enable_grad()
def dominant_eigenvalue(
    loss: Callable[[], Tensor], parameters: Sequence[Tensor], start: Tensor, *, num_iterations: int
) -> tuple[float, Tensor]:
    """The eigenvalue of the largest absolute value of the Hessian of a loss, and its eigenvector, both estimated.

    Power iteration v ← Hv / ‖Hv‖, where Hv = ∇(∇L · v) (Pearlmutter 1994, "Fast Exact Multiplication by the Hessian").
    The estimate is the Rayleigh quotient v · Hv; its error falls with the square of that of v. The graph of the
    gradient is built once, and every iteration runs it backward once.

    Args:
        loss: Twice differentiable, without chance, at the present values of the parameters.
        parameters: That the Hessian is taken with respect to.
        start: Where the iteration begins, (all their elements,), not zero; that of a former call saves iterations.
        num_iterations: At least 1.

    Returns:
        The eigenvalue, 0 for a loss that is linear in the parameters, and where the next call may begin, of length 1.
    """
    gradients = torch.autograd.grad(loss(), parameters, create_graph=True, allow_unused=True)
    gradient = _flat(gradients, parameters)
    vector, eigenvalue = start / start.norm(), 0.0
    for _ in range(num_iterations):
        if not gradient.requires_grad:  # no part of it depends on the parameters
            return 0.0, vector
        products = torch.autograd.grad(gradient @ vector, parameters, retain_graph=True, allow_unused=True)
        product = _flat(products, parameters)
        eigenvalue, length = float(vector @ product), product.norm()
        if not length > 0:
            break
        vector = product / length
    return eigenvalue, vector.detach()


def _flat(gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> Tensor:
    """One vector of them all, zero where a parameter has no influence."""
    found = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]
    return torch.cat([part.flatten() for part in found])
