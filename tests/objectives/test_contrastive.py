"""The contrastive loss beside a written-out reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nas.objectives.contrastive import contrastive_loss


def reference(vectors: Tensor, momentum: Tensor, queues: Tensor, temperature: float, alpha: float) -> float:
    """The equation of the module, number by number."""
    total = 0.0
    count = vectors.shape[1]
    for one, other in ((0, 1), (1, 0)):
        candidates = [*momentum[other].tolist(), *queues[other].tolist()]
        for i in range(count):

            def softmax(vector: list[float], candidates: list[list[float]] = candidates) -> list[float]:
                scores = [sum(a * b for a, b in zip(vector, c, strict=True)) / temperature for c in candidates]
                exponentials = [math.exp(score) for score in scores]
                return [value / sum(exponentials) for value in exponentials]

            p, soft = softmax(vectors[one, i].tolist()), softmax(momentum[one, i].tolist())
            q = [alpha * value + (1 - alpha) * (number == i) for number, value in enumerate(soft)]
            total -= sum(target * math.log(value) for target, value in zip(q, p, strict=True)) / count / 2
    return total


@pytest.mark.parametrize(("length", "alpha"), [(0, 0.0), (0, 0.4), (3, 0.0), (3, 0.4)])
def test_the_loss_is_the_equation_written_out(length: int, alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    vectors, momentum, queues = (
        torch.nn.functional.normalize(torch.randn(2, count, 5, generator=generator), dim=-1) for count in (4, 4, length)
    )
    found = contrastive_loss(vectors, momentum, queues, temperature=torch.tensor(0.3), alpha=alpha)
    assert float(found) == pytest.approx(reference(vectors, momentum, queues, 0.3, alpha), rel=1e-5)


def test_two_orthogonal_pairs_by_hand() -> None:
    """Each is at 1 from its own and at 0 from the other, over τ = 0.5: −log(e² / (e² + 1))."""
    pairs = torch.eye(2).expand(2, 2, 2)
    found = contrastive_loss(pairs, pairs, torch.zeros(2, 0, 2), temperature=torch.tensor(0.5), alpha=0.0)
    assert float(found) == pytest.approx(-math.log(math.exp(2) / (math.exp(2) + 1)), rel=1e-6)
