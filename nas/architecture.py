"""An architecture: one choice for every fusion node, or several routes and a gate between them.

Frozen, hashable, JSON with a format version.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nas.errors import UserError
from nas.fields import told

FORMAT_VERSION = 1

DYNAMIC_FORMAT_VERSION = 2
"""Of architectures with a gate, so that a reader that knows of none refuses them; the others stay as they were."""

MAX_ROUTES = 64
MAX_NODES = 10_000
MAX_INPUTS = 1000
"""Far more than anybody searches."""

MAX_NAME = 1000
"""Characters of a name."""


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


def deepest(taps: Iterable[str]) -> dict[str, int]:
    """Depth of the deepest one of the taps of every modality, by their names."""
    found: dict[str, int] = {}
    for tap in taps:
        modality = tap_modality(tap)
        found[modality] = max(found.get(modality, 0), tap_depth(tap))
    return found


@dataclass(frozen=True, order=True)
class Gating:
    """Which routes there are for a sample, and what the gate that picks one of them looks at.

    Attributes:
        reads: Names of the taps that the gate reads. None for a cascade: its routes are run in their order until one is
            sure of its answer; see `nas.routing.cascade`.
        routes: Of each route one choice per fusion node, in the order of the nodes; two routes or more, all different.
    """

    reads: tuple[str, ...]
    routes: tuple[tuple[Choice, ...], ...]

    @property
    def is_cascade(self) -> bool:
        """Whether routes are tried in turn, and none picked by a gate."""
        return not self.reads


@dataclass(frozen=True)
class Architecture:
    """One choice per fusion node, in the order of the space's nodes.

    A dynamic one has routes besides, of which every sample takes one; the choices are then those of the last route.

    Attributes:
        space: Name of the search space that it is of.
        choices: (node name, choice) for every fusion node, in topological order.
        gating: The routes and what their gate reads; None for a static architecture.
    """

    space: str
    choices: tuple[tuple[str, Choice], ...]
    gating: Gating | None = None

    def __getitem__(self, node: str) -> Choice:
        return dict(self.choices)[node]

    @classmethod
    def gated(cls, routes: Sequence[Architecture], reads: Sequence[str]) -> Architecture:
        """The dynamic architecture that takes one of these static ones for every sample.

        Args:
            routes: Two or more of one space, all different; the last one lends its choices.
            reads: Names of the taps that the gate reads; none for a cascade.
        """
        choices = tuple(tuple(choice for _, choice in route.choices) for route in routes)
        return replace(routes[-1], gating=Gating(tuple(reads), choices))

    def routes(self) -> tuple[Architecture, ...]:
        """The static architectures of which a sample takes one; of a static one itself alone."""
        if self.gating is None:
            return (self,)
        names = [name for name, _ in self.choices]
        return tuple(Architecture(self.space, tuple(zip(names, route, strict=True))) for route in self.gating.routes)

    def taps(self) -> tuple[str, ...]:
        """Names of all taps that it reads on some route or in its gate, each once, in order of first use."""
        read = [name for route in self.routes() for _, choice in route.choices for name in choice.inputs if "@" in name]
        return tuple(dict.fromkeys([*read, *(self.gating.reads if self.gating else ())]))

    def modalities(self) -> tuple[str, ...]:
        """The modalities that it reads, in order of first use."""
        return tuple(dict.fromkeys(tap_modality(tap) for tap in self.taps()))

    def deepest(self) -> dict[str, int]:
        """For each modality that it reads, the deepest tap that is read."""
        return deepest(self.taps())

    def in_words(self) -> str:
        """For people: "depth 0: nothing; depth 1: image × audio; depth 2: image + audio".

        A dynamic one tells what its routes do: "a gate on image@0 picks depth 2: image alone, or depth 2: image +
        audio", or "a cascade tries depth 2: image alone, then depth 2: image + audio".
        """
        if self.gating is None:
            steps = (f"{node.replace('fusion', 'depth ')}: {choice.in_words()}" for node, choice in self.choices)
            return "; ".join(steps)
        if not self.gating.reads:
            return f"a cascade tries {', then '.join(r.in_short() for r in self.routes())}"
        return f"a gate on {', '.join(self.gating.reads)} picks {', or '.join(r.in_short() for r in self.routes())}"

    def in_short(self) -> str:
        """For people, without nodes that read nothing: "depth 1: image × audio, depth 2: image + audio"."""
        active = [(node, choice) for node, choice in self.choices if choice.inputs]
        steps = [f"{node.replace('fusion', 'depth ')}: {choice.in_words()}" for node, choice in active]
        return ", ".join(steps) or "nothing"

    def steps(self) -> list[str]:
        """For people, a line each: what every node does, or what the gate reads and what every route does."""
        if self.gating is None:
            return self.in_words().split("; ")
        routes = [f"route {number}: {route.in_short()}" for number, route in enumerate(self.routes())]
        if not self.gating.reads:
            return ["a cascade tries one route after another, until one is sure of its answer", *routes]
        return [f"a gate on {', '.join(self.gating.reads)} picks one route for every sample", *routes]

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON, with the format version."""
        nodes = [{"node": name, **_plain(choice)} for name, choice in self.choices]
        found = {"format_version": FORMAT_VERSION, "space": self.space, "nodes": nodes}
        if self.gating is None:
            return found
        routes = [[_plain(choice) for choice in route] for route in self.gating.routes]
        gate = {"reads": list(self.gating.reads), "routes": routes}
        return {**found, "format_version": DYNAMIC_FORMAT_VERSION, "gate": gate}

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
        if type(version) is not int or version not in (FORMAT_VERSION, DYNAMIC_FORMAT_VERSION):
            expected = f"{FORMAT_VERSION} or {DYNAMIC_FORMAT_VERSION}"
            raise UserError(f"architecture has format version {told(version)}, expected {expected}; export it again")
        try:
            if not isinstance(values["nodes"], list) or len(values["nodes"]) > MAX_NODES:
                raise TypeError(f"nodes, a list of at most {MAX_NODES}")
            choices = tuple((_text(n["node"]), _choice(n["operation"], n["inputs"])) for n in values["nodes"])
            space = _text(values["space"])
            gating = _gating(values["gate"], choices) if version == DYNAMIC_FORMAT_VERSION else None
        except (KeyError, TypeError) as error:
            raise UserError(f"architecture lacks or garbles {error}; expected space and nodes") from error
        return cls(space, choices, gating)

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Reads what `to_json` wrote; see `from_dict` for errors."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError also for a number of too many digits
            raise UserError(f"architecture is not JSON: {error}; was the file cut off?") from error
        return cls.from_dict(values)


