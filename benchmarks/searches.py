"""Repeats a whole search as users run it, and tells what was found beside every other row of its leaderboard.

    python -m benchmarks.searches emoji --searches 5 --out results/emoji

Search number s is `fusenas search` with its defaults and seed 3 s: its encoders, its supernet and its three retrainings
have seeds of their own, so that nothing is shared between searches but the data. Means are over searches. The test
samples are the same in all of them, so that they make the mean uncertain however many searches there are: an interval's
margin is the root of the squared margin over searches, by Student's t, plus the squared mean margin that one search has
over its seeds and test samples. That is too wide rather than too narrow. Differences are paired within a search. A
search that is there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t

import nas
from nas.data import FusionData, load_data
from nas.metrics import METRICS
from nas.records import plain
from nas.runs.folder import write_atomically
from nas.statistics import Interval, amount

_SUMMARY = (
    *("leaderboard", "in_words", "interaction_order", "encoders", "metric", "higher_is_better", "tournament", "seeds"),
    *("verdict", "encoder_seconds", "search_seconds", "training_seconds", "search_cost", "total_seconds"),
    *("command", "commit", "started_at", "hardware", "versions", "data"),
)


def measure(
    folder: Path,
    data: FusionData,
    searches: int,
    *,
    command: str,
    device: str = "auto",
    progress: Callable[[str], None] = print,
    **options: Any,
) -> list[dict[str, Any]]:
    """Searches over seeds, and writes what each came to into a folder as it ends.

    Args:
        folder: Of the results.
        data: The same for all searches, splits included.
        searches: How many.
        command: For the record.
        device: "auto", "cpu" or "cuda".
        progress: Called with a line now and then.
        options: Of `nas.search`, beside its defaults.

    Returns:
        The records, one a search.
    """
    file = folder / f"{data.name}.json"
    records: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    for number in range(len(records), searches):
        used = time.process_time()
        with tempfile.TemporaryDirectory() as temporary:  # a run folder, for all that users have is written there
            run = nas.search(
                data, seed=3 * number, device=device, out=Path(temporary) / "run", command=command, **options
            )
        told = plain(run.summary)
        record = {key: told[key] for key in _SUMMARY}
        records.append({**record, "processor_seconds": time.process_time() - used, "load": os.getloadavg()[0]})
        write_atomically(file, (json.dumps(plain(records), indent=1, ensure_ascii=False) + "\n").encode())
        write_tables(folder)
        progress(f"search {number}: {record['in_words']} ({records[-1]['processor_seconds']:.0f} s)")
    return records


def over_searches(values: Sequence[Mapping[str, float]]) -> Interval:
    """The mean over searches of what each tells with its own interval, see above.

    Args:
        values: Of every search `mean`, `low` and `high`.
    """
    means = np.array([one["mean"] for one in values])
    within = float(np.mean([(one["high"] - one["low"]) / 2 for one in values]))
    between = 0.0
    if len(means) > 1:
        between = float(t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / len(means) ** 0.5)
    margin = math.hypot(within, between)
    return Interval(float(means.mean()), float(means.mean()) - margin, float(means.mean()) + margin)


def rows_of(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, list[Mapping[str, Any]]]]:
    """Name, kind and a row of every search that has one, in the order in which they are met."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in records:
        for row in record["leaderboard"]:
            found.setdefault((row["name"], row["kind"]), []).append(row)
    return [(name, kind, some) for (name, kind), some in found.items()]


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """The result in Markdown: a line per row of the leaderboards, then a line per search."""
    first = records[0]
    metric = METRICS[first["metric"]]
    factor, digits = (100.0, 1) if metric.percent else (1.0, 3)
    sizes = first["data"]["splits"]
    parts = "/".join(str(sizes[split]) for split in ("weights", "architecture", "test"))
    lines = [
        f"## {first['data']['name']}",
        "",
        f"{', '.join(first['data']['modalities'])}; {parts} samples; {metric.title} on the test split, mean over "
        f"{len(records)} searches of {len(first['seeds'])} retrainings each with 95 % interval; differences paired.",
        "",
        "| row | searches | score | found is better by | parameters | multiply-adds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, kind, some in rows_of(records):
        score = over_searches(some)
        bounds = (max(metric.lowest, score.low), score.mean, min(metric.highest, score.high))
        low, mean, high = (f"{factor * one:.{digits}f}" for one in bounds)
        gaps = [row["difference"] for row in some if row["difference"]]
        difference = amount(first["metric"], over_searches(gaps)) if gaps else ""
        costs = [_mean(some, key) for key in ("parameters", "multiply_adds")]
        lines.append(
            f"| {f'**{name}**' if kind == 'found' else name} | {len(some)} | {mean} [{low}, {high}] | {difference} | "
            f"{costs[0]} | {costs[1]} |"
        )
    lines += [
        "",
        "| search | score | found architecture | won as | encoders | search, × late fusion | with proposals | "
        "processor, s |",
        "| --- " * 8 + "|",
    ]
    for number, one in enumerate(records):
        found, won = factor * one["leaderboard"][0]["mean"], one["tournament"].get("winner", "")
        lines.append(
            f"| {number} | {found:.{digits}f} | {one['in_words']} | {won} | {one['encoders']} | "
            f"{one['search_cost']:.1f} | {cost_of(one):.1f} | {one['processor_seconds']:.0f} |"
        )
    lines += [
        "",
        f"`{records[-1]['command']}`, commit {' and '.join(dict.fromkeys(one['commit'] for one in records))}, "
        f"{first['started_at']} to {records[-1]['started_at']}, {first['hardware']}; "
        f"torch {first['versions']['torch']}.",
        "",
    ]
    return "\n".join(lines)


def cost_of(record: Mapping[str, Any]) -> float:
    """The search and the trainings of what it proposed besides, in trainings of late fusion."""
    seconds = (record["tournament"] or {}).get("seconds", 0.0)
    return float(record["search_cost"] + seconds / record["training_seconds"])


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> str:
    known = [row[key] for row in rows if row.get(key) is not None]
    return f"{np.mean(known):,.0f}" if known else ""


def overview(results: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """A line per data set in Markdown: what was found beside what it has to be at least as good as.

    Args:
        results: Per data set the records of its searches, all of a metric in percent.
    """
    columns: dict[str, Callable[[Mapping[str, Any]], float]] = {
        "found": lambda record: _score(record, "found"),
        "on both splits": lambda record: _score(record, "refit"),
        "ensemble": lambda record: _score(record, "ensemble"),
        "late fusion": lambda record: _score(record, "late"),
        "best held out": _best_held_out,
        "random search": lambda record: _score(record, "random"),
        "best control": lambda record: max(row["mean"] for row in record["leaderboard"] if row["kind"] == "control"),
    }
    lines = [
        f"| data | searches | {' | '.join(columns)} | found − late fusion | rows measurably better than found |",
        "| --- " * (len(columns) + 4) + "|",
    ]
    every = []
    for records in results:
        means = [100 * float(np.mean([column(record) for record in records])) for column in columns.values()]
        every.append(means)
        gaps = {
            name: over_searches([row["difference"] for row in some])
            for name, kind, some in rows_of(records)
            if kind not in ("found", "refit", "ensemble")
        }
        late = next(row["name"] for row in records[0]["leaderboard"] if row["kind"] == "late")
        better = [f"{name} ({100 * -gap.mean:.1f})" for name, gap in gaps.items() if gap.high < 0]
        cells = " | ".join(f"{mean:.1f}" for mean in means)
        gain = amount(records[0]["metric"], gaps[late])
        name = records[0]["data"]["name"]
        lines.append(f"| {name} | {len(records)} | {cells} | {gain} | {', '.join(better) or 'none'} |")
    cells = " | ".join(f"{mean:.1f}" for mean in np.mean(every, axis=0))
    lines.append(f"| mean | | {cells} | {np.mean([one[0] - one[3] for one in every]):.1f} points | |")
    return "\n".join(lines)


def _score(record: Mapping[str, Any], kind: str) -> float:
    """Of the row of a kind that every leaderboard has."""
    return float(next(row["mean"] for row in record["leaderboard"] if row["kind"] == kind))


def _best_held_out(record: Mapping[str, Any]) -> float:
    """Of the network that scores best on the architecture split."""
    held_out = [row for row in record["leaderboard"] if row["kind"] not in ("refit", "ensemble", "random", "control")]
    return float(max(held_out, key=lambda row: row["architecture_score"])["mean"])


_OVERVIEW = """Scores on the test split in %, means over searches. *Best held out* is, of all networks that were trained
like what was found, the one that scores best on the architecture split; *best control* the better one of logistic
regression and gradient boosting on the test split. In the last column are rows not made of the found network whose
difference to it is measurable, and by how many points they are better."""


def write_tables(folder: Path) -> None:
    """Makes `README.md` of every JSON file in the folder; `notes.md`, written by people, is taken over as it is."""
    results = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    parts = [f"# {folder.name}: whole searches beside every other row of their leaderboards\n"]
    if all(METRICS[records[0]["metric"]].percent for records in results):
        parts.append(f"{_OVERVIEW}\n\n{overview(results)}\n")
    if (notes := folder / "notes.md").exists():
        parts.append(notes.read_text())
    write_atomically(folder / "README.md", "\n".join([*parts, *map(table, results)]).encode())


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", help="an embedded data set, a file or a folder")
    parser.add_argument("--modalities")
    parser.add_argument("--target")
    parser.add_argument("--split")
    parser.add_argument("--space", default="layerwise")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    named = {key: getattr(given, key) for key in ("modalities", "target", "split") if getattr(given, key)}
    told = named | ({} if given.space == "layerwise" else {"space": given.space})
    options = "".join(f" --{key} {value}" for key, value in told.items())
    records = measure(
        given.out,
        load_data(given.data, **named),
        given.searches,
        command=f"python -m benchmarks.searches {Path(given.data).name}{options} --searches {given.searches}",
        device=given.device,
        space=given.space,
        progress=lambda line: print(line, flush=True),
    )
    print(table(records))


if __name__ == "__main__":
    main()
