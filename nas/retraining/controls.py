"""Controls without a network: logistic regression and gradient boosting on the pooled inputs of all modalities.

They are what a person would try in an afternoon. They are fitted on the weights split, as the networks are; how strong
the penalty is and how many trees there are is chosen on the architecture split; the test split is only predicted. Both
are deterministic, so that one fit stands for all seeds.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice, repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from nas.data.fusion_data import SPLITS, FusionData, Modality, Split
from nas.data.stored import CHUNK_NUMBERS, Array, chunks, some_rows
from nas.metrics import higher_is_better, score
from nas.retraining.baselines import Contestant
from nas.retraining.preparation import TrainingSetup
from nas.retraining.retrain import Entry, Judged
from nas.tasks import TASKS, Task

Floats = NDArray[np.float64]
Answers = Callable[[Floats], Iterator[Floats]]
"""From features (n, features) the answers of every setting in turn: probabilities (n, classes), or numbers (n,)."""

Fit = Callable[[Floats, NDArray[Any], int, int, str | None, NDArray[np.float32] | None], Answers]
"""Of features, one column of the targets, its classes (0 of numbers), trees of an iteration, class and sample weights.
"""

SEGMENTS = 8
"""Of a sequence: the mean of each is a feature, beside mean, deviation and maximum over all time."""

SIDE = 16
"""Of a map: what is larger is averaged down to so many rows and columns."""

WORDS = 1000
"""Of tokens: the most frequent ones of the weights split are counted."""

COLUMNS = 4096
"""Most features that are read of one modality: those that vary most."""

FEATURES = 1024
"""Of all modalities together; if there are more, a modality's principal components take their place."""

SAMPLES = 20_000
"""Most that a control is fitted on, drawn at random."""

FEWEST = 1000
"""That are drawn at least, however little memory data may take."""

SAMPLE_BYTES = 2**18
"""Memory that one of them takes in passing: `COLUMNS` numbers of each of several modalities, and copies of them."""

TREES = 3000
"""Of one gradient boosting; a class or output has one in every iteration."""

ITERATIONS = 100
"""Most of one gradient boosting."""

WORK = 5e9
"""Samples × features × trees, most of one gradient boosting."""

TREE = {"learning_rate": 0.1, "max_leaf_nodes": 15, "max_bins": 63}
"""Smaller trees and fewer bins than scikit-learn's own: as good on small sets, and three times as fast."""

PENALTIES = (1e3, 1e2, 1e1, 1.0, 1e-1)
"""On the squared coefficients, the strongest first."""

UNSEEN = 1e-9
"""The least probability."""

CHUNK = 512


def controls(setup: TrainingSetup, like: Entry) -> list[Judged]:
    """The controls, fitted and judged on the test split.

    Args:
        setup: Of the run.
        like: Any entry of the run; theirs are as this one, for they have neither a network nor an architecture.
    """
    data = setup.data
    fitted_on, most = data.splits["weights"], num_fitted(data)
    if len(fitted_on) > most:
        setup.progress(f"drawing {most:,} of {len(fitted_on):,} training samples for what is no network")
        fitted_on = np.sort(np.random.default_rng(0).choice(fitted_on, most, replace=False))
    linear = "logistic regression" if TASKS[data.task].has_probabilities else "ridge regression"
    seconds = setup.checkpoints.control_seconds
    fits = ((linear, partial(_linear, seconds=seconds)), ("gradient boosting", partial(_boosting, seconds=seconds)))
    with threadpool_limits(1):  # several threads took up to fifty times as long on a machine that was busy
        features = pooled(data, fitted_on)
        return [_control(setup, like, name, fit, features, fitted_on) for name, fit in fits]


