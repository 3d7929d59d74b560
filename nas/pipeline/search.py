"""The whole path: data, encoders, supernet, one architecture, retraining, leaderboard, export and report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nas.config import EncoderMode, RunConfig, SearchConfig, TrainingConfig
from nas.config.keywords import takes_options
from nas.data import FusionData, load_data
from nas.data.batches import refuse_too_little_memory, split_batch
from nas.data.splits import Fold
from nas.data.tables import RECIPE_FILE, TableRecipe
from nas.data.tables.needs import Needs
from nas.device import pick_device
from nas.diagnostics import attention, mistakes
from nas.discretize.discretize import DISCRETIZATIONS, Discretized, discretize
from nas.discretize.tournament import Tournament, entrants, with_proposals
from nas.encoders import Encoder, EncoderBuilder, Named, build_encoders, builders_of, parse_encoders, with_named
from nas.encoders.joined import encoder_of
from nas.encoders.names import needs_of, pairs_of
from nas.encoders.preprocessing import check_preprocessing
from nas.encoders.pretrained.encoder import merge_all
from nas.errors import UserError, unknown_name
from nas.evaluation.calibration import calibration
from nas.evaluation.leaderboard import costs, diagnosis, leaderboard, on_fewer
from nas.export import write_exports
from nas.network.cost import CostTable
from nas.objectives import AUTO, OBJECTIVES, check_objective, parse
from nas.pipeline.preprocessing import decide_preprocessing
from nas.pipeline.repeated import Decision, Repeated, judge_searches, repeat
from nas.pipeline.resume import going_on, open_checkpoints, what_decides
from nas.pipeline.time_limit import keep_limit
from nas.pipeline.workload import to_be_expected, workload
from nas.records import from_plain
from nas.report import draw_report
from nas.report.notebook import Leaderboard, run_html, run_line
from nas.report.verdict import recorded_verdict, verdict
from nas.retraining.baselines import Contestant, contestants
from nas.retraining.controls import controls
from nas.retraining.cures import Tried, advice_on, best_of, told_of_tried, try_objectives
from nas.retraining.ensemble import ensemble
from nas.retraining.frozen_taps import frozen_taps
from nas.retraining.preparation import PreparedEncoders, Progress, TrainingSetup, check_judging, prepare, raw_sample
from nas.retraining.refit import refit, unimodal_epochs
from nas.retraining.retrain import Entry, judge, judge_one, train_all
from nas.routing.explain import explain
from nas.routing.levels import CASCADE, LEVELS, check_levels
from nas.routing.network import DerivedNetwork, RoutedNetwork, static_part
from nas.routing.search import Gated, add_gate
from nas.runs.checkpoint import Checkpoints
from nas.runs.folder import RunFolder
from nas.runs.metrics_log import Log, MetricsLog
from nas.runs.provenance import provenance
from nas.saved.run import read_config, recipe_of
from nas.saved.weights import load_members, load_weights, save_members, save_weights
from nas.seeding import seeded
from nas.space.architecture import Architecture, tap_modality
from nas.space.node import FusionNode
from nas.space.options import read_space, write_space
from nas.space.search_space import SearchSpace
from nas.strategies import STRATEGIES, WITH_SUPERNET, SearchProblem, StrategyResult
from nas.strategies.exhaustive import check_size
from nas.summary import (
    Compromise,
    DataDescription,
    Decisions,
    Guards,
    Objectives,
    Results,
    Search,
    SearchedChoice,
    SearchedNode,
    SearchedReference,
    Standings,
    Summary,
)
from nas.supernet.guards import discretization_after
from nas.supernet.path_scorer import PathScorer
from nas.tasks import TASKS


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchResult:
    """What a search decided, before anything is retrained.

    Attributes:
        architecture: The decision.
        explored: What the strategy learned.
        discretized: How the decision was read out; None for a strategy without a supernet.
        discretization: By which method, which is not what was asked for if a guard has tripped; None likewise.
        fell_back: Whether that is so.
        problem: As the strategy saw it.
        prepared: What the search was done on; its seed is the run's.
        encoders: The mode that encoders are trained in.
        seconds: Wall time of search, read-out and gates, without that of encoders trained alone.
        gated: What came of letting the architecture decide per sample; None in a static space.
    """

    architecture: Architecture
    explored: StrategyResult
    discretized: Discretized | None
    discretization: str | None
    fell_back: bool
    problem: SearchProblem
    prepared: PreparedEncoders
    encoders: EncoderMode
    seconds: float
    gated: Gated | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RunResult:
    """A finished run.

    Attributes:
        architecture: What was found.
        network: It, as it was trained with the first seed, in evaluation mode; maps {modality: arrays} to logits or
            predictions.
        summary: All that it came to, as in `summary.json`.
        config: The options that the run came to, as in `config.toml`.
        folder: Where everything was written; None if nothing was.
        report: The page to look at; None if nothing was written.
        recipe: How rows of a table become arrays; None for a run on arrays.
        members: For regression the same architecture as it was trained with the other seeds; see `nas.predict`.
    """

    architecture: Architecture
    network: DerivedNetwork
    summary: Summary
    config: RunConfig
    folder: Path | None
    report: Path | None
    recipe: TableRecipe | None = None
    members: tuple[DerivedNetwork, ...] = ()

    @property
    def verdict(self) -> str:
        """Whether to fuse, when and how, and what it gains, a sentence a line; the first one is the answer."""
        told = recorded_verdict(self.summary)
        return "\n".join(told.lines()) if told else ""

    @property
    def leaderboard(self) -> Leaderboard:
        """What was found beside everything that it has to be compared with; it shows itself in a notebook."""
        return Leaderboard(self.summary)

    def __repr__(self) -> str:
        return run_line("RunResult", self.summary, self.folder)

    def _repr_html_(self) -> str:
        return run_html(self.summary)


@takes_options
def search(
    data: FusionData | str | Path | Any,
    config: RunConfig | None = None,
    *,
    preset: str = "default",
    builders: Mapping[str, EncoderBuilder] | None = None,
    command: str | None = None,
    progress: Progress = lambda _line: None,
    on_data: Callable[[FusionData], None] = lambda _data: None,
    on_record: Log = lambda _record: None,
    started: float | None = None,
    **options: Any,
) -> RunResult:
    """Finds an architecture, retrains it and its baselines from scratch, and judges them on the test split.

        nas.search(data, strategy="darts", epochs=20, out="results/runs/mine")
        nas.search(data, RunConfig(search=SearchConfig(strategy="darts"), training=TrainingConfig(epochs=20)))

    Args:
        data: A `FusionData`, the name of an embedded data set, a file or folder, or a data frame; see `nas.load_data`.
        config: Options; what is not given by name is as it is here. None for the defaults.
        preset: A name of `nas.config.presets.PRESETS`, which sets several options at once; those given by name win.
        builders: Encoder builders that replace the defaults, by modality.
        command: The command line, for the record.
        progress: Called with a line for people whenever something new begins.
        on_data: Called with the data set when it has been read.
        on_record: Called with every record of how it goes, as in `metrics.jsonl`, and first with one of phase "plan":
            how many epochs of every unit of the workload are to be expected.
        started: When the command began that a time limit is for, by `time.perf_counter`; None for now.
        options: Options by name, or whole sections of `RunConfig` by theirs; None stands for one that is not given.
            `modalities` and `columns` may also be lists or mappings, see `nas.load_data`, and `space` a space made by
            hand. `encoders` may be a mapping from modality to the name of its encoder, which is then the option
            `encoder`.

    Returns:
        What was found. If a run that has finished is resumed, it is read back.

    Raises:
        UserError: If something that was given is wrong, before anything is written; or if a training diverges.
    """
    started = time.perf_counter() if started is None else started
    origin = provenance(command)
    config, data, found_space, where, builders = asked_for(data, config, preset, builders, options, on_data)
    search, evaluation, output = config.search, config.evaluation, config.output
    with ExitStack() as stack:
        folder, checkpoints = None, Checkpoints()
        if output.out is not None:
            run = {"kind": "search", **config.identity(), **what_decides(data, found_space, where, builders)}
            owned = RunFolder.created(output.out, overwrite=output.overwrite, resume=output.resume)
            folder = stack.enter_context(owned)
            checkpoints = open_checkpoints(folder, run, resume=output.resume, every_seconds=output.checkpoint_seconds)
            if checkpoints.finished:
                return finished_run(folder, progress, search.encoder)
        if checkpoints.kept():
            progress(going_on(checkpoints))
        log: Log = ignore
        if folder is not None:
            folder.write_config(config.to_dict())  # first, for it marks the folder as one of ours
            stack.enter_context(checkpoints)
            stack.enter_context(folder.replacing())
            labels = {node.name: node.labels() for node in found_space.nodes}
            log = stack.enter_context(MetricsLog(folder, labels))
            log({"phase": "space", "nodes": [_choices(node, found_space) for node in found_space.nodes]})
        taps, learning = frozen_taps(data, builders, folder, where, progress)
        setup = TrainingSetup(
            data=data if taps is None else taps.data,
            taps=taps,
            space=found_space,
            training=config.training,
            device=where,
            builders=learning,
            log=told_to(log, on_record),
            progress=progress,
            checkpoints=checkpoints,
        )
        asked = config
        if search.time_limit_seconds:
            setup, config = keep_limit(setup, config, started)
            search, evaluation = config.search, config.evaluation
        on_record(to_be_expected(setup, workload(setup, config)))
        setup, preprocessing = decide_preprocessing(setup, search.encoders, search.seed)
        decision, prepared, repeated = _decide(setup, search)
        results, first, members = retrain_and_judge(
            setup,
            prepared,
            decision.encoders,
            decision.rows,
            range(search.seed, search.seed + evaluation.retrain_seeds),
            budget_seconds=search.budget_seconds,
            tournament=Tournament(evaluation.prefer, evaluation.baselines, decision.candidates),
            with_refit=evaluation.refit,
            with_ensemble=evaluation.has_ensemble,
        )
        one_training = _one_training_seconds(first)
        nodes = _with_choices(decision.search.nodes, first[0].architecture, found_space)
        summary = Summary(
            **results.values(),
            data=from_plain(DataDescription, data.describe()),
            search=replace(decision.search, nodes=nodes),
            device=str(where),
            preprocessing=preprocessing,
            training_seconds=one_training,
            search_cost=decision.search.search_seconds / one_training,
            stability=judge_searches(setup, repeated) if repeated is not None else None,
            strategy=search.strategy,
            provenance=origin,
            total_seconds=checkpoints.now() - started,
        )
        summary = replace(summary, verdict=verdict(summary, found_space.operations))
        network = setup.whole(first[0].network.cpu())
        members = tuple(setup.whole(one.cpu()) for one in members)
        for one in (network, *members):
            merge_all(one)
        page = write_run(folder, asked, summary, network, data, members) if folder is not None else None
    return RunResult(
        architecture=first[0].architecture,
        network=network,
        summary=summary,
        config=asked,
        folder=folder.path if folder is not None else None,
        report=page,
        recipe=data.recipe,
        members=members,
    )


def _with_encoders(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with encoders as pairs; names of encoders may also be given as a mapping by the name `encoders`."""
    found = dict(options)
    if isinstance(found.get("encoders"), Mapping):
        found["encoder"] = found.pop("encoders")
    return {
        **found,
        **{name: pairs_of(found[name]) for name in ("encoder", "encoder_mode") if found.get(name) is not None},
    }


