"""The whole path: data, encoders, supernet, one architecture, retraining, leaderboard, export and report."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.architecture import Architecture
from nas.baselines import Baselines, contestants
from nas.checkpoint import EVERY_SECONDS, NOWHERE
from nas.data import FusionData, load_data
from nas.discretize import DISCRETIZATIONS, Discretized, discretize
from nas.encoders import EncoderBuilder, build_encoders
from nas.errors import UserError, unknown_name
from nas.evaluate import leaderboard, verdict
from nas.export import FORMATS, export
from nas.graph import FusionNetwork
from nas.metrics import PRIMARY, higher_is_better
from nas.metrics_log import MetricsLog
from nas.preparation import EncoderMode, Prepared, Progress, Setup, prepare
from nas.provenance import provenance
from nas.report import report
from nas.resume import begin, check_resume, going_on, what_decides
from nas.retrain import Entry, judge, train_all
from nas.runs import RunFolder
from nas.scoring import PathScorer
from nas.space import SearchSpace, find_space
from nas.strategies import STRATEGIES, Explored, Problem, SearchConfig
from nas.training import Log, TrainingConfig, pick_device, seeded
from nas.weights import is_rebuildable, load_weights, save_weights

ENCODER_MODES: tuple[EncoderMode, ...] = ("auto", "pretrained", "joint")


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchResult:
    """What a search decided, before anything is retrained.

    Attributes:
        architecture: The decision.
        explored: What the strategy learned.
        discretized: How the decision was read out; None for a strategy without a supernet.
        prepared: What the search was done on; its seed is the run's.
        encoders: The mode that encoders are trained in.
        seconds: Wall time of search and read-out, without that of encoders trained alone.
    """

    architecture: Architecture
    explored: Explored
    discretized: Discretized | None
    prepared: Prepared
    encoders: EncoderMode
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class RunResult:
    """A finished run.

    Attributes:
        architecture: What was found.
        network: It, as it was trained with the first seed, in evaluation mode; maps {modality: arrays} to logits or
            predictions.
        summary: The contents of `summary.json`.
        folder: Where everything was written; None if nothing was.
        report: The page to look at; None if nothing was written.
    """

    architecture: Architecture
    network: FusionNetwork
    summary: Mapping[str, Any]
    folder: Path | None
    report: Path | None


def search(
    data: FusionData | str | Path,
    *,
    modalities: str | Sequence[str] | Mapping[str, str] | None = None,
    target: str | None = None,
    split: str | None = None,
    task: str | None = None,
    space: str | SearchSpace = "layerwise",
    operations: Sequence[str] | None = None,
    strategy: str = "sampled",
    discretization: str = "one_standard_error",
    encoders: EncoderMode = "auto",
    builders: Mapping[str, EncoderBuilder] | None = None,
    baselines: Baselines = "quick",
    seed: int = 0,
    seeds: int = 3,
    budget_seconds: float = 0.0,
    device: str = "auto",
    training: TrainingConfig | None = None,
    search_config: SearchConfig | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    checkpoint_seconds: float = EVERY_SECONDS,
    command: str | None = None,
    progress: Progress = lambda _line: None,
) -> RunResult:
    """Finds an architecture, retrains it and its baselines from scratch, and judges them on the test split.

    Args:
        data: A `FusionData`, the name of an embedded data set, or a file or folder; see `nas.load_data`.
        modalities: Which arrays of a file are modalities; see `nas.load_data`, like the next three.
        target: Name of the target's array.
        split: Name of the split's array.
        task: classification, multilabel or regression.
        space: Name of an installed search space, or one made by hand.
        operations: Candidate operations; None for all that the space knows.
        strategy: A name of `nas.strategies.STRATEGIES`.
        discretization: A name of `nas.discretize.DISCRETIZATIONS`; strategies without a supernet decide themselves.
        encoders: `pretrained`, `joint`, or `auto`; see `nas.preparation.prepare`.
        builders: Encoder builders that replace the defaults, by modality.
        baselines: `quick` or `full`; see `nas.baselines.contestants`.
        seed: Of the search and of the first retraining; the others count up from it.
        seeds: How many retrainings, at least 1.
        budget_seconds: Wall time of the search proper, after which it reads out what it has; 0 for no limit.
        device: "auto", "cpu", "cuda" or "cuda:1".
        training: How networks are trained.
        search_config: How the search is done; its budget is replaced by `budget_seconds` if that is given.
        out: Run folder to write; None writes nothing.
        overwrite: Whether an earlier run in that folder may be replaced.
        resume: Whether to go on with a run in that folder that was stopped; if there is none, it is begun, and if it is
            finished, what it came to is returned. Everything else has to be as it was when the run was begun.
        checkpoint_seconds: Shortest time between two states of a training that are written; 0 writes one every epoch.
        command: The command line, for the record.
        progress: Called with a line for people whenever something new begins.

    Raises:
        UserError: If something that was given is wrong, before anything is written; or if a training diverges.
    """
    started = time.perf_counter()
    origin = provenance(command)
    if strategy not in STRATEGIES:
        raise unknown_name("strategy", strategy, STRATEGIES)
    if discretization not in DISCRETIZATIONS:
        raise unknown_name("discretization", discretization, DISCRETIZATIONS)
    if encoders not in ENCODER_MODES:
        raise unknown_name("encoder mode", encoders, ENCODER_MODES)
    check_seeds(seed, seeds)
    check_resume(out, overwrite=overwrite, resume=resume, checkpoint_seconds=checkpoint_seconds)
    if baselines not in ("quick", "full"):
        raise unknown_name("baselines", baselines, ("quick", "full"))
    training = training or TrainingConfig()
    config = search_config or SearchConfig()
    if budget_seconds:
        config = SearchConfig(**{**asdict(config), "budget_seconds": budget_seconds})
    where = pick_device(device)
    source = data
    data = load_data(source, modalities=modalities, target=target, split=split, task=task, seed=seed)
    for name in builders or ():
        if name not in data.modalities:
            raise unknown_name("modality in builders:", name, data.modalities)
    found_space = make_space(space, data, builders, operations)
    resolved = {
        "source": {
            "data": "" if isinstance(source, FusionData) else str(source),
            "modalities": _plain_modalities(modalities),
            "target": target or "",
            "split": split or "",
            "task": task or "",
            "builders": sorted(builders or ()),
        },
        "search": {
            "space": found_space.name,
            "operations": list(operations or []),
            "strategy": strategy,
            "discretization": discretization,
            "encoders": encoders,
            "baselines": baselines,
            "seed": seed,
            "seeds": seeds,
            "device": device,
            **asdict(config),
        },
        "training": asdict(training),
    }
    folder, checkpoints = None, NOWHERE
    if out is not None:
        run = {
            "kind": "search",
            **{part: resolved[part] for part in ("search", "training")},
            **what_decides(data, found_space, where, builders),
        }
        folder = RunFolder.create(out, overwrite=overwrite, resume=resume)
        checkpoints = begin(folder, run, resume=resume, every_seconds=checkpoint_seconds)
        if checkpoints.finished:
            return finished_run(folder, progress)
    if checkpoints.kept():
        progress(going_on(checkpoints))
    with ExitStack() as stack:
        log: Log = ignore
        if folder is not None:
            folder.write_config(resolved)  # first, for it marks the folder as one of ours
            stack.enter_context(checkpoints)
            stack.enter_context(folder.replacing())
            labels = {node.name: [choice.in_words() for choice in node.choices] for node in found_space.nodes}
            log = stack.enter_context(MetricsLog(folder, labels))
        setup = Setup(
            data=data,
            space=found_space,
            training=training,
            device=where,
            builders=builders,
            log=log,
            progress=progress,
            checkpoints=checkpoints,
        )
        result = find(setup, config, strategy, discretization, encoders, seed)
        rows = contestants(found_space, result.architecture, scorer_of(setup, result), baselines)
        judged, first = retrain_and_judge(setup, result.prepared, result.encoders, rows, range(seed, seed + seeds))
        summary = {
            "format_version": 1,
            **judged,
            **_summary_of_search(setup, result, _one_training_seconds(first)),
            "strategy": strategy,
            "discretization": discretization if result.discretized else None,
            **origin,
            "total_seconds": checkpoints.now() - started,
        }
        network = first[0].network.cpu()
        page = write_run(folder, resolved, summary, network, data) if folder is not None else None
    return RunResult(
        architecture=result.architecture,
        network=network,
        summary=summary,
        folder=folder.path if folder is not None else None,
        report=page,
    )


def _summary_of_search(setup: Setup, result: SearchResult, one_training: float) -> dict[str, Any]:
    """The part of the summary that tells how the architecture was found.

    Args:
        setup: Of the run.
        result: What was found.
        one_training: Seconds that one fixed architecture takes at full length.
    """
    discretized = result.discretized
    return {
        "data": setup.data.describe(),
        "space": setup.space.name,
        "depths": dict(setup.space.depths),
        "nodes": _nodes(setup.space, result),
        "search_seconds": result.seconds,
        "encoder_seconds": result.prepared.seconds,
        "training_seconds": one_training,
        "search_cost": result.seconds / one_training,
        "discretization_loss": discretized.loss if discretized else None,
        "candidates": len(discretized.candidates.indices) if discretized else None,
        "seed": result.prepared.seed,
        "device": str(setup.device),
    }


def write_run(
    folder: RunFolder, config: Mapping[str, Any], summary: Mapping[str, Any], network: FusionNetwork, data: FusionData
) -> Path:
    """Writes what a run came to, and draws its report.

    Args:
        folder: Of the run.
        config: Resolved, for `config.toml`.
        summary: For `summary.json`.
        network: The found architecture, trained with the first seed.
        data: That it was trained on.

    Returns:
        The page to look at.
    """
    folder.write_config(config)
    folder.write_json("architecture.json", summary["architecture"])
    save_weights(folder, network, data)
    folder.write_json("summary.json", summary)
    # A network with encoders or of a space of the user's own cannot be built from a file alone, so none is handed out.
    formats = [name for name in FORMATS if name != "safetensors" or is_rebuildable(network)]
    export(folder.path, formats)
    return report(folder.path)


def check_seeds(seed: int, seeds: int) -> None:
    """Refuses seeds that a random generator cannot take, and too few of them.

    Raises:
        UserError: If the first is negative or beyond 32 bits, or there is none.
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"seed must be from 0 to {2**32 - 1}, got {seed}")
    if seeds < 1:
        raise UserError(f"seeds must be at least 1, got {seeds}")


