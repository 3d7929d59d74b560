"""The recipe of a table: the same arrays from every form, no trace of the test rows, no harm from a stranger."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nas
from nas import FusionData, UserError
from nas.data.tables import TableRecipe
from tests.data.tables.helpers import Duck, toy_frame, write_picture, write_toy


@pytest.fixture
def frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """The table of every kind of column, in the folder of its files, with some cells empty."""
    monkeypatch.chdir(tmp_path)
    found = toy_frame(tmp_path)
    for column, row in (("picture", 1), ("title", 3), ("weight", 6), ("maker", 7), ("sold", 8), ("sound", 9)):
        found.loc[row, column] = None
    return found


def load(source: Any, **options: Any) -> FusionData:
    return nas.load_data(source, **{"target": "kind", **options})


def recipe_of(data: FusionData) -> TableRecipe:
    assert data.recipe is not None
    return data.recipe


def test_every_kind_of_column_becomes_a_modality(frame: pd.DataFrame) -> None:
    data = load(frame)
    assert {name: modality.kind for name, modality in data.modalities.items()} == {
        "picture": "map",
        "sound": "sequence",
        "title": "tokens",
        "table": "vector",
    }
    assert [column.kind for column in recipe_of(data).columns] == [
        *("image", "audio", "text", "number", "category", "date", "number", "target", "split"),
    ]
    assert data.class_names == ("bell", "drum", "horn")
    assert [len(data.splits[split]) for split in ("weights", "architecture", "test")] == [36, 12, 12]
    present = data.modalities["picture"].present
    assert present is not None
    assert np.flatnonzero(~present).tolist() == [1]


def test_a_recipe_comes_back_from_json_and_does_the_same(frame: pd.DataFrame) -> None:
    data = load(frame)
    again = TableRecipe.from_dict(json.loads(json.dumps(recipe_of(data).to_dict())))
    assert again == recipe_of(data)
    for name, modality in again.apply(frame.drop(columns=["kind", "split"]), Path()).items():
        np.testing.assert_array_equal(modality.arrays[0], data.modalities[name].arrays[0])
    np.testing.assert_array_equal(again.targets(frame), data.targets)


def test_test_and_architecture_rows_leave_no_trace_in_the_recipe(frame: pd.DataFrame, tmp_path: Path) -> None:
    recipe = recipe_of(load(frame))
    others = frame["split"] != "train"
    write_picture(tmp_path / "large.png", size=(50, 70))
    changed = frame.astype({"title": object})
    changed.loc[others, "title"] = "entirely other words words words words words words words words words"
    changed.loc[others, "weight"] = 1e6
    changed.loc[others, "maker"] = "Zoe"
    changed.loc[others, "picture"] = "large.png"
    changed.loc[others, "sold"] = "1970-01-01"
    data = load(changed)
    assert recipe_of(data) == recipe
    changed.loc[frame["split"] == "train", "weight"] = 5.0
    assert recipe_of(load(changed)) != recipe


def test_the_same_rows_are_the_same_data_from_every_source(frame: pd.DataFrame, tmp_path: Path) -> None:
    expected = load(frame)
    frame.to_csv("a.csv", index=False)
    frame.to_csv("a.tsv", index=False, sep="\t")
    frame.to_json("a.jsonl", orient="records", lines=True)
    sources = [Path("a.csv"), "a.tsv", "a.jsonl", tmp_path / "a.csv", Duck(frame), frame.astype(object)]
    sources += [
        frame.astype({"maker": "category", "weight": "Float64"}),
        frame.assign(sold=pd.to_datetime(frame["sold"])),
    ]
    for source in sources:
        assert load(source).fingerprint() == expected.fingerprint(), source


@pytest.mark.parametrize("named", [True, False])
def test_files_within_the_cells_are_the_same_data(frame: pd.DataFrame, named: bool) -> None:
    """As Hugging Face keeps pictures and recordings."""

    def held(cell: Any) -> Any:
        return {"bytes": Path(cell).read_bytes(), "path": cell if named else None} if isinstance(cell, str) else None

    packed = frame.assign(picture=frame["picture"].map(held), sound=frame["sound"].map(held))
    assert load(Duck(packed)).fingerprint() == load(frame).fingerprint()


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="without pyarrow")
def test_parquet_is_the_same_data(frame: pd.DataFrame) -> None:
    frame.to_parquet("a.parquet")
    assert load("a.parquet").fingerprint() == load(frame).fingerprint()


def test_the_name_and_the_recipe_are_no_part_of_the_fingerprint(frame: pd.DataFrame) -> None:
    data = load(frame)
    arrays = {name: modality.arrays[0] for name, modality in data.modalities.items()}
    again = FusionData.from_arrays(
        arrays,
        data.targets,
        task="classification",
        splits={str(name): indices for name, indices in data.splits.items()},
        kinds={"title": "tokens"},
        present={name: one.present for name, one in data.modalities.items() if one.present is not None},
        class_names=data.class_names,
    )
    assert again.recipe is None
    assert again.fingerprint() == data.fingerprint()


@pytest.mark.parametrize(
    ("cells", "task", "names"),
    [
        ([3, 1, 2] * 20, "classification", ("1", "2", "3")),
        ([10, 2] * 30, "classification", ("2", "10")),
        ([True, False] * 30, "classification", ("false", "true")),
        (list(range(60)), "regression", ()),
        ([0.5, 1.5] * 30, "regression", ()),
        ([1.0, 2.0, 3.0] * 20, "classification", ("1", "2", "3")),
        (["b", "a"] * 30, "classification", ("a", "b")),
        (pd.Series(["b", "a"] * 30, dtype="str"), "classification", ("a", "b")),
        (pd.Series(["b", "a"] * 30, dtype="category"), "classification", ("a", "b")),
        (pd.Series([1, 2] * 30, dtype="Int64"), "classification", ("1", "2")),
        (pd.Series([0.25, 1.5] * 30, dtype="Float32"), "regression", ()),
    ],
)
def test_the_task_is_told_from_the_target(frame: pd.DataFrame, cells: Any, task: str, names: tuple[str, ...]) -> None:
    data = load(frame.assign(kind=cells), split="split")
    assert (data.task, data.class_names) == (task, names)
    as_text = load(frame.assign(kind=[str(cell) for cell in cells]), split="split")
    assert as_text.fingerprint() == data.fingerprint()


def test_whole_numbers_are_classes_if_you_say_so(frame: pd.DataFrame) -> None:
    numbers = frame.assign(kind=[row % 12 + 100 for row in range(60)], split=["train"] * 48 + ["test"] * 12)
    assert load(numbers).task == "classification"  # five rows each
    assert load(numbers, task="regression").task == "regression"
    many = numbers.assign(kind=[row % 15 for row in range(60)])
    assert load(many).task == "regression"
    assert load(many, task="classification").num_outputs == 15
    assert "--task classification makes classes of them" in recipe_of(load(many)).target.reason


def test_rows_without_a_target_are_left_out_and_counted(frame: pd.DataFrame) -> None:
    frame.loc[[2, 5], "kind"] = None
    data = load(frame)
    assert len(data) == 58
    assert "2 rows without it are left out" in recipe_of(data).target.reason
    with pytest.raises(UserError, match="target 'kind' is empty in row 3"):
        recipe_of(data).targets(frame)
    frame.loc[7, "weight"] = "heavy" if frame["weight"].dtype == object else None
    bad = frame.astype({"weight": object})
    bad.loc[15, "weight"] = "heavy"
    with pytest.raises(UserError, match="'heavy' in row 16"):  # as the file counts them
        load(bad)


def test_splits_are_drawn_where_there_are_none(frame: pd.DataFrame) -> None:
    unsplit = frame.drop(columns="split")
    first, same, other = load(unsplit), load(unsplit), load(unsplit, seed=1)
    assert [len(first.splits[split]) for split in ("weights", "architecture", "test")] == [36, 12, 12]
    assert first.fingerprint() == same.fingerprint() != other.fingerprint()
    for indices in first.splits.values():  # stratified
        counts = np.bincount(first.targets[indices], minlength=3)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(
    "words", [("train", "dev", "test"), ("Train", "VALIDATION", "Test"), (0, 1, 2), ("0", "1", "2")]
)
def test_splits_are_known_by_many_words(frame: pd.DataFrame, words: tuple[Any, ...]) -> None:
    by_word = dict(zip(("train", "val", "test"), words, strict=True))
    renamed = frame.assign(part=[by_word[one] for one in frame["split"]]).drop(columns="split")
    assert load(renamed, split="part").fingerprint() == load(frame).fingerprint()


def test_a_column_named_split_that_holds_something_else_is_an_input(frame: pd.DataFrame) -> None:
    data = load(frame.assign(split=["left", "right"] * 30))
    assert recipe_of(data).columns[-1].kind == "category"


def test_columns_and_modalities_overrule(frame: pd.DataFrame) -> None:
    data = load(frame, columns="weight:category,sold:ignore", modalities="meta=weight+maker,words=title")
    assert list(data.modalities) == ["meta", "words"]
    assert [column.reason for column in recipe_of(data).columns][3] == "as you said"


def test_classes_of_the_run_are_kept_for_other_rows(frame: pd.DataFrame) -> None:
    recipe = recipe_of(load(frame))
    np.testing.assert_array_equal(recipe.targets(frame.iloc[[2, 0]]), [2, 0])
    with pytest.raises(UserError, match="'gong' in row 1, which is none of the 3 classes"):
        recipe.targets(frame.assign(kind="gong"))
    with pytest.raises(UserError, match="the table lacks the target 'kind'"):
        recipe.targets(frame.drop(columns="kind"))
    with pytest.raises(UserError, match="the table lacks column 'maker', which the network reads"):
        recipe.apply(frame.drop(columns="maker"), Path())


def changed(*path: str | int, to: Any) -> Callable[[dict[str, Any]], Any]:
    """Puts something else in a place of plain values."""

    def change(values: dict[str, Any]) -> Any:
        place: Any = values
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to
        return values

    return change


TABLE = ("modalities", "table", "parts", 0)

HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no object": lambda values: [values],
    "nothing": lambda values: {},
    "another version": changed("format_version", to=2),
    "a version of another type": changed("format_version", to=True),
    "something more": changed("code", to="import os"),
    "columns missing": lambda values: {name: one for name, one in values.items() if name != "columns"},
    "columns of numbers": changed("columns", to=[1, 2]),
    "columns without end": changed("columns", to=[{"name": "a", "kind": "text", "reason": ""}] * 10_001),
    "a vast name of a column": changed("columns", 0, "name", to="a" * 1001),
    "an unknown kind of column": changed("columns", 0, "kind", to="pickle"),
    "a target of another type": changed("target", to="kind"),
    "an unknown task": changed("target", "task", to="ranking"),
    "classes of numbers": changed("target", "class_names", to=[1, 2, 3]),
    "classes without end": changed("target", "class_names", to=["a"] * 2001),
    "no classes": changed("target", "class_names", to=[]),
    "modalities as a list": changed("modalities", to=[]),
    "one modality": lambda values: {**values, "modalities": {"table": values["modalities"]["table"]}},
    "modalities without end": lambda values: {
        **values, "modalities": {f"m{n}": values["modalities"]["title"] for n in range(513)},
    },
    "a modality named like code": lambda values: {
        **values, "modalities": {**values["modalities"], "__class__": values["modalities"]["title"]},
    },
    "an unknown kind of modality": changed("modalities", "title", "kind", to="module"),
    "a kind of another type": changed("modalities", "title", "kind", to=["text"]),
    "a modality of another type": changed("modalities", "title", to=7),
    "a vocabulary without end": changed("modalities", "title", "vocabulary", to=["w"] * 20_001),
    "a vast word": changed("modalities", "title", "vocabulary", to=["w" * 201]),
    "words that are numbers": changed("modalities", "title", "vocabulary", to=[1]),
    "a vast length": changed("modalities", "title", "length", to=10**9),
    "a length of another type": changed("modalities", "title", "length", to="8"),
    "a negative length": changed("modalities", "title", "length", to=-1),
    "a vast picture": changed("modalities", "picture", "height", to=10**6),
    "half a pixel": changed("modalities", "picture", "width", to=8.5),
    "an unknown mode": changed("modalities", "picture", "mode", to="CMYK"),
    "a vast window": changed("modalities", "sound", "window", to=10**7),
    "windows without end": lambda values: changed("modalities", "sound", "frames", to=4096)(
        changed("modalities", "sound", "window", to=8000)(values)
    ),
    "a rate of 0": changed("modalities", "sound", "rate", to=0),
    "a hop of 0": changed("modalities", "sound", "hop", to=0),
    "parts of another type": changed("modalities", "table", "parts", to={}),
    "no parts": changed("modalities", "table", "parts", to=[]),
    "a part of another type": changed(*TABLE, to=3),
    "an unknown part": changed(*TABLE, "kind", to="eval"),
    "a scale of 0": changed(*TABLE, "scale", to=0),
    "a scale that is nothing": changed(*TABLE, "scale", to=None),
    "a scale beyond numbers": changed(*TABLE, "scale", to=10**400),
    "a centre that is text": changed(*TABLE, "center", to="0"),
    "a flag that is a number": changed(*TABLE, "gaps", to=1),
    "a field missing": changed(*TABLE, to={"kind": "number", "column": "weight"}),
    "categories without end": changed("modalities", "table", "parts", 1, "values", to=["a"] * 65),
    "a format of its own": changed("modalities", "table", "parts", 2, "format", to="%c" * 100),
    "an unknown cycle": changed("modalities", "table", "parts", 2, "cycles", to=["century"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A recipe as JSON holds it."""
    path = write_toy(tmp_path_factory.mktemp("toys"))
    values: dict[str, Any] = json.loads(json.dumps(recipe_of(load(path)).to_dict()))
    assert TableRecipe.from_dict(values).to_dict() is not None
    return values


