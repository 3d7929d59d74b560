"""Where the parts of the architecture figure go."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.report.layout import HEAD, LEFT, NODE_HEIGHT, PITCH, STATE_Y, TAP_OFFSET, Layout, layout
from nas.space.architecture import Architecture, Choice
from search_spaces import dynmm_fusion, graph
from tests.report.fabricate import fabricate_run
from tests.summaries import make_data, make_node, make_search, make_summary


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
    assert [node.state_before for node in plan.nodes] == [(), ("words",)]
    assert [node.state_after for node in plan.nodes] == [("words",), ("image", "words")]
    assert [node.name for node in plan.nodes] == ["fusion0", "fusion2"]
    assert plan.output == "8 classes"


def test_a_shallow_encoder_stands_over_the_nodes_that_read_it(tmp_path: Path) -> None:
    # Of four nodes, layerwise lets 0 and 1 read tap 0 of a two-tap encoder, and 2 and 3 its tap 1.
    plan = layout(fabricate_run(tmp_path, {"deep": 4, "flat": 2}, chosen={3: ("additive", ["deep", "flat"])}))
    assert [layer.x for layer in plan.streams[1].layers] == [LEFT, LEFT + 2 * PITCH]


def test_every_wire_leads_forward_and_the_farther_stream_ends_to_the_right(tmp_path: Path) -> None:
    names = {"a": 3, "b": 3, "c": 3, "d": 3, "e": 3}
    plan = layout(fabricate_run(tmp_path, names, chosen={1: ("mlp", list(names))}))
    wires = plan.nodes[0].wires
    assert [wire.modality for wire in wires] == ["e", "d", "c", "b", "a"]
    assert sorted(wires, key=lambda wire: wire.end[0]) == list(wires)
    assert all(wire.start[0] < wire.end[0] for wire in wires)


def _nested(**choices: Choice) -> Layout:
    depths = {"image": 3, "audio": 3}
    space = graph(depths)
    search = make_search(depths, nodes=tuple(make_node(node.name, node.choices[:3]) for node in space.nodes))
    return layout(make_summary(space.compose(choices), depths, search=search, data=make_data(tuple(depths))))


def test_every_state_that_is_read_has_a_line_of_its_own() -> None:
    plan = _nested(
        step1=Choice("mlp", ("image@0", "audio@2")),
        step2=Choice("mlp_block", ("step1",)),
        final=Choice("additive", ("step1", "step2")),
    )
    lanes = [node.lane for node in plan.nodes]
    assert lanes[-1] == min(lanes) == STATE_Y
    assert len(set(lanes)) == 3
    assert all(lane < plan.node_y - NODE_HEIGHT / 2 for lane in lanes)
    first, second, last = plan.nodes
    assert last.state_after == ("image", "audio")
    for wire, read in zip(last.wires, (first, second), strict=True):
        assert wire.modality is None
        assert wire.start[1] == read.lane
        assert read.x < wire.start[0] <= read.reach < last.x
    assert last.reach == plan.width - HEAD


def test_a_wire_runs_below_the_layers_of_its_stream() -> None:
    (node,) = _nested(final=Choice("mlp", ("image@0", "audio@2"))).nodes
    height = {wire.modality: (wire.start[1], wire.along) for wire in node.wires}
    assert height["image"][1] < height["image"][0] - 0.25  # past two layers
    assert height["audio"][1] == height["audio"][0]


def test_a_space_that_reads_deep_taps_first_still_leads_forward() -> None:
    choice = Choice("additive", ("a@2", "b@0"))
    depths = {"a": 3, "b": 1}
    summary = make_summary(
        Architecture.chain("layerwise", [("n", choice)]),
        depths,
        search=make_search(depths, nodes=(make_node("n", [choice], chosen=0, choice_weights=(1.0,)),)),
        data=make_data(tuple(depths), task="regression"),
    )
    plan = layout(summary)
    assert plan.num_columns == 3
    assert plan.nodes[0].x > LEFT + 2 * PITCH + TAP_OFFSET
    assert plan.output == "a number"


def test_a_node_may_read_an_earlier_one(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path, chosen={0: ("additive", ["image", "words"]), 2: ("carry", ["image"])})
    plan = layout(summary, summary.architecture.changed({"fusion2": Choice("carry", ("fusion0",))}))
    (wire,) = plan.nodes[-1].wires
    assert wire.modality is None
    assert plan.nodes[-1].state_after == ("image", "words")


def test_an_unknown_tap_is_an_error(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    with pytest.raises(IndexError):
        layout(summary, summary.architecture.changed({"fusion1": Choice("carry", ("image@7",))}))


def test_what_is_added_on_the_way_goes_from_one_encoder_into_the_other() -> None:
    space = dynmm_fusion({"image": 3, "audio": 3}, how="squeeze_excitation")
    depths = dict(space.depths)
    search = make_search(depths, nodes=(make_node("joined", space.nodes[0].choices),))
    data = make_data(tuple(depths))
    plan = layout(make_summary(space.at((2,)), depths, search=search, data=data))
    image, audio = plan.streams
    assert [layer.runs for layer in image.layers] == [True, True, True]
    assert [layer.runs for layer in audio.layers] == [True, True, False]
    assert [(one.modality, one.start[1], one.end[1]) for one in plan.sums] == [("audio", audio.y, image.y)] * 2
    assert [one.start[0] for one in plan.sums] == [layer.tap_x for layer in audio.layers[:2]]
    assert all(one.start[0] == one.end[0] for one in plan.sums)
    (node,) = plan.nodes
    assert [wire.start for wire in node.wires] == [(image.layers[2].tap_x, image.y)]
    assert node.modalities == ("image", "audio")
