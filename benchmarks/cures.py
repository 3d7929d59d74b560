"""Training objectives against plain training of one architecture: where their failure is planted, and on real sets.

    python -m benchmarks.cures --out results/cures
    python -m benchmarks.cures FOLDER --only wikipedia10 --out results/cures

*Planted*: a task of `nas.data.failure_tasks` for every failure, with the cures that are for it. *Real*: every cure on
the data sets in a folder, those of `benchmarks.datasets`. The architecture is fixed, late fusion; `residual`, which
needs interactions beside a sum, trains late fusion with a nonlinear node one depth before, against plain training of
the same. Encoders are trained jointly wherever there are any to train, for frozen ones leave the cures but the adapters
to act on. Of avmnist the first 10,000 samples of the weights split are read. The best epoch is chosen on the
architecture split, and each network judged once on the test split.

Rows that are there already are not trained again: a benchmark that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.datasets import SOURCES, Source, read
from benchmarks.rows import as_text, read_rows, statistics_of, write_rows
from nas.config import RunConfig
from nas.data import FusionData
from nas.data.batches import split_batch
from nas.data.failure_tasks import FailureKind, FailureTask
from nas.network.prediction import predict
from nas.pipeline.search import make_space
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.seeding import seeded
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.statistics import Interval, interval, paired_interval
from nas.training.build import build_network
from nas.training.train import train

CPU = torch.device("cpu")

PLAIN = ""


MAX_SAMPLES = {"avmnist": 10_000}
"""Most samples of the weights split that are read, by data set; all of others."""


@dataclass(frozen=True)
class Row:
    """One training: which samples of the test split it gets right, in base64, and what it took."""

    task: str
    network: str
    objective: str
    seed: int
    accuracy: float
    architecture_accuracy: float
    epochs: int
    seconds: float
    samples: int
    right: str

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells it from others."""
        return self.task, self.network, self.objective, self.seed

    def statistics(self) -> NDArray[np.float64]:
        """As `nas.statistics.sample_statistics` has it, (samples, 2)."""
        return statistics_of(self.right, self.samples)


@dataclass(frozen=True)
class Arm:
    """A network, `late` or `both` of a sum and a nonlinear node, and an objective."""

    network: str
    objective: str


@dataclass(frozen=True)
class Case:
    """A data set and the arms that are tried on it, the plain ones among them."""

    task: str
    make: Callable[[], FusionData]
    arms: tuple[Arm, ...]


def planted() -> list[Case]:
    """Every failure with its cures."""
    cures: dict[FailureKind, tuple[str, tuple[str, ...]]] = {
        "hasty": ("late", ("gradient_blending", "gradient_blending_online", "gradient_modulation:2")),
        "dominant": ("late", ("gradient_modulation", "gradient_modulation:2", "gradient_blending")),
        "leak": ("late", ("modality_dropout",)),
        "prior": ("late", ("rubi:tag",)),
        "hidden": ("both", ("residual", "residual_sequential")),
        "unaligned": ("late", ("align",)),
    }
    return [
        Case(kind, FailureTask(kind=kind).make, tuple(Arm(network, one) for one in (PLAIN, *names)))
        for kind, (network, names) in cures.items()
    ]


def real(folder: Path, only: Sequence[str] | None) -> Iterator[Case]:
    """Every set of a folder with all cures; the biased modality of rubi is the first, and align takes the first two."""
    for source in SOURCES:
        if (only and source.name not in only) or not (folder / source.path).exists():
            continue
        names = [part.split(":")[0] for part in source.modalities.split(",")]
        late = (
            PLAIN,
            "gradient_blending",
            "gradient_modulation",
            f"rubi:{names[0]}",
            f"align:{names[0]}+{names[1]}",
            "modality_dropout",
        )
        both = (PLAIN, "residual", "residual_sequential")

        def make(source: Source = source) -> FusionData:
            data = read(source, folder)
            weights = data.splits["weights"][: MAX_SAMPLES.get(source.name)]
            return replace(data, splits={**data.splits, "weights": weights})

        yield Case(source.name, make, (*(Arm("late", one) for one in late), *(Arm("both", one) for one in both)))


def architecture_of(space: SearchSpace, network: str) -> Architecture:
    """Late fusion, or with it a nonlinear node of all modalities one depth before."""
    late = next(one.architecture for one in space.references if one.kind == "late")
    if network == "late":
        return late
    before = space.nodes[-2].name
    mlp = next(one.architecture for one in space.references if one.name == "mlp" and one.architecture.output == before)
    return space.compose({step.name: step.choice for step in (*mlp.steps, *late.steps)})


