"""Score against multiply-adds of gates on real data, and what noise does to them.

    python -m benchmarks.dynamic_curves FOLDER --only wikipedia10 --searches 5 --out results/dynamic_curves

Each search, of its own seed, finds a static architecture in `experts` with three operations; its modality-level routes
and a gate on the first taps are trained from scratch, and so is the static architecture. Biasing the gate's logits by
the routes' multiply-adds traces a curve; between its points a curve is a random mixture of both. Beside it stand the
best gate that does not look at the sample, and the oracle that takes the cheapest route no more wrong than the dearest:
no gate that is never worse than the static route spends less. Noise is normal, in units of each feature's deviation.
Rows that are there already are not measured again.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.datasets import SOURCES
from benchmarks.rows import read_rows, write_rows
from nas.architecture import Architecture
from nas.baselines import Contestant
from nas.data import FusionData, load_data
from nas.data.batches import Batch, split_batch
from nas.dynamic import candidate_routes, shallow_taps
from nas.explain import Routes
from nas.metrics import PRIMARY, score
from nas.preparation import Setup
from nas.provenance import provenance
from nas.retrain import train_all
from nas.runs import write_atomically
from nas.search import find, make_space
from nas.strategies import SearchConfig
from nas.training import TrainingConfig, pick_device, predict

OPERATIONS = ("additive", "multiplicative", "mlp")

SHARES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Multiply-adds at which curves are read, as shares of the static architecture's."""

