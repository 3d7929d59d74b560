"""Which preprocessing every modality gets, decided before the first encoder is trained.

Magnitudes make signals of muscles readable and are noise beside others. Bins help with counts and heavy tails, and cost
a little where a plain scale says it all. So short trainings decide, per modality, on the architecture split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from nas.config import EncoderMode, TrainingConfig
from nas.data.batches import Batch
from nas.data.stored import Array, chunks, some_rows
from nas.encoders.preprocessing import AUTO, PREPROCESSING, STANDARDIZE, parse_preprocessing, write_preprocessing
from nas.metrics import sample_errors, sample_losses
from nas.network.fusion_network import FusionNetwork
from nas.network.prediction import predict
from nas.report.numbers import score_text, with_unit
from nas.retraining.preparation import TrainingSetup, train_unimodal, training_batches
from nas.summary import Preprocessing
from nas.supernet.path_scorer import standard_errors
from nas.training.train import Trained

SHARE_OF_TRAINING = 0.25
"""Length of a training that decides, as a share of a whole one."""

MIN_EPOCHS = 10
"""Of such a training, unless a whole one has fewer."""

EVIDENCE = 2.5
"""Standard errors by which loss and error of two seeds must be better than those of standardizing.

Both, for after a short training the loss also favours what learns faster, such as magnitudes beside an acceleration.
"""

PROMISE = 1.0
"""Standard errors of the first seed without which there is no second one."""

MAX_COLUMNS = 2048
"""Features of a vector up to which bins are tried: their first layer has eight times the weights."""


def decide_preprocessing(
    setup: TrainingSetup, mode: EncoderMode, seed: int
) -> tuple[TrainingSetup, dict[str, Preprocessing]]:
    """Decides the preprocessing where it is left open and encoders are trained alone; else there is only one.

    Args:
        setup: Of the run.
        mode: In which encoders are trained.
        seed: First of the two that decide; the decision then holds for all seeds.

    Returns:
        The setup with its preprocessing decided, and modality to what was decided.
    """
    given = parse_preprocessing(setup.training.preprocessing)
    told = {name: Preprocessing(chosen=given.get(name, STANDARDIZE), scores={}) for name in setup.data.modalities}
    if setup.training.preprocessing != AUTO:
        return setup, told
    joint = mode == "joint" or setup.space.joins_encoders
    unimodal_names = [one.name for one in setup.space.references if one.kind == "modality" and not joint]
    open_ones = {name: tried for name in unimodal_names if len(tried := candidates(setup, name)) > 1}
    if open_ones:
        weights, architecture = training_batches(setup, setup.data)
    for name, tried in open_ones.items():
        told[name] = _decide(setup, name, tried, weights, architecture, seed)
        setup.progress(f"{name}: {_in_words(setup, told[name])}")
    chosen = write_preprocessing({name: one.chosen for name, one in told.items()})
    return replace(setup, training=replace(setup.training, preprocessing=chosen)), told


def candidates(setup: TrainingSetup, name: str) -> list[str]:
    """What may be done with a modality, standardizing first.

    Bins tell nothing of a feature with one or two values that the feature itself does not.
    """
    modality = setup.data.modalities[name]
    if name in (setup.builders or {}):
        return [STANDARDIZE]
    suited = [one for one, (kind, _words) in PREPROCESSING.items() if kind == modality.kind]
    if modality.kind == "vector":
        array = some_rows(modality.arrays[0], setup.data.splits["weights"])
        suited = suited if array.shape[1] <= MAX_COLUMNS and _has_more(array) else []
    return [STANDARDIZE, *suited]


def _has_more(array: Array) -> bool:
    """Whether some column, (n, columns), has more than two values."""
    lowest = np.min([part.min(axis=0) for part in chunks(array)], axis=0)
    highest = np.max([part.max(axis=0) for part in chunks(array)], axis=0)
    return any(bool(((part > lowest) & (part < highest)).any()) for part in chunks(array))


def _decide(
    setup: TrainingSetup, name: str, tried: Sequence[str], weights: Batch, architecture: Batch, seed: int
) -> Preprocessing:
    """What is measurably better than standardizing by two seeds, in loss and in error; of several the surest."""
    wrong: dict[str, list[Tensor]] = {one: [] for one in tried}  # per seed loss and error of every sample, (2, samples)
    scores: dict[str, list[float]] = {one: [] for one in tried}
    gains: dict[str, float] = {}
    for number in (seed, seed + 1):
        setup.progress(f"training {name} alone for a short while, {' and '.join(tried)} (seed {number})")
        for one in tried:
            trained = _short_training(setup, name, one, weights, architecture, number)
            outputs, targets = predict(trained.network, architecture, setup.device)
            losses = sample_losses(setup.data.task, outputs, targets, trained.network.head.scale.cpu())
            wrong[one].append(torch.stack([losses, sample_errors(setup.data.task, outputs, targets)]))
            scores[one].append(trained.architecture_score)
        mean = {one: torch.stack(of_seeds).mean(dim=0) for one, of_seeds in wrong.items()}
        gains = {one: float(standard_errors(mean[STANDARDIZE] - mean[one]).min()) for one in tried[1:]}
        if max(gains.values()) < PROMISE:
            break
    best = max(gains, key=gains.__getitem__)
    chosen = best if gains[best] > EVIDENCE else STANDARDIZE
    return Preprocessing(chosen=chosen, scores={one: sum(some) / len(some) for one, some in scores.items()})


def _short_training(
    setup: TrainingSetup, name: str, preprocessing: str, weights: Batch, architecture: Batch, seed: int
) -> Trained[FusionNetwork]:
    config = setup.training
    epochs = round(length_of_trial(config, len(weights)) * config.num_epochs(len(weights)))
    training = replace(config, epochs=epochs, preprocessing=write_preprocessing({name: preprocessing}))
    return train_unimodal(replace(setup, training=training), name, weights, architecture, seed, trial=preprocessing)


def length_of_trial(config: TrainingConfig, num_samples: int) -> float:
    """Length of a training that decides, as a share of a whole one on a weights split of this size."""
    whole = config.num_epochs(num_samples)
    return min(whole, max(MIN_EPOCHS, round(SHARE_OF_TRAINING * whole))) / whole


def _in_words(setup: TrainingSetup, told: Preprocessing) -> str:
    """Such as "magnitudes beside the signal, 71.2 instead of 55.0 % on the architecture split"."""
    texts = {one: score_text(value, setup.metric) for one, value in told.scores.items()}
    plain, chosen = texts.pop(STANDARDIZE), told.chosen
    if chosen != STANDARDIZE:
        reached = with_unit(f"{texts[chosen]} instead of {plain}", setup.metric)
        return f"{PREPROCESSING[chosen][1]}, {reached} on the architecture split"
    others = ", ".join(f"{PREPROCESSING[one][1]} {with_unit(text, setup.metric)}" for one, text in texts.items())
    return f"standardized, {with_unit(plain, setup.metric)} on the architecture split; {others}"


__all__ = ["candidates", "decide_preprocessing", "length_of_trial"]
