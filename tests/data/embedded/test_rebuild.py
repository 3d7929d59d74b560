"""The script that rebuilds the emoji: its parts on made-up input, and the whole where the package is at hand."""

from __future__ import annotations

import io
import json
import os
import tarfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas.data.embedded.rebuild import (
    half_size_on_white,
    main,
    rebuild,
    shipped_split,
    token_ids,
    vocabulary,
    words,
)

PACKAGE = "FUSENAS_EMOJI_PACKAGE"
"""Environment variable that may hold the path of emoji-datasource-google-16.0.0.tgz."""


@pytest.mark.parametrize(
    ("name", "short_names", "expected"),
    [
        ("GRINNING FACE", ["grinning"], ["grinning", "face"]),
        ("KEYCAP 1", ["one"], ["keycap", "1", "one"]),
        ("TIGHTLY-CLOSED EYES", ["sweat_smile"], ["tightly", "closed", "eyes", "sweat", "smile"]),
        ("RESCUE WORKER’S HELMET", [], ["rescue", "worker", "s", "helmet"]),
        ("", [], []),
    ],
)
def test_words_are_cut_at_whatever_is_no_letter_or_digit(
    name: str, short_names: list[str], expected: list[str]
) -> None:
    assert words(name, short_names) == expected


def test_vocabulary_holds_words_of_two_samples() -> None:
    assert vocabulary([["sun", "cat"], ["cat", "dog"], ["dog"]]) == ["<pad>", "<unk>", "cat", "dog"]


def test_token_ids_are_padded_and_cut_to_twelve() -> None:
    vocab = ["<pad>", "<unk>", "cat", "dog"]
    assert token_ids(["dog", "eel", "cat"], vocab) == [3, 1, 2, *[0] * 9]
    assert token_ids(["cat"] * 20, vocab) == [2] * 12


def test_four_pixels_are_averaged() -> None:
    pixels = np.zeros((4, 2, 3), dtype=np.uint8)
    pixels[:2, :, 0] = [[0, 40], [80, 120]]
    pixels[2:, :, 2] = 7
    small = half_size_on_white(Image.fromarray(pixels))
    assert small.shape == (3, 2, 1)
    assert small.dtype == np.uint8
    assert small[:, :, 0].tolist() == [[60, 0], [0, 0], [0, 7]]


def test_transparency_shows_white() -> None:
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)  # black, and all transparent
    assert half_size_on_white(Image.fromarray(pixels)).ravel().tolist() == [255, 255, 255]
    pixels[0, :, 3] = 255  # the upper two are opaque: half black, half white
    assert half_size_on_white(Image.fromarray(pixels)).ravel().tolist() == [128, 128, 128]
    grey = np.dstack([np.full((2, 2), 90), np.full((2, 2), 255)]).astype(np.uint8)
    assert half_size_on_white(Image.fromarray(grey, mode="LA")).ravel().tolist() == [90, 90, 90]


def _entry(name: str, code: str, order: int, category: str) -> dict[str, Any]:
    return {
        "name": name,
        "short_names": [name.lower()],
        "unified": code,
        "image": f"{code.lower()}.png",
        "sort_order": order,
        "category": category,
        "subcategory": f"{category} 1",
    }


def _package(path: Path, version: str = "16.0.0") -> Path:
    """A package of three emoji, one of them a flag, in no order."""
    picture = io.BytesIO()
    Image.new("RGBA", (64, 64), (10, 20, 30, 255)).save(picture, "png")
    entries = [
        _entry("CAT", "1F408", 2, "Animals"),
        _entry("FLAG", "1F3F4", 3, "Flags"),
        _entry("CAT FACE", "1F431", 1, "Faces"),
    ]
    contents = {
        "img/google/64/1f431.png": picture.getvalue(),
        "img/google/64/1f408.png": picture.getvalue(),
        "emoji.json": json.dumps(entries).encode(),
        "package.json": json.dumps({"version": version}).encode(),
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_a_small_package_is_rebuilt_in_sorted_order_without_flags(tmp_path: Path) -> None:
    arrays = rebuild(_package(tmp_path / "a.tgz"), {"1F408": 0, "1F431": 0})
    assert arrays["codepoints"].tolist() == ["1F431", "1F408"]
    assert arrays["text"].tolist() == ["cat face", "cat"]
    assert arrays["vocab"].tolist() == ["<pad>", "<unk>", "cat"]
    assert arrays["tokens"].tolist() == [[2, 1, *[0] * 10], [2, *[0] * 11]]
    assert arrays["label_names"].tolist() == ["Animals", "Faces"]
    assert arrays["label"].tolist() == [1, 0]
    assert arrays["image"].shape == (2, 3, 32, 32)
    assert arrays["image"][0, :, 5, 5].tolist() == [10, 20, 30]


@pytest.mark.parametrize(("version", "message"), [("15.0.0", "version 15.0.0, expected 16.0.0"), ("16.0.0", "1F431")])
def test_another_package_is_refused(tmp_path: Path, version: str, message: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("nas.data.embedded.rebuild.shipped_split", lambda: {"1F408": 0})
    with pytest.raises(SystemExit, match=message):
        main([str(_package(tmp_path / "a.tgz", version)), str(tmp_path / "out.npz")])
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "usage: "), (["absent.tgz", "out.npz"], "absent.tgz"), ([__file__, "out.npz"], "is not emoji-datasource")],
)
def test_wrong_arguments_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message) as caught:
        main(arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.skipif(PACKAGE not in os.environ, reason=f"{PACKAGE} names no npm package to rebuild from")
def test_rebuilt_arrays_equal_the_shipped_ones(tmp_path: Path) -> None:
    main([os.environ[PACKAGE], str(tmp_path / "out.npz")])
    with (
        np.load(str(files("nas.data") / "embedded" / "emoji.npz"), allow_pickle=False) as shipped,
        np.load(tmp_path / "out.npz", allow_pickle=False) as rebuilt,
    ):
        assert rebuilt.files == shipped.files
        for key in shipped.files:
            assert rebuilt[key].dtype == shipped[key].dtype, key
            np.testing.assert_array_equal(rebuilt[key], shipped[key], err_msg=key)


def test_the_shipped_split_knows_every_emoji() -> None:
    split = shipped_split()
    assert len(split) == 1636
    assert [list(split.values()).count(part) for part in range(3)] == [1078, 163, 395]
