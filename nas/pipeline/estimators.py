"""The search as scikit-learn estimators: fit searches and trains, predict runs the network that was found.

    model = FusionClassifier(modalities={"left": [0, 1, 2], "right": [3, 4]}).fit(X, y)
    model.predict(new), model.predict_proba(new), model.score(new, truth)

`X` is one array or data frame whose columns `modalities` shares out, so that `Pipeline`, `cross_val_score` and
`GridSearchCV` can take rows of it; or a dict from modality to array, for inputs of any kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from nas.data import FusionData
from nas.data.from_arrays import group_numbers
from nas.data.splits import draw, draw_groups, strata_of
from nas.data.targets import Targets, make_targets
from nas.encoders import Named, parse_encoders
from nas.encoders.imported import is_import_path, refuse_unnamed
from nas.errors import UserError, unknown_name
from nas.pipeline.predict import Predictions, predict
from nas.pipeline.search import RunResult, search, write_run
from nas.report.verdict import recorded_verdict
from nas.runs.folder import RunFolder
from nas.saved.run import Run, load_run
from nas.tasks import Task

PARTS = (0, 1, 0, 2, 0, 1, 0, 0, 0, 0)
"""Of ten samples seven train weights (0), two judge choices (1), and one is the test split of the leaderboard (2)."""

FEWEST = len(PARTS)
"""Samples to fit."""

FILE = "estimator.json"
FORMAT_VERSION = 1

PRESENT = "present/"
"""Before the name of a modality: the key of its mask, as in a file."""


class FusionEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What `FusionClassifier` and `FusionRegressor` share.

    Args:
        modalities: Modality to the columns of `X` that belong to it: indices, names of a data frame's columns, or a
            slice. None where `X` is a dict of arrays.
        kinds: Modality to kind, where it cannot be read off its array; see `nas.FusionData.from_arrays`. Columns of one
            array are vectors.
        preset: The option of `nas.search` of that name, with the same default; None stands for the default.
        space: Likewise.
        operations: Likewise.
        dynamic: Likewise.
        strategy: Likewise.
        encoders: Likewise: how encoders are trained; or a mapping from modality to the name of its encoder, such as
            `{"title": "hf:./my-bert"}`.
        encoder_mode: Modality to how far its named encoder learns, such as `{"title": "lora"}`.
        baselines: Likewise.
        prefer: Likewise.
        metric: Likewise. `score` is accuracy or R² all the same, as everywhere in scikit-learn.
        refit: Likewise.
        ensemble: Likewise.
        retrain_seeds: Likewise.
        search_seeds: Likewise.
        budget_seconds: Likewise.
        training: Other options of `nas.search` by name, such as `{"epochs": 20, "channels": 32}`.
        device: As `preset`.
        random_state: A whole number is the seed of the run; None and a `RandomState` draw one.

    Attributes:
        run_: What was found, a `RunResult`, or the `Run` that was read back.
        leaderboard_: Its rows: what was found beside single modalities, baselines and controls.
        verdict_: Whether to fuse, when and how, in plain sentences.
        columns_: Modality to the indices of its columns, where `X` was one array.
    """

    _task: Task
    run_: Run | RunResult
    columns_: dict[str, list[int]]

    def __init__(
        self,
        *,
        modalities: Mapping[str, Any] | None = None,
        kinds: Mapping[str, str] | None = None,
        preset: str = "default",
        space: str = "layerwise",
        operations: Sequence[str] | None = None,
        dynamic: Sequence[str] | None = None,
        strategy: str = "sampled",
        encoders: str | Mapping[str, str] = "auto",
        encoder_mode: Mapping[str, str] | None = None,
        baselines: str = "quick",
        prefer: str = "accuracy",
        metric: str | None = None,
        refit: bool | None = None,
        ensemble: bool | None = None,
        retrain_seeds: int = 3,
        search_seeds: int = 1,
        budget_seconds: float = 0.0,
        training: Mapping[str, Any] | None = None,
        device: str = "auto",
        random_state: Any = 0,
    ) -> None:
        self.modalities = modalities
        self.kinds = kinds
        self.preset = preset
        self.space = space
        self.operations = operations
        self.dynamic = dynamic
        self.strategy = strategy
        self.encoders = encoders
        self.encoder_mode = encoder_mode
        self.baselines = baselines
        self.prefer = prefer
        self.metric = metric
        self.refit = refit
        self.ensemble = ensemble
        self.retrain_seeds = retrain_seeds
        self.search_seeds = search_seeds
        self.budget_seconds = budget_seconds
        self.training = training
        self.device = device
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.dict = True
        return tags

    def _search(
        self,
        arrays: Mapping[str, Any],
        targets: NDArray[Any],
        class_names: Sequence[str] | None,
        sample_weight: ArrayLike | None,
        groups: ArrayLike | None,
    ) -> None:
        """Searches and keeps what was found; a tenth of the samples is the test split of its leaderboard."""
        seed = self._seed()
        if len(targets) < FEWEST:
            raise UserError(f"n_samples = {len(targets)} is too few to hold some out; expected at least {FEWEST}")
        told = make_targets(targets, self._task_of(targets), class_names)
        kinds = {**(dict.fromkeys(self.columns_, "vector") if self.columns_ else {}), **(self.kinds or {})}
        data = FusionData.from_arrays(
            {name: value for name, value in arrays.items() if not name.startswith(PRESENT)},
            targets,
            task=told.task,
            splits=_drawn(told, groups, seed),
            kinds=kinds,
            present=_masks(arrays),
            name=type(self).__name__,
            class_names=class_names,
            groups=groups,
            sample_weights=sample_weight,
            seed=seed,
        )
        own = ("modalities", "kinds", "random_state", "training")
        options = {name: value for name, value in self.get_params(deep=False).items() if name not in own}
        self.run_ = search(data, seed=seed, **{**options, **(self.training or {})})
        self._take_over()

    def _take_over(self) -> None:
        """What people want to see of the run."""
        told = recorded_verdict(self.run_.summary)
        self.leaderboard_ = list(self.run_.summary.leaderboard)
        self.verdict_ = "\n".join(told.lines()) if told else ""

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral) and not isinstance(self.random_state, bool):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _task_of(self, targets: NDArray[Any]) -> Task:  # noqa: ARG002  # a classifier looks at them
        return self._task

    def _inputs(self, X: Any, y: Any = None, *, reset: bool) -> tuple[dict[str, Any], Any]:
        """Modality to array, masks under their keys, and the target as an array.

        Args:
            X: What the user gave.
            y: Likewise; None to predict.
            reset: Whether it is fitted to these.
        """
        numeric = {"y_numeric": True} if self._task == "regression" else {}
        if _is_dict(X):
            if self.modalities is not None:
                raise UserError("X is a dict, whose keys are the modalities; leave modalities out")
            if reset:
                self.columns_ = {}
                for name in ("n_features_in_", "feature_names_in_"):  # of an array that it was fitted to before
                    self.__dict__.pop(name, None)
                y = check_array(y, ensure_2d=False, dtype="numeric" if numeric else None, input_name="y")
            elif self.columns_:
                raise UserError("X is a dict, but the estimator was fitted to one array; give columns as then")
            return dict(X), y
        if not reset and not self.columns_:
            raise UserError(f"X is a {type(X).__name__}, but the estimator was fitted to a dict of arrays; give one")
        if self.modalities is None and reset and np.ndim(X) == 2:
            raise UserError(
                "X is one array; share out its columns, as with modalities={'left': [0, 1], 'right': [2, 3]}, or give "
                "a dict from modality to array"
            )
        if reset:
            array, y = validate_data(self, X, y, multi_output=True, **numeric)
            self.columns_ = _columns(self.modalities or {}, array.shape[1], getattr(self, "feature_names_in_", None))
        else:
            array = validate_data(self, X, reset=False)
        return {name: array[:, columns] for name, columns in self.columns_.items()}, y

    def _predictions(self, X: Any) -> Predictions:
        check_is_fitted(self)
        arrays, _ = self._inputs(X, reset=False)
        given = {name: value for name, value in arrays.items() if not name.startswith(PRESENT)}
        return predict(self.run_, given, present=_masks(arrays), device=self.device)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Writes a run folder that `load`, `nas.load_run` and every command can read; nothing is pickled.

        Args:
            folder: Where.
            overwrite: Whether an earlier run in it may be replaced.

        Returns:
            The page to look at.

        Raises:
            UserError: If a parameter is no plain value, or the folder cannot be written to.
        """
        check_is_fitted(self)
        described = self.run_.summary.data
        names = getattr(self, "feature_names_in_", None)
        told = {
            "format_version": FORMAT_VERSION,
            "estimator": type(self).__name__,
            "params": {name: _plain(name, value) for name, value in self.get_params(deep=False).items()},
            "columns": self.columns_,
            "n_features_in": getattr(self, "n_features_in_", None),
            "feature_names_in": None if names is None else names.tolist(),
            **self._fitted(),
        }
        # As much of the data as a network's description is made of.
        blank = np.zeros((0, described.classes))
        data = FusionData(
            name=described.name,
            modalities={},
            targets=blank,
            task=described.task,
            splits={},
            class_names=described.class_names,
        )
        with RunFolder.created(folder, overwrite=overwrite) as run, run.replacing():
            page = write_run(run, self.run_.config, self.run_.summary, self.run_.network, data, self.run_.members)
            run.write_json(FILE, told)
        return page

    @classmethod
    def load(cls, folder: str | Path, *, encoders: Named | None = None) -> Self:
        """Reads back what `save` wrote; nothing is unpickled or executed.

        Args:
            folder: Where it was saved.
            encoders: Modality to the import path of its encoder, where that is a module of your own. Only these are
                imported, now or when it is fitted again, whatever the folder says.

        Raises:
            UserError: If the folder is no run, was not saved by an estimator of this class, or is damaged; or if it
                names a module and the caller does not name the same.
        """
        run = load_run(folder, encoders=encoders)
        opened = RunFolder(folder)
        if not opened.is_file(FILE):
            raise UserError(f"{str(folder)!r} was not saved by an estimator; nas.predict takes any run")
        told = opened.read_json(FILE)
        try:
            if told["format_version"] != FORMAT_VERSION or told["estimator"] != cls.__name__:
                raise ValueError(f"{told['estimator']!r}, not {cls.__name__}")
            found = cls(**{name: _read(value) for name, value in told["params"].items()})
            found.columns_ = {str(name): list(map(int, some)) for name, some in told["columns"].items()}
            if told["n_features_in"] is not None:
                found.n_features_in_ = int(told["n_features_in"])
            if told["feature_names_in"] is not None:
                found.feature_names_in_ = np.array(list(map(str, told["feature_names_in"])), dtype=object)
            found.run_ = run
            found._restore(told)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise UserError(f"{str(opened.file(FILE))!r} is damaged, or of another estimator: {error}") from error
        found._refuse_unnamed(parse_encoders(encoders))
        found._take_over()
        return found

    def _refuse_unnamed(self, named: Mapping[str, str]) -> None:
        """Refuses parameters, read from a file, by which a later `fit` would import what the caller has not named."""
        training = self.training if isinstance(self.training, Mapping) else {}
        mappings = (one for one in (self.encoders, training.get("encoders")) if isinstance(one, Mapping))
        for given in (*mappings, training.get("encoder")):
            for modality, path in parse_encoders(given).items():
                if is_import_path(path):
                    refuse_unnamed(path, named.get(modality), modality)

    def _fitted(self) -> dict[str, Any]:
        """What else was learned of the target, as plain values."""
        raise NotImplementedError

    def _restore(self, told: Mapping[str, Any]) -> None:
        """Takes over what `_fitted` told."""
        raise NotImplementedError


class FusionClassifier(ClassifierMixin, FusionEstimator):  # type: ignore[misc]
    """Searches for a network that fuses modalities, for classes or, where `y` is (n, labels) of 0 and 1, for labels.

    `FusionEstimator` tells its parameters, and what else `fit` leaves.

    Attributes:
        classes_: As they were given, sorted; of labels their numbers.
    """

    _task: Task = "classification"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, *, groups: ArrayLike | None = None
    ) -> Self:
        """Searches and trains.

        Args:
            X: (n, features), an array or data frame; or a dict from modality to array, (n, …). A dict may hold the key
                `present/<modality>` with (n,) flags of the samples that have it.
            y: (n,) classes, or (n, labels) of 0 and 1.
            sample_weight: (n,) numbers, 0 or more: how much each sample counts while weights learn.
            groups: (n,) words or numbers: what `fit` holds out of a group, it holds out whole.

        Raises:
            UserError: If something that was given is wrong; it is a ValueError.
        """
        arrays, targets = self._inputs(X, y, reset=True)
        check_classification_targets(targets)
        if self._task_of(targets) == "multilabel":
            self.classes_ = np.arange(targets.shape[1])
            self._search(arrays, targets, None, sample_weight, groups)
            return self
        targets = column_or_1d(targets, warn=True)
        self.classes_, indices = np.unique(targets, return_inverse=True)
        if len(self.classes_) < 2:
            raise UserError(f"y has one class, {self.classes_[0]!r}; expected two or more classes")
        self._search(arrays, indices, [str(one) for one in self.classes_], sample_weight, groups)
        return self

    def _task_of(self, targets: NDArray[Any]) -> Task:
        return "multilabel" if targets.ndim == 2 and targets.shape[1] > 1 else "classification"

    def predict(self, X: Any) -> NDArray[Any]:
        """The class of every sample, (n,), or 0 and 1 for every label, (n, labels)."""
        found = self._predictions(X)
        if found.task == "multilabel":
            return (found.outputs > 0).astype(np.int64)
        return np.asarray(self.classes_[found.outputs.argmax(axis=1)])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Calibrated probabilities of the classes in the order of `classes_`, or of the labels, (n, outputs)."""
        found = self._predictions(X).probabilities
        assert found is not None
        return found

    def _fitted(self) -> dict[str, Any]:
        kind = self.classes_.dtype.kind
        if kind not in "biufU" and not all(isinstance(one, str) for one in self.classes_):
            raise UserError(f"classes of type {self.classes_.dtype} cannot be saved; give words or numbers")
        return {"classes": self.classes_.tolist(), "dtype": "O" if kind == "O" else self.classes_.dtype.str}

    def _restore(self, told: Mapping[str, Any]) -> None:
        if not re.fullmatch(r"[<>|=][biufU]\d{1,4}|O", told["dtype"]):
            raise ValueError(f"dtype {told['dtype']!r}")
        self.classes_ = np.array(told["classes"], dtype=np.dtype(told["dtype"]))
        if self.classes_.shape != (self.run_.summary.data.classes,):
            raise ValueError(f"{len(self.classes_)} classes, where the network has others")


