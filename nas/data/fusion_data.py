"""FusionData: named modalities, a target, a task and three splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.data.stored import Array, chunks
from nas.tasks import Task

if TYPE_CHECKING:
    from nas.data.splits import Fold
    from nas.data.tables import TableRecipe

Kind = Literal["vector", "sequence", "tokens", "map", "features"]
Split = Literal["weights", "architecture", "test"]

KINDS: tuple[Kind, ...] = get_args(Kind)
SPLITS: tuple[Split, ...] = get_args(Split)


COPIES = 4
"""Times their size that arrays take where all of a split is worked on at once: themselves, their splits, both training
splits together, and what is made of them in passing."""


HELD_SHARE = 4
"""Of the memory for data: where not all of it fits, one part in so many is for arrays as a whole, the smallest ones."""


def fits(num_bytes: int, memory: int | None) -> bool:
    """Whether arrays of this size may be worked on in memory, if the data of a run may take so many bytes."""
    return memory is None or COPIES * num_bytes <= memory


@dataclass(frozen=True, kw_only=True, eq=False)
class Modality:
    """One kind of input.

    Attributes:
        kind: vector (n, features), sequence (n, time, features), tokens (n, length) of integers with 0 as padding,
            map (n, channels, height, width), or features: one array per depth, each a vector, sequence or map.
        arrays: One numpy array, or one on disk, a `StoredArray`; for `features` one per depth, shallow to deep.
        present: Whether each sample has this modality, (n,); None if all have. Arrays are finite even where absent.
    """

    kind: Kind
    arrays: tuple[Any, ...]
    present: NDArray[np.bool_] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class FusionData:
    """A multimodal data set.

    Attributes:
        name: For people and records.
        modalities: Name to modality, two or more, in a fixed order.
        targets: (n,) int64 class indices, (n, labels) float32 of 0 and 1, or (n, outputs) float32 values.
        task: What the target is.
        splits: Indices of each split, sorted, disjoint. `weights` trains weights, `architecture` judges choices, `test`
            is read by `evaluate` alone.
        class_names: One per class or label; empty for regression.
        groups: Number of the group of each sample, (n,) int64; no group is in two splits. None for samples that do not
            belong together.
        sample_weights: How much each sample counts while weights learn, (n,) float32, 0 or more; None for all alike.
        recipe: How rows of a table became these arrays; None for data that was arrays from the beginning.
        memory: Bytes that the data of a run may take; None for any number.
    """

    name: str
    modalities: Mapping[str, Modality]
    targets: NDArray[Any]
    task: Task
    splits: Mapping[Split, NDArray[np.int64]]
    class_names: tuple[str, ...] = ()
    groups: NDArray[np.int64] | None = None
    sample_weights: NDArray[np.float32] | None = None
    recipe: TableRecipe | None = None
    memory: int | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        kinds = ", ".join(f"{name} ({modality.kind})" for name, modality in self.modalities.items())
        sizes = ", ".join(f"{len(indices)} {split}" for split, indices in self.splits.items())
        return f"<FusionData {self.name!r}: {self.task} from {kinds}; {sizes}>"

    @property
    def num_outputs(self) -> int:
        """Width of the head: classes, labels or regression outputs."""
        return int(self.targets.shape[1]) if self.targets.ndim == 2 else len(self.class_names)

    @property
    def is_streamed(self) -> bool:
        """Whether samples are read and copied batch by batch, since the splits as a whole would take too much."""
        return not fits(self.num_bytes(), self.memory)

    def num_bytes(self) -> int:
        """Memory that the arrays of all modalities would take."""
        return sum(array.nbytes for modality in self.modalities.values() for array in modality.arrays)

    @classmethod
    def from_arrays(
        cls,
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
        """Checks arrays and makes a data set of them; see `nas.data.from_arrays.from_arrays` for every argument.

        Example: `FusionData.from_arrays({"image": images, "audio": spectrograms}, labels)`

        Raises:
            UserError: If anything given is malformed.
        """
        from nas.data.from_arrays import from_arrays  # noqa: PLC0415 - that module needs this class

        return from_arrays(
            modalities,
            targets,
            task=task,
            splits=splits,
            kinds=kinds,
            present=present,
            name=name,
            class_names=class_names,
            groups=groups,
            sample_weights=sample_weights,
            fold=fold,
            seed=seed,
        )

    def describe(self) -> dict[str, Any]:
        """What the data set is, in plain values for JSON.

        Returns:
            `name`, `task`, `classes` (width of the head), `class_names`, `fingerprint`, `modalities` (name to `kind`,
            `shapes` of one sample of each array, `dtype`, `present_share` from 0 to 1) and `splits` (name to samples).
        """
        return {
            "name": self.name,
            "task": self.task,
            "classes": self.num_outputs,
            "class_names": list(self.class_names),
            "fingerprint": self.fingerprint(),
            "modalities": {name: _description(modality) for name, modality in self.modalities.items()},
            "splits": {split: len(indices) for split, indices in self.splits.items()},
        }

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with any array, target, split, weight or name of a modality or class.

        The name of the data set is left out: the same data in another file is the same data, on disk or in memory. So
        is the recipe: what it does shows in the arrays; and groups: what they do shows in the splits.
        """
        if self.is_streamed and self in _FINGERPRINTS:
            return _FINGERPRINTS[self]
        digest = hashlib.sha256()
        digest.update(json.dumps([self.task, list(self.class_names)]).encode())
        _update(digest, "targets", self.targets)
        for split in SPLITS:
            _update(digest, split, self.splits[split])
        if self.sample_weights is not None:
            _update(digest, "sample weights", self.sample_weights)
        for name, modality in self.modalities.items():
            for array in modality.arrays:
                _update(digest, f"{name}:{modality.kind}", array)
            if modality.present is not None:
                _update(digest, f"{name} present", modality.present)
        found = digest.hexdigest()[:12]
        if self.is_streamed:
            _FINGERPRINTS[self] = found
        return found


_FINGERPRINTS: WeakKeyDictionary[FusionData, str] = WeakKeyDictionary()
"""Of what is streamed, which would take minutes to read again and again."""


def _description(modality: Modality) -> dict[str, Any]:
    return {
        "kind": modality.kind,
        "shapes": [list(array.shape[1:]) for array in modality.arrays],
        "dtype": "/".join(dict.fromkeys(str(array.dtype) for array in modality.arrays)),
        "present_share": 1.0 if modality.present is None else float(modality.present.mean()),
    }


def _update(digest: hashlib._Hash, label: str, array: Array) -> None:
    """Feeds an array with its label, type and shape, so that equal bytes of different meaning hash differently."""
    digest.update(f"{label} {array.dtype.str} {array.shape}".encode())
    for part in chunks(array):
        digest.update(np.ascontiguousarray(part).data)
