"""What the network of a finished run says of new samples, in the words of the data that it was searched on."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t
from torch.utils.data import Dataset

from nas.data import FusionData, Modality
from nas.data.batches import batch_of
from nas.data.inputs import make_inputs
from nas.data.loading import EMBEDDED, is_embedded, load_inputs
from nas.data.stored import StoredArray
from nas.data.tables import TableRecipe, is_table, open_table
from nas.data.torch_datasets import arrays_of
from nas.device import pick_device
from nas.encoders import Named
from nas.errors import UserError, is_full_disk, unknown_name
from nas.network.prediction import EVALUATION_BATCH
from nas.network.prediction import predict as run_network
from nas.pipeline.search import RunResult
from nas.routing.network import DerivedNetwork, RoutedNetwork
from nas.routing.prediction import predict_routed
from nas.runs.folder import write_atomically
from nas.saved.run import Run, fixed_shapes, load_run, memory_of
from nas.space.architecture import Architecture
from nas.summary import ModalityDescription
from nas.tasks import TASKS, Task

Data = Mapping[str, ArrayLike | Sequence[ArrayLike]] | FusionData | str | Path | Any
"""New samples: modality to its array or arrays, a data set, a table, or a file or folder."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """What a network says of some samples, in their order.

    Attributes:
        task: classification, multilabel or regression.
        outputs: What the network puts out, (n, outputs) in float32: logits, before calibration, or the values.
        labels: Of classes the name of the most probable one, (n,); of labels whether each is there, (n, labels) bool;
            None for regression.
        values: (n, outputs) for regression, else None.
        low: (n, outputs) for regression with several seeds, else None: lower ends of the intervals in which another
            seed's network would predict with 95 % probability, see `between`.
        high: Upper ends, likewise.
        probabilities: Of every class or label, calibrated, (n, outputs); None for regression.
        class_names: One per class or label; empty for regression.
        temperature: That the logits were divided by for the probabilities; 1 if the run was not calibrated.
        routes: In words the route that each sample took, (n,), where the network decides per sample; else None.
    """

    task: Task
    outputs: NDArray[np.float32]
    labels: NDArray[Any] | None
    values: NDArray[np.float32] | None
    probabilities: NDArray[np.float64] | None
    class_names: tuple[str, ...]
    temperature: float
    routes: NDArray[np.str_] | None
    low: NDArray[np.float32] | None = None
    high: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.outputs)

    def __repr__(self) -> str:
        return f"<Predictions: {self.task} of {len(self)} samples>"

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """Name to column, (n,) each, as they stand in a table.

        `label` and for every class `p_<name>`; of labels `label_<name>` and `p_<name>` for every one; for regression
        `value`, or `value_0`, `value_1` and so on, with `_low` and `_high` of each where there are several seeds; and
        `route` where the network decides per sample.
        """
        columns: dict[str, NDArray[Any]] = {}
        if self.labels is not None and self.labels.ndim == 1:
            columns["label"] = self.labels
        elif self.labels is not None:
            columns |= {f"label_{name}": self.labels[:, i].astype(np.int64) for i, name in enumerate(self.class_names)}
        if self.probabilities is not None:
            columns |= {f"p_{name}": self.probabilities[:, i] for i, name in enumerate(self.class_names)}
        if self.values is not None:
            count = self.values.shape[1]
            for i in range(count):
                name = "value" if count == 1 else f"value_{i}"
                columns[name] = self.values[:, i]
                if self.low is not None and self.high is not None:
                    columns |= {f"{name}_low": self.low[:, i], f"{name}_high": self.high[:, i]}
        if self.routes is not None:
            columns["route"] = self.routes
        return columns

    def to_rows(self) -> list[dict[str, Any]]:
        """The same columns as plain values, a mapping for each sample."""
        columns = {name: column.tolist() for name, column in self.to_columns().items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def to_csv(self) -> str:
        """The same columns as CSV with a header; numbers with eight digits."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = self.to_columns()
        writer.writerow(columns)
        writer.writerows(zip(*(map(_written, column.tolist()) for column in columns.values()), strict=True))
        return text.getvalue()

    def write_csv(self, path: str | Path) -> None:
        """Writes `to_csv` to a file, whole or not at all.

        Raises:
            UserError: If it cannot be written.
            OSError: If the disk is full.
        """
        try:
            write_atomically(Path(path), self.to_csv().encode(errors="backslashreplace"))
        except OSError as error:
            if is_full_disk(error):
                raise
            raise UserError(f"cannot write {str(path)!r}: {error.strerror}; name another --out") from error


