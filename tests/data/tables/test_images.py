"""Pictures: size and mode of the training split, missing and broken files, and what an attacker would send."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nas import UserError
from nas.data.tables.images import MAX_SIDE, ImageRecipe
from tests.data.tables.helpers import write_picture


def frame(*cells: str | None) -> pd.DataFrame:
    return pd.DataFrame({"p": list(cells)})


def fit(folder: Path, *cells: str | None) -> ImageRecipe:
    return ImageRecipe.fit(frame(*cells), {}, folder)


def test_size_and_mode_are_those_of_the_training_pictures(tmp_path: Path) -> None:
    write_picture(tmp_path / "grey.png", 10, mode="L")
    write_picture(tmp_path / "red.png", 200)
    assert fit(tmp_path, "grey.png") == ImageRecipe(column="p", mode="L", height=6, width=8)
    assert fit(tmp_path, "grey.png", None, "red.png").mode == "RGB"


def test_large_pictures_are_made_smaller_in_proportion(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", size=(400, 100))
    recipe = fit(tmp_path, "a.png")
    assert (recipe.height, recipe.width) == (MAX_SIDE // 4, MAX_SIDE)


def test_pixels_are_kept_where_the_size_fits(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = fit(tmp_path, "a.png").apply(frame("a.png", None), tmp_path)
    np.testing.assert_array_equal(found.arrays[0], [[pixels], [0 * pixels]])
    assert found.kind == "map"
    assert found.arrays[0].dtype == np.uint8
    assert found.present is not None
    assert found.present.tolist() == [True, False]


def test_other_sizes_and_modes_are_brought_to_the_recipe(tmp_path: Path) -> None:
    recipe = ImageRecipe(column="p", mode="RGB", height=6, width=8)
    Image.new("RGBA", (3, 20), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.fromarray(np.full((5, 5), 0xFFFF, dtype=np.uint16)).save(tmp_path / "deep.png")
    write_picture(tmp_path / "a.jpg", 70, size=(300, 200))
    write_picture(tmp_path / "p.gif", 50, mode="P")
    array = recipe.apply(frame("clear.png", "deep.png", "a.jpg", "p.gif"), tmp_path).arrays[0]
    assert array.shape == (4, 3, 6, 8)
    assert [int(one.mean().round()) for one in array] == [255, 255, 70, 50]  # what is clear is laid over white


def test_a_picture_is_turned_as_the_camera_was_held(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=turned)
    assert fit(tmp_path, "a.jpg") == ImageRecipe(column="p", mode="RGB", height=8, width=4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"row 2: 'b.png' is not there; paths are relative to the table"),
        (b"", r"row 2: 'b.png' is no picture"),
        (b"\x89PNG\r\n\x1a\n garbage", r"row 2: 'b.png' is no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", r"row 2: 'b.png' is no picture"),
    ],
)
def test_missing_and_broken_pictures_are_told_with_row_and_path(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    write_picture(tmp_path / "a.png")
    if content is not None:
        (tmp_path / "b.png").write_bytes(content)
    with pytest.raises(UserError, match=f"column 'p', {message}"):
        ImageRecipe(column="p", mode="L", height=2, width=2).apply(frame("a.png", "b.png"), tmp_path)


def test_a_picture_that_was_cut_off_is_told(tmp_path: Path) -> None:
    whole = write_picture(tmp_path / "a.png", size=(100, 100)).read_bytes()
    (tmp_path / "a.png").write_bytes(whole[:-30])
    with pytest.raises(UserError, match=r"row 1: 'a.png' is no picture that can be read"):
        fit(tmp_path, "a.png").apply(frame("a.png"), tmp_path)


def bomb(side: int) -> bytes:
    """A PNG of a few kilobytes that claims to be vast."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 9999))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [10_000, 100_000])
def test_a_decompression_bomb_is_not_decoded(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.png").write_bytes(bomb(side))
    with pytest.raises(UserError, match=r"row 1: 'a.png'"):
        fit(tmp_path, "a.png")


@pytest.mark.parametrize(
    ("cell", "message"), [("http://x.y/a.png", "is an address"), (".", "is no file"), ("a\0b.png", "cannot be read")]
)
def test_what_is_no_path_of_a_file_is_told(tmp_path: Path, cell: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit(tmp_path, cell)


def test_a_column_without_pictures_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"column 'p' names no picture in the training rows"):
        fit(tmp_path, None, "")


def test_more_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.data.memory.available_bytes", lambda: 1000)
    write_picture(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"column 'p' would take 1.4 kB of memory"):  # 10 · 3 · 6 · 8
        fit(tmp_path, "a.png").apply(frame(*["a.png"] * 10), tmp_path)