def _plain(choice: Choice) -> dict[str, Any]:
    return {"operation": choice.operation, "inputs": list(choice.inputs)}


def _gating(values: Mapping[str, Any], choices: Sequence[tuple[str, Choice]]) -> Gating:
    if not isinstance(values["routes"], list) or not 2 <= len(values["routes"]) <= MAX_ROUTES:
        raise TypeError(f"routes, 2 to {MAX_ROUTES} of them")
    routes = tuple(tuple(_choice(c["operation"], c["inputs"]) for c in route) for route in values["routes"])
    if len(set(routes)) < len(routes) or any(len(route) != len(choices) for route in routes):
        raise TypeError("routes, each of which decides every node and differs from the others")
    if routes[-1] != tuple(choice for _, choice in choices):
        raise TypeError("nodes, which must be those of the last route")
    if not isinstance(values["reads"], list) or len(values["reads"]) > MAX_INPUTS:
        raise TypeError(f"reads {told(values['reads'])}")
    return Gating(tuple(_text(tap) for tap in values["reads"]), routes)


def _choice(operation: object, inputs: object) -> Choice:
    if not isinstance(inputs, list | tuple):  # the characters of a string would pass for names
        raise TypeError(f"inputs {told(inputs)}")
    if len(inputs) > MAX_INPUTS:
        raise TypeError(f"inputs, at most {MAX_INPUTS} of them")
    return Choice(_text(operation), tuple(_text(name) for name in inputs))


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise TypeError(f"name {told(value)}")
    return value
