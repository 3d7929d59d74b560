"""What can be done with a finished run: load it, judge it again, train it again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.analysis import MAX_GRID, Recombined, diagnose
from nas.architecture import Architecture
from nas.baselines import Contestant
from nas.checkpoint import EVERY_SECONDS
from nas.data import FusionData, load_data
from nas.data.batches import split_batch
from nas.encoders import EncoderBuilder
from nas.errors import UserError
from nas.graph import FusionNetwork
from nas.metrics import PRIMARY, SECONDARY, score
from nas.metrics_log import MetricsLog
from nas.preparation import Progress, Setup, prepare
from nas.provenance import provenance
from nas.resume import begin, check_resume, going_on, what_decides
from nas.runs import RunFolder
from nas.search import RunResult, check_seeds, finished_run, ignore, make_space, retrain_and_judge, write_run
from nas.training import Log, TrainingConfig, pick_device, predict
from nas.weights import load_weights


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A finished run, read back.

    Attributes:
        folder: Where it lies.
        architecture: What was found.
        network: The found architecture as it was trained with the first seed, in evaluation mode on the CPU; maps
            {modality: arrays} to logits or predictions.
        summary: The contents of `summary.json`.
        config: The contents of `config.toml`.
    """

    folder: Path
    architecture: Architecture
    network: FusionNetwork
    summary: Mapping[str, Any]
    config: Mapping[str, Any]


def load_run(run: str | Path) -> Run:
    """Reads a run folder; nothing in it is executed or unpickled.

    Raises:
        UserError: If it is no run folder, or a file in it is missing, cut off, incomplete or of another format version.
    """
    folder = RunFolder.open(run)
    loaded = load_weights(folder)
    summary, config = folder.read_summary(), folder.read_config()
    _refuse_gaps(folder, summary, config, loaded.network)
    if Architecture.from_dict(summary["architecture"]) != loaded.architecture:
        raise UserError(f"weights and summary of {str(folder.path)!r} are of different architectures; retrain the run")
    return Run(
        folder=folder.path,
        architecture=loaded.architecture,
        network=loaded.network,
        summary=summary,
        config=config,
    )


_SOURCE = ("data", "modalities", "target", "split", "task")


def _refuse_gaps(
    folder: RunFolder, summary: Mapping[str, Any], config: Mapping[str, Any], network: FusionNetwork
) -> None:
    """Checks that all is there, and of the right form, that this module reads."""
    try:
        Architecture.from_dict(summary["architecture"])
        _contestants(summary)
        _form(network, summary["data"])
        found = (
            *(summary[key] for key in ("space", "encoders")),
            summary["data"]["fingerprint"],
            *(config["source"][key] for key in _SOURCE),
            *config["source"]["builders"],
        )
        numbers = (config["search"]["seed"], summary["leaderboard"][0]["scores"][0], *summary["seeds"])
        dict(summary["depths"])
        list(config["search"]["operations"])
        TrainingConfig(**config["training"])
        if not summary["seeds"] or not all(isinstance(text, str) for text in found):
            raise TypeError("an entry of another type")
        if not all(isinstance(number, int | float) for number in numbers):
            raise TypeError("a seed or score that is no number")
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"summary.json or config.toml of {str(folder.path)!r} lacks or garbles {error}; run the search again"
        ) from error


def _contestants(summary: Mapping[str, Any]) -> list[Contestant]:
    """The rows of a leaderboard as they were before training."""
    return [
        Contestant(
            row["name"], row["kind"], None if row["kind"] == "random" else Architecture.from_dict(row["architecture"])
        )
        for row in summary["leaderboard"]
    ]


def evaluate(
    run: str | Path,
    *,
    data: FusionData | str | Path | None = None,
    device: str = "auto",
    recombinations: int = MAX_GRID,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Any]:
    """Judges the saved network on the test split again, and says what it does with its modalities.

    Args:
        run: Folder of a finished run.
        data: The data that it was searched on, for a run whose data was not read from a file.
        device: "auto", "cpu", "cuda" or "cuda:1".
        recombinations: Most of them that are run for the additive projection, at least 4; see `nas.analysis.emap`.
        progress: Called with the number of recombinations done and of all.

    Returns:
        The `metric` and its `score`, the `recorded` score of the same seed, both `metrics`, the `diagnosis`, and
        `same_data`: whether the data is the one of the search.

    Raises:
        UserError: If the run cannot be read, its data is not there, the data is of another form than the run's, or
            there are too few recombinations.
    """
    if recombinations < 4:
        raise UserError(f"recombinations must be at least 4, those of two samples, got {recombinations}")
    loaded = load_run(run)
    where = pick_device(device)
    found = _data(loaded, data)
    _refuse_other_form(loaded, found)
    task = found.task
    batch = split_batch(found, "test", where)
    outputs, targets = predict(loaded.network.to(where), batch, where)
    diagnosis = diagnose(
        task,
        [Recombined.of(loaded.network, batch, where)],
        targets.numpy(),
        alone={},
        overfitting={},
        max_grid=recombinations,
        progress=progress,
    )
    metrics = {name: score(name, outputs.numpy(), targets.numpy()) for name in (PRIMARY[task], SECONDARY[task])}
    return {
        "run": str(loaded.folder),
        "in_words": loaded.architecture.in_words(),
        "metric": PRIMARY[task],
        "score": metrics[PRIMARY[task]],
        "recorded": loaded.summary["leaderboard"][0]["scores"][0],
        "metrics": metrics,
        "samples": len(targets),
        "diagnosis": diagnosis.to_dict(),
        "same_data": found.fingerprint() == loaded.summary["data"]["fingerprint"],
    }


