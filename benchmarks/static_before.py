"""Static networks now and at an earlier commit: the same parameters, outputs and time.

    python -m benchmarks.static_before --commit cd44a6d --out results/dynamic/static

Two processes, one with the present code and one with that of the commit (the last one before there were gates, unless
another is named), build the same static network of two modalities with default encoders from the same seed, train it
for two epochs, and answer in turns; so whatever else the machine does hits both alike. Outputs are compared bit by bit
after the training. Times are processor time of one thread, medians over turns: of a step of the training, and of a
forward pass of 256 samples in evaluation mode.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.pages import about, origin_told
from benchmarks.rows import write_rows
from nas.config import RunConfig
from nas.data import FusionData
from nas.data.batches import split_batch
from nas.metrics import sample_losses
from nas.network.cost import multiply_adds, num_parameters
from nas.pipeline.search import make_space
from nas.runs.folder import write_atomically
from nas.runs.provenance import provenance
from nas.seeding import seeded
from nas.space.architecture import Architecture, Choice
from nas.training.build import build_network
from nas.training.epoch_loop import make_optimizer, step
from nas.training.train import train

SHAPES = {"maps 28 × 28": (1, 28, 28), "sequences 64 × 16": (64, 16), "vectors 128": (128,)}

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kind of modality.

    Attributes:
        modalities: Both of this form.
        same_outputs: Whether both networks put out the same bits after the training.
        parameters: Of both; −1 if they differ.
        multiply_adds: Of both for one sample; −1 if they differ.
        forward_before_ms: Median time of a forward pass of the earlier code.
        forward_now_ms: Of the present one.
        step_before_ms: Median time of a step of training of the earlier code.
        step_now_ms: Of the present one.
    """

    modalities: str
    same_outputs: str
    parameters: int
    multiply_adds: int
    forward_before_ms: float
    forward_now_ms: float
    step_before_ms: float
    step_now_ms: float


def answer() -> None:
    """The child process: trains a network for every kind, and then times it whenever a line comes in."""
    torch.set_num_threads(1)
    networks = {}
    for kind, shape in SHAPES.items():
        generator = np.random.default_rng(0)
        arrays = {name: generator.standard_normal((512, *shape)).astype(np.float32) for name in ("a", "b")}
        splits = np.repeat([0, 1, 2], [128, 128, 256])
        data = FusionData.from_arrays(arrays, generator.integers(0, 10, 512), splits=splits, name="made up")
        space = make_space("layerwise", data)
        choices = (Choice("multiplicative", ("a@0", "b@0")), Choice("none"), Choice("additive", ("a@2", "b@2")))
        static = Architecture.chain("layerwise", tuple((f"fusion{depth}", one) for depth, one in enumerate(choices)))
        config = RunConfig.of(preset="quick", epochs=2).training
        with seeded(0):
            network = build_network(space.restrict(static), data, config)
        weights, test = split_batch(data, "weights", CPU), split_batch(data, "test", CPU)
        train(network, "classification", weights, split_batch(data, "architecture", CPU), config, seed=0, device=CPU)
        optimizer, scheduler = make_optimizer(network, config, 10_000)
        networks[kind] = network, test, weights.take(slice(0, 64)), optimizer, scheduler, config
    for line in sys.stdin:
        network, test, few, optimizer, scheduler, config = networks[line.strip()]
        network.eval()
        with torch.no_grad():
            started = time.process_time()
            outputs = network(test.inputs)
            forward = time.process_time() - started
        told: dict[str, Any] = {
            "digest": hashlib.sha256(outputs.numpy().tobytes()).hexdigest(),
            "parameters": num_parameters(network),
            "multiply_adds": multiply_adds(network, test.take(slice(0, 1)).inputs),
        }
        # On a copy of the weights, so that the next digest is that of the same network.
        kept = {name: value.clone() for name, value in network.state_dict().items()}
        network.train()
        started = time.process_time()
        lost = sample_losses("classification", network(few.inputs), few.targets)
        step(lost.mean(), optimizer, scheduler, config)
        told.update(forward=forward, step=time.process_time() - started)
        network.load_state_dict(kept)
        print(json.dumps(told), flush=True)


def child(tree: Path) -> subprocess.Popen[str]:
    """Another process that runs this file on the code of a tree."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    code = f"import runpy; runpy.run_path({str(Path(__file__).resolve())!r})['answer']()"
    return subprocess.Popen(  # our own code
        [sys.executable, "-c", code],
        env=environment,
        cwd=tree,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(process: subprocess.Popen[str], kind: str) -> dict[str, Any]:
    """One turn of a child."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(kind + "\n")
    process.stdin.flush()
    told: dict[str, Any] = json.loads(process.stdout.readline())
    return told


def measure(commit: str, turns: int) -> list[Row]:
    """Compares the code of the commit with the present one."""
    here = Path(__file__).resolve().parents[1]
    packed = subprocess.run(["git", "archive", commit], cwd=here, capture_output=True, check=True).stdout
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        # What this file takes from the benchmarks may not have been there then.
        for name in ("pages.py", "rows.py"):
            (Path(folder) / "benchmarks" / name).write_text((here / "benchmarks" / name).read_text())
        children = {"before": child(Path(folder)), "now": child(here)}
        for kind in SHAPES:
            told: dict[str, list[dict[str, Any]]] = {name: [] for name in children}
            for _ in range(turns):
                for name, process in children.items():
                    told[name].append(ask(process, kind))
            before, now = told["before"], told["now"]
            same = {one["digest"] for one in [*before, *now]}
            rows.append(
                Row(
                    modalities=kind,
                    same_outputs="yes" if len(same) == 1 else "no",
                    parameters=_common(before, now, "parameters"),
                    multiply_adds=_common(before, now, "multiply_adds"),
                    forward_before_ms=_median(before, "forward"),
                    forward_now_ms=_median(now, "forward"),
                    step_before_ms=_median(before, "step"),
                    step_now_ms=_median(now, "step"),
                )
            )
        for process in children.values():
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
    return rows


def _common(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]], key: str) -> int:
    found = {one[key] for one in [*before, *now]}
    return int(found.pop()) if len(found) == 1 else -1


def _median(told: Sequence[dict[str, Any]], key: str) -> float:
    warm = told[len(told) // 5 :]  # the first turns warm up
    return 1000 * statistics.median(float(one[key]) for one in warm)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commit", default="cd44a6d")
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("results/dynamic/static"))
    given = parser.parse_args(arguments)
    origin = provenance(f"python -m benchmarks.static_before --commit {given.commit} --turns {given.turns}")
    rows = measure(given.commit, given.turns)
    write_rows(given.out / "rows.csv", Row, rows, digits=3)
    lines = [
        "| modalities | same outputs | parameters | multiply-adds | forward before, ms | now, ms | now / before "
        "| step before, ms | now, ms | now / before |",
        "| --- " * 10 + "|",
    ]
    lines += [
        f"| {row.modalities} | {row.same_outputs} | {row.parameters:,} | {row.multiply_adds:,} "
        f"| {row.forward_before_ms:.2f} | {row.forward_now_ms:.2f} | {row.forward_now_ms / row.forward_before_ms:.3f} "
        f"| {row.step_before_ms:.2f} | {row.step_now_ms:.2f} | {row.step_now_ms / row.step_before_ms:.3f} |"
        for row in rows
    ]
    text = (
        "# static: what static networks pay for gates\n\n"
        + about(__doc__)
        + "\n\n"
        + "\n".join(lines)
        + f"\n\n{origin_told(origin)}. Rows: `rows.csv`.\n"
    )
    write_atomically(given.out / "README.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
