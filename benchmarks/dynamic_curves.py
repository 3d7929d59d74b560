"""Score against multiply-adds of gates on real data, and what noise does to them.

    python -m benchmarks.dynamic_curves FOLDER --only avmnist --searches 5 --out results/dynamic/curves

Each search, of its own seed, finds a static architecture of three operations. It is trained once from scratch, and so
is a dynamic network whose routes are those of `nas.dynamic.candidate_routes` and whose gate reads the first taps, or
those that the table names. Then the routes are held fixed and gates are trained at ten prices of multiply-adds, by two
thirds of the architecture split, with the best epoch by the last one. Those of them, and of the gates that always take
one route, that lie on the upper hull on that last third make the curve on the test split; between its points it is a
random mixture of both. Beside it stand the best gate that does not look at the sample, which is even told the scores
of all routes on the test split, and the oracle that takes for every sample the cheapest route no more wrong than the
last one: no gate that is never worse than that route on a sample spends less. Noise is normal, in units of each
feature's deviation, on the first 2000 samples of the test split. Of larger sets the first samples of the weights split
are taken, as the table says. Rows that are there already are not measured again.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.datasets import SOURCES
from benchmarks.dynamic_figure import draw, mean_and_margin, series
from benchmarks.pages import about, origin_told
from benchmarks.rows import read_rows, write_rows
from nas.architecture import Architecture, tap_depth, tap_modality
from nas.baselines import Contestant
from nas.data import FusionData, load_data
from nas.data.batches import Batch, split_batch
from nas.dynamic import JUDGING, candidate_routes, seen_by_gate, shallow_taps
from nas.explain import Routes
from nas.gates import Gate, soft
from nas.graph import FusionNetwork
from nas.metrics import PRIMARY, higher_is_better, score
from nas.preparation import Setup
from nas.provenance import provenance
from nas.retrain import train_all
from nas.runs import write_atomically
from nas.scoring import scored_samples
from nas.search import find, make_space
from nas.strategies import SearchConfig
from nas.training import TrainingConfig, pick_device, predict, seeded

OPERATIONS = ("additive", "multiplicative", "mlp")

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.54, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Multiply-adds at which curves are read, as shares of the static architecture's; 0.54 saves 46 %."""

PRICES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0)
"""Loss that the static architecture's multiply-adds are worth."""

GATE_EPOCHS, BATCH = 40, 128

NOISES = (0.0, 0.5, 1.0, 2.0)

