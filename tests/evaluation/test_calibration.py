"""One temperature and the expected calibration error, on answers whose calibration is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas import RunResult
from nas.evaluation.calibration import expected_calibration_error, fit_temperature
from nas.report.page import calibrated
from nas.summary.diagnosis import TEMPERATURE
from nas.tasks import TASKS
from tests.summaries import known
from tests.tiny_runs import finished_run


def drawn(count: int, *, too_sure: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of three classes that are too large by a factor, and targets drawn from the probabilities before that."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(count, 3)) * 2
    cumulated = TASKS["classification"].probabilities(logits).cumsum(axis=1)
    targets = (generator.random((count, 1)) > cumulated).sum(axis=1).clip(max=2)
    return torch.from_numpy(logits * too_sure).float(), torch.from_numpy(targets)


@pytest.mark.parametrize("too_sure", [0.4, 1.0, 3.0])
def test_the_factor_by_which_a_network_is_too_sure_is_found(too_sure: float) -> None:
    outputs, targets = drawn(8000, too_sure=too_sure)
    # The factor's standard error at so many samples is about 2 %.
    assert fit_temperature("classification", outputs, targets) == pytest.approx(too_sure, rel=0.06)


def test_labels_have_one_temperature_for_all() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4000, 2)) * 2
    targets = (generator.random(logits.shape) < TASKS["multilabel"].probabilities(logits)).astype(np.float32)
    found = fit_temperature("multilabel", torch.from_numpy(2.5 * logits).float(), torch.from_numpy(targets))
    assert found == pytest.approx(2.5, rel=0.06)


@pytest.mark.parametrize("count", [40, 400, 4000])
def test_answers_that_are_all_right_do_not_make_certain(count: int) -> None:
    outputs = torch.tensor([[2.0, 0.0]]).repeat(count, 1)
    targets = torch.zeros(count, dtype=torch.int64)
    found = fit_temperature("classification", outputs, targets)
    # The rule of succession gives 1 / (n + 2) to an answer that was never seen.
    unlikely = float(TASKS["classification"].probabilities(outputs.numpy(), found)[0, 1])
    assert 1 / (count + 2) / 2 < unlikely < 2 / (count + 2)


def test_the_error_of_a_case_worked_by_hand() -> None:
    # Three answers of confidence 0.75, one right, and one of 0.9, right: |1 − 2.25| / 4 + |1 − 0.9| / 4.
    three, nine = math.log(3), math.log(9)
    outputs = np.array([[three, 0], [0, three], [three, 0], [nine, 0]])
    targets = np.array([0, 0, 1, 0])
    expected = (3 * 0.75 - 1) / 4 + 0.1 / 4
    assert expected_calibration_error("classification", outputs, targets) == pytest.approx(expected)
    # As labels: the first column alone, whose answers are 0.75, 0.5, 0.75 and 0.9 for "yes"; 0.5 answers "no".
    labels = np.array([[1.0], [0.0], [1.0], [1.0]])
    told = expected_calibration_error("multilabel", outputs[:, :1], labels)
    assert told == pytest.approx((2 * (1 - 0.75) + (1 - 0.5) + (1 - 0.9)) / 4)


def test_a_temperature_mends_the_error() -> None:
    outputs, targets = drawn(8000, too_sure=3.0)
    before, after = (
        expected_calibration_error("classification", outputs.numpy(), targets.numpy(), temperature)
        for temperature in (1.0, 3.0)
    )
    assert before > 0.1
    assert after < 0.02  # what chance leaves in fifteen bins


@given(
    st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=1, max_size=8),
    st.floats(TEMPERATURE.low, TEMPERATURE.high),
)
def test_a_temperature_leaves_every_answer_as_it_is(logits: list[list[float]], temperature: float) -> None:
    outputs = np.array(logits)
    found = TASKS["classification"].probabilities(outputs, temperature)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    chosen = np.take_along_axis(found, outputs.argmax(axis=1)[:, None], axis=1)[:, 0]
    np.testing.assert_array_equal(chosen, found.max(axis=1))
    labels = TASKS["multilabel"].probabilities(outputs, temperature)
    assert ((labels > 0.5) <= (outputs > 0)).all()
    assert ((labels < 0.5) <= (outputs < 0)).all()


def test_a_run_records_its_temperature_and_the_page_tells_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    result: RunResult = finished_run(tmp_path_factory)
    told = known(result.summary.calibration)
    assert result.summary.temperature == told.temperature
    assert 0 <= told.error_after <= 1
    assert result.report is not None
    sentence = calibrated(result.summary)
    assert f"a temperature of {told.temperature:.2f}" in sentence
    assert sentence in result.report.read_text()


def test_a_page_of_a_run_without_probabilities_says_nothing_of_them(tmp_path_factory: pytest.TempPathFactory) -> None:
    assert calibrated(replace(finished_run(tmp_path_factory).summary, calibration=None)) == ""
