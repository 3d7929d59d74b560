"""The architecture as a graph, and both files that it is written to."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import networkx as nx

from nas.export.graph import architecture_graph, to_dot, to_graphml, to_svg
from nas.space.architecture import Architecture, Choice, Step
from nas.summary import Summary
from tests.helpers import dynamic
from tests.summaries import make_summary

_Step = tuple[str, Sequence[str]]


DEPTHS = {"image": 3, "words": 3}


def _summary(*steps: _Step, chained: bool = True) -> Summary:
    """What the graph is made of: an operation and its inputs for every node, one after another."""
    names = [f"fusion{index}" for index in range(len(steps))]
    made = [
        Step(name, operation, tuple(inputs), names[index - 1] if chained and index else None)
        for index, (name, (operation, inputs)) in enumerate(zip(names, steps, strict=True))
    ]
    return make_summary(Architecture("layerwise", tuple(made), names[-1]), DEPTHS)


_TWO_STEPS = _summary(("none", ()), ("multiplicative", ("image@1", "words@1")), ("additive", ("image@2", "words@2")))


def _edges(summary: Summary) -> set[tuple[str, str, str]]:
    return {(source, target, kind) for source, target, kind in architecture_graph(summary).edges(data="kind")}


def test_encoders_nodes_and_output_are_joined_as_the_network_runs() -> None:
    graph = architecture_graph(_TWO_STEPS)
    assert dict(graph.nodes(data="label")) == {
        **{f"{name}@{depth}": f"{name}, depth {depth}" for name in ("image", "words") for depth in range(3)},
        "fusion1": "image × words",
        "fusion2": "image + words",
        "output": "output",
    }
    assert {kind for _, kind in graph.nodes(data="kind")} == {"tap", "fusion", "output"}
    assert graph.nodes["fusion1"]["operation"] == "multiplicative"
    assert _edges(_TWO_STEPS) == {
        *((f"{name}@{depth}", f"{name}@{depth + 1}", "encoder") for name in ("image", "words") for depth in (0, 1)),
        *((f"{name}@{depth}", f"fusion{depth}", "tap") for name in ("image", "words") for depth in (1, 2)),
        ("fusion1", "fusion2", "residual"),
        ("fusion2", "output", "head"),
    }
    assert graph.graph["in_words"] == "depth 1: image × words; depth 2: image + words"


def test_encoders_end_where_they_are_last_read_and_idle_nodes_are_left_out() -> None:
    summary = _summary(("carry", ("image@0",)), ("none", ()), ("none", ()))
    assert set(architecture_graph(summary)) == {"image@0", "fusion0", "output"}
    assert _edges(summary) == {("image@0", "fusion0", "tap"), ("fusion0", "output", "head")}


def test_the_state_passes_by_an_idle_node() -> None:
    summary = _summary(("carry", ("image@0",)), ("none", ()), ("carry", ("words@0",)))
    assert ("fusion0", "fusion2", "residual") in _edges(summary)


def test_an_architecture_that_reads_nothing_is_its_output_alone() -> None:
    graph = architecture_graph(_summary(("none", ()), ("none", ())))
    assert list(graph) == ["output"]
    assert not graph.edges


def test_a_node_may_read_an_earlier_one() -> None:
    summary = _summary(("carry", ("image@0",)), ("additive", ("fusion0", "words@0")), chained=False)
    assert _edges(summary) == {
        ("image@0", "fusion0", "tap"),
        ("fusion0", "fusion1", "tap"),
        ("words@0", "fusion1", "tap"),
        ("fusion1", "output", "head"),
    }


def test_a_node_that_reads_an_idle_one_is_idle_itself() -> None:
    # So the network has it: an operation runs only if all that it reads is there.
    summary = _summary(
        ("none", ()), ("additive", ("fusion0", "words@0")), ("additive", ("fusion1", "words@0")), chained=False
    )
    assert set(architecture_graph(summary)) == {"output"}


def test_graphml_there_and_back_is_the_same_graph() -> None:
    written = architecture_graph(_TWO_STEPS)
    read = nx.read_graphml(io.BytesIO(to_graphml(_TWO_STEPS)))
    assert dict(read.nodes(data=True)) == dict(written.nodes(data=True))
    assert {(a, b): values for a, b, values in read.edges(data=True)} == {
        (a, b): values for a, b, values in written.edges(data=True)
    }
    assert read.graph.items() >= written.graph.items()
    assert read.is_directed()


_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_NODE = re.compile(rf"  {_QUOTED} \[label={_QUOTED}, shape=(ellipse|box|doublecircle)\];")
_EDGE = re.compile(rf"  {_QUOTED} -> {_QUOTED} \[style=(solid|dashed)\];")


def _read_dot(text: str) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Labels of nodes, and edges, of text of which every line must be understood."""
    first, second, *body, last = text.splitlines()
    assert (first, second, last) == ("digraph architecture {", "  rankdir=LR;", "}")
    nodes, edges = {}, set()
    for line in body:
        if found := _NODE.fullmatch(line):
            nodes[_plain(found[1])] = _plain(found[2])
        else:
            found = _EDGE.fullmatch(line)
            assert found, line
            edges.add((_plain(found[1]), _plain(found[2])))
    return nodes, edges