MAX_NOISY = 2000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a data set is searched.

    Attributes:
        space: Name of the search space.
        dynamic: Levels at which it is dynamic.
        reads: Taps that the gate reads; the first one of every modality if none are named.
        samples: Most of the weights split that are read; 0 for all.
        epochs: Of every training; 0 for the default.
    """

    space: str = "layerwise"
    dynamic: tuple[str, ...] = ("modality", "fusion")
    reads: tuple[str, ...] = ()
    samples: int = 0
    epochs: int = 0


PLANS = {
    "avmnist": Plan(samples=10_000, epochs=8),
    "utd_mhad": Plan(space="experts", dynamic=("modality",)),
    # The cheap modality first: strokes cost a quarter of the multiply-adds of the image.
    "omniglot8": Plan(space="experts", dynamic=("modality",), reads=("strokes@0", "strokes@1", "strokes@2"), epochs=16),
}
"""By data set; others go by the defaults."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number of one search.

    Attributes:
        data: Name of the set.
        seed: Of the search.
        of: gate, random, oracle or static; or the modality that is noisy, before a slash and gate or static.
        at: Multiply-adds as a share of the static architecture's; of noise its deviation.
        score: Primary metric on the test split.
        in_words: Of oracle and static what the dynamic and the static network are.
    """

    data: str
    seed: int
    of: str
    at: float
    score: float
    in_words: str = ""


def measure(data: FusionData, plan: Plan, seed: int, device: torch.device) -> list[Row]:
    """Searches once, trains the dynamic and the static network, and reads the test split."""
    space = make_space(plan.space, data, None, OPERATIONS, plan.dynamic)
    training = TrainingConfig(epochs=plan.epochs)
    setup = Setup(data=data, space=space, training=training, device=device, progress=print)
    static_space = replace(setup, space=replace(space, dynamic=()))
    result = find(static_space, SearchConfig(), "sampled", "one_standard_error", "auto", seed)
    assert result.discretized is not None
    assert result.explored.network is not None
    found, prepared = result.architecture, result.prepared
    reads = plan.reads or shallow_taps(space, found)
    seen = seen_by_gate(scored_samples(prepared.architecture), result.explored.network, reads, device)
    parts = result.discretized.candidates, result.discretized.cost
    routes = candidate_routes(space, found, *parts, seen, price=training.cost_weight)

    def row(of: str, at: float, reached: float, in_words: str = "") -> Row:
        return Row(data=data.name, seed=seed, of=of, at=at, score=reached, in_words=in_words)

    batch = split_batch(data, "test", device)
    if len(routes) < 2:
        static = train_all(setup, prepared, [Contestant("static", "static", found)])[0].network
        return [row("static", 1.0, score_of(data, static, batch, device), found.in_words())]
    gated = Architecture.gated(routes, reads)
    rows = [Contestant("found", "found", gated), Contestant("static", "static", found)]
    dynamic, static = (entry.network for entry in train_all(setup, prepared, rows))
    ways = Routes.of(dynamic, batch, data, device)
    assert dynamic.gate is not None
    whole = float(dynamic.gate.static_cost)
    points = points_of_gates(dynamic, data, ways, batch, seed, device)
    costs, scores = (np.array(some) for some in zip(*sorted(points), strict=True))
    found_rows = [row("static", 1.0, score_of(data, static, batch, device), found.in_words())]
    reached, spent = ways.at(ways.oracle())
    found_rows.append(row("oracle", spent / whole, reached, gated.in_words()))
    found_rows += [
        row("route", cost / whole, reached) for cost, reached in zip(ways.costs.tolist(), ways.alone(), strict=True)
    ]
    for share in SHARES:
        if costs[0] <= share * whole:
            found_rows.append(row("gate", share, float(np.interp(share * whole, costs, scores))))
            found_rows.append(row("random", share, ways.random(share * whole)))
    few = batch.take(slice(0, MAX_NOISY))
    for name in dynamic.encoders:
        for noise in NOISES:
            noisy = with_noise(few, name, noise)
            for of, network in (("gate", dynamic), ("static", static)):
                if noisy is not None and name in network.encoders:
                    found_rows.append(row(f"{name}/{of}", noise, score_of(data, network, noisy, device)))
    return found_rows


def score_of(data: FusionData, network: FusionNetwork, batch: Batch, device: torch.device) -> float:
    """Primary metric of a network on a batch."""
    outputs, targets = predict(network, batch, device)
    return score(PRIMARY[data.task], outputs.numpy(), targets.numpy())


def points_of_gates(
    network: FusionNetwork, data: FusionData, ways: Routes, batch: Batch, seed: int, device: torch.device
) -> list[tuple[float, float]]:
    """(multiply-adds, score) on a batch of gates that were trained at each of the prices, the routes as they are.

    Of these and of the gates that always take one route those are told that lie on the upper hull of all of them on the
    samples that judge.

    Args:
        network: With a gate; left as it is.
        data: That all is of.
        ways: What the routes come to on the batch.
        batch: On which the gates are asked.
        seed: Of initialisation and order.
        device: Where the network is.
    """
    assert network.gate is not None
    architecture = split_batch(data, "architecture", device)
    held_out = Routes.of(network, architecture, data, device)
    losses = held_out.losses(network.head.scale)
    shares = torch.from_numpy(held_out.costs / float(network.gate.static_cost)).float()
    seen, asked = (
        {name: tap[:, None] for name, tap in _by_tap(network, seen_by_gate(some, network, network.gate.reads, device))}
        for some in (architecture, batch)
    )
    judges = np.arange(len(losses)) % JUDGING == 0
    judging = replace(held_out, outputs=held_out.outputs[:, judges], targets=held_out.targets[judges])
    picked = [
        (np.full(int(judges.sum()), number), np.full(len(batch), number)) for number in range(len(network.routes))
    ]
    for price in PRICES:
        with seeded(seed) as generator:
            gate = train_gate(network.gate, seen, losses + price * shares, generator)
        with torch.no_grad():
            picked.append((gate(seen).argmax(dim=1).numpy()[judges], gate(asked).argmax(dim=1).numpy()))
    judged = [judging.at(some)[::-1] for some, _ in picked]
    sense = 1.0 if higher_is_better(PRIMARY[data.task]) else -1.0
    return [ways.at(picked[place][1])[::-1] for place in upper_hull([(cost, sense * own) for cost, own in judged])]


def upper_hull(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points that no mixture of two others has a higher score than at the same cost, by rising cost."""
    kept: list[int] = []
    for place in sorted(range(len(points)), key=lambda number: (points[number][0], -points[number][1])):
        cost, own = points[place]
        if kept and own <= points[kept[-1]][1]:
            continue
        while len(kept) > 1:
            (first, low), (middle, between) = points[kept[-2]], points[kept[-1]]
            if (between - low) * (cost - first) > (own - low) * (middle - first):
                break
            kept.pop()
        kept.append(place)
    return kept


