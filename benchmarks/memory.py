"""What a search on data that is larger than memory takes: peak resident memory, and time beside the work in memory.

    python -m benchmarks.memory --gigabytes 8 --memory 2G --out results/memory

Sequences and pictures of four classes, two told by each modality, are drawn from the seed and written as a folder of
`.npy`, and `fusenas search` runs on it in a process of its own: on a part that is worked on in memory, on the same part
where it is streamed, and on all of it. Options of the search are such that
little is computed: one epoch, few baselines. Peaks are those of resident memory as the system counts it, and include
Python, torch and the networks.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from nas.records import from_plain
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.summary import Provenance, Summary

TIME, FEATURES, SIDE = 1000, 512, 192
"""Of a sequence and of a picture."""

SAMPLE_BYTES = TIME * FEATURES * 4 + 3 * SIDE * SIDE

OPTIONS = (
    *("--modalities", "skeleton:sequence,picture:map", "--target", "label", "--split", "split", "--preset", "quick"),
    *("--epochs", "1", "--baselines", "few", "--retrain-seeds", "1", "--encoders", "pretrained", "--device", "cpu"),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One search.

    Attributes:
        gigabytes: Of data.
        samples: In it.
        memory: As `--memory` had it, so that the data is streamed; empty where it is worked on in memory.
        peak_gigabytes: Of resident memory.
        seconds: Of the whole command.
        score: Of what was found, on the test split.
    """

    gigabytes: float
    samples: int
    memory: str
    peak_gigabytes: float
    seconds: float
    score: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=8.0, help="of data")
    parser.add_argument("--part", type=float, default=1.5, help="gigabytes of the part that is worked on in memory")
    parser.add_argument("--memory", default="2G", help="for the data of a search; the part takes four times its size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the data is written, and removed; a temporary one if absent")
    parser.add_argument("--out", type=Path, default=Path("results/memory"))
    given = parser.parse_args(arguments)
    origin = provenance(f"python -m benchmarks.memory --gigabytes {given.gigabytes:g} --memory {given.memory}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="memory-", dir=given.folder) as temporary:
        for gigabytes, limits in ((given.part, ("", given.memory)), (given.gigabytes, (given.memory,))):
            data = Path(temporary) / f"{gigabytes:g}"
            write(data, round(gigabytes * 1e9 / SAMPLE_BYTES), given.seed)
            for memory in limits:
                rows.append(measured(data, gigabytes, memory))
                print(rows[-1], flush=True)
            shutil.rmtree(data)
    told = {"rows": [asdict(row) for row in rows], "load": os.getloadavg()[0], **asdict(origin)}
    write_atomically(given.out / "records.json", (json.dumps(told, indent=1) + "\n").encode())
    write_atomically(given.out / "README.md", page(rows, origin).encode())


def write(folder: Path, count: int, seed: int) -> None:
    """A data set as a folder of `.npy`, sample by sample."""
    folder.mkdir()
    generator = np.random.default_rng(seed)
    slow, left = generator.integers(0, 2, count), generator.integers(0, 2, count)
    waves = np.sin(np.arange(TIME) * np.array([[0.05], [0.1]])).astype(np.float32)
    with (folder / "skeleton.npy").open("wb") as clips, (folder / "picture.npy").open("wb") as pictures:
        for file, shape, dtype in ((clips, (TIME, FEATURES), np.float32), (pictures, (3, SIDE, SIDE), np.uint8)):
            header = np.lib.format.header_data_from_array_1_0(np.empty((0, *shape), dtype=dtype))
            np.lib.format.write_array_header_1_0(file, {**header, "shape": (count, *shape)})
        for number in range(count):
            noise = generator.standard_normal((TIME, FEATURES), dtype=np.float32)
            clips.write((noise + 0.5 * waves[slow[number], :, None]).data)
            picture = generator.integers(0, 128, (3, SIDE, SIDE), dtype=np.uint8)
            start = SIDE // 2 * int(left[number])
            picture[:, :, start : start + SIDE // 2] += 40
            pictures.write(picture.data)
    np.save(folder / "label.npy", 2 * slow + left)
    np.save(folder / "split.npy", generator.choice(3, count, p=[0.6, 0.2, 0.2]))


def measured(data: Path, gigabytes: float, memory: str) -> Row:
    """One search in a process of its own."""
    options = [*OPTIONS, *(["--memory", memory] if memory else []), "--out", str(data / f"run{memory}"), "--json"]
    command = [sys.executable, "-m", "cli", "search", str(data), *options]
    started = time.monotonic()
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(command, stdout=printed)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        if status:
            raise SystemExit(f"the search on {gigabytes:g} GB failed with status {status}")
        printed.seek(0)
        summary = from_plain(Summary, json.loads(printed.read()))
    return Row(
        gigabytes=gigabytes,
        samples=sum(summary.data.splits.values()),
        memory=memory,
        peak_gigabytes=usage.ru_maxrss * 1024 / 1e9,
        seconds=seconds,
        score=summary.leaderboard[0].scores[0],
    )


def page(rows: Sequence[Row], origin: Provenance) -> str:
    """The README: a row per search, the first one in memory."""
    whole = rows[0]
    lines = [
        "# memory: data that is larger than memory",
        "",
        "A whole search in a process of its own, on sequences and pictures of 2 MB a sample. Peaks are of resident",
        "memory and include Python, torch and the networks. The ratio is of time per sample, to the first row.",
        "",
        "| data | samples | `--memory` | worked on | peak | time | ratio | test score |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        ratio = row.seconds / row.samples / (whole.seconds / whole.samples)
        memory, where = (row.memory, "from disk") if row.memory else ("", "in memory")
        lines.append(
            f"| {row.gigabytes:g} GB | {row.samples:,} | {memory} | {where} | {row.peak_gigabytes:.2f} GB | "
            f"{row.seconds:.0f} s | {ratio:.2f} | {100 * row.score:.1f} % |"
        )
    lines += ["", f"`{origin.command}`, commit {origin.commit}, {origin.started_at}, {origin.hardware}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
