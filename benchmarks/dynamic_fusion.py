"""Score against multiply-adds of DynMM at the fusion level, static and per sample, beside a cascade.

    python -m benchmarks.dynamic_fusion FOLDER --seeds 3 --out results/dynamic_fusion

The space `dynmm_fusion` on two sets of two maps. In `aligned`, which is made, places correspond: of three shapes in a
noisy picture a depth map marks the one that is asked for, and in half of the samples there is that one alone. In
`avmnist` they do not: its second map is a spectrogram.

Static: for every k a network, trained from scratch. Per sample: one network with all k and a gate on the first layers
of both, trained from scratch at each of some prices of multiply-adds. Late fusion and the cascade are of the space
`layerwise`; the cascade has the chain of late fusion that searches on avmnist have found (`results/dynamic/curves`), is
trained once, and its thresholds are fitted at ten prices. All networks of a set learn from the same samples in the same
number of epochs, and multiply-adds are those of the whole network, gate included. Beside a gate stands the best that
does not look: a random mixture of two static networks at its multiply-adds, told their test scores.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

from benchmarks.dynamic_curves import points_of_cascades, score_of, upper_hull
from benchmarks.dynamic_figure import mean_and_margin
from benchmarks.pages import about, origin_told
from benchmarks.rows import read_rows, write_rows
from nas.config import RunConfig
from nas.data import FusionData, load_data
from nas.data.batches import split_batch
from nas.device import pick_device
from nas.pipeline.search import make_space
from nas.retraining.preparation import TrainingSetup, raw
from nas.retraining.retrain import train_from_scratch
from nas.routing.explain import Routes
from nas.routing.network import RoutedNetwork
from nas.routing.search import shallow_taps
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.space.architecture import Architecture, Choice
from nas.summary import Provenance

SETS = ("aligned", "avmnist")

WAYS = ("sum", "squeeze_excitation")

PRICES = (0.03, 0.1, 0.3)
"""Loss that the multiply-adds of the network of the largest k are worth, at which gates are trained."""

ARCHITECTURE = 1000
"""Samples of the architecture split that are read."""

NOTHING = Choice("none")

SHAPES = np.array([[[0, 1, 0]] * 3, [[0] * 3, [1] * 3, [0] * 3], np.eye(3), np.eye(3)[::-1]])
"""Of the made set, one a class: bars, upright and lying, and two diagonals."""


def chain(first: str, second: str) -> Sequence[Sequence[Choice]]:
    """Routes of the cascade; the last one is late fusion."""
    alone = Choice("carry", (f"{first}@0",))
    return (
        (alone, NOTHING, NOTHING),
        (Choice("additive", (f"{first}@0", f"{second}@0")), NOTHING, NOTHING),
        (alone, Choice("carry", (f"{second}@1",)), NOTHING),
        (alone, NOTHING, Choice("carry", (f"{second}@2",))),
        (NOTHING, Choice("carry", (f"{first}@1",)), Choice("carry", (f"{second}@2",))),
        (NOTHING, NOTHING, Choice("additive", (f"{first}@2", f"{second}@2"))),
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network on the test split.

    Attributes:
        data: Name of the set.
        seed: Of its training.
        of: "static", "gate", "late" or "cascade".
        how: How the second modality is added; of late fusion and a cascade "".
        at: k of a static network, price of a gate; of a cascade the number of a point, by rising cost.
        multiply_adds: Mean over samples.
        score: Accuracy.
        taken: Of a gate, how many of a hundred samples take each k.
    """

    data: str
    seed: int
    of: str
    how: str
    at: float
    multiply_adds: float
    score: float
    taken: str = ""


