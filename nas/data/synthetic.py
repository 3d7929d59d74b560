"""Tasks whose best fusion is known by construction: per-depth features of two or more modalities, made from a seed.

A kind says how the modalities' hidden numbers make a signal. Its quartiles are four classes, so chance is 25 %, unless
another target is asked for: its sign, whether it is among the largest 5 %, itself, or three labels that say which
quartiles it exceeds. At its depth a modality offers its hidden numbers z themselves, turned by a random rotation into
more features, in noise. At any other depth it offers the same numbers in a harder form: (z ⊙ e, e) with random signs e,
and so on for every depth further away. Nothing is lost, yet products within the modality have to be undone before
anything can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas.data.from_arrays import from_arrays
from nas.data.fusion_data import FusionData
from nas.errors import UserError, unknown_name

TaskKind = Literal[
    "unimodal",
    "redundant",
    "additive",
    "multiplicative",
    "bilinear",
    "switch",
    "shift",
    "alignment",
    "staged",
    "parity",
    "lag",
    "nothing",
    "crossed_additive",
    "crossed_product",
    "chain",
]

TargetKind = Literal["quartiles", "sign", "rare", "regression", "multilabel"]

HIDDEN = 4
"""Hidden numbers of a modality; of `alignment` and `lag` it is the time and one more, at every step."""

CROSSED: tuple[TaskKind, ...] = ("crossed_additive", "crossed_product", "chain")
"""Kinds whose modalities have to be read at different depths."""

Array = NDArray[np.float64]
Hidden = list[Array]
"""For every modality its numbers at every time step, (samples, time, numbers)."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the best fusion of a task is.

    Attributes:
        order: The lowest interaction order that suffices.
        depths: Where something has to be read, shallow to deep; empty if nothing is worth reading.
        modalities: Those that have to be read; of `redundant` any other one would do as well.
        joins: Taps that meet each other, and in the next tuple those that meet what became of them, and so on. Empty
            where all modalities are read at the same depths.
    """

    order: int
    depths: tuple[int, ...]
    modalities: tuple[str, ...]
    joins: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class KnownTask:
    """A task and all that it is made from.

    Attributes:
        kind: How the signal comes about.
        depth: Where it can be read, from 0; `staged` is read at the last depth as well. Of the `CROSSED` kinds that is
            so of the first modality; the others are read at `far`.
        modalities: How many, at least 2.
        depths: How many taps each modality offers, at least 3.
        time: Steps of every tap; 1 for vectors, and at least 3 for `alignment`.
        noise: Deviation of the noise on every feature, in units of the features' own deviation.
        samples: In the weights split, and as many in the architecture split.
        test_samples: In the test split: many, so that its luck does not decide between architectures.
        seed: Of every draw.
        target: What is made of the signal.
        missing: Share of the samples that lack a modality, each of the later ones by itself, 0 to below 1.
    """

    kind: TaskKind
    depth: int = 1
    modalities: int = 2
    depths: int = 3
    time: int = 1
    noise: float = 0.1
    samples: int = 1200
    test_samples: int = 4000
    seed: int = 0
    target: TargetKind = "quartiles"
    missing: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise unknown_name("kind of task", self.kind, _KINDS)
        if self.depths < 3:
            raise UserError(f"a task needs three depths or more, got {self.depths}")
        last = self.depths - 1 - (self.kind == "staged")
        if not 0 <= self.depth <= last:
            raise UserError(f"depth of {self.kind} must be from 0 to {last}, got {self.depth}")
        if self.modalities < 2:
            raise UserError(f"a task needs two modalities or more, got {self.modalities}")
        least = 3 if self.kind in ("alignment", "lag") else 1
        if self.time < least:
            raise UserError(f"time of {self.kind} must be at least {least}, got {self.time}")
        if not self.noise >= 0:
            raise UserError(f"noise must be 0 or more, got {self.noise}")
        if self.target not in _TARGETS:
            raise unknown_name("target", self.target, _TARGETS)
        if not 0 <= self.missing < 1:
            raise UserError(f"missing must be from 0 to below 1, got {self.missing}")
        if min(self.samples, self.test_samples) < 100:
            raise UserError(f"each split needs at least 100 samples, got {self.samples} and {self.test_samples}")

    @property
    def far(self) -> int:
        """The depth at which the `CROSSED` kinds read all but the first modality: the last one, or the first."""
        return 0 if 2 * self.depth >= self.depths - 1 and self.depth else self.depths - 1

    @property
    def total_samples(self) -> int:
        """Of all three splits."""
        return 2 * self.samples + self.test_samples

    @property
    def name(self) -> str:
        """Such as "multiplicative-d1-m2-t1-n0.1-s0"."""
        more = "" if self.target == "quartiles" else f"-{self.target}"
        more += f"-missing{self.missing:g}" if self.missing else ""
        return f"{self.kind}-d{self.depth}-m{self.modalities}-t{self.time}-n{self.noise:g}-s{self.seed}{more}"

    def answer(self) -> Answer:
        """What the best fusion is, by construction."""
        order, needed = _KINDS[self.kind][1:]
        depths: tuple[int, ...] = (self.depth,)
        if self.kind == "staged":
            depths = (self.depth, self.depths - 1)
        elif self.kind == "nothing":
            depths = ()
        names = _names(self.modalities)
        if self.kind in CROSSED:
            first = (f"{names[0]}@{self.depth}", *(f"{name}@{self.far}" for name in names[1:]))
            joins = (first, (f"{names[0]}@{self.far}",)) if self.kind == "chain" else (first,)
            depths = tuple(sorted((self.depth, self.far)))
            return Answer(order=order, depths=depths, modalities=names, joins=joins)
        return Answer(order=order, depths=depths, modalities=names if needed is None else names[:needed])

    def make(self) -> FusionData:
        """Its data; equal tasks give equal data."""
        generator = np.random.default_rng(self.seed)
        signal, parts = _KINDS[self.kind][0](self, generator)
        taps = _joined([_taps(hidden, depth, self.depths, generator) for depth, hidden in parts])
        arrays = {
            name: [_noisy(tap, self.noise, generator).astype(np.float32) for tap in depths]
            for name, depths in zip(_names(self.modalities), taps, strict=True)
        }
        splits = np.repeat([0, 1, 2], [self.samples, self.samples, self.test_samples])
        targets = _TARGETS[self.target](signal)
        present = {
            name: generator.random(self.total_samples) >= self.missing
            for name in _names(self.modalities)[1:]
            if self.missing
        }
        return from_arrays(arrays, targets, splits=splits, name=self.name, present=present)


def known_answer(kind: TaskKind, depth: int = 1, modalities: int = 2, **options: float) -> FusionData:
    """The data of a task of this kind.

    Args:
        kind: How the signal comes about.
        depth: Where it can be read.
        modalities: How many.
        options: The other attributes of `KnownTask`, whose `answer` tells what the best fusion is.

    Raises:
        UserError: If there is no such kind, or the numbers make no task.
    """
    return KnownTask(kind=kind, depth=depth, modalities=modalities, **options).make()  # type: ignore[arg-type]


def known_tasks(seed: int = 0) -> list[KnownTask]:
    """The forty tasks by which searches are judged: four of every kind.

    They differ in depth, in noise, in the number of modalities, and in whether these are vectors or sequences. Of
    `staged` and of the noisiest `alignment` there are more samples than of the others: with 1200 their answer, trained
    from scratch, is 2 to 4 points behind the same with another node that reads nothing of use but holds back
    overfitting. Of `nothing` there are more to test by, for there is nothing but luck between architectures.
    """
    found = []
    for kind in (kind for kind in _KINDS if kind not in ("parity", "lag", *CROSSED)):
        time = 4 if kind == "alignment" else 1
        deepest = 1 if kind == "staged" else 2
        of_kind = partial(
            KnownTask,
            kind=kind,
            seed=seed,
            samples=4800 if kind == "staged" else 1200,
            test_samples=40_000 if kind == "nothing" else 4000,
        )
        noisiest = of_kind(depth=1, time=time, noise=0.4)
        found += [
            of_kind(depth=0, time=time),
            replace(noisiest, samples=2400) if kind == "alignment" else noisiest,
            of_kind(depth=deepest, time=max(3, time), noise=0.2),
            of_kind(depth=1, time=time, modalities=3),
        ]
    return found


def wide_tasks(seed: int) -> list[KnownTask]:
    """Thirty tasks of every kind, of two, three and six modalities, with other targets and with missing modalities.

    Depths and noise are drawn from the seed, so that those of another seed are other tasks.
    """
    generator = np.random.default_rng(seed)

    def task(kind: TaskKind, modalities: int, **options: Any) -> KnownTask:
        time = 4 if kind in ("alignment", "lag") else int(generator.choice([1, 1, 3]))
        return KnownTask(
            kind=kind,
            depth=int(generator.integers(0, 2 if kind == "staged" else 3)),
            modalities=modalities,
            time=time,
            noise=float(generator.choice([0.1, 0.2, 0.4])),
            samples=4800 if kind == "staged" else 2400 if kind in ("alignment", "lag") else 1200,
            seed=seed,
            **options,
        )

    every = [kind for kind in _KINDS if kind not in ("parity", *CROSSED)]
    return [
        *(task(kind, 2) for kind in every),
        *(task(kind, 3) for kind in ("unimodal", "additive", "multiplicative", "bilinear", "switch", "alignment")),
        *(task(kind, 6) for kind in ("unimodal", "additive", "bilinear", "switch")),
        *(task("parity", count, target="sign") for count in (2, 3)),
        *(task(kind, 2, target="rare") for kind in ("additive", "multiplicative")),
        *(task(kind, 3, target="regression") for kind in ("additive", "bilinear")),
        task("shift", 2, target="multilabel"),
        *(task(kind, 2, missing=0.3) for kind in ("additive", "bilinear")),
    ]


def crossed_tasks(seed: int) -> list[KnownTask]:
    """Twelve tasks whose modalities have to be read at different depths: four of every kind, drawn from the seed."""
    generator = np.random.default_rng(seed)
    return [
        KnownTask(
            kind=kind,
            depth=int(generator.integers(0, 3)),
            modalities=2 + (number == 3),
            time=int(generator.choice([1, 1, 3])),
            noise=float(generator.choice([0.1, 0.2])),
            samples=2400 if kind == "chain" else 1200,
            seed=seed + number,
        )
        for kind in CROSSED
        for number in range(4)
    ]


Parts = list[tuple[int | Sequence[int], Hidden]]
"""What can be read at which depth: of all modalities at the same one, or of each at its own."""

Build = Callable[[KnownTask, np.random.Generator], tuple[Array, Parts]]


def _names(modalities: int) -> tuple[str, ...]:
    return tuple(f"m{number}" for number in range(modalities))


def _drawn(task: KnownTask, generator: np.random.Generator) -> Hidden:
    """Independent hidden vectors, the same at every time step."""
    return [
        np.repeat(generator.standard_normal((task.total_samples, 1, HIDDEN)), task.time, axis=1)
        for _ in range(task.modalities)
    ]


def _along(hidden: Array, generator: np.random.Generator) -> Array:
    """The hidden vectors along a random direction of length 1, (samples,)."""
    direction = generator.standard_normal(hidden.shape[2])
    return np.asarray(hidden[:, 0] @ (direction / np.linalg.norm(direction)))


def _one_part(signal: Callable[[Hidden, np.random.Generator], Array]) -> Build:
    """Builds a task whose signal is a function of independent hidden vectors."""

    def build(task: KnownTask, generator: np.random.Generator) -> tuple[Array, Parts]:
        hidden = _drawn(task, generator)
        parts: Parts = [(task.depth, hidden)]
        return signal(hidden, generator), parts

    return build


def _unimodal(hidden: Hidden, generator: np.random.Generator) -> Array:
    return _along(hidden[0], generator)


def _redundant(hidden: Hidden, generator: np.random.Generator) -> Array:
    for other in hidden[1:]:
        other[:] = hidden[0]
    return _along(hidden[0], generator)


def _additive(hidden: Hidden, generator: np.random.Generator) -> Array:
    return np.asarray(np.sum([_along(z, generator) for z in hidden], axis=0))


def _multiplicative(hidden: Hidden, generator: np.random.Generator) -> Array:
    return np.asarray(np.prod([_along(z, generator) for z in hidden], axis=0))


def _bilinear(hidden: Hidden, generator: np.random.Generator) -> Array:
    """z0ᵀ W z1 with an orthogonal W: as many products as there are hidden numbers."""
    rotation = np.linalg.qr(generator.standard_normal((HIDDEN, HIDDEN)))[0]
    return np.asarray(((hidden[0][:, 0] @ rotation) * hidden[1][:, 0]).sum(axis=1))


def _switch(hidden: Hidden, generator: np.random.Generator) -> Array:
    """The sign of one number of the first modality says whether to read the rest of it, or the second."""
    return np.asarray(
        np.where(hidden[0][:, 0, 0] > 0, _along(hidden[0][..., 1:], generator), _along(hidden[1], generator))
    )


def _shift(hidden: Hidden, generator: np.random.Generator) -> Array:
    """The first modality, moved by the second as far as a gate of both is open."""
    gate = np.maximum(_along(hidden[0], generator) + _along(hidden[1], generator), 0)
    return np.asarray(_along(hidden[0], generator) + 1.5 * gate * _along(hidden[1], generator))


def _parity(hidden: Hidden, generator: np.random.Generator) -> Array:
    """The product of the signs of all modalities, so sharp that no single number of any tells anything."""
    return np.asarray(np.prod([np.sign(_along(z, generator)) for z in hidden], axis=0))


def _nothing(hidden: Hidden, generator: np.random.Generator) -> Array:
    return generator.standard_normal(len(hidden[0]))


def _staged(task: KnownTask, generator: np.random.Generator) -> tuple[Array, Parts]:
    """One product of two modalities that can be read at a depth, plus another that can be read at the last."""
    parts: Parts = [(task.depth, _drawn(task, generator)), (task.depths - 1, _drawn(task, generator))]
    return np.asarray(sum(_multiplicative(hidden[:2], generator) for _, hidden in parts)), parts


def _crossed(signal: Callable[[Hidden, np.random.Generator], Array]) -> Build:
    """Builds a task whose first modality is read at the task's depth, and the others at `KnownTask.far`."""

    def build(task: KnownTask, generator: np.random.Generator) -> tuple[Array, Parts]:
        hidden = _drawn(task, generator)
        parts: Parts = [((task.depth, *[task.far] * (task.modalities - 1)), hidden)]
        return signal(hidden, generator), parts

    return build


