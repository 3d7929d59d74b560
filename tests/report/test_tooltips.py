"""What the drawing of an architecture tells when one points at it: numbers of the summary, in a few lines."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from nas.report import report
from nas.report.frame import inline_svg
from nas.report.layout import layout
from nas.report.tooltips import node_facts, tooltips
from nas.summary import Costs, Summary
from tests.report.fabricate import fabricate_run
from tests.summaries import known, write_summary


def _summary(folder: Path, choice_weight: float) -> Summary:
    """A run whose node 1 multiplies with this weight, its runner-up adding with half of the rest."""
    summary = fabricate_run(folder)
    first, node, last = summary.search.nodes
    chosen, labels = known(node.chosen), [choice.label for choice in node.choices]
    choice_weights = [0.0] * len(labels)
    choice_weights[chosen] = choice_weight
    choice_weights[labels.index("image + words")] = 0.5 * (1 - choice_weight)
    choices = list(node.choices)
    choices[chosen] = replace(choices[chosen], formula="W1 x1 ⊙ … ⊙ Wn xn")
    node = replace(node, choice_weights=tuple(choice_weights), choices=tuple(choices))
    return replace(
        summary,
        search=replace(summary.search, nodes=(first, node, last)),
        costs=Costs(encoders={"image@0": 1_500, "image@1": 44_000}, nodes={"fusion1": 1_234}, head=8),
    )


def test_a_node_tells_formula_cost_and_runner_up(tmp_path: Path) -> None:
    summary = _summary(tmp_path, 0.6)
    assert tooltips(summary, layout(summary))["node-0"].splitlines() == [
        "depth 1: image × words",
        "W1 x1 ⊙ … ⊙ Wn xn",
        "where x1 is image@1, x2 is words@1",
        "1.23 k multiply-adds for one sample",
        "weight in the search 60.0 %",
        "runner-up: image + words, weight 20.0 %",
    ]


def test_a_choice_that_is_not_the_heaviest_says_so(tmp_path: Path) -> None:
    summary = _summary(tmp_path, 0.2)
    assert tooltips(summary, layout(summary))["node-0"].endswith("\noutweighed by image + words, weight 40.0 %")


def test_a_layer_tells_whether_it_runs_and_what_it_costs(tmp_path: Path) -> None:
    summary = _summary(tmp_path, 0.6)
    summary = replace(summary, architecture=summary.architecture.changed({"fusion2": None}))
    found = tooltips(summary, layout(summary))
    assert found["layer-0-0"] == "image, layer 0: run for a deeper tap\n1.5 k multiply-adds for one sample up to here"
    assert found["layer-0-1"] == "image, layer 1: its tap is read\n44 k multiply-adds for one sample up to here"
    assert found["layer-0-2"] == "image, layer 2: not run"
    assert found["layer-1-0"] == "words, layer 0: run for a deeper tap"  # whose cost is not known


def test_what_an_older_run_does_not_know_is_left_out(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    summary = replace(summary, search=replace(summary.search, nodes=()))
    assert tooltips(summary, layout(summary))["node-0"].startswith("fusion1: ")
    assert [facts.rival for facts in node_facts(summary)] == ["", ""]


def test_a_tip_is_text_and_can_be_reached_by_keyboard() -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="72pt"><g id="node-0"/><g id="other"/></svg>'
    root = ET.fromstring(inline_svg(svg, "drawing", "A drawing.", {"node-0": "<script>x</script>\nbelief"}))
    part, other = root.findall("g")
    assert root.get("role") == "group"
    assert part.attrib == {"id": "drawing-node-0", "tabindex": "0", "role": "img"}
    assert [title.text for title in part] == ["<script>x</script>\nbelief"]
    assert other.attrib == {"id": "drawing-other"}
    assert ET.fromstring(inline_svg(svg, "drawing", "A drawing.", {})).get("role") == "img"


def test_every_tip_has_its_place_in_the_drawing(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path, {"image": 3, "words": 2})
    page = report(tmp_path).read_text()
    for name in tooltips(summary, layout(summary)):
        assert re.search(rf'<g id="architecture-{name}" tabindex="0" role="img">\s*<title>', page)


@pytest.mark.parametrize("metric", ["accuracy", "mae"])
def test_only_scripts_of_ours_may_run(tmp_path: Path, metric: str) -> None:
    fabricate_run(tmp_path, metric=metric)
    page = report(tmp_path).read_text()
    allowed = re.search(r"script-src ([^\"]*)\"", page)
    assert allowed is not None
    scripts = re.findall(r"<script type=\"module\">(.*?)</script>", page, flags=re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert allowed[1].split() == [f"'sha256-{one}'" for one in hashes]
    assert len(scripts) == page.count("<script") - page.count('<script type="application/json"')


def test_the_numbers_of_the_drawing_lie_beside_it(tmp_path: Path) -> None:
    summary = _summary(tmp_path, 0.6)
    write_summary(tmp_path, summary)
    report(tmp_path)
    table = (tmp_path / "figures" / "architecture.csv").read_text().splitlines()
    assert table[0] == "node,operation,inputs,formula,multiply_adds,choice_weight,rival,rival_weight"
    assert table[1] == "fusion1,multiplicative,image@1 words@1,W1 x1 ⊙ … ⊙ Wn xn,1234,0.6,image + words,0.2"
