"""The supernet: weights and architecture parameters are all of it, and every choice hears from the loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nas.data.fusion_data import FusionData
from nas.network.fusion_network import Selection
from nas.seeding import seeded
from nas.supernet.relaxation import gumbel, softmax
from nas.supernet.supernet import Supernet
from search_spaces import layerwise
from tests.helpers import assert_finite_and_nonzero, assert_learns, tiny_batch, tiny_data, tiny_network

SPACE = layerwise({"image": 2, "audio": 2})


@pytest.fixture
def data() -> FusionData:
    return tiny_data({"image": "vector", "audio": "sequence"})


def make(data: FusionData, *, init_deviation: float = 1e-3) -> Supernet:
    network = tiny_network(SPACE, data)
    with seeded(0):
        return Supernet(network, init_deviation=init_deviation).double()


def loss(supernet: Supernet, data: FusionData, selection: Selection) -> torch.Tensor:
    batch = tiny_batch(data)
    return F.cross_entropy(supernet.network(batch.inputs, batch.present, selection), batch.targets)


def test_weights_and_architecture_parameters_partition_the_parameters(data: FusionData) -> None:
    supernet = make(data)
    weights = {id(parameter) for parameter in supernet.weights()}
    logits = {id(parameter) for parameter in supernet.arch_logits.parameters()}
    assert not weights & logits
    assert weights | logits == {id(parameter) for parameter in supernet.parameters()}
    assert logits == {id(parameter) for parameter in supernet.logits().values()}


def test_edges_have_logits_of_their_own_when_asked_for(data: FusionData) -> None:
    assert not make(data).edge_logits
    plain = make(data)
    with seeded(0):
        supernet = Supernet(tiny_network(SPACE, data), edges=True).double()
    assert {name: len(values) for name, values in supernet.edge_logits.items()} == {
        node.name: len({frozenset(choice.inputs) for choice in node.choices}) for node in SPACE.nodes
    }
    for name, logits in plain.logits().items():  # drawn before, so that they are the same with and without
        assert torch.equal(supernet.logits()[name], logits)
    own = {id(parameter) for parameter in supernet.architecture_parameters()}
    weights = {id(parameter) for parameter in supernet.weights()}
    assert not own & weights
    assert own | weights == {id(parameter) for parameter in supernet.parameters()}


def test_both_are_in_the_state_and_come_back_from_it(data: FusionData) -> None:
    supernet, other = make(data), make(data, init_deviation=1.0)
    state = supernet.state_dict()
    assert {f"arch_logits.{node.name}" for node in SPACE.nodes} < set(state)
    assert {f"network.{name}" for name in supernet.network.state_dict()} < set(state)
    other.load_state_dict(state)
    for node, logits in supernet.logits().items():
        assert torch.equal(other.logits()[node], logits)


def test_there_is_one_logit_per_choice_near_zero(data: FusionData) -> None:
    logits = make(data).logits()
    assert {name: len(values) for name, values in logits.items()} == {n.name: len(n.choices) for n in SPACE.nodes}
    spread = torch.cat(list(logits.values()))
    assert 0 < spread.abs().max() < 5e-3  # five of its deviations
    wide = torch.cat(list(make(data, init_deviation=1.0).logits().values()))
    torch.testing.assert_close(wide, spread * 1e3, rtol=1e-6, atol=0)  # drawn in float32


def test_every_part_and_every_architecture_parameter_learns_under_softmax(data: FusionData) -> None:
    supernet = make(data)
    loss(supernet, data, softmax(supernet.logits())).backward()
    for part in (supernet.network.encoders, supernet.network.adapters, supernet.network.head):
        assert_learns(part)
    for node in SPACE.nodes:
        for choice in node.choices:
            parameters = list(supernet.network.operation(node.name, choice.key).parameters()) if choice.inputs else []
            # That all parameters of an operation learn is in its contract; here a hard gate may be shut throughout.
            assert not parameters or any(_grad(parameter).abs().max() > 1e-10 for parameter in parameters)
    assert_finite_and_nonzero(
        (f"{name}[{i}]", slope)
        for name, logits in supernet.arch_logits.items()
        for i, slope in enumerate(_grad(logits))
    )


@pytest.mark.parametrize("seed", range(8))
def test_every_architecture_parameter_learns_under_gumbel(data: FusionData, seed: int) -> None:
    supernet = make(data)
    # Warm enough that no choice is all but impossible, whose gradient would be there, yet as small as its probability.
    selection = gumbel(supernet.logits(), temperature=5.0, generator=torch.Generator().manual_seed(seed))
    loss(supernet, data, selection).backward()
    assert_finite_and_nonzero(
        (f"{name}[{i}]", slope)
        for name, logits in supernet.arch_logits.items()
        for i, slope in enumerate(_grad(logits))
    )
    # Only what runs learns of the weights.
    for node in SPACE.nodes:
        for index, choice in enumerate(node.choices):
            if choice.inputs:
                reached = [p.grad is not None for p in supernet.network.operation(node.name, choice.key).parameters()]
                assert all(reached) if index == selection[node.name].index else not any(reached)


def _grad(parameter: torch.Tensor) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


def test_the_architecture_gradient_under_softmax_is_the_closed_form(data: FusionData) -> None:
    """dL/dlogit_j = p_j (s_j − Σ_i p_i s_i) with s_i = dL/dp_i = <dL/dy, o_i(x)>, the sum over batch and channels."""
    supernet = make(data, init_deviation=1.0)
    weights = softmax(supernet.logits())
    for weight in weights.values():
        weight.retain_grad()
    loss(supernet, data, weights).backward()
    for name, logits in supernet.arch_logits.items():
        p, s = weights[name].detach(), _grad(weights[name])
        torch.testing.assert_close(_grad(logits), p * (s - (p * s).sum()), rtol=0, atol=1e-14)

    # s of the last node, from its operations and the head alone: the gradient of cross-entropy is softmax − one-hot.
    batch, network, node = tiny_batch(data), supernet.network, SPACE.nodes[1]
    with torch.no_grad():
        outputs = network(batch.inputs, None, softmax(supernet.logits()))
        slope = (outputs.softmax(dim=1) - F.one_hot(batch.targets, 3)) / len(batch)
        taps = network.taps(batch.inputs, node.sources)
        for index, choice in enumerate(node.choices):
            expected = 0.0
            if choice.inputs:
                output = network.operation(node.name, choice.key)([taps[source] for source in choice.inputs])
                expected = float((slope * (output.mean(dim=1) @ network.head.linear.weight.T)).sum())
            assert float(_grad(weights["fusion1"])[index]) == pytest.approx(expected, abs=1e-12)


def test_a_gumbel_draw_computes_what_its_index_computes(data: FusionData) -> None:
    supernet, batch = make(data), tiny_batch(data)
    for seed in range(10):
        drawn = gumbel(supernet.logits(), temperature=0.1, generator=torch.Generator().manual_seed(seed))
        indices = {name: choice.index for name, choice in drawn.items()}
        torch.testing.assert_close(
            supernet.network(batch.inputs, None, drawn),
            supernet.network(batch.inputs, None, indices),
            rtol=0,
            atol=1e-12,  # means over time in another order where a node does nothing
        )
