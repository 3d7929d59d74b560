"""What each part of the default training is worth: one part is left out at a time, everything else stays.

    python -m benchmarks.ablation FOLDER --out results/ablation

Two networks of every data set are trained: late fusion, and what the first search of `results/datasets` found there.
Encoders are trained anew for every seed and every part that is left out, by the training that is left; the split in
which epochs are chosen is the architecture split, and each network is judged once on the test split. A part that cannot
act on a set, such as the shift of maps where there is no map, is not tried there. Rows that are there already are not
trained again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.datasets import SOURCES, read
from benchmarks.pages import about, origin_told
from benchmarks.rows import as_text, read_rows, statistics_of, write_rows
from nas.config import RunConfig
from nas.data import FusionData
from nas.pipeline.preprocessing import candidates, decide_preprocessing
from nas.pipeline.search import make_space
from nas.retraining.baselines import Contestant
from nas.retraining.preparation import TrainingSetup, prepare
from nas.retraining.retrain import judge, train_all
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.space.architecture import Architecture
from nas.statistics import Interval, interval, paired_interval

CPU = torch.device("cpu")

WHOLE = ""
"""The training with all its parts."""


@dataclass(frozen=True)
class Part:
    """A part of the default training.

    Attributes:
        words: What is done without it.
        options: Of a training without it.
        acts_on: Whether it can make a difference on a data set.
    """

    words: str
    options: Mapping[str, Any]
    acts_on: Callable[[TrainingSetup], bool] = lambda _setup: True


def _has_kind(kind: str) -> Callable[[TrainingSetup], bool]:
    return lambda setup: any(modality.kind == kind for modality in setup.data.modalities.values())


def _has_choice(setup: TrainingSetup) -> bool:
    return any(len(candidates(setup, name)) > 1 for name in setup.data.modalities)


PARTS: Mapping[str, Part] = {
    "label smoothing": Part("targets as they are", {"label_smoothing": 0.0}),
    "whole cycle": Part("training stops ten epochs after the best one", {"patience": 10}),
    "sixty epochs": Part("at most forty epochs", {"max_epochs": 40}),
    "dropout": Part("none in the adapters", {"dropout_rate": 0.0}),
    "weight decay": Part("none", {"weight_decay": 0.0}),
    "gradient clipping": Part("none", {"gradient_clip": 1e9}),
    "shift": Part("maps stay where they are", {"shift": 0.0}, _has_kind("map")),
    "peaks": Part("taps of sequences are means alone", {"peaks": False}, _has_kind("sequence")),
    "preprocessing": Part("everything is standardized", {"preprocessing": "standardize"}, _has_choice),
}


@dataclass(frozen=True)
class Row:
    """One training: which samples of the test split it gets right, in base64, and what it took."""

    data: str
    network: str
    without: str
    seed: int
    accuracy: float
    architecture_accuracy: float
    seconds: float
    samples: int
    right: str

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells it from others."""
        return self.data, self.network, self.without, self.seed

    def statistics(self) -> NDArray[np.float64]:
        """As `nas.statistics.sample_statistics` has it, (samples, 2)."""
        return statistics_of(self.right, self.samples)


def networks(setup: TrainingSetup, found: Path) -> Iterator[Contestant]:
    """Late fusion, and what was found; the same network once."""
    late = next(one.architecture for one in setup.space.references if one.kind == "late")
    yield Contestant("late fusion", "late", late)
    if found.exists():
        row = json.loads(found.read_text())[0]["leaderboard"][0]
        architecture = Architecture.from_dict(row["architecture"])
        if row["separate"] or architecture != late:
            yield Contestant("found", "found", architecture, separate=row["separate"])


def run(
    data: FusionData, found: Path, seeds: Sequence[int], rows: dict[tuple[str, str, str, int], Row]
) -> Iterator[None]:
    """Trains what is not there yet, all parts with one seed after another; yields after every one."""
    space = make_space("layerwise", data)
    for seed in seeds:
        for without in (WHOLE, *PARTS):
            training = RunConfig.of(**(PARTS[without].options if without else {})).training
            setup = TrainingSetup(data=data, space=space, training=training, device=CPU)
            if without and not PARTS[without].acts_on(setup):
                continue
            wanted = [one for one in networks(setup, found) if (data.name, one.name, without, seed) not in rows]
            if not wanted:
                continue
            started = time.process_time()
            setup, _ = decide_preprocessing(setup, "auto", seed)
            prepared, _ = prepare(setup, "auto", seed)
            judged, targets = judge(setup, train_all(setup, prepared, wanted))
            seconds = time.process_time() - started
            for one in judged:
                right = one.outputs.argmax(axis=1) == targets
                row = Row(
                    data=data.name,
                    network=one.entry.contestant.name,
                    without=without,
                    seed=seed,
                    accuracy=float(right.mean()),
                    architecture_accuracy=one.entry.architecture_score,
                    seconds=seconds,
                    samples=len(right),
                    right=as_text(right),
                )
                rows[row.key] = row
                told = f"without {without}" if without else "everything"
                print(data.name, row.network, told, seed, f"{row.accuracy:.3f}", f"{seconds:.0f} s", flush=True)
            yield