def asked_for(
    source: FusionData | str | Path | Any,
    config: RunConfig | None,
    preset: str,
    builders: Mapping[str, EncoderBuilder] | None,
    options: Mapping[str, Any],
    on_data: Callable[[FusionData], None],
) -> tuple[RunConfig, FusionData, SearchSpace, torch.device, dict[str, EncoderBuilder]]:
    """The options, data, space, device and encoder builders that a search was asked for, all checked; see `search`.

    Raises:
        UserError: If something is wrong.
    """
    space = options.get("space")
    named = {name: options.get(name) for name in ("modalities", "columns")}
    as_text = {name: _as_text(value) for name, value in named.items()}
    if isinstance(space, SearchSpace):
        as_text["space"] = space.name
    config = RunConfig.of(config, preset=preset, **{**_with_encoders(options), **as_text})
    search = config.search
    for kind, name, known in (
        ("strategy", search.strategy, STRATEGIES),
        ("discretization", search.discretization, DISCRETIZATIONS),
    ):
        if name not in known:
            raise unknown_name(kind, name, known)
    where = pick_device(search.device)
    by_name = builders_of(search.encoder, search.encoder_mode)
    data = _read(source, config, named, needs_of(by_name))
    refuse_too_little_memory(data, config.training.batch_size)
    on_data(data)
    own = tuple(sorted(builders or ()))
    builders = with_named(builders, by_name, data.modalities)
    found_space = _checked_space(config, space or search.space, data, builders)
    return _resolved(config, source, found_space, own), data, found_space, where, builders


