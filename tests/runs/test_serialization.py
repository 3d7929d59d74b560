"""States as bytes: everything comes back as it was, bit by bit and type by type, and garbage is one error."""

from __future__ import annotations

import json
import math
import random
from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from nas.errors import UserError
from nas.runs.serialization import pack, unpack

DTYPES = (
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Of every type and of none to three axes, empty ones among them, contiguous or not."""
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    made = torch.randint(0, 250, shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    made = made.to(draw(st.sampled_from(DTYPES)))
    return made.transpose(0, -1) if made.dim() > 1 and draw(st.booleans()) else made


KEYS = st.one_of(st.text(max_size=5), st.integers(), st.booleans(), st.none(), st.tuples(st.integers(), st.text()))
TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), tensors()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=10,
)


def same(one: Any, other: Any) -> bool:
    """Whether two trees are equal, types, signs of zero and NaN included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        alike = one.dtype == other.dtype and one.shape == other.shape
        return bool(alike and torch.equal(one.flatten().view(torch.uint8), other.flatten().view(torch.uint8)))
    if isinstance(one, dict):
        pairs = zip(one.items(), other.items(), strict=False)
        return len(one) == len(other) and all(same(a, b) for a, b in pairs)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, float):
        return bool(one.hex() == other.hex())
    return bool(one == other)


@given(TREES)
def test_every_tree_comes_back_as_it_was(tree: Any) -> None:
    assert same(unpack(pack(tree)), tree)


def test_the_states_of_generators_come_back() -> None:
    torchs, pythons = torch.Generator().manual_seed(3), random.Random(3)
    torchs_state, pythons_state = unpack(pack([torchs.get_state(), pythons.getstate()]))
    wanted = torch.rand(5, generator=torchs).tolist(), pythons.random()
    other, another = torch.Generator(), random.Random()
    other.set_state(torchs_state)
    another.setstate(pythons_state)
    assert (torch.rand(5, generator=other).tolist(), another.random()) == wanted


def test_an_optimizer_goes_on_as_if_nothing_had_been() -> None:
    def made() -> list[Any]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layer = torch.nn.Linear(3, 2)
        optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
        return [layer, optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9)]

    def steps(layer: Any, optimizer: Any, scheduler: Any) -> None:
        for _ in range(3):
            layer(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()

    one, other = made(), made()
    steps(*one)
    for part, state in zip(other, unpack(pack([part.state_dict() for part in one])), strict=True):
        part.load_state_dict(state)
    steps(*one)
    steps(*other)
    assert torch.equal(one[0].weight, other[0].weight)
    assert one[2].get_last_lr() == other[2].get_last_lr()


def test_what_is_packed_no_longer_changes() -> None:
    weight = torch.zeros(2)
    tied = pack({"one": weight, "other": weight})  # safetensors alone refuses memory that is shared
    weight += 1
    assert unpack(tied)["one"].tolist() == [0, 0]


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(TypeError, match="set cannot be packed"):
        pack({"a": {1, 2}})


def skeleton(tree: Any) -> bytes:
    return save({"000000": torch.zeros(1)}, metadata={"tree": json.dumps(tree)})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"\xff" * 64,
        save({"a": torch.zeros(1)}),
        save({}, metadata={"tree": "["}),
        save({}, metadata={"tree": "[" * 100_000}),
        skeleton([]),
        skeleton({}),
        skeleton(["set", 1]),
        skeleton([1, 2]),
        skeleton(["tensor"]),
        skeleton(["tensor", "000001"]),
        skeleton(["tensor", ["list"]]),
        skeleton(["dict", 1]),
        skeleton(["dict", [["list"], 1]]),
        skeleton(["dict", [1, 2, 3]]),
    ],
)
def test_garbage_is_one_error(content: bytes) -> None:
    with pytest.raises(UserError, match="it is no packed state") as caught:
        unpack(content)
    assert "\n" not in str(caught.value)


@given(st.data())
def test_a_file_that_is_cut_off_or_changed_anywhere_is_one_error_or_another_tree(data: st.DataObject) -> None:
    whole = bytearray(pack({"a": torch.arange(3), 1: [1.5, math.inf, (None, "x")]}))
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(UserError):  # and no other error
        unpack(bytes(whole))