def _written(value: Any) -> Any:
    return f"{value:.8g}" if isinstance(value, float) else value


def predict(
    run: str | Path | Run | RunResult,
    data: Data,
    *,
    present: Mapping[str, ArrayLike] | None = None,
    device: str = "auto",
    encoders: Named | None = None,
    memory_bytes: int | None = None,
) -> Predictions:
    """Runs the network of a finished run on new samples, in batches. No target is needed.

    Example: `nas.predict("runs/first", {"image": images, "audio": spectrograms}).labels`

    Args:
        run: A run folder, or what `nas.load_run` or `nas.search` returned.
        data: A mapping from modality to array, as for `nas.FusionData.from_arrays`; a `FusionData`; a map-style torch
            `Dataset`, an `.npz`, a folder of arrays, a `data.toml` or the name of an embedded set, as for
            `nas.load_data`; or, for a run on a table, a table, be it a file or a frame. A target and a split in it are
            not looked at: all samples are predicted, in their order. Modalities and columns that the
            network does not read may be missing.
        present: For a mapping, modality to (n,) flags of the samples that have it; modalities left out are always
            there. A file has `present/<modality>` for that.
        device: "auto", "cpu", "cuda" or "cuda:1".
        encoders: See `nas.load_run`, for a run folder with encoders of your own.
        memory_bytes: Memory that the data may take, as for `nas.search`; None for that of the run.

    Raises:
        UserError: If the run cannot be read, or a modality that the network reads is missing, malformed, or of another
            kind or shape than the run was searched on.
    """
    finished = load_run(run, encoders=encoders) if isinstance(run, str | Path) else run
    where = pick_device(device)
    modalities = modalities_of(finished, data, present, memory_bytes)
    outputs, picked = _run(finished.network, modalities, where)
    described = finished.summary.data
    told = _told(
        described.task,
        outputs,
        picked,
        class_names=described.class_names,
        temperature=finished.summary.temperature,
        architecture=finished.architecture,
    )
    if not finished.members:
        return told
    every = [outputs, *(_run(member, modalities, where)[0] for member in finished.members)]
    low, high = between(np.stack(every))
    return replace(told, low=low, high=high)


CONFIDENCE = 0.95
"""Of the intervals of predictions."""