def _read(
    source: FusionData | str | Path | Any, config: RunConfig, named: Mapping[str, Any], needs: Mapping[str, Needs]
) -> FusionData:
    """The data, where modalities and columns may be given as more than a text."""
    return load_data(
        source,
        modalities=named["modalities"] or config.source.modalities or None,
        columns=named["columns"] or config.source.columns or None,
        target=config.source.target or None,
        split=config.source.split or None,
        task=config.source.task or None,
        group=config.source.group or None,
        weight=config.source.weight or None,
        fold=Fold.read(config.source.fold) if config.source.fold else None,
        seed=config.search.seed,
        needs=needs,
        memory=config.source.memory_bytes or None,
    )


def _checked_space(
    config: RunConfig, space: str | SearchSpace, data: FusionData, builders: Mapping[str, EncoderBuilder] | None
) -> SearchSpace:
    """The space for the data, when all that was asked for has been found to suit both."""
    search, training = config.search, config.training
    check_judging(training, data.task)
    for name in builders or ():
        if name not in data.modalities:
            raise unknown_name("modality in builders:", name, data.modalities)
    made = make_space(space, data, builders, search.operations, search.dynamic, regions=training.regions)
    check_preprocessing(training.preprocessing, data, builders)
    check_objective(
        training.objective,
        data.task,
        made.modalities,
        dynamic=bool(made.dynamic),
        compiled=training.compile,
        joined=made.joins_encoders,
    )
    refuse_mixtures(training.objective, search.strategy)
    _check_dynamic(made, training, search.strategy)
    if search.strategy == "exhaustive":  # at once, and not after encoders were trained
        check_size(made, search)
    return made


