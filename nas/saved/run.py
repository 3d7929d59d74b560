"""A finished run, read back from its folder, and the data that it was searched on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.config import RunConfig, SourceConfig
from nas.data import FusionData, load_data
from nas.data.loading import is_embedded
from nas.data.paths import mode
from nas.data.splits import Fold
from nas.data.tables import RECIPE_FILE, TableRecipe, is_table, load_table
from nas.encoders import Named, parse_encoders
from nas.encoders.preprocessing import parse_preprocessing, write_preprocessing
from nas.errors import UserError
from nas.records import from_plain
from nas.report.notebook import Leaderboard, run_html, run_line
from nas.report.numbers import clean
from nas.retraining.baselines import Contestant
from nas.routing.network import DerivedNetwork
from nas.runs.folder import RunFolder
from nas.saved.weights import load_members, load_weights
from nas.space.architecture import Architecture, Choice
from nas.space.node import FusionNode
from nas.space.operation import installed_operations
from nas.space.search_space import Reference, SearchSpace
from nas.summary import DataDescription, Summary
from nas.tasks import TASKS


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Run:
    """A finished run, read back.

    Attributes:
        folder: Where it lies.
        architecture: What was found.
        network: The found architecture as it was trained with the first seed, in evaluation mode on the CPU; maps
            {modality: arrays} to logits or predictions.
        summary: All that it came to, from `summary.json`.
        config: The options, as in `config.toml`.
        recipe: How rows of a table become arrays, from `preprocessing.json`; None for a run on arrays.
        members: For regression the same architecture as it was trained with the other seeds.
    """

    folder: Path
    architecture: Architecture
    network: DerivedNetwork
    summary: Summary
    config: RunConfig
    recipe: TableRecipe | None = None
    members: tuple[DerivedNetwork, ...] = ()

    @property
    def leaderboard(self) -> Leaderboard:
        """What was found beside everything that it has to be compared with; it shows itself in a notebook."""
        return Leaderboard(self.summary)

    def __repr__(self) -> str:
        return run_line("Run", self.summary, self.folder)

    def _repr_html_(self) -> str:
        return run_html(self.summary)


def load_run(run: str | Path, *, encoders: Named | None = None) -> Run:
    """Reads a run folder; nothing in it is executed or unpickled.

    Args:
        run: The folder.
        encoders: Modality to the import path of its encoder, for a run with modules of your own. Only these are
            imported, whatever the folder says.

    Raises:
        UserError: If it is no run folder, or a file in it is missing, cut off, incomplete or of another format version.
    """
    folder = RunFolder.open(run)
    loaded = load_weights(folder, encoders=parse_encoders(encoders))
    summary, config = folder.read_summary(), read_config(folder)
    _refuse_mismatch(folder, summary, loaded.network)
    told = [summary.architecture, Architecture.from_dict(folder.read_json("architecture.json"))]
    if any(architecture != loaded.architecture for architecture in told):
        raise UserError(
            f"weights, summary.json and architecture.json of {str(folder.path)!r} are of different architectures; "
            "run the search again"
        )
    return Run(
        folder=folder.path,
        architecture=loaded.architecture,
        network=loaded.network,
        summary=summary,
        config=config,
        recipe=recipe_of(folder),
        members=load_members(folder, loaded.metadata, parse_encoders(encoders)),
    )


def recipe_of(folder: RunFolder) -> TableRecipe | None:
    """How rows of a table become what the run's network reads; None for a run on arrays.

    Raises:
        UserError: If the file is unreadable, damaged or vast.
    """
    return TableRecipe.from_dict(folder.read_json(RECIPE_FILE)) if folder.exists(RECIPE_FILE) else None


def read_config(folder: RunFolder) -> RunConfig:
    """The options of a run.

    Raises:
        UserError: If a name is unknown, as in a run of another version, or a value is refused.
    """
    try:
        return RunConfig.from_dict(folder.read_config())
    except UserError as error:
        raise UserError(
            f"{str(folder.config)!r} is damaged, or of another version: {error}; run the search again"
        ) from error


def _refuse_mismatch(folder: RunFolder, summary: Summary, network: DerivedNetwork) -> None:
    """Checks that the summary is of the network: names of classes suit its outputs, modalities are those it reads."""
    try:
        names = summary.data.class_names
        count = network.head.scale.numel() if TASKS[summary.data.task].has_probabilities else 0
        if len(names) != count:
            raise UserError(f"data.class_names has {len(names)} names, of which the network has {count}")
        if missing := [name for name in network.architecture.modalities() if name not in summary.data.modalities]:
            raise UserError(f"data.modalities has no {missing[0]!r}, which the network reads")
        parse_preprocessing(recorded_preprocessing(summary))
    except UserError as error:
        raise UserError(f"{str(folder.summary)!r} is damaged: {error}; run the search again") from error


def recorded_preprocessing(summary: Summary) -> str:
    """What every modality's preprocessing was decided to be, as a setting."""
    return write_preprocessing({name: told.chosen for name, told in summary.preprocessing.items()})


