"""Which columns form which modality, and names that can be names of modalities."""

from __future__ import annotations

from typing import Any

import pytest

from nas import UserError
from nas.data.from_arrays import check_name
from nas.data.tables.columns import Column
from nas.data.tables.groups import group, modality_name

KINDS = {
    "picture": "image",
    "title": "text",
    "notes": "text",
    "year": "number",
    "author": "category",
    "sold": "date",
    "id": "ignore",
    "price": "target",
    "split": "split",
}

COLUMNS = [Column(name=name, kind=kind, reason="so") for name, kind in KINDS.items()]


def test_numbers_are_together_and_everything_else_alone() -> None:
    assert group(COLUMNS, None) == {
        "picture": ("picture",),
        "title": ("title",),
        "notes": ("notes",),
        "table": ("year", "author", "sold"),
    }


@pytest.mark.parametrize(
    "named",
    [
        "meta=year+author, picture,words=title+notes",
        ["meta=year+author", "picture", "words=title+notes"],
        {"meta": "year+author", "picture": "picture", "words": ["title", "notes"]},
    ],
)
def test_groups_are_named_in_three_forms(named: Any) -> None:
    assert group(COLUMNS, named) == {"meta": ("year", "author"), "picture": ("picture",), "words": ("title", "notes")}


def test_table_is_all_that_is_not_named_elsewhere() -> None:
    assert group(COLUMNS, "when=sold,table") == {"when": ("sold",), "table": ("year", "author")}
    assert group(COLUMNS, "rest=table,title")["rest"] == ("year", "author", "sold")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("picture,titel", "unknown column in modalities: 'titel'; did you mean 'title'"),
        ("a=title+notes,title", "column 'title' is in two modalities, a and title"),
        ("picture,picture", "modality 'picture' is named twice"),
        ("picture,", "hold an empty name"),
        ("a=,picture", "hold an empty name"),
        ("a=year+,picture", "hold an empty name"),
        ("meta=year+title,picture", r"joins 'year' \(number\) and 'title' \(text\).*--columns title:category"),
        ("two=picture+title,year", r"joins 'picture' \(image\) and 'title' \(text\)"),
        ("id,picture", r"column 'id' of modality 'id' is left out \(so\); say --columns id:number"),
        ("price,picture", "column 'price' is the target"),
        ("split,picture", "column 'split' is the split"),
        ("a b=year,picture", "modality name 'a b' cannot be used"),
        ("picture", "fusion needs two or more modalities, but these columns give picture"),
        ("a=nosuch*,picture", r"no column of modality 'a' is like 'nosuch\*'; free are .*year"),
        ("a=y*,b=*ear,picture", "column 'year' is in two modalities, a and b"),
        ("y*,picture", r"modality name 'y\*' cannot be used"),
    ],
)
def test_malformed_groups_are_told(named: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        group(COLUMNS, named)


def test_a_star_stands_for_anything_but_columns_with_a_part_of_their_own() -> None:
    names = ("acc_x", "acc_y", "acc*", "gyro_x", "x.acc")
    columns = [
        *(Column(name=name, kind="number", reason="so") for name in names),
        Column(name="acc_id", kind="ignore", reason="so"),
        Column(name="acc_label", kind="target", reason="so"),
    ]
    assert group(columns, "acc=acc_*,rest=gyro*+x.*") == {"acc": ("acc_x", "acc_y"), "rest": ("gyro_x", "x.acc")}
    assert group(columns, "one=acc_y,rest=*_*") == {"one": ("acc_y",), "rest": ("acc_x", "gyro_x")}
    assert group(columns, {"every": ["*x"], "acc": "acc*"}) == {"every": ("acc_x", "gyro_x"), "acc": ("acc*",)}


def test_two_columns_of_pictures_are_two_modalities() -> None:
    both = [Column(name=name, kind="image", reason="so") for name in ("a", "b")]
    assert list(group(both, None)) == ["a", "b"]
    with pytest.raises(UserError, match="'c' joins 2 columns of kind image"):
        group(both, "c=a+b")


def test_one_modality_is_told_with_what_was_inferred() -> None:
    columns = [Column(name="x", kind="number", reason="so"), Column(name="id", kind="ignore", reason="an id")]
    with pytest.raises(
        UserError, match=r"give table \(x: number, id: left out, an id\); overrule kinds with --columns"
    ):
        group(columns, None)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("title", "title"),
        ("Produkt-Name (EUR)", "Produkt_Name_EUR"),
        ("2nd picture", "column_2nd_picture"),
        ("fusion", "column_fusion"),
        ("naïve ﬁeld", "naïve_field"),
        ("名前", "名前"),
        ("a__b", "a_b"),
        ("!!!", "column"),
        ("keys", "keys_input"),
        ("training", "training_input"),
        ("table", "table_2"),
        ("²", "column_2"),
        ("__class__", "class"),
        ("x" * 900, "x" * 900),
        ("\x1b[31m", "column_31m"),
        ("<script>", "script"),
    ],
)
def test_names_of_columns_become_names_of_modalities(column: str, expected: str) -> None:
    name = modality_name(column, ("table",))
    assert name == expected
    check_name(name)