def _decide(setup: TrainingSetup, search: SearchConfig) -> tuple[Decision, PreparedEncoders | None, Repeated | None]:
    """What the searches decide: of one what it was done on besides, of several all of them."""

    def decide(own: TrainingSetup, seed: int) -> tuple[Decision, PreparedEncoders]:
        result = find(own, search, seed)
        if own.space.dynamic:
            result = let_decide(own, result)
        return _decision(own, result), result.prepared

    if search.search_seeds == 1:
        return *decide(setup, search.seed), None
    repeated = repeat(setup, range(search.seed, search.seed + search.search_seeds), decide)
    others = [one.decision.architecture for one in repeated.repetitions]
    return replace(repeated.decision, rows=with_proposals(repeated.decision.rows, others)), None, repeated


def _resolved(config: RunConfig, source: Any, space: SearchSpace, builders: tuple[str, ...]) -> RunConfig:
    """With what only data and space decide, as it is recorded."""
    return replace(
        config,
        source=replace(
            config.source,
            data=str(source) if isinstance(source, str | Path) else "",
            builders=builders,
        ),
        search=replace(config.search, space=write_space(space), dynamic=tuple(space.dynamic)),
        evaluation=replace(config.evaluation, ensemble=config.evaluation.has_ensemble),
    )


def _check_dynamic(space: SearchSpace, training: TrainingConfig, strategy: str) -> None:
    if training.max_multiply_adds and not space.dynamic:
        raise UserError(
            "max_multiply_adds is a budget of networks that decide per sample; ask for dynamic, such as cascade"
        )
    if space.dynamic and strategy not in WITH_SUPERNET:
        raise UserError(
            f"strategy {strategy!r} has no supernet, which gates are made from; take sampled, or dynamic none"
        )


def _decision(setup: TrainingSetup, result: SearchResult) -> Decision:
    """What the rest of a run needs of a search, so that its supernet and cached taps can go."""
    discretized = result.discretized
    candidates = discretized.candidates if discretized else None
    search = Search(
        space=setup.space.name,
        depths=dict(setup.space.depths),
        nodes=_nodes(setup.space, result),
        references=tuple(
            SearchedReference(name=one.name, kind=one.kind, architecture=one.architecture)
            for one in setup.space.references
        ),
        search_seconds=result.seconds,
        encoder_seconds=result.prepared.seconds,
        discretization=result.discretization,
        discretization_loss=discretized.loss if discretized else math.nan,
        guards=_guards(result),
        gated=result.gated.told() if result.gated else None,
        candidates=len(candidates.indices) if candidates else None,
        pareto=tuple(
            Compromise(
                architecture=point.architecture,
                in_words=point.architecture.in_words(),
                loss=point.loss,
                multiply_adds=point.multiply_adds,
            )
            for point in result.explored.pareto
        ),
        seed=result.prepared.seed,
    )
    return Decision(
        architecture=result.architecture,
        encoders=result.encoders,
        rows=rows_of(setup.space, result),
        candidates=candidates,
        search=search,
    )


