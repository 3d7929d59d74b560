"""Power iteration against Hessians whose eigenvalues are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from nas.supernet.curvature import dominant_eigenvalue


def _quadratic(eigenvalues: list[float]) -> tuple[Tensor, Tensor, Tensor]:
    """A symmetric matrix with these eigenvalues, its eigenvectors as columns, and a slope."""
    generator = torch.Generator().manual_seed(0)
    size = len(eigenvalues)
    vectors, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    slope = torch.randn(size, generator=generator, dtype=torch.float64)
    return vectors @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ vectors.T, vectors, slope


@pytest.mark.parametrize("eigenvalues", [[5.0, 2.0, -1.0, 0.5], [-4.0, 1.0, 2.0, 0.0]])
def test_the_eigenvalue_of_a_quadratic_is_the_one_of_the_largest_absolute_value(eigenvalues: list[float]) -> None:
    matrix, vectors, slope = _quadratic(eigenvalues)
    one, other = (nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in ((1,), (3,)))

    def loss() -> Tensor:
        at = torch.cat([one, other])
        return at @ matrix @ at / 2 + slope @ at

    start = torch.ones(4, dtype=torch.float64)
    eigenvalue, vector = dominant_eigenvalue(loss, [one, other], start, num_iterations=60)
    assert eigenvalue == pytest.approx(
        eigenvalues[0], rel=1e-9
    )  # the ratio of the two largest, at most 1/2, to the 120th
    assert abs(float(vector @ vectors[:, 0])) == pytest.approx(1, abs=1e-9)
    assert float(vector.norm()) == pytest.approx(1)


def test_the_first_estimate_is_the_rayleigh_quotient_of_the_start() -> None:
    # By hand: v = (3, 4) / 5 in diag(1, 2) gives (9 · 1 + 16 · 2) / 25, and Hv = (3, 8) / 5 comes next.
    parameter = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    scale = torch.tensor([1.0, 2.0], dtype=torch.float64)
    start = torch.tensor([3.0, 4.0], dtype=torch.float64)
    eigenvalue, vector = dominant_eigenvalue(
        lambda: (scale * parameter.square()).sum() / 2, [parameter], start, num_iterations=1
    )
    assert eigenvalue == pytest.approx(41 / 25)
    assert vector.tolist() == pytest.approx([3 / math.sqrt(73), 8 / math.sqrt(73)])


def test_a_call_goes_on_where_the_last_one_ended() -> None:
    matrix, _, slope = _quadratic([3.0, 2.9, 1.0])
    parameter = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def loss() -> Tensor:
        return parameter @ matrix @ parameter / 2 + slope @ parameter

    vector = torch.ones(3, dtype=torch.float64)
    whole = dominant_eigenvalue(loss, [parameter], vector, num_iterations=20)
    for _ in range(4):
        eigenvalue, vector = dominant_eigenvalue(loss, [parameter], vector, num_iterations=5)
    assert eigenvalue == pytest.approx(whole[0])
    torch.testing.assert_close(vector, whole[1])


def test_the_eigenvalue_of_a_mixture_of_two_costs() -> None:
    """By hand: the loss is s(d) = 1 / (1 + exp(−d)) of the difference d of two logits.

    Its Hessian in the logits is s″(d) · (1, −1)ᵀ(1, −1), whose one eigenvalue is 2 s″ = 2 s (1 − s) (1 − 2s).
    """
    logits = nn.Parameter(torch.tensor([0.3, -0.9], dtype=torch.float64))
    costs = torch.tensor([1.0, 0.0], dtype=torch.float64)
    start = torch.tensor([1.0, 0.2], dtype=torch.float64)
    eigenvalue, _ = dominant_eigenvalue(lambda: logits.softmax(dim=0) @ costs, [logits], start, num_iterations=2)
    share = 1 / (1 + math.exp(-1.2))
    assert eigenvalue == pytest.approx(2 * share * (1 - share) * (1 - 2 * share))


def test_without_curvature_it_is_zero() -> None:
    parameter, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1))
    start = torch.ones(3)
    assert dominant_eigenvalue(lambda: 3 * parameter.sum(), [parameter, unused], start, num_iterations=3)[0] == 0
    cubic = nn.Parameter(torch.zeros(3))  # at zero its second derivative is zero
    assert dominant_eigenvalue(lambda: cubic.pow(3).sum(), [cubic], start, num_iterations=3)[0] == 0


def test_parameters_are_left_alone_also_where_gradients_are_off() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, 2.0]))
    with torch.no_grad():
        eigenvalue, vector = dominant_eigenvalue(
            lambda: parameter.square().sum(), [parameter], torch.ones(2), num_iterations=1
        )
    assert eigenvalue == pytest.approx(2)
    assert not vector.requires_grad
    assert parameter.grad is None
    assert parameter.tolist() == [1, 2]
