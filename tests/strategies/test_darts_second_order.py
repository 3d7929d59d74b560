"""The second-order architecture gradient against bilevel problems whose exact gradient is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.data.batches import Batch
from nas.network.prediction import losses
from nas.strategies import STRATEGIES, bilevel
from nas.strategies.bilevel import first_order
from nas.strategies.darts_second_order import second_order, unrolled_gradient
from nas.supernet.relaxation import softmax
from nas.supernet.supernet import Supernet
from tests.strategies.problems import TRAINING, same_tensors, tiny_problem, tiny_supernet

_Losses = tuple[Callable[[], Tensor], Callable[[], Tensor]]


def _parameters(seed: int = 0) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter]:
    """Weights of two shapes, three architecture parameters, in float64."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((2, 2), (1,), (3,))
    first, second, arch = (
        nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes
    )
    return first, second, arch


def _matrix(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _flat(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first.flatten(), second])


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_a_quadratic_problem_has_the_gradient_derived_by_hand(weight_decay: float) -> None:
    """Exact up to rounding, since finite differences of a quadratic loss are.

    Let Ltrain(w, a) = ½ wᵀA w − wᵀB a with symmetric A, and Lval(w, a) = ½ ‖w − c‖² + wᵀE a + ½ ‖a − d‖². Then

        w' = w − xi (A w − B a + decay · w),   dw'/da = xi B,   ∂Lval/∂w' = w' − c + E a,   ∂Lval/∂a = Eᵀw' + a − d,

    so the gradient of Lval(w'(a), a) is Eᵀw' + a − d + xi Bᵀ(w' − c + E a).
    """
    xi = 0.1
    first, second, arch = _parameters()
    half = _matrix(5, 5, 1)
    a_matrix, b_matrix, e_matrix = half @ half.T, _matrix(5, 3, 2), _matrix(5, 3, 3)
    c, d = _matrix(5, 1, 4)[:, 0], _matrix(3, 1, 5)[:, 0]

    def weights_loss() -> Tensor:
        w = _flat(first, second)
        return w @ a_matrix @ w / 2 - w @ b_matrix @ arch

    def architecture_loss() -> Tensor:
        w = _flat(first, second)
        return (w - c).square().sum() / 2 + w @ e_matrix @ arch + (arch - d).square().sum() / 2

    w, a = _flat(first, second).detach(), arch.detach()
    ahead = w - xi * (a_matrix @ w - b_matrix @ a + weight_decay * w)
    expected = e_matrix.T @ ahead + a - d + xi * b_matrix.T @ (ahead - c + e_matrix @ a)
    expected_loss = (ahead - c).square().sum() / 2 + ahead @ e_matrix @ a + (a - d).square().sum() / 2

    (found,), loss = unrolled_gradient(
        [first, second], [arch], weights_loss, architecture_loss, xi=xi, weight_decay=weight_decay
    )
    # Gradients near 10 rounded at 1e-16 and divided by 2e = 0.02 / ‖∇Lval‖, about 1e-3: 1e-12.
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(loss, expected_loss)
    assert not loss.requires_grad

    direct = e_matrix.T @ w + a - d  # first order: at the present weights, nothing else
    assert float((found - direct).norm()) > 0.1


def _curved(first: nn.Parameter, second: nn.Parameter, arch: nn.Parameter) -> _Losses:
    """Losses that are far from quadratic in everything."""
    b_matrix, e_matrix = _matrix(5, 3, 6), _matrix(5, 3, 7)

    def weights_loss() -> Tensor:
        w = _flat(first, second)
        return (torch.tanh(w) @ b_matrix @ torch.sin(arch)).square() + torch.cosh(w).sum()

    def architecture_loss() -> Tensor:
        w = _flat(first, second)
        return F.softplus(w @ e_matrix @ arch.softmax(dim=0)) + torch.sin(w).sum()

    return weights_loss, architecture_loss


def _numerical(first: nn.Parameter, second: nn.Parameter, arch: nn.Parameter, both: _Losses, *, xi: float) -> Tensor:
    """Central differences of Lval after the step ahead, as a function of the architecture alone."""
    weights_loss, architecture_loss = both
    start = [weight.detach().clone() for weight in (first, second)]

    def ahead() -> float:
        descent = torch.autograd.grad(weights_loss(), [first, second])
        with torch.no_grad():
            for weight, gradient in zip((first, second), descent, strict=True):
                weight.sub_(xi * gradient)
            loss = float(architecture_loss())
            for weight, value in zip((first, second), start, strict=True):
                weight.copy_(value)
        return loss

    found = torch.zeros_like(arch)
    for index in range(len(arch)):
        for sign in (1, -1):
            with torch.no_grad():
                arch[index] += sign * 1e-5
            found[index] += sign * ahead() / 2e-5
            with torch.no_grad():
                arch[index] -= sign * 1e-5
    return found.detach()


