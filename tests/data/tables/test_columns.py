"""What a column is taken for, from its cells."""

from __future__ import annotations

import datetime
from typing import Any

import pandas as pd
import pytest

from nas import UserError
from nas.data.tables.columns import infer, parse_columns

N = 40


def kind_of(cells: list[Any], name: str = "c", dtype: Any = None) -> str:
    (found,) = infer(pd.DataFrame({name: pd.Series(cells, dtype=dtype)}), {})
    assert found.reason
    return found.kind


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([f"a/{row}.png" for row in range(N)], "image"),
        ([f"{row}.JPG" for row in range(N)], "image"),
        ([f"{row}.wav" for row in range(N)], "audio"),
        ([f"{row}.5" for row in range(N)], "number"),
        ([(row * 7) % N for row in range(N)], "number"),
        (list(range(N)), "ignore"),  # rises from row to row
        (["x"] * N, "ignore"),
        (["x"] * 20 + [None] * 20, "category"),
        ([None] * (N - 1) + ["x"], "ignore"),
        (["red", "green", "blue", None] * 10, "category"),
        ([True, False] * 20, "number"),
        ([f"2024-01-{1 + row % 28:02}" for row in range(N)], "date"),
        ([f"2024-01-01T{row % 24:02}:30:00Z" for row in range(N)], "date"),
        ([f"{1 + row % 28}.{1 + row % 12}.2024" for row in range(N)], "date"),
        ([f"{1 + row % 12}/{1 + row % 28}/2024" for row in range(N)], "date"),
        ([datetime.datetime(2024, 1, 1 + row % 28) for row in range(N)], "date"),
        ([f"K-{row}" for row in range(N)], "ignore"),
        ([f"a nice thing called {row}" for row in range(N)], "text"),
        ([f"{'abcdefgh'[row % 8]}{'klmno'[row // 8]}" for row in range(N)], "text"),
        ([["a", "list"]] * N, "ignore"),
    ],
)
def test_kinds_are_told_from_cells(cells: list[Any], expected: str) -> None:
    assert kind_of(cells) == expected


@pytest.mark.parametrize("name", ["id", "customer_id", "customerId", "user.ID", "Index"])
def test_other_whole_numbers_under_the_name_of_an_id_are_left_out(name: str) -> None:
    cells = [(7 * row) % N for row in range(N)]
    assert kind_of(cells, name) == "ignore"
    assert kind_of(cells, "paid") == "number"  # it ends so, too, but is another word


def test_words_among_numbers_are_told_with_their_row() -> None:
    with pytest.raises(UserError, match=r"'c' holds numbers, but 'abc' in row 3 \(1 such cells\)"):
        kind_of(["1", "2", "abc", *map(str, range(N))])
    assert kind_of(["1", "2", "?", *map(str, range(N, 0, -1))]) == "number"
    assert kind_of(["a", "b", "c", "1"] * 10) == "category"


@pytest.mark.parametrize("dtype", ["str", "category", object])
def test_the_type_in_pandas_does_not_matter(dtype: Any) -> None:
    assert kind_of(["a", "b"] * 20, dtype=dtype) == "category"
    assert kind_of([f"{row}.5" for row in range(N)], dtype=dtype) == "number"


def test_what_is_given_wins() -> None:
    frame = pd.DataFrame({"zip": [str(row) for row in range(N)], "split": ["train"] * N})
    found = infer(frame, {"zip": "category", "split": "split"})
    assert [(one.kind, one.reason) for one in found] == [
        ("category", "as you said"),
        ("split", "which rows train, decide and test"),
    ]
    with pytest.raises(UserError, match="unknown column in columns: 'zipp'; did you mean 'zip'"):
        infer(frame, {"zipp": "category"})


@pytest.mark.parametrize("given", ["a:text, b c:ignore", ["a:text", "b c:ignore"], {"a": "text", "b c": "ignore"}])
def test_columns_are_named_in_three_forms(given: Any) -> None:
    assert parse_columns(given) == {"a": "text", "b c": "ignore"}


def test_a_colon_may_be_in_a_name() -> None:
    assert parse_columns("a:b:text") == {"a:b": "text"}
    assert parse_columns("") == parse_columns(None) == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a", "'a'; expected a column and its kind"),
        (":text", "expected a column and its kind"),
        ("a:words", "unknown kind of column 'a': 'words'"),
        ("a:text,a:date", "'a' is given two kinds, text and date"),
    ],
)
def test_malformed_columns_are_told(given: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_columns(given)
