"""What a data set is, as `FusionData.describe` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nas.data.fusion_data import Kind
from nas.fields import Number, Registered, Whole
from nas.records import checked
from nas.summary.leaderboard import COUNT
from nas.tasks import TASKS, Task


@dataclass(frozen=True, kw_only=True)
class ModalityDescription:
    """One modality.

    Attributes:
        kind: Of its arrays.
        shapes: Of one sample of each array.
        dtype: Of the arrays.
        present_share: Share of the samples that have it.
    """

    kind: Kind
    shapes: tuple[tuple[int, ...], ...] = checked(COUNT)
    dtype: str
    present_share: float = checked(Number("from 0 to 1", high=1.0, below=False))


@dataclass(frozen=True, kw_only=True)
class DataDescription:
    """A data set.

    Attributes:
        name: For people.
        task: What the target is.
        classes: Width of the head.
        class_names: One per class or label; empty for regression.
        fingerprint: Changes with the data; see `FusionData.fingerprint`.
        modalities: By name.
        splits: Name to samples.
    """

    name: str
    task: Task = checked(Registered(TASKS))
    classes: int = checked(Whole(1, 2**31))
    class_names: tuple[str, ...]
    fingerprint: str
    modalities: Mapping[str, ModalityDescription] = checked(fewest=1)
    splits: Mapping[str, int] = checked(COUNT)