class FusionRegressor(RegressorMixin, FusionEstimator):  # type: ignore[misc]
    """Searches for a network that fuses modalities to predict one number, or several where `y` is (n, outputs).

    `FusionEstimator` tells its parameters, and what `fit` leaves.
    """

    _task: Task = "regression"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, *, groups: ArrayLike | None = None
    ) -> Self:
        """Searches and trains.

        Args:
            X: As for `FusionClassifier.fit`.
            y: (n,) or (n, outputs).
            sample_weight: As for `FusionClassifier.fit`, like `groups`.
            groups: Likewise.

        Raises:
            UserError: If something that was given is wrong; it is a ValueError.
        """
        arrays, targets = self._inputs(X, y, reset=True)
        if targets.ndim == 2 and targets.shape[1] == 1:
            targets = column_or_1d(targets, warn=True)
        self._is_flat = targets.ndim == 1
        self._search(arrays, targets, None, sample_weight, groups)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The numbers that are predicted, (n,) or (n, outputs), as `y` was."""
        values = self._predictions(X).outputs.astype(np.float64)
        return values[:, 0] if self._is_flat else values

    def _fitted(self) -> dict[str, Any]:
        return {"is_flat": self._is_flat}

    def _restore(self, told: Mapping[str, Any]) -> None:
        self._is_flat = bool(told["is_flat"])


def _drawn(targets: Targets, groups: ArrayLike | None, seed: int) -> NDArray[np.int64]:
    """The split of every sample, as `PARTS` has them."""
    strata = strata_of(targets)
    if groups is None:
        return draw(strata, PARTS, seed)
    return draw_groups(strata, group_numbers(groups, len(strata)), PARTS, seed)


def _is_dict(X: Any) -> bool:
    """Whether it holds an array for each modality; some of scipy's sparse arrays are dicts, too."""
    return isinstance(X, Mapping) and not hasattr(X, "shape")