def _guards(result: SearchResult) -> Guards | None:
    """How a guarded search ended, also in words; None for a search without guards."""
    guarded = result.explored.guards
    if guarded is None:
        return None
    in_words = guarded.in_words(fell_back=result.fell_back)
    return Guards(**asdict(guarded), fell_back=result.fell_back, in_words=in_words)


def write_run(
    folder: RunFolder,
    config: RunConfig,
    summary: Summary,
    network: DerivedNetwork,
    data: FusionData,
    members: Sequence[DerivedNetwork] = (),
) -> Path:
    """Writes what a run came to, and draws its report.

    Args:
        folder: Of the run; the caller owns it.
        config: Of the run, for `config.toml`.
        summary: For `summary.json`.
        network: The found architecture, trained with the first seed.
        data: That it was trained on.
        members: The same, trained with the other seeds.

    Returns:
        The page to look at.
    """
    folder.remove("exports")  # of a network that this one replaces
    folder.write_config(config.to_dict())
    folder.write_json("architecture.json", summary.architecture)
    if data.recipe is not None:
        folder.write_json(RECIPE_FILE, data.recipe.to_dict())
    save_weights(folder, network, data)
    save_members(folder, members, data)
    folder.write_json("summary.json", summary)
    # What takes no time; networks are exported when they are wanted.
    write_exports(folder, folder.inner("exports"), ["json", "graph", "card"])
    return draw_report(folder, folder)


def finished_run(folder: RunFolder, progress: Progress, encoders: Named | None = None) -> RunResult:
    """What a run came to that had ended when it was asked to go on.

    Args:
        folder: Of the run.
        progress: Called with a line that says so.
        encoders: See `nas.load_run`.

    Raises:
        UserError: If a file is missing or damaged, or the network cannot be built from files alone.
    """
    progress(f"{str(folder.path)!r} is finished: nothing is left to do")
    loaded, summary = load_weights(folder, encoders=parse_encoders(encoders)), folder.read_summary()
    return RunResult(
        architecture=loaded.architecture,
        network=loaded.network,
        summary=summary,
        config=read_config(folder),
        folder=folder.path,
        report=folder.report if folder.is_file("report.html") else None,
        recipe=recipe_of(folder),
        members=load_members(folder, loaded.metadata, parse_encoders(encoders)),
    )


def refuse_mixtures(objective: str, strategy: str) -> None:
    """Refuses an objective that trains single paths, for a strategy that trains mixtures.

    Raises:
        UserError: If it is one.
    """
    names = [one.name for one in parse(objective) if OBJECTIVES[one.name].trains_paths]
    if names and strategy in WITH_SUPERNET and strategy != "sampled":
        raise UserError(
            f"objective {names[0]} trains single paths, and {strategy} mixtures of choices; search with sampled, or "
            "without it and retrain with it"
        )


def make_space(
    space: str | SearchSpace,
    data: FusionData,
    builders: Mapping[str, EncoderBuilder] | None = None,
    operations: Sequence[str] | None = None,
    dynamic: Sequence[str] | None = None,
    *,
    regions: bool = False,
) -> SearchSpace:
    """The space for a data set: as many depths as each modality's encoder offers taps, with or without `regions`.

    Raises:
        UserError: If the space is unknown, cannot be built, or was made by hand for other modalities or depths; or if
            it offers a cascade for regression.
    """
    made = _make_space(space, sketched(data, builders, regions=regions), operations, dynamic)
    if CASCADE in made.dynamic and not TASKS[data.task].has_probabilities:
        raise UserError(
            "a cascade stops where an answer is sure of itself, which those of regression do not tell; take "
            f"another level of {', '.join(LEVELS)}"
        )
    return made


