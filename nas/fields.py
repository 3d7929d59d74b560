"""What a field of a configuration or of a description may hold, stated once beside it and checked in one place.

    channels: int = setting(48, Whole(1, 4096), "Width of the network.")

Values come from people and from files of strangers: a text is no number, a yes is no 1, and sizes have an end.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol, TypeVar

from nas.errors import UserError, unknown_name

Config = TypeVar("Config")

MAX_CHANNELS = 8192
"""Width of adapters, fusion nodes and head: far more than helps on data of one machine."""


class Form(Protocol):
    """What a value must be."""

    @property
    def words(self) -> str:
        """After "must be"."""

    def allows(self, value: Any) -> bool:
        """Whether it is so."""


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


@dataclass(frozen=True)
class Whole:
    """A whole number.

    Attributes:
        low: The least one.
        high: The greatest one; generous, for it is there to refuse what no memory holds.
        zero: What 0 stands for, if it is not simply a number.
    """

    low: int
    high: int
    zero: str = ""

    @property
    def words(self) -> str:
        """After "must be"."""
        least = f"0 ({self.zero}) or more" if self.zero else "0 or more" if self.low == 0 else f"at least {self.low}"
        return f"{least}, at most {self.high}, and a whole number"

    def allows(self, value: Any) -> bool:
        """Whether it is so."""
        return _is_whole(value) and bool(self.low <= value <= self.high)


@dataclass(frozen=True)
class Number:
    """A number, finite unless said otherwise.

    Attributes:
        words: After "must be".
        low: The least one.
        high: The greatest one.
        above: Whether it must be above `low`.
        below: Whether it must be below `high`.
    """

    words: str
    low: float = 0.0
    high: float = math.inf
    above: bool = False
    below: bool = True

    def allows(self, value: Any) -> bool:
        """Whether it is so; NaN never is."""
        if not _is_number(value):
            return False
        over = self.low < value if self.above else self.low <= value
        return bool(over and (value < self.high if self.below else value <= self.high))


SHARE = Number("at least 0 and below 1", high=1.0)
AMOUNT = Number("0 or more, and finite")
POSITIVE = Number("positive, and finite", above=True)


@dataclass(frozen=True)
class Flag:
    """Yes or no."""

    words: str = "true or false"

    def allows(self, value: Any) -> bool:
        """Whether it is so."""
        return isinstance(value, bool)


@dataclass(frozen=True)
class Text:
    """A text of bounded length."""

    longest: int = 1000

    @property
    def words(self) -> str:
        """After "must be"."""
        return f"a text of at most {self.longest} characters"

    def allows(self, value: Any) -> bool:
        """Whether it is so."""
        return isinstance(value, str) and len(value) <= self.longest


@dataclass(frozen=True)
class OneOf:
    """One of a few names.

    Attributes:
        names: All that there are.
        kind: What a name stands for, for the error; empty for what the field is called.
    """

    names: tuple[str, ...]
    kind: str = ""

    @property
    def words(self) -> str:
        """After "must be"."""
        return f"one of {', '.join(self.names)}"

    def allows(self, value: Any) -> bool:
        """Whether it is so."""
        return isinstance(value, str) and value in self.names


@dataclass(frozen=True)
class Registered:
    """A name in a registry, as it is when a value is checked: entries may be added.

    Attributes:
        registry: Name to whatever it stands for.
    """

    registry: Mapping[Any, Any]

    @property
    def words(self) -> str:
        """After "must be"."""
        return f"one of {', '.join(self.registry)}"

    def allows(self, value: Any) -> bool:
        """Whether it is so."""
        return isinstance(value, str) and value in self.registry


@dataclass(frozen=True)
class FolderPath:
    """A folder, as a text or a path."""

    words: str = "the path of a folder"

    def allows(self, value: Any) -> bool:
        """Whether it is so; what can be done there is another question."""
        return isinstance(value, str | os.PathLike)


@dataclass(frozen=True)
class Absent:
    """A form, or None where the value is yet to be decided.

    Attributes:
        form: Of the value.
    """

    form: Form

    @property
    def words(self) -> str:
        """After "must be"."""
        return f"{self.form.words}, or left out"

    def allows(self, value: Any) -> bool:
        """Whether it is so."""
        return value is None or self.form.allows(value)


@dataclass(frozen=True)
class Several:
    """A list of values of one form.

    Attributes:
        form: Of each.
        fewest: How many at least.
        most: How many at most.
        called: What to call it where that says more than form and numbers.
    """

    form: Form
    fewest: int
    most: int
    called: str = ""

    @property
    def words(self) -> str:
        """After "must be"."""
        return self.called or f"a list of {self.fewest} to {self.most} values, each {self.form.words}"

    def allows(self, value: Any) -> bool:
        """Whether it is so."""
        if not isinstance(value, Sequence) or isinstance(value, str) or not self.fewest <= len(value) <= self.most:
            return False
        return all(self.form.allows(one) for one in value)


def setting(default: Any, form: Form, meaning: str, *, flag: str | None = "", spelling: Any = None) -> Any:
    """A field of a dataclass that is an option: its default, what it may hold, and what it means.

    Args:
        default: Its value where none is given.
        form: What it may hold.
        meaning: What it does, in a sentence for people: the help of its flag, and its documentation.
        flag: Its name on the command line without the dashes; empty for the field's own name, None for no flag.
        spelling: How it is written there, a `nas.config.spelling.Spelling`; None for as it is.
    """
    return dataclasses.field(
        default=default, metadata={"form": form, "meaning": meaning, "flag": flag, "spelling": spelling}
    )


def check_settings(config: Any) -> None:
    """Checks every `setting` of a dataclass; to be called when it is made.

    Raises:
        UserError: At the first one that is not of its form.
    """
    for field in dataclasses.fields(config):
        if "form" in field.metadata:
            check(
                field.name, getattr(config, field.name), field.metadata["form"], f"; {field.default!r} is the default"
            )


def check(name: str, value: Any, form: Form, hint: str = "") -> None:
    """Checks one value.

    Args:
        name: What it is called.
        value: As it was given.
        form: What it must be.
        hint: How to mend it.

    Raises:
        UserError: If it is something else.
    """
    if not form.allows(value):
        if isinstance(form, OneOf) and isinstance(value, str):
            raise unknown_name(form.kind or name, value[:60], form.names)
        raise UserError(f"{name} must be {form.words}, got {told(value)}{hint}")


def check_all(values: Mapping[str, Any], forms: Mapping[str, Form], kind: str) -> None:
    """Checks that all of some named values are there, and no others, each of its form.

    Args:
        values: Name to value.
        forms: Name to what it must be.
        kind: What a name stands for, such as "setting".

    Raises:
        UserError: At the first one that is missing, unknown or of another form.
    """
    for name in values:
        if name not in forms:
            raise unknown_name(kind, str(name)[:60], forms)
    for name, form in forms.items():
        if name not in values:
            raise UserError(f"{kind} {name!r} is missing; it must be {form.words}")
        check(name, values[name], form)


def make_config(kind: type[Config], values: Any) -> Config:
    """A configuration from values that a file holds.

    Args:
        kind: A dataclass that checks its settings.
        values: Name to value; what is left out has its default.

    Raises:
        UserError: If they are no such mapping, a name is unknown, or a value is refused.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"settings must be a table of names and values, got {told(values)}")
    known = [field.name for field in dataclasses.fields(kind) if field.init]  # type: ignore[arg-type]  # a dataclass
    for name in values:
        if name not in known:
            raise unknown_name("setting", str(name)[:60], known)
    return kind(**values)


def told(value: Any, most: int = 60) -> str:
    """A value on one line of at most so many characters, whatever it is: never longer to write than to refuse."""
    if isinstance(value, str):
        return repr(value[:most]) if len(value) <= most else f"{value[:most]!r}…"
    if _is_whole(value) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    if value is None or isinstance(value, bool | Real):
        return str(value)
    if isinstance(value, list | tuple) and len(value) <= 8 and all(isinstance(one, bool | Real) for one in value):
        return f"[{', '.join(told(one) for one in value)}]"
    return f"a {type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else f"a {type(value).__name__}"
