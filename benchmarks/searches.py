"""Repeats the whole search on one data set and judges every search beside every baseline.

    python -m benchmarks.searches emoji --searches 5 --out results/emoji

Search number s has seed s: it trains its own encoders, searches, and retrains the found architecture and every baseline
once with that seed. So means are over searches, not over retrainings
of one of them, and everything in a row of a table is paired. The test split is read after the last search. A benchmark
that was stopped goes on where it was when it is run again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from nas.baselines import contestants
from nas.checkpoint import EVERY_SECONDS, NOWHERE, Checkpoints
from nas.data import FusionData, load_data
from nas.data.batches import split_batch
from nas.evaluate import leaderboard
from nas.metrics import PRIMARY, higher_is_better, score
from nas.prediction import predict
from nas.preparation import EncoderMode, Setup
from nas.provenance import provenance
from nas.resume import begin, what_decides
from nas.retrain import judge, train_all
from nas.runs import RunFolder, plain, write_atomically
from nas.search import find, make_space, scorer_of
from nas.statistics import Interval, amount
from nas.strategies import SearchConfig
from nas.training import TrainingConfig, pick_device


def repeat(
    data: FusionData,
    searches: int,
    *,
    command: str,
    encoders: EncoderMode = "auto",
    device: str = "auto",
    checkpoints: Checkpoints = NOWHERE,
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Searches over seeds, with every baseline.

    Args:
        data: The same for all searches, splits included.
        searches: How many, at least 2.
        command: For the record.
        encoders: `auto`, `pretrained` or `joint`.
        device: "auto", "cpu" or "cuda".
        checkpoints: Where trainings keep their states.
        progress: Called with a line now and then.

    Returns:
        Plain values: one record per search, the leaderboard over searches, and where it comes from.
    """
    origin = provenance(command)
    where = pick_device(device)
    space = make_space("layerwise", data)
    setup = Setup(data=data, space=space, training=TrainingConfig(), device=where, checkpoints=checkpoints)
    records, trained, supernets = [], [], []
    for seed in range(searches):
        result = find(setup, SearchConfig(), "sampled", "one_standard_error", encoders, seed)
        rows = contestants(space, result.architecture, scorer_of(setup, result))
        entries = train_all(setup, result.prepared, rows)
        trained.append(entries)
        fixed = [one.full_length_seconds for one in entries if one.contestant.kind in ("late", "early", "operation")]
        late = next(one.full_length_seconds for one in entries if one.contestant.kind == "late")
        assert result.discretized is not None
        assert result.explored.network is not None
        supernet = result.prepared.assemble(result.explored.network).cpu()
        supernets.append((supernet, space.path(result.architecture)))
        records.append(
            {
                "seed": seed,
                "in_words": result.architecture.in_words(),
                "architecture": result.architecture.to_dict(),
                "interaction_order": space.interaction_order(result.architecture),
                "encoders": result.encoders,
                "encoder_seconds": result.prepared.seconds,
                "search_seconds": result.seconds,
                "late_fusion_seconds": late,
                "fixed_seconds": sum(fixed) / len(fixed),
                "discretization_loss": result.discretized.loss,
            }
        )
        progress(f"search {seed}: {result.architecture.in_words()} ({result.seconds:.0f} s)")
    task = data.task
    judged = [judge(setup, entries) for entries in trained]
    board = leaderboard(task, [some for some, _ in judged], judged[0][1])
    test = split_batch(data, "test", where)
    for record, retrained, (supernet, path) in zip(records, board[0].scores, supernets, strict=True):
        outputs, targets = predict(supernet.to(where), test, where, path)
        record["score"] = retrained
        record["supernet_score"] = score(PRIMARY[task], outputs.numpy(), targets.numpy())
    return {
        "data": data.describe(),
        "metric": PRIMARY[task],
        "higher_is_better": higher_is_better(PRIMARY[task]),
        "searches": records,
        "leaderboard": [row.to_dict() for row in board],
        "load": os.getloadavg()[0],
        **origin,
    }


