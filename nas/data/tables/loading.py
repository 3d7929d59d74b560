"""From a table to a data set: target, splits, the recipe that the training split gives, and the arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch.utils.data import Dataset

from nas.data.from_arrays import group_numbers
from nas.data.fusion_data import SPLITS, FusionData
from nas.data.paths import printable
from nas.data.splits import SPLIT_NAMES, Fold, make_splits
from nas.data.tables.cells import numbers, row_numbers, words
from nas.data.tables.columns import GIVEN_ROLES, parse_columns
from nas.data.tables.groups import Named
from nas.data.tables.needs import Needs
from nas.data.tables.reading import OTHER_TABLES, READERS, read_table, suffix_of, table_of
from nas.data.tables.recipe import TableRecipe
from nas.data.tables.stored_table import Table
from nas.data.tables.target import Target
from nas.errors import UserError, one_line, unknown_name

SPLIT = "split"
"""Name by which a column of splits is found, in large letters or small."""


def is_table(source: Any) -> bool:
    """Whether a source is a table: a frame in memory, or a file whose name ends like one."""
    if isinstance(source, FusionData | Dataset):
        return False
    if isinstance(source, str | Path):
        return suffix_of(Path(source)) in (*READERS, *OTHER_TABLES)
    return True


def open_table(source: Any, memory: int | None = None) -> tuple[Table, Path, str]:
    """A table from a file or from memory.

    Args:
        source: A path that ends in one of `READERS`; a pandas frame; or what turns itself into one by `to_pandas()`.
        memory: Bytes that data may take; a Parquet file that takes more stays on disk. None for any number.

    Returns:
        The frame, rows counted from 0; the folder that paths in it are relative to, for a frame the current one; and a
        name for people.

    Raises:
        UserError: If it cannot be read or is malformed.
    """
    if not isinstance(source, str | Path):
        return table_of(source), Path(), "table"
    path = Path(source)
    if suffix_of(path) not in READERS:
        raise UserError(
            f"{str(source)!r} is no table that is read here; expected {', '.join(READERS)}: save it as CSV, or hand "
            "the data frame over in Python"
        )
    return read_table(path, memory), path.parent, printable(path.resolve().stem)


def load_table(
    source: Any,
    *,
    modalities: Named | None = None,
    target: str | None = None,
    split: str | None = None,
    task: str | None = None,
    columns: str | Sequence[str] | Mapping[str, str] | None = None,
    group: str | None = None,
    weight: str | None = None,
    fold: Fold | None = None,
    seed: int = 0,
    recipe: TableRecipe | None = None,
    needs: Mapping[str, Needs] | None = None,
    memory: int | None = None,
) -> FusionData:
    """Reads a table as a data set; see `nas.load_data`.

    Args:
        source: As `open_table` takes it.
        modalities: Which columns form which modality, such as "meta=year+author,picture,title".
        target: Column of the target.
        split: Column of the split, words such as train, val and test, or 0, 1 and 2; one that is named "split" is taken
            if it holds nothing else. Without one, splits are drawn from the seed.
        task: classification or regression; None to tell it from the target.
        columns: Column to kind, such as "picture:image,zip:category,id:ignore".
        group: Column whose words tell which rows are kept in one split.
        weight: Column of numbers: how much each row counts while weights learn.
        fold: Which part of the rows is the test split; what a column named "split" says is not used then.
        seed: Of splits that are drawn.
        recipe: Of an earlier run, which is applied instead of a new one. Splits, groups and weights are read from the
            columns that it names, as far as the table has them.
        needs: Modality to what its pretrained encoder wants to be shown, where it has one.
        memory: As of `load_data`; what pictures and recordings become is kept on disk where it takes more.

    Raises:
        UserError: If the table or anything that was named is malformed.
    """
    frame, folder, name = open_table(source, memory)
    try:
        roles = {"split": split, "group": group, "weight": weight}
        return _loaded(
            frame,
            folder,
            name,
            modalities,
            target,
            roles,
            task,
            parse_columns(columns),
            seed,
            recipe,
            needs,
            fold,
            memory,
        )
    except MemoryError as error:
        raise UserError(
            f"the table {name!r} does not fit in memory ({one_line(error)}); use fewer rows or columns"
        ) from error


def _loaded(
    frame: Table,
    folder: Path,
    name: str,
    modalities: Named | None,
    target: str | None,
    named: Mapping[str, str | None],
    task: str | None,
    columns: Mapping[str, str],
    seed: int,
    recipe: TableRecipe | None,
    needs: Mapping[str, Needs] | None,
    fold: Fold | None,
    memory: int | None,
) -> FusionData:
    target = recipe.target.column if recipe is not None else target
    if target is None:
        raise UserError(f"name the column to predict with --target T; the table has {', '.join(frame.columns):.1000}")
    roles = {role: column for role, column in {"target": target, **named}.items() if column is not None}
    _check_roles(roles, frame, columns)
    if recipe is not None:
        roles = {**_recorded_roles(recipe, frame), **roles}
    elif "split" not in roles and (found := _find_split(frame, {*roles.values(), *columns})):
        roles["split"] = found
    labelled = np.array([cell is not None for cell in words(frame[target])])
    if not labelled.any():
        raise UserError(f"target {target!r} is empty in all {len(frame)} rows; name another column")
    rows = frame.take(np.flatnonzero(labelled))
    decided = recipe.target if recipe is not None else Target.decide(rows[target], task)
    if not labelled.all() and recipe is None:
        left_out = f"{int((~labelled).sum())} rows without it are left out"
        decided = replace(decided, reason=f"{decided.reason}; {left_out}")
    values = decided.values(rows[target])
    if fold is not None and named["split"] is not None:
        raise UserError(f"fold {fold} draws the splits itself; leave the split {named['split']!r} out")
    given = _splits(rows[roles["split"]]) if "split" in roles and fold is None else None
    groups = _groups(rows[roles["group"]]) if "group" in roles else None
    numbered = None if groups is None else group_numbers(groups, len(rows))
    indices = make_splits(given, decided.checked(values), seed, numbered, fold)
    if recipe is None:
        others = {column: role for role, column in roles.items() if role != "target"}
        recipe = TableRecipe.fit(rows, indices["weights"], {**columns, **others}, decided, modalities, folder, needs)
    made = recipe.apply(rows, folder, memory)
    data = FusionData.from_arrays(
        {key: modality.arrays[0] for key, modality in made.items()},
        values,
        task=decided.task,
        splits={str(key): value for key, value in indices.items()},
        kinds={key: modality.kind for key, modality in made.items()},
        present={key: modality.present for key, modality in made.items() if modality.present is not None},
        name=name,
        class_names=decided.class_names or None,
        groups=groups,
        sample_weights=_weights(rows[roles["weight"]]) if "weight" in roles else None,
        seed=seed,
    )
    return replace(data, recipe=recipe, memory=memory)


def _check_roles(roles: Mapping[str, str], frame: Table, columns: Mapping[str, str]) -> None:
    """Refuses columns that are not there, or named for two purposes."""
    seen: dict[str, str] = {}
    for role, column in roles.items():
        if column not in frame.columns:
            raise unknown_name(f"{role} column", column, frame.columns)
        if column in seen:
            raise UserError(f"column {column!r} is named as {seen[column]} and as {role}; name two")
        if role != "target" and column in columns:
            raise UserError(f"column {column!r} is the {role} and has a kind in columns; leave it out there")
        seen[column] = role


def _find_split(frame: Table, taken: Collection[str]) -> str | None:
    """A column that is named so, holds nothing but splits, and is not taken for anything else."""
    for name in frame.columns:
        if name.lower() == SPLIT and name not in taken:
            found = Counter(words(frame[name]))
            if all(cell is not None and cell.lower() in _KNOWN for cell in found):
                return str(name)
    return None


def _recorded_roles(recipe: TableRecipe, frame: Table) -> dict[str, str]:
    """Split, group and weight to their columns in an earlier run, if the table has them."""
    return {one.kind: one.name for one in recipe.columns if one.kind in GIVEN_ROLES and one.name in frame.columns}


_KNOWN: Mapping[str, int] = {
    **{str(number): number for number in range(len(SPLITS))},
    **{name: SPLITS.index(split) for name, split in SPLIT_NAMES.items()},
}
"""Word to number of a split."""


def _groups(column: pd.Series) -> list[str]:
    found = words(column)
    if None in found:
        row = row_numbers(column)[found.index(None)]
        raise UserError(f"group {column.name!r} is empty in row {row}; give every row a group, be it one of its own")
    return [str(word) for word in found]


def _weights(column: pd.Series) -> NDArray[np.float64]:
    found, odd = numbers(words(column))
    wrong = np.flatnonzero(odd | np.isnan(found) | (found < 0))
    if len(wrong):
        raise UserError(
            f"weight {column.name!r} holds {column.iloc[wrong[0]]!r:.100} in row {row_numbers(column)[wrong[0]]}; "
            "expected a number of 0 or more in every row"
        )
    return found


def _splits(column: pd.Series) -> NDArray[np.int64]:
    rows = row_numbers(column)
    found = np.zeros(len(column), dtype=np.int64)
    for place, cell in enumerate(words(column)):
        if cell is None or cell.lower() not in _KNOWN:
            held = "is empty" if cell is None else f"holds {cell!r:.100}"
            raise UserError(f"split {column.name!r} {held} in row {rows[place]}; expected {', '.join(_KNOWN)}")
        found[place] = _KNOWN[cell.lower()]
    return found
