"""The executor: one network for the supernet, a sampled path and the derived network alike.

A `FusionNetwork` is built from a search space. With all choices in the space it is the supernet; built from
`SearchSpace.of(architecture, …)` it is the derived network of that architecture. Their parameters correspond, see
`FusionNetwork.weights_of`, and the same `forward` runs both: they cannot drift apart.

Where nodes read nodes, a node of the supernet that does nothing hands on nothing, so what reads it does nothing either.
A mixture weighs that: what a choice puts out counts as much as the choice *and* as the nodes that it reads are there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from nas.encoders import Encoder
from nas.encoders.joined import encoder_of
from nas.space.architecture import Architecture, Choice, is_tap, tap_depth, tap_modality
from nas.space.node import FusionNode
from nas.space.operation import Operation
from nas.space.search_space import SearchSpace
from nas.streams import identifier, is_joined, stream_modalities

Inputs = Mapping[str, Sequence[Tensor]]
"""Modality to its arrays for one batch, each (batch, …)."""

Presence = Mapping[str, Tensor]
"""Modality to whether each sample of the batch has it, (batch,) bool; modalities that all samples have are left out."""


@dataclass(frozen=True)
class StraightThrough:
    """A one-hot choice that passes gradients to all weights while only the chosen operation runs.

    The output is weights[index] · chosen(x) + sum of the other weights, whose value is exactly zero (Dong and Yang
    2019, "Searching for a Robust Neural Architecture in Four GPU Hours", Eq. 7; the sum is how their code keeps the
    gradient of the choices that did not run).

    Attributes:
        index: The choice that runs.
        weights: One per choice, (choices,), with the value of a one-hot vector.
    """

    index: int
    weights: Tensor


@dataclass(frozen=True)
class PartialChannels:
    """A mixture on a part of a node's channels, with what the node reads carried past it on the others.

    The output is share ⊙ sum_i weights[i] · choice_i(x) + (1 − share) ⊙ sum_s carried[s] · x_s (Xu et al. 2020,
    "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search", Eq. 2, with `share` as the mask).

    Attributes:
        weights: Mixing weights, (choices,).
        carried: Source of the node to its weight on the way past the mixture, each ().
        share: How much of each channel the mixture has, (channels,), 0 to 1; a mask, or its mean.
    """

    weights: Tensor
    carried: Mapping[str, Tensor]
    share: Tensor


Chosen = int | Tensor | StraightThrough | PartialChannels
"""What one node runs: a choice by index, mixing weights (choices,), or per sample (batch, choices), or the above."""

Selection = Architecture | Mapping[str, Chosen]
"""What a network runs: a static architecture that it is derived from, or of every node what that runs."""


@dataclass
class States:
    """Fused states on the way through a network.

    Attributes:
        values: Taps and fused states by name, (batch, time, channels); None for a node that is sure to hold nothing.
        present: Node to how far it holds something, () or (batch,), 0 to 1; nodes that surely do are left out.
        gradients: Zeros that carry a gradient to choices of nodes that hold nothing.
    """

    values: dict[str, Tensor | None]
    present: dict[str, Tensor] = field(default_factory=dict)
    gradients: list[Tensor] = field(default_factory=list)

    def of(self, choice: Choice) -> Tensor | None:
        """How far the nodes that a choice reads hold something, () or (batch,); None if they surely do."""
        uncertain = [self.present[name] for name in choice.inputs if name in self.present]
        return torch.stack(torch.broadcast_tensors(*uncertain)).prod(dim=0) if uncertain else None


class Adapter(nn.Module):
    """Brings one tap to the common number of channels: GELU(W x + b), then dropout, at every time step.

    It is nonlinear within its modality, so that an additive operation after it is as strong as a sum of nonlinear
    functions of one modality each, and what higher orders gain over it is interaction.

    Args:
        in_channels: Channels of the encoder's tap.
        channels: Channels of the fusion nodes.
        dropout_rate: 0 to 1.
    """

    def __init__(self, in_channels: int, channels: int, dropout_rate: float) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, channels)
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(dropout_rate)

    def forward(self, tap: Tensor) -> Tensor:
        """(batch, time, in_channels) to (batch, time, channels)."""
        adapted: Tensor = self.dropout(self.activation(self.linear(tap)))
        return adapted


class Head(nn.Module):
    """Mean over time, then a linear layer; for regression, scaled to the target's mean and deviation.

    Args:
        channels: Of the fused state.
        num_outputs: Classes, labels or regression outputs.
        shift: Added to every output, (num_outputs,); zeros except for regression.
        scale: Multiplies every output before, (num_outputs,); ones except for regression.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, channels: int, num_outputs: int, shift: Tensor | None = None, scale: Tensor | None = None
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, num_outputs)
        self.register_buffer("shift", torch.zeros(num_outputs) if shift is None else shift)
        self.register_buffer("scale", torch.ones(num_outputs) if scale is None else scale)

    def forward(self, state: Tensor) -> Tensor:
        """(batch, time, channels) to logits or predictions, (batch, num_outputs)."""
        outputs: Tensor = self.linear(state.mean(dim=1)) * self.scale + self.shift
        return outputs