def _plain(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted)


def test_dot_holds_the_same_graph() -> None:
    graph = architecture_graph(_TWO_STEPS)
    nodes, edges = _read_dot(to_dot(_TWO_STEPS))
    assert nodes == dict(graph.nodes(data="label"))
    assert edges == set(graph.edges)


def test_dot_escapes_quotes_and_backslashes() -> None:
    odd = 'say "hi" \\'
    summary = _summary(("additive", (f"{odd}@0", "words@0")))
    nodes, edges = _read_dot(to_dot(summary))
    assert nodes[f"{odd}@0"] == f"{odd}, depth 0"
    assert nodes["fusion0"] == f"{odd} + words"
    assert (f"{odd}@0", "fusion0") in edges


def _dynamic(*reads: str) -> Summary:
    carry, join = Choice("carry", ("image@0",)), Choice("additive", ("image@1", "words@1"))
    choices = [[carry], [carry, join], [Choice("multiplicative", ("image@0", "words@0")), join]]
    routes = [Architecture.chain("layerwise", [(f"fusion{n}", c) for n, c in enumerate(some)]) for some in choices]
    return make_summary(dynamic(routes, reads), DEPTHS)


GATED = _dynamic("image@0", "words@0")


def test_routes_share_what_they_have_in_common_and_bear_their_numbers() -> None:
    graph = architecture_graph(GATED)
    carry, product = "fusion0:carry__image_0", "fusion0:multiplicative__image_0__words_0"
    assert {name: values.get("routes") for name, values in graph.nodes(data=True) if values["kind"] == "fusion"} == {
        carry: "0, 1",
        product: "2",
        "fusion1": "1, 2",
    }
    assert {(a, b): routes for a, b, routes in graph.edges(data="routes") if routes} == {
        ("image@0", carry): "0, 1",
        (carry, "output"): "0",
        ("image@1", "fusion1"): "1, 2",
        ("words@1", "fusion1"): "1, 2",
        (carry, "fusion1"): "1",
        ("fusion1", "output"): "1, 2",
        ("image@0", product): "2",
        ("words@0", product): "2",
        (product, "fusion1"): "2",
    }
    assert set(graph.predecessors("gate")) == {"image@0", "words@0"}
    assert graph.nodes["gate"]["label"] == "gate: one of 3 routes"
    read = nx.read_graphml(io.BytesIO(to_graphml(GATED)))
    assert dict(read.nodes(data=True)) == dict(graph.nodes(data=True))
    assert '"image@0" -> "gate" [style=dotted];' in to_dot(GATED)
    assert f'"{product}" -> "fusion1" [style=solid, label="2"];' in to_dot(GATED)


def test_in_a_cascade_a_question_stands_behind_every_route_but_the_last() -> None:
    told = _dynamic()
    graph = architecture_graph(told)
    assert graph.nodes["sure0"] == {"kind": "gate", "label": "sure of route 0? if not, route 1"}
    assert "gate" not in graph
    of_kind = {kind: [(a, b) for a, b, k in graph.edges(data="kind") if k == kind] for kind in ("gate", "head")}
    assert of_kind["gate"] == [("sure0", "sure1")]
    assert set(of_kind["head"]) == {
        ("fusion0:carry__image_0", "sure0"),
        ("fusion1", "sure1"),
        ("fusion1", "output"),
        ("sure0", "output"),
        ("sure1", "output"),
    }
    assert graph.edges["fusion1", "output"]["routes"] == "2"
    read = nx.read_graphml(io.BytesIO(to_graphml(told)))
    assert dict(read.nodes(data=True)) == dict(graph.nodes(data=True))
    assert '"sure0" -> "sure1" [style=dotted];' in to_dot(told)


def test_a_constant_that_reads_nothing_is_drawn_too() -> None:
    summary = _summary(("none", ()), ("none", ()))
    assert summary.architecture.steps == ()
    assert b"</svg>" in to_svg(summary)
    assert "output" in architecture_graph(summary)
    assert not architecture_graph(summary).in_edges("output")
