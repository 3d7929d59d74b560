"""A network of another library, with its blocks as taps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from nas.codegen import Construction
from nas.data.fusion_data import Kind


class Backbone(nn.Module, ABC):
    """A network of another library that is built from plain values.

    Attributes:
        reads: The kind of modality that it is for.
        config: Plain values from which `rebuild` makes it again, without weights.
        tap_names: Blocks that are tapped, shallow to deep.
        construction: How the Python file makes `model`.
    """

    reads: Kind
    config: dict[str, Any]
    tap_names: tuple[str, ...]
    model: Any

    @classmethod
    @abstractmethod
    def rebuild(cls, config: Mapping[str, Any]) -> Backbone:
        """From `config`, be it a stranger's: nothing is downloaded, and no code of the network's author is run.

        Raises:
            UserError: If it is garbled or asks for what no network of the library has.
        """

    @abstractmethod
    def taps(self, values: Tensor, num_taps: int) -> list[Tensor]:
        """The first taps, each (batch, time, channels), of a batch as its kind has it; pictures are normalised."""

    def forward(self, values: Tensor) -> list[Tensor]:
        """All taps."""
        return self.taps(values, len(self.tap_names))

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """All blocks, shallow to deep."""

    @abstractmethod
    def code(self, values: str, depths: Sequence[int], example: Tensor) -> tuple[list[str], list[str]]:
        """The same as code: statements on `self.model`, and an expression for each of the taps of some depths.

        Args:
            values: An expression for the batch.
            depths: Of the taps.
            example: A batch, from which shapes are read.
        """

    @abstractmethod
    def made(self) -> Construction:
        """How `model` is made in code."""
