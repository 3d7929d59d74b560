"""What several searches agree on: cases worked by hand, and one from the literature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import UserError
from nas.evaluation.stability import stability
from nas.space.architecture import Architecture, Choice
from nas.space.node import FusionNode
from nas.space.search_space import SearchSpace
from search_spaces import OPERATIONS, layerwise

SPACE = layerwise({"image": 2, "sound": 2}, operations=["additive", "multiplicative"])

NONE = Choice("none")


def at(operation: str, depth: int) -> Choice:
    return Choice(operation, (f"image@{depth}", f"sound@{depth}"))


def of(*choices: Choice) -> Architecture:
    return Architecture.chain("layerwise", tuple((f"fusion{depth}", choice) for depth, choice in enumerate(choices)))


LATE = of(NONE, at("additive", 1))
TIMES = of(NONE, at("multiplicative", 1))
TWICE = of(at("additive", 0), at("additive", 1))
ALONE = of(Choice("carry", ("image@0",)), NONE)


def test_choices_are_counted_at_every_node() -> None:
    found = stability(SPACE, [LATE, TIMES, TWICE, LATE])
    made = {
        node.name: {
            choice: count for choice, count in zip(node.choices, found.choices[node.name], strict=True) if count
        }
        for node in SPACE.nodes
    }
    assert made == {
        "fusion0": {NONE: 3, at("additive", 0): 1},
        "fusion1": {at("additive", 1): 3, at("multiplicative", 1): 1},
    }
    assert (found.num_searches, found.num_distinct) == (4, 3)


def test_modalities_depths_and_orders_are_counted_in_architectures() -> None:
    # Late fusion reads both at depth 1; both sums read them at depths 0 and 1; the last carries the image of depth 0.
    found = stability(SPACE, [LATE, TIMES, TWICE, ALONE])
    assert found.modalities == {"image": 4, "sound": 3}
    assert found.depths == {0: 2, 1: 3}
    assert found.interaction_orders == {0: 1, 1: 2, 2: 1}


def test_a_choice_is_as_deep_as_its_deepest_tap() -> None:
    # The only tap of the sound is read by the last node, too: late fusion is nothing that happens at depth 0.
    space = layerwise({"image": 3, "sound": 1}, operations=["additive"])
    late = next(reference.architecture for reference in space.references if reference.kind == "late")
    assert set(late.taps()) == {"image@2", "sound@0"}
    assert stability(space, [late]).depths == {0: 0, 1: 0, 2: 1}


def test_agreement_and_kappa_of_three_searches() -> None:
    # Of two nodes, the first search shares one with the second (nothing) and one with the third (the sum at depth 1),
    # these two share none: (1/2 + 1/2 + 0) / 3. Of six choices two are nothing, two that sum, one each two others: by
    # chance (4 + 4 + 1 + 1) / 36 = 5/18. Kappa is (1/3 − 5/18) / (1 − 5/18) = 1/13.
    found = stability(SPACE, [LATE, TIMES, TWICE])
    assert found.agreement == pytest.approx(1 / 3)
    assert found.chance_agreement == pytest.approx(5 / 18)
    assert found.kappa == pytest.approx(1 / 13)
    assert found.shared_nodes == (2, 1, 1)
    assert [found.agreement_of(search) for search in range(3)] == [1 / 2, 1 / 4, 1 / 4]


def test_searches_that_all_find_the_same_agree_fully() -> None:
    found = stability(SPACE, [LATE] * 3)
    assert (found.num_distinct, found.agreement, found.kappa) == (1, 1, 1)
    assert found.chance_agreement == 1 / 2  # half of all choices are nothing, half are the sum


def test_doing_one_thing_somewhere_is_no_agreement_beyond_chance() -> None:
    # Four nodes, four searches, each fuses at a node of its own. Two of them share two of four nodes, where both do
    # nothing; but of sixteen choices twelve are nothing and four occur once: (144 + 4) / 256 by chance.
    space = layerwise({"image": 4, "sound": 4}, operations=["additive"])
    searches = [of(*(at("additive", depth) if depth == own else NONE for depth in range(4))) for own in range(4)]
    found = stability(space, searches)
    assert found.agreement == pytest.approx(1 / 2)
    assert found.kappa == pytest.approx((1 / 2 - 148 / 256) / (1 - 148 / 256))
    assert found.kappa < 0


RATINGS = (
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
)


def test_kappa_is_that_of_the_known_example() -> None:
    # Fourteen raters of ten subjects in five categories, the worked example of Wikipedia's article "Fleiss' kappa",
    # which gives 0.378 for the agreement, 0.213 by chance, and 0.210. Here the subjects are nodes that all offer the
    # same five choices.
    choices = tuple(Choice("carry", (f"image@{depth}",)) for depth in range(5))
    nodes = tuple(FusionNode(f"n{i}", choices, f"n{i - 1}" if i else None) for i in range(10))
    space = SearchSpace("raters", {"image": 5}, nodes, OPERATIONS)
    columns = [[choice for choice, count in zip(choices, row, strict=True) for _ in range(count)] for row in RATINGS]
    searches = [
        Architecture.chain("raters", tuple((f"n{i}", column[rater]) for i, column in enumerate(columns)))
        for rater in range(14)
    ]
    found = stability(space, searches)
    assert tuple(found.choices.values()) == RATINGS
    assert found.agreement == pytest.approx(0.378, abs=5e-4)
    assert found.chance_agreement == pytest.approx(0.213, abs=5e-4)
    assert found.kappa == pytest.approx(0.210, abs=5e-4)


def test_one_search_agrees_with_nobody() -> None:
    found = stability(SPACE, [LATE])
    assert math.isnan(found.agreement)
    assert math.isnan(found.agreement_of(0))
    assert math.isnan(found.kappa)
    assert found.medoid([7]) == 0
    assert found.modalities == {"image": 1, "sound": 1}


def test_kappa_is_undefined_where_chance_agrees_as_well() -> None:
    found = stability(SPACE, [of(NONE, NONE)] * 3)
    assert (found.agreement, found.chance_agreement) == (1, 1)
    assert math.isnan(found.kappa)


def test_kappa_is_undefined_in_a_space_of_one_node() -> None:
    space = layerwise({"image": 1, "sound": 1}, operations=["additive"])
    found = stability(space, [of(NONE), of(at("additive", 0)), of(NONE)])
    assert found.agreement == pytest.approx(1 / 3)
    assert math.isnan(found.kappa)


def test_the_medoid_agrees_most_with_the_others_whatever_it_costs() -> None:
    assert stability(SPACE, [TIMES, LATE, TWICE]).medoid([1, 9, 1]) == 1


def test_equal_agreement_goes_to_the_cheapest_and_then_to_the_first() -> None:
    found = stability(SPACE, [LATE, TIMES])
    assert found.medoid([5, 3]) == 1
    assert found.medoid([3, 5]) == 0
    assert found.medoid([4, 4]) == 0


def test_costs_of_other_searches_are_refused() -> None:
    with pytest.raises(ValueError, match="multiply-adds of 2 searches, got 3"):
        stability(SPACE, [LATE, TIMES]).medoid([1, 2, 3])


def test_no_architecture_and_one_of_another_space_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one search"):
        stability(SPACE, [])
    with pytest.raises(UserError, match="of space 'elsewhere', expected 'layerwise'"):
        stability(SPACE, [LATE, replace(LATE, space="elsewhere")])


def _nodes_shared(one: Architecture, other: Architecture) -> float:
    pairs = zip(SPACE.index(one), SPACE.index(other), strict=True)
    return sum(a == b for a, b in pairs) / len(SPACE.nodes)


@given(st.lists(st.sampled_from(list(SPACE.enumerate())), min_size=2, max_size=6))
def test_agreement_is_the_mean_over_pairs(searches: Sequence[Architecture]) -> None:
    found = stability(SPACE, searches)
    shares = [_nodes_shared(one, other) for one, other in combinations(searches, 2)]
    assert found.agreement == pytest.approx(sum(shares) / len(shares))
    each = [found.agreement_of(search) for search in range(len(searches))]
    assert sum(each) / len(each) == pytest.approx(found.agreement)
    assert math.isnan(found.kappa) or found.kappa <= 1
    for node in SPACE.nodes:
        assert sum(found.choices[node.name]) == len(searches)
    assert sum(found.interaction_orders.values()) == len(searches)
    assert each[found.medoid([0] * len(searches))] == max(each)