def run(case: Case, seeds: Sequence[int], rows: dict[tuple[str, str, str, int], Row], path: Path) -> None:
    """Trains what is not there yet, one seed of all arms after another, and writes after each."""
    wanted = [(arm, seed) for seed in seeds for arm in case.arms]
    wanted = [(arm, seed) for arm, seed in wanted if (case.task, arm.network, arm.objective, seed) not in rows]
    if not wanted:
        return
    data = case.make()
    space = make_space("layerwise", data)
    batches = [split_batch(data, split, CPU) for split in ("weights", "architecture", "test")]
    for arm, seed in wanted:
        config = RunConfig.of(preset="quick", objective=arm.objective).training
        with seeded(seed):
            network = build_network(space.only(architecture_of(space, arm.network)), data, config)
        started = time.process_time()
        done = train(network, data.task, batches[0], batches[1], config, seed=seed, device=CPU)
        seconds = time.process_time() - started
        outputs, targets = predict(done.network, batches[2], CPU)
        right = (outputs.argmax(dim=1) == targets).numpy()
        row = Row(
            task=case.task,
            network=arm.network,
            objective=arm.objective,
            seed=seed,
            accuracy=float(right.mean()),
            architecture_accuracy=done.architecture_score,
            epochs=done.num_epochs,
            seconds=seconds,
            samples=len(right),
            right=as_text(right),
        )
        rows[row.key] = row
        write_rows(path, Row, rows.values(), digits=4)
        print(case.task, arm.network, arm.objective or "plain", seed, f"{row.accuracy:.3f}", flush=True)


def table(rows: Sequence[Row]) -> list[str]:
    """A line for every cure: plain accuracy, its own, the paired gain."""
    lines = [
        "| task | network | cure | plain | cured | gain, points | seeds | × plain seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for task, network, objective in dict.fromkeys((row.task, row.network, row.objective) for row in rows):
        if objective == PLAIN:
            continue
        by_seed = {row.seed: row for row in rows if row.key[:3] == (task, network, objective)}
        plain = {row.seed: row for row in rows if row.key[:3] == (task, network, PLAIN) and row.seed in by_seed}
        seeds = sorted(plain)
        if not seeds:
            continue
        cured, before = ([some[seed].statistics() for seed in seeds] for some in (by_seed, plain))
        gain = paired_interval("accuracy", cured, before)
        seconds = [sum(some[seed].seconds for seed in seeds) for some in (by_seed, plain)]
        mark = "**" if gain.excludes_zero else ""
        lines.append(
            f"| {task} | {network} | {objective} | {_percent(interval('accuracy', before))} | "
            f"{_percent(interval('accuracy', cured))} | {mark}{_gain(gain)}{mark} | {len(seeds)} | "
            f"{seconds[0] / max(1e-9, seconds[1]):.1f} |"
        )
    return lines


def _percent(found: Interval) -> str:
    return f"{100 * found.mean:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _gain(found: Interval) -> str:
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def page(out: Path) -> str:
    """What the rows come to; `notes.md` in the same folder, written by people, is taken over as it is."""
    kinds = {case.task for case in planted()}
    rows = read_rows(out / "rows.csv", Row)
    notes = out / "notes.md"
    return "\n".join(
        [
            "# cures: training objectives against plain training",
            "",
            "Accuracy on the test split in %, mean over seeds with 95 % interval; gains are paired over seeds and",
            "samples, bold where the interval excludes zero. Joint encoders, one architecture, default training.",
            "",
            "## Planted failures",
            "",
            *table([row for row in rows if row.task in kinds]),
            "",
            "## Real sets",
            "",
            *table([row for row in rows if row.task not in kinds]),
            "",
            *([notes.read_text().strip(), ""] if notes.exists() else []),
            "Rows: `rows.csv`, with the test samples that each training gets right, in base64.",
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="holds a folder per real data set; planted ones if absent")
    parser.add_argument("--only", nargs="*", help="names of the tasks or data sets to run; all if absent")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--out", type=Path, default=Path("results/cures"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    path = given.out / "rows.csv"
    rows = {row.key: row for row in read_rows(path, Row)}
    cases = planted() if given.folder is None else list(real(given.folder, given.only))
    for case in cases:
        if not given.only or case.task in given.only:
            run(case, range(given.seeds), rows, path)
    origin = provenance("python -m benchmarks.cures")
    told = (
        f"`python -m benchmarks.cures` and `python -m benchmarks.cures FOLDER`, commit {origin.commit}, "
        f"{origin.started_at}, {origin.hardware}, load {os.getloadavg()[0]:.1f}; torch "
        f"{origin.versions['torch']}.\n"
    )
    text = page(given.out) + "\n" + told
    write_atomically(given.out / "README.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
