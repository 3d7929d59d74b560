"""Linear interaction regression: known coefficients found again, and numpy's least squares."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from numpy.typing import NDArray

from nas.diagnostics import interaction_regression, matched_scores

REVIEWS = 300
WEIGHTS = {"constant": 5.79, "audio": 0.68, "text": -2.94, "audio × text": 1.29}
"""Those of the lecture's third table, of as many reviews."""


def reviews(seed: int) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Scores of two modalities that go together somewhat, and ratings by the known weights in noise of deviation 1."""
    generator = np.random.default_rng(seed)
    audio = generator.normal(size=REVIEWS)
    text = 0.5 * audio + generator.normal(size=REVIEWS)
    ratings = WEIGHTS["constant"] + WEIGHTS["audio"] * audio + WEIGHTS["text"] * text
    ratings += WEIGHTS["audio × text"] * audio * text + generator.normal(size=REVIEWS)
    return {"audio": audio, "text": text}, ratings


def test_the_nested_tables() -> None:
    scores, ratings = reviews(0)
    models = interaction_regression(scores, ratings)
    names = [[one.name for one in model.coefficients] for model in models]
    assert names == [
        ["constant", "audio"],
        ["constant", "audio", "text"],
        ["constant", "audio", "text", "audio × text"],
    ]
    r_squared = [model.r_squared for model in models]
    assert r_squared == sorted(r_squared)
    assert np.isnan(models[0].p)
    assert models[1].p < 1e-10
    assert models[2].p < 1e-10
    assert models[2].likelihood_ratio == pytest.approx(2 * (models[2].log_likelihood - models[1].log_likelihood))
    interaction = models[2].coefficients[-1]
    assert interaction.t == pytest.approx(interaction.estimate / interaction.standard_error)
    assert interaction.low < interaction.estimate < interaction.high


def test_ninety_five_per_cent_of_the_intervals_hold_the_weights() -> None:
    held = dict.fromkeys(WEIGHTS, 0)
    for seed in range(200):
        for one in interaction_regression(*reviews(seed))[-1].coefficients:
            held[one.name] += one.low <= WEIGHTS[one.name] <= one.high
    # Of 200, 190 are expected, with a standard deviation of 3.1.
    assert all(180 <= count <= 199 for count in held.values()), held


def test_it_agrees_with_numpy_and_with_a_formula_of_statsmodels() -> None:
    scores, ratings = reviews(1)
    last = interaction_regression(scores, ratings)[-1]
    design = np.column_stack([np.ones(REVIEWS), *scores.values(), scores["audio"] * scores["text"]])
    weights, residual, *_ = np.linalg.lstsq(design, ratings, rcond=None)
    assert [one.estimate for one in last.coefficients] == pytest.approx(weights.tolist())
    variance = float(residual[0]) / (REVIEWS - 4)
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    assert [one.standard_error for one in last.coefficients] == pytest.approx(errors.tolist())
    table = pd.DataFrame({"ratings": ratings, **scores})
    fit, sums = (smf.ols(f"ratings ~ {terms}", table).fit() for terms in ("audio * text", "audio + text"))
    assert (last.likelihood_ratio, last.p) == pytest.approx(fit.compare_lr_test(sums)[:2])
    assert [one.p for one in last.coefficients] == pytest.approx(fit.pvalues.tolist())
    assert last.r_squared == pytest.approx(fit.rsquared)
    bounds = fit.conf_int().to_numpy()
    assert [[one.low, one.high] for one in last.coefficients] == [pytest.approx(row) for row in bounds.tolist()]


def test_without_interaction_the_products_add_nothing_sure() -> None:
    false_alarms = 0
    for seed in range(200):
        scores, _ = reviews(seed)
        ratings = scores["audio"] - scores["text"] + np.random.default_rng(1000 + seed).normal(size=REVIEWS)
        false_alarms += interaction_regression(scores, ratings)[-1].p < 0.05
    assert 2 <= false_alarms <= 20  # 10 are expected, with a standard deviation of 3.1


def test_three_modalities_have_three_products() -> None:
    generator = np.random.default_rng(0)
    scores = {name: generator.normal(size=100) for name in "abc"}
    models = interaction_regression(scores, generator.normal(size=100))
    assert [len(model.coefficients) for model in models] == [2, 3, 4, 7]
    assert [one.name for one in models[-1].coefficients[4:]] == ["a × b", "a × c", "b × c"]


def test_of_yes_or_no_the_log_odds_are_explained_as_statsmodels_does() -> None:
    scores, _ = reviews(2)
    log_odds = 0.5 + scores["audio"] - 0.5 * scores["text"] + 0.8 * scores["audio"] * scores["text"]
    answers = (np.random.default_rng(0).random(REVIEWS) < 1 / (1 + np.exp(-log_odds))).astype(np.float64)
    models = interaction_regression(scores, answers, yes_or_no=True)
    fit = smf.logit("answers ~ audio * text", pd.DataFrame({"answers": answers, **scores})).fit(disp=0)
    assert [one.estimate for one in models[-1].coefficients] == pytest.approx(fit.params.tolist(), rel=1e-5)
    assert [one.p for one in models[-1].coefficients] == pytest.approx(fit.pvalues.tolist(), rel=1e-4)
    assert models[-1].r_squared == pytest.approx(fit.prsquared)
    assert models[-1].p < 0.001
    assert all(
        one.low < weight < one.high for one, weight in zip(models[-1].coefficients, (0.5, 1, -0.5, 0.8), strict=True)
    )


def test_log_odds_of_modalities_that_are_independent_given_the_answer_add_up() -> None:
    false_alarms = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        answers = (np.arange(REVIEWS) % 2).astype(np.float64)
        scores = {name: 1.5 * answers + generator.normal(size=REVIEWS) for name in ("audio", "text")}
        false_alarms += interaction_regression(scores, answers, yes_or_no=True)[-1].p < 0.05
    assert 2 <= false_alarms <= 20  # 10 are expected, with a standard deviation of 3.1


def test_what_tells_yes_from_no_without_an_error_is_refused() -> None:
    scores = {"a": np.arange(20.0), "b": np.random.default_rng(0).normal(size=20)}
    with pytest.raises(ValueError, match="a tell yes from no without an error"):
        interaction_regression(scores, (np.arange(20) > 9).astype(np.float64), yes_or_no=True)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"a": np.arange(9.0)}, "two modalities"),
        ({"a": np.arange(9.0), "b": np.arange(8.0)}, "each of the 9 samples"),
        ({"a": np.arange(9.0), "b": 2 * np.arange(9.0)}, "collinear"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(scores: dict[str, NDArray[np.float64]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        interaction_regression(scores, np.arange(9.0))


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="4 coefficients need more samples than 4"):
        interaction_regression({"a": np.arange(4.0), "b": np.array([1.0, 0, 0, 1])}, np.arange(4.0))


def test_a_class_asked_about_is_right_for_half_of_the_samples() -> None:
    targets = np.arange(100) % 4
    logits = np.eye(4)[targets] * 3.0
    scores, is_right = matched_scores(
        {"sure": logits, "blind": np.random.default_rng(0).normal(size=(100, 4))}, targets
    )
    assert is_right.sum() == 50
    # The sure modality's score says it all: one value for yes, one for no, standardised.
    assert scores["sure"][is_right == 1] == pytest.approx(1.0)
    assert scores["sure"][is_right == 0] == pytest.approx(-1.0)
    assert abs(float(np.corrcoef(scores["blind"], is_right)[0, 1])) < 0.3
