"""An architecture: one choice for every fusion node. Frozen, hashable, JSON with a format version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas.errors import UserError

FORMAT_VERSION = 1


@dataclass(frozen=True, order=True)
class Choice:
    """What one fusion node does: an operation and the sources it reads.

    Attributes:
        operation: Name of the candidate operation, such as "multiplicative".
        inputs: Names of what it reads, in order: taps such as "image@1", or earlier fusion nodes. Empty for `none`.
    """

    operation: str
    inputs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """A name for it that is a valid Python identifier, such as "mlp__image_1__audio_1"."""
        return "__".join([self.operation, *(name.replace("@", "_") for name in self.inputs)])

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of the taps among the inputs, in order."""
        return tuple(dict.fromkeys(tap_modality(name) for name in self.inputs if "@" in name))

    def in_words(self) -> str:
        """For people, such as "image × audio (multiplicative)" or "nothing"."""
        if not self.inputs:
            return "nothing"
        names = [tap_modality(name) if "@" in name else name for name in self.inputs]
        if self.operation == "carry":
            return f"{names[0]} alone"
        sign = {"additive": " + ", "multiplicative": " × "}.get(self.operation, ", ")
        joined = sign.join(names)
        return joined if sign != ", " else f"{self.operation}({joined})"


def tap_name(modality: str, depth: int) -> str:
    """Name of a tap, such as "image@1"; depth 0 is the shallowest."""
    return f"{modality}@{depth}"


def tap_modality(tap: str) -> str:
    """The modality of a tap's name."""
    return tap.split("@", 1)[0]


def tap_depth(tap: str) -> int:
    """The depth of a tap's name."""
    return int(tap.split("@", 1)[1])


@dataclass(frozen=True)
class Architecture:
    """One choice per fusion node, in the order of the space's nodes.

    Attributes:
        space: Name of the search space that it is of.
        choices: (node name, choice) for every fusion node, in topological order.
    """

    space: str
    choices: tuple[tuple[str, Choice], ...]

    def __getitem__(self, node: str) -> Choice:
        return dict(self.choices)[node]

    def taps(self) -> tuple[str, ...]:
        """Names of all taps that it reads, each once, in order of first use."""
        return tuple(dict.fromkeys(name for _, choice in self.choices for name in choice.inputs if "@" in name))

    def modalities(self) -> tuple[str, ...]:
        """The modalities that it reads, in order of first use."""
        return tuple(dict.fromkeys(tap_modality(tap) for tap in self.taps()))

    def deepest(self) -> dict[str, int]:
        """For each modality that it reads, the deepest tap that is read."""
        deepest: dict[str, int] = {}
        for tap in self.taps():
            modality = tap_modality(tap)
            deepest[modality] = max(deepest.get(modality, 0), tap_depth(tap))
        return deepest

    def in_words(self) -> str:
        """For people: "depth 0: nothing; depth 1: image × audio; depth 2: image + audio"."""
        return "; ".join(f"{node.replace('fusion', 'depth ')}: {choice.in_words()}" for node, choice in self.choices)

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON, with the format version."""
        nodes = [{"node": n, "operation": c.operation, "inputs": list(c.inputs)} for n, c in self.choices]
        return {"format_version": FORMAT_VERSION, "space": self.space, "nodes": nodes}

    def to_json(self) -> str:
        """As JSON text that `from_json` reads back to an equal value."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """Reads what `to_dict` wrote.

        Raises:
            UserError: If the format version is unknown, or a field is missing or of the wrong type.
        """
        version = values.get("format_version") if isinstance(values, Mapping) else None
        if type(version) is not int or version != FORMAT_VERSION:
            raise UserError(f"architecture has format version {version!r}, expected {FORMAT_VERSION}; export it again")
        try:
            choices = tuple((_text(n["node"]), _choice(n["operation"], n["inputs"])) for n in values["nodes"])
            space = _text(values["space"])
        except (KeyError, TypeError) as error:
            raise UserError(f"architecture lacks or garbles {error}; expected space and nodes") from error
        return cls(space, choices)

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Reads what `to_json` wrote; see `from_dict` for errors."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError also for a number of too many digits
            raise UserError(f"architecture is not JSON: {error}; was the file cut off?") from error
        return cls.from_dict(values)


def _choice(operation: object, inputs: object) -> Choice:
    if not isinstance(inputs, list | tuple):  # the characters of a string would pass for names
        raise TypeError(f"inputs {inputs!r}")
    return Choice(_text(operation), tuple(_text(name) for name in inputs))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"name {value!r}")
    return value