class FusionNetwork(nn.Module):
    """Encoders, adapters, fusion nodes and a head, wired as a search space says.

    Args:
        space: Its nodes' choices are all built.
        encoders: One per modality that some choice reads, or per joined stream; others are dropped.
        head: Maps the fused state of the last node to outputs.
        channels: Channels of adapters, nodes and head.
        dropout_rate: In the adapters, 0 to 1.

    Attributes:
        selection: What runs where nothing is selected: the architecture of a derived network.
    """

    def __init__(
        self,
        space: SearchSpace,
        encoders: Mapping[str, Encoder],
        head: Head,
        *,
        channels: int,
        dropout_rate: float,
    ) -> None:
        super().__init__()
        self.space = space
        taps = space.taps()
        used = dict.fromkeys(tap_modality(tap) for tap in [*taps, *(space.fixed.taps() if space.fixed else ())])
        every = {name: encoder_of(name, encoders) for name in used}
        self.encoders = nn.ModuleDict(every)
        self.adapters = nn.ModuleDict(
            {
                identifier(tap): Adapter(every[tap_modality(tap)].channels[tap_depth(tap)], channels, dropout_rate)
                for tap in taps
            }
        )
        self.nodes = nn.ModuleDict(
            {
                node.name: nn.ModuleDict(
                    {
                        choice.key: space.operations[choice.operation](len(choice.inputs), channels)
                        for choice in node.choices
                        if choice.inputs
                    }
                )
                for node in space.nodes
            }
        )
        self.head = head
        self.channels = channels
        self._read = {name for node in space.nodes for name in node.sources if not is_tap(name)}
        self.selection: Selection = {node.name: 0 for node in space.nodes}
        if space.fixed is not None:
            self.selection = space.fixed.routes()[-1]

    @property
    def architecture(self) -> Architecture:
        """What a derived network is derived from."""
        assert self.space.fixed is not None
        return self.space.fixed

    def forward(
        self,
        inputs: Mapping[str, Tensor | Sequence[Tensor]],
        present: Presence | None = None,
        selection: Selection | None = None,
    ) -> Tensor:
        """Computes logits or predictions.

        Args:
            inputs: The batch; modalities that the selection does not read may be left out. Where a modality has one
                array, it may stand for itself: `network({"image": image, "audio": audio})`.
            present: Which samples have which modality; an absent one's taps are zero.
            selection: What is run; None runs the architecture of a derived network.

        Returns:
            (batch, num_outputs).
        """
        read = inputs_of(self.encoders, inputs)
        arrays: Inputs = {name: (given,) if isinstance(given, Tensor) else given for name, given in read.items()}
        chosen = selection if selection is not None else self.selection
        taps = self.taps(arrays, self.needed_taps(chosen), present)
        return self.fuse(taps, chosen, batch_size=next(iter(arrays.values()))[0].shape[0])

    def fuse(
        self, taps: Mapping[str, Tensor], selection: Selection, *, batch_size: int, silent: Collection[str] = ()
    ) -> Tensor:
        """What comes after the taps: the fusion nodes and the head.

        Several selections may be run on the same taps, so that encoders and adapters run once.

        Args:
            taps: Those that the selection reads, as `taps` returns them.
            selection: What is run.
            batch_size: Of the taps; a selection that reads none answers as often.
            silent: Names of nodes that do nothing, whatever is selected.

        Returns:
            Logits or predictions, (batch, num_outputs).
        """
        return self.answer(self.last_state(taps, selection, silent=silent), batch_size)

    def last_state(
        self, taps: Mapping[str, Tensor], selection: Selection, *, silent: Collection[str] = ()
    ) -> Tensor | None:
        """What the head reads: the state of the last fusion node, (batch, time, channels).

        One sample stands for all where nothing that depends on the batch runs; None if nothing runs at all.

        Args:
            taps: As in `fuse`.
            selection: As in `fuse`.
            silent: As in `fuse`.
        """
        if isinstance(selection, Architecture):
            return self._run_steps(taps, selection.changed(dict.fromkeys(silent)) if silent else selection)
        states, live = States(dict(taps)), self.live_nodes(selection)
        for node in self.space.nodes:
            if node.name in live:
                self.run_node(node, states, None if node.name in silent else selection[node.name])
        state = states.values[self.space.nodes[-1].name]
        for zero in states.gradients:
            state = (self.head.linear.weight.new_zeros(1, 1, self.channels) if state is None else state) + zero
        return state

    def answer(self, state: Tensor | None, batch_size: int) -> Tensor:
        """What the head makes of the last state, (batch, num_outputs); its bias if there is none."""
        if state is None:
            state = self.head.linear.weight.new_zeros(1, 1, self.channels)
        logits: Tensor = self.head(state)
        return logits.expand(batch_size, -1)

    def needed_taps(self, selection: Selection) -> list[str]:
        """Names of the taps that a selection reads, each once."""
        if isinstance(selection, Architecture):
            return list(selection.taps())
        needed: dict[str, None] = {}
        live = self.live_nodes(selection)
        for node in self.space.nodes:
            if node.name not in live:
                continue
            chosen = selection[node.name]
            if isinstance(chosen, StraightThrough):
                chosen = chosen.index
            choices = (node.choices[chosen],) if isinstance(chosen, int) else node.choices
            needed.update(dict.fromkeys(name for choice in choices for name in choice.inputs if is_tap(name)))
        return list(needed)

    def live_nodes(self, selection: Mapping[str, Chosen]) -> Collection[str]:
        """Names of the nodes that the last state may depend on: all, but where every node runs one choice by index."""
        if not all(isinstance(chosen, int) for chosen in selection.values()):
            return selection.keys()
        live = {self.space.nodes[-1].name}
        for node in reversed(self.space.nodes):
            if node.name in live:
                chosen = selection[node.name]
                assert isinstance(chosen, int)
                live.update(name for name in node.choices[chosen].inputs if not is_tap(name))
                live.update([node.residual] if node.residual else [])
        return live

    def taps(self, inputs: Inputs, names: Sequence[str], present: Presence | None = None) -> dict[str, Tensor]:
        """Runs the encoders as deep as the named taps need, and the adapters: (batch, time, channels) each."""
        return self.adapt(self.encode(inputs, names, present), names, present)

    def encode(self, inputs: Inputs, names: Sequence[str], present: Presence | None = None) -> dict[str, Tensor]:
        """Runs the encoders as deep as the named taps need: each of these as the encoder puts it out."""
        depths: dict[str, set[int]] = {}
        for name in names:
            depths.setdefault(tap_modality(name), set()).add(tap_depth(name))
        given = with_streams(inputs, depths, present)
        encoded = {name: self.encoder(name).taps_at(given[name], some) for name, some in depths.items()}
        return {name: encoded[tap_modality(name)][tap_depth(name)] for name in names}

    def adapt(
        self, encoded: Mapping[str, Tensor], names: Sequence[str], present: Presence | None = None
    ) -> dict[str, Tensor]:
        """Runs the adapters of the named taps: (batch, time, channels) each, zeros where the modality is absent."""
        taps = {}
        for name in names:
            modality = stream_modalities(tap_modality(name))[0]  # a second one adds nothing where it is absent
            tap = self.adapter(name)(encoded[name])
            if present is not None and modality in present:
                tap = tap * present[modality].to(tap.dtype)[:, None, None]
            taps[name] = tap
        return taps

    def _run_steps(self, taps: Mapping[str, Tensor], architecture: Architecture) -> Tensor | None:
        """The last state of a static architecture, (batch, time, channels), or None if it has no step."""
        values: dict[str, Tensor | None] = dict(taps)
        for step in architecture.steps:
            output = self.operation(step.name, step.choice.key)([values[name] for name in step.inputs])
            values[step.name] = add_states(values[step.add_to] if step.add_to else None, output)
        return values[architecture.output] if architecture.output else None

    def run_choice(self, node: FusionNode, index: int, values: Mapping[str, Tensor | None]) -> Tensor | None:
        """The output of one choice of a node, (batch, time, channels), or None if it reads nothing.

        Args:
            node: One of the space's nodes.
            index: Of the choice.
            values: Taps and fused states by name; None for a node that holds nothing.
        """
        choice = node.choices[index]
        read = [values[name] for name in choice.inputs]
        sources = [value for value in read if value is not None]
        if not choice.inputs or len(sources) < len(choice.inputs):
            return None
        output: Tensor = self.operation(node.name, choice.key)(sources)
        return output

    def run_node(self, node: FusionNode, states: States, chosen: Chosen | None) -> None:
        """Adds the state of a node: its output upon the state of its residual.

        Args:
            node: One of the space's nodes.
            states: Of what the node may read; its own is added.
            chosen: What it runs; None for nothing.
        """
        output: Tensor | None = None
        present: Tensor | None = None
        if chosen is None:
            pass
        elif isinstance(chosen, int):
            output, present = self._run_index(node, chosen, states)
        elif isinstance(chosen, StraightThrough):
            output, present = self._straight_through(node, chosen, states)
        elif isinstance(chosen, PartialChannels):
            output, present = self._partial_channels(node, chosen, states)
        else:
            output, present = self._mix(node, chosen, states)
        before = states.values[node.residual] if node.residual else None
        states.values[node.name] = add_states(before, output)
        if before is not None:  # a sum holds something if one of its terms does
            there = states.present.get(node.residual or "")
            present = there if output is None or there is None or present is None else 1 - (1 - there) * (1 - present)
        if present is not None and node.name in self._read:
            states.present[node.name] = present

    def _run_index(self, node: FusionNode, index: int, states: States) -> tuple[Tensor | None, Tensor | None]:
        """The output of one choice, as far as it is there, and how far that is; None where it surely is."""
        output, present = self.run_choice(node, index, states.values), states.of(node.choices[index])
        if output is None or present is None:
            return output, None
        return output * _per_sample(present), present

    def _straight_through(
        self, node: FusionNode, chosen: StraightThrough, states: States
    ) -> tuple[Tensor | None, Tensor | None]:
        output, present = self._run_index(node, chosen.index, states)
        others = chosen.weights.sum() - chosen.weights[chosen.index]
        if output is not None:
            return output * chosen.weights[chosen.index] + others, present
        if node.name in self._read:  # who reads it must see that there is nothing: the last state takes the gradient
            states.gradients.append(others)
            return None, None
        # Zero, yet with a gradient; one sample broadcasts over the batch.
        return self.head.linear.weight.new_zeros(1, 1, self.channels) + others, None

    def _partial_channels(
        self, node: FusionNode, chosen: PartialChannels, states: States
    ) -> tuple[Tensor | None, Tensor | None]:
        mixed, present = self._mix(node, chosen.weights, states)
        past: Tensor | None = None
        for name, weight in chosen.carried.items():
            if (value := states.values[name]) is not None:
                past = add_states(past, weight * value)
        output = add_states(
            None if mixed is None else chosen.share * mixed,
            None if past is None else (1 - chosen.share) * past,
        )
        return output, present

    def _mix(self, node: FusionNode, weights: Tensor, states: States) -> tuple[Tensor | None, Tensor | None]:
        mixed: Tensor | None = None
        counted: list[Tensor] = []
        surely = True
        for index, choice in enumerate(node.choices):
            output, there = self.run_choice(node, index, states.values), states.of(choice)
            surely = surely and output is not None and there is None
            if output is not None:
                counted.append(weights[..., index] if there is None else weights[..., index] * there)
                mixed = add_states(mixed, output * _per_sample(counted[-1]))
        if surely or node.name not in self._read or not counted:
            return mixed, None
        return mixed, torch.stack(counted).sum(dim=0).clamp(max=1)  # weights need not sum to one

    def weights_of(self, architecture: Architecture) -> dict[str, Tensor]:
        """What a supernet has learned for an architecture, under the names of the derived network's parameters.

        A gate, which a supernet does not have, is left out.
        """
        state = self.state_dict()
        names = {}
        for route in architecture.routes():
            choices = self.space.choices(route)
            for step in route.steps:  # whose choice may have been spelled by the name of an idle node
                names[f"nodes.{step.name}.{step.choice.key}."] = f"nodes.{step.name}.{choices[step.name].key}."
        shared = {name: value for name, value in state.items() if not name.startswith("nodes.")}
        return shared | {
            own + name.removeprefix(spelled): value
            for own, spelled in names.items()
            for name, value in state.items()
            if name.startswith(spelled)
        }

    def adapter(self, tap: str) -> nn.Module:
        """The adapter of a tap, by its name."""
        return self.adapters[identifier(tap)]

    def encoder(self, modality: str) -> Encoder:
        """The encoder of a modality or joined stream."""
        encoder = self.encoders[modality]
        assert isinstance(encoder, Encoder)
        return encoder

    def operation(self, node: str, key: str) -> Operation:
        """The operation of a node's choice, by the choice's key."""
        operations = self.nodes[node]
        assert isinstance(operations, nn.ModuleDict)
        operation = operations[key]
        assert isinstance(operation, Operation)
        return operation


