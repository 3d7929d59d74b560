"""Nodes that stand for one another: one network has one name, and the count is that of the networks."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from nas.errors import UserError
from nas.space.architecture import Choice
from nas.space.node import FusionNode
from nas.space.renaming import count_renamed
from nas.space.search_space import SearchSpace
from nas.supernet.candidates import Candidates
from search_spaces import OPERATIONS, graph

DEPTHS = {"image": 2, "audio": 2}

SPACE = graph(DEPTHS, operations=["additive", "modality_shift", "mlp"])

IMAGES = Choice("mlp", ("image@0", "image@1"))

SOUNDS = Choice("additive", ("audio@0", "audio@1"))


def test_two_spellings_are_one_architecture() -> None:
    join = Choice("mlp", ("step1", "step2"))
    one = SPACE.compose({"step1": IMAGES, "step2": SOUNDS, "final": join})
    assert one == SPACE.compose({"step1": SOUNDS, "step2": IMAGES, "final": join})
    assert [step.choice for step in one.steps] == [SOUNDS, IMAGES, join]  # by what they do


def test_the_first_nodes_are_taken() -> None:
    last = SPACE.compose({"step2": IMAGES, "final": Choice("mlp", ("audio@1", "step2"))})
    assert last == SPACE.compose({"step1": IMAGES, "final": Choice("mlp", ("audio@1", "step1"))})
    assert [step.name for step in last.steps] == ["step1", "final"]


def test_an_order_of_inputs_that_matters_stays() -> None:
    def shifted(first: str, second: str) -> object:
        return SPACE.compose({first: IMAGES, second: SOUNDS, "final": Choice("modality_shift", (first, second))})

    assert shifted("step1", "step2") == shifted("step2", "step1")
    sounds_moved = SPACE.compose(
        {"step1": IMAGES, "step2": SOUNDS, "final": Choice("modality_shift", ("step2", "step1"))}
    )
    assert sounds_moved != shifted("step1", "step2")


def test_a_step_comes_after_what_it_reads() -> None:
    chain = {
        "step1": IMAGES,
        "step2": Choice("additive", ("audio@0", "step1")),
        "final": Choice("mlp", ("audio@1", "step2")),
    }
    assert [step.name for step in SPACE.compose(chain).steps] == ["step1", "step2", "final"]


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_the_count_is_that_of_the_networks(steps: int) -> None:
    space = graph(
        {"image": 1, "audio": 1}, operations=["additive"] if steps == 4 else ["additive", "modality_shift"], steps=steps
    )
    every = list(space.enumerate())
    assert space.size() == len(every) == len(set(every))


def test_samples_and_mutations_have_their_own_names() -> None:
    generator = random.Random(0)
    one = SPACE.sample(generator)
    for _ in range(200):
        one = SPACE.mutate(one, generator)
        assert SPACE.named(one) == one
        assert SPACE.at(SPACE.index(one)) == one


def test_what_grows_has_one_step_more_and_reads_the_last_one() -> None:
    join = SPACE.compose({"final": Choice("mlp", ("image@0", "audio@1"))})
    grown = list(SPACE.grown(join))
    assert len(set(grown)) == len(grown) > 0
    for one in grown:
        assert one.steps[0].choice == join.steps[0].choice
        assert len(one.steps) == 2
        assert "step1" in one.steps[-1].inputs
    longest = next(SPACE.grown(grown[0]))
    assert not list(SPACE.grown(longest))  # no node is free
    assert not list(SPACE.grown(SPACE.compose({"final": Choice("carry", ("image@0",))})))
    assert not list(SPACE.grown(SPACE.compose({})))


def test_nodes_that_do_not_stand_for_one_another_are_refused() -> None:
    uneven = SearchSpace(
        "uneven",
        DEPTHS,
        (
            FusionNode("a", (IMAGES,)),
            FusionNode("b", (SOUNDS, Choice("mlp", ("a", "audio@0")))),
            FusionNode("last", (Choice("mlp", ("a", "b")), Choice("mlp", ("a", "image@0")))),
        ),
        OPERATIONS,
        interchangeable=("a", "b"),
    )
    with pytest.raises(UserError, match="does not offer the same"):
        uneven.size()
    with pytest.raises(UserError, match="last node is the only other one"):
        count_renamed(uneven.nodes, ("a",))


def test_choices_of_nodes_that_are_not_read_have_no_weight() -> None:
    space = graph({"image": 1, "audio": 1}, operations=["additive", "mlp"], steps=2)
    one = space.compose({"final": Choice("additive", ("image@0", "audio@0"))})
    two = space.compose({"step1": Choice("mlp", ("image@0", "audio@0")), "final": Choice("mlp", ("image@0", "step1"))})
    rows = np.array([space.index(one), space.index(two)])
    weights = Candidates(rows[:1], torch.rand(1, 4)).choice_weights(space)
    assert len(set(weights["step1"])) == 1  # nobody knows
    assert max(weights["final"]) == 1
    weights = Candidates(rows, torch.rand(2, 4)).choice_weights(space)
    assert weights["step1"][space.nodes[0].index[two.steps[0].choice]] == 1
