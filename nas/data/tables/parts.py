"""What all parts of a recipe share: plain values there and back, checked, because a run may come from a stranger."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError
from nas.fields import Form, Number, check_all, told


class Part(Protocol):
    """A frozen dataclass that says what its fields may hold."""

    @classmethod
    def forms(cls) -> Mapping[str, Form]:
        """Field to what it may hold."""


Made = TypeVar("Made", bound=Part)

MAX_NAME = 1000
"""Characters of the name of a column."""

MAX_CELL = 200
"""Characters of a word or a category that are told apart."""

MOSTLY = 0.8
"""Share of numbers in a column from which words among them are taken for a mistake."""

LARGEST = 1e100
"""Size of a number up to which numbers are told apart, so that none of what is computed of them overflows."""

FINITE = Number("a number between -1e100 and 1e100", -LARGEST, LARGEST, below=False)
SCALE = Number("a number between 1e-100 and 1e100", 1 / LARGEST, LARGEST, below=False)


@dataclass(frozen=True)
class OneOf:
    """One of some words.

    Attributes:
        known: These.
    """

    known: Sequence[str]

    @property
    def words(self) -> str:
        """After "must be"."""
        return f"one of {', '.join(self.known)}"

    def allows(self, value: Any) -> bool:
        """Whether it is so."""
        return isinstance(value, str) and value in self.known


@dataclass(frozen=True)
class Listed:
    """Plain values of parts, which are checked when these are made.

    Attributes:
        fewest: How many at least.
        most: How many at most.
    """

    fewest: int
    most: int

    @property
    def words(self) -> str:
        """After "must be"."""
        return f"a list of {self.fewest} to {self.most} entries"

    def allows(self, value: Any) -> bool:
        """Whether it is so."""
        return isinstance(value, list | tuple) and self.fewest <= len(value) <= self.most


@dataclass(frozen=True)
class Named:
    """Plain values under names, which are checked when something is made of them."""

    words: str = "an object of names and values"

    def allows(self, value: Any) -> bool:
        """Whether it is so."""
        return isinstance(value, Mapping)


def to_plain(part: Any, kind: str = "") -> dict[str, Any]:
    """The fields of a part as JSON holds them, after its kind if there are several."""
    return {**({"kind": kind} if kind else {}), **dataclasses.asdict(part)}


def from_plain(made: type[Made], values: Any, label: str) -> Made:
    """A part from what `to_plain` gave; a kind that is no field was read before.

    Raises:
        UserError: If a field is missing, unknown or of another form.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{label} must be an object of names and values, got {told(values)}")
    forms = made.forms()
    given = {name: value for name, value in values.items() if name != "kind" or name in forms}
    check_all(given, forms, f"{label}:")
    return made(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def robust_scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """Median and a deviation that a few far values do not move: of the middle half, or the plain one if that is 0.

    Args:
        values: (n,), of a size of at most `LARGEST`; may be empty.
    """
    if not len(values):
        return 0.0, 1.0
    low, center, high = np.quantile(values, (0.25, 0.5, 0.75))
    scale = float((high - low) / 1.349)  # as of a normal distribution, whose middle half is that wide
    scale = scale or float(values.std())
    return float(center), min(scale, LARGEST) if scale > 1 / LARGEST else 1.0


def softened(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standardized values as they are up to 3 deviations, and beyond that by their logarithm: 3 + log(|z| - 2)."""
    size = np.abs(values)
    return np.where(size <= 3, values, np.sign(values) * (3 + np.log(np.maximum(size - 2, 1))))