def test_a_curved_problem_has_its_numerical_gradient() -> None:
    first, second, arch = _parameters()
    both = _curved(first, second, arch)
    expected = _numerical(first, second, arch, both, xi=0.1)
    errors = []
    for probe_scale in (0.01, 0.001):
        (found,), _ = unrolled_gradient([first, second], [arch], *both, xi=0.1, probe_scale=probe_scale)
        errors.append(float((found - expected).norm()))
    # A probe of length 0.01 leaves 1e-4 of a third derivative, times xi and the length of the direction; the numerical
    # derivative itself is good to 1e-10, rounding over its step of 1e-5.
    assert errors[0] < 1e-3
    assert errors[1] < errors[0] / 50  # the error falls with the square of the probe
    (direct,) = torch.autograd.grad(both[1](), [arch])
    assert float((direct - expected).norm()) > 100 * errors[0]


def test_the_gradient_of_a_supernet_is_its_numerical_one() -> None:
    """In float64: Lval(w − xi ∇w Ltrain(w, a), a) at architectures on either side, for every logit."""
    supernet, problem = tiny_supernet().double(), tiny_problem()
    supernet.eval()
    weights, arch_logits, xi = list(supernet.weights()), list(supernet.arch_logits.values()), 0.1

    def loss_of(batch: Batch) -> Tensor:
        inputs = {name: tuple(array.double() for array in arrays) for name, arrays in batch.inputs.items()}
        outputs = supernet.network(inputs, None, softmax(supernet.logits()))
        return F.cross_entropy(outputs, batch.targets)  # ours computes in float32

    def ahead() -> float:
        before = [weight.detach().clone() for weight in weights]
        descent = torch.autograd.grad(loss_of(problem.weights), weights, allow_unused=True)
        with torch.no_grad():
            for weight, gradient in zip(weights, descent, strict=True):
                weight.sub_(xi * (0 if gradient is None else gradient))
            loss = float(loss_of(problem.architecture))
            for weight, value in zip(weights, before, strict=True):
                weight.copy_(value)
        return loss

    found, _ = unrolled_gradient(
        weights, arch_logits, partial(loss_of, problem.weights), partial(loss_of, problem.architecture), xi=xi
    )
    for logits, gradient in zip(arch_logits, found, strict=True):
        for index in range(len(logits)):
            numerical = 0.0
            for sign in (1, -1):
                with torch.no_grad():
                    logits[index] += sign * 1e-5
                numerical += sign * ahead() / 2e-5
                with torch.no_grad():
                    logits[index] -= sign * 1e-5
            # The probes leave a third derivative times 0.01², of a network that is smooth throughout.
            assert float(gradient[index]) == pytest.approx(numerical, rel=1e-3, abs=1e-6)


def test_without_a_step_ahead_it_is_the_first_order_gradient() -> None:
    supernet, problem = tiny_supernet(), tiny_problem()
    supernet.eval()

    def loss_of(split: str) -> Tensor:
        batch = problem.weights if split == "weights" else problem.architecture
        return losses("classification", supernet.network, batch, softmax(supernet.logits())).mean()

    arch_logits = list(supernet.arch_logits.values())
    found, loss = unrolled_gradient(
        list(supernet.weights()), arch_logits, partial(loss_of, "weights"), partial(loss_of, "architecture"), xi=0.0
    )
    expected_loss = first_order(supernet, partial(loss_of, "weights"), partial(loss_of, "architecture"), 0.1)
    for gradient, logits in zip(found, arch_logits, strict=True):
        assert logits.grad is not None
        assert torch.equal(gradient, logits.grad)
    assert torch.equal(loss, expected_loss)


def test_weights_and_architecture_are_restored_bit_for_bit() -> None:
    # In float32 and with awkward values, where adding a step and taking it away again would not come back.
    weight = nn.Parameter(torch.tensor([1e8, 0.1, -1e-8, 3.3333333]))
    arch = nn.Parameter(torch.tensor([0.7]))
    before, arch_before = weight.detach().clone(), arch.detach().clone()
    seen: list[Tensor] = []

    def weights_loss() -> Tensor:
        seen.append(weight.detach().clone())
        return (torch.sin(weight) * arch).sum()

    unrolled_gradient([weight], [arch], weights_loss, lambda: torch.cos(weight).sum(), xi=0.1)
    assert torch.equal(weight, before)
    assert torch.equal(arch, arch_before)
    assert len(seen) == 3  # at the weights themselves, then at the two probes
    assert torch.equal(seen[0], before)
    assert not torch.equal(seen[1], before)
    assert not torch.equal(seen[1], seen[2])


