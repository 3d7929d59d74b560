"""Operations trained as users train them, on a task whose answer is known."""

from __future__ import annotations

import pytest

from nas.config import TrainingConfig
from nas.data.synthetic import KnownTask
from nas.pipeline.search import make_space
from nas.retraining.preparation import TrainingSetup, raw
from nas.retraining.retrain import train_from_scratch
from tests.helpers import CPU

_DATA = KnownTask(kind="alignment", depth=0, time=3, samples=600, test_samples=100).make()
"""The value under the key that the other modality marks, in four classes: keys have to be compared step by step."""


def accuracy_of(operation: str) -> float:
    """Of a network with this operation alone, where the answer is to be read, on the architecture split."""
    space = make_space("layerwise", _DATA, operations=[operation])
    setup = TrainingSetup(data=_DATA, space=space, training=TrainingConfig(), device=CPU)
    architecture = next(one.architecture for one in space.references if one.kind == "operation")
    assert architecture.taps() == ("m0@0", "m1@0")
    return train_from_scratch(setup, raw(setup, 0), architecture, operation).architecture_score


@pytest.mark.slow
def test_attention_between_modalities_learns_what_a_sum_cannot() -> None:
    least = 0.5 + accuracy_of("additive") / 2  # it halves the mistakes at least
    assert accuracy_of("cross_attention") > least
    assert accuracy_of("single_stream") > least
