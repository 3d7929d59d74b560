"""Relaxations against closed forms, and draws against the distribution that they are of."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nas.space.architecture import Choice
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from nas.supernet.relaxation import entropy, fair_paths, gumbel, softmax
from search_spaces import OPERATIONS, layerwise

_logits = st.lists(st.floats(-30, 30), min_size=1, max_size=6)
_temperature = st.floats(0.05, 20)


def _at(shares: list[float]) -> Tensor:
    """Logits whose softmax is these shares; the constant added to them all must not matter."""
    return torch.tensor(shares, dtype=torch.float64).log() + 0.7


@given(_logits, _temperature)
def test_mixing_weights_are_positive_and_sum_to_one(logits: list[float], temperature: float) -> None:
    (weights,) = softmax({"n": torch.tensor(logits, dtype=torch.float64)}, temperature=temperature).values()
    assert (weights >= 0).all()
    assert float(weights.sum()) == pytest.approx(1, abs=1e-14)  # a few roundings of numbers below 1 in float64


@given(_logits, _temperature, st.integers(0, 10**6))
def test_a_gumbel_draw_is_exactly_one_hot(logits: list[float], temperature: float, seed: int) -> None:
    arch_logits = {"n": torch.tensor(logits, dtype=torch.float32, requires_grad=True)}
    drawn = gumbel(arch_logits, temperature=temperature, generator=torch.Generator().manual_seed(seed))["n"]
    one_hot = torch.zeros(len(logits))
    one_hot[drawn.index] = 1
    assert torch.equal(drawn.weights, one_hot)


def test_softmax_has_the_values_of_the_paper_at_temperature_one() -> None:
    (weights,) = softmax({"n": _at([0.5, 0.3, 0.2])}).values()
    torch.testing.assert_close(weights, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))


def test_temperature_takes_softmax_from_one_hot_to_uniform() -> None:
    logits = {"n": _at([0.5, 0.3, 0.2])}
    # At 0.01 the second weight is (0.3 / 0.5)^100 = 7e-23 of the first; at 1e6 log-ratios below 1 shrink to 1e-6.
    assert softmax(logits, temperature=0.01)["n"].tolist() == pytest.approx([1, 0, 0], abs=1e-20)
    assert softmax(logits, temperature=1e6)["n"].tolist() == pytest.approx([1 / 3] * 3, abs=1e-6)


def test_nodes_are_relaxed_each_by_itself() -> None:
    both = softmax({"few": _at([0.25, 0.75]), "many": _at([0.1, 0.2, 0.7])})
    assert both["few"].tolist() == pytest.approx([0.25, 0.75])
    assert both["many"].tolist() == pytest.approx([0.1, 0.2, 0.7])


@pytest.mark.parametrize("temperature", [0.0, -0.5, math.nan])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    logits = {"n": torch.zeros(2)}
    with pytest.raises(ValueError, match=r"temperature must be positive, got .*; 1\.0 is"):
        softmax(logits, temperature=temperature)
    with pytest.raises(ValueError, match="temperature must be positive"):
        gumbel(logits, temperature=temperature, generator=torch.Generator())


@pytest.mark.parametrize("temperature", [10.0, 1.0, 0.5])
def test_the_straight_through_gradient_is_that_of_the_softmax(temperature: float) -> None:
    """Worked by hand: for the loss v · h the gradient is pᵢ (vᵢ − v · p) / temperature.

    p is the softmax of (log_softmax(logits) + noise) / temperature; that log_softmax comes between changes nothing,
    since the gradients that reach it sum to zero. The noise is drawn here from a generator of the same seed.
    """
    shares, upstream = [0.5, 0.25, 0.25], [2.0, -1.0, 0.5]
    for seed in range(20):
        uniform = torch.rand(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
        heights = [
            (math.log(share) - math.log(-math.log(u))) / temperature for share, u in zip(shares, uniform, strict=True)
        ]
        p = [math.exp(height) / sum(map(math.exp, heights)) for height in heights]
        mean = sum(v * q for v, q in zip(upstream, p, strict=True))
        expected = [q * (v - mean) / temperature for v, q in zip(upstream, p, strict=True)]

        logits = _at(shares).requires_grad_()
        drawn = gumbel({"n": logits}, temperature=temperature, generator=torch.Generator().manual_seed(seed))["n"]
        loss = (drawn.weights * torch.tensor(upstream, dtype=torch.float64)).sum()
        loss.backward()
        assert drawn.index == p.index(max(p))
        assert float(loss.detach()) == upstream[drawn.index]
        assert logits.grad is not None
        assert logits.grad.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)  # float64 on either side


def test_gumbel_draws_as_often_as_the_softmax_says() -> None:
    shares, num_draws = [0.5, 0.3, 0.15, 0.05], 8000
    generator = torch.Generator().manual_seed(0)
    logits = {"n": _at(shares)}
    # The temperature does not change which of the perturbed logits is the largest.
    counts = Counter(gumbel(logits, temperature=5.0, generator=generator)["n"].index for _ in range(num_draws))
    for index, share in enumerate(shares):
        # Four standard errors of a binomial share: a right sampler misses one of four with probability 3e-4.
        assert counts[index] / num_draws == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / num_draws))


def test_every_node_has_a_draw_of_its_own() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = {"one": torch.zeros(2), "other": torch.zeros(2)}
    drawn = [gumbel(logits, temperature=1.0, generator=generator) for _ in range(64)]
    assert {(one["one"].index, one["other"].index) for one in drawn} == {(0, 0), (0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize("edge", [0.0, 1.0])
def test_no_draw_is_infinite(edge: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def rand(shape: torch.Size, **options: object) -> Tensor:
        return torch.tensor([edge, 0.5], dtype=torch.float64)

    monkeypatch.setattr(torch, "rand", rand)
    logits = torch.zeros(2, requires_grad=True)
    drawn = gumbel({"n": logits}, temperature=0.1, generator=torch.Generator())["n"]
    drawn.weights[0].backward()
    assert drawn.index == (0 if edge == 1 else 1)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


_CHOICES = (
    Choice("none"),
    Choice("carry", ("a@0",)),
    Choice("carry", ("b@0",)),
    Choice("additive", ("a@0", "b@0")),
    Choice("mlp", ("a@0", "b@0")),
)


def _space(*choices: tuple[Choice, ...]) -> SearchSpace:
    nodes = tuple(FusionNode(f"fusion{index}", some) for index, some in enumerate(choices))
    return SearchSpace("by_hand", {"a": 1, "b": 1}, nodes, OPERATIONS)


@pytest.mark.parametrize("nothing_rate", [0.5, 0.2])
def test_every_order_has_a_path_whose_bearer_is_of_exactly_that_order(nothing_rate: float) -> None:
    num_draws, generator = 8000, random.Random(0)
    space = _space(_CHOICES, _CHOICES)
    drawn = [fair_paths(space, generator, nothing_rate=nothing_rate) for _ in range(num_draws)]
    assert {len(paths) for paths in drawn} == {2}
    # Of order 1: bearing or active, a node carries or adds with even chances, and carries either of two.
    active = 0.5 + 0.5 * (1 - nothing_rate)
    simple = [1 - active, active / 4, active / 4, active / 2, 0]
    # Of order 3: half of the time the node bears the mlp, else one of three operations, if any.
    rest = 0.5 * (1 - nothing_rate) / 3
    complex_ = [0.5 * nothing_rate, rest / 2, rest / 2, rest, 0.5 + rest]
    for number, shares in enumerate((simple, complex_)):
        counts = Counter(paths[number]["fusion0"] for paths in drawn)
        for index, share in enumerate(shares):
            # Four standard errors of a binomial share, as above.
            within = 4 * math.sqrt(share * (1 - share) / num_draws)
            assert counts[index] / num_draws == pytest.approx(share, abs=within)


def test_paths_are_of_every_order_of_a_space() -> None:
    space = layerwise({"a": 3, "b": 3})
    generator = random.Random(0)
    for _ in range(200):
        paths = fair_paths(space, generator)
        assert [max(1, space.interaction_order(space.at(tuple(path.values())))) for path in paths] == [1, 2, 3]


def test_the_rate_of_nothing_reaches_from_never_to_all_but_the_bearer() -> None:
    generator = random.Random(0)
    space = _space(_CHOICES, _CHOICES)
    for _ in range(200):
        assert all(0 not in path.values() for path in fair_paths(space, generator, nothing_rate=0))
        assert all(list(path.values()).count(0) == 1 for path in fair_paths(space, generator, nothing_rate=1))


def test_a_node_without_the_choice_draws_what_it_has() -> None:
    space = _space(_CHOICES[:1], _CHOICES[3:], _CHOICES[4:])
    drawn = [fair_paths(space, random.Random(seed), nothing_rate=1) for seed in range(50)]
    assert {one["fusion0"] for paths in drawn for one in paths} == {0}
    # The last node has nothing but the mlp, within order 1 too.
    assert [{paths[order]["fusion1"] for paths in drawn} for order in (0, 1)] == [{0}, {0, 1}]
    assert {one["fusion2"] for paths in drawn for one in paths} == {0}


def test_where_nothing_can_be_read_the_path_does_nothing() -> None:
    assert fair_paths(_space(_CHOICES[:1]), random.Random(0)) == [{"fusion0": 0}]


def test_entropy_in_nats() -> None:
    weights = torch.tensor(
        [[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0], [0.5, 0.25, 0.25, 0.0]], dtype=torch.float64
    )
    # log 4; nothing; half of log 2 and two quarters of log 4, which is 3/2 log 2.
    assert entropy(weights).tolist() == pytest.approx([math.log(4), 0, 1.5 * math.log(2)])