def _training_losses(supernet: Supernet) -> _Losses:
    problem = tiny_problem()

    def loss_of(split: str) -> Tensor:
        batch = problem.weights if split == "weights" else problem.architecture
        return losses("classification", supernet.network, batch, softmax(supernet.logits())).mean()

    return partial(loss_of, "weights"), partial(loss_of, "architecture")


def test_batch_norm_statistics_are_restored() -> None:
    supernet = tiny_supernet(dropout_rate=0.3)
    both = _training_losses(supernet)
    supernet.train()
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    second_order(supernet, *both, 0.1)
    assert same_tensors(before, supernet.state_dict())
    both[1]()  # a single pass does move them
    moved = [key for key, value in supernet.state_dict().items() if not torch.equal(value, before[key])]
    assert any(key.endswith("running_mean") for key in moved)


def test_it_sets_the_gradients_of_the_architecture_alone() -> None:
    supernet = tiny_supernet()
    second_order(supernet, *_training_losses(supernet), 0.1)
    for logits in supernet.arch_logits.values():
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()
        assert (logits.grad != 0).all()
    assert all(weight.grad is None for weight in supernet.weights())


def test_the_learning_rate_is_the_length_of_the_step_ahead() -> None:
    supernet = tiny_supernet()
    both = _training_losses(supernet)
    arch_logits = list(supernet.arch_logits.values())
    supernet.eval()
    for learning_rate in (0.03, 0.3):
        second_order(supernet, *both, learning_rate)
        expected, _ = unrolled_gradient(list(supernet.weights()), arch_logits, *both, xi=learning_rate)
        for gradient, logits in zip(expected, arch_logits, strict=True):
            assert logits.grad is not None
            torch.testing.assert_close(logits.grad, gradient)


def test_both_probes_see_the_dropout_of_the_step_ahead() -> None:
    """A problem in which any other mask would show.

    With m the mean of a dropout mask, let Ltrain(w, a) = −w a m and Lval(w) = ½ (w − 3)². Then w' = w + xi a m, and the
    gradient is (w' − 3) xi m. The mask is read off w', hence off Lval: the gradient must be (w' − 3)(w' − w) / a.
    Probes with masks of their own would differ by O(1) and be divided by 2e, about 1e-2.
    """
    weight, arch = (nn.Parameter(torch.tensor([value], dtype=torch.float64)) for value in (0.5, 0.8))
    ones = torch.ones(64, dtype=torch.float64)

    def weights_loss() -> Tensor:
        return -(weight * arch * F.dropout(ones, 0.5).mean()).sum()

    def architecture_loss() -> Tensor:
        return ((weight - 3).square() / 2).sum()

    masks = set()
    for _ in range(5):
        (gradient,), loss = unrolled_gradient([weight], [arch], weights_loss, architecture_loss, xi=0.1)
        ahead = 3 - float((2 * loss).sqrt())
        assert float(gradient) == pytest.approx((ahead - 3) * (ahead - 0.5) / 0.8, rel=1e-9)  # rounding over 2e
        masks.add(round(ahead, 9))
    assert len(masks) > 1  # yet every step draws anew


def test_the_search_differs_from_the_first_order_one() -> None:
    # Without dropout the two see the same batches and no other randomness: what differs is the gradient alone.
    training = replace(TRAINING, dropout_rate=0.0, learning_rate=0.05)
    first, second = (
        STRATEGIES[name](tiny_problem(training=training, encoder_dropout=0.0))
        for name in ("darts", "darts_second_order")
    )
    assert first.choice_weights != second.choice_weights


def test_the_small_difference_is_never_computed_in_reduced_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    reduced: dict[str, set[bool]] = {}

    def spied(name: str, *arguments: object) -> Tensor:
        reduced.setdefault(name, set()).add(torch.is_autocast_enabled("cpu"))
        return losses(*arguments)  # type: ignore[arg-type]

    # On a CPU `autocast` does nothing; here it stands for that of a GPU.
    monkeypatch.setattr(bilevel, "autocast", lambda _device: torch.autocast("cpu", dtype=torch.bfloat16))
    for name in ("darts", "darts_second_order"):
        monkeypatch.setattr(bilevel, "losses", partial(spied, name))
        STRATEGIES[name](tiny_problem(training=replace(TRAINING, epochs=1)))
    assert True in reduced["darts"]
    assert reduced["darts_second_order"] == {False}