def _by_tap(network: FusionNetwork, seen: Tensor) -> list[tuple[str, Tensor]]:
    """What a gate sees, divided by the tap that it is of."""
    assert network.gate is not None
    reads = network.gate.reads
    widths = [network.encoder(tap_modality(name)).channels[tap_depth(name)] for name in reads]
    return list(zip(reads, seen.split(widths, dim=1), strict=True))


def train_gate(like: Gate, seen: Mapping[str, Tensor], prices: Tensor, generator: torch.Generator) -> Gate:
    """A fresh gate that learns by two thirds of the samples, as it is in the epoch that the last third likes best.

    Args:
        like: Of the same shape.
        seen: Tap to what is read of it, (n, 1, channels), on the CPU.
        prices: What every route comes to, (n, routes).
        generator: Of the order.
    """
    gate = Gate(like.reads, [tap.shape[2] for tap in seen.values()], like.routes)
    optimizer = torch.optim.AdamW(gate.parameters(), lr=3e-3, weight_decay=1e-2)
    judges = torch.arange(len(prices)) % JUDGING == 0
    learners = torch.nonzero(~judges).flatten()
    best, state = float("inf"), gate.state_dict()
    for _ in range(GATE_EPOCHS):
        order = learners[torch.randperm(len(learners), generator=generator)]
        for rows in order.split(BATCH):
            optimizer.zero_grad()
            soft(prices[rows], gate({name: tap[rows] for name, tap in seen.items()})).mean().backward()
            optimizer.step()
        with torch.no_grad():
            picked = gate({name: tap[judges] for name, tap in seen.items()}).argmax(dim=1, keepdim=True)
        reached = float(prices[judges].gather(1, picked).mean())
        if reached < best:
            best, state = reached, copy.deepcopy(gate.state_dict())
    gate.load_state_dict(state)
    return gate


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
    """Means over searches, with 95 % margins; differences are paired."""
    by = series(rows, data)
    static = by["static", 1.0]
    words = [row.in_words for row in rows if row.data == data and row.of == "static"]
    lines = ["| search | static architecture | routes of the dynamic one |", "| --- " * 3 + "|"]
    routed = {row.seed: row.in_words for row in rows if row.data == data and row.of == "oracle"}
    lines += [
        f"| {seed} | {told} | {routed.get(seed, 'no cheaper route')} |"
        for seed, told in zip(static, words, strict=True)
    ]
    lines += ["", f"Static: {mean_and_margin(static)}.", ""]
    lines += ["| multiply-adds, of static | gate | random | gate is better by | than static by |", "| --- " * 5 + "|"]
    for share in SHARES:
        gate, random = by.get(("gate", share), {}), by.get(("random", share), {})
        if len(gate) == len(static):  # a mean over fewer searches would be one over others
            told = [mean_and_margin(gate), mean_and_margin(random)]
            told += [mean_and_margin(gate, random), mean_and_margin(gate, static)]
            lines.append(f"| {100 * share:.0f} % | {' | '.join(told)} |")
    oracle = [(row.at, row.score) for row in rows if row.data == data and row.of == "oracle"]
    if oracle:
        spent, reached = np.mean(oracle, axis=0)
        lines += ["", f"Oracle: {100 * reached:.1f} at {100 * spent:.1f} % of the multiply-adds."]
    noisy = dict.fromkeys(of.split("/")[0] for of, _ in by if "/" in of)
    if noisy:
        lines += ["", "| noise on | deviation | dynamic | static | dynamic is better by |", "| --- " * 5 + "|"]
    for name in noisy:
        for noise in NOISES:
            gate, fixed = by[f"{name}/gate", noise], by.get((f"{name}/static", noise), {})
            told = [mean_and_margin(gate), mean_and_margin(fixed), mean_and_margin(gate, fixed)]
            lines.append(f"| {name} | {noise:g} | {' | '.join(told)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds a folder per data set")
    parser.add_argument("--only", nargs="*", default=["avmnist", "utd_mhad"], help="names of the data sets to run")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("results/dynamic/curves"))
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    origin = provenance(f"python -m benchmarks.dynamic_curves FOLDER --only {' '.join(given.only)}")
    rows = read_rows(given.out / "rows.csv", Row)
    for seed in range(given.searches):
        for source in SOURCES:
            path = given.folder / source.path
            name = path.stem
            if name not in given.only or any((row.data, row.seed) == (name, seed) for row in rows):
                continue
            if not path.exists():
                print(f"{name}: skipped, {source.path} is not in the folder")
                continue
            plan = PLANS.get(name, Plan())
            data = load_data(path, modalities=source.modalities, target=source.target, split=source.split)
            if plan.samples:
                data = replace(data, splits={**data.splits, "weights": data.splits["weights"][: plan.samples]})
            rows += measure(replace(data, name=name), plan, seed, pick_device(given.device))
            write_rows(given.out / "rows.csv", Row, rows, digits=4)
            write(given.out, rows, origin)


def write(out: Path, rows: Sequence[Row], origin: Mapping[str, object]) -> None:
    """Draws every data set and writes the tables."""
    text = "# curves: score against multiply-adds of gates on real data\n\n"
    text += about(__doc__)
    for name in dict.fromkeys(row.data for row in rows):
        searches, plan = len({row.seed for row in rows if row.data == name}), PLANS.get(name, Plan())
        draw(out, rows, name)
        text += f"\n\n## {name}, {searches} searches in `{plan.space}`, dynamic by {' and '.join(plan.dynamic)}"
        if plan.reads:
            text += f", a gate on {', '.join(plan.reads)}"
        if plan.samples:
            text += f", the first {plan.samples} samples, {plan.epochs} epochs"
        text += f"\n\n![score against multiply-adds, and noise]({name}.png)\n\n{table(rows, name)}"
    text += (
        f"\n\n± is half a 95 % interval over searches. {origin_told(origin)}. "
        "Rows: `rows.csv`; what is drawn: `NAME.csv`.\n"
    )
    write_atomically(out / "README.md", text.encode())


if __name__ == "__main__":
    main()
