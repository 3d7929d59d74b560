"""Architectures and spaces in a notebook."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from nas.space.architecture import Architecture, Step
from search_spaces import layerwise

SPACE = layerwise({"sound": 3, "sight": 3}, operations=["additive", "multiplicative"])
FOUND = Architecture(
    "graph",
    (
        Step("first", "multiplicative", ("sound@0", "sight@0")),
        Step("second", "additive", ("first", "sight@2"), "first"),
    ),
    "second",
)


def test_an_architecture_is_drawn_with_an_arrow_for_all_that_is_read() -> None:
    page = FOUND._repr_html_()
    (svg,) = ET.fromstring(f"<div>{page}</div>").iter("{http://www.w3.org/2000/svg}svg")
    boxes = [one.text for one in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert boxes == ["sound@0", "sight@0", "multiplicative", "sight@2", "additive"]
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}line"))) == 2 + 2 + 1
    assert "<td>first, sight@2</td><td>first</td>" in page
    assert repr(FOUND) == f"<Architecture of graph: {FOUND.in_words()}>"


def test_an_architecture_that_reads_nothing_is_nothing() -> None:
    nothing = Architecture("graph", (), None)
    assert nothing._repr_html_().startswith("<p><b>nothing</b></p><table>")
    assert repr(nothing) == "<Architecture of graph: nothing>"


def test_a_space_tells_its_nodes_and_choices() -> None:
    page = SPACE._repr_html_()
    assert f"{SPACE.size():,} architectures of 3 fusion nodes over sound (3 taps), sight (3 taps)" in page
    assert "<td>fusion2</td>" in page
    assert repr(SPACE) == f"<SearchSpace 'layerwise': 3 nodes, {SPACE.size():,} architectures; taps: sound 3, sight 3>"
