"""A modality of recordings: log-mel spectrograms of one rate and one length, which the training split decides."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import resample_poly

from nas.data.fusion_data import Modality
from nas.data.tables.files import NamedFile, filled, some_files
from nas.data.tables.parts import MAX_NAME, from_plain, to_plain
from nas.data.tables.stored_table import Table
from nas.errors import UserError, one_line
from nas.fields import Form, Text, Whole

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")

RATES = (1000, 384_000)
"""Samples a second of a file, from and to."""

MAX_RATE = 16_000
"""Samples a second that recordings are brought to at most; speech needs no more."""

WINDOW_SECONDS = 0.025
HOP_SECONDS = 0.010

NUM_BANDS = 40

MAX_FRAMES = 200
"""Longer recordings get longer steps."""

LARGEST_FRAMES = 4096
LARGEST_WINDOW = 65_536
LARGEST_WINDOWS = 2**24
"""Of a recipe, and samples of all windows together."""

SHARE_WHOLE = 0.95
"""Of the recordings of the training split that are heard to their end."""

MAX_LISTENED_TO = 1000
"""Recordings whose rate and length are read to choose one."""

FLOOR = 1e-6
"""Power of a band that counts as silence, of a signal between -1 and 1."""

_BROKEN = (
    ArithmeticError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError, struct.error,
)  # fmt: skip
"""What is raised on damaged and crafted files."""


@dataclass(frozen=True, kw_only=True)
class AudioRecipe:
    """Logarithm of the power in mel bands, step by step; behind the end the quietest level of the recording goes on.

    Attributes:
        column: Name of the column of paths.
        rate: Samples a second.
        window: Samples of one spectrum.
        hop: Samples from one to the next.
        bands: Mel bands, from 20 Hz to half the rate.
        frames: Spectra of a recording.
    """

    column: str
    rate: int
    window: int
    hop: int
    bands: int
    frames: int

    @classmethod
    def forms(cls) -> Mapping[str, Form]:
        """What the fields may hold."""
        return {
            "column": Text(MAX_NAME),
            "rate": Whole(*RATES),
            "window": Whole(1, LARGEST_WINDOW),
            "hop": Whole(1, LARGEST_WINDOW),
            "bands": Whole(1, 256),
            "frames": Whole(1, LARGEST_FRAMES),
        }

    @classmethod
    def fit(cls, rows: Table, kinds: Mapping[str, str], folder: Path) -> AudioRecipe:  # noqa: ARG003
        """From the rows of the training split: the median rate, at most `MAX_RATE`, and a length that most have.

        Raises:
            UserError: If a recording is missing or broken, or there is none.
        """
        (name,) = rows.columns
        chosen = some_files(rows[name], folder, MAX_LISTENED_TO)
        heard = [(rate, len(signal) / rate) for signal, rate in map(read_recording, chosen)]
        if not heard:
            raise UserError(f"column {name!r} names no recording in the training rows; leave it out")
        rate = min(int(np.median([one for one, _ in heard])), MAX_RATE)
        seconds = float(np.quantile([length for _, length in heard], SHARE_WHOLE))
        window, hop = round(WINDOW_SECONDS * rate), round(HOP_SECONDS * rate)
        samples = max(window, round(seconds * rate))
        hop = min(max(hop, -(-(samples - window) // (MAX_FRAMES - 1))), LARGEST_WINDOW)
        return cls(
            column=name, rate=rate, window=window, hop=hop, bands=NUM_BANDS, frames=1 + -(-(samples - window) // hop)
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return (self.column,)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of what a row becomes."""
        return (self.frames, self.bands)

    def apply(self, frame: pd.DataFrame, folder: Path) -> Modality:
        """Spectrograms, (n, frames, bands); a row without a path does not have the modality.

        Raises:
            UserError: If a recording is missing or broken, or they would not fit in memory.
        """

        def spectrogram(file: NamedFile) -> NDArray[np.float32]:
            return self._spectrogram(*read_recording(file))

        return filled("sequence", frame[self.column], folder, spectrogram, self.sample_shape, np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return to_plain(self, "audio")

    @classmethod
    def from_dict(cls, values: Any, label: str) -> AudioRecipe:
        """From what `to_dict` gave.

        Raises:
            UserError: If it is something else.
        """
        made = from_plain(cls, values, label)
        if made.window > made.rate or made.window * made.frames > LARGEST_WINDOWS:
            raise UserError(
                f"{label} has {made.frames} windows of {made.window} samples, {made.rate} a second; expected less "
                f"than one second, and at most {LARGEST_WINDOWS:,} samples in all"
            )
        return made

    def _spectrogram(self, signal: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        """The log-mel spectrogram of a recording, (frames, bands)."""
        needed = self.window + self.hop * (self.frames - 1)
        signal = signal[: -(-needed * rate // self.rate) + 1]
        signal = resampled(signal, rate, self.rate)[:needed]
        if len(signal) < self.window:
            signal = np.pad(signal, (0, self.window - len(signal)))
        windows = np.lib.stride_tricks.sliding_window_view(signal, self.window)[:: self.hop]
        filters = _mel_filters(self.rate, self.window, self.bands)
        spectrum = np.abs(np.fft.rfft(windows * np.hanning(self.window), n=2 * (filters.shape[0] - 1), axis=1)) ** 2
        levels = np.log(spectrum @ filters / self.window + FLOOR)
        quietest = np.broadcast_to(levels.min(axis=0), (self.frames - len(levels), self.bands))
        return np.concatenate([levels, quietest]).astype(np.float32)


@cache
def _mel_filters(rate: int, window: int, bands: int) -> NDArray[np.float64]:
    """Triangles that overlap by half, evenly spaced in mel, (bins, bands).

    O'Shaughnessy 1987, "Speech Communication: Human and Machine": 2595 log10(1 + f / 700) mel.
    """
    length = (
        2 << (window - 1).bit_length()
    )  # twice as fine as the window, so that no narrow triangle falls between bins
    bins = np.linspace(0, rate / 2, length // 2 + 1)
    low, high = 2595 * np.log10(1 + np.array([20, rate / 2]) / 700)
    edges = 700 * (10 ** (np.linspace(low, high, bands + 2) / 2595) - 1)
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return np.clip(np.minimum(rising, falling), 0, None)


def resampled(signal: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    """A signal at another rate, in samples a second."""
    if rate == wanted:
        return signal
    ratio = Fraction(wanted, rate).limit_denominator(1000)
    found: NDArray[np.float32] = resample_poly(signal, ratio.numerator, ratio.denominator).astype(np.float32)
    return found


def read_recording(file: NamedFile) -> tuple[NDArray[np.float32], int]:
    """A recording between -1 and 1, (samples,), channels averaged; and its samples a second."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of chunks that it does not know
            if file.suffix == ".wav":
                rate, samples = wavfile.read(file.source)
            else:
                source = str(file.source) if isinstance(file.source, Path) else file.source
                samples, rate = _soundfile(file.label).read(source, dtype="float32")
    except UserError:
        raise
    except _BROKEN as error:
        raise UserError(
            f"{file.label} is no recording that can be read ({one_line(error)}); replace it, or empty the cell"
        ) from error
    if not RATES[0] <= rate <= RATES[1]:
        raise UserError(f"{file.label} has {rate} samples a second; expected {RATES[0]:,} to {RATES[1]:,}")
    if not samples.size:
        raise UserError(f"{file.label} is empty; replace it, or empty the cell")
    kind, size = samples.dtype.kind, samples.dtype.itemsize
    signal = samples.astype(np.float32)
    if kind == "u":
        signal = (signal - 128) / 128
    elif kind == "i":
        signal = signal / 2 ** (8 * size - 1)
    signal = signal.mean(axis=1) if signal.ndim > 1 else signal
    return np.nan_to_num(np.clip(signal, -1e3, 1e3)), int(rate)


def _soundfile(label: str) -> Any:
    try:
        return import_module("soundfile")
    except ImportError as error:
        raise UserError(
            f"{label} is no wav, which needs soundfile: pip install soundfile, or convert it to wav"
        ) from error
