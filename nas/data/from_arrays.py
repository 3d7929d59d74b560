"""From the user's arrays to a checked `FusionData`."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import nn

from nas.data.fusion_data import FusionData, Modality, Split
from nas.data.modality import as_words, lasting_array, make_modality, plain_array
from nas.data.splits import Fold, make_splits
from nas.data.targets import Targets, make_targets
from nas.errors import DataWarning, UserError, unknown_name

MANY_CLASSES = 20
"""Different whole numbers above which they may be quantities."""

FEW_PER_CLASS = 5
"""Samples of each below which they probably are."""


def from_arrays(
    modalities: Mapping[str, ArrayLike | Sequence[ArrayLike]],
    targets: ArrayLike,
    *,
    task: str | None = None,
    splits: ArrayLike | Mapping[str, ArrayLike] | None = None,
    kinds: Mapping[str, str] | None = None,
    present: Mapping[str, ArrayLike] | None = None,
    name: str = "arrays",
    class_names: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
    sample_weights: ArrayLike | None = None,
    fold: Fold | None = None,
    seed: int = 0,
) -> FusionData:
    """Checks arrays and makes a data set of them.

    float16, float32, int8, int16 and uint8 are kept, every other number type becomes float32; tokens stay integers. The
    kind of a modality is read off its array where that is safe:

    - (n, features) of floats, uint8, int8 or flags: vector
    - (n, time, features) of floats: sequence; named explicitly, it flattens whatever follows the time axis
    - (n, height, width) of uint8: map of one channel; (n, channels, height, width): map
    - a list or tuple of arrays, one per depth: features

    Everything else, such as tokens (n, length) of integers with 0 for padding, must be named in `kinds`.

    Args:
        modalities: Two or more; name to array or list of arrays.
        targets: (n,) integers, words or flags: classification; (n, labels) of 0 and 1: multilabel; (n,) or
            (n, outputs) floats: regression.
        task: Overrides what `targets` would be taken for.
        splits: None to draw 60/20/20 % once; (n,) of 0/1/2 or train/val/test; or a mapping from split to indices. See
            `nas.data.splits.make_splits`.
        kinds: Modality to kind, where it cannot be told or shall be another one.
        present: Modality to (n,) flags of the samples that have it; modalities left out are always there.
        name: Of the data set, for people and records.
        class_names: One per class or label; by default the labels themselves, sorted.
        groups: (n,) numbers or words, such as patients: samples of one group are in one split.
        sample_weights: (n,) numbers, 0 or more: how much each sample counts while weights learn; only their proportions
            matter. Scores count every sample alike, see docs/data.md.
        fold: Which part of the samples is the test split, where splits are drawn; see `nas.cross_validate`.
        seed: Of the splits that are drawn.

    Raises:
        UserError: If anything given is malformed; the message names it and says how to mend it.
    """
    if not isinstance(modalities, Mapping):
        raise UserError(
            f"modalities is a {type(modalities).__name__}; expected a mapping from name to array, such as "
            "{'image': images, 'audio': spectrograms}"
        )
    for modality in modalities:
        check_name(modality)
    if len(modalities) < 2:
        given = ", ".join(modalities) or "none"
        raise UserError(f"fusion needs two or more modalities, got {given}; give every kind of input its own name")
    for argument, keys in (("kinds", kinds or {}), ("present", present or {})):
        for key in keys:
            if key not in modalities:
                raise unknown_name(f"modality in {argument}:", str(key), modalities)
    target = make_targets(targets, task, class_names)
    if task is None and class_names is None:
        _warn_of_quantities(targets, target)
    count = len(target.values)
    masks = {key: presence_mask(key, value, count) for key, value in (present or {}).items()}
    made: dict[str, Modality] = {}
    for key, value in modalities.items():
        _refuse_target(key, value, targets, target)
        made[key] = make_modality(key, value, (kinds or {}).get(key), masks.get(key))
        for array in made[key].arrays:
            if len(array) != count:
                raise UserError(f"modality {key!r} has {len(array)} samples, but the target has {count}; align them")
    _refuse_bare_samples(made, count)
    numbered = None if groups is None else group_numbers(groups, count)
    indices = make_splits(splits, target, seed, numbered, fold)
    _check_weights_split(target, made, indices)
    return FusionData(
        name=name,
        modalities=made,
        targets=target.values,
        task=target.task,
        splits=indices,
        class_names=target.class_names,
        groups=numbered,
        sample_weights=None if sample_weights is None else _weights(sample_weights, count, indices["weights"]),
    )


def refolded(data: FusionData, fold: Fold, seed: int) -> FusionData:
    """The same data with the test split of a fold, checked as data is that is made anew.

    Args:
        data: Its splits are not used.
        fold: See `from_arrays`.
        seed: Of the folds.

    Raises:
        UserError: If the fold is too small, or the other folds do not show every class, label and modality.
    """
    told = Targets(values=data.targets, task=data.task, class_names=data.class_names)
    splits = make_splits(None, told, seed, data.groups, fold)
    _check_weights_split(told, data.modalities, splits)
    if data.sample_weights is not None:
        _refuse_weightless(data.sample_weights, splits["weights"])
    return replace(data, splits=splits)


def check_name(name: str) -> None:
    """Refuses names that cannot name a part of a network or that the project keeps for itself.

    Raises:
        UserError: If the name is not a plain identifier, holds a double underscore, begins with "fusion", or is a word
            that PyTorch's module containers use themselves.
    """
    if not isinstance(name, str) or not name.isidentifier() or "__" in name or name.startswith("fusion"):
        raise UserError(
            f"modality name {name!r} cannot be used; expected letters, digits and single underscores, not beginning "
            "with a digit or 'fusion': rename it"
        )
    if (form := unicodedata.normalize("NFKC", name)) != name:  # as which Python reads it, so that it would be another
        raise UserError(f"modality name {name!r} is not in NFKC form; rename it to {form!r}, as Python would read it")
    if hasattr(nn.ModuleDict, name) or name == "training":
        raise UserError(f"modality name {name!r} is a word that PyTorch keeps for itself; rename it, say {name}_input")


def presence_mask(name: str, value: ArrayLike, count: int) -> NDArray[np.bool_] | None:
    """The presence mask of a modality for so many samples, None if every sample has it.

    Raises:
        UserError: If it is not one flag per sample.
    """
    array = plain_array(f"present of modality {name!r}", value)
    if array.shape != (count,) or array.dtype.kind not in "biu" or not np.isin(array, (0, 1)).all():
        raise UserError(
            f"present of modality {name!r} is {array.dtype} of shape {array.shape}; expected ({count},) of true and "
            "false, one per sample"
        )
    mask = array.astype(np.bool_)
    return None if mask.all() else mask


def group_numbers(value: ArrayLike, count: int) -> NDArray[np.int64]:
    """The group of each of so many samples as a number from 0 on, (n,).

    Raises:
        UserError: If they are not one word or number per sample.
    """
    array = as_words("groups", plain_array("groups", value))
    if array.shape != (count,) or array.dtype.kind not in "biufU":
        raise UserError(f"groups are {array.dtype} of shape {array.shape}; expected ({count},) words or numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError("groups hold NaN or infinity; give every sample a group, be it one of its own")
    return np.unique(array, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _weights(value: ArrayLike, count: int, learned: NDArray[np.int64]) -> NDArray[np.float32]:
    """Sample weights that make sense.

    Args:
        value: As the user gave them.
        count: Of samples.
        learned: Indices of the weights split.
    """
    array = plain_array("sample_weights", value)
    if array.shape != (count,) or array.dtype.kind not in "biuf":
        raise UserError(f"sample_weights are {array.dtype} of shape {array.shape}; expected ({count},) numbers")
    with np.errstate(over="ignore"):
        weights = array.astype(np.float32)
    if not np.isfinite(weights).all() or (weights < 0).any():
        worst = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))[0]
        raise UserError(f"sample_weights hold {array[worst]} at sample {worst}; expected finite numbers, 0 or more")
    _refuse_weightless(weights, learned)
    return weights


def _refuse_weightless(weights: NDArray[np.float32], learned: NDArray[np.int64]) -> None:
    if np.count_nonzero(weights[learned]) < 2:
        raise UserError("sample_weights are zero for all samples of the weights split but one; nothing can be learned")


def _warn_of_quantities(given: ArrayLike, target: Targets) -> None:
    """Warns of whole numbers that are taken for classes and look like quantities, such as prices.

    Classes are mostly counted from 0 or 1 without a gap, and have several samples each.
    """
    labels = np.unique(plain_array("the target", given))
    if target.task != "classification" or labels.dtype.kind not in "iu" or len(labels) <= MANY_CLASSES:
        return
    is_counted = labels[0] in (0, 1) and labels[-1] - labels[0] == len(labels) - 1
    if not is_counted or len(target.values) < FEW_PER_CLASS * len(labels):
        warnings.warn(
            f"the target has {len(labels)} different whole numbers, {labels[0]} to {labels[-1]}, which are taken for "
            "classes; if they are quantities, ask for regression: task='regression', or --task regression (if they are "
            "classes, task='classification' keeps this quiet)",
            DataWarning,
            stacklevel=4,
        )


def _refuse_target(name: str, value: Any, given: ArrayLike, target: Targets) -> None:
    """Refuses the target handed in again as an input: the same values, the class indices, or their one-hot rows."""
    if isinstance(value, list | tuple):
        for depth in value:
            if hasattr(depth, "__array__"):
                _refuse_target(name, depth, given, target)
        return
    array = lasting_array(f"modality {name!r}", value)
    if not array.ndim:
        return  # no array of samples at all, which `make_modality` tells
    answers = [plain_array("the target", given), target.values]
    if target.task == "classification" and array.shape == (len(target.values), len(target.class_names)):
        answers.append(np.eye(len(target.class_names))[target.values])
    for answer in answers:
        wanted = answer.reshape(len(answer), -1)
        same_size = array.size and (len(array), prod(array.shape[1:])) == wanted.shape
        if same_size and np.array_equal(array[:].reshape(wanted.shape), wanted):
            raise UserError(f"modality {name!r} is the target itself; leave it out of the modalities")


def _refuse_bare_samples(modalities: Mapping[str, Modality], count: int) -> None:
    anything = np.zeros(count, dtype=np.bool_)
    for modality in modalities.values():
        anything |= True if modality.present is None else modality.present
    if not anything.all():
        missing = np.flatnonzero(~anything)
        raise UserError(
            f"present leaves {len(missing)} samples without any modality, the first is {missing[0]}; drop them"
        )


def _check_weights_split(
    target: Targets, modalities: Mapping[str, Modality], splits: Mapping[Split, NDArray[np.int64]]
) -> None:
    """The weights split must show every class, every label both ways, and every modality at least once."""
    seen = target.values[splits["weights"]]
    if len(seen) and bool((seen == seen[0]).all()):
        raise UserError(
            "the target is constant in the weights split; there is nothing to learn: check target and split"
        )
    if target.task == "classification":
        counts = np.bincount(seen, minlength=len(target.class_names))
        if not counts.all():
            absent = [name for name, number in zip(target.class_names, counts, strict=True) if not number]
            raise UserError(
                f"class {absent[0]!r} is absent from the weights split ({len(absent)} of {len(counts)} classes are); "
                "put samples of it there, drop it, or use task='regression' for a quantity"
            )
    else:
        constant = np.flatnonzero((seen == seen[0]).all(axis=0))
        if len(constant):
            which = target.class_names[constant[0]] if target.class_names else str(constant[0])
            raise UserError(f"column {which!r} of the target is constant in the weights split; drop it or move samples")
    for name, modality in modalities.items():
        if modality.present is not None and not modality.present[splits["weights"]].any():
            raise UserError(f"modality {name!r} is present in no sample of the weights split; leave it out")