def _chain(task: KnownTask, generator: np.random.Generator) -> tuple[Array, Parts]:
    """The product of a crossed product and what else the first modality shows, where the others are read."""
    product, parts = _crossed(_multiplicative)(task, generator)
    more = _drawn(task, generator)
    parts.append((task.far, more))
    return product * _along(more[0], generator), parts


def _alignment(task: KnownTask, generator: np.random.Generator) -> tuple[Array, Parts]:
    """Every step of the first modality shows a key and whether it is marked, of the second a key and a value.

    The keys of the second are in an order of their own for every sample. The signal is the value under the marked key.
    """
    keys = np.eye(task.time)
    count = task.total_samples
    rows = np.arange(count)
    marked = generator.integers(0, task.time, count)
    order = np.argsort(generator.random((count, task.time)), axis=1)
    values = generator.standard_normal((count, task.time, 1))
    marks = (np.arange(task.time) == marked[:, None])[..., None].astype(np.float64)
    first = np.concatenate([np.repeat(keys[None], count, axis=0), marks], axis=2)
    second = np.concatenate([keys[order], values], axis=2)
    others = [generator.standard_normal(first.shape) for _ in range(task.modalities - 2)]
    signal = values[rows, (order == marked[:, None]).argmax(axis=1), 0]
    return np.asarray(signal), [(task.depth, [first, second, *others])]


