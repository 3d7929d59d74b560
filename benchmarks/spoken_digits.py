"""The raw table of spoken digits as arrays: log-spectrograms of the recordings, pixels of the pictures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import wavfile
from scipy.signal import spectrogram

from nas.data import FusionData

RATE = 8000
BANDS = 32
"""Into which the 128 frequencies of a window of 256 samples are averaged."""

SPLITS = {"train": 0, "val": 1, "test": 2}


def spoken_digits(table: Path) -> FusionData:
    """Audio as a sequence, (n, 61 steps, 32 bands), and image as a map, (n, 8, 8).

    Args:
        table: `spoken_digits.csv`, whose columns `audio` and `image` hold paths relative to it.
    """
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    audio = np.stack([_bands(table.parent / row["audio"]) for row in rows])
    image = np.stack([np.asarray(Image.open(table.parent / row["image"]), np.float32) for row in rows])
    words = sorted({row["digit"] for row in rows})
    return FusionData.from_arrays(
        {"audio": audio, "image": image},
        np.array([words.index(row["digit"]) for row in rows]),
        splits=np.array([SPLITS[row["split"]] for row in rows]),
        kinds={"audio": "sequence", "image": "map"},
        name="spoken_digits",
        class_names=words,
    )


def _bands(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """One second, padded with silence: log power, (time, bands)."""
    rate, samples = wavfile.read(path)
    assert rate == RATE, (path, rate)
    second = np.zeros(RATE)
    second[: min(RATE, len(samples))] = samples[:RATE] / 2.0**15
    _, _, power = spectrogram(second, RATE, nperseg=256, noverlap=128)
    log = np.log(power[1:129] + 1e-10).T.reshape(-1, BANDS, 128 // BANDS)
    found: np.ndarray[tuple[int, int], np.dtype[np.float32]] = log.mean(axis=2).astype(np.float32)
    return found
