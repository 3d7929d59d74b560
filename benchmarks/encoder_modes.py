"""Pretrained against joint encoders on every embedded set: what the search reaches, and how long it takes.

    python -m benchmarks.encoder_modes --out results/encoder_modes

Both modes search over the same seeds and retrain what they find once with the seed of the search. Scores are on the
architecture split, for a default is chosen from this table; the test split is not read. Searches whose records are
there already are not run again, so that a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t

from nas.config import EncoderMode, RunConfig, SearchConfig
from nas.data import EMBEDDED, load_data
from nas.device import pick_device
from nas.pipeline.search import find, make_space
from nas.records import plain
from nas.retraining.preparation import TrainingSetup
from nas.retraining.retrain import train_from_scratch
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.summary import Provenance
from nas.tasks import TASKS

MODES: tuple[EncoderMode, ...] = ("pretrained", "joint")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="*", default=list(EMBEDDED))
    parser.add_argument("--searches", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("results/encoder_modes"))
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    origin = provenance(f"python -m benchmarks.encoder_modes --searches {given.searches}")
    there = given.out / "records.json"
    records: list[dict[str, object]] = json.loads(there.read_text())["records"] if there.exists() else []
    done = {(record["data"], record["mode"], record["seed"]) for record in records}
    for name, mode, seed in product(given.data, MODES, range(given.searches)):
        if (name, mode, seed) not in done:
            records.append(_one(name, mode, seed, given.device))
            print(records[-1], flush=True)
            write(given.out, records, origin)


def write(folder: Path, records: Sequence[Mapping[str, object]], origin: Provenance) -> None:
    """Writes the records as JSON, and their table as README."""
    result = {"records": records, "load": os.getloadavg()[0], **plain(origin)}
    write_atomically(folder / "records.json", (json.dumps(result, indent=1) + "\n").encode())
    text = (
        "# encoder_modes: pretrained against joint encoders\n\n"
        "Accuracy on the architecture split, mean over searches with 95 % interval; the test split is not read.\n\n"
    )
    text += table(records) + (
        f"\n`{origin.command}`, commit {origin.commit}, {origin.started_at}, {origin.hardware}.\n"
    )
    write_atomically(folder / "README.md", text.encode())


def _one(name: str, mode: EncoderMode, seed: int, device: str) -> dict[str, object]:
    data = load_data(name)
    space = make_space("layerwise", data)
    setup = TrainingSetup(
        data=data, space=space, training=RunConfig.of(preset="quick").training, device=pick_device(device)
    )
    result = find(setup, SearchConfig(encoders=mode), seed)
    trained = train_from_scratch(setup, result.prepared, result.architecture, "found")
    return {
        "data": name,
        "mode": mode,
        "seed": seed,
        "metric": TASKS[data.task].metric,
        "architecture_score": trained.architecture_score,
        "encoder_seconds": result.prepared.seconds,
        "search_seconds": result.seconds,
        "train_seconds": trained.train_seconds,
        "in_words": result.architecture.in_words(),
        "interaction_order": space.interaction_order(result.architecture),
    }


def table(records: Sequence[Mapping[str, object]]) -> str:
    """Mean and 95 % interval over searches, per data set and mode."""
    lines = [
        "| data | encoders | architecture split, % | orders found | encoders, s | search, s | retraining, s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, mode in dict.fromkeys((str(r["data"]), str(r["mode"])) for r in records):
        some = [r for r in records if (r["data"], r["mode"]) == (name, mode)]
        scores = np.array([r["architecture_score"] for r in some], dtype=float) * 100
        count = len(scores)
        margin = t.ppf(0.975, count - 1) * scores.std(ddof=1) / count**0.5 if count > 1 else float("nan")
        orders = ", ".join(str(r["interaction_order"]) for r in some)
        seconds = (
            f"{np.mean([float(str(r[key])) for r in some]):.1f}"
            for key in ("encoder_seconds", "search_seconds", "train_seconds")
        )
        lines.append(f"| {name} | {mode} | {scores.mean():.1f} ± {margin:.1f} | {orders} | {' | '.join(seconds)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
