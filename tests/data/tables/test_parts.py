"""Numbers, categories and dates as vectors: known answers, imputation, and what the training split did not hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from nas import UserError
from nas.data.tables.categories import MAX_KEPT, CategoryPart
from nas.data.tables.dates import DatePart
from nas.data.tables.numeric import NumberPart
from nas.data.tables.parts import robust_scale, softened


def column(cells: list[Any]) -> pd.Series:
    return pd.Series(cells, name="c")


def test_numbers_are_centred_on_the_median_and_scaled_by_the_middle_half() -> None:
    part = NumberPart.fit(column([1, 2, 3, 4, 5]))  # quartiles 2 and 4
    assert (part.center, part.gaps) == (3.0, False)
    assert part.scale == pytest.approx(2 / 1.349)
    np.testing.assert_allclose(part.apply(column([3, 4]))[:, 0], [0, 1.349 / 2], rtol=1e-6)


def test_a_far_value_neither_moves_the_scale_nor_stays_far() -> None:
    values = [*range(100), 1e9]
    part = NumberPart.fit(column(values))
    assert part.scale < 50
    assert 3 < part.apply(column(values))[-1, 0] < 21  # 3 + log(2.7e7 - 2) is 20.1


def test_softened_goes_on_smoothly_at_three() -> None:
    step = 1e-6
    np.testing.assert_allclose(softened(np.array([-3.0, 0.5, 3.0])), [-3, 0.5, 3])
    slope = (softened(np.array([3 + step])) - softened(np.array([3 - step]))) / (2 * step)
    np.testing.assert_allclose(slope, 1, atol=1e-5)  # second derivative times step
    np.testing.assert_allclose(softened(np.array([2 + np.e])), 4)


def test_a_missing_number_is_the_median_and_has_a_flag_if_training_had_gaps() -> None:
    part = NumberPart.fit(column([1, None, 3, 5]))
    np.testing.assert_array_equal(part.apply(column([None, 3])), [[0, 1], [0, 0]])
    whole = NumberPart.fit(column([1, 3, 5]))
    np.testing.assert_array_equal(whole.apply(column([None, 3.0])), [[0], [0]])


@pytest.mark.parametrize("values", [[7.0, 7.0, 7.0], [], [1e-320, 0.0], [1e100, -1e100]])
def test_odd_numbers_have_a_finite_scale(values: list[float]) -> None:
    center, scale = robust_scale(np.array(values))
    assert np.isfinite(center)
    assert 0 < scale < np.inf
    part = NumberPart(column="c", center=center, scale=scale, gaps=False)
    assert np.isfinite(part.apply(column([*values, 1e308, -1e308, 0]))).all()


def test_mostly_one_value_is_scaled_by_the_plain_deviation() -> None:
    np.testing.assert_allclose(robust_scale(np.array([0.0] * 9 + [10.0])), [0, 3])  # variance 10² · 0.1 · 0.9


def test_a_word_among_numbers_is_told_with_its_row() -> None:
    part = NumberPart.fit(column([1, 2, 3]))
    with pytest.raises(UserError, match="'c' holds 'x' in row 2; expected a number"):
        part.apply(column(["1", "x"]))


def test_categories_have_a_place_each_and_rare_ones_share_one() -> None:
    part = CategoryPart.fit(column(["b", "b", "b", "a", "a", "z", None]))
    assert (part.values, part.rare, part.gaps) == (("b", "a"), True, True)
    found = part.apply(column(["b", "a", "z", "never seen", None]))
    np.testing.assert_array_equal(found, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def test_what_training_never_saw_is_all_zeros_without_rare_categories() -> None:
    part = CategoryPart.fit(column(["a", "a", "b", "b"]))
    np.testing.assert_array_equal(part.apply(column(["c", None, "b"])), [[0, 0], [0, 0], [0, 1]])


def test_many_categories_are_pooled() -> None:
    part = CategoryPart.fit(column([f"v{row // 2}" for row in range(10_000)]))
    assert part.width == MAX_KEPT + 1
    assert CategoryPart.fit(column(["a", "b", "c"])).values == ("a", "b", "c")  # all rare: then all have a place


def test_dates_become_a_trend_and_circles() -> None:
    part = DatePart.fit(column(["2024-01-01", "2024-01-02", "2024-01-03", None]))
    assert (part.format, part.cycles, part.gaps) == ("iso", ("year", "week"), True)
    found = part.apply(column(["2024-01-02", None]))
    day, week = 2 * np.pi * 1 / 366, 2 * np.pi * 1 / 7  # the second day of the year, a Tuesday
    np.testing.assert_allclose(found[0], [0, np.sin(day), np.cos(day), np.sin(week), np.cos(week), 0], atol=1e-6)
    np.testing.assert_array_equal(found[1], [0, 0, 0, 0, 0, 1])


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        (["2024-01-31T10:00:00+02:00", "2024-02-01 08:00"], "iso"),
        (["31.1.2024", "1.2.2024"], "%d.%m.%Y"),
        (["31/1/2024", "1/2/2024"], "%d/%m/%Y"),
        (["1/31/2024", "1/2/2024"], "%m/%d/%Y"),
        (["20240131", "20240201"], "%Y%m%d"),
        (["1999", "2001"], "%Y"),
    ],
)
def test_the_first_form_that_fits_all_dates_is_taken(cells: list[str], form: str) -> None:
    part = DatePart.fit(column(cells))
    assert part.format == form
    assert np.isfinite(part.apply(column(cells))).all()


def test_another_form_of_date_is_told_with_its_row() -> None:
    part = DatePart.fit(column(["31.1.2024", "1.2.2024"]))
    with pytest.raises(UserError, match=r"'2024-01-31' in row 2; expected a date like 31.01.2024"):
        part.apply(column(["1.1.2024", "2024-01-31"]))
    with pytest.raises(UserError, match="holds no dates of one form"):
        DatePart.fit(column(["31.1.2024", "2024-01-01"]))