def _lag(task: KnownTask, generator: np.random.Generator) -> tuple[Array, Parts]:
    """Products of what the first modality shows at one step and the second at the next, summed over time.

    Every step also shows which one it is.
    """
    count, steps = task.total_samples, np.eye(task.time)
    values = [generator.standard_normal((count, task.time, 1)) for _ in range(task.modalities)]
    clock = np.repeat(steps[None], count, axis=0)
    signal = (values[0][:, :-1, 0] * values[1][:, 1:, 0]).sum(axis=1)
    return np.asarray(signal), [(task.depth, [np.concatenate([clock, one], axis=2) for one in values])]


_TARGETS: Mapping[TargetKind, Callable[[Array], NDArray[Any]]] = {
    "quartiles": lambda signal: np.digitize(signal, np.quantile(signal, [0.25, 0.5, 0.75])),
    "sign": lambda signal: (signal > 0).astype(np.int64),
    "rare": lambda signal: (signal > np.quantile(signal, 0.95)).astype(np.int64),
    "regression": lambda signal: (signal - signal.mean()) / signal.std(),
    "multilabel": lambda signal: (signal[:, None] > np.quantile(signal, [0.25, 0.5, 0.75])).astype(np.int64),
}
"""Signal (samples,) to targets."""

_KINDS: Mapping[TaskKind, tuple[Build, int, int | None]] = {
    "unimodal": (_one_part(_unimodal), 0, 1),
    "redundant": (_one_part(_redundant), 0, 1),
    "additive": (_one_part(_additive), 1, None),
    "multiplicative": (_one_part(_multiplicative), 2, None),
    "bilinear": (_one_part(_bilinear), 2, 2),
    "switch": (_one_part(_switch), 2, 2),
    "shift": (_one_part(_shift), 2, 2),
    "alignment": (_alignment, 3, 2),
    "staged": (_staged, 2, 2),
    "parity": (_one_part(_parity), 2, None),
    "lag": (_lag, 3, 2),
    "nothing": (_one_part(_nothing), 0, 0),
    "crossed_additive": (_crossed(_additive), 1, None),
    "crossed_product": (_crossed(_multiplicative), 2, None),
    "chain": (_chain, 2, None),
}
"""Kind to what builds it, the interaction order that suffices, how many modalities have to be read (None for all)."""


