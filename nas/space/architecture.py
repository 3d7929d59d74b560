"""An architecture: the steps that fuse and which of them answers, or several routes and a gate between them.

Frozen, hashable, JSON with a format version. An `Architecture` is canonical however it was spelled, so that one network
is one value: it holds live steps alone, those that read something and that the output depends on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nas.errors import UserError
from nas.fields import told
from nas.space.html import Drawn, architecture_html
from nas.space.operation import installed_operations
from nas.streams import identifier, is_joined, tap_in_words, tap_modalities

FORMAT_VERSION = 3
"""1 and 2, of architectures with a gate, told the choice of every node of a space whose nodes add up; both are read."""

MAX_ROUTES = 64
MAX_STEPS = 10_000
MAX_INPUTS = 1000
MAX_OPTIONS = 100
"""Far more than anybody searches."""

MAX_NAME = 1000
"""Characters of a name."""

Option = str | int | float | bool | None
"""The plain value of an option of a space."""


@dataclass(frozen=True, order=True)
class Choice:
    """What one fusion node may do: an operation and the sources it reads.

    Attributes:
        operation: Name of the candidate operation, such as "multiplicative".
        inputs: Names of what it reads, in order: taps such as "image@1", or earlier fusion nodes. Empty for `none`.
    """

    operation: str
    inputs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """A name for it that is a valid Python identifier, such as "mlp__image_1__audio_1"."""
        return "__".join([self.operation, *map(identifier, self.inputs)])

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of the taps among the inputs, in order."""
        return tuple(dict.fromkeys(one for name in self.inputs if is_tap(name) for one in tap_modalities(name)))

    def in_words(self, *, with_depths: bool = True) -> str:
        """For people, such as "image@1 × audio@2" or "nothing".

        Args:
            with_depths: Whether the depths of taps are told; if not, "image × audio", for those who know them.
        """
        if not self.inputs:
            return "nothing"
        operation = installed_operations().get(self.operation)
        names = [tap_in_words(name) if with_depths or is_joined(name) else tap_modality(name) for name in self.inputs]
        if operation is not None and operation.carries and len(self.modalities) > 1:
            return names[0]
        if operation is not None and operation.carries:
            return f"{names[0]} alone"
        if operation is not None and operation.is_infix:
            return f" {operation.sign} ".join(names)
        return f"{self.operation}({', '.join(names)})"


NOTHING = Choice("none")
"""The choice of a node that does nothing: no step of any architecture."""


@dataclass(frozen=True, order=True)
class Step:
    """One step of an architecture: an operation, what it reads, and the state that its output is added to.

    Attributes:
        name: Unique in its architecture; of the fusion node that it was chosen at, such as "fusion1".
        operation: Name of the operation.
        inputs: Names of what it reads, in order: taps such as "image@1", or earlier steps.
        add_to: Earlier step whose state is added to the output, or None. The sum is the step's own state.
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    add_to: str | None = None

    @property
    def choice(self) -> Choice:
        """What it does, without its place."""
        return Choice(self.operation, self.inputs)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the earlier steps that its state depends on directly."""
        read = [name for name in self.inputs if not is_tap(name)]
        return tuple(dict.fromkeys(read if self.add_to is None else [*read, self.add_to]))


def is_tap(source: str) -> bool:
    """Whether the name of a source is that of a tap; if not, it is that of an earlier step."""
    return "@" in source


def tap_name(modality: str, depth: int) -> str:
    """Name of a tap, such as "image@1"; depth 0 is the shallowest."""
    return f"{modality}@{depth}"


def tap_modality(tap: str) -> str:
    """The modality of a tap's name; of a joined one the stream, see `nas.streams`."""
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


def natural_key(name: str) -> tuple[str | int, ...]:
    """Sorts names as people do: "fusion2" before "fusion10"."""
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts))


@dataclass(frozen=True)
class Gating:
    """A gate picks one of several routes for every sample, see `nas.routing.gates`.

    Attributes:
        reads: Names of the taps that the gate reads, at least one.
        routes: Static architectures, two or more, all different.
    """

    reads: tuple[str, ...]
    routes: tuple[Architecture, ...]

    def __post_init__(self) -> None:
        if not self.reads:
            raise UserError("a gate reads one tap at least; what decides without one is a cascade")


@dataclass(frozen=True)
class Cascading:
    """Routes are run in their order until one is sure of its answer, see `nas.routing.cascade`.

    Attributes:
        routes: Static architectures, two or more, all different.
    """

    routes: tuple[Architecture, ...]