def _make_space(
    space: str | SearchSpace,
    encoders: Mapping[str, Encoder],
    operations: Sequence[str] | None,
    dynamic: Sequence[str] | None,
) -> SearchSpace:
    depths = {name: encoder.num_taps for name, encoder in encoders.items()}
    if isinstance(space, SearchSpace):
        if dict(space.depths) != depths:
            raise UserError(
                f"space {space.name!r} is made for taps {dict(space.depths)}, the encoders of the data offer {depths}"
            )
        if operations:
            raise UserError(f"space {space.name!r} brings its own operations; leave operations out")
        return space if dynamic is None else replace(space, dynamic=check_levels(dynamic))
    options = {"operations": list(operations)} if operations else {}
    if dynamic is not None:
        options["dynamic"] = list(check_levels(dynamic))
    builder, asked = read_space(space)
    made = builder(depths, **options, **asked).with_options(**asked)
    for stream in {tap_modality(tap) for tap in made.taps()}:
        encoder_of(stream, encoders)  # which tells now what cannot be joined
    return made


def sketched(
    data: FusionData, builders: Mapping[str, EncoderBuilder] | None = None, *, regions: bool = False
) -> dict[str, Encoder]:
    """Encoders of every modality as a search builds them, to learn how many taps they offer."""
    with seeded(0):
        return build_encoders(data, builders, regions=regions)


def find(setup: TrainingSetup, config: SearchConfig, seed: int) -> SearchResult:
    """Prepares encoders, trains the supernet and reads one static architecture out. The test split is not read.

    Args:
        setup: Of the run.
        config: How to search; its own seed and space are not looked at.
        seed: Of this search.
    """
    prepared, mode = prepare(setup, config.encoders, seed)
    started = setup.checkpoints.now()
    problem = SearchProblem(
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
        measure_cost=prepared.measure_cost,
        checkpoints=setup.checkpoints,
        started=started,
    )
    setup.progress(f"searching {setup.space.name} by {config.strategy} ({setup.space.size():,} architectures)")
    explored = STRATEGIES[config.strategy](problem)
    method = discretization_after(explored.guards, config.discretization)
    discretized = discretize(problem, explored, method) if explored.network is not None else None
    architecture = discretized.architecture if discretized else explored.architecture
    assert architecture is not None
    seconds = setup.checkpoints.now() - started
    setup.progress(f"found in {seconds:.1f} s: {architecture.in_words()}")
    return SearchResult(
        architecture=architecture,
        explored=explored,
        discretized=discretized,
        discretization=method if discretized else None,
        fell_back=method != config.discretization,
        problem=problem,
        prepared=prepared,
        encoders=mode,
        seconds=seconds,
    )


def let_decide(setup: TrainingSetup, result: SearchResult, static: Architecture | None = None) -> SearchResult:
    """Lets an architecture decide per sample, see `nas.routing.search.add_gate`.

    Args:
        setup: Of the run.
        result: Of a search with a supernet.
        static: The architecture; None for that of `nas.discretize.tournament.Tournament.leader`.
    """
    problem, network, discretized = result.problem, result.explored.network, result.discretized
    assert network is not None
    assert discretized is not None
    if static is None:
        rows = rows_of(setup.space, result)
        tournament = Tournament(candidates=discretized.candidates)
        static = tournament.leader(setup, result.prepared, rows, discretized.cost)
    started = setup.checkpoints.now()
    setup.progress(f"letting it decide per sample: {static.in_words()}")
    scorer = PathScorer(network, problem.data.task, problem.architecture, problem.device)
    candidates = discretized.candidates.including(setup.space.index(static), scorer)
    gated = add_gate(problem, network, static, candidates, discretized.cost)
    if refused := gated.in_words():
        setup.progress(refused)
    seconds = result.seconds + setup.checkpoints.now() - started
    return replace(result, architecture=gated.architecture, gated=gated, seconds=seconds)


def rows_of(space: SearchSpace, result: SearchResult) -> list[Contestant]:
    """All that is trained for the first seed, what was read out first."""
    network, problem = result.explored.network, result.problem
    scorer = None
    if network is not None:
        scorer = PathScorer(network, problem.data.task, problem.architecture, problem.device)
    candidates = result.discretized.candidates if result.discretized else None
    return entrants(space, contestants(space, result.architecture, scorer), candidates)