def inputs_of(
    streams: Iterable[str], inputs: Mapping[str, Tensor | Sequence[Tensor]]
) -> Mapping[str, Tensor | Sequence[Tensor]]:
    """Those inputs that encoders of some modalities and joined streams read; all, if they read none."""
    names = {one for stream in streams for one in (stream, *stream_modalities(stream))}
    return {name: inputs[name] for name in inputs if name in names} or inputs


def with_streams(inputs: Inputs, streams: Iterable[str], present: Presence | None = None) -> Inputs:
    """The inputs of a batch, and those of joined streams, as `nas.encoders.joined.JoinedEncoder` takes them.

    Args:
        inputs: The batch.
        streams: Modalities and joined streams; a second modality that is not in the batch is left out.
        present: Which samples have which modality.
    """
    made = {}
    for stream in streams:
        if is_joined(stream) and stream not in inputs:
            main, second = stream_modalities(stream)
            there = [present[second]] if present and second in present and second in inputs else []
            made[stream] = (*inputs[main], *inputs.get(second, ()), *there)
    return {**inputs, **made} if made else inputs


def _per_sample(weight: Tensor) -> Tensor:
    """A weight () or (batch,), so that it multiplies (batch, time, channels)."""
    return weight if weight.dim() == 0 else weight[:, None, None]


def add_states(state: Tensor | None, output: Tensor | None) -> Tensor | None:
    """Adds an output to a fused state; where their times differ, both are averaged over time first.

    Either way the mean over time of the sum is the sum of the means, which the head sees: the order of additions and
    the lengths of the modalities do not matter to it.

    Args:
        state: (batch, time, channels), or None for zero.
        output: (batch, other time, channels), or None for zero.
    """
    if state is None or output is None:
        return output if state is None else state
    if state.shape[1] != output.shape[1]:
        return state.mean(dim=1, keepdim=True) + output.mean(dim=1, keepdim=True)
    return state + output