@dataclass(frozen=True)
class Architecture:
    """Steps in the order in which they run, and the one whose state goes to the head.

    It says all that it takes to build the network from encoders and operations. However its steps are spelled, those
    that are kept are the live ones: a step that reads nothing, or a step without a state, is no step, and what names it
    names the state that it passes on; what the output does not depend on is dropped.

    A dynamic one has routes besides, of which every sample takes one; its steps are then those of the last route.

    Attributes:
        space: Name of the search space that it is of; a record, from which nothing is rebuilt.
        steps: Each reads taps and steps before it.
        output: Name of the last step, whose state the head reads; None if there is none, and the answer is a constant.
        options: (name, value) of the options of its space, sorted; a record likewise.
        gating: The routes, and whether a gate or a cascade decides on them; None for a static architecture.

    Raises:
        UserError: If a step reads what no earlier step offers, or has the name of another one.
    """

    space: str
    steps: tuple[Step, ...]
    output: str | None
    options: tuple[tuple[str, Option | tuple[Option, ...]], ...] = ()
    gating: Gating | Cascading | None = None

    def __post_init__(self) -> None:
        steps = _live(self.steps, self.output)
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "output", steps[-1].name if steps else None)
        object.__setattr__(self, "options", tuple(sorted(self.options, key=lambda option: option[0])))

    def __repr__(self) -> str:
        return f"<Architecture of {self.space}: {self.in_words()[:400]}>"

    def _repr_html_(self) -> str:
        steps = [Drawn(one.name, one.operation, one.inputs, one.add_to) for one in self.steps]
        return architecture_html(self.in_words(), steps)

    def __getitem__(self, name: str) -> Step:
        return {step.name: step for step in self.steps}[name]

    @classmethod
    def chain(cls, space: str, choices: Iterable[tuple[str, Choice]]) -> Architecture:
        """The architecture of (name, choice) in order, each of which adds its output to the state of the one before."""
        steps: list[Step] = []
        for name, choice in choices:
            steps.append(Step(name, choice.operation, choice.inputs, steps[-1].name if steps else None))
        return cls(space, tuple(steps), steps[-1].name if steps else None)

    @classmethod
    def gated(cls, routes: Sequence[Architecture], reads: Sequence[str]) -> Architecture:
        """The dynamic architecture whose gate picks one of these static ones for every sample.

        Args:
            routes: Two or more of one space, all different; the last one lends its steps.
            reads: Names of the taps that the gate reads.
        """
        return replace(routes[-1], gating=Gating(tuple(reads), tuple(routes)))

    @classmethod
    def cascaded(cls, routes: Sequence[Architecture]) -> Architecture:
        """The dynamic architecture that runs these static ones in turn until one is sure of its answer.

        Args:
            routes: Two or more of one space, all different; the last one lends its steps.
        """
        return replace(routes[-1], gating=Cascading(tuple(routes)))

    def changed(self, choices: Mapping[str, Choice | None]) -> Architecture:
        """The static architecture in which some steps do something else, or nothing.

        Args:
            choices: Name of a step to what it is to do; None for nothing.
        """
        made = {step.name: choices.get(step.name, step.choice) or NOTHING for step in self.steps}
        steps = tuple(replace(s, operation=made[s.name].operation, inputs=made[s.name].inputs) for s in self.steps)
        return replace(self, steps=steps, gating=None)

    def routes(self) -> tuple[Architecture, ...]:
        """The static architectures of which a sample takes one; of a static one itself alone."""
        return (self,) if self.gating is None else self.gating.routes

    def taps(self) -> tuple[str, ...]:
        """Names of all taps that it reads on some route or in its gate, each once, in order of first use."""
        read = [name for route in self.routes() for step in route.steps for name in step.inputs if is_tap(name)]
        return tuple(dict.fromkeys([*read, *read_by_gate(self.gating)]))

    def modalities(self) -> tuple[str, ...]:
        """The modalities that it reads, in order of first use."""
        return tuple(dict.fromkeys(name for tap in self.taps() for name in tap_modalities(tap)))

    def deepest(self) -> dict[str, int]:
        """For each modality or joined stream that it reads, the deepest tap that is read."""
        return deepest(self.taps())

    def is_sum(self) -> bool:
        """Whether every step of a static one reads taps alone and adds its output to the state of the step before."""
        before = [None, *(step.name for step in self.steps)]
        taps_alone = all(is_tap(name) for step in self.steps for name in step.inputs)
        return taps_alone and all(step.add_to == name for step, name in zip(self.steps, before, strict=False))

    def in_words(self) -> str:
        """For people: "depth 1: image × audio; depth 2: image + audio", or "nothing".

        A dynamic one tells what its routes do: "a gate on image@0 picks depth 2: image alone, or depth 2: image +
        audio", or "a cascade tries depth 2: image alone, then depth 2: image + audio".
        """
        if self.gating is None:
            return "; ".join(self.in_lines())
        if isinstance(self.gating, Cascading):
            return f"a cascade tries {', then '.join(r.in_short() for r in self.routes())}"
        return f"a gate on {_listed(self.gating.reads)} picks {', or '.join(r.in_short() for r in self.routes())}"

    def in_short(self) -> str:
        """A static one on less room: "depth 1: image × audio, depth 2: image + audio"."""
        return ", ".join(self.in_lines())

    def in_lines(self) -> list[str]:
        """For people, a line each: what every step does, or what the gate reads and what every route does.

        Steps of a sum are told by the depth of what they read: "depth 1: image × audio", or "image@1 × audio@0" where
        that is not one. Steps of other architectures are told by their names: "second: mlp(first, audio@1) + first".
        """
        if self.gating is None:
            tell = _told_by_depth if self.is_sum() else _told_by_name
            return [tell(step) for step in self.steps] or ["nothing"]
        routes = [f"route {number}: {route.in_short()}" for number, route in enumerate(self.routes())]
        if isinstance(self.gating, Cascading):
            return ["a cascade tries one route after another, until one is sure of its answer", *routes]
        return [f"a gate on {_listed(self.gating.reads)} picks one route for every sample", *routes]

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON, with the format version."""
        options = {name: list(value) if isinstance(value, tuple) else value for name, value in self.options}
        found = {"format_version": FORMAT_VERSION, "space": self.space, "options": options, **_plain(self)}
        if self.gating is None:
            return found
        return {
            **found,
            "gate": {"reads": list(read_by_gate(self.gating)), "routes": [_plain(one) for one in self.routes()]},
        }

    def to_json(self) -> str:
        """As JSON text that `from_json` reads back to an equal value."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """Reads what `to_dict` wrote, of this and of earlier versions.

        Raises:
            UserError: If the format version is unknown, or a field is missing or of the wrong type.
        """
        version = values.get("format_version") if isinstance(values, Mapping) else None
        if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
            raise UserError(
                f"architecture has format version {told(version)}, expected {FORMAT_VERSION}; export it again"
            )
        try:
            if version < FORMAT_VERSION:
                return _read_choices(values)
            options = tuple((_text(name), _option(value)) for name, value in _table(values["options"]).items())
            routes = [_read_route(route, _text(values["space"]), options) for route in _routes(values.get("gate"))]
            found = _read_route(values, _text(values["space"]), options)
            return _read_gate(found, routes, values.get("gate"))
        except (AttributeError, KeyError, TypeError) as error:
            raise UserError(f"architecture lacks or garbles {error}; expected space, options, steps, output") from error

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Reads what `to_json` wrote; see `from_dict` for errors."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError also for a number of too many digits
            raise UserError(f"architecture is not JSON: {error}; was the file cut off?") from error
        return cls.from_dict(values)


def read_by_gate(gating: Gating | Cascading | None) -> tuple[str, ...]:
    """Names of the taps that decide on the route of a sample: in a cascade, answers do."""
    return gating.reads if isinstance(gating, Gating) else ()


def _live(steps: Iterable[Step], output: str | None) -> tuple[Step, ...]:
    """The canonical spelling of some steps: see `Architecture`."""
    state: dict[str, str | None] = {}  # of every step the live one whose state it passes on
    live: dict[str, Step] = {}
    for step in steps:
        if step.name in state or is_tap(step.name):
            raise UserError(f"step name {told(step.name)} is taken twice, or is that of a tap")
        for name in step.sources:
            if name not in state:
                raise UserError(f"step {told(step.name)} reads {told(name)}, which no earlier step offers")
        before = None if step.add_to is None else state[step.add_to]
        inputs = tuple(name if is_tap(name) else state[name] for name in step.inputs)
        read = tuple(name for name in inputs if name is not None)
        if not read or len(read) < len(inputs):
            state[step.name] = before
        else:
            state[step.name] = step.name
            live[step.name] = replace(step, inputs=read, add_to=before)
    if output is not None and output not in state:
        raise UserError(f"output {told(output)} is no step")
    needed = _all_read_by(live, None if output is None else state[output])
    level: dict[str, int] = {}
    for name, step in live.items():
        level[name] = 1 + max((level[source] for source in step.sources), default=0)
    return tuple(live[name] for name in sorted(needed, key=lambda name: (level[name], natural_key(name))))


def _all_read_by(steps: Mapping[str, Step], output: str | None) -> Collection[str]:
    """Names of the steps that the state of one depends on, its own among them."""
    found, ahead = set[str](), [] if output is None else [output]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += steps[name].sources
    return found


def _listed(taps: Iterable[str]) -> str:
    return ", ".join(map(tap_in_words, taps))


def _told_by_depth(step: Step) -> str:
    if any(is_joined(tap) for tap in step.inputs):
        return step.choice.in_words()
    first, *others = {tap_depth(tap) for tap in step.inputs}
    return step.choice.in_words() if others else f"depth {first}: {step.choice.in_words(with_depths=False)}"


def _told_by_name(step: Step) -> str:
    added = "" if step.add_to is None else f" + {step.add_to}"
    return f"{step.name}: {step.choice.in_words()}{added}"


def _plain(architecture: Architecture) -> dict[str, Any]:
    steps = [
        {"name": step.name, "operation": step.operation, "inputs": list(step.inputs), "add_to": step.add_to}
        for step in architecture.steps
    ]
    return {"steps": steps, "output": architecture.output}


def _read_route(values: Mapping[str, Any], space: str, options: Any) -> Architecture:
    """A static architecture, as `_plain` wrote it."""
    steps = tuple(
        Step(
            _text(one["name"]), choice.operation, choice.inputs, None if one["add_to"] is None else _text(one["add_to"])
        )
        for one in _list(values["steps"], "steps", MAX_STEPS)
        for choice in [read_choice(one)]
    )
    output = None if values["output"] is None else _text(values["output"])
    return Architecture(space, steps, output, options)


def _read_choices(values: Mapping[str, Any]) -> Architecture:
    """An architecture of version 1 or 2: one choice for every node of a chain, and in a gate a list of them a route."""
    nodes = _list(values["nodes"], "nodes", MAX_STEPS)
    names = [_text(node["node"]) for node in nodes]
    gate = values["gate"] if values["format_version"] == 2 else None
    chains = []
    for route in (*_routes(gate), nodes):
        if len(route) != len(names):
            raise TypeError("routes, each of which decides every node")
        made = [read_choice(one) for one in route]
        chains.append(Architecture.chain(_text(values["space"]), zip(names, made, strict=True)))
    *routes, found = chains
    return _read_gate(found, routes, gate)


def _read_gate(found: Architecture, routes: Sequence[Architecture], gate: Mapping[str, Any] | None) -> Architecture:
    """The architecture with the routes of a gate that was read; without a gate as it is."""
    if gate is None:
        return found
    if len(set(routes)) < len(routes):
        raise TypeError("routes, each of which differs from the others")
    if routes[-1] != found:
        raise TypeError("steps, which must be those of the last route")
    reads = _list(gate["reads"], "reads", MAX_INPUTS)
    return Architecture.gated(routes, [_tap(tap) for tap in reads]) if reads else Architecture.cascaded(routes)


def _routes(gate: Mapping[str, Any] | None) -> list[Any]:
    if gate is None:
        return []
    routes = _list(gate["routes"], "routes", MAX_ROUTES)
    if len(routes) < 2:
        raise TypeError(f"routes, 2 to {MAX_ROUTES} of them")
    return routes


def read_choice(values: Mapping[str, Any]) -> Choice:
    """A choice from plain values; a `KeyError` or `TypeError` tells what is missing or garbled."""
    return Choice(_text(values["operation"]), _inputs(values["inputs"]))


def _inputs(names: object) -> tuple[str, ...]:
    if not isinstance(names, list | tuple):  # the characters of a string would pass for names
        raise TypeError(f"inputs {told(names)}")
    if len(names) > MAX_INPUTS:
        raise TypeError(f"inputs, at most {MAX_INPUTS} of them")
    return tuple(_tap(name) if isinstance(name, str) and is_tap(name) else _text(name) for name in names)


def _tap(name: object) -> str:
    if not re.fullmatch(r"[^@]+@[0-9]{1,9}", _text(name)):
        raise TypeError(f"tap {told(name)}")
    return _text(name)


def _option(value: object) -> Option | tuple[Option, ...]:
    if isinstance(value, list):
        return tuple(_plain_option(one) for one in _list(value, "options", MAX_OPTIONS))
    return _plain_option(value)


def _plain_option(value: object) -> Option:
    if value is None or isinstance(value, bool | int | float):
        return value
    return _text(value)


def _table(value: object) -> Mapping[object, object]:
    if not isinstance(value, Mapping) or len(value) > MAX_OPTIONS:
        raise TypeError(f"options, a table of at most {MAX_OPTIONS}")
    return value


def _list(value: object, what: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise TypeError(f"{what}, a list of at most {most}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise TypeError(f"name {told(value)}")
    return value
