"""What a search on data that is larger than memory takes: peak resident memory, and time beside the work in memory.

    python -m benchmarks.memory --gigabytes 8 --memory 2G --out results/memory

Sequences and pictures of four classes, two told by each modality, are drawn from the seed and written as a folder of
`.npy`, and `fusenas search` runs on it in a process of its own: on a part that is worked on in memory, on the same part
where it is streamed, and on all of it. Options of the search are such that
little is computed: one epoch, few baselines. Peaks are those of resident memory as the system counts it, and include
Python, torch and the networks.

With `--parquet` the data is a table instead, one file that holds pictures as PNG beside words and numbers.
"""

from __future__ import annotations

import argparse
import io
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
import pyarrow
from PIL import Image
from pyarrow.parquet import ParquetWriter

from nas.records import from_plain
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.summary import Summary

TIME, FEATURES, SIDE = 1000, 512, 192
"""Of a sequence and of a picture."""

SAMPLE_BYTES = TIME * FEATURES * 4 + 3 * SIDE * SIDE

PNG_SIDE = 128

PNG_BYTES = 3 * PNG_SIDE * PNG_SIDE
"""Of a picture of noise, which no format makes smaller."""

RECORDS = {"records": "Arrays, a file each", "parquet": "A Parquet file that holds pictures, texts and numbers"}
"""File of records to what was searched."""

GROUP = 500
"""Rows of a row group."""

ARRAYS = ("--modalities", "skeleton:sequence,picture:map")

OPTIONS = (
    *("--target", "label", "--split", "split", "--preset", "quick", "--encoders", "pretrained", "--device", "cpu"),
    *("--epochs", "1", "--baselines", "few", "--retrain-seeds", "1"),
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
    parser.add_argument("--parquet", action="store_true", help="a table that holds pictures instead of arrays")
    given = parser.parse_args(arguments)
    command = (
        f"python -m benchmarks.memory --gigabytes {given.gigabytes:g} --part {given.part:g} --memory {given.memory}"
    )
    origin = provenance(command + (" --parquet" if given.parquet else ""))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="memory-", dir=given.folder) as temporary:
        for gigabytes, limits in ((given.part, ("", given.memory)), (given.gigabytes, (given.memory,))):
            folder = Path(temporary) / f"{gigabytes:g}"
            folder.mkdir()
            if given.parquet:
                write_table(folder / "table.parquet", round(gigabytes * 1e9 / PNG_BYTES), given.seed)
            else:
                write(folder, round(gigabytes * 1e9 / SAMPLE_BYTES), given.seed)
            for memory in limits:
                rows.append(measured(folder, gigabytes, memory))
                print(rows[-1], flush=True)
            shutil.rmtree(folder)
    told = {"rows": [asdict(row) for row in rows], "load": os.getloadavg()[0], **asdict(origin)}
    name = "parquet" if given.parquet else "records"
    write_atomically(given.out / f"{name}.json", (json.dumps(told, indent=1) + "\n").encode())
    write_atomically(given.out / "README.md", page(given.out).encode())


def write(folder: Path, count: int, seed: int) -> None:
    """A data set as a folder of `.npy`, sample by sample."""
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


def write_table(path: Path, count: int, seed: int) -> None:
    """A table with pictures of noise that are brighter on one side, words and numbers, row group by row group."""
    generator = np.random.default_rng(seed)
    file = {"bytes": pyarrow.binary(), "path": pyarrow.string()}
    columns = {"picture": pyarrow.struct(file), "title": pyarrow.string(), "size": pyarrow.float64()}
    schema = pyarrow.schema({**columns, "label": pyarrow.string(), "split": pyarrow.string()})
    with ParquetWriter(path, schema, compression="none") as writer:
        for start in range(0, count, GROUP):
            rows = range(start, min(start + GROUP, count))
            slow, left = generator.integers(0, 2, len(rows)), generator.integers(0, 2, len(rows))
            found = {
                "picture": [{"bytes": _png(generator, int(one)), "path": None} for one in left],
                "title": [f"{('fast', 'slow')[one]} and number {generator.integers(1000)}" for one in slow],
                "size": generator.normal(size=len(rows)) + slow,
                "label": [str(2 * one + other) for one, other in zip(slow, left, strict=True)],
                "split": generator.choice(["train", "val", "test"], len(rows), p=[0.6, 0.2, 0.2]),
            }
            writer.write_table(pyarrow.table(found, schema=schema), row_group_size=GROUP)


def _png(generator: np.random.Generator, left: int) -> bytes:
    pixels = generator.integers(0, 128, (PNG_SIDE, PNG_SIDE, 3), dtype=np.uint8)
    start = PNG_SIDE // 2 * left
    pixels[:, start : start + PNG_SIDE // 2] += 40
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def measured(folder: Path, gigabytes: float, memory: str) -> Row:
    """One search in a process of its own."""
    options = [*OPTIONS, *(["--memory", memory] if memory else []), "--out", str(folder / f"run{memory}"), "--json"]
    table = folder / "table.parquet"
    data = [str(table)] if table.exists() else [str(folder), *ARRAYS]
    command = [sys.executable, "-m", "cli", "search", *data, *options]
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


def page(folder: Path) -> str:
    """The README of a folder of records; `notes.md`, written by people, is taken over as it is."""
    parts = [
        "# memory: data that is larger than memory",
        "A whole search in a process of its own. Peaks are of resident memory and include Python, torch and the "
        "networks.\nThe ratio is of time per sample, to the first row of a table.",
    ]
    for name, title in RECORDS.items():
        if (file := folder / f"{name}.json").exists():
            told = json.loads(file.read_text())
            parts += [f"## {title}", table([Row(**row) for row in told["rows"]])]
            where = f"{told['started_at']}, {told['hardware']}, load {told['load']:.1f}"
            parts.append(f"`{told['command']}`, commit {told['commit']}, {where}.")
    if (notes := folder / "notes.md").exists():
        parts.append(notes.read_text().strip())
    return "\n\n".join(parts) + "\n"


def table(rows: Sequence[Row]) -> str:
    """A row per search, the first one in memory."""
    whole = rows[0]
    lines = [
        "| data | samples | `--memory` | worked on | peak | time | ratio | test score |",
        "| --- " * 8 + "|",
    ]
    for row in rows:
        ratio = row.seconds / row.samples / (whole.seconds / whole.samples)
        memory, where = (row.memory, "from disk") if row.memory else ("", "in memory")
        lines.append(
            f"| {row.gigabytes:g} GB | {row.samples:,} | {memory} | {where} | {row.peak_gigabytes:.2f} GB | "
            f"{row.seconds:.0f} s | {ratio:.2f} | {100 * row.score:.1f} % |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