NOISES = (0.0, 0.5, 1.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number of one search.

    Attributes:
        data: Name of the set.
        seed: Of the search.
        of: gate, random, oracle or static; or the modality that is noisy, before a slash and gate or static.
        at: Multiply-adds as a share of the static architecture's; of noise its deviation.
        score: Primary metric on the test split.
    """

    data: str
    seed: int
    of: str
    at: float
    score: float


def measure(data: FusionData, seed: int, device: torch.device) -> list[Row]:
    """Searches once, trains the dynamic and the static network, and reads the test split."""
    space = make_space("experts", data, None, OPERATIONS)
    setup = Setup(data=data, space=space, training=TrainingConfig(), device=device, progress=print)
    static_space = replace(setup, space=replace(space, dynamic=()))
    result = find(static_space, SearchConfig(), "sampled", "one_standard_error", "auto", seed)
    assert result.discretized is not None
    found = result.architecture
    parts = result.discretized.candidates, result.discretized.cost
    routes = candidate_routes(space, found, *parts, seen, price=setup.training.cost_weight)
    if len(routes) < 2:
        print(f"{data.name}, seed {seed}: {found.in_words()} has no cheaper route")
        return []
    gated = Architecture.gated(routes, shallow_taps(space, found))
    rows = [Contestant("found", "found", gated), Contestant("static", "static", found)]
    dynamic, static = (entry.network for entry in train_all(setup, result.prepared, rows))
    batch = split_batch(data, "test", device)
    ways = Routes.of(dynamic, batch, data, device)
    assert dynamic.gate is not None
    whole = float(dynamic.gate.static_cost)
    costs, scores = (np.array(some) for some in zip(*ways.curve(), strict=True))

    def row(of: str, at: float, reached: float) -> Row:
        return Row(data=data.name, seed=seed, of=of, at=at, score=reached)

    found_rows = []
    for share in SHARES:
        if costs[0] <= share * whole:
            found_rows += [
                row("gate", share, float(np.interp(share * whole, costs, scores))),
                row("random", share, ways.random(share * whole)),
            ]
    reached, spent = ways.at(ways.oracle())
    found_rows.append(row("oracle", spent / whole, reached))
    for name in dynamic.encoders:
        for noise in NOISES:
            noisy = with_noise(batch, name, noise)
            for of, network in (("gate", dynamic), ("static", static)):
                if noisy is not None and name in network.encoders:
                    outputs, targets = predict(network, noisy, device)
                    told = score(PRIMARY[data.task], outputs.numpy(), targets.numpy())
                    found_rows.append(row(f"{name}/{of}", noise, told))
    return found_rows


def with_noise(batch: Batch, name: str, noise: float) -> Batch | None:
    """The batch with normal noise on one modality, in units of each feature's deviation; None for tokens."""
    arrays = batch.inputs[name]
    if any(array.dtype in (torch.int64, torch.int32) for array in arrays):
        return None
    generator = torch.Generator().manual_seed(0)
    noisy = []
    for array in arrays:
        values = array.float()
        drawn = torch.randn(values.shape, generator=generator).to(values.device)
        noisy.append(values + noise * values.std(dim=0, keepdim=True) * drawn)
    return replace(batch, inputs={**batch.inputs, name: tuple(noisy)})


def table(rows: Sequence[Row], data: str) -> str:
    """Means over searches, with 1.96 standard errors; differences are paired."""
    own = [row for row in rows if row.data == data]
    by: dict[tuple[str, float], dict[int, float]] = {}
    for row in own:
        by.setdefault((row.of, row.at), {})[row.seed] = row.score
    static = by_noise(by, "static")
    lines = ["| multiply-adds, of static | gate | random | gate is better by | than static by |", "| --- " * 5 + "|"]
    for share in SHARES:
        gate, random = by.get(("gate", share), {}), by.get(("random", share), {})
        if len(gate) > 1:
            against = [mean_of(gate, None), mean_of(random, None), mean_of(gate, random), mean_of(gate, static)]
            lines.append(f"| {100 * share:.0f} % | {' | '.join(against)} |")
    oracle = [(row.at, row.score) for row in own if row.of == "oracle"]
    spent, reached = np.mean(oracle, axis=0)
    lines += ["", f"Oracle: {100 * reached:.1f} at {100 * spent:.0f} % of the multiply-adds.", ""]
    lines += ["| noise on | deviation | gate | static | gate is better by |", "| --- " * 5 + "|"]
    for name in dict.fromkeys(row.of.split("/")[0] for row in own if "/" in row.of):
        for noise in NOISES:
            gate, fixed = by[f"{name}/gate", noise], by.get((f"{name}/static", noise), {})
            told = [mean_of(gate, None), mean_of(fixed, None), mean_of(gate, fixed)]
            lines.append(f"| {name} | {noise:g} | {' | '.join(told)} |")
    return "\n".join(lines)


def by_noise(by: Mapping[tuple[str, float], Mapping[int, float]], of: str) -> Mapping[int, float]:
    """Scores without noise, by seed."""
    return next((scores for (name, at), scores in by.items() if name.endswith(f"/{of}") and at == 0), {})


def mean_of(scores: Mapping[int, float], others: Mapping[int, float] | None) -> str:
    """Mean of scores, or of their differences to others of the same seeds, in points with 1.96 standard errors."""
    if others is None:
        values = np.array(list(scores.values()))
    else:
        values = np.array([value - others[seed] for seed, value in scores.items() if seed in others])
    if not len(values):
        return "–"
    margin = 1.96 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{100 * values.mean():.1f} ± {100 * margin:.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds a folder per data set")
    parser.add_argument("--only", nargs="*", default=["avmnist", "wikipedia10"], help="names of the data sets to run")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own default")
    parser.add_argument("--out", type=Path, default=Path("results/dynamic_curves"))
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    names = " ".join(given.only)
    origin = provenance(f"python -m benchmarks.dynamic_curves FOLDER --only {names} --searches {given.searches}")
    rows = read_rows(given.out / "rows.csv", Row)
    for source in SOURCES:
        path = given.folder / source.path
        if path.stem not in given.only:
            continue
        if not path.exists():
            print(f"{path.stem}: skipped, {source.path} is not in the folder")
            continue
        data = load_data(path, modalities=source.modalities, target=source.target, split=source.split)
        for seed in range(given.searches):
            if not any((row.data, row.seed) == (data.name, seed) for row in rows):
                rows += measure(data, seed, pick_device(given.device))
                write_rows(given.out / "rows.csv", Row, rows, digits=4)
    text = "# dynamic_curves: score against multiply-adds of gates on real data\n\n"
    text += (__doc__ or "").split("\n\n", 2)[2].strip()
    for name in dict.fromkeys(row.data for row in rows):
        searches = len({row.seed for row in rows if row.data == name})
        text += f"\n\n## {name}, {searches} searches\n\n{table(rows, name)}"
    text += (
        f"\n\n± is 1.96 standard errors over searches. `{origin['command']}`, commit {origin['commit']}, "
        f"{origin['started_at']}, {origin['hardware']}, load {os.getloadavg()[0]:.1f}. Rows: `rows.csv`.\n"
    )
    write_atomically(given.out / "README.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
