"""Pretrained networks on the whole path: searched, saved, copied, loaded in a fresh process without them, exported.

    python -m benchmarks.pretrained products.csv --target label --encoder title=hf:./model --modes frozen finetune lora

Each mode searches the same rows. A copy of the run folder then predicts all rows in a process of its own, where the
folder of the network is gone, and has to say what the run says. Every export is run on rows of the test split in a
fresh process, ONNX by onnxruntime; told is the largest difference of a logit.
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
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import nas
from benchmarks.pages import about, origin_told
from nas.data.tables.reading import read_table
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.summary import Provenance

FORMATS = ("safetensors", "python", "torch", "onnx")

ALONE = """
import sys, numpy, nas
numpy.save(sys.argv[3], nas.predict(sys.argv[1], sys.argv[2]).outputs)
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--target", required=True)
    parser.add_argument("--encoder", required=True, help="such as title=hf:./model; a local folder")
    parser.add_argument("--modes", nargs="+", default=["frozen", "finetune", "lora"])
    parser.add_argument("--rows", type=int, default=0, help="first rows of the table; 0 for all")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("results/pretrained"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    modality, _, name = given.encoder.partition("=")
    shown = f"{modality}={name.partition(':')[0]}:FOLDER"
    told = f"python -m benchmarks.pretrained {given.table.name} --target {given.target} --encoder {shown}"
    origin = provenance(f"{told} --rows {given.rows} --epochs {given.epochs} --modes {' '.join(given.modes)}")
    records: list[dict[str, object]] = []
    for mode in given.modes:
        records.append(_one(given, modality, name, mode))
        print(records[-1], flush=True)
        _write(given.out, records, origin)


def _one(given: argparse.Namespace, modality: str, name: str, mode: str) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        frame = read_table(given.table)
        frame = frame if not given.rows else frame.iloc[: given.rows]
        for entry in given.table.parent.iterdir():  # paths in the table are relative to it
            if entry.is_dir():
                (folder / entry.name).symlink_to(entry.resolve())
        frame.to_csv(folder / "rows.csv", index=False)
        library, _, path = name.partition(":")
        shutil.copytree(path, folder / "network")
        started = time.perf_counter()
        result = nas.search(
            folder / "rows.csv",
            target=given.target,
            preset="quick",
            encoders={modality: f"{library}:{folder / 'network'}"},
            encoder_mode={modality: mode},
            epochs=given.epochs,
            retrain_seeds=1,
            baselines="few",
            device="cpu",
            out=folder / "run",
            progress=lambda line: print(line, file=sys.stderr, flush=True),
        )
        seconds = time.perf_counter() - started
        files = nas.export(folder / "run", FORMATS, out=folder / "exports")
        shutil.rmtree(folder / "network")
        copied = shutil.copytree(folder / "run", folder / "elsewhere" / "run")
        shutil.rmtree(copied / "taps", ignore_errors=True)
        frame.drop(columns=given.target).to_csv(folder / "new.csv", index=False)
        subprocess.run(
            [sys.executable, "-c", ALONE, str(copied), str(folder / "new.csv"), str(folder / "told.npy")],
            check=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        here = nas.predict(result, pd.read_csv(folder / "new.csv").assign(**_pictures(frame, folder))).outputs
        rows = {row.kind: row.score.mean for row in result.summary.leaderboard}
        return {
            "mode": mode,
            "found": result.summary.in_words,
            "metric": result.summary.metric,
            "score": rows["found"],
            "late": rows.get("late"),
            "alone": next(row.score.mean for row in result.summary.leaderboard if row.name == modality),
            "samples": result.summary.data.splits["test"],
            "seconds": seconds,
            "elsewhere": float(np.abs(here - np.load(folder / "told.npy")).max()),
            "exports": {one.format: one.difference for one in files},
        }


def _pictures(frame: pd.DataFrame, folder: Path) -> dict[str, list[str]]:
    """Columns of paths, from where a frame in memory is read."""
    return {
        str(column): [str(folder / cell) for cell in frame[column]]
        for column in frame
        if isinstance(frame[column].iloc[0], str) and (folder / frame[column].iloc[0]).is_file()
    }


def _write(out: Path, records: Sequence[Mapping[str, object]], origin: Provenance) -> None:
    write_atomically(out / "records.json", (json.dumps({"records": records}, indent=2) + "\n").encode())
    lines = [
        "| mode | network alone, % | late fusion, % | found, % | a copy elsewhere | exports | search, s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in records:
        exports = one["exports"]
        assert isinstance(exports, dict)
        agree = ", ".join(f"{kind} {gap:.0e}" for kind, gap in exports.items() if gap is not None)
        scores = " | ".join(f"{100 * float(str(one[kind])):.1f}" for kind in ("alone", "late", "score"))
        lines.append(
            f"| {one['mode']} | {scores} | {one['elsewhere']:.0e} | {agree} | {float(str(one['seconds'])):.0f} |"
        )
    text = f"# pretrained: networks by name on the whole path\n\n{about(__doc__)}\n\n"
    text += "\n".join(lines) + f"\n\n{origin_told(origin)}.\n"
    write_atomically(out / "README.md", text.encode())


if __name__ == "__main__":
    main()
