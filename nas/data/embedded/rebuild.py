"""Rebuilds `emoji.npz` from the npm package that its pictures and words come from.

    npm pack emoji-datasource-google@16.0.0
    python -m nas.data.embedded.rebuild emoji-datasource-google-16.0.0.tgz emoji.npz

Every array but one comes out equal to the shipped one, bit for bit. `split` was drawn once by base code point and its
random numbers were not kept: it is data, read from the shipped file by code point.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import as_file, files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VERSION = "16.0.0"
PICTURES = "img/google/64"
LEFT_OUT = ("Component", "Flags")
"""Categories without a picture of their own, or whose picture is the name."""

PADDING, UNKNOWN = "<pad>", "<unk>"
NUM_TOKENS = 12
MIN_COUNT = 2
"""A word must come up in so many samples of the weights split to get an id of its own."""


def main(arguments: Sequence[str]) -> None:
    """Runs the script.

    Args:
        arguments: The package and the file to write.

    Raises:
        SystemExit: If the arguments are not two, or the package is not the one expected.
    """
    if len(arguments) != 2:
        raise SystemExit("usage: python -m nas.data.embedded.rebuild PACKAGE.tgz OUT.npz")
    try:
        arrays: dict[str, Any] = rebuild(Path(arguments[0]), shipped_split())
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        reason = " ".join(str(error).split())
        raise SystemExit(f"{arguments[0]!r} is not emoji-datasource-google {VERSION}: {reason}") from error
    np.savez_compressed(arguments[1], **arrays)
    logging.getLogger(__name__).info("%d emoji written to %s", len(arrays["label"]), arguments[1])


def rebuild(package: Path, split: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """The arrays of `emoji.npz`, in the order in which it holds them.

    Args:
        package: Tarball of the npm package.
        split: Code points, such as "1F6B6-200D-2642-FE0F", to 0 weights, 1 architecture, 2 test.

    Raises:
        KeyError: If the package lacks a file or `split` an emoji.
        ValueError: If the package is of another version.
    """
    contents = _contents(package)
    version = json.loads(contents["package.json"])["version"]
    if version != VERSION:
        raise ValueError(f"version {version}, expected {VERSION}")
    entries = [entry for entry in json.loads(contents["emoji.json"]) if entry["category"] not in LEFT_OUT]
    entries.sort(key=lambda entry: entry["sort_order"])
    pictures = [_picture(contents[f"{PICTURES}/{entry['image']}"]) for entry in entries]
    codepoints = [entry["unified"] for entry in entries]
    assigned = np.array([split[code] for code in codepoints], dtype=np.uint8)
    texts = [words(entry["name"], entry["short_names"]) for entry in entries]
    vocab = vocabulary(text for text, part in zip(texts, assigned, strict=True) if part == 0)
    label_names, label = _numbered([entry["category"] for entry in entries])
    subcategory_names, subcategory = _numbered([entry["subcategory"] for entry in entries])
    return {
        "image": np.stack(pictures),
        "tokens": np.array([token_ids(text, vocab) for text in texts], dtype=np.int16),
        "label": label,
        "subcategory": subcategory,
        "split": assigned,
        "text": np.array([" ".join(text) for text in texts]),
        "codepoints": np.array(codepoints),
        "vocab": np.array(vocab),
        "label_names": label_names,
        "subcategory_names": subcategory_names,
    }


def shipped_split() -> dict[str, int]:
    """Code points to split, from the shipped file."""
    with as_file(files("nas.data") / "embedded" / "emoji.npz") as path, np.load(path, allow_pickle=False) as archive:
        return dict(zip(archive["codepoints"].tolist(), archive["split"].tolist(), strict=True))


def words(name: str, short_names: Iterable[str]) -> list[str]:
    """The different words of an emoji's name and short names, lower case, in the order in which they first come up."""
    found = re.findall("[a-z0-9]+", " ".join([name, *short_names]).lower())
    return list(dict.fromkeys(found))


def vocabulary(texts: Iterable[Iterable[str]]) -> list[str]:
    """Padding, the unknown word, then the words that `MIN_COUNT` of the texts hold, sorted."""
    counts = Counter(word for text in texts for word in text)
    return [PADDING, UNKNOWN, *sorted(word for word, count in counts.items() if count >= MIN_COUNT)]


def token_ids(text: Sequence[str], vocab: Sequence[str]) -> list[int]:
    """Place of each word in the vocabulary, cut or padded with 0 to `NUM_TOKENS`."""
    ids = [vocab.index(word) if word in vocab else vocab.index(UNKNOWN) for word in text[:NUM_TOKENS]]
    return ids + [0] * (NUM_TOKENS - len(ids))


def half_size_on_white(picture: Image.Image) -> NDArray[np.uint8]:
    """The picture on white, every 2 × 2 pixels averaged to one.

    Args:
        picture: Of even height and width, with or without transparency.

    Returns:
        (3, height / 2, width / 2). Pillow averages rows before columns and rounds each time, so a value may be one off
        the mean of the four.
    """
    transparent = picture.convert("RGBA")
    white = Image.new("RGBA", transparent.size, "white")
    white.alpha_composite(transparent)
    small = white.convert("RGB").resize((white.width // 2, white.height // 2), Image.Resampling.BOX)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))


def _contents(package: Path) -> dict[str, bytes]:
    """The files that are needed, by their path in the package, in one pass: jumping about in a gzip is slow."""
    found: dict[str, bytes] = {}
    with tarfile.open(package) as archive:
        for member in archive:
            name = member.name.removeprefix("package/")
            if name in ("package.json", "emoji.json") or name.startswith(f"{PICTURES}/"):
                file = archive.extractfile(member)
                if file is not None:
                    found[name] = file.read()
    return found


def _picture(content: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(content)) as picture:
        return half_size_on_white(picture)


def _numbered(labels: Sequence[str]) -> tuple[NDArray[np.str_], NDArray[np.uint8]]:
    """The different labels, sorted, and the place of each among them."""
    names, places = np.unique(labels, return_inverse=True)
    return names, places.astype(np.uint8)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(sys.argv[1:])
