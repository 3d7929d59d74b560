"""The search on tasks of known answer: how often it finds the right interaction order, depth and modalities.

    python -m benchmarks.known_answers --searches 2 --out results/known_answers

Every task is searched over seeds with the defaults. What was found, every modality alone, late fusion and every
operation alone are trained from scratch with the seed of the search; the best of the fixed ones is chosen by the
architecture split. Then the test split is read once. Searches whose records are there already are not run again, so
that a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.architecture import Architecture, tap_depth
from nas.baselines import contestants
from nas.data.synthetic import KnownTask, known_tasks
from nas.metrics import score
from nas.preparation import Setup
from nas.provenance import provenance
from nas.retrain import judge, train_all
from nas.runs import write_atomically
from nas.search import find, make_space, scorer_of
from nas.strategies import SearchConfig
from nas.training import TrainingConfig, pick_device


def one_search(task: KnownTask, seed: int, device: str) -> dict[str, Any]:
    """One search of one task, judged on the test split."""
    data = task.make()
    space = make_space("layerwise", data)
    setup = Setup(data=data, space=space, training=TrainingConfig(), device=pick_device(device))
    result = find(setup, SearchConfig(), "sampled", "one_standard_error", "auto", seed)
    found = result.architecture
    rows = [
        row
        for row in contestants(space, found, scorer_of(setup, result), "full")
        if row.kind in ("found", "late", "operation", "modality")
    ]
    entries = train_all(setup, result.prepared, rows)
    judged, targets = judge(setup, entries)
    scores = [score("accuracy", one.outputs, targets) for one in judged]
    fixed = [index for index, row in enumerate(rows) if row.kind != "found"]
    best = max(fixed, key=lambda index: entries[index].architecture_score)
    late = next(index for index, row in enumerate(rows) if row.kind == "late")
    answer = task.answer()
    return {
        "task": task.name,
        "kind": task.kind,
        "seed": seed,
        "in_words": found.in_words(),
        "order": space.interaction_order(found),
        "wanted_order": answer.order,
        "right_depths": set(answer.depths) <= depths_of(found) if answer.depths else not depths_of(found),
        "right_modalities": set(answer.modalities) <= set(found.modalities()),
        "score": scores[0],
        "late": scores[late],
        "best_fixed": scores[best],
        "best_fixed_name": rows[best].name,
        "search_seconds": result.seconds,
        "late_seconds": entries[late].full_length_seconds,
        "fixed_seconds": float(np.mean([entries[i].full_length_seconds for i in fixed if rows[i].kind != "modality"])),
    }


def depths_of(architecture: Architecture) -> set[int]:
    """Depths of the taps that an architecture reads."""
    return {tap_depth(tap) for tap in architecture.taps()}


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """A line per kind, and one for all."""
    lines = [
        "| kind | searches | order: right | too high | too low | depth right | modalities right | found | best fixed | "
        "late | cost, × late | cost, × mean fixed |",
        "| --- " * 12 + "|",
    ]
    for kind in [*dict.fromkeys(record["kind"] for record in records), "all"]:
        some = [record for record in records if kind in (record["kind"], "all")]

        def share(values: Sequence[bool]) -> str:
            return f"{100 * float(np.mean(values)):.0f} %"

        def points(key: str, some: Sequence[Mapping[str, Any]] = some) -> str:
            return f"{100 * float(np.mean([record[key] for record in some])):.1f}"

        lines.append(
            f"| {kind} | {len(some)} | {share([r['order'] == r['wanted_order'] for r in some])} | "
            f"{share([r['order'] > r['wanted_order'] for r in some])} | "
            f"{share([r['order'] < r['wanted_order'] for r in some])} | {share([r['right_depths'] for r in some])} | "
            f"{share([r['right_modalities'] for r in some])} | {points('score')} | {points('best_fixed')} | "
            f"{points('late')} | {np.mean([r['search_seconds'] / r['late_seconds'] for r in some]):.1f} | "
            f"{np.mean([r['search_seconds'] / r['fixed_seconds'] for r in some]):.1f} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--searches", type=int, default=2)
    parser.add_argument("--kinds", nargs="*", help="kinds of tasks to run; all if absent")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("results/known_answers"))
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    origin = provenance(f"python -m benchmarks.known_answers --searches {given.searches}")
    there = given.out / "records.json"
    records: list[dict[str, Any]] = json.loads(there.read_text())["records"] if there.exists() else []
    done = {(record["task"], record["seed"]) for record in records}
    for task in known_tasks():
        if given.kinds and task.kind not in given.kinds:
            continue
        for seed in range(given.searches):
            if (task.name, seed) in done:
                continue
            records.append(one_search(task, seed, given.device))
            print({key: records[-1][key] for key in ("task", "seed", "in_words", "score", "best_fixed")}, flush=True)
            write(given.out, records, origin)
    write(given.out, records, origin)


def write(folder: Path, records: Sequence[Mapping[str, Any]], origin: Mapping[str, Any]) -> None:
    """Writes the records as JSON, and their table as README."""
    result = {"records": records, "load": os.getloadavg()[0], **origin}
    write_atomically(folder / "records.json", (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())
    text = (
        "# known_answers: does the search find what is known to be right?\n\n"
        "Accuracy on the test split in %, one training from scratch per search; chance is 25.\n\n"
        f"{table(records)}\n`{origin['command']}`, commit {origin['commit']}, {origin['started_at']}, "
        f"{origin['hardware']}.\n"
    )
    write_atomically(folder / "README.md", text.encode())


if __name__ == "__main__":
    main()
