"""Tasks whose best routing is known by construction: for every sample it is known which modalities have to be read.

Every modality is a sequence that shows the same at every step, in noise of its own: hidden numbers and a mark, turned
by a random rotation. The signal is a sum of one linear function of hidden numbers of each modality that counts for a
sample; its quartiles are four classes, so chance is 25 %.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nas.data.from_arrays import from_arrays
from nas.data.fusion_data import FusionData
from nas.errors import UserError, unknown_name

DynamicKind = Literal["half", "corrupted", "one_of_three"]

HIDDEN = 4
FEATURES = 8
TIME = 16

CORRUPTED_SHARE = 0.4

_KINDS = {"half": 2, "corrupted": 2, "one_of_three": 3}
"""Kind to its number of modalities."""


@dataclass(frozen=True, kw_only=True)
class DynamicTask:
    """A task and all that it is made from.

    - `half`: m0 is needed always, m1 for the half of the samples that a mark in m0 names; elsewhere m1 is but noise.
    - `corrupted`: m0 is needed always, m1 too, but for 40 % it shows a mark of its own and three times as large numbers
      that have nothing to do with the signal: there it cannot help, and it is best to say what m0 says.
    - `one_of_three`: each sample needs one of m0, m1 and m2: that which bears the mark. The others are but noise.

    Attributes:
        kind: What differs from sample to sample.
        noise: Deviation of the noise on every feature.
        samples: In the weights split and in the test split, and half as many in the architecture split.
        seed: Of every draw.
    """

    kind: DynamicKind
    noise: float = 0.2
    samples: int = 3000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise unknown_name("kind of dynamic task", self.kind, _KINDS)
        if not self.noise >= 0:
            raise UserError(f"noise must be 0 or more, got {self.noise}")
        if self.samples < 100:
            raise UserError(f"a task needs at least 100 samples, got {self.samples}")

    @property
    def modalities(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(f"m{number}" for number in range(_KINDS[self.kind]))

    def make(self) -> tuple[FusionData, NDArray[np.bool_]]:
        """Its data, and which modalities every sample needs, (n, modalities); equal tasks give equal data."""
        generator = np.random.default_rng(self.seed)
        count, half = self.samples, self.samples // 2
        total, width = 2 * count + half, len(self.modalities)
        needed = np.ones((total, width), dtype=np.bool_)
        mark = np.zeros((total, width))
        hidden = generator.standard_normal((total, width, HIDDEN))
        shown = hidden.copy()
        if self.kind == "half":
            needed[:, 1] = generator.random(total) < 0.5
            mark[:, 0] = np.where(needed[:, 1], 1, -1)
            shown[~needed] = 0
        elif self.kind == "corrupted":
            needed[:, 1] = generator.random(total) >= CORRUPTED_SHARE
            mark[:, 1] = np.where(needed[:, 1], 1, -1)
            shown[~needed] = 3 * generator.standard_normal((int((~needed).sum()), HIDDEN))
        else:
            needed = generator.integers(0, width, total)[:, None] == np.arange(width)
            mark = np.where(needed, 1.0, -1.0)
            shown[~needed] = 0
        directions = generator.standard_normal((width, HIDDEN))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        counts = needed if self.kind != "corrupted" else True
        signal = ((hidden * directions).sum(axis=2) * counts).sum(axis=1)
        arrays = {}
        for number, name in enumerate(self.modalities):
            numbers = np.concatenate([shown[:, number], mark[:, number, None]], axis=1)
            rotation = np.linalg.qr(generator.standard_normal((FEATURES, FEATURES)))[0]
            noise = self.noise * generator.standard_normal((total, TIME, FEATURES))
            arrays[name] = ((numbers @ rotation[: HIDDEN + 1])[:, None] + noise).astype(np.float32)
        labels = np.digitize(signal, np.quantile(signal, [0.25, 0.5, 0.75]))
        splits = np.repeat([0, 1, 2], [count, half, count])
        name = f"{self.kind}-n{self.noise:g}-s{self.seed}"
        return from_arrays(arrays, labels, splits=splits, name=name), needed


def dynamic_half(seed: int = 0) -> FusionData:
    """Made sequences: the second modality is needed by half of the samples, which the first one names."""
    return replace(DynamicTask(kind="half", seed=seed).make()[0], name="dynamic_half")


def dynamic_corrupted(seed: int = 0) -> FusionData:
    """Made sequences: the second modality is corrupted in 40 % of the samples, and shows it."""
    return replace(DynamicTask(kind="corrupted", seed=seed).make()[0], name="dynamic_corrupted")


def dynamic_one_of_three(seed: int = 0) -> FusionData:
    """Made sequences: of three modalities each sample needs one, which bears a mark."""
    return replace(DynamicTask(kind="one_of_three", seed=seed).make()[0], name="dynamic_one_of_three")


__all__ = ["DynamicKind", "DynamicTask", "dynamic_corrupted", "dynamic_half", "dynamic_one_of_three"]
