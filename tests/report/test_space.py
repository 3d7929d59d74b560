"""The picture of the search space: the same wires as the space itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas.report.space import draw_space, space_graph
from nas.report.style import figure_style
from nas.space.architecture import Choice
from nas.space.search_space import SearchSpace
from nas.summary import Search
from search_spaces import layerwise
from tests.summaries import make_node, make_search


def described(space: SearchSpace) -> Search:
    """What a summary says of a space."""
    nodes = tuple(make_node(node.name, node.choices, node.residual, title=node.title) for node in space.nodes)
    return make_search(dict(space.depths), nodes=nodes)


@pytest.mark.parametrize("depths", [{"image": 3, "audio": 3}, {"image": 4, "audio": 1, "words": 2}])
def test_it_has_the_wires_of_the_space(depths: dict[str, int]) -> None:
    space = layerwise(depths)
    drawn, own = space_graph(described(space)), space.graph()
    assert {*drawn.nodes} == {*own.nodes}
    assert dict(drawn.edges) == dict(own.edges)
    places = [place for _, place in drawn.nodes(data="at")]
    assert len(set(places)) == len(places)
    with figure_style():
        draw_space(drawn, dict.fromkeys(depths, "black")).draw_without_rendering()


def test_an_input_that_is_nowhere_is_told() -> None:
    search = described(layerwise({"image": 2, "audio": 2}))
    nowhere = make_node("fusion1", [Choice("carry", ("smell@1",))])
    with pytest.raises(ValueError, match="no tap or node is called 'smell@1'"):
        space_graph(replace(search, nodes=(search.nodes[0], nowhere)))