def retrain_and_judge(  # noqa: PLR0912, PLR0915  # the second half of the path, told in order
    setup: TrainingSetup,
    prepared: PreparedEncoders | None,
    encoders: EncoderMode,
    rows: Sequence[Any],
    seeds: Sequence[int],
    *,
    budget_seconds: float = 0.0,
    tournament: Tournament | None = None,
    with_refit: bool = False,
    with_ensemble: bool = False,
) -> tuple[Results, list[Entry], tuple[DerivedNetwork, ...]]:
    """Trains every contestant from scratch over the seeds, then reads the test split once.

    Args:
        setup: Of the run.
        prepared: For the first seed; None if it is yet to be.
        encoders: `pretrained` or `joint`, as it was decided; the other seeds pretrain encoders of their own.
        rows: The contestants, the found one first.
        seeds: Of initialisation, order and dropout.
        budget_seconds: Wall time for trying objectives, if the objective is "auto"; 0 for no limit.
        tournament: By which the found one is chosen among the contestants; None leaves it as it is.
        with_refit: See `search`.
        with_ensemble: Likewise.

    Returns:
        What it came to; the entries of the first seed, of which the first has the network that is to be kept; and for
        regression the networks of the other seeds that were trained as that one was.
    """
    entries: list[list[Entry]] = []
    every: list[PreparedEncoders] = []
    epochs: list[dict[str, int]] = []
    trainings, seconds = 0, 0.0
    checkpoints = setup.checkpoints
    for seed in seeds:
        if entries and checkpoints.time_is_up():
            checkpoints.leave_out(f"seed {seed}")
            continue
        if prepared is None or seed != prepared.seed:
            prepared, _ = prepare(setup, encoders, seed)
        if tournament and not entries:
            first = tournament.first_seed(setup, prepared, rows)
            trained, trainings, seconds = first.entries, first.trainings, first.seconds
        else:
            trained = train_all(setup, prepared, rows)
        if entries and (len(trained) < len(rows) or checkpoints.time_is_up()):  # cut short, and not comparable
            checkpoints.leave_out(f"seed {seed}")
            continue
        rows = [one.contestant for one in trained]
        entries.append(trained)
        epochs.append(unimodal_epochs(prepared))
        if setup.training.objective == AUTO:  # else its cached taps can go
            every.append(prepared)
    seeds = seeds[: len(entries)]
    standings: Standings | None = None  # a retraining leaves what the search wrote
    if tournament:
        crowned = tournament.choose_winner(setup, entries, trainings=trainings, seconds=seconds)
        entries, standings = crowned.entries, crowned.standings
    advice = advice_on(setup, entries) if not setup.training.objective or every else ()
    tried: list[Tried] = []
    if every:
        tried, left_out = try_objectives(setup, every, entries, advice, budget_seconds=budget_seconds)
        chosen = best_of(setup, tried)
        entries = [[one, *some[1:]] for one, some in zip(tried[chosen].entries, entries, strict=True)]
    kept, last = entries[0], 0
    if with_refit and entries[0][0].architecture.gating is None:
        objective = tried[chosen].objective if tried else setup.training.objective
        own = replace(setup, training=replace(setup.training, objective=objective))
        entries = _with_refits(own, entries, epochs)
    if entries[0][-1].contestant.kind == "refit":
        last = -1
        kept = [replace(entries[0][0], network=entries[0][-1].network), *entries[0][1:]]
    setup.progress("judging on the test split")
    judged = [judge(setup, some) for some in entries]
    answers = judged[0][0][last].outputs  # of the network that is kept
    if with_ensemble:
        together = ensemble(setup, [some[last] for some, _ in judged], [some[0] for some, _ in judged])
        judged = [([*some, together], targets) for some, targets in judged]
    beside = controls(setup, entries[0][0])
    rivals = [[*some, *beside] for some, _ in judged]
    board = leaderboard(setup.data.task, rivals, judged[0][1], setup.metric)
    metric = setup.metric
    found = entries[0][0].architecture
    batch = split_batch(setup.data, "test", setup.device)
    dynamic: Decisions | None = None
    network = entries[0][0].network
    if isinstance(network, RoutedNetwork):
        unimodal = {
            one.contestant.name: static_part(one.network) for one in entries[0] if one.contestant.kind == "modality"
        }
        budget = setup.training.max_multiply_adds
        table = CostTable.measure(static_part(setup.whole(network)), raw_sample(setup, batch))
        dynamic = explain(network, unimodal, batch, setup.data, setup.device, metric, budget=budget, table=table)
    objectives: Objectives | None = None
    if tried:
        outputs = [[judge_one(setup, entry, batch) for entry in one.entries] for one in tried]
        objectives = told_of_tried(setup, tried, outputs, judged[0][1], chosen=chosen, left_out=left_out)
    setup.progress("diagnosing what fusion does")
    results = Results(
        architecture=found,
        in_words=found.in_words() + (", each trained alone" if board[0].separate else ""),
        interaction_order=setup.space.interaction_order(found),
        encoders=encoders,
        metric=metric,
        leaderboard=tuple(board),
        costs=costs(setup, entries[0][0], batch),
        diagnosis=diagnosis(setup, [some for some, _ in judged], batch),
        calibration=calibration(setup, entries, judged[0][0], judged[0][1]),
        mistakes=mistakes(
            setup.data.task, setup.data.class_names, [some[0].outputs for some, _ in judged], judged[0][1]
        ),
        attention=attention(
            kept[0].network, setup.data, answers, setup.device, raw=setup.taps.raw if setup.taps else None
        ),
        seeds=tuple(seeds),
        objective=setup.training.objective,
        advice=tuple(advice),
        tournament=standings,
        objectives=objectives,
        dynamic=dynamic,
        left_out=tuple(checkpoints.left_out),
        on_fewer=on_fewer(setup, board),
    )
    members = (
        () if TASKS[setup.data.task].has_probabilities else tuple(some[last].network.cpu() for some in entries[1:])
    )
    return results, kept, members


