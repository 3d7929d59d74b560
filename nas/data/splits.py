"""The three splits: read from what the user gave, or drawn once, stratified and seeded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.data.fusion_data import SPLITS, Split
from nas.data.modality import as_words, plain_array
from nas.data.targets import Targets
from nas.errors import UserError, unknown_name
from nas.tasks import TASKS

SPLIT_NAMES: Mapping[str, Split] = {
    "weights": "weights",
    "train": "weights",
    "architecture": "architecture",
    "val": "architecture",
    "valid": "architecture",
    "validation": "architecture",
    "dev": "architecture",
    "test": "test",
}
"""Names that a split may be given by."""

_SIXTY_TWENTY_TWENTY = (0, 1, 0, 2, 0)
_EIGHTY_TWENTY = (0, 0, 1, 0, 0)


class Fold(NamedTuple):
    """One part of several of equal size.

    Attributes:
        number: From 1.
        among: How many there are.
    """

    number: int
    among: int

    def __str__(self) -> str:
        return f"{self.number}/{self.among}"

    @classmethod
    def read(cls, text: str) -> Fold:
        """The fold that a text such as 2/5 names.

        Raises:
            UserError: If it names none.
        """
        number, _, among = text.partition("/")
        if not (number.isdecimal() and among.isdecimal() and 1 <= int(number) <= int(among) >= 2):
            raise UserError(f"fold {text!r:.50} is none; expected such as 2/5, the second of five")
        return cls(int(number), int(among))


def make_splits(
    splits: ArrayLike | Mapping[str, ArrayLike] | None,
    targets: Targets,
    seed: int,
    groups: NDArray[np.int64] | None = None,
    fold: Fold | None = None,
) -> dict[Split, NDArray[np.int64]]:
    """Indices of each split, sorted and disjoint.

    Args:
        splits: None to draw 60 % weights, 20 % architecture, 20 % test; (n,) of 0, 1, 2 or of `SPLIT_NAMES`; or a
            mapping from split to indices, in which samples may be left out. Without an architecture split a fifth of
            the weights split becomes one.
        targets: Classes are spread evenly over the splits that are drawn.
        seed: Of the drawing.
        groups: Number of the group of each sample, (n,), from 0 on. All samples of a group are in one split.
        fold: Which part of the samples is the test split, instead of one that is drawn or given; the rest trains and
            decides.

    Raises:
        UserError: If the splits are malformed, weights or test is empty, or a group is in two splits that are given.
    """
    count = len(targets.values)
    strata = strata_of(targets)
    if fold is not None:
        if splits is not None:
            raise UserError(f"fold {fold} draws the splits itself; leave the split out")
        assigned = np.where(folds_of(strata, groups, fold.among, seed) == fold.number - 1, 2, 0)
    elif splits is None:
        assigned = _drawn(strata, _SIXTY_TWENTY_TWENTY, seed, groups)
        if len(np.unique(assigned)) < len(SPLITS):
            raise UserError(
                f"{count} samples are too few to draw three splits that each class has its share of; expected at least "
                "10, and several of a class: give the split yourself, or use task='regression' for a quantity"
            )
    elif isinstance(splits, Mapping):
        assigned = _from_indices(splits, count)
    else:
        assigned = _from_array(plain_array("split", splits), count)
    if groups is not None and fold is None:
        _refuse_divided(groups, assigned)
    found: dict[Split, NDArray[np.int64]] = {
        split: np.flatnonzero(assigned == i).astype(np.int64) for i, split in enumerate(SPLITS)
    }
    for split, example in (("weights", "0 or 'train'"), ("test", "2 or 'test'")):
        if not len(found[split]):  # type: ignore[index]  # the literal is widened to str
            raise UserError(f"the split has no {split} samples; mark some with {example}")
    if not len(found["architecture"]):
        pool = found["weights"]
        carved = _drawn(strata[pool], _EIGHTY_TWENTY, seed, None if groups is None else groups[pool])
        found["weights"], found["architecture"] = pool[carved == 0], pool[carved == 1]
    for split in SPLITS[:2]:
        if len(found[split]) < 2:
            raise UserError(f"the {split} split has {len(found[split])} samples; expected at least 2: add some")
    return found


def draw(strata: NDArray[np.int64], pattern: tuple[int, ...], seed: int) -> NDArray[np.int64]:
    """Assigns every sample to a split by dealing out the strata, one after the other, in a repeating pattern.

    Each stratum gets its share of every split within one sample, and so does the whole; a stratum of a single sample
    goes to split 0. Of any two neighbours in the pattern, the ends included, one must be 0: a stratum of two or more
    is then never left out of split 0.

    Args:
        strata: Stratum of each sample, (n,), non-negative.
        pattern: Splits in the proportion wanted.
        seed: Of the order within and among strata.

    Returns:
        Split of each sample, (n,).
    """
    assert all(0 in (pattern[i - 1], pattern[i]) for i in range(len(pattern)))
    order = _dealt(strata, np.random.default_rng(seed))
    assigned = np.empty(len(strata), dtype=np.int64)
    assigned[order] = np.resize(np.array(pattern), len(strata))
    assigned[np.bincount(strata)[strata] == 1] = 0
    return assigned


def folds_of(strata: NDArray[np.int64], groups: NDArray[np.int64] | None, count: int, seed: int) -> NDArray[np.int64]:
    """The fold of each sample, 0 to count − 1, (n,): of equal size, stratified, and with whole groups.

    Raises:
        UserError: If there are fewer samples or groups than folds.
    """
    if groups is not None:
        return draw_groups(strata, groups, tuple(range(count)), seed, learned=False)
    if len(strata) < 2 * count:
        raise UserError(f"{len(strata)} samples are too few for {count} folds; expected at least two for each")
    order = _dealt(strata, np.random.default_rng(seed))
    found = np.empty(len(strata), dtype=np.int64)
    found[order] = np.arange(len(strata)) % count
    return found


def _dealt(strata: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """The samples in random order, one stratum after the other."""
    shuffled = generator.permutation(len(strata))
    ranks = generator.permutation(int(strata.max()) + 1)[strata]
    return shuffled[np.argsort(ranks[shuffled], kind="stable")]


def _drawn(
    strata: NDArray[np.int64], pattern: tuple[int, ...], seed: int, groups: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    return draw(strata, pattern, seed) if groups is None else draw_groups(strata, groups, pattern, seed)


def draw_groups(
    strata: NDArray[np.int64],
    groups: NDArray[np.int64],
    pattern: tuple[int, ...],
    seed: int,
    *,
    learned: bool = True,
) -> NDArray[np.int64]:
    """Assigns whole groups to splits, so that each split has as nearly as groups allow its share of every stratum.

    Groups are dealt out from the largest to the smallest, those of one size in random order. Each goes where the
    squared distance from the wanted counts, as shares of the strata and of the whole, falls the most, much as in
    scikit-learn's `StratifiedGroupKFold`. Departures: splits are of different sizes; a split that gets nothing takes
    the smallest group of the split that has the most groups; of a stratum that split 0 lacks, it takes the smallest
    group, if it is learned from.

    Args:
        strata: Stratum of each sample, (n,), non-negative.
        groups: Group of each sample, (n,), non-negative.
        pattern: Splits in the proportion wanted, as for `draw`.
        seed: Of the order of groups.
        learned: Whether split 0 is what is learned from, and must know every stratum; folds are all alike.

    Returns:
        Split of each sample, (n,).

    Raises:
        UserError: If there are fewer groups than splits.
    """
    named, members = np.unique(groups, return_inverse=True)
    sizes = np.bincount(members)
    shares = np.bincount(pattern) / len(pattern)
    if len(named) < len(shares):
        raise UserError(f"{len(named)} groups are too few for {len(shares)} splits; expected at least one for each")
    totals = np.bincount(strata)
    # A stratum of a few samples is spread over the splits as its groups happen to be; it shall not outweigh the sizes.
    scale = np.maximum(totals, len(pattern)).astype(float)
    shuffled = np.random.default_rng(seed).permutation(len(named))
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    starts = np.cumsum(sizes) - sizes
    by_group = np.argsort(members, kind="stable")
    missing = shares[:, None] * totals  # of every stratum in every split, (splits, strata)
    split_of = np.empty(len(named), dtype=np.int64)
    for group in order:
        counts = np.bincount(strata[by_group[starts[group] : starts[group] + sizes[group]]], minlength=len(totals))
        gained = (counts * (2 * missing - counts) / scale**2).sum(axis=1)
        # The whole counts as one more stratum: where every group is of one stratum, nothing else tells splits apart.
        gained += counts.sum() * (2 * missing.sum(axis=1) - counts.sum()) / len(strata) ** 2
        split_of[group] = int(gained.argmax())
        missing[split_of[group]] -= counts
    smallest = order[::-1]
    for split in range(len(shares)):
        if not (split_of == split).any():
            fullest = np.bincount(split_of).argmax()
            split_of[next(group for group in smallest if split_of[group] == fullest)] = split
    assigned = split_of[members]
    for stratum in np.setdiff1d(strata, strata[assigned == 0]) if learned else ():
        held = set(members[strata == stratum])
        group = next(group for group in smallest if group in held)
        if (split_of == split_of[group]).sum() > 1:  # else a split would be empty, and the class is told to be absent
            split_of[group] = 0
            assigned = split_of[members]
    return assigned


def _refuse_divided(groups: NDArray[np.int64], assigned: NDArray[np.int64]) -> None:
    used = assigned >= 0
    pairs = np.unique(np.stack([groups[used], assigned[used]]), axis=1)
    divided = pairs[0][1:][pairs[0][1:] == pairs[0][:-1]]
    if len(divided):
        rows = np.flatnonzero(used & (groups == divided[0]))
        other = rows[assigned[rows] != assigned[rows[0]]][0]
        raise UserError(
            f"samples {rows[0]} and {other} are of one group but in two splits ({len(set(divided.tolist()))} groups "
            "are divided); leave the split out to draw one by groups, or correct it"
        )


def strata_of(targets: Targets) -> NDArray[np.int64]:
    """The class of each sample; with several labels the rarest that it has; for quantities all the same."""
    if targets.values.ndim == 1:
        return targets.values
    if not TASKS[targets.task].has_probabilities:
        return np.zeros(len(targets.values), dtype=np.int64)
    rarity = targets.values / np.maximum(targets.values.sum(axis=0), 1)
    return np.where(rarity.any(axis=1), rarity.argmax(axis=1) + 1, 0).astype(np.int64)


def _from_array(array: NDArray[Any], count: int) -> NDArray[np.int64]:
    if array.shape != (count,):
        raise UserError(f"split has shape {array.shape}, but there are {count} samples; expected ({count},)")
    array = as_words("split", array)
    values = np.unique(array).tolist()
    known: dict[Any, int] = {0: 0, 1: 1, 2: 2}
    if array.dtype.kind == "U":
        known = {name: SPLITS.index(split) for name, split in SPLIT_NAMES.items()}
    bad = [value for value in values if value not in known]
    if bad or array.dtype.kind == "b":
        raise UserError(
            f"split holds {bad[0] if bad else 'true and false'!r}; expected 0, 1, 2 or {', '.join(SPLIT_NAMES)}"
        )
    assigned = np.empty(count, dtype=np.int64)
    for value in values:
        assigned[array == value] = known[value]
    return assigned


def _from_indices(splits: Mapping[str, ArrayLike], count: int) -> NDArray[np.int64]:
    assigned = np.full(count, -1, dtype=np.int64)
    seen: dict[Split, str] = {}
    for name, value in splits.items():
        if name not in SPLIT_NAMES:
            raise unknown_name("split", str(name), SPLIT_NAMES)
        split = SPLIT_NAMES[name]
        if split in seen:
            raise UserError(f"splits {seen[split]!r} and {name!r} are the same one; give it once")
        seen[split] = name
        indices = plain_array(f"split {name!r}", value)
        if indices.size == 0:
            continue
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise UserError(f"split {name!r} is {indices.dtype} of shape {indices.shape}; expected a list of indices")
        if indices.min() < 0 or indices.max() >= count:
            raise UserError(f"split {name!r} holds an index outside 0 to {count - 1}; indices count the samples from 0")
        if len(np.unique(indices)) < len(indices) or (assigned[indices] >= 0).any():
            raise UserError(f"split {name!r} holds a sample twice or one of another split; splits must be disjoint")
        assigned[indices] = SPLITS.index(split)
    return assigned
