"""A modality of recordings for a pretrained network: the signal itself, at the rate that the network was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.data.fusion_data import Modality
from nas.data.tables.audio import MAX_LISTENED_TO, RATES, SHARE_WHOLE, read_recording, resampled
from nas.data.tables.files import NamedFile, filled, some_files
from nas.data.tables.parts import MAX_NAME, from_plain, to_plain
from nas.data.tables.stored_table import Table
from nas.errors import UserError
from nas.fields import Form, Text, Whole

MAX_SECONDS = 20
"""Of a recording that are heard."""

LARGEST_SAMPLES = 2**24
"""Of a recipe."""


@dataclass(frozen=True, kw_only=True)
class WaveRecipe:
    """Samples between -1 and 1, channels averaged; zeros behind the end.

    Attributes:
        column: Name of the column of paths.
        rate: Samples a second.
        samples: Of a recording; the rest is cut off.
    """

    column: str
    rate: int
    samples: int

    @classmethod
    def forms(cls) -> Mapping[str, Form]:
        """What the fields may hold."""
        return {"column": Text(MAX_NAME), "rate": Whole(*RATES), "samples": Whole(1, LARGEST_SAMPLES)}

    @classmethod
    def fit_for(cls, rows: Table, folder: Path, rate: int) -> WaveRecipe:
        """From the rows of the training split: as long as most recordings are.

        Args:
            rows: Of the column alone.
            folder: That paths are relative to.
            rate: Of the network.

        Raises:
            UserError: If a recording is missing or broken, or there is none.
        """
        (name,) = rows.columns
        heard = map(read_recording, some_files(rows[name], folder, MAX_LISTENED_TO))
        seconds = [len(signal) / own for signal, own in heard]
        if not seconds:
            raise UserError(f"column {name!r} names no recording in the training rows; leave it out")
        most = min(float(np.quantile(seconds, SHARE_WHOLE)), MAX_SECONDS)
        return cls(column=name, rate=rate, samples=max(rate // 20, round(most * rate)))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return (self.column,)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of what a row becomes."""
        return (self.samples, 1)

    def apply(self, frame: pd.DataFrame, folder: Path) -> Modality:
        """Signals, (n, samples, 1); a row without a path does not have the modality.

        Raises:
            UserError: If a recording is missing or broken, or they would not fit in memory.
        """

        def wave(file: NamedFile) -> NDArray[np.float32]:
            signal, rate = read_recording(file)
            heard = resampled(signal[: -(-self.samples * rate // self.rate) + 1], rate, self.rate)[: self.samples]
            return np.pad(heard, (0, self.samples - len(heard)))[:, None]

        return filled("sequence", frame[self.column], folder, wave, self.sample_shape, np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return to_plain(self, "wave")

    @classmethod
    def from_dict(cls, values: Any, label: str) -> WaveRecipe:
        """From what `to_dict` gave.

        Raises:
            UserError: If it is something else.
        """
        return from_plain(cls, values, label)
