"""A modality of pictures: one size and colour mode for all, read off the training split."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nas.data.fusion_data import Modality
from nas.data.tables.files import NamedFile, filled, some_files
from nas.data.tables.parts import MAX_NAME, OneOf, from_plain, to_plain
from nas.data.tables.stored_table import Table
from nas.errors import UserError, one_line
from nas.fields import Form, Text, Whole

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""That Pillow decodes itself; others, such as EPS, it would hand to other programs."""

MAX_SIDE = 64
"""Height and width that pictures are brought to at most: what small networks that learn from scratch can use."""

LARGEST_SIDE = 1024
"""Height and width of a recipe at most."""

MAX_PIXELS = 2**26
"""Of a picture in a file. A file of a few bytes can claim billions."""

MAX_LOOKED_AT = 1000
"""Pictures whose size is read to choose one."""

CHANNELS: Mapping[str, int] = {"L": 1, "RGB": 3}

_GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F")

_BROKEN = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError, OSError,
    SyntaxError, TypeError, ValueError, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises on damaged and crafted files."""


@dataclass(frozen=True, kw_only=True)
class ImageRecipe:
    """Pixels of 8 bits; transparent ones are laid over white.

    Attributes:
        column: Name of the column of paths.
        mode: L (grey) or RGB.
        height: Pixels.
        width: Pixels.
    """

    column: str
    mode: str
    height: int
    width: int

    @classmethod
    def forms(cls) -> Mapping[str, Form]:
        """What the fields may hold."""
        side = Whole(1, LARGEST_SIDE)
        return {"column": Text(MAX_NAME), "mode": OneOf(tuple(CHANNELS)), "height": side, "width": side}

    @classmethod
    def fit(cls, rows: Table, kinds: Mapping[str, str], folder: Path) -> ImageRecipe:  # noqa: ARG003
        """From the rows of the training split: the median size, at most `MAX_SIDE`; grey if all pictures are.

        Raises:
            UserError: If a picture is missing or broken, or there is none.
        """
        (name,) = rows.columns
        sizes, grey = [], True
        for file in some_files(rows[name], folder, MAX_LOOKED_AT):
            with _opened(file) as image:
                sizes.append(_upright_size(image))
                grey = grey and image.mode in _GREY
        if not sizes:
            raise UserError(f"column {name!r} names no picture in the training rows; leave it out")
        height, width = np.median(np.array(sizes), axis=0)
        shrink = min(1.0, MAX_SIDE / max(height, width))
        return cls(
            column=name,
            mode="L" if grey else "RGB",
            height=max(1, round(height * shrink)),
            width=max(1, round(width * shrink)),
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return (self.column,)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of what a row becomes."""
        return (CHANNELS[self.mode], self.height, self.width)

    def apply(self, frame: pd.DataFrame, folder: Path) -> Modality:
        """Pixels, (n, channels, height, width) of uint8; a row without a path does not have the modality.

        Raises:
            UserError: If a picture is missing or broken, or they would not fit in memory.
        """
        return filled("map", frame[self.column], folder, self.pixels, self.sample_shape, np.uint8)

    def pixels(self, file: NamedFile) -> NDArray[np.uint8]:
        """Those of one picture, (channels, height, width).

        Raises:
            UserError: If it is broken.
        """
        with _opened(file) as image:
            return self._pixels(image)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return to_plain(self, "image")

    @classmethod
    def from_dict(cls, values: Any, label: str) -> ImageRecipe:
        """From what `to_dict` gave.

        Raises:
            UserError: If it is something else.
        """
        return from_plain(cls, values, label)

    def _pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        size = (self.width, self.height)
        image.draft(self.mode, (2 * self.width, 2 * self.height))  # a JPEG is decoded at about the size that is wanted
        upright = ImageOps.exif_transpose(image)
        drawn = _on_white(_eight_bits(upright)).convert(self.mode)
        if drawn.size != size:
            drawn = drawn.resize(size, Image.Resampling.BILINEAR)
        pixels = np.asarray(drawn)
        return pixels[None] if self.mode == "L" else pixels.transpose(2, 0, 1)


@contextmanager
def _opened(file: NamedFile) -> Iterator[Image.Image]:
    """A picture whose size has been checked, not yet decoded; what goes wrong within the block is told of it."""
    with warnings.catch_warnings(action="ignore"):  # of odd metadata, and of sizes, which are checked here
        try:
            with Image.open(file.source, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UserError(
                        f"{file.label} has {image.width} × {image.height} pixels; expected at most {MAX_PIXELS:,}: "
                        "make it smaller"
                    )
                yield image
        except UserError:
            raise
        except _BROKEN as error:
            raise UserError(
                f"{file.label} is no picture that can be read ({one_line(error)}); replace it, or empty the cell"
            ) from error


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width as the camera was held."""
    turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def _eight_bits(image: Image.Image) -> Image.Image:
    """A picture of 16 bits at the same brightness in 8; others as they are."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    return image


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
