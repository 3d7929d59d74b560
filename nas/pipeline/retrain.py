"""What can be done with a finished run: judge it again, train it again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from nas.config import OutputConfig
from nas.data import FusionData
from nas.data.batches import split_batch
from nas.data.loading import MissingTargetError
from nas.device import pick_device
from nas.diagnostics import MAX_GRID, Recombined, diagnose
from nas.diagnostics.recombined import most_samples
from nas.discretize.tournament import is_in
from nas.encoders import EncoderBuilder, Named
from nas.encoders.pretrained.encoder import merge_all
from nas.errors import UserError
from nas.metrics import metric_of, score, shown_beside
from nas.pipeline.resume import going_on, open_checkpoints, what_decides
from nas.pipeline.retraining import asked_again
from nas.pipeline.search import RunResult, finished_run, ignore, retrain_and_judge, told_to, write_run
from nas.pipeline.time_limit import keep_limit
from nas.pipeline.workload import to_be_expected, workload_again
from nas.records import from_plain
from nas.report.verdict import verdict
from nas.retraining.frozen_taps import frozen_taps
from nas.retraining.preparation import Progress, TrainingSetup, prepare
from nas.routing.prediction import answers
from nas.runs.folder import RunFolder
from nas.runs.metrics_log import Log, MetricsLog
from nas.runs.provenance import provenance
from nas.saved.run import data_of, load_run, refuse_other_form
from nas.summary import DataDescription
from nas.supernet.path_scorer import scored_samples


def evaluate(
    run: str | Path,
    *,
    data: FusionData | str | Path | None = None,
    device: str = "auto",
    recombinations: int = MAX_GRID,
    encoders: Named | None = None,
    memory_bytes: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Any]:
    """Judges the saved network on the test split again, and says what it does with its modalities.

    Args:
        run: Folder of a finished run.
        data: The data that it was searched on, for a run whose data was not read from a file.
        device: "auto", "cpu", "cuda" or "cuda:1".
        recombinations: Most of them that are run for the additive projection, at least 4; see `nas.diagnostics.emap`.
        encoders: See `nas.load_run`, for a run with encoders of your own.
        memory_bytes: Memory that the data may take, as for `nas.search`; None for that of the run.
        progress: Called with the number of recombinations done and of all.

    Returns:
        The `metric` and its `score`, the `recorded` score of the same seed, both `metrics`, the same as
        `weighted_metrics` where the data has sample weights (else None), the `diagnosis`, `same_data`: whether the data
        is the one of the search, and `repeated`: whether it is and the scores are equal.

    Raises:
        UserError: If the run cannot be read, its data is not there, the data is of another form than the run's, or
            there are too few recombinations.
    """
    if recombinations < 4:
        raise UserError(f"recombinations must be at least 4, those of two samples, got {recombinations}")
    loaded = load_run(run, encoders=encoders)
    where = pick_device(device)
    try:
        found = data_of(loaded, data, memory_bytes)
    except MissingTargetError as error:
        raise UserError(f"{error}. Without it nothing can be judged; `fusenas predict` needs no target") from error
    refuse_other_form(loaded, found)
    task, metric = found.task, metric_of(found.task, loaded.config.training.metric)
    batch = split_batch(found, "test", where)
    outputs, targets = answers(task, loaded.network.to(where), batch, where)[0], batch.targets.cpu()
    few = scored_samples(batch, most_samples(found.memory, len(batch)))
    diagnosis = diagnose(
        task,
        [Recombined.of(loaded.network, few, where)],
        few.targets.cpu().numpy(),
        unimodal={},
        overfitting={},
        metric=metric,
        max_grid=recombinations,
        progress=progress,
    )
    names = (metric, shown_beside(task, metric))
    metrics = {name: score(name, outputs.numpy(), targets.numpy()) for name in names}
    counts = None if found.sample_weights is None else found.sample_weights[found.splits["test"]]
    weighted = None
    if counts is not None and counts.any():
        weighted = {name: score(name, outputs.numpy(), targets.numpy(), counts) for name in names}
    now, recorded = metrics[metric], loaded.summary.saved.scores[0]
    same_data = found.fingerprint() == loaded.summary.data.fingerprint
    return {
        "run": str(loaded.folder),
        "in_words": loaded.summary.in_words,
        "metric": metric,
        "score": now,
        "recorded": recorded,
        "metrics": metrics,
        "weighted_metrics": weighted,
        "samples": len(targets),
        "diagnosis": diagnosis,
        "same_data": same_data,
        "repeated": same_data and now == recorded,
    }


def retrain(
    run: str | Path,
    *,
    data: FusionData | str | Path | None = None,
    builders: Mapping[str, EncoderBuilder] | None = None,
    encoders: Named | None = None,
    seed: int | None = None,
    retrain_seeds: int | None = None,
    epochs: int | None = None,
    objective: str | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    checkpoint_seconds: float = OutputConfig.checkpoint_seconds,
    time_limit_seconds: float = 0.0,
    progress: Progress = lambda _line: None,
    on_record: Log = lambda _record: None,
    command: str | None = None,
    started: float | None = None,
) -> RunResult:
    """Trains the found architecture and everything on its leaderboard from scratch again.

    Args:
        run: Folder of a finished run.
        data: Other data of the same modalities, or the data of a run that was not read from a file.
        builders: Encoder builders of the run, for one that was searched with some of its own.
        encoders: Names of encoders of the run, for one that was searched with encoders by name; the same have to be
            named again.
        seed: Of the first retraining; None for the run's.
        retrain_seeds: How many; None for as many as the run has.
        epochs: Passes over the weights split, 0 for automatic; None for the run's.
        objective: Names of `nas.objectives.OBJECTIVES`, comma-separated, empty for none; None for the run's.
        device: "auto", "cpu", "cuda" or "cuda:1".
        out: Run folder to write; None writes into the run itself, in place of its scores and weights.
        overwrite: Whether an earlier run in `out` may be replaced.
        resume: Whether to go on with a retraining that was stopped there; see `nas.search`.
        checkpoint_seconds: Shortest time between two states of a training that are written; 0 writes one every epoch.
        time_limit_seconds: Of the whole command, 20 or more, 0 for none: seeds, epochs and rows get fewer until they
            fit, and the report says what was left out.
        progress: Called with a line for people whenever something new begins.
        on_record: Called with every record of how it goes, as in `metrics.jsonl`.
        command: The command line, for the record.
        started: See `nas.search`.

    Raises:
        UserError: If the run cannot be read, its data is not there, or an option is wrong.
    """
    started = time.perf_counter() if started is None else started
    origin = provenance(command)
    with ExitStack() as stack:
        # In place, the run is ours from the beginning: nobody changes what is read of it here.
        folder = stack.enter_context(RunFolder.claimed(run)) if out is None else RunFolder(out)
        loaded = load_run(run, encoders=encoders)
        if out is None and folder.exists("metrics.jsonl"):
            folder.read_metrics()  # the report will: damage is told now, and not when the weights have been replaced
        old = loaded.summary
        # Refuses what makes no sense together.
        OutputConfig(out=out or run, overwrite=overwrite, resume=resume, checkpoint_seconds=checkpoint_seconds)
        asked = asked_again(
            loaded,
            data=data,
            builders=builders,
            encoders=encoders,
            seed=seed,
            retrain_seeds=retrain_seeds,
            epochs=epochs,
            objective=objective,
            device=device,
            time_limit_seconds=time_limit_seconds,
        )
        config, seeds, rows, where = asked.config, asked.seeds, asked.rows, asked.device
        told = {
            "kind": "retrain",
            "training": config.to_dict()["training"],
            "seeds": list(seeds),
            "encoders": old.encoders,
            "rows": [[row.name, row.architecture and row.architecture.to_dict()] for row in rows],
            **({"time_limit_seconds": time_limit_seconds} if time_limit_seconds else {}),
            **what_decides(asked.data, asked.space, where, asked.builders),
        }
        if out is not None:
            folder = stack.enter_context(RunFolder.created(out, overwrite=overwrite, resume=resume))
        checkpoints = open_checkpoints(
            folder, told, resume=resume, every_seconds=checkpoint_seconds, in_place=out is None
        )
        if checkpoints.finished:
            return finished_run(folder, progress, encoders)
        if checkpoints.kept():
            progress(going_on(checkpoints))
        log: Log = ignore
        if out is not None:  # in place, the old one stays until there is something to go with the new one
            folder.write_config(config.to_dict())
        stack.enter_context(checkpoints)
        if out is not None:
            stack.enter_context(folder.replacing())
            log = stack.enter_context(MetricsLog(folder))
        taps, learning = frozen_taps(asked.data, asked.builders, folder, where, progress)
        setup = TrainingSetup(
            data=asked.data if taps is None else taps.data,
            taps=taps,
            space=asked.space,
            training=config.training,
            device=where,
            builders=learning,
            log=told_to(log, on_record),
            progress=progress,
            checkpoints=checkpoints,
        )
        planned = asked.as_planned()
        if time_limit_seconds:
            stages = partial(workload_again, rows=rows)
            setup, planned = keep_limit(setup, planned, started, stages)
            rows = tuple(row for row in rows if is_in(row, planned.evaluation.baselines))
            seeds = seeds[: planned.evaluation.retrain_seeds]
        on_record(to_be_expected(setup, workload_again(setup, planned, rows)))
        prepared, mode = prepare(setup, old.encoders, seeds[0])
        results, entries, members = retrain_and_judge(
            setup,
            prepared,
            mode,
            rows,
            seeds,
            with_refit=planned.evaluation.refit,
            with_ensemble=planned.evaluation.has_ensemble and len(seeds) > 1,
        )
        summary = replace(
            old,
            **{name: value for name, value in results.values().items() if value is not None},
            data=from_plain(DataDescription, asked.data.describe()),
            device=str(where),
            provenance=origin,
            total_seconds=checkpoints.now() - started,
        )
        summary = replace(summary, verdict=verdict(summary, asked.space.operations))
        network = setup.whole(entries[0].network.cpu())
        members = tuple(setup.whole(one.cpu()) for one in members)
        for one in (network, *members):
            merge_all(one)
        page = write_run(folder, config, summary, network, asked.data, members)
        return RunResult(
            architecture=loaded.architecture,
            network=network,
            summary=summary,
            config=config,
            folder=folder.path,
            report=page,
            recipe=asked.data.recipe,
            members=members,
        )