def recorded_space(summary: Summary) -> SearchSpace:
    """The space that a run was searched in, as its summary tells it; the operations are the installed ones.

    Raises:
        UserError: If an operation is not installed, or there is no such space.
    """
    search = summary.search
    nodes = tuple(
        FusionNode(
            node.name, tuple(Choice(one.operation, one.inputs) for one in node.choices), node.residual, title=node.title
        )
        for node in search.nodes
    )
    references = tuple(Reference(one.name, one.kind, one.architecture) for one in search.references)
    found = next((row.architecture for row in summary.leaderboard if row.kind == "found"), None)
    return SearchSpace(
        search.space,
        dict(search.depths),
        nodes,
        installed_operations(),
        references=references,
        options=found.options if found else (),
    )


def contestants_of(summary: Summary) -> list[Contestant]:
    """The rows of a leaderboard as they were before training."""
    return [
        Contestant(row.name, row.kind, None if row.kind == "random" else row.architecture, separate=row.separate)
        for row in summary.leaderboard
        if row.kind not in ("refit", "ensemble", "control")  # made of the found ones, or of no network at all
    ]


def memory_of(source: SourceConfig, memory_bytes: int | None) -> int | None:
    """Bytes that data may take, by what is asked for now, else by what the run was searched with; None for any."""
    return (source.memory_bytes if memory_bytes is None else memory_bytes) or None


def data_of(run: Run, data: FusionData | str | Path | Any | None, memory_bytes: int | None = None) -> FusionData:
    """The data of a run, read again from where it came from unless other data is given.

    A table goes through the recipe of the run, whatever rows it has.
    """
    source, seed = run.config.source, run.config.search.seed
    memory = memory_of(source, memory_bytes)
    given = data if data is not None else source.data
    fold = Fold.read(source.fold) if source.fold else None
    if isinstance(given, FusionData):
        return load_data(given, fold=fold, seed=seed, memory=memory)
    if isinstance(given, str) and not given:
        raise UserError(
            f"{str(run.folder)!r} was searched on data in memory; hand it over as data=, on the command line a file as "
            "--data"
        )
    if data is None and not is_embedded(given) and mode(Path(given)) is None:
        raise UserError(
            f"the data of the run, {clean(given, MOST_TOLD)!r}, is not there; name where it is now with --data, in "
            "Python data="
        )
    if is_table(given):
        if run.recipe is None:
            raise UserError(f"{str(run.folder)!r} has no {RECIPE_FILE}, without which no table becomes its arrays")
        return load_table(given, seed=seed, recipe=run.recipe, fold=fold, memory=memory)
    return load_data(
        given,
        modalities=source.modalities or None,
        target=source.target or None,
        split=source.split or None,
        task=source.task or None,
        group=source.group or None,
        weight=source.weight or None,
        fold=fold,
        seed=seed,
        memory=memory,
    )


MOST_TOLD = 500
"""Characters of what is told of data."""


def refuse_other_form(run: Run, data: FusionData) -> None:
    """Checks that the network can read the data and that its outputs mean the same there."""
    recorded, given = (
        _form(run.network, described) for described in (run.summary.data, from_plain(DataDescription, data.describe()))
    )
    for what, wanted in recorded.items():
        if given[what] != wanted:
            seen, searched_on = clean(given[what], MOST_TOLD), clean(wanted, MOST_TOLD)
            raise UserError(f"{what} of the data is {seen}, but the run was searched on {searched_on}")


def _form(network: DerivedNetwork, described: DataDescription) -> dict[str, Any]:
    """What must not change about data: sequences and tokens may be of other length."""
    form: dict[str, Any] = {
        "task": described.task,
        "classes": described.classes,
        "class_names": list(described.class_names),
    }
    for name in network.architecture.modalities():
        modality = described.modalities.get(name)
        form[f"modality {name!r}"] = modality and (modality.kind, fixed_shapes(modality.kind, modality.shapes))
    return form


def fixed_shapes(kind: str, shapes: Sequence[Sequence[int]]) -> list[list[int]]:
    """What must not change about the shapes of a sample of each array: sequences and tokens may be of other length."""
    return [list(shape)[kind == "sequence" :] for shape in shapes if kind != "tokens"]
