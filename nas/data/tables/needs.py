"""What a pretrained network wants to be shown, and the preprocessing of a column that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas.data.tables.images import ImageRecipe
from nas.data.tables.stored_table import Table
from nas.data.tables.subwords import SubwordRecipe
from nas.data.tables.waves import WaveRecipe
from nas.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a network wants to be shown, as the files beside its weights say.

    Attributes:
        height: Of pictures, pixels; 0 if it reads none.
        width: Likewise.
        mean: Of every channel of pictures between 0 and 1.
        deviation: Likewise.
        rate: Of recordings, samples a second; 0 if it reads none.
        tokenizer: Of texts: the content of a `tokenizer.json`; empty if it has none.
        length: Most subwords of a text; 0 if it reads none.
    """

    height: int = 0
    width: int = 0
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    deviation: tuple[float, ...] = (0.5, 0.5, 0.5)
    rate: int = 0
    tokenizer: str = ""
    length: int = 0

    def fit(self, name: str, rows: Table, kind: str, folder: Path) -> ImageRecipe | SubwordRecipe | WaveRecipe:
        """The preprocessing of a modality for the network.

        Args:
            name: Of the modality.
            rows: Of the training split, of the columns of the modality alone.
            kind: Of these columns.
            folder: That paths are relative to.

        Raises:
            UserError: If the columns are not what the network reads, or a text has no tokenizer.
        """
        reads = "text" if self.length else "audio" if self.rate else "image"
        if kind != reads:
            raise UserError(f"the encoder of {name!r} reads {reads}, but its column {rows.columns[0]!r:.300} is {kind}")
        if reads == "image":
            return ImageRecipe(column=rows.columns[0], mode="RGB", height=self.height, width=self.width)
        if reads == "audio":
            return WaveRecipe.fit_for(rows, folder, self.rate)
        if not self.tokenizer:
            raise UserError(
                f"the encoder of {name!r} has no tokenizer.json beside its weights, by which text becomes numbers; "
                "save its tokenizer into that folder"
            )
        return SubwordRecipe.fit_for(rows, self.tokenizer, self.length)
