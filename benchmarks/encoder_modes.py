"""Pretrained against joint encoders on every embedded set: what the search reaches, and how long it takes.

    python -m benchmarks.encoder_modes --out results/encoder_modes

Both modes search over the same seeds and retrain what they find once with the seed of the search. Scores are on the
architecture split, for a default is chosen from this table; the test split is not read.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t

from nas.data import EMBEDDED, load_data
from nas.metrics import PRIMARY
from nas.preparation import EncoderMode, Setup
from nas.provenance import provenance
from nas.retrain import train_from_scratch
from nas.runs import write_atomically
from nas.search import find, make_space
from nas.strategies import SearchConfig
from nas.training import TrainingConfig, pick_device

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
    records = []
    for name in given.data:
        for mode in MODES:
            for seed in range(given.searches):
                records.append(_one(name, mode, seed, given.device))
                print(records[-1], flush=True)
    result = {"records": records, "load": os.getloadavg()[0], **origin}
    write_atomically(given.out / "records.json", (json.dumps(result, indent=1) + "\n").encode())
    text = (
        "# encoder_modes: pretrained against joint encoders\n\n"
        "Accuracy on the architecture split, mean over searches with 95 % interval; the test split is not read.\n\n"
    )
    text += table(records) + (
        f"\n`{origin['command']}`, commit {origin['commit']}, {origin['started_at']}, {origin['hardware']}.\n"
    )
    write_atomically(given.out / "README.md", text.encode())


def _one(name: str, mode: EncoderMode, seed: int, device: str) -> dict[str, object]:
    data = load_data(name)
    space = make_space("layerwise", data)
    setup = Setup(data=data, space=space, training=TrainingConfig(), device=pick_device(device))
    result = find(setup, SearchConfig(), "sampled", "one_standard_error", mode, seed)
    trained = train_from_scratch(setup, result.prepared, result.architecture, "found")
    return {
        "data": name,
        "mode": mode,
        "seed": seed,
        "metric": PRIMARY[data.task],
        "architecture_score": trained.architecture_score,
        "encoder_seconds": result.prepared.seconds,
        "search_seconds": result.seconds,
        "train_seconds": trained.train_seconds,
        "in_words": result.architecture.in_words(),
        "interaction_order": space.interaction_order(result.architecture),
    }


def table(records: Sequence[dict[str, object]]) -> str:
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