def between(outputs: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Ends of the interval in which a further network, trained with another seed, would predict.

    mean ± t · s · √(1 + 1/k) over k networks, with s their deviation and t Student's quantile at k − 1 degrees of
    freedom: the prediction interval of a normal sample. It tells what depends on the luck of a training. It does not
    tell how far the truth may lie from all of them.

    Args:
        outputs: Of every network, (networks, n, outputs), two networks or more.

    Returns:
        Lower and upper ends, (n, outputs) each.
    """
    count = len(outputs)
    mean, deviation = outputs.astype(np.float64).mean(axis=0), outputs.astype(np.float64).std(axis=0, ddof=1)
    margin = t.ppf((1 + CONFIDENCE) / 2, count - 1) * deviation * np.sqrt(1 + 1 / count)
    return (mean - margin).astype(np.float32), (mean + margin).astype(np.float32)


def modalities_of(
    run: Run | RunResult,
    data: Data,
    present: Mapping[str, ArrayLike] | None = None,
    memory_bytes: int | None = None,
) -> dict[str, Modality]:
    """The modalities of new samples that a run's network reads: the one place where data of any kind becomes arrays.

    A network that reads nothing has one of the run's modalities all the same, for the number of samples.

    Raises:
        UserError: See `predict`.
    """
    known, memory = run.summary.data.modalities, memory_of(run.config.source, memory_bytes)
    read = run.network.architecture.modalities() or list(known)[:1]
    kinds: dict[str, str] = {name: known[name].kind for name in read}
    if present is not None and not isinstance(data, Mapping):
        raise UserError("present belongs to a mapping of arrays; files and data sets have masks of their own: drop it")
    if isinstance(data, str | Path) and is_embedded(data):
        data = EMBEDDED[str(data)](run.config.search.seed)
    if isinstance(data, Dataset):
        data = arrays_of(data, list(known), may_lack_target=True)
    if isinstance(data, FusionData):
        made = _chosen(data.modalities, kinds)
    elif run.recipe is not None and not isinstance(data, Mapping) and is_table(data):
        made = _of_table(run.recipe, data, kinds, memory)
    elif isinstance(data, str | Path):
        if is_table(data):
            raise UserError(f"the run was searched on arrays, so that it cannot read the table {str(data)!r}")
        made = load_inputs(data, kinds, memory)
    elif isinstance(data, Mapping):
        for name in present or {}:
            if name not in known:
                raise unknown_name("modality in present:", str(name), known)
        masks = {name: mask for name, mask in (present or {}).items() if name in kinds}
        made = make_inputs(_chosen(data, kinds), kinds, masks)
    else:
        raise UserError(
            f"data is a {type(data).__name__}; expected a mapping from modality to array, such as "
            f"{{{', '.join(f'{name!r}: …' for name in kinds)}}}, a FusionData, or a file or folder"
        )
    for name, modality in made.items():
        _refuse_other_form(name, modality, known[name])
    return made


def _of_table(recipe: TableRecipe, table: Any, kinds: Mapping[str, str], memory: int | None) -> dict[str, Modality]:
    """What the run's own preprocessing makes of the rows of a table, of the columns that the network reads."""
    frame, folder, _ = open_table(table, memory)
    return replace(recipe, modalities=_chosen(recipe.modalities, kinds)).apply(frame, folder, memory)


def _chosen(given: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Those that the network reads."""
    for name in kinds:
        if name not in given:
            raise UserError(
                f"the data has no modality {name!r}, which the network reads; it has "
                f"{', '.join(map(str, given)) or 'none'}. Add it; where a sample lacks it, give present"
            )
    return {name: given[name] for name in kinds}


def _refuse_other_form(name: str, modality: Modality, recorded: ModalityDescription) -> None:
    """Compares a modality with the one of that name that the run was searched on."""
    if modality.kind != recorded.kind:
        raise UserError(
            f"modality {name!r} of the data is of kind {modality.kind}, but the run was searched on {recorded.kind}"
        )
    given = fixed_shapes(modality.kind, [array.shape[1:] for array in modality.arrays])
    wanted = fixed_shapes(modality.kind, recorded.shapes)
    if given != wanted:
        what = "samples of shape" if modality.kind != "sequence" else "time steps of shape"
        raise UserError(
            f"modality {name!r} of the data has {what} {_shapes(given)}, but the run was searched on {_shapes(wanted)}"
        )


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    return " and ".join(f"({', '.join(map(str, shape))})" for shape in shapes)


def _run(
    network: DerivedNetwork, modalities: Mapping[str, Modality], device: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """Outputs (n, outputs) and, where the network decides per sample, the number of every sample's route."""
    arrays = [array for modality in modalities.values() for array in modality.arrays]
    count, is_streamed = len(arrays[0]), any(isinstance(array, StoredArray) for array in arrays)
    home = network.head.scale.device
    outputs, picked = [], []
    network.to(device)
    try:
        for start in range(0, count, EVALUATION_BATCH):
            rows = np.arange(start, min(start + EVALUATION_BATCH, count))
            batch = batch_of(modalities, rows, torch.zeros(len(rows)), is_streamed=is_streamed)
            if isinstance(network, RoutedNetwork):
                some, routes = predict_routed(network, batch, device)
                outputs.append(some)
                picked.append(routes)
            else:
                outputs.append(run_network(network, batch, device)[0])
    finally:
        network.to(home)
    return torch.cat(outputs).numpy(), torch.cat(picked).numpy() if picked else None


def _told(
    task: Task,
    outputs: NDArray[np.float32],
    picked: NDArray[np.int64] | None,
    *,
    class_names: tuple[str, ...],
    temperature: float,
    architecture: Architecture,
) -> Predictions:
    """What outputs mean."""
    kind = TASKS[task]
    answered = kind.answers(torch.from_numpy(outputs))
    labels: NDArray[Any] | None = None if answered is None else answered.numpy()
    if labels is not None and labels.ndim == 1:
        labels = np.array(class_names)[labels]
    words = np.array([route.in_short() for route in architecture.routes()])
    return Predictions(
        task=task,
        outputs=outputs,
        labels=labels,
        values=None if kind.has_probabilities else outputs,
        probabilities=kind.probabilities(outputs, temperature) if kind.has_probabilities else None,
        class_names=class_names,
        temperature=temperature if kind.has_probabilities else 1.0,
        routes=None if picked is None else words[picked],
    )


__all__ = ["Predictions", "predict"]
