"""k-fold cross-validation of a whole search: every sample is in the test split of one fold, and predicted once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import t

from nas.config import RunConfig
from nas.config.keywords import takes_options
from nas.config.sections import SHORTEST_RUN
from nas.data import FusionData
from nas.data.from_arrays import refolded
from nas.data.fusion_data import Modality
from nas.data.splits import Fold
from nas.data.stored import some_rows
from nas.encoders import EncoderBuilder
from nas.errors import UserError
from nas.pipeline.predict import predict
from nas.pipeline.search import RunResult, asked_for, search
from nas.records import plain
from nas.retraining.preparation import Progress
from nas.runs.folder import write_atomically
from nas.runs.metrics_log import Log
from nas.space.search_space import SearchSpace
from nas.statistics import Interval

FILE, PREDICTIONS = "cross_validation.json", "predictions.csv"
"""In the folder of all folds."""


@dataclass(frozen=True, kw_only=True)
class FoldedRow:
    """A row of the leaderboard over all folds.

    Attributes:
        name: Of the row.
        scores: Of every fold, the mean over its seeds.
        score: Their mean with its interval.
        difference: How much better the first row is, over the same folds; None of itself.
    """

    name: str
    scores: tuple[float, ...]
    score: Interval
    difference: Interval | None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CrossValidation:
    """What the folds came to.

    Attributes:
        metric: That networks are judged by.
        rows: What was found first, then all that stands on every fold's leaderboard.
        in_words: What was found in every fold.
        predictions: Every sample in the order of the data: its number, its fold, the target, and what the saved network
            of that fold predicts.
        results: The run of every fold.
    """

    metric: str
    rows: tuple[FoldedRow, ...]
    in_words: tuple[str, ...]
    predictions: pd.DataFrame
    results: tuple[RunResult, ...]

    def __repr__(self) -> str:
        found = self.rows[0].score
        told = f"{self.metric} {found.mean:.4g}, 95 % interval {found.low:.4g} to {found.high:.4g}"
        return f"<CrossValidation of {len(self.results)} folds: {told}>"

    def to_dict(self) -> dict[str, Any]:
        """Its numbers as plain values."""
        return {
            "folds": len(self.results),
            "metric": self.metric,
            "rows": [plain(row) for row in self.rows],
            "in_words": list(self.in_words),
        }


@takes_options
def cross_validate(
    data: FusionData | str | Path | Any,
    config: RunConfig | None = None,
    *,
    folds: int = 5,
    preset: str = "default",
    builders: Mapping[str, EncoderBuilder] | None = None,
    command: str | None = None,
    progress: Progress = lambda _line: None,
    on_data: Callable[[FusionData], None] = lambda _data: None,
    on_record: Log = lambda _record: None,
    started: float | None = None,
    **options: Any,
) -> CrossValidation:
    """Searches once for every fold, whose samples are the test split; of the others a fifth decides, the rest trains.

    Nothing that is judged by a fold has seen it: preprocessing, encoders, architecture and weights are all of the other
    folds. Classes are spread evenly over folds, and groups stay whole.

    Every fold is checked before the first is searched. A time limit is shared out evenly.

    Args:
        data: As for `nas.search`; a split that it has is not used.
        config: Likewise.
        folds: How many, 2 or more.
        preset: As for `nas.search`.
        builders: Likewise.
        command: Likewise.
        progress: Likewise; lines begin with the fold.
        on_data: Likewise; called for every fold.
        on_record: Likewise.
        started: Likewise.
        options: Likewise. `out` is a folder with one run folder per fold, a summary and all predictions.

    Raises:
        UserError: As `nas.search`, or if there are too few samples or groups for so many folds, or a class, label or
            modality is in one fold alone.
    """
    started = time.perf_counter() if started is None else started
    asked = of_folds(data, config, preset, builders, options, folds)[0]
    out, limit = asked.output.out, asked.search.time_limit_seconds / folds
    results: list[RunResult] = []
    tables = []
    for number in range(1, folds + 1):
        fold, read = Fold(number, folds), list[FusionData]()

        def tell(line: str, fold: Fold = fold) -> None:
            progress(f"fold {fold}: {line}")

        def note(found: FusionData, read: list[FusionData] = read) -> None:
            read.append(found)
            on_data(found)

        own = {"fold": str(fold), "out": None if out is None else Path(out) / f"fold-{number}"}
        result = search(
            data,
            config,
            preset=preset,
            builders=builders,
            command=command,
            progress=tell,
            on_data=note,
            on_record=on_record,
            started=started,
            **{**options, **own, **({"time_limit_seconds": limit} if limit else {})},
        )
        started = time.perf_counter()  # of the next fold, which also pays for what follows here
        results.append(result)
        tables.append(_predicted(result, read[0], number))
    found = CrossValidation(
        metric=results[0].summary.metric,
        rows=_rows(results),
        in_words=tuple(one.summary.in_words for one in results),
        predictions=pd.concat(tables).sort_values("sample", ignore_index=True),
        results=tuple(results),
    )
    if out is not None:
        text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n"
        write_atomically(Path(out) / FILE, text.encode(errors="backslashreplace"))
        table = found.predictions.to_csv(index=False)
        write_atomically(Path(out) / PREDICTIONS, table.encode(errors="backslashreplace"))
    return found


def of_folds(
    source: FusionData | str | Path | Any,
    config: RunConfig | None,
    preset: str,
    builders: Mapping[str, EncoderBuilder] | None,
    options: Mapping[str, Any],
    folds: int,
    on_data: Callable[[FusionData], None] = lambda _data: None,
) -> tuple[RunConfig, FusionData, SearchSpace, torch.device, dict[str, EncoderBuilder]]:
    """What the first of some folds was asked for, see `nas.pipeline.search.asked_for`; all folds are checked.

    Raises:
        UserError: If something is wrong, such as a class that is in one fold alone.
    """
    if not isinstance(folds, int) or folds < 2:
        raise UserError(f"folds is {folds!r}; expected 2 or more")
    found = asked_for(source, config, preset, builders, {**options, "fold": str(Fold(1, folds))}, on_data)
    asked, data = found[:2]
    for number in range(2, folds + 1):
        fold = Fold(number, folds)
        try:
            refolded(data, fold, asked.search.seed)
        except UserError as error:
            raise UserError(f"fold {fold}: {error}") from error
    if 0 < asked.search.time_limit_seconds < folds * SHORTEST_RUN:
        raise UserError(
            f"time_limit_seconds is {asked.search.time_limit_seconds:g}; expected {folds * SHORTEST_RUN} or more for "
            f"{folds} folds, {SHORTEST_RUN} for each"
        )
    return found


def _predicted(result: RunResult, data: FusionData, number: int) -> pd.DataFrame:
    """What a fold's network says of the fold's samples."""
    rows = data.splits["test"]
    some = {
        name: Modality(
            kind=one.kind,
            arrays=tuple(some_rows(array, rows) for array in one.arrays),
            present=None if one.present is None else one.present[rows],
        )
        for name, one in data.modalities.items()
    }
    told = predict(result, replace(data, modalities=some, targets=data.targets[rows], splits={}))
    targets: Mapping[str, Any]
    if data.targets.ndim == 1:
        targets = {"target": np.array(data.class_names)[data.targets[rows]]}
    elif data.num_outputs == 1:
        targets = {"target": data.targets[rows, 0]}
    else:
        names = data.class_names or range(data.num_outputs)
        targets = {f"target_{name}": data.targets[rows, place] for place, name in enumerate(names)}
    return pd.DataFrame({"sample": rows, "fold": number, **targets, **told.to_columns()})


def _rows(results: list[RunResult]) -> tuple[FoldedRow, ...]:
    """The rows that every fold has."""
    every = [{row.name: row.score.mean for row in one.summary.leaderboard} for one in results]
    splits = [one.summary.data.splits for one in results]
    ratio = float(np.mean([one["test"] / (one["weights"] + one["architecture"]) for one in splits]))
    sense = results[0].summary.sense
    first = next(iter(every[0]))
    own = np.array([scores[first] for scores in every])
    found = []
    for name in every[0]:
        if all(name in scores for scores in every):
            values = np.array([scores[name] for scores in every])
            gap = None if name == first else corrected_interval(sense * (own - values), ratio)
            score = corrected_interval(values, ratio)
            found.append(FoldedRow(name=name, scores=tuple(values.tolist()), score=score, difference=gap))
    return tuple(found)


def corrected_interval(values: np.ndarray, ratio: float) -> Interval:
    """The mean over folds with a 95 % interval.

    mean ± t · s · √(1/k + n_test/n_train) at k − 1 degrees of freedom: Nadeau and Bengio 2003, "Inference for the
    Generalization Error", section 5. Folds share most of their training samples, so that s/√k would be too small.

    Args:
        values: Of every fold, (k,).
        ratio: Samples of a fold over those of all others, the mean where folds differ in size.
    """
    mean, count = float(values.mean()), len(values)
    margin = float(t.ppf(0.975, count - 1) * values.std(ddof=1) * np.sqrt(1 / count + ratio))
    return Interval(mean, mean - margin, mean + margin)


__all__ = ["CrossValidation", "FoldedRow", "corrected_interval", "cross_validate"]
