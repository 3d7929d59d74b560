"""The frames of the animation: the numbers of the records, thinned out evenly, for one search and no other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nas.records import plain
from nas.report import report
from nas.report.animation import animation
from nas.report.numbers import node_titles
from nas.runs.folder import RunFolder
from tests.report.fabricate import fabricate_run
from tests.summaries import write_summary


def test_a_frame_holds_weights_losses_entropy_and_guards_of_one_moment(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    records = [record for record in RunFolder.open(tmp_path).read_metrics() if record["phase"] == "search"]
    found = animation(summary, records)
    assert found is not None
    assert len(found.frames) == 40
    frame, record = found.frames[9], records[9]
    told = dict(zip(found.words, frame["numbers"], strict=True))
    assert told["search step"] == "200"
    assert told["epoch"] == "10"
    assert told["held-out loss"] == f"{record['architecture_loss']:.4g}"
    assert told["entropy at depth 2, nats"] == f"{record['entropy']['fusion2']:.4g}"
    assert told["dominant eigenvalue"] == f"{0.2 + (10 / 40) ** 2:.4g}"
    names = {title: name for name, title in node_titles(summary.search.nodes).items()}
    for node, weights in zip(found.nodes, frame["weights"], strict=True):
        assert node.chosen is not None
        at = next(one for one in summary.search.nodes if one.name == names[node.node]).chosen
        assert at is not None
        assert weights[node.chosen] == pytest.approx(record["mixing_weights"][names[node.node]][at], abs=5e-5)
        assert sum(weights) == pytest.approx(1, abs=1e-3)


def test_what_one_record_lacks_is_a_dash_and_what_all_lack_is_not_told(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)  # whose first record has no loss on the weights split yet
    records = RunFolder.open(tmp_path).read_metrics()
    for record in records:
        record.pop("guards", None)
    found = animation(summary, records)
    assert found is not None
    place = found.words.index("training loss")
    assert found.frames[0]["numbers"][place] == "–"
    assert found.frames[1]["numbers"][place] != "–"
    assert "dominant eigenvalue" not in found.words


def test_a_full_bar_is_the_greatest_weight_of_a_single_choice(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    found = animation(summary, RunFolder.open(tmp_path).read_metrics())
    assert found is not None
    assert found.nodes[0].has_others
    assert found.top == pytest.approx(max(max(node.choice_weights) for node in summary.search.nodes))


@pytest.mark.parametrize(("num_records", "frames"), [(0, None), (1, None), (2, 2), (1000, 160)])
def test_an_animation_has_two_frames_or_more_and_not_too_many(
    tmp_path: Path, num_records: int, frames: int | None
) -> None:
    summary = fabricate_run(tmp_path, num_records=num_records)
    found = animation(summary, RunFolder.open(tmp_path).read_metrics())
    assert (found and len(found.frames)) == frames


def test_labels_and_numbers_on_the_page_are_only_text(tmp_path: Path) -> None:
    bad = "</script><script>alert(1)</script>"
    summary = plain(fabricate_run(tmp_path))
    summary["nodes"][0]["choices"][0]["label"] = bad
    write_summary(tmp_path, summary)
    records = (tmp_path / "metrics.jsonl").read_text().replace('"eigenvalue"', json.dumps(bad))
    (tmp_path / "metrics.jsonl").write_text(records)
    page = report(tmp_path).read_text()
    assert bad not in page
    frames = re.search(r'<script type="application/json" id="animation-frames">(.*?)</script>', page)
    assert frames is not None
    assert len(json.loads(frames[1])["frames"]) == 40
