"""Parquet that stays on disk: the same data, the same recipe and the same predictions, and never all of it at once."""

from __future__ import annotations

import datetime
import decimal
import importlib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nas
from nas import FusionData, UserError
from nas.data.tables import stored_table
from nas.data.tables.cells import numbers_of, words
from nas.data.tables.loading import open_table
from nas.data.tables.stored_table import HeldFile, StoredTable
from tests.data.tables.helpers import toy_frame
from tests.tiny_runs import tiny_search

pytestmark = pytest.mark.skipif(find_spec("pyarrow") is None, reason="without pyarrow")

SCARCE = 10_000
"""Bytes of memory, less than any table here takes."""


def held(cell: Any, *, named: bool) -> Any:
    """A path as Hugging Face keeps the file."""
    return {"bytes": Path(cell).read_bytes(), "path": cell if named else None} if isinstance(cell, str) else None


@pytest.fixture(params=["named", "nameless"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of every kind of column in five row groups, pictures and recordings within it, some cells empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stored_table, "BLOCK_ROWS", 7)  # so that blocks end within row groups
    frame = toy_frame(tmp_path)
    for column, row in (("picture", 1), ("title", 3), ("weight", 6), ("maker", 7), ("sold", 8), ("sound", 9)):
        frame.loc[row, column] = None
    named = request.param == "named"
    for column in ("picture", "sound"):
        frame[column] = frame[column].map(lambda cell: held(cell, named=named))
    frame["patient"] = [row // 2 for row in range(len(frame))]
    frame["count"] = [1.0 + row % 3 for row in range(len(frame))]
    found = tmp_path / "toys.parquet"
    frame.to_parquet(found, row_group_size=13)
    return found


def same(one: FusionData, other: FusionData) -> None:
    """Holds two data sets to the same recipe, splits and arrays."""
    assert one.recipe is not None
    assert other.recipe is not None
    assert one.recipe.to_dict() == other.recipe.to_dict()
    assert one.fingerprint() == other.fingerprint()
    for name, modality in one.modalities.items():
        np.testing.assert_array_equal(modality.arrays[0][:], other.modalities[name].arrays[0][:])


@pytest.mark.parametrize(
    "options",
    [
        {"columns": "patient:ignore,count:ignore"},
        {"columns": "split:ignore,patient:number"},
        {"group": "patient", "weight": "count", "columns": "split:ignore"},
        {"fold": "2/3"},
        {"modalities": "meta=weight+maker+sold,picture,sound"},
    ],
    ids=["split", "drawn", "group and weight", "fold", "groups of columns"],
)
def test_the_same_data_comes_from_disk(path: Path, options: dict[str, Any]) -> None:
    options = {**options, **({"fold": nas.data.splits.Fold(2, 3)} if "fold" in options else {})}
    assert isinstance(open_table(path, SCARCE)[0], StoredTable)
    same(nas.load_data(path, target="kind", **options), nas.load_data(path, target="kind", memory=SCARCE, **options))


def test_enough_memory_leaves_nothing_on_disk(path: Path) -> None:
    assert isinstance(open_table(path, 10**9)[0], pd.DataFrame)


@pytest.mark.parametrize("path", ["named"], indirect=True)
def test_a_run_on_it_predicts_and_is_judged_alike(path: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"target": "kind", "modalities": "picture,title", "epochs": 2}
    run = tiny_search(path, out=tmp_path / "run", memory_bytes=200_000, **options)
    whole = tiny_search(path, out=tmp_path / "whole", **options)
    assert [row.scores for row in run.summary.leaderboard] == [row.scores for row in whole.summary.leaderboard]
    new = pd.read_parquet(path).drop(columns=["kind", "split"])
    new.to_parquet(tmp_path / "new.parquet", row_group_size=13)
    streamed = nas.predict(tmp_path / "run", tmp_path / "new.parquet", device="cpu")
    np.testing.assert_array_equal(
        streamed.probabilities, nas.predict(tmp_path / "whole", tmp_path / "new.parquet", device="cpu").probabilities
    )
    assert nas.evaluate(tmp_path / "run", device="cpu")["repeated"]


def test_no_more_than_a_block_of_files_is_read_at_once(path: Path) -> None:
    """Rows that pyarrow hands out at once, of columns with content; and how often each is asked for."""
    table = open_table(path, SCARCE)[0]
    assert isinstance(table, StoredTable)
    asked: list[int] = []
    plain = table.source.file.iter_batches

    def counted(**options: Any) -> Any:
        for batch in plain(**options):
            asked.append(len(batch))
            yield batch

    class File:
        iter_batches = staticmethod(counted)

        def __getattr__(self, name: str) -> Any:
            return getattr(file, name)

        def read(self, columns: list[str]) -> Any:
            assert columns != ["picture"]
            assert columns != ["sound"]
            return file.read(columns=columns)

    file = table.source.file
    object.__setattr__(table.source, "file", File())
    pictures = table["picture"]
    assert not asked  # the column alone reads no content
    contents = [cell["bytes"] for cell in pictures if isinstance(cell, HeldFile)]
    assert contents == [cell["bytes"] for cell in pd.read_parquet(path)["picture"] if cell is not None]
    assert max(asked) <= stored_table.BLOCK_ROWS
    assert sum(asked) == len(table)
    asked.clear()
    blocks = list(table.blocks(["picture", "sound"]))
    assert max(asked) <= stored_table.BLOCK_ROWS
    assert [row for block in blocks for row in block.index] == list(range(len(table)))


ODD: dict[str, Any] = {
    "whole with gaps": [1, None, 3, 2**40],
    "nullable": pd.array([10**16 + 1, None, 10**16 + 3, 10**16 + 5], dtype="Int64"),
    "real": [0.5, float("nan"), float("inf"), 1e300],
    "flags": [True, None, False, True],
    "words": ["a", "", None, " NA"],
    "unicode": ["ä", "日本", "\u202e", "e\u0301"],
    "dates": [datetime.date(2020, 1, 1), None, datetime.date(2021, 2, 3), datetime.date(1900, 1, 1)],
    "times": [datetime.datetime(2020, 1, 1, 12), None, datetime.datetime(2021, 2, 3), datetime.datetime(1999, 1, 1)],
    "decimals": [decimal.Decimal("1.50"), None, decimal.Decimal("2.25"), decimal.Decimal("-3.00")],
    "files": [["a.png", "b.png"], None, ["c.png"], []],
    "bytes": [b"a", None, b"b", b"c"],
    "nothing": [None, None, None, None],
}


@pytest.mark.parametrize("name", ODD)
def test_cells_are_the_same_column_by_column(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_table, "BLOCK_ROWS", 1)  # so that some blocks have no empty cell
    frame = pd.DataFrame({"a.b": [1, 2, 3, 4], name: ODD[name], "a": list("wxyz")})
    frame.to_parquet(tmp_path / "odd.parquet", row_group_size=2)
    whole, stored = open_table(tmp_path / "odd.parquet")[0], open_table(tmp_path / "odd.parquet", 1)[0]
    assert isinstance(stored, StoredTable)
    assert list(stored.columns) == list(whole.columns)
    for column in whole.columns:
        assert words(stored[column]) == words(whole[column])
        assert [word for block in stored.blocks([column]) for word in words(block[column])] == words(whole[column])
        np.testing.assert_array_equal(numbers_of(stored[column])[0], numbers_of(whole[column])[0])


@pytest.mark.parametrize("kind", ["int64", "uint64", "dictionary"])
def test_large_whole_numbers_with_a_gap_are_the_same_categories(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One empty cell makes a column float64 to pandas, and 10000000000000002 the word 1.0000000000000002e+16."""
    monkeypatch.setattr(stored_table, "BLOCK_ROWS", 7)
    pyarrow = importlib.import_module("pyarrow")
    users = [None, *(10**16 + 2 + 2 * (row % 4) for row in range(59))]
    column = pyarrow.array(users, "uint64" if kind == "uint64" else "int64")
    table = pyarrow.table(
        {
            "user": column.dictionary_encode() if kind == "dictionary" else column,
            "title": [f"word {row % 3}" for row in range(60)],
            "kind": ["ab"[row % 2] for row in range(60)],
        }
    )
    importlib.import_module("pyarrow.parquet").write_table(table, tmp_path / "users.parquet", row_group_size=20)
    options: dict[str, Any] = {"target": "kind", "columns": "user:category,title:text"}
    whole = nas.load_data(tmp_path / "users.parquet", **options)
    assert whole.modalities["table"].arrays[0].sum() >= 59  # a category in every row but the empty one
    same(whole, nas.load_data(tmp_path / "users.parquet", memory=1000, **options))


def test_an_index_of_pandas_is_no_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1, 2, 3, 4], "y": list("abcd")}, index=pd.Index([7, 5, 3, 1], name="key"))
    frame.to_parquet(tmp_path / "indexed.parquet")
    stored = open_table(tmp_path / "indexed.parquet", 1)[0]
    assert isinstance(stored, StoredTable)
    assert list(stored.columns) == ["x", "y"]
    assert stored.take([2, 0])["y"].tolist() == ["c", "a"]
    assert stored.take([2, 0])["y"].index.tolist() == [2, 0]


def test_a_damaged_file_is_told_in_one_line(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[200 : len(content) // 2] = bytes(len(content) // 2 - 200)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is no Parquet, or is damaged: .*; write it again|no picture|no recording"):
        nas.load_data(path, target="kind", columns="patient:ignore,count:ignore", memory=SCARCE)


@pytest.mark.parametrize(
    ("columns", "told"),
    [(["a", "a "], "has two columns named 'a'"), ([("a", "b"), ("c", "d")], "column names of 2 levels")],
)
def test_names_are_checked_alike(columns: list[Any], told: str, tmp_path: Path) -> None:
    levels = pd.MultiIndex.from_tuples(columns) if isinstance(columns[0], tuple) else columns
    pd.DataFrame([[1, 2], [3, 4]], columns=levels).to_parquet(tmp_path / "named.parquet")
    for memory in (None, 1):
        with pytest.raises(UserError, match=told):
            open_table(tmp_path / "named.parquet", memory)


def test_sizes_of_columns_are_counted_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column is asked for several times, and a file may have thousands of row groups of hundreds of columns."""
    table, plain = open_table(path, SCARCE)[0], stored_table.row_groups
    asked: list[Any] = []

    def counted(file: Any) -> list[Any]:
        asked.append(file)
        return plain(file)

    monkeypatch.setattr(stored_table, "row_groups", counted)
    for column in ("title", "weight", "maker"):
        assert len(table[column]) == len(table)
    assert len(asked) == 1


def _varint(value: int) -> bytes:
    """A whole number as Thrift's compact protocol writes it: doubled, seven bits a byte, the lowest first."""
    left, found = 2 * value, bytearray()
    while left > 127:
        found.append(left & 127 | 128)
        left >>= 7
    return bytes([*found, left])


def _claiming(path: Path, said: int, rows: int) -> None:
    """Changes the counts of rows in the footer of a file, the pages stay as they are."""
    content = path.read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    i64 = b"\x26\x16\x36"  # fields of 64 bits, one, two or three behind the one before
    footer = re.sub(b"([%s])%s" % (i64, re.escape(_varint(said))), lambda m: m[1] + _varint(rows), content[start:-8])
    assert footer != content[start:-8]
    path.write_bytes(content[:start] + footer + len(footer).to_bytes(4, "little") + b"PAR1")


@pytest.mark.parametrize(
    ("claimed", "told"),
    [
        (260, "is damaged: it says that it has 260 rows, and 200 can be read; write it again"),
        (2**50, "the numbers of the rows of .* would take 9,007.2 TB of memory"),
    ],
)
def test_a_file_that_is_shorter_than_it_says_is_told_in_one_line(claimed: int, told: str, tmp_path: Path) -> None:
    short = tmp_path / "short.parquet"
    cells = [{"bytes": b"\x89PNG", "path": "a.png"}] * 200
    pd.DataFrame({"picture": cells, "x": [0.5] * 200, "kind": list("ab") * 100}).to_parquet(short, compression="none")
    _claiming(short, 200, claimed)
    with pytest.raises(UserError, match=told):
        nas.load_data(short, target="kind", memory=1)
    if claimed == 260:
        table = open_table(short, 1)[0]
        assert isinstance(table, StoredTable)
        for read in (lambda: table["picture"], lambda: table["x"], lambda: list(table.blocks(["picture"]))):
            with pytest.raises(UserError, match=told):
                read()
