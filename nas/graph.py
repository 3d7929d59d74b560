"""The executor: one network for the supernet, a sampled path and the derived network alike.

A `FusionNetwork` is built from a search space. With all choices in the space it is the supernet; built from
`space.restrict(architecture)` it is the derived network of that architecture. The parameters of both bear the same
names, so the weights of one load into the other, and the same `forward` runs both: they cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.architecture import deepest, tap_depth, tap_modality
from nas.encoders import Encoder
from nas.operation import Operation
from nas.space import FusionNode, SearchSpace

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


Selection = Mapping[str, int | Tensor | StraightThrough | PartialChannels]
"""What each node runs: a choice by index, mixing weights (choices,), or per sample (batch, choices), or the above."""


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
        space: Its nodes' choices are all built; its name and operations are those of the whole space.
        encoders: One per modality that some choice reads; others are dropped.
        head: Maps the fused state of the last node to outputs.
        channels: Channels of adapters, nodes and head.
        dropout_rate: In the adapters, 0 to 1.

    Attributes:
        selection: What runs where nothing is selected: the only choice of every node of a derived network.
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
        used = dict.fromkeys(tap_modality(tap) for tap in [*taps, *(space.gated.taps() if space.gated else ())])
        self.encoders = nn.ModuleDict({name: encoders[name] for name in used})
        self.adapters = nn.ModuleDict(
            {
                tap.replace("@", "_"): Adapter(
                    encoders[tap_modality(tap)].channels[tap_depth(tap)], channels, dropout_rate
                )
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
        self.selection: Selection = {node.name: 0 for node in space.nodes}

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
            selection: What each node runs; None runs the only choice of every node.

        Returns:
            (batch, num_outputs).
        """
        arrays: Inputs = {name: (given,) if isinstance(given, Tensor) else given for name, given in inputs.items()}
        chosen = selection if selection is not None else self.selection
        taps = self.taps(arrays, self.needed_taps(chosen), present)
        return self.fuse(taps, chosen, batch_size=next(iter(arrays.values()))[0].shape[0])

    def fuse(
        self,
        taps: Mapping[str, Tensor],
        selection: Selection,
        *,
        batch_size: int,
        silent: Collection[str] = (),
    ) -> Tensor:
        """What comes after the taps: the fusion nodes and the head.

        Several selections may be run on the same taps, so that encoders and adapters run once.

        Args:
            taps: Those that the selection reads, as `taps` returns them.
            selection: What each node runs.
            batch_size: Of the taps; a selection that reads none answers as often.
            silent: Names of nodes that put out nothing, whatever is selected.

        Returns:
            Logits or predictions, (batch, num_outputs).
        """
        values: dict[str, Tensor | None] = dict(taps)
        for node in self.space.nodes:
            output = None if node.name in silent else self.run_node(node, values, selection[node.name])
            residual = values[node.residual] if node.residual else None
            values[node.name] = add_states(residual, output)
        state = values[self.space.nodes[-1].name]
        if state is None:  # nothing is read anywhere: the head's bias answers
            state = self.head.linear.weight.new_zeros(1, 1, self.channels)
        logits: Tensor = self.head(state)
        return logits.expand(batch_size, -1)

    def needed_taps(self, selection: Selection) -> list[str]:
        """Names of the taps that a selection reads, each once."""
        needed: dict[str, None] = {}
        for node in self.space.nodes:
            chosen = selection[node.name]
            if isinstance(chosen, StraightThrough):
                chosen = chosen.index
            choices = (node.choices[chosen],) if isinstance(chosen, int) else node.choices
            needed.update(dict.fromkeys(name for choice in choices for name in choice.inputs if "@" in name))
        return list(needed)

    def taps(self, inputs: Inputs, names: Sequence[str], present: Presence | None = None) -> dict[str, Tensor]:
        """Runs the encoders as deep as the named taps need, and the adapters: (batch, time, channels) each."""
        return self.adapt(self.encode(inputs, names), names, present)

    def encode(self, inputs: Inputs, names: Sequence[str]) -> dict[str, Tensor]:
        """Runs the encoders as deep as the named taps need: each of these as the encoder puts it out."""
        encoded = {name: self.encoders[name](inputs[name], depth + 1) for name, depth in deepest(names).items()}
        return {name: encoded[tap_modality(name)][tap_depth(name)] for name in names}

    def adapt(
        self, encoded: Mapping[str, Tensor], names: Sequence[str], present: Presence | None = None
    ) -> dict[str, Tensor]:
        """Runs the adapters of the named taps: (batch, time, channels) each, zeros where the modality is absent."""
        taps = {}
        for name in names:
            modality = tap_modality(name)
            tap = self.adapter(name)(encoded[name])
            if present is not None and modality in present:
                tap = tap * present[modality].to(tap.dtype)[:, None, None]
            taps[name] = tap
        return taps

    def run_node(
        self,
        node: FusionNode,
        values: Mapping[str, Tensor | None],
        selection: int | Tensor | StraightThrough | PartialChannels,
    ) -> Tensor | None:
        """The output of one node, (batch, time, channels), or None if it reads nothing.

        Args:
            node: One of the space's nodes.
            values: Taps and fused states by name.
            selection: One choice, mixing weights (choices,), per-sample weights (batch, choices), or one of the above.
        """
        if isinstance(selection, int):
            return self._run_choice(node, selection, values)
        if isinstance(selection, StraightThrough):
            output = self._run_choice(node, selection.index, values)
            others = selection.weights.sum() - selection.weights[selection.index]
            if output is None:  # zero, yet with a gradient; one sample broadcasts over the batch
                return self.head.linear.weight.new_zeros(1, 1, self.channels) + others
            return output * selection.weights[selection.index] + others
        if isinstance(selection, PartialChannels):
            mixed = self._mix(node, values, selection.weights)
            past: Tensor | None = None
            for name, weight in selection.carried.items():
                if (value := values[name]) is not None:
                    past = add_states(past, weight * value)
            return add_states(
                None if mixed is None else selection.share * mixed,
                None if past is None else (1 - selection.share) * past,
            )
        return self._mix(node, values, selection)

    def _mix(self, node: FusionNode, values: Mapping[str, Tensor | None], weights: Tensor) -> Tensor | None:
        mixed: Tensor | None = None
        for index in range(len(node.choices)):
            output = self._run_choice(node, index, values)
            if output is not None:
                weight = weights[..., index]
                mixed = add_states(mixed, output * (weight if weight.dim() == 0 else weight[:, None, None]))
        return mixed

    def _run_choice(self, node: FusionNode, index: int, values: Mapping[str, Tensor | None]) -> Tensor | None:
        choice = node.choices[index]
        read = [values[name] for name in choice.inputs]
        sources = [value for value in read if value is not None]
        if not choice.inputs or len(sources) < len(choice.inputs):
            return None
        operations = self.nodes[node.name]
        assert isinstance(operations, nn.ModuleDict)
        output: Tensor = operations[choice.key](sources)
        return output

    def adapter(self, tap: str) -> nn.Module:
        """The adapter of a tap, by its name."""
        return self.adapters[tap.replace("@", "_")]

    def encoder(self, modality: str) -> Encoder:
        """The encoder of a modality."""
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
