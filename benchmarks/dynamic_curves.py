"""Score against multiply-adds of cascades on real data, and what noise does to them.

    python -m benchmarks.dynamic_curves FOLDER --only avmnist --searches 5 --out results/dynamic/curves

Each search, of its own seed, makes a cascade of late fusion with a budget of half of its multiply-adds, whether or not
it takes that. Both are trained once from scratch. Then the routes are held fixed and
cascades are fitted to their answers on the architecture split at ten prices of multiply-adds. Those of them, and of the
gates that always take one route, that lie on the upper hull on that split make the curve on the test split; between its
points it is a random mixture of both.

Beside it stand the best gate that does not look at the sample, for which a route costs what it does by itself, and
which is even told the scores of all routes on the test split; the oracle that takes for every sample the cheapest route
no more wrong than the last one: no gate that is never worse than that route on a sample spends less; and the informed
gate, which is told the answers of all routes but the last one for nothing, and has forests that predict from them which
routes are right.

Noise is normal, in units of each feature's deviation, on the first 2000 samples of the test split. Of larger sets the
first samples of the weights split are taken, as the table says. Rows that are there already are not measured again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from benchmarks.datasets import SOURCES, read
from benchmarks.dynamic_figure import draw, mean_and_margin, series
from benchmarks.pages import about, origin_told
from benchmarks.rows import read_rows, write_rows
from nas.config import EncoderMode, RunConfig, SearchConfig
from nas.data import FusionData
from nas.data.batches import Batch, split_batch
from nas.device import pick_device
from nas.metrics import higher_is_better, sample_errors, score
from nas.network.cost import CostTable
from nas.pipeline.search import find, let_decide, make_space
from nas.retraining.baselines import Contestant
from nas.retraining.preparation import TrainingSetup, prepare
from nas.retraining.retrain import train_all
from nas.routing.cascade import Cascade
from nas.routing.explain import Routes
from nas.routing.levels import CASCADE
from nas.routing.network import DerivedNetwork, RoutedNetwork
from nas.routing.prediction import answers
from nas.routing.thresholds import fitted
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.summary import Provenance
from nas.tasks import TASKS

OPERATIONS = ("additive", "multiplicative", "mlp")

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.54, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Multiply-adds at which curves are read, as shares of the static architecture's; 0.54 saves 46 %."""

BUDGET = 0.5
"""Of the cascade that is searched, as a share of the static architecture's multiply-adds."""

PRICES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0)
"""Loss that the static architecture's multiply-adds are worth."""

NOISES = (0.0, 0.5, 1.0, 2.0)

MAX_NOISY = 2000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a data set is searched.

    Attributes:
        encoders: How they are trained.
        samples: Most of the weights split that are read; 0 for all.
        epochs: Of every training; 0 for the default.
    """

    encoders: EncoderMode = "auto"
    samples: int = 0
    epochs: int = 0


PLANS = {
    "avmnist": Plan(encoders="joint", samples=10_000, epochs=16),
    "omniglot8": Plan(encoders="joint"),
}
"""By data set; others go by the defaults."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number of one search.

    Attributes:
        data: Name of the set.
        seed: Of the search.
        of: gate, random, oracle, informed, route or static; pretrained, the static one with encoders that were trained
            alone first; or the modality that is noisy, before a slash and gate or static.
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
    space = make_space("layerwise", data, None, OPERATIONS, [CASCADE])
    training = RunConfig.of(preset="quick", epochs=plan.epochs, max_multiply_adds=BUDGET).training
    setup = TrainingSetup(data=data, space=space, training=training, device=device, progress=print)
    found = next(one.architecture for one in space.references if one.kind == "late")
    result = find(setup, SearchConfig(encoders=plan.encoders), seed)
    result = let_decide(setup, result, found)
    assert result.gated is not None
    prepared, tried = result.prepared, result.gated.tried

    def row(of: str, at: float, reached: float, in_words: str = "") -> Row:
        return Row(data=data.name, seed=seed, of=of, at=at, score=reached, in_words=in_words)

    batch = split_batch(data, "test", device)
    static = train_all(setup, prepared, [Contestant("static", "static", found)])[0].network
    found_rows = [row("static", 1.0, score_of(data, static, batch, device), found.in_words())]
    if result.encoders == "joint":
        before = prepare(setup, "pretrained", seed)[0]
        other = train_all(setup, before, [Contestant("static", "static", found)])[0].network
        found_rows.append(row("pretrained", 1.0, score_of(data, other, batch, device)))
    if not tried:
        return found_rows
    gated, routes = tried[0], tried[0].routes()
    dynamic = train_all(setup, prepared, [Contestant("found", "found", gated)])[0].network
    assert isinstance(dynamic, RoutedNetwork)
    held_out = Routes.of(dynamic, split_batch(data, "architecture", device), data, device)
    ways = Routes.of(dynamic, batch, data, device)
    table = CostTable.measure(dynamic.network, batch.take(slice(0, 1)).inputs)
    own = np.array([float(table.total(route)) for route in routes])
    whole = float(dynamic.router.static_cost)
    costs, scores = (np.array(some) for some in zip(*points_of_cascades(dynamic, held_out, ways), strict=True))
    reached, spent = ways.at(ways.oracle())
    found_rows.append(row("oracle", spent / whole, reached, gated.in_words()))
    found_rows += [
        row("route", cost / whole, alone)
        for cost, alone in zip(ways.costs.tolist(), ways.single_route_scores(), strict=True)
    ]
    told, paid = (np.array(some) for some in zip(*informed(held_out, ways, own), strict=True))
    for share in SHARES:
        if costs[0] <= share * whole:
            found_rows.append(row("gate", share, float(np.interp(share * whole, costs, scores))))
            found_rows.append(row("random", share, ways.random(share * whole, own)))
            found_rows.append(row("informed", share, float(np.interp(share * whole, told, paid))))
    few = batch.take(slice(0, MAX_NOISY))
    for name in dynamic.encoders:
        for noise in NOISES:
            noisy = with_noise(few, name, noise)
            for of, network in (("gate", dynamic), ("static", static)):
                if noisy is not None and name in network.encoders:
                    found_rows.append(row(f"{name}/{of}", noise, score_of(data, network, noisy, device)))
    return found_rows


