"""What operations tell of their attention is what their forward pass does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from nas.space.operation import Operation
from search_spaces.operations import OPERATIONS
from search_spaces.operations.attention import Attention
from tests.contracts import make
from tests.helpers import random_taps

CHANNELS = 4
ATTENDING = [name for name, one in OPERATIONS.items() if one.attention_weights is not Operation.attention_weights]


def attending(name: str, times: Sequence[int]) -> tuple[Operation, list[Tensor]]:
    operation = OPERATIONS[name]
    count = operation.max_inputs or len(times)
    return make(operation, count).eval(), random_taps(times[:count], CHANNELS)


def test_every_operation_with_attention_tells_of_it() -> None:
    with_some = {
        name
        for name, one in OPERATIONS.items()
        if any(isinstance(m, Attention) for m in make(one, one.min_inputs).modules())
    }
    assert set(ATTENDING) == with_some | {"dot_attention"}


@pytest.mark.parametrize("name", ATTENDING)
def test_weights_are_of_the_inputs_and_sum_to_one(name: str) -> None:
    operation, taps = attending(name, (5, 1, 7))
    told = operation.attention_weights(taps)
    assert told
    for one in told:
        torch.testing.assert_close(one.weights.sum(dim=2), torch.ones(one.weights.shape[:2], dtype=torch.float64))
        assert (one.weights >= 0).all()
        for numbers, count in ((one.asking, one.weights.shape[1]), (one.asked, one.weights.shape[2])):
            learned = count - sum(taps[number].shape[1] for number in numbers)
            assert 0 <= learned <= 4
            assert bool(learned) <= bool(one.learned)


@pytest.mark.parametrize("name", [name for name in ATTENDING if name != "dot_attention"])
def test_they_are_those_of_the_forward_pass(name: str) -> None:
    operation, taps = attending(name, (5, 1, 7))
    seen: list[Tensor] = []

    def note(attention: nn.Module, given: tuple[Tensor, Tensor]) -> None:
        assert isinstance(attention, Attention)
        seen.append(attention.weights(*given))

    for module in operation.modules():
        if isinstance(module, Attention):
            module.register_forward_pre_hook(note)
    with torch.no_grad():
        operation(taps)
        told = operation.attention_weights(taps)
    for one in told:
        assert any(one.weights.shape == other.shape and torch.equal(one.weights, other) for other in seen)


@pytest.mark.parametrize("channels", [3, 4])
def test_what_is_read_is_the_values_by_the_weights(channels: int) -> None:
    """With one head of three channels; of four heads with one value for all channels, whose weights are averaged."""
    attention = Attention(channels).double().eval()
    if channels == 4:
        with torch.no_grad():
            attention.value.weight.copy_(attention.value.weight[:1].expand(4, -1))
            attention.value.bias.fill_(0.5)
    asking, asked = random_taps((2, 6), channels)
    read = attention(asking, asked)
    expected = attention.weights(asking, asked) @ attention.value(asked)
    if channels == 4:
        read, expected = read.mean(dim=2), expected[..., 0]
    torch.testing.assert_close(read, expected)


def test_attention_without_projections_reads_by_its_weights() -> None:
    operation, (one, other) = attending("dot_attention", (5, 3))
    (told,) = operation.attention_weights([one, other])
    assert list(told.asked) == [1, 0]
    read = told.weights @ torch.cat([other, one], dim=1)
    torch.testing.assert_close(nn.functional.layer_norm(read, (CHANNELS,)), operation([one, other]))
