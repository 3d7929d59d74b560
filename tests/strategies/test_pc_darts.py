"""PC-DARTS: which channels the mixture has, what is carried past it, and edge shares times operation shares."""

from __future__ import annotations

import math

import pytest
import torch

from nas.network.fusion_network import PartialChannels
from nas.network.prediction import losses
from nas.seeding import seeded
from nas.space.architecture import Choice
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from nas.strategies.pc_darts import choice_weights, mixture, sampled_channels, select
from nas.supernet.relaxation import edge_normalised, partial_channels
from nas.supernet.supernet import Supernet
from search_spaces import OPERATIONS
from tests.helpers import run_node, tiny_data, tiny_network
from tests.strategies.problems import tiny_problem, tiny_supernet

_NODE = FusionNode(
    "n",
    (
        Choice("none"),
        Choice("carry", ("a@0",)),
        Choice("carry", ("b@0",)),
        Choice("additive", ("a@0", "b@0")),
        Choice("mlp", ("b@0", "a@0")),
    ),
)
_SPACE = SearchSpace("by_hand", {"a": 1, "b": 1}, (_NODE,), OPERATIONS)


def _logs(shares: list[float]) -> torch.Tensor:
    return torch.tensor(shares, dtype=torch.float64).log()


def test_an_edge_is_a_set_of_inputs() -> None:
    assert list(_NODE.edges().items()) == [
        (frozenset(), [0]),
        (frozenset({"a@0"}), [1]),
        (frozenset({"b@0"}), [2]),
        (frozenset({"a@0", "b@0"}), [3, 4]),
    ]
    assert _NODE.idle == [0]


def test_a_choice_weighs_its_edges_share_times_its_own_in_value_and_gradient() -> None:
    """By hand: edges share 0.1, 0.2, 0.3 and 0.4, and the last one's two operations share it 1 : 3.

    With w = e · o, the gradient of Σ v w in the edge logits is e (V − Σ e V), V = Σ o v within the edge, and in the
    operation logits w (v − V).
    """
    alpha = (_logs([0.7, 0.2, 0.9, 0.25, 0.75]) + 0.3).requires_grad_()
    beta = (_logs([0.1, 0.2, 0.3, 0.4]) - 0.6).requires_grad_()
    (weights,) = edge_normalised(_SPACE, {"n": alpha}, {"n": beta}).values()
    assert weights.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.1, 0.3])

    upstream = torch.tensor([1.0, -2.0, 0.5, 4.0, 2.0], dtype=torch.float64)
    of_alpha, of_beta = torch.autograd.grad(weights @ upstream, [alpha, beta])
    inner = [1.0, -2.0, 0.5, 0.25 * 4 + 0.75 * 2]
    mean = 0.1 * 1 - 0.2 * 2 + 0.3 * 0.5 + 0.4 * 2.5
    expected = [e * (v - mean) for e, v in zip([0.1, 0.2, 0.3, 0.4], inner, strict=True)]
    assert of_beta.tolist() == pytest.approx(expected)
    assert of_alpha.tolist() == pytest.approx([0, 0, 0, 0.1 * (4 - 2.5), 0.3 * (2 - 2.5)], abs=1e-15)


def test_the_bypass_in_value_and_gradient() -> None:
    """By hand, with mixing weights on carrying alone: the first channel mixes, the second carries, the third half each.

    0.5 · 1 + 0.3 · 10, then 0.7 · 2 + 0.2 · 20, then (0.5 · 3 + 0.3 · 30 + 0.7 · 3 + 0.2 · 30) / 2.
    """
    network = tiny_network(_SPACE, tiny_data({"a": "vector", "b": "vector"})).double()
    values = {
        "a@0": torch.tensor([[[1.0, 2.0, 3.0, 0.0]]], dtype=torch.float64),
        "b@0": torch.tensor([[[10.0, 20.0, 30.0, 0.0]]], dtype=torch.float64),
    }
    weights = torch.tensor([0.2, 0.5, 0.3, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    past_a, past_b = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.7, 0.2))
    share = torch.tensor([1.0, 0.0, 0.5, 0.0], dtype=torch.float64)
    partial = PartialChannels(weights, {"a@0": past_a, "b@0": past_b}, share)
    output = run_node(network, _NODE, values, partial)
    assert output is not None
    assert output.flatten().tolist() == pytest.approx([3.5, 5.4, 9.3, 0])
    of_weights, of_a, of_b = torch.autograd.grad(output.sum(), [weights, past_a, past_b])
    assert of_weights[:3].tolist() == pytest.approx([0, 1 + 1.5, 10 + 15])
    assert (float(of_a), float(of_b)) == pytest.approx((2 + 1.5, 20 + 15))


