"""Recordings: rate and length of the training split, and spectrograms with the tone where it belongs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.io import wavfile

from nas import UserError
from nas.data.tables.audio import MAX_FRAMES, MAX_RATE, AudioRecipe, _mel_filters
from tests.data.tables.helpers import write_recording


def frame(*cells: str | None) -> pd.DataFrame:
    return pd.DataFrame({"s": list(cells)})


def fit(folder: Path, *cells: str | None) -> AudioRecipe:
    return AudioRecipe.fit(frame(*cells), {}, folder)


def test_rate_and_length_are_those_of_the_training_recordings(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.wav", rate=8000, seconds=0.505)
    assert fit(tmp_path, "a.wav", None) == AudioRecipe(column="s", rate=8000, window=200, hop=80, bands=40, frames=49)
    write_recording(tmp_path / "b.wav", rate=44_100, seconds=30)
    recipe = fit(tmp_path, "b.wav")
    assert (recipe.rate, recipe.frames) == (MAX_RATE, MAX_FRAMES)
    assert recipe.window + (recipe.frames - 1) * recipe.hop >= 30 * MAX_RATE - recipe.hop


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100])
@pytest.mark.parametrize("frequency", [300.0, 1000.0, 3000.0])
def test_a_tone_is_loudest_in_its_own_band_at_every_rate(tmp_path: Path, rate: int, frequency: float) -> None:
    write_recording(tmp_path / "a.wav", frequency, rate=rate)
    recipe = AudioRecipe(column="s", rate=8000, window=200, hop=80, bands=40, frames=18)
    found = recipe.apply(frame("a.wav", None), tmp_path)
    edges = 2595 * np.log10(1 + np.array([20, 4000, frequency]) / 700)
    expected = (edges[2] - edges[0]) / (edges[1] - edges[0]) * 41 - 1
    loudest = found.arrays[0][0, 4:14].argmax(axis=1)
    assert np.abs(loudest - expected).max() <= 1.5
    assert found.kind == "sequence"
    assert found.present is not None
    assert found.present.tolist() == [True, False]
    assert not found.arrays[0][1].any()


def test_a_short_recording_goes_on_at_its_quietest_and_a_long_one_is_cut(tmp_path: Path) -> None:
    recipe = AudioRecipe(column="s", rate=8000, window=200, hop=80, bands=40, frames=30)
    write_recording(tmp_path / "short.wav", seconds=0.1)
    write_recording(tmp_path / "long.wav", seconds=2)
    write_recording(tmp_path / "tiny.wav", seconds=0.001)
    found = recipe.apply(frame("short.wav", "long.wav", "tiny.wav"), tmp_path).arrays[0]
    assert found.shape == (3, 30, 40)
    np.testing.assert_array_equal(found[0, 10:], np.broadcast_to(found[0, :8].min(axis=0), (20, 40)))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_every_number_type_comes_to_the_same_loudness(tmp_path: Path, dtype: type) -> None:
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(1600) / 8000)).astype(np.float32)
    scaled = 128 + 128 * tone if dtype is np.uint8 else tone * (np.iinfo(dtype).max + 1)
    samples: NDArray[Any] = scaled.round().astype(dtype)
    wavfile.write(tmp_path / "float.wav", 8000, tone)
    wavfile.write(tmp_path / "half.wav", 8000, tone / 2)
    wavfile.write(tmp_path / "whole.wav", 8000, samples)
    wavfile.write(tmp_path / "stereo.wav", 8000, np.stack([samples, samples], axis=1))
    recipe = AudioRecipe(column="s", rate=8000, window=200, hop=80, bands=40, frames=18)
    loud = recipe.apply(frame("float.wav", "half.wav", "whole.wav", "stereo.wav"), tmp_path).arrays[0].max(axis=(1, 2))
    np.testing.assert_allclose(loud - loud[0], [0, -np.log(4), 0, 0], atol=1e-2)  # half of 1/128 of a half, squared


def test_no_band_is_empty() -> None:
    for rate, window in ((8000, 200), (16_000, 400), (1000, 25)):
        assert (_mel_filters(rate, window, 40).sum(axis=0) > 0).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("b.wav", None, "'b.wav' is not there"),
        ("b.wav", b"RIFF", "'b.wav' is no recording that can be read"),
        ("b.wav", b"", "'b.wav' is no recording that can be read"),
    ],
)
def test_missing_and_broken_recordings_are_told(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"row 1: {message}"):
        fit(tmp_path, name)


def test_other_formats_need_soundfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    (tmp_path / "b.mp3").write_bytes(b"ID3")
    with pytest.raises(UserError, match=r"'b.mp3' is no wav, which needs soundfile: pip install soundfile"):
        fit(tmp_path, "b.mp3")


def test_empty_and_odd_recordings_are_told(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "none.wav", 8000, np.zeros(0, dtype=np.int16))
    wavfile.write(tmp_path / "slow.wav", 10, np.zeros(9, dtype=np.int16))
    with pytest.raises(UserError, match=r"row 1: 'none.wav' is empty"):
        fit(tmp_path, "none.wav")
    with pytest.raises(UserError, match=r"has 10 samples a second; expected 1,000 to 384,000"):
        fit(tmp_path, "slow.wav")
    with pytest.raises(UserError, match=r"names no recording"):
        fit(tmp_path, None)
