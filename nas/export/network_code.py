"""The class of the whole network, as somebody would write it by hand for this one architecture.

Its `forward` tells what happens to the inputs, one statement a tap and a node. Where a gate picks among routes each of
these is a method of its own, and `forward` sends every sample to the one that is picked for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nas.architecture import Choice, tap_depth, tap_modality, tap_name
from nas.export.names import Names, camel
from nas.export.portable import Portable
from nas.gates import Gate
from nas.graph import Selection
from nas.source import Method, Source, TapsSource, Term
from nas.space import FusionNode

Parts = dict[str, tuple[str, Source]]
"""Path of a submodule to the name wanted for its class and how that is written."""

Depths = tuple[int, ...]
"""The taps of one modality that are read together, shallow to deep."""


def network_source(portable: Portable, inputs: Sequence[Tensor], *, regression: bool) -> tuple[Source, Parts]:
    """How the whole network is written, and how those of its parts are that depend on what goes in.

    Args:
        portable: The network with its encoders, on the CPU.
        inputs: Some samples for it, from which shapes are read.
        regression: Whether the head scales its outputs.
    """
    writer = _NetworkWriter(portable, inputs, regression=regression)
    network = portable.network
    arguments = [writer.names[name] for name in portable.names]
    kind = "predictions" if regression else "logits"
    if network.gate is None:
        doc, forward = (
            f"Maps {', '.join(arguments)} to {kind}.",
            writer.path(network.routes[0]),
        )
        methods: list[Method] = []
    else:
        doc = (
            f"Maps {', '.join(arguments)} to {kind}. A gate picks one of {len(network.routes)} routes for every "
            "sample; what a route skips is not run."
        )
        forward, methods = writer.routed(arguments)
    members = {**writer.members, **writer.last}
    source = Source(doc=doc, arguments=arguments, members=members, forward=forward, methods=methods)
    return source, writer.parts


class _NetworkWriter:
    """Collects members and parts of the network while its methods are written."""

    def __init__(self, portable: Portable, inputs: Sequence[Tensor], *, regression: bool) -> None:
        self.portable, self.network = portable, portable.network
        self.names = Names()
        for name in portable.names:  # they have the first say
            self.names[name]
        self.members: dict[str, str] = {}
        self.parts: Parts = {}
        self.examples = dict(zip(portable.names, inputs, strict=True))
        with torch.no_grad():
            taps = zip(portable.tap_names, portable.taps(*inputs), strict=False)
            self.times = {name: tap.shape[1] for name, tap in taps}
        self.answer = "return self.head({}.mean(dim=1))"
        self.last = {"head": "head.linear"}
        if regression:
            self.last |= {"scale": "head.scale", "shift": "head.shift"}
            self.answer += " * self.scale + self.shift"
        self.readings = self._readings()
        self.begun = self._begun()

    def _readings(self) -> dict[str, list[Depths]]:
        """For every modality the sets of taps that are read together: by the gate, and by a route beyond the gate's."""
        gate = self.network.gate
        reads = gate.reads if gate else ()
        further = [[name for name in self.network.needed_taps(one) if name not in reads] for one in self.network.routes]
        found: dict[str, dict[Depths, None]] = {}
        for modality, depths in (pair for some in (reads, *further) for pair in by_modality(some).items()):
            found.setdefault(modality, {})[depths] = None
        return {modality: list(some) for modality, some in found.items()}

    def _begun(self) -> dict[str, Depths]:
        """Modality to the taps that the gate reads, for encoders that a route goes on with from there."""
        found = {}
        for modality, depths in by_modality(self.network.gate.reads if self.network.gate else ()).items():
            begun = self._encoder_source(modality, depths).layers
            others = [self._encoder_source(modality, some).layers for some in self.readings[modality]]
            if begun and others[1:] and all(some[: len(begun)] == begun[: len(some)] for some in others):
                found[modality] = depths
        return found

    def path(self, selection: Selection, ready: Iterable[str] = ()) -> list[str]:
        """Statements from the inputs to the answer.

        Args:
            selection: The choice of every node, by index.
            ready: Taps whose variables hold what the encoder puts out.
        """
        body: list[str] = []
        wanted = by_modality(self.network.needed_taps(selection))
        for modality in self.portable.depths:
            self._taps(modality, wanted.get(modality, ()), set(ready), body)
        state = self._nodes(selection, body)
        return [*body, self.answer.format(state)]

    def _taps(self, modality: str, depths: Depths, ready: set[str], body: list[str]) -> None:
        """Adds what brings taps of one modality to the channels of the nodes."""
        fresh = tuple(depth for depth in depths if tap_name(modality, depth) not in ready)
        encoded = self._encoded(modality, fresh) if fresh else ""
        if len(fresh) > 1:
            body.append(f"{', '.join(self.names[tap_name(modality, depth)] for depth in fresh)} = {encoded}")
        mask = self.portable.masks.get(modality)
        masked = f" * {self.names[mask]}[:, None, None]" if mask else ""
        for depth in depths:
            tap = self.names[tap_name(modality, depth)]
            self.members[tap] = f"adapters.{modality}_{depth}.linear"
            body.append(f"{tap} = F.gelu(self.{tap}({encoded if fresh == (depth,) else tap})){masked}")

    def _encoded(self, modality: str, depths: Depths) -> str:
        """An expression for taps as the encoder puts them out."""
        member = self._encoder_member(modality)
        if len(self.readings[modality]) == 1:
            return f"self.{member}({', '.join(self._arrays(modality))})"
        method = self._encoder_method(modality, depths)
        given = method.arguments
        if depths != self.begun.get(modality, depths):
            given = [self.names[f"{modality}_{name}"] for name in given]
        return f"self.{member}.{method.name}({', '.join(given)})"

    def _arrays(self, modality: str) -> list[str]:
        return [self.names[array] for array in self.portable.arrays[modality]]

    def _encoder_member(self, modality: str) -> str:
        """The name of an encoder, which becomes a member when it is first asked for."""
        member = self.names[f"{modality}_encoder"]
        if member not in self.members:
            self.members[member] = f"encoders.{modality}"
            self.parts[f"encoders.{modality}"] = (f"{camel(modality)}Encoder", self._encoder(modality))
        return member

    def _encoder(self, modality: str) -> Source:
        """An encoder with one method for all that is read of it, or one for each set of taps that are read together."""
        every = sorted({depth for depths in self.readings[modality] for depth in depths})
        whole, given = self._encoder_source(modality, every), self._arrays(modality)
        methods = [self._encoder_method(modality, depths) for depths in self.readings[modality]]
        (first, *others) = methods
        return Source(
            doc=whole.doc,
            arguments=given,
            members=whole.members,
            forward=[] if others else first.body,
            outputs=first.outputs,
            methods=methods if others else [],
        )

    def _encoder_source(self, modality: str, depths: Sequence[int]) -> TapsSource:
        shapes = [self.examples[array].shape[1:] for array in self.portable.arrays[modality]]
        return self.network.encoder(modality).source(self._arrays(modality), shapes, depths)

    def _encoder_method(self, modality: str, depths: Depths) -> Method:
        """The method of an encoder for taps that are read together; after those of the gate it goes on from there."""
        name = f"tap{depths[0]}" if len(depths) == 1 else "_".join(["taps", *map(str, depths)])
        source, given = self._encoder_source(modality, depths), self._arrays(modality)
        if modality not in self.begun:
            return source.method(name, used(given, source.method(name, given).body))
        begun = self._encoder_source(modality, self.begun[modality]).layers
        if depths == self.begun[modality]:
            return source.method("begin", given, self._state(modality))
        onward = replace(source, layers=source.layers[len(begun) :])
        return onward.method(name, used(assigned(begun), onward.method(name, ()).body))

    def _state(self, modality: str) -> list[str]:
        """The variables that an encoder goes on from after the gate, in the order in which they are assigned."""
        begun = self.begun[modality]
        onward = [self._encoder_method(modality, some) for some in self.readings[modality] if some != begun]
        needed = {name for method in onward for name in method.arguments}
        return [name for name in assigned(self._encoder_source(modality, begun).layers) if name in needed]

    def _nodes(self, selection: Selection, body: list[str]) -> str:
        """Adds what the fusion nodes do.

        Returns:
            The variable that holds the state of the last node.
        """
        names = self.names
        states = {name: Term(names[name], self.times[name]) for name in self.network.needed_taps(selection)}
        for node in self.network.space.nodes:
            number = selection[node.name]
            assert isinstance(number, int)
            choice = node.choices[number]
            before = states.get(node.residual or "")
            sources = [states[name] for name in choice.inputs if name in states]
            if not sources or len(sources) < len(choice.inputs):  # what reads an idle node is idle too
                if before:
                    states[node.name] = before
                continue
            operation = self.network.operation(node.name, choice.key)
            output = operation.source(sources).forward[-1].removeprefix("return ")
            if operation.source(sources).members:  # else an expression, such as that of `carry`, not worth a class
                path, attribute = f"nodes.{node.name}.{choice.key}", names[_wanted(node, choice)]
                arguments = [names[name] for name in _short(choice.inputs)]
                terms = [Term(text, source.time) for text, source in zip(arguments, sources, strict=True)]
                self.members[attribute] = path
                self.parts[path] = (type(operation).__name__, operation.source(terms))
                output = f"self.{attribute}({', '.join(source.text for source in sources)})"
            time = max(source.time for source in sources)
            if not before and output == sources[0].text:  # nothing is done to it
                states[node.name] = sources[0]
                continue
            if before and before.time == time:
                output = f"{before.text} + {output}"
            elif before:  # as `nas.graph.add_states` has it
                output, time = f"{before.text}.mean(dim=1, keepdim=True) + {output}.mean(dim=1, keepdim=True)", 1
            body.append(f"{names[node.name]} = {output}")
            states[node.name] = Term(names[node.name], time)
        return states[self.network.space.nodes[-1].name].text

    def routed(self, arguments: Sequence[str]) -> tuple[list[str], list[Method]]:
        """Statements that send every sample to the route that the gate picks, and a method for each route."""
        gate = self.network.gate
        assert isinstance(gate, Gate)
        for modality in self.portable.depths:  # before all routes, which share them
            self._encoder_member(modality)
        forward, begun = [], list[str]()
        for modality, depths in by_modality(gate.reads).items():
            state = self._state(modality) if modality in self.begun else []
            begun += [self.names[f"{modality}_{name}"] for name in state]
            outputs = [*begun[len(begun) - len(state) :], *(self.names[tap_name(modality, depth)] for depth in depths)]
            forward.append(f"{', '.join(outputs)} = {self._encoded(modality, depths)}")
        taps = [self.names[name] for name in gate.reads]
        source = gate_source(gate, taps, {m: self.names[mask] for m, mask in self.portable.masks.items()})
        self.members["gate"] = "gate"
        self.parts["gate"] = ("Gate", source)
        forward += [
            f"route = self.gate({', '.join(source.arguments)})",
            f"outputs = {taps[0]}.new_empty(route.shape[0], {self.network.head.scale.numel()})",
        ]
        methods = []
        for number, architecture in enumerate(self.network.space.sole().routes()):
            body = self.path(self.network.routes[number], gate.reads)
            takes = used([*taps, *begun, *arguments], body)
            methods.append(Method(name=f"route{number}", doc=architecture.in_short(), arguments=takes, body=body))
            forward += [
                f"taken = route == {number}",
                "if taken.any():",
                f"    outputs[taken] = self.route{number}({', '.join(f'{name}[taken]' for name in takes)})",
            ]
        return [*forward, "return outputs"], methods


