"""What attends to what: the region that a vector names, tokens of every kind, bounded size, and samples by a rule."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nas import FusionData
from nas.config import TrainingConfig
from nas.data.batches import split_batch
from nas.data.fusion_data import Kind
from nas.data.tables.text import TextRecipe
from nas.diagnostics import attention
from nas.diagnostics.attention import _pooled, chosen_samples, picture
from nas.encoders import build_encoders
from nas.network.fusion_network import FusionNetwork
from nas.network.prediction import predict
from nas.records import from_plain, plain
from nas.routing.network import DerivedNetwork
from nas.seeding import seeded
from nas.space.architecture import Architecture, Choice
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from nas.summary import Attention, AttentionTokens
from nas.summary.attention import MAX_SIDE, MAX_TOKENS
from nas.training.build import build_network
from search_spaces import layerwise
from search_spaces.operations import OPERATIONS
from tests.helpers import CPU, TINY, tiny_data, tiny_routed
from tests.summaries import known

REGIONS = replace(TINY, regions=True)


def network_of(data: FusionData, choice: Choice, training: TrainingConfig = REGIONS) -> FusionNetwork:
    """A fresh network with this choice alone."""
    depths = {name: one.num_taps for name, one in build_encoders(data, regions=training.regions).items()}
    space = SearchSpace("one", depths, (FusionNode("fusion0", (choice,)),), OPERATIONS)
    with seeded(0):
        return build_network(space.only(Architecture.chain("one", [("fusion0", choice)])), data, training).eval()


def told_of(network: DerivedNetwork, data: FusionData) -> Attention | None:
    outputs = np.random.default_rng(0).normal(size=(len(data.splits["test"]), data.num_outputs))
    return attention(network, data, outputs, CPU)


def sources(tokens: Sequence[AttentionTokens]) -> list[tuple[str, int]]:
    return [(one.source, one.count) for one in tokens]


KINDS: Mapping[str, Kind] = {"picture": "map", "words": "tokens", "wave": "sequence", "numbers": "vector"}


def test_it_peaks_at_the_region_that_another_modality_names() -> None:
    """A number lies at each of sixteen places; the answer is the one at the place that a vector names."""
    generator = np.random.default_rng(0)
    maps = generator.normal(size=(3000, 1, 4, 4)).astype(np.float32)
    named = generator.integers(0, 16, 3000)
    target = maps.reshape(3000, 16)[np.arange(3000), named]
    data = FusionData.from_arrays(
        {"map": maps, "place": np.eye(16, dtype=np.float32)[named]}, target, task="regression", kinds={"map": "map"}
    )
    training = TrainingConfig(channels=32, dropout_rate=0.0, regions=True)
    network = network_of(data, Choice("cross_attention", ("map@0", "place@0")), training)
    batch = split_batch(data, "weights", CPU)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    with seeded(0):
        for _ in range(150):
            part = batch.take(torch.randint(len(batch), (256,)))
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(network(part.inputs), part.targets).backward()
            optimizer.step()
    outputs, _ = predict(network, split_batch(data, "test", CPU), CPU)
    told = known(attention(network, data, outputs.numpy(), CPU))
    asked_by_place = next(one for one in told.maps if one.asking[0].source == "place@0")
    assert sources(asked_by_place.asked) == [("map@0", 16), ("", 1)]
    assert asked_by_place.asked[0].grid == (4, 4)
    assert [one.sample for one in told.samples] == [0, 1, 2, 3]
    for place, (row,) in zip(named[data.splits["test"]], asked_by_place.weights, strict=False):
        assert int(np.argmax(row)) == place
        assert row[place] > 0.5


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (
            Choice("cross_attention", ("picture@0", "words@0", "numbers@0")),
            [
                ([("picture@0", 16)], [("words@0", 6), ("numbers@0", 1), ("", 1)]),
                ([("words@0", 6)], [("picture@0", 16), ("numbers@0", 1), ("", 1)]),
                ([("numbers@0", 1)], [("picture@0", 16), ("words@0", 6), ("", 1)]),
            ],
        ),
        (
            Choice("single_stream", ("words@0", "wave@0")),
            [([("words@0", 6), ("wave@0", 5)], [("words@0", 6), ("wave@0", 5)])],
        ),
        (
            Choice("bottleneck", ("words@0", "numbers@0")),  # of the numbers there is nothing to choose from
            [([("", 4)], [("words@0", 6), ("", 4)])],
        ),
        (
            Choice("shared_transformer", ("words@0", "wave@0")),
            [([("", 4)], [("words@0", 6), ("", 4)]), ([("", 4)], [("wave@0", 5), ("", 4)])],
        ),
        (Choice("attention_block", ("wave@0",)), [([("wave@0", 5)], [("wave@0", 5), ("", 1)])]),
        (
            Choice("dot_attention", ("numbers@0", "words@0")),
            [([("numbers@0", 1)], [("words@0", 6), ("numbers@0", 1)])],
        ),
        (Choice("cross_attention", ("numbers@0", "numbers@1")), []),
    ],
    ids=lambda value: value.operation if isinstance(value, Choice) else "",
)
def test_every_operation_tells_who_asks_whom_and_shares_sum_to_one(
    choice: Choice, expected: Sequence[tuple[Sequence[tuple[str, int]], Sequence[tuple[str, int]]]]
) -> None:
    data = tiny_data(KINDS)
    told = known(told_of(network_of(data, choice), data))
    assert [(sources(one.asking), sources(one.asked)) for one in told.maps] == list(expected)
    for one in told.maps:
        assert (one.node, one.operation) == ("fusion0", choice.operation)
        sums = np.array(one.weights).sum(axis=2)
        np.testing.assert_allclose(sums, 1, atol=0.5e-4 * 30)  # 30 rounded numbers at most
    assert from_plain(Attention, plain(told)) == told


def test_what_has_no_attention_has_nothing_to_tell() -> None:
    data = tiny_data(KINDS)
    assert told_of(network_of(data, Choice("additive", ("picture@0", "words@0"))), data) is None


def test_nothing_is_changed_by_looking() -> None:
    data = tiny_data(KINDS)
    network = network_of(data, Choice("single_stream", ("picture@0", "words@0")))
    batch, state = split_batch(data, "test", CPU), torch.get_rng_state()
    before = network(batch.inputs)
    hooks = sum(len(module._forward_pre_hooks) for module in network.modules())
    told_of(network, data)
    assert torch.equal(network(batch.inputs), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert sum(len(module._forward_pre_hooks) for module in network.modules()) == hooks


def test_of_a_network_that_decides_it_is_the_last_route() -> None:
    data = tiny_data({"words": "tokens", "wave": "sequence"})
    space = layerwise({"words": 2, "wave": 2}, operations=("cross_attention",))
    cheap = Architecture.chain("layerwise", [("fusion0", Choice("carry", ("words@0",)))])
    both = Architecture.chain("layerwise", [("fusion1", Choice("cross_attention", ("words@1", "wave@1")))])
    gated = Architecture.gated([cheap, both], ["words@0"])
    told = known(told_of(tiny_routed(space.only(gated), data), data))
    assert [(one.node, one.asking[0].source) for one in told.maps] == [("fusion1", "words@1"), ("fusion1", "wave@1")]


def test_labels_are_words_stretches_of_time_and_places() -> None:
    generator = np.random.default_rng(0)
    texts = np.zeros((40, 32), dtype=np.int32)
    texts[:, :3] = [2, 1, 3]
    waves = generator.normal(size=(40, 40, 2)).astype(np.float32)
    data = FusionData.from_arrays(
        {"text": texts, "wave": waves}, np.arange(40) % 2, kinds={"text": "tokens", "wave": "sequence"}
    )
    network = network_of(data, Choice("single_stream", ("text@0", "wave@0")))
    text, wave = known(told_of(network, data)).maps[0].asking
    assert text.labels[0] == ("2 1", "3", *[""] * 14)  # 32 tokens by twos, without the vocabulary that they are of
    assert wave.labels[0][:2] == ("1–3", "3–5")  # 40 steps, averaged on 16
    assert wave.labels[0][-1] == "38–40"


def test_numbers_of_a_vocabulary_are_words_again() -> None:
    recipe = TextRecipe(columns=("title",), vocabulary=("the", "cat"), length=5)
    assert recipe.spelled([2, 3, 1, 0]) == ["the", "cat", "?", ""]


def test_many_tokens_are_put_together() -> None:
    """Ten sources of 16 tokens: six tokens each are kept, so that 60 remain."""
    side = [AttentionTokens(source=f"m{i}@0", labels=(tuple(map(str, range(16))),)) for i in range(10)]
    weights = np.full((1, 2, 160), 1 / 160)
    weights[0, 0] = 0
    weights[0, 0, 17] = 1
    pooled, keys = _pooled(side, weights, axis=2)
    assert [one.count for one in pooled] == [6] * 10
    assert keys.shape == (1, 2, 60)
    assert keys.shape[2] <= MAX_TOKENS
    assert keys[0, 0, 6] == 1
    np.testing.assert_allclose(keys.sum(axis=2), 1)
    assert pooled[0].labels[0][0] == "0–2"
    _, queries = _pooled(side, weights.transpose(0, 2, 1) * 160, axis=1)
    assert queries.shape == (1, 60, 2)
    np.testing.assert_allclose(queries[0, :, 1], 1)


def test_a_big_single_stream_is_capped() -> None:
    kinds: dict[str, Kind] = {f"wave{i}": "sequence" for i in range(15)}
    data = tiny_data(kinds)
    network = network_of(data, Choice("single_stream", tuple(f"{name}@0" for name in kinds)))
    (one,) = known(told_of(network, data)).maps
    assert np.array(one.weights).shape == (3, 60, 60)


def test_samples_are_the_first_of_their_class_right_ones_first() -> None:
    targets = np.array([0, 0, 1, 2, 2, 1, 0, 1])
    answers = np.array([0, 0, 1, 2, 0, 0, 1, 2])
    every = np.ones(8, np.bool_)
    assert chosen_samples("classification", np.eye(3)[answers], targets, every) == [0, 2, 4, 5]
    assert chosen_samples("classification", np.eye(3)[targets], targets, every) == [0, 2, 3]
    assert chosen_samples("classification", np.eye(3)[(targets + 1) % 3], targets, every) == [0, 2, 3]
    assert chosen_samples("classification", np.eye(3)[answers], targets, np.arange(8) > 0) == [1, 2, 4, 5]
    assert chosen_samples("regression", np.zeros((8, 1)), np.zeros((8, 1)), np.arange(8) > 2) == [3, 4, 5, 6]


def test_samples_that_lack_a_modality_are_not_taken() -> None:
    present = np.zeros(30, np.bool_)
    data = tiny_data({"words": "tokens", "wave": "sequence"}, present={"words": present | True})
    lacking = replace(data, modalities={**data.modalities, "words": replace(data.modalities["words"], present=present)})
    network = network_of(data, Choice("cross_attention", ("words@0", "wave@0")))
    assert known(told_of(network, data)).samples
    assert told_of(network, lacking) == Attention(samples=(), maps=())


@pytest.mark.parametrize(
    ("array", "shape", "pixels"),
    [
        (np.array([[[0, 255]]], np.uint8), (1, 2, 1), [0, 255]),
        (np.array([[[-1.0, 0.0, 1.0]]]), (1, 3, 1), [0, 128, 255]),
        (np.arange(6, dtype=np.uint8).reshape(3, 1, 2), (1, 2, 3), [0, 2, 4, 1, 3, 5]),
        (np.array([[[10]], [[30]]], np.uint8), (1, 1, 1), [20]),
        (np.full((1, 300, 150), 7, np.uint8), (64, 32, 1), [7] * 64 * 32),
    ],
)
def test_a_picture_is_small(array: NDArray[np.generic], shape: tuple[int, int, int], pixels: list[int]) -> None:
    made = picture(array)
    assert (made.height, made.width, made.channels) == shape
    assert max(shape[:2]) <= MAX_SIDE
    assert list(base64.b64decode(made.pixels)) == pixels
