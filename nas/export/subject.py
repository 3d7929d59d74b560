"""A run that is being exported: each of its parts is read when a format first asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.data import FusionData
from nas.data.batches import split_batch
from nas.encoders import Named
from nas.export.portable import Portable
from nas.objectives import dropout_rate
from nas.routing.network import RoutedNetwork
from nas.routing.prediction import predict_routed
from nas.runs.folder import RunFolder
from nas.saved.run import Run, data_of, load_run, read_config, refuse_other_form
from nas.saved.weights import describe_network
from nas.summary import Summary

SAMPLES = 64
"""So many samples of the test split are compared with every export; none of them is written anywhere."""


class Subject:
    """What the formats are written from.

    Args:
        folder: Of the run.
        formats: All that are written.
        data: The data of the run, where it was not read from a file.
        encoders: Whether programs take raw arrays; if not, the encoders' taps.
        named: See `encoders` of `nas.load_run`.
    """

    def __init__(
        self,
        folder: RunFolder,
        formats: Sequence[str],
        data: FusionData | str | Path | None,
        *,
        encoders: bool,
        named: Named | None = None,
    ) -> None:
        self.run_folder = folder
        self.formats = formats
        self.encoders = encoders
        self._data = data
        self._named = named

    @cached_property
    def summary(self) -> Summary:
        """All that the run came to."""
        return self.run_folder.read_summary()

    @cached_property
    def run(self) -> Run:
        """The run with its network."""
        return load_run(self.run_folder.path, encoders=self._named)

    @cached_property
    def data(self) -> FusionData:
        """The data that the run was searched on."""
        found = data_of(self.run, self._data)
        refuse_other_form(self.run, found)
        return found

    @cached_property
    def dropped(self) -> float:
        """How often samples were shown without a modality in training, 0 to 1."""
        return dropout_rate(read_config(self.run_folder).training.objective)

    @cached_property
    def network(self) -> Portable:
        """The network with its encoders, in evaluation mode on the CPU; with masks if it has met absent modalities."""
        modalities = self.data.modalities.items()
        masked = [name for name, modality in modalities if self.dropped or modality.present is not None]
        return Portable(self.run.network, masked).eval()

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """Samples of the test split for `network`: of a dynamic one first a sample of every route that some take."""
        batch = split_batch(self.data, "test", torch.device("cpu"))
        chosen = list(range(min(SAMPLES, len(batch))))
        if isinstance(self.run.network, RoutedNetwork):
            _, picked = predict_routed(self.run.network, batch, torch.device("cpu"))
            of_routes = [int((picked == route).nonzero()[0]) for route in picked.unique()]
            chosen = list(dict.fromkeys([*of_routes, *chosen]))
        return self.network.inputs(batch.take(torch.tensor(chosen)))

    @property
    def description(self) -> dict[str, Any]:
        """What the network says of itself, as in the metadata of its weights."""
        return describe_network(self.run.network, self.data)

    @cached_property
    def program(self) -> tuple[Portable, tuple[Tensor, ...]]:
        """The network as programs have it, with or without encoders, and samples for it."""
        if self.encoders:
            return self.network, self.inputs
        with torch.no_grad():
            taps = self.network.taps(*self.inputs)
        return Portable(self.run.network, list(self.network.masks), encoders=False).eval(), taps

    @property
    def stem(self) -> str:
        """Of the names of programs."""
        return "network" if self.encoders else "fusion"

    @property
    def about(self) -> dict[str, Any]:
        """What a program says of itself."""
        return {
            **self.description,
            "in_words": self.run.architecture.in_words(),
            "inputs": list(self.program[0].names),
            "takes": "raw arrays" if self.encoders else "encoder taps",
            "data": self.summary.data.fingerprint,
        }
