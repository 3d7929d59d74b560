"""Tasks on which plain training of a fixed fusion is known to go wrong, each in one way, made from a seed.

Two modalities show hidden numbers, turned by a random rotation, in noise: vectors, or, for `hidden`, ready-made
features of three depths. A signal is a function of the hidden numbers, and its quartiles are four classes, so chance is
25 %. `FailureTask` tells what goes wrong where.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nas.data.from_arrays import from_arrays
from nas.data.fusion_data import FusionData
from nas.errors import UserError, unknown_name

FailureKind = Literal["hasty", "dominant", "leak", "prior", "hidden", "unaligned"]

HIDDEN = 4
CLASSES = 4

Array = NDArray[np.floating]
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FailureTask:
    """A task and all that it is made from.

    - `hasty`: the first modality has 512 features of which few say something, and weakly: a network soon knows its
      training samples by heart. The second says more, in a form that products have to undo, which takes time; once the
      first has brought the loss down, nothing is left to learn it from.
    - `dominant`: the first modality has 256 features of which few say much, at once; the second says as much, in a form
      that takes time. The first alone brings the loss down, by what it says and then by heart.
    - `leak`: in training the second modality shows the label of every sample, elsewhere nothing there. The first says
      what can be known, in a form that takes time.
    - `prior`: in training the second modality shows the label of nine samples in ten, or else any class; elsewhere
      always any class. The first says what can be known.
    - `hidden`: a product of both modalities beside a sum of both that is several times as strong, and few samples: a
      node that can learn both learns the sum as well, from too few samples, and leaves less to the node that adds.
    - `unaligned`: both modalities show the same four numbers among twenty of their own that are twice as large, each
      turned its own way; seven in ten labels of training say nothing. Which samples belong together is never wrong.

    Attributes:
        kind: What goes wrong.
        samples: In the weights split, and as many in the architecture split; 0 for the kind's own number.
        test_samples: Many, so that their luck does not decide between trainings.
        seed: Of every draw.
    """

    kind: FailureKind
    samples: int = 0
    test_samples: int = 5000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise unknown_name("kind of failure task", self.kind, _KINDS)
        if min(self.samples or 100, self.test_samples) < 100:
            raise UserError(f"each split needs at least 100 samples, got {self.samples} and {self.test_samples}")

    @property
    def modalities(self) -> tuple[str, str]:
        """Their names."""
        return _KINDS[self.kind][1]

    def make(self) -> FusionData:
        """Its data; equal tasks give equal data. "In training" is the weights split."""
        build, names, samples = _KINDS[self.kind]
        count = self.samples or samples
        splits = np.repeat([0, 1, 2], [count, count, self.test_samples])
        first, second, labels = build(splits == 0, np.random.default_rng(self.seed))
        return from_arrays(dict(zip(names, (first, second), strict=True)), labels, splits=splits, name=self.name)

    @property
    def name(self) -> str:
        """Such as "leak-s0"."""
        return f"{self.kind}-s{self.seed}"


Shown = Array | list[Array]
"""A vector (n, features), or such a vector for each of three depths, float32."""

Build = Callable[[NDArray[np.bool_], np.random.Generator], tuple[Shown, Shown, Labels]]
"""From which samples are for training, (n,), to both modalities and the labels (n,)."""


def _hasty(training: NDArray[np.bool_], generator: np.random.Generator) -> tuple[Shown, Shown, Labels]:
    return _fast_and_slow(training, generator, features=512, strength=1.0, weight=0.5)


def _dominant(training: NDArray[np.bool_], generator: np.random.Generator) -> tuple[Shown, Shown, Labels]:
    return _fast_and_slow(training, generator, features=256, strength=3.0, weight=1.0)


def _fast_and_slow(
    training: NDArray[np.bool_], generator: np.random.Generator, *, features: int, strength: float, weight: float
) -> tuple[Shown, Shown, Labels]:
    """Many features of noise, with hidden numbers of this strength and this weight in the signal, and a harder form."""
    slow, fast = _drawn(training, generator), _drawn(training, generator)
    first = _shown(strength * fast, features, 1.0, generator)
    second = _shown(_harder(slow, generator), 16, 0.1, generator)
    return first, second, _quartiles(_along(slow, generator) + weight * _along(fast, generator))


def _leak(training: NDArray[np.bool_], generator: np.random.Generator) -> tuple[Shown, Shown, Labels]:
    picture, tag = _drawn(training, generator), _drawn(training, generator)
    labels = _quartiles(_along(picture, generator) + 0.5 * _along(tag, generator))
    told = np.where(training[:, None], 3 * np.eye(CLASSES)[labels], 0)
    first = _shown(_harder(picture, generator), 16, 0.1, generator)
    return first, _shown(np.concatenate([tag, told], axis=1), 16, 0.1, generator), labels


def _prior(training: NDArray[np.bool_], generator: np.random.Generator) -> tuple[Shown, Shown, Labels]:
    picture = _drawn(training, generator)
    labels = _quartiles(_along(picture, generator))
    is_told = training & (generator.random(len(training)) < 0.9)
    told = np.where(is_told, labels, generator.integers(0, CLASSES, len(training)))
    return _shown(picture, 16, 0.4, generator), _shown(3 * np.eye(CLASSES)[told], 16, 0.3, generator), labels


def _hidden(training: NDArray[np.bool_], generator: np.random.Generator) -> tuple[Shown, Shown, Labels]:
    left, right = _drawn(training, generator), _drawn(training, generator)
    added = _along(left, generator) + _along(right, generator)
    signal = 2 * added + _along(left, generator) * _along(right, generator)
    first, second = ([_shown(one, 8, 0.3, generator) for _ in range(3)] for one in (left, right))
    return first, second, _quartiles(signal)


def _unaligned(training: NDArray[np.bool_], generator: np.random.Generator) -> tuple[Shown, Shown, Labels]:
    shared = _drawn(training, generator)
    labels = _quartiles(_along(shared, generator))
    is_wrong = training & (generator.random(len(training)) < 0.7)
    labels = np.where(is_wrong, generator.integers(0, CLASSES, len(training)), labels)
    own = 2 * generator.standard_normal((2, len(training), 20))
    first, second = (_shown(np.concatenate([shared, one], axis=1), 32, 0.3, generator) for one in own)
    return first, second, labels


_KINDS: Mapping[FailureKind, tuple[Build, tuple[str, str], int]] = {
    "hasty": (_hasty, ("hasty", "steady"), 800),
    "dominant": (_dominant, ("dominant", "slow"), 800),
    "leak": (_leak, ("picture", "tag"), 1000),
    "prior": (_prior, ("picture", "tag"), 1500),
    "hidden": (_hidden, ("left", "right"), 300),
    "unaligned": (_unaligned, ("left", "right"), 1600),
}
"""Kind to what builds it, the names of its modalities, and the samples of a split."""


def _drawn(training: NDArray[np.bool_], generator: np.random.Generator) -> Array:
    return generator.standard_normal((len(training), HIDDEN))


def _along(hidden: Array, generator: np.random.Generator) -> Array:
    """The hidden numbers along a random direction of length 1, (samples,)."""
    direction = generator.standard_normal(hidden.shape[1])
    return np.asarray(hidden @ (direction / np.linalg.norm(direction)))


def _harder(hidden: Array, generator: np.random.Generator) -> Array:
    """The same numbers in a form that products have to undo: (z ⊙ e, e) with random signs e."""
    signs = generator.choice([-1.0, 1.0], size=hidden.shape)
    return np.concatenate([hidden * signs, signs], axis=1)


def _shown(numbers: Array, features: int, noise: float, generator: np.random.Generator) -> Array:
    """Numbers (samples, numbers), turned into more features (samples, features), in noise of this deviation."""
    rotation = np.linalg.qr(generator.standard_normal((features, features)))[0]
    turned = numbers @ rotation[: numbers.shape[1]]
    return np.asarray(turned + noise * generator.standard_normal(turned.shape), dtype=np.float32)


def _quartiles(signal: Array) -> Labels:
    return np.asarray(np.digitize(signal, np.quantile(signal, [0.25, 0.5, 0.75])), dtype=np.int64)


__all__ = ["FailureKind", "FailureTask"]
