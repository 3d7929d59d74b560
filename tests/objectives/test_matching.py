"""Matching: which partners are drawn, and what is judged of them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nas.data.batches import Batch
from nas.objectives.base import ForwardPass
from nas.objectives.matching import Matching, hard_negatives, hard_partners, matching_targets, with_partners
from nas.seeding import seeded
from tests.objectives.networks import DATA, batch_of, network_of


def test_negatives_follow_the_similarity_and_are_never_the_sample_itself() -> None:
    """Of 1 : 3 : 6 in each row, whatever a sample's similarity to itself; 4000 draws, of deviation below 0.008."""
    similarities = torch.tensor(
        [
            [500.0, 0.0, math.log(3), math.log(6)],
            [math.log(6), -500.0, math.log(3), 0.0],
            [0.0, math.log(6), 0.0, math.log(3)],
            [math.log(3), math.log(6), 0.0, 90.0],
        ]
    )
    counts = torch.zeros(4, 4)
    with seeded(0):
        for _ in range(4000):
            counts[range(4), hard_negatives(similarities)] += 1
    wanted = torch.tensor([[0, 1, 3, 6], [6, 0, 3, 1], [1, 6, 0, 3], [3, 6, 1, 0]]) / 10
    torch.testing.assert_close(counts / 4000, wanted, rtol=0, atol=0.03)
    assert not counts.diagonal().any()


def test_a_negative_is_drawn_even_where_all_others_are_far_away() -> None:
    """At τ = 0.001 the softmax over all would leave exactly nothing for the others."""
    assert hard_negatives(torch.tensor([[1000.0, -1000.0], [-1000.0, 1000.0]])).tolist() == [1, 0]


def test_each_modality_gets_partners_by_what_the_sample_keeps() -> None:
    """Of samples 0, 2, 3: who keeps a gets the b like it, of the next sample; who keeps b the a, of the one before."""
    one, two, three, four, five, six = torch.eye(6)
    vectors = torch.stack([torch.stack([one, two, three]), torch.stack([four, five, six])])
    momentum = torch.stack([torch.stack([five, six, four]), torch.stack([three, one, two])])
    rows = torch.tensor([0, 2, 3])
    partners = hard_partners(vectors, momentum, rows, torch.tensor(0.001), batch_size=5)
    assert partners[1].tolist() == [2, 1, 3, 0, 4]  # that lacks one of them keeps its own
    assert partners[0].tolist() == [3, 1, 0, 2, 4]


def test_partners_learn_nothing() -> None:
    vectors = torch.randn(2, 3, 4, requires_grad=True)
    temperature = torch.tensor(0.5, requires_grad=True)
    partners = hard_partners(vectors, vectors.detach(), torch.arange(3), temperature, batch_size=3)
    assert not partners.requires_grad


def test_the_taps_of_one_modality_alone_change_partners() -> None:
    taps = {name: torch.arange(3.0)[:, None, None] for name in ("sight@0", "sound@0", "sight@2")}
    found = with_partners(taps, "sight", torch.tensor([2, 0, 1]))
    assert {name: tap.flatten().tolist() for name, tap in found.items()} == {
        "sight@0": [2, 0, 1],
        "sound@0": [0, 1, 2],
        "sight@2": [2, 0, 1],
    }


@pytest.mark.parametrize("name", ["late", "product", "both"])
def test_what_is_judged_is_what_the_network_fuses_of_recombined_samples(name: str) -> None:
    network = network_of(name).eval()
    batch = batch_of(5)
    matching = Matching(("sound", "sight"), network.channels)
    forward = ForwardPass.run(DATA.task, network, batch)
    partners = torch.tensor([[1, 0, 3, 2, 4], [2, 3, 0, 1, 4]])
    rows = torch.tensor([0, 1, 2, 3])
    found = matching(forward, partners, rows).view(3, 4, 2)

    def judged(sound: Tensor, sight: Tensor) -> Tensor:
        inputs = {
            "sound": tuple(array[sound] for array in batch.inputs["sound"]),
            "sight": tuple(array[sight] for array in batch.inputs["sight"]),
        }
        run = ForwardPass.run(DATA.task, network, Batch(inputs, {}, batch.targets))
        state = network.last_state(run.taps, network.selection)
        assert state is not None
        logits: Tensor = matching.linear(state.mean(dim=1))
        return logits[:4]

    own = torch.arange(5)
    wanted = torch.stack([judged(own, own), judged(partners[0], own), judged(own, partners[1])])
    torch.testing.assert_close(found, wanted)
    assert not torch.allclose(found[0], found[1])
    assert matching_targets(found.flatten(0, 1)).tolist() == [1] * 4 + [0] * 8


def test_several_selections_are_judged_on_the_same_pairs() -> None:
    network = network_of("both").eval()
    forward = ForwardPass.run(DATA.task, network, batch_of(4))
    twice = replace(forward, selections=[*forward.selections, *forward.selections])
    matching = Matching(("sound", "sight"), network.channels)
    partners, rows = torch.tensor([[1, 2, 3, 0]] * 2), torch.arange(4)
    once, found = matching(forward, partners, rows), matching(twice, partners, rows)
    torch.testing.assert_close(found.view(3, 2, 4, 2), once.view(3, 1, 4, 2).expand(-1, 2, -1, -1))
    assert matching_targets(found).view(3, 8).tolist() == [[1] * 8, [0] * 8, [0] * 8]
