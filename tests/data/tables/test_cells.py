"""Cells come to the same words and numbers from a text file and from a data frame."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas._libs.parsers import STR_NA_VALUES

from nas import UserError
from nas.data.tables.cells import MISSING_WORDS, is_plain, numbers, numbers_of, row_numbers, shown, words


def column(cells: list[Any], dtype: Any = None) -> pd.Series:
    return pd.Series(cells, name="c", dtype=dtype)


@pytest.mark.parametrize(
    ("cells", "dtype", "expected"),
    [
        (["3", "x", ""], object, ["3", "x", None]),
        ([3, 4, 5], None, ["3", "4", "5"]),
        ([3.0, None, 4.5], None, ["3", None, "4.5"]),
        (["3.0", "-2.00", "3.50"], object, ["3", "-2", "3.50"]),
        (["01234", " b "], object, ["01234", "b"]),
        ([True, False], None, ["true", "false"]),
        (["True", "FALSE"], object, ["true", "false"]),
        ([1, None], "Int64", ["1", None]),
        ([True, None], "boolean", ["true", None]),
        (["a", None, "b"], "str", ["a", None, "b"]),
        (["a", "b", "a"], "category", ["a", "b", "a"]),
        ([b"caf\xc3\xa9"], object, ["café"]),
        ([Decimal("1.5"), Decimal(2)], object, ["1.5", "2"]),
        ([datetime.date(2024, 1, 31)], object, ["2024-01-31"]),
        ([np.nan, None, pd.NA, pd.NaT], object, [None] * 4),
    ],
)
def test_words_of_every_type(cells: list[Any], dtype: Any, expected: list[str | None]) -> None:
    assert words(column(cells, dtype)) == expected


def test_words_that_stand_for_nothing_are_those_of_pandas() -> None:
    assert set(STR_NA_VALUES) == MISSING_WORDS


def test_a_cell_that_is_no_word_is_told_with_its_row() -> None:
    with pytest.raises(UserError, match=r"column 'c' holds a list in row 2"):
        words(column(["a", [1]]))
    with pytest.raises(UserError, match=r"bytes that are not UTF-8 in row 1"):
        words(column([b"\xff"]))
    assert not is_plain(column(["a", [1]]))
    assert is_plain(column(["a", 1, None, 2.5, Decimal(1), np.bool_(True)]))


def test_numbers_are_told_from_words_and_from_nothing() -> None:
    values, odd = numbers(["1", "-2.5", "1e3", ".5", None, "?", "inf", "x", "1_000", "1,5", "true", "1e999", "٣"])
    np.testing.assert_array_equal(values, [1, -2.5, 1000, 0.5, *[np.nan] * 6, 1, np.nan, np.nan])
    assert np.flatnonzero(odd).tolist() == [7, 8, 9, 12]


@pytest.mark.parametrize(("cells", "dtype"), [([1, 2], "int8"), ([1.0, np.inf], None), ([True, False], None)])
def test_numbers_of_typed_columns_are_those_of_their_words(cells: list[Any], dtype: Any) -> None:
    direct, odd = numbers_of(column(cells, dtype))
    np.testing.assert_array_equal(direct, numbers(words(column(cells, dtype)))[0])
    assert not odd.any()


def test_rows_count_from_one_in_the_whole_table() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]})
    assert row_numbers(frame.iloc[[0, 2]]) == [1, 3]
    assert row_numbers(frame.set_axis(["x", "y", "z"])) == [1, 2, 3]


def test_what_is_shown_is_short_and_printable() -> None:
    assert shown("a" * 100) == "a" * 59 + "…"
    assert shown("\x1b[2J") == "'\\x1b[2J'"