def finished_run(folder: RunFolder, progress: Progress) -> RunResult:
    """What a run came to that had ended when it was asked to go on.

    Raises:
        UserError: If a file is missing or damaged, or the network cannot be built from files alone.
    """
    progress(f"{str(folder.path)!r} is finished: nothing is left to do")
    loaded, summary = load_weights(folder), folder.read_summary()
    return RunResult(
        architecture=loaded.architecture,
        network=loaded.network,
        summary=summary,
        folder=folder.path,
        report=folder.report if folder.report.exists() else None,
    )


def make_space(
    space: str | SearchSpace,
    data: FusionData,
    builders: Mapping[str, EncoderBuilder] | None = None,
    operations: Sequence[str] | None = None,
) -> SearchSpace:
    """The space for a data set: as many depths as each modality's encoder offers taps.

    Raises:
        UserError: If the space is unknown, cannot be built, or was made by hand for other modalities or depths.
    """
    with seeded(0):
        depths = {name: encoder.num_taps for name, encoder in build_encoders(data, builders).items()}
    if isinstance(space, SearchSpace):
        if dict(space.depths) != depths:
            raise UserError(
                f"space {space.name!r} is made for taps {dict(space.depths)}, the encoders of the data offer {depths}"
            )
        return space
    options = {"operations": list(operations)} if operations else {}
    return find_space(space)(depths, **options)