def gains(rows: Sequence[Row], data: str, network: str, without: str) -> Interval | None:
    """What a part gains on a data set, paired by seed and sample; None if it was not tried."""
    some = {row.seed: row for row in rows if (row.data, row.network, row.without) == (data, network, without)}
    whole = {row.seed: row for row in rows if (row.data, row.network, row.without) == (data, network, WHOLE)}
    seeds = sorted(some.keys() & whole.keys())
    if not seeds:
        return None
    return paired_interval("accuracy", *([one[seed].statistics() for seed in seeds] for one in (whole, some)))


def table(rows: Sequence[Row], network: str) -> list[str]:
    """A line for every part: what it gains on every data set, and in the mean over those where it acts."""
    names = list(dict.fromkeys(row.data for row in rows if row.network == network))
    lines = [f"| left out | {' | '.join(names)} | mean |", "| --- " * (len(names) + 2) + "|"]
    plain = []
    for name in names:
        whole = [row.statistics() for row in rows if (row.data, row.network, row.without) == (name, network, WHOLE)]
        plain.append(f"{100 * interval('accuracy', whole).mean:.1f}")
    lines.append(f"| *nothing* | {' | '.join(plain)} | |")
    for part in PARTS:
        found = [gains(rows, name, network, part) for name in names]
        means = [one.mean for one in found if one is not None]
        if means:
            cells = " | ".join("" if one is None else _points(one) for one in found)
            lines.append(f"| {part} | {cells} | {100 * -np.mean(means):+.1f} |")
    return lines


def _points(gain: Interval) -> str:
    """By how much it gets better without the part, in points; what chance hardly explains is bold."""
    mark = "**" if gain.excludes_zero else ""
    return f"{mark}{round(-100 * gain.mean, 1) + 0.0:+.1f}{mark} ± {100 * gain.margin:.1f}"


def page(out: Path, command: str) -> str:
    """What the rows come to; `notes.md` in the same folder, written by people, is taken over as it is."""
    rows, notes = read_rows(out / "rows.csv", Row), out / "notes.md"
    seeds = sorted({row.seed for row in rows})
    words = [f"- *{name}*: without it, {part.words}." for name, part in PARTS.items()]
    return "\n".join(
        [
            "# ablation: what each part of the default training is worth",
            "",
            about(__doc__),
            "",
            f"Accuracy on the test split in %, mean over {len(seeds)} seeds; below it the change in points if one part "
            "is left out, with 95 % interval, paired by seed and sample. Bold: measurable.",
            "",
            *words,
            "",
            "## Late fusion",
            "",
            *table(rows, "late fusion"),
            "",
            "## What was found",
            "",
            *table(rows, "found"),
            "",
            *([notes.read_text().strip(), ""] if notes.exists() else []),
            f"{origin_told(provenance(command))}. Rows: `rows.csv`.",
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds a folder per data set")
    parser.add_argument("--only", nargs="*", help="names of the data sets to run; all but avmnist if absent")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--found", type=Path, default=Path("results/datasets"), help="what searches found, by data set")
    parser.add_argument("--out", type=Path, default=Path("results/ablation"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    path = given.out / "rows.csv"
    rows = {row.key: row for row in read_rows(path, Row)}
    for source in SOURCES:
        if source.name in (given.only or {one.name for one in SOURCES} - {"avmnist"}):
            data = read(source, given.folder)
            for _ in run(data, given.found / f"{source.name}.json", range(given.seeds), rows):
                write_rows(path, Row, rows.values(), digits=4)
    text = page(given.out, f"python -m benchmarks.ablation FOLDER --seeds {given.seeds}")
    write_atomically(given.out / "README.md", text.encode())


if __name__ == "__main__":
    main()
