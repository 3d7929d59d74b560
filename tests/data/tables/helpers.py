"""Small tables with pictures and recordings that are made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.io import wavfile

NUM_ROWS = 60
CLASSES = ("bell", "drum", "horn")
MAKERS = ("Ada", "Bo", "Cy")
SPLITS = ("train", "train", "train", "val", "test")


def write_picture(path: Path, level: int = 128, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> Path:
    """A picture of one grey, `size` is width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).convert(mode).save(path)
    return path


def write_recording(path: Path, frequency: float = 440.0, rate: int = 8000, seconds: float = 0.2) -> Path:
    """A tone of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(rate * seconds)) / rate
    wavfile.write(path, rate, (8000 * np.sin(2 * np.pi * frequency * times)).astype(np.int16))
    return path


def toy_columns(folder: Path, num_rows: int = NUM_ROWS) -> dict[str, list[Any]]:
    """Columns of every kind; pictures and recordings are written below the folder."""
    generator = np.random.default_rng(0)
    kind = [row % 3 for row in range(num_rows)]
    for level, frequency in enumerate((300.0, 800.0, 1500.0)):
        write_picture(folder / f"pictures/{level}.png", 40 + 80 * level)
        write_recording(folder / f"sounds/{level}.wav", frequency)
    return {
        "picture": [f"pictures/{one}.png" for one in kind],
        "sound": [f"sounds/{one}.wav" for one in kind],
        "title": [
            f"a {CLASSES[one]} of brass number {generator.integers(100)} made {row}" for row, one in enumerate(kind)
        ],
        "weight": [round(float(generator.normal(one, 0.5)), 3) for one in kind],
        "maker": [MAKERS[int(generator.integers(3))] for _ in kind],
        "sold": [f"20{10 + row % 10}-{1 + row % 12:02}-03" for row in range(num_rows)],
        "price": [round(10 * one + float(generator.normal()), 2) for one in kind],
        "kind": [CLASSES[one] for one in kind],
        "split": [SPLITS[(row // 3) % len(SPLITS)] for row in range(num_rows)],
    }


def toy_frame(folder: Path, num_rows: int = NUM_ROWS) -> pd.DataFrame:
    """The same as a data frame."""
    return pd.DataFrame(toy_columns(folder, num_rows))


def write_toy(folder: Path, name: str = "toys.csv", **options: Any) -> Path:
    """The same as a CSV beside its pictures and recordings."""
    path = folder / name
    toy_frame(folder).to_csv(path, index=False, **options)
    return path


class Duck:
    """A table of another library, such as polars, which pandas knows nothing of."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def to_pandas(self) -> pd.DataFrame:
        return self._frame