def score_of(data: FusionData, network: DerivedNetwork, batch: Batch, device: torch.device) -> float:
    """Primary metric of a network on a batch."""
    outputs, _, _ = answers(data.task, network, batch, device)
    return score(TASKS[data.task].metric, outputs.numpy(), batch.targets.cpu().numpy())


def points_of_cascades(network: RoutedNetwork, held_out: Routes, ways: Routes) -> list[tuple[float, float]]:
    """(multiply-adds, score) of cascades that were fitted at each of the prices, the routes as they are.

    Of these and of the gates that always take one route those are told that lie on the upper hull of all of them on the
    samples that they were fitted to, by rising cost.

    Args:
        network: A cascade; left as it is.
        held_out: What its routes come to on the architecture split.
        ways: What they come to where the cascades are asked.
    """
    gate = network.router
    assert isinstance(gate, Cascade)
    losses, shares = held_out.losses(network.head.scale), gate.shares().cpu()
    asked = torch.from_numpy(held_out.outputs), torch.from_numpy(ways.outputs)
    picked = [tuple(np.full(len(some.targets), number) for some in (held_out, ways)) for number in range(len(shares))]
    for price in PRICES:
        cascade = fitted(gate, asked[0], losses + price * shares)
        with torch.no_grad():
            picked.append(tuple(cascade.pick(cascade(some)).numpy() for some in asked))
    judged = [held_out.at(some)[::-1] for some, _ in picked]
    sense = 1.0 if higher_is_better(TASKS[ways.data.task].metric) else -1.0
    return [ways.at(picked[place][1])[::-1] for place in upper_hull([(cost, sense * own) for cost, own in judged])]


def informed(held_out: Routes, ways: Routes, own: NDArray[np.float64]) -> list[tuple[float, float]]:
    """(multiply-adds, score) of a gate that is told the answers of all routes but the last one for nothing.

    A forest for every route predicts from them whether it is right, and the gate takes the route of the highest
    probability less a price of its multiply-adds.

    Args:
        held_out: By which it learns.
        ways: Where it is asked.
        own: Multiply-adds of every route by itself, (routes,).
    """
    seen, asked = (
        np.concatenate(list(torch.from_numpy(some.outputs[:-1]).log_softmax(dim=2).numpy()), axis=1)
        for some in (held_out, ways)
    )
    targets = torch.from_numpy(held_out.targets)
    right = np.zeros((len(asked), len(own)))
    for number, outputs in enumerate(held_out.outputs):
        wrong = sample_errors(ways.data.task, torch.from_numpy(outputs), targets).numpy() > 0
        forest = RandomForestClassifier(300, min_samples_leaf=10, random_state=0).fit(seen, ~wrong)
        right[:, number] = forest.predict_proba(asked)[:, list(forest.classes_).index(True)] if (~wrong).any() else 0
    points = {}
    for price in np.concatenate([[0.0], np.geomspace(0.01, 3.0, 40)]):
        picked = (right - price * own / own[-1]).argmax(axis=1)
        points[float(own[picked].mean())] = ways.at(picked)[0]
    return sorted(points.items())


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
    lines += ["", f"Static: {mean_and_margin(static)}."]
    if other := by.get(("pretrained", 1.0), {}):
        lines[-1] += f" With encoders that were trained alone first: {mean_and_margin(other)}."
    heads = ["multiply-adds, of static", "cascade", "random", "cascade is better by", "than static by", "informed gate"]
    lines += ["", f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for share in SHARES:
        gate, random, told_all = (by.get((of, share), {}) for of in ("gate", "random", "informed"))
        if len(gate) == len(static):  # a mean over fewer searches would be one over others
            told = [mean_and_margin(gate), mean_and_margin(random), mean_and_margin(gate, random)]
            told += [mean_and_margin(gate, static), mean_and_margin(told_all)]
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
    parser.add_argument(
        "--only", nargs="*", default=["avmnist", "utd_mhad", "omniglot8"], help="names of the data sets to run"
    )
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
            name = source.name
            if name not in given.only or any((row.data, row.seed) == (name, seed) for row in rows):
                continue
            if not (given.folder / source.path).exists():
                print(f"{name}: skipped, {source.path} is not in the folder")
                continue
            plan = PLANS.get(name, Plan())
            data = read(source, given.folder)
            if plan.samples:
                data = replace(data, splits={**data.splits, "weights": data.splits["weights"][: plan.samples]})
            rows += measure(replace(data, name=name), plan, seed, pick_device(given.device))
            write_rows(given.out / "rows.csv", Row, rows, digits=4)
            write(given.out, rows, origin)


def write(out: Path, rows: Sequence[Row], origin: Provenance) -> None:
    """Draws every data set and writes the tables."""
    text = "# curves: score against multiply-adds of cascades on real data\n\n"
    text += about(__doc__)
    for name in dict.fromkeys(row.data for row in rows):
        searches, plan = len({row.seed for row in rows if row.data == name}), PLANS.get(name, Plan())
        draw(out, rows, name)
        text += f"\n\n## {name}, {searches} searches, encoders {plan.encoders}"
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