def test_all_channels_are_the_plain_mixture_and_what_is_not_read_is_not_carried() -> None:
    network = tiny_network(_SPACE, tiny_data({"a": "vector", "b": "sequence"}))
    with seeded(0):
        values = {"a@0": torch.randn(3, 1, 4), "b@0": torch.randn(3, 5, 4)}
    weights = torch.tensor([0.2, 0.1, 0.3, 0.1, 0.3])
    carried = {"a@0": torch.tensor(0.7), "b@0": torch.tensor(0.2)}
    whole = run_node(network, _NODE, values, PartialChannels(weights, carried, torch.ones(4)))
    mixed = run_node(network, _NODE, values, weights)
    assert whole is not None
    assert mixed is not None
    torch.testing.assert_close(whole.mean(dim=1), mixed.mean(dim=1))
    nothing = dict.fromkeys(values)
    assert run_node(network, _NODE, nothing, PartialChannels(weights, carried, torch.full((4,), 0.5))) is None


def test_an_input_is_carried_by_every_edge_that_reads_it() -> None:
    weights = {"n": torch.full((5,), 0.2)}
    share = torch.zeros(4)
    found = partial_channels(_SPACE, weights, {"n": _logs([0.1, 0.2, 0.3, 0.4])}, share)["n"]
    assert {name: float(value) for name, value in found.carried.items()} == pytest.approx({"a@0": 0.6, "b@0": 0.7})
    assert found.weights is weights["n"]
    assert found.share is share


def test_a_quarter_of_the_channels_is_drawn_each_as_often_as_any() -> None:
    generator, count = torch.Generator().manual_seed(0), 2000
    drawn = torch.stack([sampled_channels(8, generator) for _ in range(count)])
    assert set(drawn.flatten().tolist()) == {0, 1}
    assert (drawn.sum(dim=1) == 2).all()
    # Four standard errors of a share of one quarter.
    assert (drawn.mean(dim=0) - 0.25).abs().max() < 4 * math.sqrt(0.25 * 0.75 / count)
    assert sampled_channels(3, generator).sum() == 1  # fewer than four channels: one at least


def _supernet() -> Supernet:
    plain = tiny_supernet()
    with seeded(3):
        return Supernet(plain.network, init_deviation=0.5, edges=True)


def test_what_judges_the_supernet_is_the_mean_of_the_draws() -> None:
    supernet = _supernet()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        judged = mixture(supernet)
        for name, drawn in select(supernet, generator, 0.5).items():
            assert torch.equal(judged[name].share, torch.full((8,), 0.25))
            assert float(drawn.share.mean()) == 0.25
            assert torch.equal(judged[name].weights, drawn.weights)
            assert torch.equal(choice_weights(supernet)[name], drawn.weights)
            assert float(drawn.weights.sum()) == pytest.approx(1)


def test_every_architecture_parameter_learns_and_all_of_them_are_partitioned_from_the_weights() -> None:
    supernet, batch = _supernet(), tiny_problem().architecture
    assert len(supernet.architecture_parameters()) == 4
    own = {id(parameter) for parameter in supernet.architecture_parameters()}
    weights = {id(parameter) for parameter in supernet.weights()}
    assert not own & weights
    assert own | weights == {id(parameter) for parameter in supernet.parameters()}
    loss = losses(
        "classification", supernet.network, batch, select(supernet, torch.Generator().manual_seed(0), 0.5)
    ).mean()
    # A choice that has its edge to itself shares it with no other, so that its own logit has nothing to say.
    alone = torch.tensor([True, True, True, False, False])
    parameters = [*supernet.arch_logits.values(), *supernet.edge_logits.values()]
    first, second, *edges = torch.autograd.grad(loss, parameters)
    for gradient in (first, second):
        assert gradient.isfinite().all()
        assert (gradient[~alone] != 0).all()
        assert (gradient[alone].abs() < 1e-9).all()
    for gradient in edges:
        assert gradient.isfinite().all()
        assert (gradient != 0).all()