def _with_refits(
    setup: TrainingSetup, entries: Sequence[Sequence[Entry]], epochs: Sequence[Mapping[str, int]]
) -> list[list[Entry]]:
    """Per seed the entries and, if there is time for all seeds, the found one trained on both splits.

    Args:
        setup: Of the run, with the objective that was chosen.
        entries: Per seed, the found one first.
        epochs: Per seed modality to the epochs of its frozen encoder.
    """
    done = []
    for some, unimodal in zip(entries, epochs, strict=True):
        if setup.checkpoints.time_left() >= some[0].train_seconds:
            done.append([*some, refit(setup, some[0], unimodal)])
    if setup.checkpoints.time_is_up() or len(done) < len(entries):
        setup.checkpoints.leave_out("the training on both splits")
        return [list(some) for some in entries]
    return done


def _one_training_seconds(entries: Sequence[Entry]) -> float:
    """What one fixed architecture takes at full length: late fusion, which every leaderboard holds."""
    late = next((entry for entry in entries if entry.contestant.kind == "late"), entries[0])
    return late.full_length_seconds


def _nodes(space: SearchSpace, result: SearchResult) -> tuple[SearchedNode, ...]:
    """Every node's choices with the weight that the search gave each."""
    return tuple(
        replace(_choices(node, space), choice_weights=tuple(result.explored.choice_weights[node.name]))
        for node in space.nodes
    )


def _with_choices(nodes: Sequence[SearchedNode], found: Architecture, space: SearchSpace) -> tuple[SearchedNode, ...]:
    """The nodes as they are told, with the index of what was found in the end; None of what no supernet holds."""
    made = {step.name: step.choice for step in found.steps}
    chosen: list[int | None] = []
    for node in space.nodes:
        if node.name in made:
            chosen.append(node.choices.index(made[node.name]) if made[node.name] in node.choices else None)
        else:
            chosen.append(next(iter(node.idle), None))
    return tuple(replace(node, chosen=index) for node, index in zip(nodes, chosen, strict=True))


def _choices(node: FusionNode, space: SearchSpace) -> SearchedNode:
    """A node with all that it may do: also the first record of a run, so that its course can be told before it ends."""
    return SearchedNode(
        name=node.name,
        residual=node.residual,
        title=node.title,
        choices=tuple(
            SearchedChoice(
                operation=choice.operation,
                inputs=choice.inputs,
                label=label,
                order=space.operations[choice.operation].order,
                formula=space.operations[choice.operation].formula,
            )
            for choice, label in zip(node.choices, node.labels(), strict=True)
        ),
    )


def _as_text(names: str | Sequence[str] | Mapping[str, str] | None) -> str | None:
    """Names and kinds as one text, for the record."""
    if names is None or isinstance(names, str):
        return names
    if isinstance(names, Mapping):
        return ",".join(f"{name}:{kind}" for name, kind in names.items())
    return ",".join(names)


def told_to(*logs: Log) -> Log:
    """A log that hands every record to several."""

    def log(record: Mapping[str, Any]) -> None:
        for one in logs:
            one(record)

    return log


def ignore(_record: Mapping[str, Any]) -> None:
    """Where records go when there is no run folder."""


__all__ = ["RunResult", "SearchResult", "find", "make_space", "retrain_and_judge", "search"]
