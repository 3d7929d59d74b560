"""A trained network on samples whose modalities come from different samples: what every diagnostic here is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.architecture import tap_modality
from nas.data.batches import Batch, in_order
from nas.graph import FusionNetwork
from nas.training import EVALUATION_BATCH, autocast

BLOCK = 4096
"""Recombined samples that the head answers at once."""


@dataclass(frozen=True, eq=False)
class Recombined:
    """The taps of a network on some samples, from which it answers for any recombination of their modalities.

    Encoders and adapters, which see one modality each, have run once per sample; only the fusion nodes and the head run
    again. Whether a sample has a modality goes with the modality.

    Attributes:
        network: Derived, in evaluation mode.
        taps: Modality to the taps that are read of it, (samples, time, channels) each. Modalities that the network does
            not read are not in it.
        num_samples: Of all taps.
        device: Where the network is; taps are kept there.
    """

    network: FusionNetwork
    taps: Mapping[str, Mapping[str, Tensor]]
    num_samples: int
    device: torch.device

    @classmethod
    @torch.no_grad()
    def of(cls, network: FusionNetwork, batch: Batch, device: torch.device) -> Recombined:
        """Runs the encoders and adapters of a derived network over a batch."""
        network = network.to(device).eval()
        names = network.needed_taps({node.name: 0 for node in network.space.nodes})
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        for part in in_order(batch, EVALUATION_BATCH, device):
            with autocast(device):
                for name, tap in network.taps(part.inputs, names, part.present).items():
                    parts[name].append(tap)
        taps: dict[str, dict[str, Tensor]] = {}
        for name, found in parts.items():
            taps.setdefault(tap_modality(name), {})[name] = torch.cat(found)
        return cls(network, taps, len(batch), device)

    @property
    def modalities(self) -> list[str]:
        """Those that the network reads."""
        return list(self.taps)

    def take(self, rows: Tensor) -> Recombined:
        """Some of the samples, (rows,)."""
        rows = rows.to(self.device)
        taps = {modality: {name: tap[rows] for name, tap in some.items()} for modality, some in self.taps.items()}
        return Recombined(self.network, taps, len(rows), self.device)

    @torch.no_grad()
    def outputs(self, rows: Mapping[str, Tensor | None] | None = None) -> Tensor:
        """Logits or predictions, (answers, outputs), on the CPU.

        Args:
            rows: Modality to the samples that it comes from, (answers,), equally many for all; None for a modality that
                is absent, whose taps are zero. Modalities that are not named come from the samples in order, then there
                are as many answers as samples.
        """
        rows = rows or {}
        given = [some for some in rows.values() if some is not None]
        count = len(given[0]) if given else self.num_samples
        selection = {node.name: 0 for node in self.network.space.nodes}
        found = []
        for start in range(0, count, BLOCK):
            end = min(count, start + BLOCK)
            block = {
                name: self._block(tap, rows.get(modality, slice(None)), start, end)
                for modality, some in self.taps.items()
                for name, tap in some.items()
            }
            with autocast(self.device):
                found.append(self.network.fuse(block, selection, batch_size=end - start).float().cpu())
        return torch.cat(found)

    def _block(self, tap: Tensor, rows: Tensor | slice | None, start: int, end: int) -> Tensor:
        if rows is None:
            return tap.new_zeros(end - start, *tap.shape[1:])
        if isinstance(rows, slice):
            return tap[start:end]
        return tap[rows[start:end].to(self.device)]