def joined(data: FusionData, how: str, seed: int, epochs: int, device: torch.device) -> list[Row]:
    """Every k, and gates on all of them."""
    setup = _setup(data, f"dynmm_fusion:how={how}", epochs, device)
    batch, found, space = split_batch(data, "test", device), list[Row](), setup.space
    prepared, routes = raw(setup, seed), list(space.enumerate())
    for k, one in enumerate(routes):
        network = train_from_scratch(setup, prepared, one, "static").network
        cost = prepared.measure_cost(network).total(one)  # type: ignore[arg-type]  # it is static
        found.append(
            Row(
                data=data.name,
                seed=seed,
                of="static",
                how=how,
                at=k,
                multiply_adds=cost,
                score=score_of(data, network, batch, device),
            )
        )
        print(found[-1])
    gated = Architecture.gated(routes, shallow_taps(space, routes[-1]))
    for price in PRICES:
        priced = replace(setup, training=replace(setup.training, cost_weight=price))
        routed = train_from_scratch(priced, prepared, gated, "gate").network
        assert isinstance(routed, RoutedNetwork)
        ways = Routes.of(routed, batch, data, device)
        picked = routed.router.pick(torch.from_numpy(ways.logits)).numpy()
        reached, spent = ways.at(picked)
        shares = np.bincount(picked, minlength=len(routes)) / len(picked)
        taken = " ".join(f"{100 * share:.0f}" for share in shares)
        found.append(
            Row(
                data=data.name,
                seed=seed,
                of="gate",
                how=how,
                at=price,
                multiply_adds=spent,
                score=reached,
                taken=taken,
            )
        )
        print(found[-1])
    return found


def cascade(data: FusionData, seed: int, epochs: int, device: torch.device) -> list[Row]:
    """Late fusion, and the points of one cascade."""
    setup = _setup(data, "layerwise", epochs, device)
    names = [node.name for node in setup.space.nodes]
    routes = [
        Architecture.chain("layerwise", list(zip(names, some, strict=True))) for some in chain(*setup.data.modalities)
    ]
    prepared, batch = raw(setup, seed), split_batch(data, "test", device)
    late = train_from_scratch(setup, prepared, routes[-1], "late").network
    cost = prepared.measure_cost(late).total(routes[-1])  # type: ignore[arg-type]  # it is static
    reached = score_of(data, late, batch, device)
    trained = train_from_scratch(setup, prepared, Architecture.cascaded(routes), "cascade").network
    assert isinstance(trained, RoutedNetwork)
    held_out, ways = (
        Routes.of(trained, split_batch(data, split, device), data, device) for split in ("architecture", "test")
    )
    points: list[tuple[str, int, float, float]] = [("late", 0, cost, reached)]
    points += [("cascade", place, *one) for place, one in enumerate(points_of_cascades(trained, held_out, ways))]
    return [
        Row(data=data.name, seed=seed, of=of, how="", at=at, multiply_adds=spent, score=score)
        for of, at, spent, score in points
    ]