@pytest.mark.parametrize("case", HOSTILE)
def test_a_strangers_recipe_is_refused_in_one_line(plain: dict[str, Any], case: str) -> None:
    with pytest.raises(UserError) as caught:
        TableRecipe.from_dict(HOSTILE[case](copy.deepcopy(plain)))
    assert len(str(caught.value)) < 400


def test_more_numbers_than_memory_holds_are_refused(plain: dict[str, Any]) -> None:
    values = copy.deepcopy(plain)
    picture = {**values["modalities"]["picture"], "height": 1024, "width": 1024}
    values["modalities"] = {f"p{number}": picture for number in range(30)}
    with pytest.raises(UserError, match="makes 94,371,840 numbers of a row"):
        TableRecipe.from_dict(values)


def paths_in(values: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in plain values but the whole; of long lists the first three."""
    inner = values.items() if isinstance(values, dict) else enumerate(values[:3]) if isinstance(values, list) else ()
    for step, value in inner:
        yield (*path, step)
        yield from paths_in(value, (*path, step))


JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**70,
    1.5,
    -1e200,
    math.nan,
    math.inf,
    "",
    "x" * 5000,
    "\udcff",
    [],
    [None],
    [[]],
    {},
    {"kind": {}},
)


def test_whatever_stands_in_a_recipe_it_is_refused_or_harmless(plain: dict[str, Any], frame: pd.DataFrame) -> None:
    rows = frame.iloc[:2]
    accepted = 0
    for path in paths_in(plain):
        for junk in JUNK:
            values = changed(*path, to=junk)(copy.deepcopy(plain))
            try:
                recipe = TableRecipe.from_dict(values)
            except UserError:
                continue
            accepted += 1
            with suppress(UserError):
                for modality in recipe.apply(rows, Path()).values():
                    assert modality.arrays[0].nbytes < 10_000_000
                    assert np.isfinite(modality.arrays[0]).all()
    assert accepted > 20  # names, reasons and numbers may be many things
