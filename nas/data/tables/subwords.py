"""A modality of text for a pretrained network: subwords, by the tokenizer that the network brought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nas.data.fusion_data import Modality
from nas.data.tables.parts import MAX_NAME, from_plain, to_plain
from nas.data.tables.stored_table import Table
from nas.data.tables.text import MAX_COLUMNS, MAX_LENGTH, SHARE_WHOLE, texts
from nas.errors import UserError, one_line
from nas.fields import Form, Several, Text, Whole

MAX_TOKENIZER = 48 * 1024**2
"""Characters of a tokenizer."""


@dataclass(frozen=True, kw_only=True)
class SubwordRecipe:
    """Numbers of subwords: 0 behind the end, and those of the tokenizer plus one.

    The tokenizer is the content of a `tokenizer.json`, which holds no code. Its own padding is left out.

    Attributes:
        columns: Names; several are read one after the other.
        tokenizer: As JSON.
        length: How many subwords are read; the rest is cut off, but not what stands at the end of every text.
    """

    columns: tuple[str, ...]
    tokenizer: str
    length: int

    @classmethod
    def forms(cls) -> Mapping[str, Form]:
        """What the fields may hold."""
        return {
            "columns": Several(Text(MAX_NAME), 1, MAX_COLUMNS),
            "tokenizer": Text(MAX_TOKENIZER),
            "length": Whole(1, MAX_LENGTH),
        }

    @classmethod
    def fit_for(cls, rows: Table, tokenizer: str, most: int) -> SubwordRecipe:
        """From the rows of the training split: as long as most texts are.

        Args:
            rows: Of the columns of the modality alone.
            tokenizer: As JSON.
            most: Subwords that the network reads at most.

        Raises:
            UserError: If there is no text in any row, or the tokenizer cannot be used.
        """
        longest = cls(columns=tuple(rows.columns), tokenizer=tokenizer, length=min(most, MAX_LENGTH))
        lengths = [len(ids) for ids in longest._encoded(rows) if ids is not None]
        if not lengths:
            raise UserError(f"column {rows.columns[0]!r} has no text in the training rows; leave it out")
        length = int(np.ceil(np.quantile(lengths, SHARE_WHOLE)))
        return cls(columns=longest.columns, tokenizer=tokenizer, length=max(1, min(length, longest.length)))

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of what a row becomes."""
        return (self.length,)

    def apply(self, frame: pd.DataFrame, folder: Path) -> Modality:  # noqa: ARG002
        """Numbers of subwords, (n, length); a row without any text does not have the modality."""
        array = np.zeros((len(frame), self.length), dtype=np.int32)
        present = np.zeros(len(frame), dtype=np.bool_)
        for row, ids in enumerate(self._encoded(frame)):
            if ids is not None:
                array[row, : len(ids)] = np.array(ids, dtype=np.int64) + 1
                present[row] = True
        return Modality(kind="tokens", arrays=(array,), present=None if present.all() else present)

    def spelled(self, ids: Sequence[int]) -> list[str]:
        """The subword of every number that `apply` made, without signs of where words begin; "" for padding."""
        made = import_module("tokenizers").Tokenizer.from_str(self.tokenizer)
        return [(made.id_to_token(number - 1) or "?").strip("Ġ▁") if number else "" for number in ids]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return to_plain(self, "subwords")

    @classmethod
    def from_dict(cls, values: Any, label: str) -> SubwordRecipe:
        """From what `to_dict` gave.

        Raises:
            UserError: If it is something else.
        """
        return from_plain(cls, values, label)

    def _encoded(self, frame: Table) -> list[list[int] | None]:
        """The numbers of every text, cut at the length; None where there is none."""
        try:
            made = import_module("tokenizers").Tokenizer.from_str(self.tokenizer)
            made.no_padding()
            made.enable_truncation(max_length=self.length)
            found = [None if text is None else made.encode(text).ids for text in texts(frame, self.columns)]
        except UserError:
            raise
        except ImportError as error:
            raise UserError("texts of this network need tokenizers: pip install 'fusenas[text]'") from error
        except BaseException as error:
            # The package raises no narrower error than Exception, and on crafted files one that is none.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise UserError(f"the tokenizer cannot be read ({one_line(error)}); expected a tokenizer.json") from error
        return [None if numbers is None else numbers[: self.length] for numbers in found]
