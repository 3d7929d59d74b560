"""The splits: those given are kept, those drawn are stratified and seeded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.data.fusion_data import SPLITS
from nas.data.splits import draw, draw_groups, folds_of, make_splits
from nas.data.targets import make_targets
from tests.data.helpers import refused

TARGETS = make_targets([0, 1] * 5)


def _sizes(splits: Any) -> list[int]:
    return [len(splits[split]) for split in SPLITS]


@pytest.mark.parametrize(
    "given_as",
    [
        [0, 0, 0, 0, 2, 2, 2, 1, 1, 2],
        np.array([0, 0, 0, 0, 2, 2, 2, 1, 1, 2], dtype=np.float32),
        ["train"] * 4 + ["test"] * 3 + ["val"] * 2 + ["test"],
        np.array([b"weights"] * 4 + [b"test"] * 3 + [b"architecture"] * 2 + [b"test"]),
        ["train"] * 4 + ["test"] * 3 + ["valid", "validation", "test"],
        {"train": [3, 1, 2, 0], "val": [8, 7], "test": [4, 5, 6, 9]},
        {"test": np.array([9, 4, 5, 6], dtype=np.uint64), "weights": range(4), "architecture": (7, 8)},
    ],
)
def test_splits_that_are_given_are_kept(given_as: Any) -> None:
    splits = make_splits(given_as, TARGETS, seed=0)
    assert {split: indices.tolist() for split, indices in splits.items()} == {
        "weights": [0, 1, 2, 3],
        "architecture": [7, 8],
        "test": [4, 5, 6, 9],
    }
    assert all(indices.dtype == np.int64 for indices in splits.values())


def test_a_mapping_may_leave_samples_out() -> None:
    splits = make_splits({"train": [0, 1, 2], "val": [4, 5], "test": [9]}, TARGETS, seed=0)
    assert _sizes(splits) == [3, 2, 1]


@pytest.mark.parametrize("given_as", [[0] * 50 + [2] * 50, {"train": range(50), "val": [], "test": range(50, 100)}])
def test_a_missing_architecture_split_is_a_fifth_of_the_weights_split(given_as: Any) -> None:
    targets = make_targets([0, 1] * 50)
    splits = make_splits(given_as, targets, seed=0)
    assert splits["test"].tolist() == list(range(50, 100))
    assert sorted([*splits["weights"], *splits["architecture"]]) == list(range(50))
    assert [np.bincount(targets.values[splits[split]]).tolist() for split in SPLITS[:2]] == [[20, 20], [5, 5]]
    other = make_splits(given_as, targets, seed=1)
    assert other["architecture"].tolist() != splits["architecture"].tolist()
    assert other["test"].tolist() == splits["test"].tolist()


def test_drawn_splits_are_60_20_20_of_every_class() -> None:
    targets = make_targets(np.repeat([0, 1, 2], [100, 50, 10]))
    splits = make_splits(None, targets, seed=0)
    counts = [np.bincount(targets.values[splits[split]]).tolist() for split in SPLITS]
    assert counts == [[60, 30, 6], [20, 10, 2], [20, 10, 2]]


def test_drawn_splits_depend_on_the_seed_alone() -> None:
    first, same, other = (make_splits(None, TARGETS, seed)["weights"].tolist() for seed in (3, 3, 4))
    assert first == same
    assert first != other


def test_labels_are_spread_by_the_rarest_and_quantities_by_chance() -> None:
    rare = np.zeros((100, 2))
    rare[:, 0] = 1
    rare[:10, 1] = 1
    splits = make_splits(None, make_targets(rare), seed=0)
    assert [int(rare[splits[split], 1].sum()) for split in SPLITS] == [6, 2, 2]
    assert _sizes(make_splits(None, make_targets(np.linspace(0, 1, 100)), seed=0)) == [60, 20, 20]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_every_stratum_gets_its_share_within_one_sample(strata: list[int], seed: int) -> None:
    array = np.array(strata)
    assigned = draw(array, (0, 1, 0, 2, 0), seed)
    for stratum in set(strata):
        counts = np.bincount(assigned[array == stratum], minlength=3)
        assert counts[0] >= 1
        if counts.sum() == 1:
            assert counts[0] == 1
        else:
            assert (abs(counts - counts.sum() * np.array([0.6, 0.2, 0.2])) < 1).all()


@given(st.lists(st.integers(0, 3), min_size=10, max_size=60), st.integers(0, 100))
def test_drawn_splits_hold_every_sample_once(labels: list[int], seed: int) -> None:
    splits = make_splits(None, make_targets(labels), seed)
    assert sorted(np.concatenate([splits[split] for split in SPLITS])) == list(range(len(labels)))
    assert all((np.diff(splits[split]) > 0).all() for split in SPLITS)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([0, 2], r"split has shape \(2,\), but there are 10 samples; expected \(10,\)"),
        ("train", r"split has shape \(\), but there are 10 samples"),
        ([0] * 9 + [3], "split holds 3; expected 0, 1, 2 or weights, train"),
        ([0] * 9 + [-1], "split holds -1; expected 0, 1, 2"),
        ([0.0] * 9 + [np.nan], "split holds nan; expected 0, 1, 2"),
        (["train"] * 9 + ["tset"], "split holds 'tset'; expected 0, 1, 2 or weights, train"),
        (["0"] * 10, "split holds '0'; expected 0, 1, 2"),
        ([True, False] * 5, "split holds 'true and false'; expected 0, 1, 2"),
        ([None] * 10, "split holds Python objects"),
        ([0] * 8 + [1] * 2, "the split has no test samples; mark some with 2 or 'test'"),
        ([1] * 8 + [2] * 2, "the split has no weights samples; mark some with 0 or 'train'"),
        ([0] + [1] * 8 + [2], "the weights split has 1 samples; expected at least 2"),
        ([0] * 8 + [1, 2], "the architecture split has 1 samples; expected at least 2"),
        ({"training": [0], "test": [1]}, "unknown split 'training'; did you mean 'train'"),
        ({"train": [0], "weights": [1], "test": [2]}, "splits 'train' and 'weights' are the same one; give it once"),
        ({"train": [0, 1], "test": [10]}, "split 'test' holds an index outside 0 to 9"),
        ({"train": [0, 1], "test": [-1]}, "split 'test' holds an index outside 0 to 9"),
        ({"train": [0, 1, 1], "test": [2]}, "split 'train' holds a sample twice"),
        ({"train": [0, 1], "test": [1]}, "split 'test' holds a sample twice or one of another split.*disjoint"),
        ({"train": [0.5, 1], "test": [2]}, "split 'train' is float64 of shape .* expected a list of indices"),
        ({"train": [True] * 10, "test": [2]}, "split 'train' is bool of shape .* expected a list of indices"),
        ({"train": [[0, 1]], "test": [2]}, r"split 'train' is int64 of shape \(1, 2\)"),
        ({"train": range(10)}, "the split has no test samples"),
    ],
)
def test_what_cannot_be_splits_is_refused(splits: Any, message: str) -> None:
    with refused(message):
        make_splits(splits, TARGETS, seed=0)


@pytest.mark.parametrize("labels", [[0, 1], range(100)])
def test_too_few_samples_of_a_class_cannot_be_drawn(labels: Any) -> None:
    with refused("too few to draw three splits .* at least 10, and several of a class: .*task='regression'"):
        make_splits(None, make_targets(list(labels)), seed=0)


@given(
    st.lists(st.integers(0, 12), min_size=12, max_size=80),
    st.integers(0, 2**32 - 1),
    st.sampled_from([(0, 1, 0, 2, 0), (0, 0, 1, 0, 0)]),
)
def test_no_group_is_divided_and_no_class_and_no_split_is_left_out(
    groups: list[int], seed: int, pattern: tuple[int, ...]
) -> None:
    members = np.array(groups)
    strata = np.arange(len(members)) % 2
    if len(set(groups)) <= max(pattern):
        with refused("groups are too few"):
            draw_groups(strata, members, pattern, seed)
        return
    assigned = draw_groups(strata, members, pattern, seed)
    assert all(len(set(assigned[members == group])) == 1 for group in groups)
    assert set(assigned) == set(pattern)
    assert np.array_equal(assigned, draw_groups(strata, members, pattern, seed))


def test_groups_are_dealt_out_by_size_and_class() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), generator.integers(3, 9, size=60))
    classes = (np.arange(60) % 3)[groups]  # a patient has one diagnosis
    targets = make_targets(classes)
    splits = make_splits(None, targets, 0, groups)
    shares = np.array([np.bincount(classes[splits[split]]) for split in SPLITS]) / np.bincount(classes)
    np.testing.assert_allclose(shares, np.tile([[0.6], [0.2], [0.2]], 3), atol=0.05)
    other = make_splits(None, targets, 1, groups)
    assert set(groups[splits["test"]]) != set(groups[other["test"]])


def test_an_architecture_split_is_carved_out_by_groups() -> None:
    groups = np.arange(40) // 4
    splits = make_splits(np.repeat([0, 2], 20), make_targets(np.arange(40) % 2), 0, groups)
    assert not set(groups[splits["weights"]]) & set(groups[splits["architecture"]])
    assert _sizes(splits) == [16, 4, 20]


def test_a_split_that_divides_a_group_is_refused() -> None:
    groups = np.arange(20) // 4
    with refused(r"samples 8 and 10 are of one group but in two splits \(1 groups are divided\)"):
        make_splits(np.repeat([0, 2], 10), make_targets(np.arange(20) % 2), 0, groups)


def test_groups_of_one_class_each_give_splits_of_their_sizes() -> None:
    """Eight diagnoses of three patients each: no stratum has a group for every fold."""
    sizes = np.random.default_rng(0).integers(5, 60, size=24)
    groups = np.repeat(np.arange(24), sizes)
    strata = groups % 8
    folds = np.bincount(folds_of(strata, groups, 5, 0), minlength=5) / len(groups)
    assert folds == pytest.approx([0.2] * 5, abs=0.08)
    drawn = np.bincount(draw_groups(strata, groups, (0, 1, 0, 2, 0), 0)) / len(groups)
    assert drawn == pytest.approx([0.6, 0.2, 0.2], abs=0.12)
