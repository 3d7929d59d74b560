"""The model card: what is needed to use the network, in words that cannot break the page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas.export.card import to_card
from nas.runs.folder import RunFolder
from nas.space.architecture import Cascading, Gating
from nas.summary import Summary
from tests.summaries import change_row, known
from tests.tiny_runs import dynamic_run, finished_run


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return finished_run(tmp_path_factory).summary


def test_the_card_holds_data_scores_cost_and_provenance(summary: Summary) -> None:
    card = to_card(summary, ["card"], (), "network")
    found = summary.found
    for text in (
        *known(summary.verdict).lines(),
        summary.data.fingerprint,
        *summary.data.class_names,
        f"{100 * found.score.mean:.1f} [",
        f"which scored {100 * found.scores[0]:.1f}.",
        'of the row "found", which scored',
        "trainings from scratch with 2 seeds",
        f"`{summary.provenance.command}`",
        f"torch {summary.provenance.versions['torch']}",
        *summary.in_words.split("; "),
    ):
        assert text in card
    for row in summary.leaderboard:
        assert f"\n| {row.name} |" in card
    assert "fusenas export RUN --format python" in card
    assert "```" not in card


def test_networks_that_are_trained_alone_are_told(summary: Summary) -> None:
    words = f"{summary.in_words}, each trained alone"
    assert f"- {words.rsplit('; ', maxsplit=1)[-1]}\n" in to_card(replace(summary, in_words=words), [], (), "network")


def test_the_card_tells_how_to_load_what_lies_beside_it(summary: Summary) -> None:
    card = to_card(summary, ["card", "onnx", "python"], ("sound", "sight"), "network")
    assert 'load(Path("network.safetensors"))(sound, sight)' in card
    assert '.run(None, {"sound": sound, "sight": sight})' in card
    assert "network.pt2" not in card
    taps = to_card(summary, ["card", "torch"], ("sound_0",), "fusion")
    assert 'torch.export.load("fusion.pt2").module()(sound_0)' in taps


def test_samples_that_lack_a_modality_are_told(summary: Summary) -> None:
    assert "Every modality that is read must be there" in to_card(summary, [], (), "network")
    modalities = {name: replace(one, present_share=0.5) for name, one in summary.data.modalities.items()}
    lacking = replace(summary, data=replace(summary.data, modalities=modalities))
    assert "Samples may lack " in to_card(lacking, [], (), "network")
    assert "in training 20 % of them were shown without each" in to_card(summary, [], (), "network", dropped=0.2)


def test_names_break_neither_table_nor_page(summary: Summary) -> None:
    data = replace(summary.data, class_names=("a|b", "c\n\n# d", "<script>"))
    hostile = change_row(replace(summary, data=data), 1, name="x | y\nz")
    card = to_card(hostile, [], (), "network")
    assert "\n# d" not in card
    assert "<script>" not in card
    (row,) = (line for line in card.splitlines() if line.startswith("| x"))
    assert row.count("|") == next(line for line in card.splitlines() if line.startswith("| found")).count("|")


def test_lines_of_tables_follow_one_another(summary: Summary) -> None:
    card = to_card(summary, [], (), "network")
    assert "\n\n\n" not in card
    assert "| --- |\n|" in card


def test_a_gate_is_told_route_by_route(tmp_path_factory: pytest.TempPathFactory) -> None:
    summary = RunFolder(dynamic_run(tmp_path_factory)).read_summary()
    card = to_card(summary, ["card"], (), "network")
    lines = card.splitlines()
    assert "- a gate on sight@0 picks one route for every sample" in lines
    routes = [line for line in lines if line.startswith("- route")]
    assert [line.split(";")[0] for line in routes] == [
        "- route 0: depth 0: sight alone",
        "- route 1: depth 2: sound + sight",
    ]
    shares = [route.share for route in known(summary.dynamic).routes]
    assert [f"; {100 * share:.0f} % of the test samples, " in line for share, line in zip(shares, routes, strict=True)]
    assert "may skip what is needed" in card


def test_a_cascade_is_told_as_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    summary = RunFolder(dynamic_run(tmp_path_factory)).read_summary()
    gating = summary.architecture.gating
    assert isinstance(gating, Gating)
    cascade = replace(summary.architecture, gating=Cascading(gating.routes))
    card = to_card(replace(summary, architecture=cascade), ["card"], (), "network")
    assert "- a cascade tries one route after another, until one is sure of its answer\n- route 0: " in card
    assert f"; {100 * known(summary.dynamic).routes[0].share:.0f} % of the test samples stop here, after " in card
    assert "it may be sure and wrong" in card
    assert "What the gate" not in card
