"""Linear interaction regression: is what modalities say by themselves added, or multiplied?

y = w0 + sum_u w_u s_u + sum_{u<v} w_uv s_u s_v, fitted by least squares as a row of nested models: one modality after
another, then the products (Liang's lecture on multimodal fusion, after the classical test of moderation, Cohen et al.
2003, "Applied Multiple Regression/Correlation Analysis for the Behavioral Sciences", chapter 7). Of a yes-or-no target
it is the log-odds of yes: of modalities that are independent given the answer, log-odds add up exactly.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import chi2
from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

from nas.summary import Coefficient, LinearModel

Scores = NDArray[np.float64]


def interaction_regression(
    scores: Mapping[str, Scores], target: Scores, *, yes_or_no: bool = False
) -> list[LinearModel]:
    """Nested models: one more modality at a time, in the order given, then all pairwise products.

    Args:
        scores: Modality to what it says about every sample, (n,); at least two.
        target: What is to be explained, (n,).
        yes_or_no: Whether it is 1 or 0, and its log-odds are to be explained.

    Returns:
        As many models as modalities, and one more with the products "a × b".

    Raises:
        ValueError: If there are too few modalities or samples, lengths differ, the terms are collinear, or they tell
            yes from no without an error.
    """
    names = list(scores)
    pairs = list(combinations(names, 2))
    if len(names) < 2:
        raise ValueError(f"interactions need two modalities or more, got {names}")
    if any(len(values) != len(target) for values in scores.values()):
        raise ValueError(f"every modality needs a score for each of the {len(target)} samples")
    terms: dict[str, Scores] = {name: np.asarray(scores[name], dtype=np.float64) for name in names}
    terms |= {f"{a} × {b}": terms[a] * terms[b] for a, b in pairs}
    if len(target) < len(terms) + 2:
        raise ValueError(f"{len(terms) + 1} coefficients need more samples than {len(target)}")
    design = np.column_stack([np.ones(len(target)), *terms.values()])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError(f"the scores of {', '.join(names)} or their products are collinear")
    columns = ["constant", *terms]
    found: list[LinearModel] = []
    for count in [*range(1, len(names) + 1), len(terms)]:
        model = _fitted(columns, np.asarray(target, dtype=np.float64), design[:, : count + 1], yes_or_no=yes_or_no)
        if found:
            ratio = 2 * (model.log_likelihood - found[-1].log_likelihood)
            added = len(model.coefficients) - len(found[-1].coefficients)
            model = replace(model, likelihood_ratio=ratio, p=float(chi2.sf(ratio, added)))
        found.append(model)
    return found


def _fitted(columns: Sequence[str], target: Scores, design: Scores, *, yes_or_no: bool) -> LinearModel:
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("error", PerfectSeparationWarning)
        try:
            fit = (
                sm.GLM(target, design, family=sm.families.Binomial()).fit()
                if yes_or_no
                else sm.OLS(target, design).fit()
            )
        except PerfectSeparationWarning as error:
            raise ValueError(f"{', '.join(columns[1 : design.shape[1]])} tell yes from no without an error") from error
    bounds = fit.conf_int(alpha=0.05)
    rows = zip(columns, fit.params, fit.bse, fit.tvalues, fit.pvalues, bounds, strict=False)
    return LinearModel(
        coefficients=tuple(
            Coefficient(
                name=name,
                estimate=float(estimate),
                standard_error=float(error),
                t=float(t),
                p=float(p),
                low=float(low),
                high=float(high),
            )
            for name, estimate, error, t, p, (low, high) in rows
        ),
        r_squared=float(1 - fit.llf / fit.llnull) if yes_or_no else float(fit.rsquared),
        log_likelihood=float(fit.llf),
        samples=len(target),
        likelihood_ratio=math.nan,
        p=math.nan,
    )


def matched_scores(
    outputs: Mapping[str, NDArray[np.floating]], targets: NDArray[np.int64], *, seed: int = 0
) -> tuple[dict[str, Scores], Scores]:
    """Classes as a question with a yes or no, so that modalities have one score each: is it this class?

    For half of the samples the class asked about is the right one, for the others a random wrong one. A modality's
    score is the log-odds that its network gives to the class, standardised over samples.

    Args:
        outputs: Modality to the logits of its network alone, (n, classes).
        targets: Right classes, (n,).
        seed: Of the questions.

    Returns:
        The scores, (n,) each, and 1 for yes, 0 for no, (n,).
    """
    generator = np.random.default_rng(seed)
    classes = next(iter(outputs.values())).shape[1]
    is_right = generator.permutation(len(targets)) % 2 == 0
    wrong = (targets + generator.integers(1, classes, len(targets))) % classes
    asked = np.where(is_right, targets, wrong)
    scores = {}
    for name, logits in outputs.items():
        others = np.where(np.arange(classes) == asked[:, None], -np.inf, logits.astype(np.float64))
        values = logits[np.arange(len(targets)), asked] - logsumexp(others, axis=1)
        scores[name] = (values - values.mean()) / max(float(values.std()), 1e-12)
    return scores, is_right.astype(np.float64)