def _taps(hidden: Hidden, depth: int | Sequence[int], depths: int, generator: np.random.Generator) -> list[list[Array]]:
    """For every modality a tap per depth, (samples, time, numbers · depths): the harder, the farther from its depth."""
    taps = []
    for z, own in zip(hidden, [depth] * len(hidden) if isinstance(depth, int) else depth, strict=True):
        count = z.shape[2]
        forms = [z]
        for _ in range(depths - 1):
            signs = np.repeat(generator.choice([-1.0, 1.0], size=(len(z), 1, count)), z.shape[1], axis=1)
            forms.append(np.concatenate([forms[-1][..., :count] * signs, forms[-1][..., count:], signs], axis=2))
        taps.append([_rotated(forms[abs(at - own)], count * depths, generator) for at in range(depths)])
    return taps


def _rotated(values: Array, features: int, generator: np.random.Generator) -> Array:
    """Numbers (samples, time, numbers) as more features (samples, time, features), lengths and angles unchanged."""
    rotation = np.linalg.qr(generator.standard_normal((features, features)))[0]
    return np.asarray(values @ rotation[: values.shape[2]])


def _joined(parts: Sequence[list[list[Array]]]) -> list[list[Array]]:
    """The features of several parts side by side, for every modality and depth."""
    return [
        [np.concatenate(pieces, axis=2) for pieces in zip(*modality, strict=True)]
        for modality in zip(*parts, strict=True)
    ]


def _noisy(tap: Array, noise: float, generator: np.random.Generator) -> Array:
    """The noise is independent from step to step."""
    return np.asarray(tap + noise * tap.std() * generator.standard_normal(tap.shape))


__all__ = [
    "CROSSED",
    "Answer",
    "KnownTask",
    "TargetKind",
    "TaskKind",
    "crossed_tasks",
    "known_answer",
    "known_tasks",
    "wide_tasks",
]