def gate_source(gate: Gate, taps: Sequence[str], masks: Mapping[str, str]) -> Source:
    """How a gate is written.

    Args:
        gate: Of the network.
        taps: Names of what it reads.
        masks: Modality to the name of its mask, for those that some samples lack.
    """
    pooled = [
        f"{tap}.mean(dim=1)" + (f" * {masks[tap_modality(name)]}[:, None]" if tap_modality(name) in masks else "")
        for name, tap in zip(gate.reads, taps, strict=True)
    ]
    lacking = [[masks[name] for name in modalities if name in masks] for modalities in gate.routes]
    body = [
        f"pooled = {pooled[0]}" if len(pooled) == 1 else f"pooled = torch.cat([{', '.join(pooled)}], dim=1)",
        "logits = self.output(F.relu(self.hidden(pooled)))",
    ]
    if any(lacking):
        everywhere = f"torch.ones_like({next(iter(masks.values()))})"
        allowed = [" & ".join(some) or everywhere for some in lacking]
        body += [
            "# No route that reads what a sample lacks, unless all do.",
            f"allowed = torch.stack([{', '.join(allowed)}], dim=1)",
            "logits = logits.masked_fill(",
            "    ~allowed & allowed.any(dim=1, keepdim=True), -torch.inf",
            ")",
        ]
    return Source(
        doc=f"Picks one of {len(gate.routes)} routes for every sample, by means over time of {' and '.join(taps)}.",
        arguments=[*taps, *used(list(masks.values()), body)],
        members={"hidden": "hidden", "output": "output"},
        forward=[*body, "return logits.argmax(dim=1)"],
    )


