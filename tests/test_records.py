"""Dataclasses as plain values: there and back is the identity, and every damaged field is refused by its path."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import UserError
from nas.fields import Whole
from nas.records import checked, from_plain, inline, plain
from nas.space.architecture import Architecture, Choice


@dataclass(frozen=True, kw_only=True)
class Size:
    """Two numbers that stand beside others."""

    wide: float
    tall: float


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One of every simple kind."""

    name: str
    kind: Literal["oak", "elm"]
    age: int = checked(Whole(0, 1000))
    is_green: bool = True
    weight: float
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One of every kind that holds others."""

    size: Size = inline()
    leaf: Leaf
    spare: Leaf | None
    leaves: tuple[Leaf, ...] = checked(fewest=1)
    places: Mapping[str, tuple[float, float]]
    target: str | tuple[float, ...]
    counts: Mapping[str, int] = checked(Whole(0, 9))
    found: Architecture


_FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.just(math.nan)
_TEXTS = st.text(max_size=8)
_LEAVES = st.builds(
    Leaf,
    name=_TEXTS,
    kind=st.sampled_from(["oak", "elm"]),
    age=st.integers(0, 1000),
    is_green=st.booleans(),
    weight=_FLOATS,
    note=st.none() | _TEXTS,
)
_TREES = st.builds(
    Tree,
    size=st.builds(Size, wide=_FLOATS, tall=_FLOATS),
    leaf=_LEAVES,
    spare=st.none() | _LEAVES,
    leaves=st.lists(_LEAVES, min_size=1, max_size=3).map(tuple),
    places=st.dictionaries(_TEXTS, st.tuples(_FLOATS, _FLOATS), max_size=3),
    target=_TEXTS | st.lists(_FLOATS, max_size=3).map(tuple),
    counts=st.dictionaries(_TEXTS, st.integers(0, 9), max_size=3),
    found=st.just(Architecture.chain("layerwise", [("fusion0", Choice("carry", ("image@0",)))])),
)

LEAF = Leaf(name="a", kind="oak", age=3, weight=0.5)
TREE = Tree(
    size=Size(wide=1.0, tall=2.0),
    leaf=LEAF,
    spare=LEAF,
    leaves=(LEAF, LEAF),
    places={"here": (0.0, 1.0)},
    target=(1.0, 2.0),
    counts={"all": 2},
    found=Architecture.chain("layerwise", [("fusion0", Choice("carry", ("image@0",)))]),
)


@given(_TREES)
def test_there_and_back_is_the_identity(tree: Tree) -> None:
    text = json.dumps(plain(tree), allow_nan=False)
    read = from_plain(Tree, json.loads(text))
    # NaN is no equal of itself: `repr` tells floats to their last digit, and types apart.
    assert repr(read) == repr(tree)
    assert json.dumps(plain(read), allow_nan=False) == text


def test_what_is_inline_stands_beside_the_others_and_what_is_missing_has_its_default() -> None:
    values = plain(TREE)
    assert (values["wide"], values["tall"]) == (1.0, 2.0)
    assert "size" not in values
    del values["leaf"]["note"], values["leaf"]["is_green"]
    assert from_plain(Tree, {**values, "unknown": 3}) == TREE


def test_numbers_that_are_not_finite_are_null_and_null_is_not_a_number() -> None:
    assert plain(Size(wide=math.inf, tall=-math.inf)) == plain(Size(wide=math.nan, tall=math.nan))
    assert plain(math.nan) is None
    assert math.isnan(from_plain(Size, {"wide": None, "tall": 2}).wide)
    assert plain((np.float32(0.5), np.int64(3), np.arange(2), Path("a/b"))) == [0.5, 3, [0, 1], "a/b"]


def _paths(values: Any, path: str = "") -> list[tuple[tuple[Any, ...], str]]:
    """The way to every field below some values, and the name of its path."""
    found: list[tuple[tuple[Any, ...], str]] = []
    entries = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in entries:
        is_field = isinstance(key, str) and path.rsplit(".", 1)[-1] not in ("places", "counts")
        own = (f"{path}.{key}" if path else str(key)) if is_field else f"{path}[{key!r}]"
        found += [((key,), own), *(((key, *way), name) for way, name in _paths(value, own))]
    return found


DAMAGES: tuple[Any, ...] = ({"x": object}, [[[]]], 10**400, "\0" * 200_000)
WAYS = [(way, path) for way, path in _paths(plain(TREE)) if not path.startswith("found.")]


@pytest.mark.parametrize("damage", DAMAGES, ids=["table", "list", "number", "text"])
@pytest.mark.parametrize(("way", "path"), WAYS)
def test_every_single_damaged_field_is_refused_by_its_path(way: tuple[Any, ...], path: str, damage: Any) -> None:
    values = plain(TREE)
    inner = values
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = damage
    with pytest.raises(UserError) as caught:
        from_plain(Tree, values)
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"leaf": {"name": "a"}}, "leaf.kind is missing"),
        ({"leaves": []}, "leaves must be a list of 1 to 1000000 entries, got []"),
        (
            {"leaf": {**plain(LEAF), "age": 1001}},
            "leaf.age must be 0 or more, at most 1000, and a whole number, got",
        ),
        ({"leaf": {**plain(LEAF), "age": True}}, "leaf.age must be"),
        ({"leaf": {**plain(LEAF), "age": 1.0}}, "leaf.age must be"),
        ({"leaf": {**plain(LEAF), "is_green": 1}}, "leaf.is_green must be true or false, got 1"),
        ({"leaf": {**plain(LEAF), "weight": "1"}}, "leaf.weight must be a number, got '1'"),
        ({"leaf": {**plain(LEAF), "kind": "ash"}}, "leaf.kind must be one of oak, elm, got 'ash'"),
        ({"places": {"here": [1.0]}}, "places['here'] must be a list of 2"),
        ({"counts": {"all": 10}}, "counts['all'] must be 0 or more, at most 9"),
        ({"target": {}}, "target must be a list"),
        ({"found": {"format_version": 1, "space": 3, "nodes": []}}, "found: architecture lacks or garbles"),
        ({"wide": []}, "wide must be a number"),
    ],
)
def test_a_refusal_tells_what_was_expected_and_what_was_given(damage: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        from_plain(Tree, {**plain(TREE), **damage})
    assert str(caught.value).startswith(message)


def test_what_is_no_table_at_all_is_refused() -> None:
    with pytest.raises(UserError, match=r"it must be a table, got \[3\]"):
        from_plain(Tree, [3])


def test_what_json_cannot_hold_is_an_error() -> None:
    with pytest.raises(TypeError, match="object cannot be written as JSON"):
        plain({"a": object()})