def retrain(
    run: str | Path,
    *,
    data: FusionData | str | Path | None = None,
    builders: Mapping[str, EncoderBuilder] | None = None,
    seed: int | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    checkpoint_seconds: float = EVERY_SECONDS,
    progress: Progress = lambda _line: None,
    command: str | None = None,
) -> RunResult:
    """Trains the found architecture and everything on its leaderboard from scratch again.

    Args:
        run: Folder of a finished run.
        data: Other data of the same modalities, or the data of a run that was not read from a file.
        builders: Encoder builders of the run, for one that was searched with some of its own.
        seed: Of the first retraining; None for the run's.
        seeds: How many; None for as many as the run has.
        epochs: Passes over the weights split, 0 for automatic; None for the run's.
        device: "auto", "cpu", "cuda" or "cuda:1".
        out: Run folder to write; None writes into the run itself, in place of its scores and weights.
        overwrite: Whether an earlier run in `out` may be replaced.
        resume: Whether to go on with a retraining that was stopped there; see `nas.search`.
        checkpoint_seconds: Shortest time between two states of a training that are written; 0 writes one every epoch.
        progress: Called with a line for people whenever something new begins.
        command: The command line, for the record.

    Raises:
        UserError: If the run cannot be read, its data is not there, or an option is wrong.
    """
    started = time.perf_counter()
    origin = provenance(command)
    loaded = load_run(run)
    old = loaded.summary
    found = _data(loaded, data)
    if sorted(builders or ()) != loaded.config["source"]["builders"]:
        raise UserError(
            f"builders are given for {sorted(builders or ())}, but the run was searched with encoders of its own for "
            f"{loaded.config['source']['builders']}; hand over the same"
        )
    where = pick_device(device)
    first_seed = old["seeds"][0] if seed is None else seed
    count = len(old["seeds"]) if seeds is None else seeds
    check_seeds(first_seed, count)
    check_resume(out or run, overwrite=overwrite, resume=resume, checkpoint_seconds=checkpoint_seconds)
    training = TrainingConfig(**loaded.config["training"])
    if epochs is not None:
        training = replace(training, epochs=epochs)
    space = make_space(old["space"], found, builders, operations=loaded.config["search"]["operations"])
    if dict(space.depths) != dict(old["depths"]):
        raise UserError(f"the data has modalities {list(space.depths)}, the run has {list(old['depths'])}")
    folder = RunFolder.open(run) if out is None else RunFolder.create(out, overwrite=overwrite, resume=resume)
    config = {**loaded.config, "training": {**loaded.config["training"], "epochs": training.epochs}}
    seeds_of_all = range(first_seed, first_seed + count)
    checkpoints = begin(
        folder,
        {
            "kind": "retrain",
            "training": config["training"],
            "seeds": list(seeds_of_all),
            "encoders": old["encoders"],
            "rows": [[row.name, row.architecture and row.architecture.to_dict()] for row in _contestants(old)],
            **what_decides(found, space, where, builders),
        },
        resume=resume,
        every_seconds=checkpoint_seconds,
        in_place=out is None,
    )
    if checkpoints.finished:
        return finished_run(folder, progress)
    if checkpoints.kept():
        progress(going_on(checkpoints))
    with ExitStack() as stack:
        log: Log = ignore
        if out is not None:  # in place, the old one stays until there is something to go with the new one
            folder.write_config(config)
        stack.enter_context(checkpoints)
        if out is not None:
            stack.enter_context(folder.replacing())
            log = stack.enter_context(MetricsLog(folder))
        setup = Setup(
            data=found,
            space=space,
            training=training,
            device=where,
            builders=builders,
            log=log,
            progress=progress,
            checkpoints=checkpoints,
        )
        prepared, mode = prepare(setup, old["encoders"], first_seed)
        fresh, entries = retrain_and_judge(setup, prepared, mode, _contestants(old), seeds_of_all)
        summary = {
            **old,
            **fresh,
            "data": found.describe(),
            "device": str(where),
            **origin,
            "total_seconds": checkpoints.now() - started,
        }
        network = entries[0].network.cpu()
        page = write_run(folder, config, summary, network, found)
    return RunResult(
        architecture=loaded.architecture, network=network, summary=summary, folder=folder.path, report=page
    )


def _data(run: Run, data: FusionData | str | Path | None) -> FusionData:
    """The data of a run, read again from where it came from unless other data is given."""
    source = run.config["source"]
    given = data if data is not None else source["data"]
    if isinstance(given, FusionData):
        return given
    if not given:
        raise UserError(f"{str(run.folder)!r} was searched on data in memory; hand it over as `data`")
    return load_data(
        given,
        modalities=source["modalities"] or None,
        target=source["target"] or None,
        split=source["split"] or None,
        task=source["task"] or None,
        seed=run.config["search"]["seed"],
    )


def _refuse_other_form(run: Run, data: FusionData) -> None:
    """Checks that the network can read the data and that its outputs mean the same there."""
    recorded, given = (_form(run.network, described) for described in (run.summary["data"], data.describe()))
    for what, wanted in recorded.items():
        if given[what] != wanted:
            raise UserError(f"{what} of the data is {given[what]}, but the run was searched on {wanted}")


def _form(network: FusionNetwork, described: Mapping[str, Any]) -> dict[str, Any]:
    """What must not change about data, from `FusionData.describe`: sequences and tokens may be of other length."""
    form = {key: described[key] for key in ("task", "classes", "class_names")}
    for name in network.encoders:
        modality = described["modalities"].get(name)
        form[f"modality {name!r}"] = modality and (
            modality["kind"],
            [shape[modality["kind"] == "sequence" :] for shape in modality["shapes"] if modality["kind"] != "tokens"],
        )
    return form
