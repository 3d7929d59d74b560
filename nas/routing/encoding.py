"""Encoders that go on: what has been computed of some samples, and what is computed from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.encoders.base import State
from nas.network.fusion_network import FusionNetwork, Inputs
from nas.space.architecture import tap_depth, tap_modality, tap_name


@dataclass(frozen=True)
class EncodingState:
    """How far a network's encoders have come with some samples.

    Attributes:
        inputs: The samples themselves, those of joined streams among them.
        taps: Those that are there, each (batch, time, channels).
        states: Modality or joined stream to its number of taps that are there, and what its encoder goes on from.
    """

    inputs: Inputs
    taps: Mapping[str, Tensor]
    states: Mapping[str, tuple[int, State]]

    def take(self, rows: Tensor, names: Sequence[str]) -> EncodingState:
        """Some of the samples, (rows,), and of them what it takes to compute the named taps."""
        modalities = {tap_modality(name) for name in names if name not in self.taps}
        return EncodingState(
            {name: tuple(gather(a, rows) for a in self.inputs[name]) for name in modalities if name not in self.states},
            {name: gather(self.taps[name], rows) for name in names if name in self.taps},
            {
                name: (count, tuple(gather(part, rows) for part in state))
                for name, (count, state) in self.states.items()
                if name in modalities
            },
        )


def gather(tensor: Tensor, rows: Tensor) -> Tensor:
    """Some samples of (batch, …), in the same order in memory; on a CPU several times as fast as `tensor[rows]`."""
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)
    return tensor.index_select(0, rows)


def start_encoding(network: FusionNetwork, inputs: Inputs, names: Sequence[str]) -> EncodingState:
    """Runs the encoders as deep as the named taps need, so that they can go on from there.

    Args:
        network: Whose encoders run.
        inputs: The batch, with all modalities and joined streams that are read in the end.
        names: Of taps.
    """
    return extend_taps(network, EncodingState(inputs, {}, {}), names)


def extend_taps(network: FusionNetwork, begun: EncodingState, names: Sequence[str]) -> EncodingState:
    """Runs the encoders on, as deep as the named taps need; those that have not begun do so."""
    taps, states = dict(begun.taps), dict(begun.states)
    wanted: dict[str, set[int]] = {}
    for name in names:
        if name not in taps:
            wanted.setdefault(tap_modality(name), set()).add(tap_depth(name))
    for modality, depths in wanted.items():
        encoder = network.encoder(modality)
        first, state = states[modality] if modality in states else (0, encoder.start(begun.inputs[modality]))
        found, state = encoder.extend_to(state, first, depths)
        taps.update({tap_name(modality, depth): tap for depth, tap in found.items()})
        states[modality] = (max(depths) + 1, state)
    return EncodingState(begun.inputs, taps, states)


def finish_taps(network: FusionNetwork, begun: EncodingState, names: Sequence[str]) -> dict[str, Tensor]:
    """The named taps: those that are there, those of encoders that go on, and those of encoders that begin."""
    taps = extend_taps(network, begun, names).taps
    return {name: taps[name] for name in names}
