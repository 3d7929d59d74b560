"""The whole report: its files, its page, and its manners towards damaged runs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.image import imread

from nas.errors import UserError
from nas.evaluation.leaderboard import leaderboard
from nas.network.fusion_network import FusionNetwork
from nas.records import plain
from nas.report import report
from nas.retraining.baselines import Contestant
from nas.retraining.retrain import Entry, Judged
from nas.summary import Compromise, RowKind
from search_spaces import layerwise
from tests.report.fabricate import fabricate_run
from tests.summaries import change_row, known, spread, write_summary

FIGURES = {
    "architecture",
    "leaderboard",
    "contributions",
    "mistakes",
    "overfitting",
    "space",
    "mixing",
    "cost",
    "progress",
    "guards",
}
VOID = {"meta", "link", "br", "img", "hr", "input"}


class _Reader(HTMLParser):
    """Collects tags and addresses, and checks that every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.addresses += [values[key] or "" for key in ("src", "href", "xlink:href", "action") if key in values]
        self.ids += [values["id"] or ""] if "id" in values else []
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("usual")
    fabricate_run(run)
    return report(run)


def test_every_figure_comes_as_svg_png_and_numbers(usual: Path) -> None:
    assert usual.name == "report.html"
    figures = usual.parent / "figures"
    assert {file.name for file in figures.iterdir()} == {f"{n}.{end}" for n in FIGURES for end in ("svg", "png", "csv")}
    for name in FIGURES:
        root = ET.fromstring((figures / f"{name}.svg").read_text())
        assert root.tag.endswith("svg")
        height, width, _ = imread(figures / f"{name}.png").shape
        assert width > 1200
        assert height > 500
        assert (figures / f"{name}.csv").read_text().count("\n") > 2


def test_the_same_run_gives_the_same_svg(usual: Path, tmp_path: Path) -> None:
    again = report(usual.parent, tmp_path / "elsewhere")
    assert again.parent == tmp_path / "elsewhere"
    for name in FIGURES:
        one, other = (path.parent / "figures" / f"{name}.svg" for path in (usual, again))
        assert one.read_bytes() == other.read_bytes()


def test_the_page_asks_the_network_for_nothing(usual: Path) -> None:
    page = usual.read_text()
    reader = _Reader(page)
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in reader.addresses)
    assert not {"link", "iframe", "img", "object"} & set(reader.tags)
    assert not re.search(r"url\((?!#)|@import", page)
    assert "http" not in page.replace("http-equiv", "")


def test_the_page_tells_the_result_first_and_in_full(usual: Path) -> None:
    page = usual.read_text()
    reader = _Reader(page)
    assert reader.tags.count("h1") == 1
    assert reader.tags.count("svg") == len(FIGURES)
    assert len(re.findall(r"<svg [^>]*aria-label=\"[^\"]{20,}\"", page)) == len(FIGURES)
    assert page.index("points higher than image alone") < page.index("<svg")
    for words in (
        "Repeat it",
        "fusenas search emoji --seed 0",
        "torch 2.6.0",
        "found is better by",
        "late fusion",
        "scope=",
    ):
        assert words in page
    assert {"header", "main", "footer", "table", "caption", "thead", "th"} <= set(reader.tags)
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page


def test_the_pareto_set_of_a_search_has_a_table_and_without_one_there_is_none(usual: Path, tmp_path: Path) -> None:
    assert "What else there was to choose" not in usual.read_text()
    summary = fabricate_run(tmp_path)
    point = Compromise(architecture=summary.architecture, in_words="depth 0: <nothing>", loss=0.69314, multiply_adds=24)
    other = replace(point, in_words="depth 0: image + audio", loss=0.4, multiply_adds=12_300)
    write_summary(tmp_path, replace(summary, search=replace(summary.search, pareto=(point, other))))
    page = report(tmp_path).read_text()
    _Reader(page)
    assert '<th scope="row">depth 0: &lt;nothing&gt;</th><td>0.6931</td><td>24</td>' in page
    assert '<th scope="row">depth 0: image + audio</th><td>0.4</td><td>12.3 k</td>' in page


