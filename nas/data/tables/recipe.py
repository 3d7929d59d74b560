"""The fitted preprocessing of a whole table: one value with a JSON form that holds no code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.data.from_arrays import check_name
from nas.data.fusion_data import HELD_SHARE, Modality, fits
from nas.data.stored import Spool
from nas.data.tables.audio import AudioRecipe
from nas.data.tables.columns import IN_TABLE, Column, infer
from nas.data.tables.frames import FramesRecipe
from nas.data.tables.groups import Named, group
from nas.data.tables.images import ImageRecipe
from nas.data.tables.needs import Needs
from nas.data.tables.parts import Listed, from_plain, to_plain
from nas.data.tables.parts import Named as NamedValues
from nas.data.tables.reading import MAX_COLUMNS
from nas.data.tables.stored_table import Table, blocks
from nas.data.tables.subwords import SubwordRecipe
from nas.data.tables.target import Target
from nas.data.tables.text import TextRecipe
from nas.data.tables.vector import VectorRecipe
from nas.data.tables.waves import WaveRecipe
from nas.errors import UserError, unknown_name
from nas.fields import Form, Whole, check, told

ModalityRecipe = VectorRecipe | TextRecipe | ImageRecipe | FramesRecipe | AudioRecipe | SubwordRecipe | WaveRecipe

RECIPES: Mapping[
    str, type[VectorRecipe] | type[TextRecipe] | type[ImageRecipe] | type[FramesRecipe] | type[AudioRecipe]
] = {
    "table": VectorRecipe,
    "text": TextRecipe,
    "image": ImageRecipe,
    "frames": FramesRecipe,
    "audio": AudioRecipe,
}
"""Kind of a modality to what is made of it."""

SAVED: Mapping[str, type[ModalityRecipe]] = {**RECIPES, "subwords": SubwordRecipe, "wave": WaveRecipe}
"""Kind in a file to what it is."""

RECIPE_FILE = "preprocessing.json"
"""Of a run folder."""

FORMAT_VERSION = 1

MAX_MODALITIES = 512

MAX_NUMBERS = 2**26
"""That a row becomes, all modalities together; it is there to refuse what no memory holds."""


@dataclass(frozen=True, kw_only=True)
class TableRecipe:
    """How the rows of a table become arrays. Everything in it was read off the training split alone.

    Attributes:
        target: What is predicted.
        columns: What every column of the table was, with a reason each.
        modalities: Name to how it is made, in order.
    """

    target: Target
    columns: tuple[Column, ...]
    modalities: Mapping[str, ModalityRecipe]

    @classmethod
    def fit(
        cls,
        frame: Table,
        rows: NDArray[np.int64] | Sequence[int],
        columns: Mapping[str, str],
        target: Target,
        groups: Named | None,
        folder: Path,
        needs: Mapping[str, Needs] | None = None,
    ) -> TableRecipe:
        """Reads everything off the training split.

        Args:
            frame: The table.
            rows: Places of the rows of the training split; no other row is looked at.
            columns: Column to kind where it is not to be told from the cells, or to one of
                `nas.data.tables.columns.GIVEN_ROLES`.
            target: What is predicted.
            groups: Which columns form which modality; see `nas.data.tables.groups.group`.
            folder: That paths of pictures and recordings are relative to.
            needs: Modality to what its pretrained encoder wants to be shown, where it has one.

        Raises:
            UserError: If the columns do not give two modalities, or something in a row cannot be read.
        """
        training = frame.take(list(rows))
        if target.column in columns:
            raise UserError(f"column {target.column!r} is the target and has a kind in columns; leave it out there")
        others = [name for name in frame.columns if name != target.column]
        found = {column.name: column for column in infer(training[others], columns)}
        found[target.column] = Column(name=target.column, kind="target", reason=f"{target.task}: {target.reason}")
        ordered = tuple(found[name] for name in frame.columns)
        modalities: dict[str, ModalityRecipe] = {}
        for name, members in group(ordered, groups).items():
            kinds = {member: found[member].kind for member in members}
            first = kinds[members[0]]
            kind, own = "table" if first in IN_TABLE else first, training[list(members)]
            if needs is not None and name in needs:
                modalities[name] = needs[name].fit(name, own, kind, folder)
            else:
                modalities[name] = RECIPES[kind].fit(own, kinds, folder)
        return cls(target=target, columns=ordered, modalities=modalities)

    def apply(self, frame: Table, folder: Path, memory: int | None = None) -> dict[str, Modality]:
        """The modalities of every row. The table need not have the target, nor columns that were left out.

        Args:
            frame: As `nas.data.tables.open_table` gives it, so that errors name the row; of one on disk rows in order.
            folder: That paths of pictures and recordings are relative to.
            memory: Bytes that the arrays may take; where they take more, each is written to disk in passing, unless it
                is small. None for any number.

        Raises:
            UserError: If a column is missing, or something in a row cannot be read.
        """
        for recipe in self.modalities.values():
            for column in recipe.columns:
                if column not in frame.columns:
                    raise UserError(
                        f"the table lacks column {column!r:.300}, which the network reads; it has "
                        f"{', '.join(map(str, frame.columns)):.600}"
                    )
        room = None
        if memory is not None and not fits(len(frame) * self._row_bytes(frame, folder), memory):
            room = memory // HELD_SHARE // len(self.modalities)
        elif isinstance(frame, pd.DataFrame):
            return {name: recipe.apply(frame, folder) for name, recipe in self.modalities.items()}
        return {name: _in_blocks(recipe, frame, folder, room) for name, recipe in self.modalities.items()}

    def _row_bytes(self, frame: Table, folder: Path) -> int:
        """What a row takes as arrays."""
        firsts = ((recipe, next(blocks(frame, recipe.columns)).iloc[:1]) for recipe in self.modalities.values())
        made = [recipe.apply(first, folder) for recipe, first in firsts]
        return sum(array.nbytes for modality in made for array in modality.arrays)

    def targets(self, frame: Table) -> NDArray[Any]:
        """The target of every row: (n,) int64 indices of `target.class_names`, or (n, 1) float32.

        Raises:
            UserError: If the column is missing, or a cell is empty or unreadable.
        """
        if self.target.column not in frame.columns:
            raise UserError(f"the table lacks the target {self.target.column!r:.300}")
        return self.target.values(frame[self.target.column])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "format_version": FORMAT_VERSION,
            "target": to_plain(self.target),
            "columns": [to_plain(column) for column in self.columns],
            "modalities": {name: recipe.to_dict() for name, recipe in self.modalities.items()},
        }

    @classmethod
    def from_dict(cls, values: Any) -> TableRecipe:
        """From what `to_dict` gave, be it garbled or made to do harm.

        Raises:
            UserError: If anything in it is missing, unknown, of another form or vast.
        """
        version = values.get("format_version") if isinstance(values, Mapping) else None
        if not isinstance(values, Mapping) or type(version) is not int or version != FORMAT_VERSION:
            raise UserError(
                f"the preprocessing has format version {told(version)}, expected {FORMAT_VERSION}; search again"
            )
        plain = from_plain(_Plain, values, "preprocessing")
        target = from_plain(Target, plain.target, "target of the preprocessing")
        if bool(target.class_names) != (target.task == "classification"):
            raise UserError(f"the preprocessing has {len(target.class_names)} classes for {target.task}")
        columns = tuple(from_plain(Column, one, "column of the preprocessing") for one in plain.columns)
        check("modalities of the preprocessing", len(plain.modalities), Whole(2, MAX_MODALITIES))
        modalities: dict[str, ModalityRecipe] = {}
        for name, value in plain.modalities.items():
            check_name(name)
            kind = value.get("kind") if isinstance(value, Mapping) else None
            if not isinstance(kind, str) or kind not in SAVED:
                raise unknown_name("kind of preprocessing", told(kind), SAVED)
            modalities[name] = SAVED[kind].from_dict(value, f"preprocessing of {name[:60]!r}")
        numbers = sum(math.prod(recipe.sample_shape) for recipe in modalities.values())
        if numbers > MAX_NUMBERS:
            raise UserError(f"the preprocessing makes {numbers:,} numbers of a row; expected at most {MAX_NUMBERS:,}")
        return cls(target=target, columns=columns, modalities=modalities)


@dataclass(frozen=True, kw_only=True)
class _Plain:
    """The parts of a recipe before they are read themselves."""

    format_version: int
    target: Mapping[str, Any]
    columns: Sequence[Any]
    modalities: Mapping[str, Any]

    @classmethod
    def forms(cls) -> Mapping[str, Form]:
        return {
            "format_version": Whole(FORMAT_VERSION, FORMAT_VERSION),
            "target": NamedValues(),
            "columns": Listed(1, MAX_COLUMNS),
            "modalities": NamedValues(),
        }


def _in_blocks(recipe: ModalityRecipe, frame: Table, folder: Path, room: int | None) -> Modality:
    """What `recipe.apply` gives for all rows, made of some rows at a time."""
    spool = Spool(len(frame), room)
    masks = []
    for block in blocks(frame, recipe.columns):
        made = recipe.apply(block, folder)
        spool.add(made.arrays[0])
        masks.append(np.ones(len(made.arrays[0]), dtype=np.bool_) if made.present is None else made.present)
    present = np.concatenate(masks)
    return Modality(kind=made.kind, arrays=(spool.array(),), present=None if present.all() else present)
