"""A finished run, read back from its folder, and the data that it was searched on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.architecture import MAX_STEPS, Architecture, read_choice
from nas.baselines import Contestant
from nas.calibration import recorded_temperature
from nas.config import RunConfig
from nas.data import FusionData, load_data
from nas.encoders.preprocessing import parse_preprocessing, write_preprocessing
from nas.errors import UserError
from nas.fields import Whole, check
from nas.node import FusionNode
from nas.operation import installed_operations
from nas.routing.network import DerivedNetwork
from nas.runs import RunFolder
from nas.space import Reference, SearchSpace
from nas.tables import RECIPE_FILE, TableRecipe, is_table, load_table
from nas.tasks import TASKS
from nas.weights import MAX_TAPS, load_weights


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Run:
    """A finished run, read back.

    Attributes:
        folder: Where it lies.
        architecture: What was found.
        network: The found architecture as it was trained with the first seed, in evaluation mode on the CPU; maps
            {modality: arrays} to logits or predictions.
        summary: The contents of `summary.json`.
        config: The options, as in `config.toml`.
        recipe: How rows of a table become arrays, from `preprocessing.json`; None for a run on arrays.
    """

    folder: Path
    architecture: Architecture
    network: DerivedNetwork
    summary: Mapping[str, Any]
    config: RunConfig
    recipe: TableRecipe | None = None

    def __repr__(self) -> str:
        from nas.report.notebook import run_line  # noqa: PLC0415  # the report needs this module

        return run_line("Run", self.summary, self.folder)

    def _repr_html_(self) -> str:
        from nas.report.notebook import run_html  # noqa: PLC0415

        return run_html(self.summary)


def load_run(run: str | Path) -> Run:
    """Reads a run folder; nothing in it is executed or unpickled.

    Raises:
        UserError: If it is no run folder, or a file in it is missing, cut off, incomplete or of another format version.
    """
    folder = RunFolder.open(run)
    loaded = load_weights(folder)
    summary = folder.read_summary()
    config = read_config(folder)
    _refuse_gaps(folder, summary, loaded.network)
    told = [
        Architecture.from_dict(summary["architecture"]),
        Architecture.from_dict(folder.read_json("architecture.json")),
    ]
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
    )


def recipe_of(folder: RunFolder) -> TableRecipe | None:
    """How rows of a table become what the run's network reads; None for a run on arrays.

    Raises:
        UserError: If the file is unreadable, damaged or vast.
    """
    return TableRecipe.from_dict(folder.read_json(RECIPE_FILE)) if folder.exists(RECIPE_FILE) else None


SEED = Whole(0, 2**33)
"""Those of retrainings count up from one below 2³²."""


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


def _refuse_gaps(folder: RunFolder, summary: Mapping[str, Any], network: DerivedNetwork) -> None:
    """Checks that all is there, and of the right form, that this module reads."""
    try:
        Architecture.from_dict(summary["architecture"])
        contestants_of(summary)
        _form(network, summary["data"])
        _refuse_names(network, summary["data"])
        found = (
            *(summary[key] for key in ("space", "encoders", "in_words")),
            summary["data"]["fingerprint"],
        )
        for seed in summary["seeds"]:
            check("a seed", seed, SEED)
        score = saved_row(summary)["scores"][0]
        dict(summary["depths"])
        why_static(summary)
        recorded_temperature(summary)
        parse_preprocessing(recorded_preprocessing(summary))
        if not summary["seeds"] or not all(isinstance(text, str) for text in found):
            raise TypeError("an entry of another type")
        if not isinstance(score, int | float):
            raise TypeError("a score that is no number")
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"summary.json of {str(folder.path)!r} lacks or garbles {error}; run the search again"
        ) from error


def _refuse_names(network: DerivedNetwork, described: Mapping[str, Any]) -> None:
    """Checks that task and names of classes suit the network's outputs."""
    task, names = described["task"], described["class_names"]
    count = network.head.scale.numel() if TASKS.get(task) and TASKS[task].has_probabilities else 0
    if task not in TASKS or not isinstance(names, list) or len(names) != count:
        raise TypeError(f"class_names, of which the network has {count}")
    if not all(isinstance(name, str) for name in names):
        raise TypeError("class_names, which are no texts")


