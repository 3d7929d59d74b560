"""A user's own network, tapped by the names of its submodules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nas.encoders import ModuleEncoder
from nas.errors import UserError


class Branches(nn.Module):
    """A vector, a sequence and a map on the way, something that is no tensor, and a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.vector = nn.Linear(4, 3)
        self.sequence = nn.Unflatten(1, (2, 2))
        self.map = nn.Unflatten(1, (1, 2, 2))
        self.deep = nn.Sequential(nn.Identity(), nn.Identity())
        self.recurrent = nn.GRU(4, 3, batch_first=True)
        self.flat = nn.Flatten(0)
        self.never = nn.Linear(1, 1)

    def forward(self, values: Tensor) -> Tensor:
        self.sequence(values)
        self.map(values)
        self.recurrent(values[:, None])
        self.flat(values)
        vector: Tensor = self.vector(self.deep(values))
        return vector


EXAMPLE = torch.arange(8.0).view(2, 4)


def test_outputs_of_named_submodules_become_taps() -> None:
    module = Branches()
    encoder = ModuleEncoder(module, ["map", "sequence", "deep.1", "vector"], EXAMPLE)
    assert encoder.channels == (4, 2, 4, 3)
    as_map, as_sequence, deep, vector = encoder([EXAMPLE])
    # The map of two rows and two columns is one mean a cell; the sequence is two steps of two channels.
    assert as_map.tolist() == EXAMPLE[:, None].tolist() == deep.tolist()
    assert as_sequence.tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    assert torch.equal(vector[:, 0], module.vector(EXAMPLE))


@pytest.mark.parametrize(
    ("taps", "message"),
    [
        (["vectr"], "unknown submodule 'vectr'; did you mean 'vector'"),
        (["vector", "never"], "submodule 'never' was not run"),
        (["recurrent"], "submodule 'recurrent' must return one tensor of 2, 3 or 4 axes"),
        (["flat"], "submodule 'flat' must return one tensor of 2, 3 or 4 axes"),
    ],
)
def test_a_submodule_that_cannot_be_tapped_is_named(taps: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ModuleEncoder(Branches(), taps, EXAMPLE)


def test_learning_the_channels_leaves_the_module_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    ModuleEncoder(module, ["1"], EXAMPLE)
    assert module.training
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_the_module_trains_as_a_part_of_the_encoder() -> None:
    module = Branches()
    encoder = ModuleEncoder(module, ["vector"], EXAMPLE)
    encoder([EXAMPLE])[0].sum().backward()
    assert {id(parameter) for parameter in encoder.parameters()} == {id(parameter) for parameter in module.parameters()}
    assert module.vector.weight.grad is not None


def test_two_encoders_may_tap_one_module() -> None:
    module = Branches()
    first, second = ModuleEncoder(module, ["vector"], EXAMPLE), ModuleEncoder(module, ["deep.0", "vector"], EXAMPLE)
    assert torch.equal(first([EXAMPLE])[0], second([EXAMPLE])[1])


def test_token_ids_stay_whole_numbers() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(400, 3).bfloat16()  # in which 257 would be 256

        def forward(self, tokens: Tensor) -> Tensor:
            embedded: Tensor = self.embedding(tokens)
            return embedded

    module = Words()
    tokens = torch.tensor([[257, 1]], dtype=torch.int16)
    (tap,) = ModuleEncoder(module, ["embedding"], tokens, tokens=True)([tokens])
    assert torch.equal(tap[0], module.embedding.weight[[257, 1]])