def find(
    setup: Setup, config: SearchConfig, strategy: str, discretization: str, encoders: EncoderMode, seed: int
) -> SearchResult:
    """Prepares encoders, trains the supernet and decides on one architecture. The test split is not read."""
    prepared, mode = prepare(setup, encoders, seed)
    started = setup.checkpoints.now()
    problem = Problem(
        space=setup.space,
        data=prepared.data,
        weights=prepared.weights,
        architecture=prepared.architecture,
        training=setup.training,
        search=config,
        seed=seed,
        device=setup.device,
        builders=None if prepared.frozen else setup.builders,
        log=setup.log,
        alone_loss=min((trained.architecture_loss for trained in prepared.alone.values()), default=math.inf),
        checkpoints=setup.checkpoints,
        started=started,
    )
    setup.progress(f"searching {setup.space.name} by {strategy} ({setup.space.size():,} architectures)")
    explored = STRATEGIES[strategy](problem)
    discretized = discretize(problem, explored, discretization) if explored.network is not None else None
    architecture = discretized.architecture if discretized else explored.architecture
    assert architecture is not None
    seconds = setup.checkpoints.now() - started
    setup.progress(f"found in {seconds:.1f} s: {architecture.in_words()}")
    return SearchResult(
        architecture=architecture,
        explored=explored,
        discretized=discretized,
        prepared=prepared,
        encoders=mode,
        seconds=seconds,
    )


