"""Summaries and records as a stranger may write them: far more of everything than a page can show."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nas.records import plain
from nas.space.architecture import Architecture
from tests.report.fabricate import fabricate_run
from tests.summaries import write_summary

Summary = dict[str, Any]


def _rows(summary: Summary) -> None:
    summary["leaderboard"] += [{**summary["leaderboard"][-1], "name": f"row {i}"} for i in range(3000)]
    summary["leaderboard"][0]["scores"] = [0.5] * 100_000


def _nodes(summary: Summary) -> None:
    node, step = summary["nodes"][-1], Architecture.from_dict(summary["architecture"]).steps[-1]
    summary["nodes"] = [
        {**node, "name": f"fusion{i}", "residual": f"fusion{i - 1}" if i else None} for i in range(1000)
    ]
    every = [(f"fusion{i}", step.choice) for i in range(1000)]
    summary["architecture"] = Architecture.chain("layerwise", every).to_dict()


def _classes(summary: Summary) -> None:
    summary["data"] |= {"classes": 10_000, "class_names": [f"class {i}" for i in range(10_000)]}


def _choices(summary: Summary) -> None:
    node = summary["nodes"][0]
    node["choices"] += [{**node["choices"][-1], "label": f"choice {i}"} for i in range(100_000)]
    node["choice_weights"] += [1e-6] * 100_000


def _texts(summary: Summary) -> None:
    long = "lorem ipsum " * 8_000
    summary["verdict"] |= {"headline": long, "sentences": [long] * 3}
    summary["command"] = summary["in_words"] = long
    summary["data"]["name"] = long
    summary["leaderboard"][0]["name"] = long
    summary["nodes"][0]["choices"][0]["label"] = long


def _depth(summary: Summary) -> None:
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    summary["extra"] = summary["data"]["extra"] = deep


def _tables(summary: Summary) -> None:
    summary["versions"] = {f"package {i}": "1" for i in range(100_000)}
    summary["seeds"] = list(range(100_000))
    summary["pareto"] = [
        {"architecture": summary["architecture"], "in_words": "x", "loss": 1.0, "multiply_adds": 5}
    ] * 100_000
    summary["advice"] = [{"objective": "align", "because": "it is so"}] * 100_000
    summary["verdict"]["sentences"] = ["It is so."] * 100_000
    summary["data"]["splits"] = {f"split {i}": 1 for i in range(100_000)}
    terms = summary["diagnosis"]["regression"][-1]["coefficients"]
    terms += [{**terms[0], "name": f"term {i}"} for i in range(100_000)]


VAST: Mapping[str, tuple[Callable[[Summary], None], str]] = {
    "rows": (_rows, "the first 60 of 3,022 rows of the leaderboard"),
    "nodes": (_nodes, "the first 24 of 1,000 fusion nodes"),
    "classes": (_classes, ""),
    "choices": (_choices, ""),
    "texts": (_texts, ""),
    "depth": (_depth, ""),
    "tables": (_tables, "the first 60 of 100,000 seeds"),
    "records": (lambda _summary: None, "20,000 of 450,080 records"),
    "modalities": (lambda _summary: None, "24 of 100 modalities, those first that the architecture reads"),
}
"""Of each a change of a summary, and what its page says of it."""


def vast_run(folder: Path, *kinds: str) -> str:
    """Writes a run that has too much of some kinds, and returns its page's words on the last of them."""
    if "modalities" in kinds:
        depths = {f"m{i}": 2 for i in range(100)}
        summary = plain(fabricate_run(folder, depths, largest=1, num_records=3, chosen={1: ("carry", ["m99"])}))
    else:
        summary = plain(fabricate_run(folder))
    for kind in kinds:
        VAST[kind][0](summary)
    write_summary(folder, summary)
    if "choices" in kinds:
        (folder / "metrics.jsonl").unlink()
    if "records" in kinds:
        record = {"phase": "retrain", "row": "found", "epoch": 1, "train_loss": 0.5, "architecture_loss": 0.25}
        with (folder / "metrics.jsonl").open("a") as file:
            for epoch in range(449_940):
                file.write(json.dumps({**record, "epoch": epoch, "seed": epoch % 100}) + "\n")
    return VAST[kinds[-1]][1]