def num_fitted(data: FusionData) -> int:
    """Training samples that a control is fitted on: all, or as many as its time and the memory of the run allow."""
    most = SAMPLES if data.memory is None else max(FEWEST, min(SAMPLES, data.memory // SAMPLE_BYTES))
    return min(most, len(data.splits["weights"]))


def _control(
    setup: TrainingSetup,
    like: Entry,
    name: str,
    fit: Fit,
    features: Mapping[Split, Floats],
    fitted_on: NDArray[np.int64],
) -> Judged:
    """One of them, with the setting that scores best on the architecture split."""
    setup.progress(f"fitting {name} on all inputs")
    started = time.perf_counter()
    data, targets = setup.data, setup.data.targets
    columns = targets[fitted_on].T if targets.ndim == 2 else [targets[fitted_on]]
    classes = 0 if not TASKS[data.task].has_probabilities else data.num_outputs if targets.ndim == 1 else 2
    trees = (classes if classes > 2 else 1) * len(columns)
    weight = None if setup.training.class_weights == "none" else setup.training.class_weights
    counts = None if data.sample_weights is None else data.sample_weights[fitted_on]
    counts = None if counts is None else counts / counts.mean()  # a penalty weighs as much as without them
    answers = [_answers(fit, features["weights"], column, classes, trees, weight, counts) for column in columns]
    tried = list(_outputs(data.task, answers, features["architecture"]))
    scores = [score(setup.metric, outputs, targets[data.splits["architecture"]]) for outputs in tried]
    best = int(np.argmax(scores) if higher_is_better(setup.metric) else np.argmin(scores))
    seconds = time.perf_counter() - started
    entry = replace(
        like,
        contestant=Contestant(name, "control", None),
        architecture_score=scores[best],
        held_out=torch.from_numpy(tried[best]),
        train_seconds=seconds,
        full_length_seconds=seconds,
        chosen_epochs=0,
        course=(),
        parts={},
    )
    outputs = next(islice(_outputs(data.task, answers, features["test"]), best, None))
    return Judged(entry=entry, outputs=outputs, parameters=None, multiply_adds=None)


def pooled(data: FusionData, fitted_on: NDArray[np.int64]) -> dict[Split, Floats]:
    """A standardized vector for every sample, (n, features): all modalities side by side, an absent one as zeros.

    Args:
        data: Of a modality of several depths the deepest is read.
        fitted_on: Samples that scales and components come from; they take the place of the weights split.
    """
    splits = {**data.splits, "weights": fitted_on}
    raw = [_vectors(modality, splits) for modality in data.modalities.values()]
    share = FEATURES // len(raw) if sum(one["weights"].shape[1] for one in raw) > FEATURES else FEATURES
    blocks: dict[Split, list[Floats]] = {split: [] for split in SPLITS}
    for modality, vectors in zip(data.modalities.values(), raw, strict=True):
        there = np.ones(len(data), dtype=bool) if modality.present is None else modality.present
        known = vectors["weights"][there[fitted_on]]
        if not known.size:
            continue
        scaler = StandardScaler().fit(known)
        scaled = scaler.transform(known)
        if scaled.shape[1] > share:
            components = PCA(min(max(1, share), len(scaled)), random_state=0).fit(scaled)
            size = components.transform(scaled).std() or 1.0
        for split, indices in splits.items():
            block = scaler.transform(vectors[split])
            block = components.transform(block) / size if scaled.shape[1] > share else block
            present = there[indices][:, None]
            blocks[split] += [np.where(present, block, 0.0)] + ([] if modality.present is None else [present * 1.0])
    # The first column is there even if no modality has anything to read.
    return {split: np.hstack([np.zeros((len(splits[split]), 1)), *some]) for split, some in blocks.items()}


def _vectors(modality: Modality, splits: dict[Split, NDArray[np.int64]]) -> dict[Split, Floats]:
    """The samples of each split as vectors, (n, features)."""
    array = modality.arrays[-1]
    chunk = max(1, min(CHUNK, CHUNK_NUMBERS // max(1, math.prod(array.shape[1:]))))
    if modality.kind == "tokens":
        words, counts = _counted(some_rows(array, splits["weights"]))
        columns = words[words != 0][np.argsort(-counts[words != 0], kind="stable")[:WORDS]]
    else:
        first = splits["weights"][:CHUNK]
        parts = [_pool(array[first[at : at + chunk]].astype(np.float64)) for at in range(0, len(first), chunk)]
        varies = np.concatenate(parts).std(axis=0)
        columns = np.sort(np.argsort(-varies, kind="stable")[:COLUMNS])

    def vectors(some: NDArray[Any]) -> Floats:
        if modality.kind == "tokens":
            return np.array([(some == word).sum(axis=1) for word in columns], np.float64).reshape(-1, len(some)).T
        return _pool(some.astype(np.float64))[:, columns]

    return {
        split: np.concatenate([vectors(array[indices[at : at + chunk]]) for at in range(0, len(indices), chunk)])
        for split, indices in splits.items()
    }


def _counted(array: Array) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The different values of an array, ascending, and how often each is there."""
    parts = [np.unique(part, return_counts=True) for part in chunks(array)]
    words, places = np.unique(np.concatenate([some for some, _ in parts]), return_inverse=True)
    counts = np.zeros(len(words), dtype=np.int64)
    np.add.at(counts, places.reshape(-1), np.concatenate([some for _, some in parts]))
    return words, counts


def _pool(array: Floats) -> Floats:
    """Vectors as they are, sequences (n, time, channels) by statistics, maps (n, channels, height, width) smaller."""
    if array.ndim == 3 and array.shape[1] > 1:
        parts = np.array_split(array, min(SEGMENTS, array.shape[1]), axis=1)
        told = [array.mean(axis=1), array.std(axis=1), array.max(axis=1), *(part.mean(axis=1) for part in parts)]
        return np.hstack(told)
    if array.ndim == 4:
        height, width = (min(SIDE, size) for size in array.shape[2:])
        array = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(array), (height, width)).numpy()
    return array.reshape(len(array), -1)


def _answers(
    fit: Fit,
    features: Floats,
    column: NDArray[Any],
    classes: int,
    trees: int,
    weight: str | None,
    counts: NDArray[np.float32] | None,
) -> Answers:
    """What is fitted to one column of the targets; a probability for every class, whether it was seen or not."""
    seen = np.unique(column).astype(int) if classes else np.arange(0)
    if len(seen) == 1:
        return lambda some: repeat(np.tile(np.eye(classes)[seen], (len(some), 1)), ITERATIONS)
    answers = fit(features, column, classes, trees, weight, counts)
    if not classes:
        return answers
    return lambda some: (one @ np.eye(classes)[seen] for one in answers(some))


def _linear(
    features: Floats,
    column: NDArray[Any],
    classes: int,
    _trees: int,
    weight: str | None,
    counts: NDArray[np.float32] | None,
    *,
    seconds: float = math.inf,
) -> Answers:
    def model(penalty: float) -> Any:
        if not classes:
            return Ridge(alpha=penalty)
        return LogisticRegression(C=1 / penalty, class_weight=weight)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        started, models = time.perf_counter(), []
        for penalty in PENALTIES:
            models.append(model(penalty).fit(features, column, sample_weight=counts))
            if time.perf_counter() - started > seconds:
                break
    return lambda some: (one.predict_proba(some) if classes else one.predict(some) for one in models)


def _boosting(
    features: Floats,
    column: NDArray[Any],
    classes: int,
    trees: int,
    weight: str | None,
    counts: NDArray[np.float32] | None,
    *,
    seconds: float = math.inf,
) -> Answers:
    most = min(ITERATIONS, TREES // trees, int(WORK / (features.size * trees)))
    options: dict[str, Any] = {**TREE, "max_iter": max(1, most), "early_stopping": False, "random_state": 0}
    if not classes:
        fitted = _grown(HistGradientBoostingRegressor(**options), features, column, counts, seconds)
        numbers: Answers = fitted.staged_predict
        return numbers
    model = _grown(HistGradientBoostingClassifier(**options, class_weight=weight), features, column, counts, seconds)
    answers: Answers = model.staged_predict_proba
    return answers


def _grown(
    model: Any, features: Floats, column: NDArray[Any], counts: NDArray[np.float32] | None, seconds: float
) -> Any:
    """The model, fitted with all of its iterations, or with as many as some seconds allow."""
    if math.isinf(seconds):
        return model.fit(features, column, sample_weight=counts)
    started, most = time.perf_counter(), model.max_iter
    for iterations in (one for one in (1, 2, 4, 8, 16, 32, 64, most) if one <= most):
        model.set_params(max_iter=iterations, warm_start=iterations > 1).fit(features, column, sample_weight=counts)
        if time.perf_counter() - started > seconds / 3:  # the next one takes twice as long
            break
    return model


def _outputs(task: Task, answers: list[Answers], features: Floats) -> Iterator[NDArray[np.float32]]:
    """Of every setting in turn what a network would put out: logits or predictions, (n, outputs)."""
    for told in zip(*(one(features) for one in answers), strict=False):
        if task == "classification":
            columns = told[0]
        else:  # a number each, or the probabilities of no and yes, of which the last one is told
            columns = np.stack([one.reshape(len(one), -1)[:, -1] for one in told], axis=1)
        outputs = TASKS[task].logits(columns, UNSEEN)
        yield outputs.astype(np.float32)


__all__ = ["controls", "pooled"]