def scorer_of(setup: Setup, result: SearchResult) -> PathScorer | None:
    """What the trained supernet thinks of any path, or None if there is no supernet."""
    network = result.explored.network
    if network is None:
        return None
    return PathScorer(network, setup.data.task, result.prepared.architecture, setup.device)


def retrain_and_judge(
    setup: Setup, prepared: Prepared, encoders: EncoderMode, rows: Sequence[Any], seeds: Sequence[int]
) -> tuple[dict[str, Any], list[Entry]]:
    """Trains every contestant from scratch over the seeds, then reads the test split once.

    Args:
        setup: Of the run.
        prepared: For the first seed.
        encoders: `pretrained` or `joint`, as it was decided; the other seeds pretrain encoders of their own.
        rows: The contestants, the found one first.
        seeds: Of initialisation, order and dropout.

    Returns:
        The part of the summary that tells about it, and the entries of the first seed.
    """
    entries: list[list[Entry]] = []
    for seed in seeds:
        if seed != prepared.seed:
            prepared, _ = prepare(setup, encoders, seed)
        entries.append(train_all(setup, prepared, rows))
    setup.progress("judging on the test split")
    judged = [judge(setup, some) for some in entries]
    board = leaderboard(setup.data.task, [some for some, _ in judged], judged[0][1])
    metric = PRIMARY[setup.data.task]
    found = board[0].architecture
    return {
        "architecture": found.to_dict(),
        "in_words": found.in_words(),
        "verdict": verdict(setup.space, setup.data.task, board),
        "interaction_order": setup.space.interaction_order(found),
        "encoders": encoders,
        "metric": metric,
        "higher_is_better": higher_is_better(metric),
        "leaderboard": [row.to_dict() for row in board],
        "seeds": list(seeds),
    }, entries[0]


def _one_training_seconds(entries: Sequence[Entry]) -> float:
    """What one fixed architecture takes at full length: late fusion, which every leaderboard holds."""
    late = next((entry for entry in entries if entry.contestant.kind == "late"), entries[0])
    return late.full_length_seconds


def _nodes(space: SearchSpace, result: SearchResult) -> list[dict[str, Any]]:
    """Every node's choices with the search's belief in each."""
    return [
        {
            "name": node.name,
            "residual": node.residual,
            "choices": [
                {
                    "operation": choice.operation,
                    "inputs": list(choice.inputs),
                    "label": choice.in_words(),
                    "order": space.operations[choice.operation].order,
                    "formula": space.operations[choice.operation].formula,
                }
                for choice in node.choices
            ],
            "chosen": node.choices.index(result.architecture[node.name]),
            "beliefs": list(result.explored.beliefs[node.name]),
        }
        for node in space.nodes
    ]


def _plain_modalities(modalities: str | Sequence[str] | Mapping[str, str] | None) -> str:
    if modalities is None or isinstance(modalities, str):
        return modalities or ""
    if isinstance(modalities, Mapping):
        return ",".join(f"{name}:{kind}" for name, kind in modalities.items())
    return ",".join(modalities)


def ignore(_record: Mapping[str, Any]) -> None:
    """Where records go when there is no run folder."""


__all__ = ["RunResult", "SearchResult", "find", "make_space", "retrain_and_judge", "search"]