def measure(
    folder: Path,
    data: FusionData,
    searches: int,
    *,
    command: str,
    device: str = "auto",
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Searches over seeds and writes the result into a folder; one that was stopped there goes on where it was.

    Args:
        folder: Of the results.
        data: As for `repeat`, like the rest.
        searches: How many; more or fewer than before the stop will do.
        command: For the record.
        device: "auto", "cpu" or "cuda".
        progress: Called with a line now and then.

    Raises:
        UserError: If what was stopped there was done on other data, or with another torch.
    """
    states = folder / f"{data.name}.checkpoints"
    decides = what_decides(data, make_space("layerwise", data), pick_device(device), None)
    run = {"kind": "benchmark", **decides}
    with begin(RunFolder(states), run, resume=True, every_seconds=EVERY_SECONDS) as checkpoints:
        result = repeat(data, searches, command=command, device=device, checkpoints=checkpoints, progress=progress)
        write(folder, result)
    shutil.rmtree(states)
    return result


def table(result: dict[str, Any]) -> str:
    """The result in Markdown: a line per row of the leaderboard, then a line per search."""
    task = result["data"]["task"]
    factor, digits = (1.0, 3) if task == "regression" else (100.0, 1)
    sizes = result["data"]["splits"]
    parts = "/".join(str(sizes[split]) for split in ("weights", "architecture", "test"))
    lines = [
        f"## {result['data']['name']}",
        "",
        f"{', '.join(result['data']['modalities'])}; {parts} samples; {result['metric']} on the test split, mean "
        f"over {len(result['searches'])} searches with 95 % interval; differences paired.",
        "",
        "| row | score | found is better by | parameters | multiply-adds | training, s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["leaderboard"]:
        low, mean, high = (f"{factor * row[key]:.{digits}f}" for key in ("low", "mean", "high"))
        difference = amount(result["metric"], Interval(**row["difference"])) if row["difference"] else ""
        name = f"**{row['name']}**" if row["kind"] == "found" else row["name"]
        lines.append(
            f"| {name} | {mean} [{low}, {high}] | {difference} | {row['parameters']:,} | "
            f"{row['multiply_adds']:,} | {row['train_seconds']:.1f} |"
        )
    lines += [
        "",
        "| search | score | by the supernet | found architecture | encoders, s | search, s | × late fusion | "
        "× mean fixed |",
        "| --- " * 8 + "|",
    ]
    for one in result["searches"]:
        lines.append(
            f"| {one['seed']} | {factor * one['score']:.{digits}f} | "
            f"{_optional(one.get('supernet_score'), factor, digits)} | {one['in_words']} | "
            f"{one['encoders']}, {one['encoder_seconds']:.0f} | {one['search_seconds']:.1f} | "
            f"{one['search_seconds'] / one['late_fusion_seconds']:.1f} | "
            f"{one['search_seconds'] / one['fixed_seconds']:.1f} |"
        )
    lines += [
        "",
        f"`{result['command']}`, commit {result['commit']}, {result['started_at']}, {result['hardware']}; "
        f"torch {result['versions']['torch']}.",
        "",
    ]
    return "\n".join(lines)


def _optional(value: float | None, factor: float, digits: int) -> str:
    """A number that older records do not have."""
    return "" if value is None else f"{factor * value:.{digits}f}"


def write(folder: Path, result: dict[str, Any]) -> None:
    """Writes the result as JSON, and the tables of all results of the folder as its README."""
    text = json.dumps(plain(result), indent=1, ensure_ascii=False) + "\n"
    write_atomically(folder / f"{result['data']['name']}.json", text.encode())
    write_tables(folder)


def write_tables(folder: Path) -> None:
    """Makes `README.md` of every JSON file in the folder."""
    results = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    text = f"# {folder.name}: whole searches beside every baseline\n\n" + "\n".join(table(result) for result in results)
    write_atomically(folder / "README.md", text.encode())


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", help="an embedded data set, a file or a folder")
    parser.add_argument("--modalities")
    parser.add_argument("--target")
    parser.add_argument("--split")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    named = {key: getattr(given, key) for key in ("modalities", "target", "split") if getattr(given, key)}
    options = "".join(f" --{key} {value}" for key, value in named.items())
    result = measure(
        given.out,
        load_data(given.data, **named),
        given.searches,
        command=f"python -m benchmarks.searches {Path(given.data).name}{options} --searches {given.searches}",
        device=given.device,
        progress=lambda line: print(line, flush=True),
    )
    print(table(result))


if __name__ == "__main__":
    main()