def test_no_id_is_taken_twice_and_every_reference_leads_somewhere(usual: Path) -> None:
    page = usual.read_text()
    reader = _Reader(page)
    assert len(reader.ids) == len(set(reader.ids))
    inner = [address[1:] for address in reader.addresses if address.startswith("#")]
    assert set(inner + re.findall(r"url\(#([^)]+)\)", page)) <= set(reader.ids)


def test_hostile_names_are_escaped_everywhere(tmp_path: Path) -> None:
    bad = '<script>alert("x")</script>'
    summary = plain(fabricate_run(tmp_path, {bad: 2, "$\\frac{1}$--><b>": 2}))
    for key in ("command", "hardware", "strategy", "device", "started_at", "commit"):
        summary[key] = bad
    summary["verdict"] |= {"headline": bad, "sentences": ["--></style>" + bad]}
    summary["data"] |= {"name": bad, "fingerprint": bad, "class_names": [bad] * 8}
    summary["versions"] = {bad: bad}
    summary["leaderboard"][1] |= {"name": bad, "in_words": bad}
    write_summary(tmp_path, summary)
    page = report(tmp_path).read_text()
    reader = _Reader(page)
    assert reader.tags.count("script") == page.count("'sha256-") + page.count('type="application/json"')
    assert page.count('type="application/json"') == 1
    assert reader.tags.count("b") == 1  # our own
    assert bad in reader.text


@pytest.mark.parametrize(
    ("depths", "options"),
    [
        ({"image": 4, "audio": 4, "a modality with quite a long name": 2, "skeleton": 3}, {}),
        ({"rna": 3, "atac": 3}, {"metric": "mae", "task": "regression"}),
        ({"a": 2, "b": 2}, {"metric": "micro_f1", "task": "multilabel", "num_records": 1}),
        ({"a": 1, "b": 1}, {"num_records": 0}),
        ({"日本": 2, "Ελλάδα": 2}, {}),
    ],
)
def test_other_runs_give_reports_too(tmp_path: Path, depths: dict[str, int], options: dict[str, Any]) -> None:
    fabricate_run(tmp_path, depths, **options)
    page = report(tmp_path).read_text()
    for name in depths:
        assert name in page
    assert ("percentage points" in page) == (options.get("metric") != "mae")


def test_the_guards_are_told_in_a_sentence_with_their_curves(tmp_path: Path, usual: Path) -> None:
    page = _Reader(usual.read_text()).text
    assert "Whether the search collapsed" in page
    assert "The search was stopped by the guard 'nothing' in epoch 40." in page
    table = (usual.parent / "figures" / "guards.csv").read_text().splitlines()
    assert table[0] == "panel,curve,x,y"
    # The eigenvalue of the second of 40 made-up looks, at step 40: 0.2 + (2 / 40)².
    assert "Dominant eigenvalue of the architecture Hessian,eigenvalue,40.0,0.2025" in table
    assert len(table) == 1 + 4 * 40

    summary = fabricate_run(tmp_path)
    write_summary(tmp_path, replace(summary, search=replace(summary.search, guards=None)))
    assert "Whether the search collapsed" not in report(tmp_path).read_text()


def test_a_long_run_has_a_page_that_still_loads_fast(tmp_path: Path) -> None:
    fabricate_run(tmp_path, {"image": 4, "audio": 4, "words": 4}, num_records=1000)
    assert report(tmp_path).stat().st_size < 3_000_000


def test_lower_is_better_turns_the_tone(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path, metric="mae", task="regression")
    summary = replace(summary, leaderboard=summary.leaderboard[:2])
    write_summary(tmp_path, change_row(summary, 1, difference=spread(0.2, 0.1)))
    page = report(tmp_path).read_text()
    assert 'class="better">+0.2<' in page
    assert 'class="worse"' not in page


