"""A trained network on samples whose modalities come from different samples: what every diagnostic here is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nas.data.batches import Batch, in_order
from nas.network.prediction import EVALUATION_BATCH, autocast
from nas.routing.network import DerivedNetwork, RoutedNetwork, static_part, taps_of_router
from nas.space.architecture import tap_modality
from nas.streams import is_joined, tap_modalities

BLOCK = 4096
"""Recombined samples that the head answers at once."""

FEWEST = 1000
"""Samples that are diagnosed at least, however little memory data may take."""

SAMPLE_BYTES = 2**17
"""Memory that the taps of one sample take, of the networks of several seeds."""


def most_samples(memory: int | None, num_samples: int) -> int:
    """How many of some samples a diagnostic may hold the taps of, if data may take so many bytes; None for any."""
    return num_samples if memory is None else min(num_samples, max(FEWEST, memory // SAMPLE_BYTES))


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
        encoded: Modality to the taps that the gate of a dynamic network reads, as the encoder puts them out.
        present: Modality to whether each sample has it, (samples,) bool; modalities that all have are left out.
        is_raw: Whether `taps` holds the modalities' arrays instead, since in the network one modality is added into the
            encoder of another; every answer then takes the whole network.
    """

    network: DerivedNetwork
    taps: Mapping[str, Mapping[str, Tensor]]
    num_samples: int
    device: torch.device
    encoded: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    present: Mapping[str, Tensor] = field(default_factory=dict)
    is_raw: bool = False

    @classmethod
    @torch.no_grad()
    def of(cls, network: DerivedNetwork, batch: Batch, device: torch.device) -> Recombined:
        """Runs the encoders and adapters of a derived network over a batch."""
        network = network.to(device).eval()
        static, is_routed = static_part(network), isinstance(network, RoutedNetwork)
        names = network.taps() if isinstance(network, RoutedNetwork) else static.needed_taps(static.selection)
        reads = taps_of_router(network.router) if isinstance(network, RoutedNetwork) else ()
        here = {name: mask.to(device) for name, mask in batch.present.items()}
        if any(map(is_joined, [*names, *reads])):
            modalities = dict.fromkeys(one for name in [*reads, *names] for one in tap_modalities(name))
            raw = {name: {name: batch.inputs[name][0].to(device)} for name in modalities}
            return cls(network, raw, len(batch), device, present=here, is_raw=True)
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        read_parts: dict[str, list[Tensor]] = {name: [] for name in reads}
        for part in in_order(batch, EVALUATION_BATCH, device):
            with autocast(device):
                encoded = static.encode(part.inputs, list(dict.fromkeys([*names, *reads])))
                for name, tap in static.adapt(encoded, names, part.present).items():
                    parts[name].append(tap)
                for name in reads:
                    read_parts[name].append(encoded[name])
        present = here if is_routed else {}
        return cls(network, _by_modality(parts), len(batch), device, _by_modality(read_parts), present)

    @property
    def modalities(self) -> list[str]:
        """Those that the network reads."""
        return list(self.taps)

    def take(self, rows: Tensor) -> Recombined:
        """Some of the samples, (rows,)."""
        rows = rows.to(self.device)
        taps, encoded = (
            {modality: {name: tap[rows] for name, tap in some.items()} for modality, some in every.items()}
            for every in (self.taps, self.encoded)
        )
        present = {name: mask[rows] for name, mask in self.present.items()}
        return Recombined(self.network, taps, len(rows), self.device, encoded, present, self.is_raw)

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
        found = []
        for start in range(0, count, BLOCK):
            end = min(count, start + BLOCK)
            block, encoded = (
                {
                    name: self._block(tap, rows.get(modality, slice(None)), start, end)
                    for modality, some in every.items()
                    for name, tap in some.items()
                }
                for every in (self.taps, self.encoded)
            )
            with autocast(self.device):
                if self.is_raw:
                    answers = self.network(block, self._present(rows, start, end))
                elif isinstance(self.network, RoutedNetwork):
                    routes, router = self.network.fuse(block), self.network.router
                    picked = router.pick(router.logits(encoded, routes, self._present(rows, start, end)))
                    answers = routes[picked, torch.arange(end - start, device=self.device)]
                else:
                    answers = self.network.fuse(block, self.network.selection, batch_size=end - start)
            found.append(answers.float().cpu())
        return torch.cat(found)

    def _present(self, rows: Mapping[str, Tensor | None], start: int, end: int) -> dict[str, Tensor]:
        """Which answers have which modality, (answers,) bool, of those that some lack."""
        absent = {name: torch.zeros(end - start, dtype=torch.bool, device=self.device) for name in rows}
        had = {name: self._block(mask, rows.get(name, slice(None)), start, end) for name, mask in self.present.items()}
        return {**{name: mask for name, mask in absent.items() if rows[name] is None}, **had}

    def _block(self, tap: Tensor, rows: Tensor | slice | None, start: int, end: int) -> Tensor:
        if rows is None:
            return tap.new_zeros(end - start, *tap.shape[1:])
        if isinstance(rows, slice):
            return tap[start:end]
        return tap[rows[start:end].to(self.device)]


def _by_modality(parts: Mapping[str, list[Tensor]]) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    for name, some in parts.items():
        found.setdefault(tap_modality(name), {})[name] = torch.cat(some)
    return found
