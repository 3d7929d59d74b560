"""Optuna behind the ask/tell interface."""

from __future__ import annotations

import logging

import optuna
import pytest

from nas.strategies.optuna_study import OptunaSampler
from tests.strategies.problems import tiny_space
from tests.strategies.tables import uneven_space


class _Remembering(logging.Handler):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def test_choices_are_handed_over_by_index_and_losses_as_they_are() -> None:
    space = uneven_space()
    sampler = OptunaSampler(
        space,
        optuna.samplers.RandomSampler(seed=0),
        objectives=lambda architecture, loss: [loss, len(architecture.taps())],
        num_objectives=2,
    )
    for loss in (0.5, 0.25):
        architecture = sampler.ask()
        sampler.tell(architecture, loss)
        trial = sampler.study.trials[-1]
        assert trial.params == space.path(architecture)
        assert trial.values == [loss, len(architecture.taps())]
    assert sampler.study.directions == [optuna.study.StudyDirection.MINIMIZE] * 2


@pytest.mark.parametrize("level", [optuna.logging.INFO, optuna.logging.ERROR])
def test_it_says_nothing_and_leaves_the_level_of_the_log_as_it_was(level: int) -> None:
    handler = _Remembering()
    logger, before = logging.getLogger("optuna"), optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(level)
    logger.addHandler(handler)
    try:
        sampler = OptunaSampler(tiny_space(), optuna.samplers.TPESampler(seed=0))
        for _ in range(15):
            sampler.tell(sampler.ask(), 1.0)
        assert optuna.logging.get_verbosity() == level
    finally:
        logger.removeHandler(handler)
        optuna.logging.set_verbosity(before)
    assert not handler.said
