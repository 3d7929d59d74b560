"""Text as numbers of words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nas import UserError
from nas.data.tables.text import MAX_LENGTH, TextRecipe, split_words


def fit(*cells: str | None) -> TextRecipe:
    return TextRecipe.fit(pd.DataFrame({"t": list(cells)}), {}, Path())


def test_words_are_small_and_without_punctuation() -> None:
    assert split_words("The CAT, sat-on: ﬁve Straße!") == ["the", "cat", "sat", "on", "five", "straße"]


def test_scripts_without_spaces_are_read_sign_by_sign() -> None:
    assert split_words("東京tower") == ["東", "京", "tower"]


def test_known_numbers() -> None:
    recipe = fit("red fox", "red hen", "red hen sits")  # fox and sits are there once
    assert recipe.vocabulary == ("red", "hen")
    assert recipe.length == 3
    found = recipe.apply(pd.DataFrame({"t": ["Red hen", "blue hen red red red", None, "!!!"]}), Path())
    np.testing.assert_array_equal(found.arrays[0], [[2, 3, 0], [1, 3, 2], [0, 0, 0], [1, 0, 0]])
    assert found.kind == "tokens"
    assert found.present is not None
    assert found.present.tolist() == [True, True, False, True]


def test_several_columns_are_one_text() -> None:
    recipe = TextRecipe.fit(pd.DataFrame({"a": ["x y", "x"], "b": ["z", "z"]}), {}, Path())
    found = recipe.apply(pd.DataFrame({"a": ["x", None], "b": ["z", None]}), Path())
    assert recipe.vocabulary == ("x", "z")
    np.testing.assert_array_equal(found.arrays[0], [[2, 3, 0], [0, 0, 0]])


def test_a_vast_text_is_cut() -> None:
    assert fit("word " * 10_000, "word").length == MAX_LENGTH


def test_the_99_percent_that_are_short_decide() -> None:
    assert fit(*["a b"] * 999, "a " * 100).length == 2


def test_a_column_without_text_is_told() -> None:
    with pytest.raises(UserError, match="column 't' has no text"):
        fit(None, "")
