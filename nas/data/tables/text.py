"""A modality of text: words as the numbers of a vocabulary that the training split gives."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nas.data.fusion_data import Modality
from nas.data.tables.cells import words
from nas.data.tables.parts import MAX_CELL, MAX_NAME, from_plain, to_plain
from nas.data.tables.stored_table import Table
from nas.errors import UserError
from nas.fields import Form, Several, Text, Whole

MAX_WORDS = 20_000
"""Of a vocabulary, the most frequent ones."""

MIN_COUNT = 2
"""Samples of the training split that hold a word. What a single one holds teaches what an unknown word means."""

MAX_LENGTH = 256
"""Words of a text that are read."""

SHARE_WHOLE = 0.99
"""Of the texts of the training split that are read to their end."""

MAX_COLUMNS = 100
"""That are joined to one text."""

UNKNOWN = 1
FIRST = 2
"""Number of the most frequent word; 0 is padding."""

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|(?:(?![\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])\w)+")
"""A run of letters and digits; where a script sets no spaces, each sign."""


def split_words(text: str) -> list[str]:
    """The words of a text in small letters."""
    return [word[:MAX_CELL] for word in _WORD.findall(unicodedata.normalize("NFKC", text).lower())]


@dataclass(frozen=True, kw_only=True)
class TextRecipe:
    """Numbers of words: 0 behind the end, 1 for what is not in the vocabulary, 2 for its first word and so on.

    Attributes:
        columns: Names; several are read one after the other.
        vocabulary: Words, the most frequent one first.
        length: How many words are read; the rest is cut off.
    """

    columns: tuple[str, ...]
    vocabulary: tuple[str, ...]
    length: int

    @classmethod
    def forms(cls) -> Mapping[str, Form]:
        """What the fields may hold."""
        return {
            "columns": Several(Text(MAX_NAME), 1, MAX_COLUMNS),
            "vocabulary": Several(Text(MAX_CELL), 0, MAX_WORDS),
            "length": Whole(1, MAX_LENGTH),
        }

    @classmethod
    def fit(cls, rows: Table, kinds: Mapping[str, str], folder: Path) -> TextRecipe:  # noqa: ARG003
        """From the rows of the training split, of the columns of the modality alone.

        Raises:
            UserError: If there is no text in any row.
        """
        read = [split_words(text) for text in texts(rows, tuple(rows.columns)) if text is not None]
        if not read:
            raise UserError(f"column {rows.columns[0]!r} has no text in the training rows; leave it out")
        counts = Counter(word for text in read for word in set(text))
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        frequent = [word for word in ordered if counts[word] >= MIN_COUNT] or ordered
        longest = int(np.ceil(np.quantile([len(text) for text in read], SHARE_WHOLE)))
        return cls(
            columns=tuple(rows.columns),
            vocabulary=tuple(frequent[:MAX_WORDS]),
            length=min(max(longest, 1), MAX_LENGTH),
        )

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of what a row becomes."""
        return (self.length,)

    def apply(self, frame: pd.DataFrame, folder: Path) -> Modality:  # noqa: ARG002
        """Numbers of words, (n, length); a row without any text does not have the modality."""
        ids = {word: number for number, word in enumerate(self.vocabulary, start=FIRST)}
        array = np.zeros((len(frame), self.length), dtype=np.int32)
        present = np.zeros(len(frame), dtype=np.bool_)
        for row, text in enumerate(texts(frame, self.columns)):
            if text is not None:
                found = [ids.get(word, UNKNOWN) for word in split_words(text)[: self.length]] or [UNKNOWN]
                array[row, : len(found)] = found
                present[row] = True
        return Modality(kind="tokens", arrays=(array,), present=None if present.all() else present)

    def spelled(self, ids: Sequence[int]) -> list[str]:
        """The word of every number; "" for padding, "?" for what is not in the vocabulary."""
        words = ["", "?", *self.vocabulary]
        return [words[number] for number in ids]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return to_plain(self, "text")

    @classmethod
    def from_dict(cls, values: Any, label: str) -> TextRecipe:
        """From what `to_dict` gave.

        Raises:
            UserError: If it is something else.
        """
        return from_plain(cls, values, label)


def texts(frame: Table, columns: tuple[str, ...]) -> list[str | None]:
    """The texts of every row, several columns joined; None where all are empty."""
    cells = [words(frame[name]) for name in columns]
    joined = [" ".join(cell for cell in row if cell is not None) for row in zip(*cells, strict=True)]
    return [text or None for text in joined]