def _masks(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Modality to its mask."""
    return {name.removeprefix(PRESENT): value for name, value in arrays.items() if name.startswith(PRESENT)}


def _columns(modalities: Mapping[str, Any], count: int, names: Sequence[str] | None) -> dict[str, list[int]]:
    """Modality to the indices of its columns.

    Args:
        modalities: As the user gave them.
        count: Of columns.
        names: Of columns, if they have names.
    """
    known = {} if names is None else {str(name): number for number, name in enumerate(names)}
    found: dict[str, list[int]] = {}
    for modality, chosen in modalities.items():
        if isinstance(chosen, slice):
            found[modality] = list(range(count))[chosen]
        elif isinstance(chosen, str) or not hasattr(chosen, "__iter__"):
            raise UserError(f"columns of modality {modality!r} are {chosen!r}; expected a list of indices or names")
        else:
            found[modality] = [_column(modality, one, count, known) for one in chosen]
        if not found[modality]:
            raise UserError(f"modality {modality!r} has no column of X (n_features = {count}); give it some")
    return found


def _column(modality: str, chosen: Any, count: int, known: Mapping[str, int]) -> int:
    if isinstance(chosen, str):
        if chosen not in known:
            raise unknown_name(f"column of modality {modality!r}:", chosen, known)
        return known[chosen]
    if not isinstance(chosen, int | np.integer) or isinstance(chosen, bool) or not -count <= chosen < count:
        raise UserError(f"column {chosen!r} of modality {modality!r} is not there; X has {count} columns")
    return int(chosen) % count


def _plain(name: str, value: Any) -> Any:
    """A parameter as JSON holds it; a slice as a mapping of its own."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(name, one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(name, one) for one in value]
    raise UserError(f"parameter {name} is a {type(value).__name__}, which is no plain value and cannot be saved")


def _read(value: Any) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"slice"}:
            return slice(*value["slice"])
        return {key: _read(one) for key, one in value.items()}
    return [_read(one) for one in value] if isinstance(value, list) else value


__all__ = ["FusionClassifier", "FusionRegressor"]
