"""Options of a space in one text with its name: read by type, recorded, and refused in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal

import pytest

import nas
from nas.errors import UserError
from nas.pipeline.search import make_space
from nas.space.architecture import Architecture, Choice
from nas.space.node import FusionNode
from nas.space.options import known_options, read_space, write_space
from nas.space.search_space import Reference, SearchSpace
from search_spaces import OPERATIONS
from tests.tiny_runs import as_data, tiny_arrays, tiny_search


def toy(
    depths: Mapping[str, int],
    *,
    operations: Sequence[str] | None = None,
    cells: int = 2,
    rate: float = 0.5,
    shared: bool = False,
    kind: str | None = None,
    experts: Sequence[str] = (),
) -> SearchSpace:
    """As many nodes as there are cells."""
    taps = tuple(f"{name}@0" for name in depths)
    choices = (Choice("none"), *(Choice(name, taps) for name in operations or ("additive",)))
    nodes = tuple(FusionNode(f"cell{number}", choices) for number in range(cells))
    late = Architecture.chain("toy", [(nodes[-1].name, Choice("additive", taps))])
    return SearchSpace("toy", dict(depths), nodes, OPERATIONS, (Reference("late fusion", "late", late),), late)


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("toy", "tests.space.test_options:toy", "fusenas.spaces")
    monkeypatch.setattr("nas.space.search_space.entry_points", lambda group: [entry] if group == entry.group else [])


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("toy", {}),
        ("toy:cells=3", {"cells": 3}),
        ("toy:cells=3,rate=0.25,shared=true,kind=a", {"cells": 3, "rate": 0.25, "shared": True, "kind": "a"}),
        ("toy:experts=text,text+image,cells=1", {"experts": ("text", "text+image"), "cells": 1}),
    ],
)
def test_options_are_read_by_their_types_and_written_back(text: str, options: dict[str, Any]) -> None:
    builder, found = read_space(text)
    assert (builder, found) == (toy, options)
    assert read_space(write_space(toy({"a": 1, "b": 1}).with_options(**found))) == (toy, options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("toi", "unknown space 'toi'; did you mean 'toy'"),
        ("toy:cell=3", r"has no option 'cell'; its options and their defaults: cells=2, rate=0.5, shared=false, kind="),
        ("toy:3", "has no option '3'"),
        ("toy:operations=mlp", "has no option 'operations'"),
        ("toy:cells=two", "option cells of space 'toy' must be a whole number, got 'two'"),
        ("toy:cells=2,cells=3", "option cells of space .toy. is given twice"),
        ("toy:shared=yes", "option shared of space 'toy' must be true or false, got 'yes'"),
    ],
)
def test_mistakes_are_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_space(text)


def test_the_options_of_a_space_are_those_of_its_builder_but_for_those_of_a_run() -> None:
    assert {name: kind for name, (kind, _) in known_options(toy).items()} == {
        "cells": int,
        "rate": float,
        "shared": bool,
        "kind": str,
        "experts": Sequence,
    }


def test_what_is_asked_for_is_recorded_in_the_space_and_in_all_of_its_architectures() -> None:
    space = make_space("toy:cells=3", as_data(tiny_arrays()), operations=["additive", "mlp"])
    assert [node.name for node in space.nodes] == ["cell0", "cell1", "cell2"]
    assert space.options == space.references[0].architecture.options == (("cells", 3),)
    assert {one.options for one in space.enumerate()} == {space.options}
    assert space.warm_up is not None
    space.validate(space.warm_up)


def test_a_run_records_the_options_and_is_retrained_by_them(tmp_path: Path) -> None:
    data = as_data(tiny_arrays())
    found = tiny_search(data, space="toy:cells=1", operations=None, out=tmp_path / "run")
    assert found.architecture.options == (("cells", 1),)
    again = nas.load_run(tmp_path / "run")
    assert again.config.search.space == "toy:cells=1"
    assert again.architecture == found.architecture
    assert nas.retrain(tmp_path / "run", data=data, out=tmp_path / "again").architecture == found.architecture
    with pytest.raises(UserError, match="space"):
        tiny_search(data, space="toy:cells=2", operations=None, out=tmp_path / "run", resume=True)


def test_what_cannot_be_read_is_no_option_and_breaks_nothing() -> None:
    def strange(  # type: ignore[no-untyped-def]
        depths: Mapping[str, int], *, way: Literal["a", "b"] = "a", nodes=2, given: dict[str, int] | None = None
    ):
        """Never built."""

    assert known_options(strange) == {"nodes": (int, 2)}