def test_the_best_modality_is_the_one_of_the_architecture_split(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    first, second = (row for row in summary.leaderboard if row.kind == "modality")
    summary = change_row(summary, first.name, score=spread(0.9), architecture_score=0.4)
    summary = change_row(summary, second.name, score=spread(0.5), architecture_score=0.6)
    write_summary(tmp_path, replace(summary, verdict=None))  # else the one that it names
    page = report(tmp_path).read_text()
    assert f"over {second.name} alone" in page
    assert f"over {first.name} alone" not in page


def test_the_gain_is_over_the_modality_that_the_verdict_names(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    for place, score in ((1, 0.4), (2, 0.6)):
        summary = change_row(summary, place, architecture_score=score)
    against = summary.leaderboard[1].name
    write_summary(tmp_path, replace(summary, verdict=replace(known(summary.verdict), against=against)))
    assert f"gain over {against} alone" in report(tmp_path).read_text()


def test_an_error_that_the_found_architecture_saves_is_shown_as_better(tmp_path: Path) -> None:
    """From real outputs by way of the leaderboard: off by 0.1 on every sample against off by 1."""
    targets = np.arange(20.0)[:, None]
    summary = fabricate_run(tmp_path, metric="mae", task="regression")
    architecture = next(layerwise({"image": 1, "audio": 1}).enumerate())

    def judged(name: str, kind: RowKind, error: float) -> Judged:
        entry = Entry(
            contestant=Contestant(name, kind, architecture),
            seed=0,
            architecture=architecture,
            network=cast(FusionNetwork, None),
            architecture_score=error,
            train_seconds=1.0,
            full_length_seconds=1.0,
        )
        outputs = (targets + error * np.where(np.arange(20)[:, None] % 2, 1, -1)).astype(np.float32)
        return Judged(entry=entry, outputs=outputs, parameters=1, multiply_adds=1)

    rows = leaderboard("regression", [[judged("found", "found", 0.1), judged("late fusion", "late", 1.0)]], targets)
    write_summary(tmp_path, replace(summary, leaderboard=tuple(rows)))
    page = report(tmp_path).read_text()
    assert 'class="better">+0.9<' in page


def test_a_run_with_little_in_it_still_gets_a_report(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    search = replace(summary.search, discretization_loss=math.nan, nodes=())
    write_summary(tmp_path, replace(summary, leaderboard=summary.leaderboard[:1], verdict=None, search=search))
    page = report(tmp_path).read_text()
    assert "<h1>depth 1: " in page
    assert "What it could choose from" not in page


def test_a_row_without_score_is_listed(tmp_path: Path) -> None:
    summary = fabricate_run(tmp_path)
    unknown: dict[str, Any] = {"score": spread(math.nan), "scores": (math.nan,), "difference": None}
    write_summary(tmp_path, change_row(summary, 3, **unknown))
    assert "late fusion" in report(tmp_path).read_text()


def _drop(key: str) -> Callable[[dict[str, Any]], None]:
    def change(summary: dict[str, Any]) -> None:
        del summary[key]

    return change


def _set(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(summary: dict[str, Any]) -> None:
        summary[key] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _drop("architecture"),
        _drop("metric"),
        _drop("data"),
        _set("leaderboard", [1]),
        _set("leaderboard", {"a": 1}),
        _set("nodes", [{"name": "fusion0"}]),
        _set("depths", {"image": "many"}),
        _set("depths", {"image": 10**9}),
        _set("depths", []),
        _set("depths", {}),
        lambda summary: summary["architecture"]["steps"][0].update(inputs=["image"]),
        _set("architecture", {"steps": []}),
        _set("versions", 3),
    ],
)
def test_a_garbled_summary_is_told_in_one_line_and_nothing_is_written(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    summary = plain(fabricate_run(tmp_path))
    change(summary)
    write_summary(tmp_path, summary)
    with pytest.raises(UserError, match=r"is damaged: |lacks or garbles") as caught:
        report(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "figures").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    fabricate_run(tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is not a folder; choose another with --out"):
        report(tmp_path / "run", tmp_path / "file")
