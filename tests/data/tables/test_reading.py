"""Tables from files and from memory, and thirty ways in which they are broken, a clear line each."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nas
from nas import UserError
from nas.data.tables.cells import words
from nas.data.tables.reading import read_table, table_of
from tests.data.tables.helpers import Duck, toy_columns, write_picture


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_cells_of_text_files_stay_text(tmp_path: Path) -> None:
    frame = read_table(write(tmp_path / "a.csv", '\ufeffa, b\n01,"x, ""y""\nz"\n\n2,\n'))
    assert frame.to_dict("list") == {"a": ["01", "2"], "b": ['x, "y"\nz', ""]}


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.csv", ";"), ("a.csv", "|"), ("a.tsv", "\t")])
def test_separators_are_told_from_the_header(tmp_path: Path, name: str, separator: str) -> None:
    frame = read_table(write(tmp_path / name, separator.join("abc") + "\n" + separator.join("123") + "\n"))
    assert frame.to_dict("list") == {"a": ["1"], "b": ["2"], "c": ["3"]}


def test_json_lines_may_leave_names_out(tmp_path: Path) -> None:
    frame = read_table(write(tmp_path / "a.jsonl", '{"a": 1}\n\n{"b": "x", "a": null}\n{"a": 2.5, "c": true}\n'))
    assert frame.to_dict("list") == {"a": [1, None, 2.5], "b": [None, "x", None], "c": [None, None, True]}


_CELLS = st.one_of(
    st.none(),
    st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12),
    st.integers(),
    st.floats(allow_nan=True),
    st.booleans(),
)


@given(st.lists(st.tuples(_CELLS, _CELLS, _CELLS), min_size=1, max_size=6))
def test_a_csv_that_pandas_writes_is_the_same_table(tmp_path_factory: pytest.TempPathFactory, cells: Any) -> None:
    frame = pd.DataFrame(cells, columns=["a", "b c", "d,;"], dtype=object)
    path = tmp_path_factory.getbasetemp() / "same.csv"
    frame.to_csv(path, index=False)
    again = read_table(path)
    assert [words(again[name]) for name in again] == [words(frame[name]) for name in frame]


@pytest.mark.parametrize(("limit", "value"), [("MAX_COLUMNS", 20), ("MAX_CELLS", 400)])
def test_json_lines_that_share_no_names_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(f"nas.data.tables.reading.{limit}", value)
    path = write(tmp_path / "a.jsonl", "".join(f'{{"k{row}": 1}}\n' for row in range(100)))
    with pytest.raises(UserError, match=r"has 21 different names in the first 21 lines"):
        read_table(path)


def test_a_column_without_name_gets_one(tmp_path: Path) -> None:
    assert list(read_table(write(tmp_path / "a.csv", ",a\n0,1\n")).columns) == ["Unnamed: 0", "a"]


def test_frames_are_counted_from_zero_and_named_by_text() -> None:
    frame = table_of(Duck(pd.DataFrame({1: [5], " b ": [6]}, index=["x"])))
    assert list(frame.columns) == ["1", "b"]
    assert frame.index.tolist() == [0]


def test_parquet_without_pyarrow_says_how_to_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match=r"needs pyarrow: pip install 'fusenas\[tables\]'"):
        read_table(write(tmp_path / "a.parquet", b"PAR1"))


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="without pyarrow")
def test_damaged_parquet_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no Parquet, or is damaged"):
        read_table(write(tmp_path / "a.parquet", b"PAR1" * 10))


def test_a_file_larger_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.csv", "a,b\n" + "1,2\n" * 100)
    monkeypatch.setattr("nas.data.memory.available_bytes", lambda: 1000)
    with pytest.raises(UserError, match=r"would take about 12\.1 kB of memory; expected at most 500 bytes"):
        read_table(path)


def good(folder: Path, **changes: Any) -> pd.DataFrame:
    """The table of `toy_columns`, with other columns in place of some or beside them."""
    return pd.DataFrame({**toy_columns(folder), **changes})


def rows(column: str, row: int, cell: Any) -> Callable[[Path], pd.DataFrame]:
    """That table with another cell in a row counted from 0."""

    def make(folder: Path) -> pd.DataFrame:
        columns = toy_columns(folder)
        columns[column][row] = cell
        return pd.DataFrame(columns)

    return make


def as_csv(text: str | bytes, name: str = "a.csv") -> Callable[[Path], Path]:
    return lambda folder: write(folder / name, text)


def twice(folder: Path) -> pd.DataFrame:
    frame = good(folder)
    return pd.concat([frame, frame[["title"]]], axis=1)


def with_broken_picture(folder: Path) -> pd.DataFrame:
    frame = good(folder)
    write(folder / "pictures/1.png", b"no picture")
    return frame


def with_cut_picture(folder: Path) -> pd.DataFrame:
    frame = good(folder)
    whole = write_picture(folder / "pictures/1.png", size=(90, 90)).read_bytes()
    write(folder / "pictures/1.png", whole[:-40])
    return frame


def with_broken_sound(folder: Path) -> pd.DataFrame:
    frame = good(folder)
    write(folder / "sounds/2.wav", b"RIFFxxxxWAVE")
    return frame


BROKEN: dict[str, tuple[Callable[[Path], Any], dict[str, Any], str]] = {
    "empty file": (as_csv(""), {}, r"is empty or begins with a blank line"),
    "header alone": (as_csv("title,kind\n"), {}, r"has no rows below its header"),
    "Latin-1": (as_csv("title,kind\nA,b\ncaf\xe9,b\n".encode("latin-1")), {}, r"is not UTF-8 text \(line 3"),
    "UTF-16": (as_csv("title,kind\na,b\n".encode("utf-16")), {}, r"is UTF-16 text; save it as UTF-8"),
    "null characters": (as_csv("title,kind\na\0,b\n"), {}, r"holds a null character in line 2"),
    "too many cells": (as_csv("title,kind\na,b\na,b,c\n"), {}, r"row 2 of .* \(line 3\) has 3 cells, but"),
    "too few cells": (as_csv("title,kind\na\n"), {}, r"row 1 of .* has 1 cells, but the header has 2"),
    "quotation mark not closed": (as_csv('title,kind\n"a,b\nc,d\n'), {}, r"is no well-formed CSV: .* not closed"),
    "text after a quotation": (as_csv('title,kind\n"a"x,b\n'), {}, r"is no well-formed CSV"),
    "duplicate columns": (as_csv("title,kind,title\na,b,c\n"), {}, r"has two columns named 'title'"),
    "duplicate columns of a frame": (twice, {}, r"the data frame has two columns named 'title'"),
    "a spreadsheet": (as_csv(b"PK", "a.xlsx"), {}, r"is no table that is read here; expected \.csv"),
    "JSON, not lines": (as_csv("[1,\n2]", "a.jsonl"), {}, r"line 1 of .* is not JSON"),
    "lines of lists": (as_csv("[1, 2]\n", "a.jsonl"), {}, r"line 1 of .* holds a list; expected one object a line"),
    "no such file": (lambda folder: folder / "none.csv", {}, r"none\.csv' is no file"),
    "a folder": (lambda folder: folder, {}, r"has no train\.npz"),
    "a dict": (lambda folder: {"a": [1]}, {}, r"a dict is no data that can be searched"),
    "no target named": (good, {"target": None}, r"name the column to predict with --target T; the table has picture, "),
    "unknown target": (good, {"target": "kid"}, r"unknown target column 'kid'; did you mean 'kind'"),
    "unknown split": (good, {"split": "fold"}, r"unknown split column 'fold'"),
    "target as split": (good, {"split": "kind"}, r"'kind' is named as target and as split"),
    "another word in the split": (
        rows("split", 4, "holdout"), {"split": "split"}, r"split 'split' holds 'holdout' in row 5; expected 0, 1, 2, ",
    ),
    "a gap in the split": (rows("split", 6, None), {"split": "split"}, r"split 'split' is empty in row 7"),
    "no test rows": (lambda folder: good(folder, split=["train"] * 60), {}, r"the split has no test samples"),
    "one class": (lambda folder: good(folder, kind=["bell"] * 60), {}, r"the target is constant in the weights split"),
    "a class in the test alone": (
        lambda folder: good(folder, kind=["gong" if row == 12 else "bhd"[row % 3] for row in range(60)]), {},
        r"class 'gong' is absent from the weights split",
    ),
    "an empty target": (lambda folder: good(folder, kind=[None] * 60), {}, r"target 'kind' is empty in all 60 rows"),
    "words for regression": (good, {"task": "regression"}, r"'kind' holds 'bell' in row 1; regression needs"),
    "a word among numbers to predict": (
        rows("price", 5, "n.a."), {"target": "price"}, r"target 'price' holds numbers, but 'n\.a\.' in row 6 \(1 such",
    ),
    "infinity among numbers to predict": (
        rows("price", 5, np.inf), {"target": "price"}, r"target 'price' holds numbers, but 'inf' in row 6",
    ),
    "several labels": (good, {"task": "multilabel"}, r"a table has one target column"),
    "unknown task": (good, {"task": "ranking"}, r"unknown task 'ranking'"),
    "dates to predict": (
        lambda folder: good(folder, kind=pd.date_range("2024-01-01", periods=60)), {}, r"'kind' holds no words or",
    ),
    "a vast number of classes": (
        lambda folder: pd.DataFrame({"kind": [f"k{row}" for row in range(2500)], "a": 1, "b": 2}), {},
        r"target 'kind' has 2500 classes; expected at most 2000",
    ),
    "long texts to predict": (
        lambda folder: good(folder, kind=["long " * 50, "b", "c"] * 20), {}, r"holds a text of 249 characters",
    ),
    "a word among numbers": (
        rows("weight", 3, "heavy"), {"split": "split"}, r"'weight' holds .*'heavy' in row 4",
    ),
    "a word among numbers of the test": (
        rows("weight", 13, "heavy"), {"split": "split"}, r"'weight' holds 'heavy' in row 14; expected a number",
    ),
    "a missing picture": (rows("picture", 5, "pictures/no.png"), {}, r"'picture', row 6: '.*no\.png' is not there"),
    "an address": (rows("picture", 5, "https://x/y.png"), {}, r"row 6: 'https://x/y\.png' is an address"),
    "a broken picture": (with_broken_picture, {}, r"row 2: 'pictures/1\.png' is no picture that can be read"),
    "a picture cut off": (with_cut_picture, {}, r"row 2: 'pictures/1\.png' is no picture that can be read"),
    "a broken recording": (with_broken_sound, {}, r"row 3: 'sounds/2\.wav' is no recording that can be read"),
    "numbers alone": (
        lambda folder: pd.DataFrame({"a": np.arange(60) % 7, "b": np.arange(60) % 5, "kind": list("xyz") * 20}), {},
        r"fusion needs two or more modalities, but these columns give table",
    ),
    "the target among the modalities": (good, {"modalities": "kind,title"}, r"column 'kind' is the target"),
    "the target among the columns": (good, {"columns": "kind:text"}, r"column 'kind' is the target and has a kind"),
    "no dates": (good, {"columns": "title:date"}, r"'title' holds no dates of one form"),
    "no numbers": (good, {"columns": "title:number"}, r"'title' holds 'a bell of brass.*' in row 1; expected a number"),
    "no pictures": (good, {"columns": "title:image"}, r"column 'title', row 1: 'a bell.* is not there"),
    "lists taken for text": (
        lambda folder: good(folder, title=[["a"]] * 60), {"columns": "title:text"}, r"'title' holds a list in row 1",
    ),
    "column names of two levels": (
        lambda folder: pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])), {},
        r"column names of 2 levels",
    ),
    "columns of arrays": (lambda folder: folder / "a.npz", {"columns": "a:text"}, r"columns tell what a table holds"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_tables_are_told_in_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    make, options, message = BROKEN[case]
    monkeypatch.chdir(tmp_path)  # paths in a frame are relative to the current folder
    source = make(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        nas.load_data(source, **{"target": "kind", **options})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_odd_names_and_huge_categories_are_no_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frame = good(tmp_path).rename(columns={"title": "Título <b>名前</b>", "maker": "\x1b[31m", "kind": "class"})
    frame["huge"] = [f"w{row}" for row in range(60)]
    data = nas.load_data(frame, target="class", columns={"huge": "category"})
    assert list(data.modalities) == ["picture", "sound", "Título_b_名前_b", "table"]


def test_json_of_the_same_rows_is_the_same_data(tmp_path: Path) -> None:
    frame = good(tmp_path)
    lines = "\n".join(json.dumps(row) for row in frame.to_dict("records"))
    data = nas.load_data(write(tmp_path / "a.jsonl", lines), target="kind")
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert data.fingerprint() == nas.load_data(tmp_path / "a.csv", target="kind").fingerprint()