def why_static(summary: Mapping[str, Any]) -> str:
    """Why nothing is decided per sample although it was asked for, in a sentence; "" if that is not so."""
    return str((summary.get("gated") or {}).get("in_words", ""))


def recorded_preprocessing(summary: Mapping[str, Any]) -> str:
    """What every modality's preprocessing was decided to be, as a setting; earlier runs standardize."""
    chosen = {str(name): str(told["chosen"]) for name, told in (summary.get("preprocessing") or {}).items()}
    return write_preprocessing(chosen)


def recorded_space(summary: Mapping[str, Any]) -> SearchSpace:
    """The space that a run was searched in, as its summary tells it; the operations are the installed ones.

    Raises:
        UserError: If the summary lacks or garbles it, or an operation is not installed.
    """
    try:
        if not isinstance(summary["nodes"], list) or len(summary["nodes"]) > MAX_STEPS:
            raise TypeError(f"nodes, a list of at most {MAX_STEPS}")
        nodes = tuple(
            FusionNode(str(node["name"]), tuple(read_choice(choice) for choice in node["choices"]), node["residual"])
            for node in summary["nodes"]
        )
        references = tuple(
            Reference(str(one["name"]), one["kind"], Architecture.from_dict(one["architecture"]))
            for one in summary["references"]
        )
        for name, count in summary["depths"].items():
            check(f"depths of {name[:60]!r}", count, Whole(1, MAX_TAPS))
        return SearchSpace(
            str(summary["space"]), dict(summary["depths"]), nodes, installed_operations(), references=references
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"summary.json lacks or garbles {error}; run the search again") from error


def contestants_of(summary: Mapping[str, Any]) -> list[Contestant]:
    """The rows of a leaderboard as they were before training."""
    return [
        Contestant(
            row["name"],
            row["kind"],
            None if row["kind"] == "random" else Architecture.from_dict(row["architecture"]),
            separate=row.get("separate", row["kind"] == "sum") is True,
        )
        for row in summary["leaderboard"]
        if row["kind"] not in ("refit", "ensemble", "control")  # made of the found ones, or of no network at all
    ]


def saved_row(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row of the leaderboard whose network of the first seed is in the run folder."""
    board: Sequence[Mapping[str, Any]] = summary["leaderboard"]
    return next((row for row in board if row["kind"] == "refit"), board[0])


def data_of(run: Run, data: FusionData | str | Path | Any | None) -> FusionData:
    """The data of a run, read again from where it came from unless other data is given.

    A table goes through the recipe of the run, whatever rows it has.
    """
    source, seed = run.config.source, run.config.search.seed
    given = data if data is not None else source.data
    if isinstance(given, FusionData):
        return given
    if isinstance(given, str) and not given:
        raise UserError(f"{str(run.folder)!r} was searched on data in memory; hand it over as `data`")
    if is_table(given):
        if run.recipe is None:
            raise UserError(f"{str(run.folder)!r} has no {RECIPE_FILE}, without which no table becomes its arrays")
        return load_table(given, seed=seed, recipe=run.recipe)
    return load_data(
        given,
        modalities=source.modalities or None,
        target=source.target or None,
        split=source.split or None,
        task=source.task or None,
        seed=seed,
    )


def refuse_other_form(run: Run, data: FusionData) -> None:
    """Checks that the network can read the data and that its outputs mean the same there."""
    recorded, given = (_form(run.network, described) for described in (run.summary["data"], data.describe()))
    for what, wanted in recorded.items():
        if given[what] != wanted:
            raise UserError(f"{what} of the data is {given[what]}, but the run was searched on {wanted}")


def _form(network: DerivedNetwork, described: Mapping[str, Any]) -> dict[str, Any]:
    """What must not change about data, from `FusionData.describe`: sequences and tokens may be of other length."""
    form = {key: described[key] for key in ("task", "classes", "class_names")}
    for name in network.encoders:
        modality = described["modalities"].get(name)
        form[f"modality {name!r}"] = modality and (modality["kind"], fixed_shapes(modality["kind"], modality["shapes"]))
    return form


def fixed_shapes(kind: str, shapes: Sequence[Sequence[int]]) -> list[list[int]]:
    """What must not change about the shapes of a sample of each array: sequences and tokens may be of other length."""
    return [list(shape)[kind == "sequence" :] for shape in shapes if kind != "tokens"]
