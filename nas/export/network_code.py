"""The class of the whole network, as somebody would write it by hand for this one architecture.

Its `forward` tells what happens to the inputs, one statement a tap and a node. Where a gate picks among routes each of
these is a method of its own, and `forward` sends every sample to the one that is picked for it. So it is in a cascade,
where every route sends on to the next one the samples whose answer is not sure enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nas.codegen import Method, Source, TapsSource, Term
from nas.export.names import Names, assigned, camel, used
from nas.export.portable import Portable
from nas.export.router_code import cascade_source, gate_source
from nas.routing.cascade import Cascade
from nas.routing.gates import Gate, Router
from nas.routing.network import RoutedNetwork, static_part, taps_of_router
from nas.space.architecture import Architecture, Step, deepest, tap_depth, tap_modality, tap_name
from nas.streams import STEMS, identifier, is_joined, stream_modalities

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
    router = portable.network.router if isinstance(portable.network, RoutedNetwork) else None
    arguments = [writer.names[name] for name in portable.names]
    kind = "predictions" if regression else "logits"
    doc, methods = f"Maps {', '.join(arguments)} to {kind}.", list[Method]()
    if router is None:
        (architecture,) = writer.routes
        forward = writer.path(architecture, architecture.taps(), architecture.taps())
    elif isinstance(router, Cascade):
        doc += (
            f" A cascade tries {len(writer.routes)} routes in turn; a sample stops at the first whose answer is sure "
            "enough, and what comes after is not run."
        )
        forward, methods = writer.cascaded(router, arguments)
    else:
        assert isinstance(router, Gate)
        doc += f" A gate picks one of {len(writer.routes)} routes for every sample; what a route skips is not run."
        forward, methods = writer.routed(router, arguments)
    members = {**writer.members, **writer.last}
    source = Source(doc=doc, arguments=arguments, members=members, forward=forward, methods=methods)
    return source, writer.parts


class _NetworkWriter:
    """Collects members and parts of the network while its methods are written."""

    def __init__(self, portable: Portable, inputs: Sequence[Tensor], *, regression: bool) -> None:
        self.portable, self.network = portable, static_part(portable.network)
        self.router: Router | None = None
        self.within = ""  # path of the static network
        if isinstance(portable.network, RoutedNetwork):
            self.router, self.within = portable.network.router, "network."
        self.names = Names()
        for name in portable.names:  # they have the first say
            self.names[name]
        self.members: dict[str, str] = {}
        self.parts: Parts = {}
        self.readings: dict[str, list[Depths]] = {}
        self.examples = dict(zip(portable.names, inputs, strict=True))
        with torch.no_grad():
            taps = zip(portable.tap_names, portable.taps(*inputs), strict=False)
            self.times = {name: tap.shape[1] for name, tap in taps}
        self.routes = self.network.architecture.routes()
        self.answer = "return self.head({}.mean(dim=1))"
        self.last = {"head": f"{self.within}head.linear"}
        if regression:
            self.last |= {"scale": f"{self.within}head.scale", "shift": f"{self.within}head.shift"}
            self.answer += " * self.scale + self.shift"
        self.readings = self._readings()
        self.begun = self._begun()

    def _readings(self) -> dict[str, list[Depths]]:
        """For every modality the sets of taps that are read together: by the gate, and by a route beyond those."""
        needed = [route.taps() for route in self.routes]
        if isinstance(self.router, Cascade):
            groups = read_in_turn(needed)
        else:
            reads = list(taps_of_router(self.router)) if self.router else []
            groups = [reads, *([name for name in some if name not in reads] for some in needed)]
        found: dict[str, dict[Depths, None]] = {}
        for modality, depths in (pair for some in groups for pair in by_modality(some).items()):
            found.setdefault(modality, {})[depths] = None
        return {modality: list(some) for modality, some in found.items()}

    def _begun(self) -> dict[str, list[Depths]]:
        """Modality to the readings that its encoder goes on from: the gate's, or all but the last of a cascade."""
        found = {}
        seen = {tap_modality(name) for name in taps_of_router(self.router)} if self.router else set()
        for modality, readings in self.readings.items():
            first = readings[:-1] if isinstance(self.router, Cascade) else readings[: 1 if modality in seen else 0]
            every = [self._encoder_source(modality, some).layers for some in readings]
            begun = every[: len(first)]
            goes_on = all(begun) and all(some[: len(one)] == one[: len(some)] for one in begun for some in every)
            if first and len(readings) > 1 and goes_on:
                found[modality] = first
        return found

    def path(self, architecture: Architecture, read: Iterable[str], adapted: Iterable[str]) -> list[str]:
        """Statements from the inputs to the answer.

        Args:
            architecture: The static one that is run.
            read: Taps that are read from their encoders; of others that are needed variables hold something.
            adapted: Taps that are brought to the channels of the nodes; of others that are needed variables are.
        """
        body: list[str] = []
        fresh, wanted = by_modality(read), by_modality(adapted)
        for modality in self.portable.depths:
            self._taps(modality, fresh.get(modality, ()), wanted.get(modality, ()), body)
        state = self._steps(architecture, body)
        return [*body, self.answer.format(state)]

    def _taps(self, modality: str, fresh: Depths, wanted: Depths, body: list[str]) -> None:
        """Adds what reads some taps of one modality, and brings some to the channels of the nodes."""
        encoded = self._encoded(modality, fresh) if fresh else ""
        outputs = self._outputs(modality, fresh) if fresh else []
        is_inline = len(outputs) == 1 and fresh[0] in wanted
        if outputs and not is_inline:
            body.append(f"{', '.join(outputs)} = {encoded}")
        mask = self.portable.masks.get(stream_modalities(modality)[0])
        masked = f" * {self.names[mask]}[:, None, None]" if mask else ""
        for depth in wanted:
            tap = self.names[tap_name(modality, depth)]
            self.members[tap] = f"{self.within}adapters.{identifier(tap_name(modality, depth))}.linear"
            given = encoded if is_inline and depth == fresh[0] else tap
            body.append(f"{tap} = F.gelu(self.{tap}({given})){masked}")

    def _outputs(self, modality: str, depths: Depths) -> list[str]:
        """The variables for what an encoder returns with these taps: what it goes on from, then the taps."""
        state = [self.names[f"{modality}_{name}"] for name in self._state(modality, depths)]
        return [*state, *(self.names[tap_name(modality, depth)] for depth in depths)]

    def _encoded(self, modality: str, depths: Depths) -> str:
        """An expression for taps as the encoder puts them out."""
        member = self._encoder_member(modality)
        if len(self.readings[modality]) == 1:
            return f"self.{member}({', '.join(self._arrays(modality))})"
        method = self._encoder_method(modality, depths)
        given = method.arguments
        if self._before(modality, depths):
            given = [self.names[f"{modality}_{name}"] for name in given]
        return f"self.{member}.{method.name}({', '.join(given)})"

    def _arrays(self, modality: str) -> list[str]:
        arrays = [self.names[array] for array in self.portable.arrays[modality]]
        mask = self.portable.masks.get(stream_modalities(modality)[1]) if is_joined(modality) and arrays[1:] else None
        return [*arrays, self.names[mask]] if mask else arrays

    def _encoder_member(self, modality: str) -> str:
        """The name of an encoder, which becomes a member when it is first asked for."""
        member = self.names[f"{modality}_encoder"]
        if member not in self.members:
            path = f"{self.within}encoders.{modality}"
            self.members[member] = path
            self.parts[path] = (f"{camel(identifier(modality))}Encoder", self._encoder(modality))
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
        every = {*depths}
        if is_joined(modality) and any(STEMS in some for some in self.readings.get(modality, [])):
            every.add(STEMS)  # from which all others go on
        source = self.network.encoder(modality).source(self._arrays(modality), shapes, sorted(every))
        return replace(source, taps={depth: source.taps[depth] for depth in depths})

    def _encoder_method(self, modality: str, depths: Depths) -> Method:
        """The method of an encoder for taps that are read together; after other readings it goes on from there."""
        name = f"tap{depths[0]}" if len(depths) == 1 else "_".join(["taps", *map(str, depths)])
        source, given = self._encoder_source(modality, depths), self._arrays(modality)
        if modality not in self.begun:
            return source.method(name, used(given, source.method(name, given).body))
        before, state = self._before(modality, depths), self._state(modality, depths)
        if not before:
            return source.method("begin", given, state)
        onward = replace(source, layers=source.layers[len(before) :])
        return onward.method(name, used(assigned(before), onward.method(name, (), state).body), state)

    def _before(self, modality: str, depths: Depths) -> Sequence[str]:
        """The statements of an encoder that have run when these taps are read."""
        begun = self.begun.get(modality, [])
        earlier = begun[: begun.index(depths)] if depths in begun else begun
        return max((self._encoder_source(modality, some).layers for some in earlier), key=len, default=[])

    def _state(self, modality: str, depths: Depths) -> list[str]:
        """The variables of a reading that later ones go on from, in the order in which they are assigned."""
        if depths not in self.begun.get(modality, []):
            return []
        readings = self.readings[modality]
        onward = [self._encoder_method(modality, some) for some in readings[readings.index(depths) + 1 :]]
        needed = {name for method in onward for name in method.arguments}
        layers = self._encoder_source(modality, depths).layers[len(self._before(modality, depths)) :]
        return [name for name in assigned(layers) if name in needed]

    def _steps(self, architecture: Architecture, body: list[str]) -> str:
        """Adds what the steps of a static architecture do.

        Returns:
            The variable that holds the state of the last one.
        """
        names = self.names
        states = {name: Term(names[name], self.times[name]) for name in architecture.taps()}
        for step in architecture.steps:
            sources = [states[name] for name in step.inputs]
            operation = self.network.operation(step.name, step.choice.key)
            output = operation.source(sources).forward[-1].removeprefix("return ")
            if operation.source(sources).members:  # else an expression, such as that of `carry`, not worth a class
                path, attribute = f"{self.within}nodes.{step.name}.{step.choice.key}", names[self._wanted(step)]
                arguments = [names[name] for name in _short(step.inputs)]
                terms = [Term(text, source.time) for text, source in zip(arguments, sources, strict=True)]
                self.members[attribute] = path
                self.parts[path] = (type(operation).__name__, operation.source(terms))
                output = f"self.{attribute}({', '.join(source.text for source in sources)})"
            time = max(source.time for source in sources)
            before = states[step.add_to] if step.add_to else None
            if not before and output == sources[0].text:  # nothing is done to it
                states[step.name] = sources[0]
                continue
            if before and before.time == time:
                output = f"{before.text} + {output}"
            elif before:  # as `nas.network.fusion_network.add_states` has it
                output, time = f"{before.text}.mean(dim=1, keepdim=True) + {output}.mean(dim=1, keepdim=True)", 1
            body.append(f"{names[step.name]} = {output}")
            states[step.name] = Term(names[step.name], time)
        assert architecture.output is not None  # what reads nothing is not exported
        return states[architecture.output].text

    def _wanted(self, step: Step) -> str:
        """What the member of a step is to be called: as the step, unless routes differ in what it does."""
        choices = next(node.choices for node in self.network.space.nodes if node.name == step.name)
        active = [some for some in choices if not self.network.space.operations[some.operation].carries]
        if len(active) < 2:
            return step.name
        alike = [some for some in active if some.operation == step.operation]
        name = f"{step.name}_{step.operation}"
        return name if len(alike) == 1 else f"{name}_{alike.index(step.choice)}"

    def routed(self, gate: Gate, arguments: Sequence[str]) -> tuple[list[str], list[Method]]:
        """Statements that send every sample to the route that the gate picks, and a method for each route."""
        for modality in self.portable.depths:  # before all routes, which share them
            self._encoder_member(modality)
        forward, begun = [], list[str]()
        for modality, depths in by_modality(gate.reads).items():
            outputs = self._outputs(modality, depths)
            begun += outputs[: -len(depths)]
            forward.append(f"{', '.join(outputs)} = {self._encoded(modality, depths)}")
        taps = [self.names[name] for name in gate.reads]
        source = gate_source(gate, taps, {m: self.names[mask] for m, mask in self.portable.masks.items()})
        self.members["gate"] = "router"
        self.parts["router"] = ("Gate", source)
        forward += [
            f"route = self.gate({', '.join(source.arguments)})",
            f"outputs = {taps[0]}.new_empty(route.shape[0], {self.network.head.scale.numel()})",
        ]
        methods = []
        for number, architecture in enumerate(self.routes):
            needed = architecture.taps()
            body = self.path(architecture, [name for name in needed if name not in gate.reads], needed)
            takes = used([*taps, *begun, *arguments], body)
            methods.append(Method(name=f"route{number}", doc=architecture.in_short(), arguments=takes, body=body))
            forward += [
                f"taken = route == {number}",
                "if taken.any():",
                f"    outputs[taken] = self.route{number}({', '.join(f'{name}[taken]' for name in takes)})",
            ]
        return [*forward, "return outputs"], methods

    def cascaded(self, cascade: Cascade, arguments: Sequence[str]) -> tuple[list[str], list[Method]]:
        """Statements that send all samples to the first route, and a method for each, which sends on to the next."""
        for modality in self.portable.depths:
            self._encoder_member(modality)
        masks = {modality: self.names[mask] for modality, mask in self.portable.masks.items()}
        source, mask_names = cascade_source(cascade, masks)
        self.members["cascade"] = "router"
        self.parts["router"] = ("Cascade", source)
        needed = [route.taps() for route in self.routes]
        known, bodies, there = set[str](), [], [[*arguments]]
        for names, read, route in zip(needed, read_in_turn(needed), self.routes, strict=True):
            bodies.append(self.path(route, read, [name for name in names if name not in known]))
            known |= set(names)
            outputs = [name for pair in by_modality(read).items() for name in self._outputs(*pair)]
            there.append([*outputs, *there[-1]])
        allowed = ["allowed"] if mask_names else []
        methods: list[Method] = []
        for number, route in reversed(list(enumerate(self.routes))):
            body = bodies[number]
            if methods:
                passed = ", ".join(f"{name}[going_on]" for name in methods[0].arguments)
                body = [
                    *body[:-1],
                    body[-1].replace("return", "outputs =", 1),
                    f"going_on = self.cascade({', '.join([str(number), 'outputs', *allowed])})",
                    "if going_on.any():",
                    f"    outputs[going_on] = self.{methods[0].name}({passed})",
                    "return outputs",
                ]
            takes = used([*dict.fromkeys(there[number]), *allowed], body)
            methods.insert(0, Method(name=f"route{number}", doc=route.in_short(), arguments=takes, body=body))
        masked = [f"allowed = self.cascade.allowed({', '.join(mask_names)})"] if mask_names else []
        return [*masked, f"return self.route0({', '.join(methods[0].arguments)})"], methods


def read_in_turn(needed: Sequence[Sequence[str]]) -> list[list[str]]:
    """What every route of a cascade reads from encoders: taps that it needs, and shallower ones that a later one does.

    Args:
        needed: Names of the taps of every route.
    """
    found, there = [], set[str]()
    for number, names in enumerate(needed):
        reach = deepest(name for name in names if name not in there)
        later = dict.fromkeys(name for some in needed[number:] for name in some)
        found.append([n for n in later if n not in there and tap_depth(n) <= reach.get(tap_modality(n), -1)])
        there |= set(found[-1])
    return found


def by_modality(taps: Iterable[str]) -> dict[str, Depths]:
    """Modality to the depths of its taps, shallow to deep."""
    found: dict[str, set[int]] = {}
    for name in taps:
        found.setdefault(tap_modality(name), set()).add(tap_depth(name))
    return {modality: tuple(sorted(depths)) for modality, depths in found.items()}


def _short(inputs: Sequence[str]) -> Sequence[str]:
    """What an operation calls its inputs: by modality where that tells them apart."""
    modalities = [tap_modality(name) for name in inputs]
    return modalities if len(set(modalities)) == len(inputs) else inputs
