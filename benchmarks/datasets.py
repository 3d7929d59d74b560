"""The search on every real data set in a folder, through the file loader, beside every row of its leaderboard.

    python -m benchmarks.datasets FOLDER --out results/datasets

What is absent is skipped with a line that says so; a search whose result is there already is not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.searches import measure
from benchmarks.spoken_digits import spoken_digits
from nas.data import FusionData, load_data


class Source(NamedTuple):
    """A data set under the folder: its file or folder, and what of it is what; of a raw table the file alone."""

    path: str
    modalities: str = ""
    target: str = "label"
    split: str | None = "split"

    @property
    def name(self) -> str:
        """Of the data set."""
        return Path(self.path).stem


SOURCES = (
    Source("prokaryotic/prokaryotic.npz", "text,proteome,genes"),
    Source("leaves100/leaves100.npz", "view0,view1,view2"),
    Source("wikipedia10/wikipedia10.npz", "text,image"),
    Source("spoken_digits/spoken_digits.csv"),
    Source("emoji/emoji.npz", "image,tokens:tokens"),
    Source("isl_myo/isl_myo.npz", "emg:sequence,accel,gyro"),
    Source("utd_mhad/utd_mhad.npz", "skeleton:sequence,accel,gyro"),
    Source("omniglot8/omniglot8.npz", "image,strokes"),
    Source("avmnist", "image,audio", split=None),
)


def read(source: Source, folder: Path) -> FusionData:
    """A data set under a folder."""
    path = folder / source.path
    if path.suffix == ".csv":
        return spoken_digits(path)
    return load_data(path, modalities=source.modalities, target=source.target, split=source.split)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds a folder per data set")
    parser.add_argument("--only", nargs="*", help="names of the data sets to run; all if absent")
    parser.add_argument("--searches", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own default")
    parser.add_argument("--space", default="layerwise")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("results/datasets"))
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    for source in SOURCES:
        path = given.folder / source.path
        if given.only and source.name not in given.only:
            continue
        if not path.exists():
            print(f"{source.name}: skipped, {source.path} is not in the folder")
            continue
        print(f"{source.name}:", flush=True)
        data = read(source, given.folder)
        command = f"python -m benchmarks.datasets FOLDER --only {source.name} --searches {given.searches}"
        if given.space != "layerwise":
            command += f" --space {given.space}"
        measure(
            given.out,
            data,
            given.searches,
            command=command,
            device=given.device,
            space=given.space,
            progress=lambda line: print(line, flush=True),
        )


if __name__ == "__main__":
    main()
