"""Where the parts of the architecture figure go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas.report.architecture import draw_architecture
from nas.report.layout import LEFT, PITCH, TAP_OFFSET, layout
from nas.report.tables import choice_label
from tests.report.fabricate import fabricate_run


def test_layers_behind_the_deepest_tap_read_do_not_run(tmp_path: Path) -> None:
    plan = layout(fabricate_run(tmp_path, chosen={0: ("carry", ["words"]), 1: ("additive", ["image", "words"])}))
    image, words = plan.streams
    assert [layer.runs for layer in image.layers] == [True, True, False]
    assert [layer.read for layer in image.layers] == [False, True, False]
    assert [layer.read for layer in words.layers] == [True, True, False]
    assert image.y > words.y
    assert image.detail == "map, 1 × 16 × 16"


def test_the_fused_state_gathers_the_modalities(tmp_path: Path) -> None:
    plan = layout(fabricate_run(tmp_path, chosen={0: ("carry", ["words"]), 2: ("additive", ["image", "words"])}))
    assert [node.state_before for node in plan.nodes] == [(), ("words",), ("words",)]
    assert [node.state_after for node in plan.nodes] == [("words",), ("words",), ("image", "words")]
    assert [node.is_idle for node in plan.nodes] == [False, True, False]
    assert plan.output == "8 classes"


def test_a_shallow_encoder_stands_over_the_nodes_that_read_it(tmp_path: Path) -> None:
    # Of four nodes, layerwise lets 0 and 1 read tap 0 of a two-tap encoder, and 2 and 3 its tap 1.
    plan = layout(fabricate_run(tmp_path, {"deep": 4, "flat": 2}, chosen={3: ("additive", ["deep", "flat"])}))
    assert [layer.x for layer in plan.streams[1].layers] == [LEFT, LEFT + 2 * PITCH]


def test_every_wire_leads_forward_and_the_farther_stream_ends_to_the_right(tmp_path: Path) -> None:
    names = {"a": 3, "b": 3, "c": 3, "d": 3, "e": 3}
    plan = layout(fabricate_run(tmp_path, names, chosen={1: ("mlp", list(names))}))
    wires = plan.nodes[1].wires
    assert [wire.modality for wire in wires] == ["e", "d", "c", "b", "a"]
    assert sorted(wires, key=lambda wire: wire.end[0]) == list(wires)
    assert all(wire.start[0] < wire.end[0] for wire in wires)


def test_a_space_that_reads_deep_taps_first_still_leads_forward() -> None:
    choice = {"operation": "additive", "inputs": ["a@2", "b@0"]}
    node = {
        "name": "n",
        "residual": None,
        "choices": [choice],
        "chosen": 0,
        "beliefs": [1.0],
    }
    summary: dict[str, Any] = {
        "architecture": {"nodes": [{"node": "n", **choice}]},
        "depths": {"a": 3, "b": 1},
        "nodes": [node],
        "data": {"task": "regression"},
    }
    plan = layout(summary)
    assert plan.num_columns == 3
    assert plan.nodes[0].x > LEFT + 2 * PITCH + TAP_OFFSET
    assert plan.output == "a number"


def test_a_node_may_read_an_earlier_one(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path, chosen={0: ("additive", ["image", "words"])})
    summary["architecture"]["nodes"][2] = {"node": "fusion2", "operation": "carry", "inputs": ["fusion0"]}
    plan = layout(summary)
    (wire,) = plan.nodes[2].wires
    assert wire.modality is None
    assert plan.nodes[2].state_after == ("image", "words")


def test_an_unknown_tap_is_an_error(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    summary["architecture"]["nodes"][1]["inputs"] = ["image@7"]
    with pytest.raises(IndexError):
        layout(summary)


def with_routes(summary: dict[str, Any]) -> dict[str, Any]:
    """The same with a cheaper route, one modality at depth 0, and a gate that reads both modalities there."""
    nodes = summary["architecture"]["nodes"]
    nothing = {"operation": "none", "inputs": []}
    cheap = [{"operation": "carry", "inputs": ["words@0"]}, *[nothing] * (len(nodes) - 1)]
    found = [{"operation": node["operation"], "inputs": node["inputs"]} for node in nodes]
    gate = {"reads": ["image@0", "words@0"], "routes": [cheap, found]}
    return {**summary, "architecture": {**summary["architecture"], "format_version": 2, "gate": gate}}


def test_a_route_shows_what_it_runs_and_what_the_gate_looks_at(tmp_path: Path) -> None:
    summary = with_routes(fabricate_run(tmp_path))
    cheap, found = layout(summary, 0), layout(summary)
    assert [node.is_idle for node in cheap.nodes] == [False, True, True]
    assert [node.is_idle for node in found.nodes] == [True, False, False]
    image, words = cheap.streams
    assert [(layer.runs, layer.read, layer.gated) for layer in image.layers] == [
        (True, False, True),
        *[(False,) * 3] * 2,
    ]
    assert [(layer.runs, layer.read, layer.gated) for layer in words.layers] == [
        (True, True, True),
        *[(False,) * 3] * 2,
    ]
    assert all(layer.runs for stream in found.streams for layer in stream.layers)
    beliefs = dict(zip(map(choice_label, summary["nodes"][0]["choices"]), summary["nodes"][0]["beliefs"], strict=True))
    assert cheap.nodes[0].belief == beliefs["words alone"]


def test_every_route_is_drawn_under_what_is_known_of_it(tmp_path: Path) -> None:
    summary = with_routes(fabricate_run(tmp_path))
    summary["dynamic"] = {"routes": [{"share": 0.25, "multiply_adds": 36_704.0}, {"share": 0.75, "multiply_adds": 1e6}]}
    figure = draw_architecture(summary, {"image": "#0072b2", "words": "#d55e00"})
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "a gate looks at what is marked so, and picks one of 2 routes for every sample" in texts
    assert [text for text in texts if text.startswith("route")] == [
        "route 0: 25 % of the samples, 36.7 k multiply-adds each",
        "route 1: 75 % of the samples, 1 M multiply-adds each",
    ]
    assert texts.count("head") == 2
    marked = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "D"]
    assert len(marked) == 1 + 2 * 2  # what the sign means, and both taps on both routes
    del summary["dynamic"]
    figure = draw_architecture(summary, {"image": "#0072b2", "words": "#d55e00"})
    assert "route 1" in [text.get_text() for axes in figure.axes for text in axes.texts]
