"""The found network once more, trained on both training splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from nas.retraining.preparation import PreparedEncoders, TrainingSetup, frozen, raw, train_unimodal
from nas.retraining.retrain import Entry, constant_of, train_from_scratch
from nas.retraining.summed import summed
from nas.seeding import seeded

NAME = "found, trained on both splits"


def unimodal_epochs(prepared: PreparedEncoders) -> dict[str, int]:
    """Modality to the epochs of its frozen encoder; nothing where encoders are trained jointly."""
    return {name: prepared.unimodal[name].chosen_epochs for name in prepared.frozen}


def refit(setup: TrainingSetup, found: Entry, unimodal: Mapping[str, int]) -> Entry:
    """Trains what was found on the weights and architecture splits together.

    Nothing is held out that could choose an epoch, so that every training, those of frozen encoders among them, stops
    after as many epochs as the architecture split chose when it was held out, with the same course of the learning
    rate. What decides per sample learns from held-out samples and cannot be trained so.

    Args:
        setup: Of the run, with the objective that `found` was trained by.
        found: A static contestant, trained on the weights split.
        unimodal: As `unimodal_epochs` has it.

    Returns:
        It as a contestant of its own; its score on the architecture split is still that of `found`.
    """
    assert found.architecture.gating is None
    splits, seed = setup.data.splits, found.seed
    both = np.sort(np.concatenate([splits["weights"], splits["architecture"]]))
    own = replace(
        setup,
        data=replace(setup.data, splits={**splits, "weights": both}),
        training=replace(setup.training, epochs=setup.training.num_epochs(len(splits["weights"]))),
    )
    setup.progress(f"training what was found on both splits (seed {seed})")
    prepared, seconds = raw(own, seed), 0.0
    if found.parts:
        return _refit_parts(own, found, prepared)
    if unimodal:
        trained = {
            name: train_unimodal(own, name, prepared.weights, prepared.architecture, seed, exact_epochs=unimodal[name])
            for name in found.architecture.modalities() or unimodal
        }
        seconds = sum(one.train_seconds for one in trained.values())
        prepared = frozen(own, trained, prepared.weights, prepared.architecture, seed, seconds)
    done = train_from_scratch(own, prepared, found.architecture, "refit", exact_epochs=found.chosen_epochs)
    return replace(
        found,
        contestant=replace(found.contestant, name=NAME, kind="refit"),
        network=prepared.assemble(done.network),
        train_seconds=seconds + done.train_seconds,
        course=done.course,
    )


def _refit_parts(setup: TrainingSetup, found: Entry, prepared: PreparedEncoders) -> Entry:
    """The networks of a sum, trained one by one, or one alone; how much each counts was fitted to held-out samples."""
    trained = {
        name: train_unimodal(setup, name, prepared.weights, prepared.architecture, found.seed, exact_epochs=part.epochs)
        for name, part in found.parts.items()
    }
    networks = {name: done.network for name, done in trained.items()}
    if found.contestant.separate:
        with seeded(found.seed):
            weights = [part.weight for part in found.parts.values()]
            network = summed(setup.data.task, found.architecture, networks, constant_of(setup), weights)
    else:
        (network,) = networks.values()
    return replace(
        found,
        contestant=replace(found.contestant, name=NAME, kind="refit"),
        network=network,
        train_seconds=sum(one.train_seconds for one in trained.values()),
    )


__all__ = ["NAME", "refit", "unimodal_epochs"]
