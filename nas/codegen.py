"""What an encoder or an operation says of itself as ordinary code, for the stand-alone Python file of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Construction:
    """How a module of another package is made; the attribute `construction` of that module holds it.

    Attributes:
        imports: Lines such as "from mypackage.models import MyNet".
        text: The expression that makes one.
    """

    imports: Sequence[str]
    text: str


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method besides `forward`, or instead of it.

    Attributes:
        name: An identifier.
        doc: One sentence, or nothing.
        arguments: Names of what it takes, tensors but for those that name another type, such as "route: int".
        body: Its statements, one a line.
        outputs: How many tensors it returns.
    """

    name: str
    doc: str = ""
    arguments: Sequence[str]
    body: Sequence[str]
    outputs: int = 1


@dataclass(frozen=True, kw_only=True)
class Source:
    """A module as somebody would write it by hand for these very inputs.

    Attributes:
        doc: One sentence.
        arguments: Names of what `forward` takes.
        members: Attribute in the code to the name of the parameter, buffer or submodule that it stands for. How a
            submodule is constructed is read off it; one that has a `source()` of its own becomes a class of its own.
        forward: The statements of `forward`, one a line; none if there is no such method.
        helpers: Functions that the statements call; their own text is taken over.
        outputs: How many tensors `forward` returns.
        methods: What stands after `forward`.
    """

    doc: str
    arguments: Sequence[str]
    members: Mapping[str, str]
    forward: Sequence[str]
    helpers: Sequence[Callable[..., Any]] = ()
    outputs: int = 1
    methods: Sequence[Method] = ()

    def all_methods(self) -> list[Method]:
        """`forward` first, if there is one."""
        forward = Method(name="forward", arguments=self.arguments, body=self.forward, outputs=self.outputs)
        return [*([forward] if self.forward else []), *self.methods]


@dataclass(frozen=True)
class Term:
    """An expression in the code whose value is a tap.

    Attributes:
        text: The expression; for an argument of `forward` its name.
        time: Its time steps.
    """

    text: str
    time: int

    def through(self, function: str) -> Term:
        """The value of a function of it that keeps its time."""
        return Term(f"{function}({self.text})", self.time)


def matched(terms: Sequence[Term], *, broadcast: bool = False) -> list[str]:
    """Expressions for the taps at the time of the longest, as `nas.space.operation.match_times` brings them there.

    Args:
        terms: The taps.
        broadcast: Whether what follows is elementwise, so that a single step need not be repeated.
    """
    longest = max(term.time for term in terms)

    def brought(term: Term) -> str:
        if term.time == longest or (broadcast and term.time == 1):
            return term.text
        return f"{term.text}.expand(-1, {longest}, -1)" if term.time == 1 else f"stretch({term.text}, {longest})"

    return [brought(term) for term in terms]


def members(attribute: str, inputs: Sequence[Term], within: str) -> dict[str, str]:
    """One member per input: such as `members("{}_gate", inputs, "gates")` for `self.image_gate`, which is `gates.0`."""
    return {attribute.format(term.text): f"{within}.{index}" for index, term in enumerate(inputs)}


def names(inputs: Sequence[Term]) -> list[str]:
    """The names of a module's arguments."""
    return [term.text for term in inputs]


def listed(inputs: Sequence[Term]) -> str:
    """Their names for a sentence: "image, words and sound"."""
    *most, last = (term.text for term in inputs)
    return f"{', '.join(most)} and {last}" if most else last


def stages(count: int) -> dict[str, str]:
    """Members of an encoder that standardizes, then has a stage per depth: `self.layer0`, which is `stages.0`."""
    return {"standardize": "standardize", **{f"layer{depth}": f"stages.{depth}" for depth in range(count)}}


def layers(first: str, count: int) -> list[str]:
    """Statements that run `self.layer0` on an expression and every further layer on the output of the one before."""
    return [f"layer{depth} = self.layer{depth}({f'layer{depth - 1}' if depth else first})" for depth in range(count)]


@dataclass(frozen=True, kw_only=True)
class TapsSource:
    """An encoder as ordinary code, with an expression for each of its taps.

    Attributes:
        doc: One sentence.
        members: As `Source` has them.
        layers: Statements of `forward` that the taps build on.
        taps: Depth to expression, for every tap that is read, shallow to deep.
    """

    doc: str
    members: Mapping[str, str]
    layers: Sequence[str]
    taps: Mapping[int, str]

    def method(self, name: str, arguments: Sequence[str], state: Sequence[str] = ()) -> Method:
        """A method that returns the only tap, or a tuple of them.

        Args:
            name: Of the method.
            arguments: Names of what it takes.
            state: Variables of `layers` that are returned before the taps.
        """
        taps = list(self.taps.values())
        body = list(self.layers)
        if len(taps) + len(state) > 1:
            body += [f"tap{depth} = {tap}" for depth, tap in self.taps.items()]
            taps = [f"tap{depth}" for depth in self.taps]
        body.append(f"return {', '.join([*state, *taps])}")
        return Method(name=name, arguments=arguments, body=body, outputs=len(taps) + len(state))