def by_modality(taps: Iterable[str]) -> dict[str, Depths]:
    """Modality to the depths of its taps, shallow to deep."""
    found: dict[str, set[int]] = {}
    for name in taps:
        found.setdefault(tap_modality(name), set()).add(tap_depth(name))
    return {modality: tuple(sorted(depths)) for modality, depths in found.items()}


def used(names: Sequence[str], statements: Sequence[str]) -> list[str]:
    """Those variables that some statements read; an attribute of the same name is another thing."""
    text = "\n".join(statements)
    return [name for name in names if re.search(rf"(?<![\w.]){re.escape(name)}\b", text)]


def assigned(statements: Sequence[str]) -> list[str]:
    """The variables that some statements assign, each once, in order."""
    found = [re.match(r"(\w+) = ", statement) for statement in statements]
    return list(dict.fromkeys(one[1] for one in found if one))


def _wanted(node: FusionNode, choice: Choice) -> str:
    """What the member of a node is to be called: as the node, unless routes differ in what it does."""
    active = [some for some in node.choices if some.inputs and some.operation != "carry"]
    if len(active) < 2:
        return node.name
    alike = [some for some in active if some.operation == choice.operation]
    name = f"{node.name}_{choice.operation}"
    return name if len(alike) == 1 else f"{name}_{alike.index(choice)}"


def _short(inputs: Sequence[str]) -> Sequence[str]:
    """What an operation calls its inputs: by modality where that tells them apart."""
    modalities = [tap_modality(name) for name in inputs]
    return modalities if len(set(modalities)) == len(inputs) else inputs
