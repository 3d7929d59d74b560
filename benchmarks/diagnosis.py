"""What the diagnostics cost, and whether their verdict is right where it is known.

    python -m benchmarks.diagnosis --out results/diagnosis

*Cost*: EMAP of one network of two pictures on `SAMPLES` test samples, encoders once per sample and the fusion nodes and
head on all recombinations, beside whole forward passes of recombinations, timed on `NAIVE` of them in the same process
and counted up to all.

*Verdict*: on the known tasks of kind `additive` and `multiplicative`, searches of the default with seeds 0 to 4 as
`benchmarks.known_answers` recorded them; each found architecture is trained once with its search's seed, and judged by
the sentence that a run's report would say of it. Right is "interaction" for products, and anything else for sums.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.known_answers import PLAN, Records, problem_of
from nas.config import RunConfig
from nas.data import FusionData
from nas.data.batches import split_batch
from nas.data.synthetic import known_tasks
from nas.diagnostics import Recombined, diagnose, emap
from nas.pipeline.search import make_space
from nas.records import plain
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.seeding import seeded
from nas.space.architecture import Architecture, Choice
from nas.training.build import build_network

CPU = torch.device("cpu")
SAMPLES = 2000
NAIVE = 4096
OPERATIONS = ("additive", "multiplicative", "mlp", "cross_attention")


def cost(operation: str) -> dict[str, Any]:
    """Seconds of EMAP and of the naive grid, for one operation at the last depth of two picture encoders."""
    generator = np.random.default_rng(0)
    count = SAMPLES + 128
    pictures = {name: generator.normal(size=(count, 1, 16, 16)).astype(np.float32) for name in ("left", "right")}
    splits = np.repeat([0, 1, 2], [64, 64, SAMPLES])
    data = FusionData.from_arrays(pictures, np.arange(count) % 8, splits=splits)
    space = make_space("layerwise", data)
    last = Choice(operation, ("left@2", "right@2"))
    nothing = Choice("none")
    found = Architecture.chain("layerwise", (("fusion0", nothing), ("fusion1", nothing), ("fusion2", last)))
    with seeded(0):
        network = build_network(space.only(found), data, RunConfig.of(preset="quick").training).eval()
    test = split_batch(data, "test", CPU)
    started = time.process_time()
    projection = emap(Recombined.of(network, test, CPU), max_grid=SAMPLES**2)
    seconds = time.process_time() - started
    rows = {name: torch.randint(SAMPLES, (NAIVE,), generator=torch.Generator().manual_seed(0)) for name in pictures}
    started = time.process_time()
    with torch.no_grad():
        for start in range(0, NAIVE, 512):
            part = {
                name: tuple(array[rows[name][start : start + 512]] for array in arrays)
                for name, arrays in test.inputs.items()
            }
            network(part)
    naive = (time.process_time() - started) / NAIVE * projection.grid
    return {
        "operation": operation,
        "samples": SAMPLES,
        "grid": projection.grid,
        "seconds": seconds,
        "naive_seconds": naive,
        "ratio": naive / seconds,
    }


def verdicts(searches: Path) -> list[dict[str, Any]]:
    """What is said of every recorded search of the two kinds."""
    records = Records(searches, PLAN[0], "one_standard_error")
    found = []
    for task in known_tasks():
        if task.kind not in ("additive", "multiplicative"):
            continue
        for (name, seed), row in sorted(records.rows.items()):
            if name != task.name:
                continue
            problem = problem_of(task, seed)
            architecture = problem.space.at(row.index)
            trained = replace(problem, seed=seed).train_from_scratch(architecture).network
            test = split_batch(problem.data, "test", CPU)
            samples = Recombined.of(trained, test, CPU)
            diagnosis = diagnose(problem.data.task, [samples], test.targets.numpy(), unimodal={}, overfitting={})
            interacts = diagnosis.additivity.gain.low > 0
            found.append(
                {
                    "task": name,
                    "seed": seed,
                    "in_words": architecture.in_words(),
                    "gain": plain(diagnosis.additivity.gain),
                    "said": diagnosis.in_words[0],
                    "is_right": interacts == (task.kind == "multiplicative"),
                }
            )
            print(name, seed, found[-1]["is_right"], found[-1]["said"], flush=True)
    return found


def report(result: dict[str, Any]) -> str:
    """The page."""
    lines = [
        "# diagnosis: what the diagnostics cost, and whether they are right",
        "",
        f"EMAP of {SAMPLES} samples of two modalities, all {SAMPLES**2:,} recombinations, processor seconds:",
        "",
        "| operation | EMAP, s | whole forward passes, s | ratio |",
        "| --- | --- | --- | --- |",
        *(
            f"| {one['operation']} | {one['seconds']:.1f} | {one['naive_seconds']:.0f} | {one['ratio']:.0f} |"
            for one in result["cost"]
        ),
        "",
        "Whether the first sentence of the diagnosis is right, of networks that the default search found:",
        "",
        "| task | searches | right | points from interaction, mean |",
        "| --- | --- | --- | --- |",
    ]
    for name in dict.fromkeys(one["task"] for one in result["verdicts"]):
        some = [one for one in result["verdicts"] if one["task"] == name]
        gain = float(np.mean([100 * one["gain"]["mean"] for one in some]))
        lines.append(f"| {name} | {len(some)} | {sum(one['is_right'] for one in some)} | {gain:.1f} |")
    right = [one["is_right"] for one in result["verdicts"]]
    lines += [
        "",
        f"All: {sum(right)} of {len(right)} right.",
        "",
        *(
            f"Not right: {one['task']}, search {one['seed']}, which found {one['in_words']}: “{one['said']}”.\n"
            for one in result["verdicts"]
            if not one["is_right"]
        ),
        f"`{result['command']}`, commit {result['commit']}, {result['started_at']}, {result['hardware']}, load "
        f"{result['load']:.1f}; torch {result['versions']['torch']}.",
        "",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--searches", type=Path, default=Path("results/known_answers/searches"))
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own default")
    parser.add_argument("--out", type=Path, default=Path("results/diagnosis"))
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    origin = provenance("python -m benchmarks.diagnosis")
    result = {
        "cost": [cost(operation) for operation in OPERATIONS],
        "verdicts": verdicts(given.searches),
        "load": os.getloadavg()[0],
        **plain(origin),
    }
    write_atomically(given.out / "records.json", (json.dumps(plain(result), indent=1) + "\n").encode())
    text = report(result)
    write_atomically(given.out / "README.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