def aligned(seed: int, count: int = 6500) -> FusionData:
    """The made set: 1500 samples to learn from, 1000 to choose by, the others for the test."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, len(SHAPES), count)
    picture, depth = (0.5 * generator.normal(size=(2, count, 1, 12, 12))).astype(np.float32)
    for row, label in enumerate(labels):
        cells = generator.permutation(9)[: 1 if row % 2 else 3]
        for place, cell in enumerate(cells):
            shape = SHAPES[label if place == 0 else generator.integers(0, len(SHAPES))]
            top, left = 4 * (cell // 3), 4 * (cell % 3)
            picture[row, 0, top : top + 3, left : left + 3] += 2 * shape
            if place == 0:
                depth[row, 0, top : top + 3, left : left + 3] += 2
    splits = np.repeat([0, 1, 2], [1500, ARCHITECTURE, count - 1500 - ARCHITECTURE])
    return FusionData.from_arrays({"picture": picture, "depth": depth}, labels, splits=splits, name="aligned")


def _setup(data: FusionData, space: str, epochs: int, device: torch.device) -> TrainingSetup:
    training = RunConfig.of(preset="quick", epochs=epochs).training
    return TrainingSetup(
        data=data, space=make_space(space, data, None, None, []), training=training, device=device, progress=print
    )


def table(rows: Sequence[Row]) -> str:
    """Means over seeds, with 95 % margins; differences are paired."""
    points = {(row.of, row.how, row.at, row.seed): row for row in rows}
    seeds = sorted({row.seed for row in rows})
    curves = {
        seed: [(row.multiply_adds, row.score) for row in rows if row.of == "cascade" and row.seed == seed]
        for seed in seeds
    }
    lines = []
    for how in dict.fromkeys(row.how for row in rows if row.how):
        lines += [f"### `how={how}`", ""]
        heads = [
            "network",
            "multiply-adds",
            "accuracy, %",
            "cascade at this cost",
            "random mixture",
            "samples per k, %",
        ]
        lines += [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
        shown = [(row.of, row.how, row.at) for row in rows if row.how == how or row.of == "late"]
        for of, way, at in sorted(dict.fromkeys(shown), key=lambda one: one[0] != "late"):
            own = [points[of, way, at, seed] for seed in seeds]
            cost = float(np.mean([one.multiply_adds for one in own]))
            beside = {one.seed: _on(curves[one.seed], one.multiply_adds) for one in own}
            told = "–"
            if of == "gate":
                static = {
                    seed: [(row.multiply_adds, row.score) for row in rows if row.seed == seed and _is_static(row, how)]
                    for seed in seeds
                }
                told = mean_and_margin({one.seed: _on(static[one.seed], one.multiply_adds) for one in own})
            name = {"static": f"static, k = {at:.0f}", "gate": f"gate, price {at:g}", "late": "late fusion"}[of]
            score = mean_and_margin({one.seed: one.score for one in own})
            taken = "; ".join(one.taken for one in own) if of == "gate" else "–"
            lines.append(f"| {name} | {cost:,.0f} | {score} | {mean_and_margin(beside)} | {told} | {taken} |")
        lines.append("")
    return "\n".join(lines)


def _is_static(row: Row, how: str) -> bool:
    return row.of == "static" and row.how == how


def _on(points: Sequence[tuple[float, float]], cost: float) -> float:
    """The score at a cost on the upper hull of some points, by random mixture; NaN below the cheapest."""
    hull = [points[place] for place in upper_hull(points)]
    costs, scores = zip(*hull, strict=True)
    return float(np.interp(cost, costs, scores)) if cost >= costs[0] else float("nan")


def write(out: Path, rows: Sequence[Row], origin: Provenance, told: str) -> None:
    """Writes the tables."""
    lines = [about(__doc__), ""]
    for name in dict.fromkeys(row.data for row in rows):
        own = [row for row in rows if row.data == name]
        lines += [f"## {name}, {len({row.seed for row in own})} seeds, {told}", "", table(own)]
    lines += [f"Rows are in [`rows.csv`](rows.csv). {origin_told(origin)}.", ""]
    write_atomically(out / "measured.md", "\n".join(lines).encode())


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds the folder avmnist")
    parser.add_argument("--only", nargs="*", choices=SETS, default=SETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=1500, help="of the weights split, the first ones")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--how", nargs="*", choices=WAYS, default=WAYS)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own default")
    parser.add_argument("--out", type=Path, default=Path("results/dynamic_fusion"))
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    device, told = (
        pick_device(given.device),
        f"the first {given.samples:,} + {ARCHITECTURE:,} samples, {given.epochs} epochs",
    )
    origin = provenance(f"python -m benchmarks.dynamic_fusion FOLDER --seeds {given.seeds} --how {' '.join(given.how)}")
    few = {"weights": given.samples, "architecture": ARCHITECTURE}
    rows = read_rows(given.out / "rows.csv", Row)
    for name, seed in product(given.only, range(given.seeds)):
        if any((row.data, row.seed) == (name, seed) for row in rows):
            continue
        data = aligned(seed)
        if name == "avmnist":
            data = load_data(given.folder / "avmnist", modalities="image,audio", target="label")
        splits = {split: numbers[: few.get(split)] for split, numbers in data.splits.items()}
        data = replace(data, splits=splits, name=name)
        own = cascade(data, seed, given.epochs, device)
        for how in given.how:
            own += joined(data, how, seed, given.epochs, device)
        rows += own
        write_rows(given.out / "rows.csv", Row, rows, digits=4)
        write(given.out, rows, origin, told)


if __name__ == "__main__":
    main()
