"""A map-style torch `Dataset` as arrays: its items are dicts, or tuples whose last part is the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from nas.errors import UserError, one_line, unknown_name

TARGET = "target"
"""Key of the target of items that are tuples."""


def arrays_of(
    dataset: Dataset[Any], names: Sequence[str] = (), *, may_lack_target: bool = False
) -> dict[str, NDArray[Any]]:
    """Reads all items, in their order, and stacks what they hold.

    Args:
        dataset: Its items are mappings from name to value; or tuples of values and, last, the target; or pairs of such
            a mapping or tuple and the target. A value is a number, a word, an array, a tensor or a picture, of the same
            shape in every item.
        names: Of the values of a tuple, in order; `input0`, `input1` and so on if there are none.
        may_lack_target: Whether a tuple of as many values as there are names has no target.

    Returns:
        Name to array, (n, …).

    Raises:
        UserError: If the data set has no length or no item, or items differ in what they hold, or are of another form.
    """
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise UserError(f"{type(dataset).__name__} has no length; expected a map-style Dataset, with __len__ and items")
    count = len(dataset)
    if not count:
        raise UserError(f"{type(dataset).__name__} is empty; expected one item per sample")
    columns: dict[str, list[NDArray[Any]]] = {}
    for place in range(count):
        item = _named(dataset[place], names, place, may_lack_target=may_lack_target)
        if place and item.keys() != columns.keys():
            raise UserError(
                f"item {place} of the Dataset holds {', '.join(item)}, but item 0 holds {', '.join(columns)}"
            )
        for name, value in item.items():
            try:
                array = _plain(value)
            except (TypeError, ValueError, RuntimeError) as error:
                raise UserError(f"{name!r} of item {place} of the Dataset is no array: {one_line(error)}") from error
            columns.setdefault(name, []).append(array)
    for name, column in columns.items():
        for place, value in enumerate(column):
            if value.shape != column[0].shape:
                raise UserError(
                    f"{name!r} of item {place} of the Dataset has shape {value.shape}, but that of item 0 has "
                    f"{column[0].shape}; pad or crop them alike"
                )
    return {name: np.stack(column) for name, column in columns.items()}


def _named(item: Any, names: Sequence[str], place: int, *, may_lack_target: bool) -> dict[str, Any]:
    """Name to value of one item."""
    if isinstance(item, Mapping):
        return {str(name): value for name, value in item.items()}
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise UserError(
            f"item {place} of the Dataset is a {type(item).__name__}; expected a mapping from name to value, or a "
            "tuple of values and the target"
        )
    is_pair = len(item) == 2 and isinstance(item[0], Mapping | tuple | list)  # of all that goes in, and the target
    if may_lack_target and len(item) == len(names) and not is_pair:
        return dict(zip(names, item, strict=True))
    *values, target = item
    if len(values) == 1 and isinstance(values[0], Mapping):
        return {**{str(name): value for name, value in values[0].items()}, TARGET: target}
    if len(values) == 1 and isinstance(values[0], tuple | list):
        values = list(values[0])
    own = list(names) or [f"input{number}" for number in range(len(values))]
    if len(own) != len(values):
        raise UserError(
            f"item {place} of the Dataset has {len(values)} values beside its target, but {len(own)} modalities are "
            f"named: {', '.join(own)}"
        )
    return {**dict(zip(own, values, strict=True)), TARGET: target}


def _plain(value: Any) -> NDArray[Any]:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value  # which numpy does not have
    array = np.asarray(value)
    if hasattr(value, "getbands") and array.ndim == 3:  # a picture of Pillow has its channels last
        return array.transpose(2, 0, 1)
    return array


def pick(arrays: Mapping[str, NDArray[Any]], name: str | None, role: str) -> NDArray[Any] | None:
    """The array of a role, such as the target; None if it has no name.

    Raises:
        UserError: If it is not there.
    """
    if name is None:
        return None
    if name not in arrays:
        raise unknown_name(f"{role} of the Dataset:", name, arrays)
    return arrays[name]


__all__ = ["TARGET", "arrays_of", "pick"]
