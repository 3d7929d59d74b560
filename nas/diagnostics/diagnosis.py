"""Does fusion help, and why? All diagnostics of a run's trained networks, as plain values and in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nas.diagnostics.contribution import MOST_MODALITIES, contributions
from nas.diagnostics.emap import MAX_GRID, Projection, emap
from nas.diagnostics.interaction import interaction_regression, matched_scores
from nas.diagnostics.recombined import Recombined
from nas.metrics import METRICS, metric_of
from nas.statistics import Interval, amount, interval, paired_interval, sample_statistics
from nas.summary import Additivity, Contribution, Diagnosis, LinearModel, Overfitting
from nas.tasks import TASKS, Task

HEEDLESS = 0.9
"""Share of unchanged answers above which it is said that a modality has next to no say."""

FASTER = 2.0
"""Ratio of overfitting-to-generalization ratios from which it is said that one modality overfits faster."""

Progress = Callable[[int, int], None]


def diagnose(
    task: Task,
    networks: Sequence[Recombined],
    targets: NDArray[np.generic],
    *,
    unimodal: Mapping[str, NDArray[np.floating]],
    overfitting: Mapping[str, Sequence[Overfitting]],
    metric: str = "",
    max_grid: int = MAX_GRID,
    progress: Progress = lambda _done, _total: None,
) -> Diagnosis:
    """Diagnoses the networks of one architecture.

    Args:
        task: What the target is.
        networks: Trained with different seeds, on the same test samples.
        targets: Of these samples.
        unimodal: Modality to the outputs of its network alone on these samples, (n, outputs), with the first seed;
            empty if they are not known.
        overfitting: Modality to the course of its training alone, by seed.
        metric: Of the scores; empty for the task's own.
        max_grid: Most recombinations for EMAP.
        progress: Called with the number of recombinations done and of all, for every network.
    """
    metric = metric_of(task, metric)
    projections = [emap(one, max_grid=max_grid, progress=progress) for one in networks]
    additivity = _additivity(metric, projections, targets)
    few = len(networks[0].modalities) <= MOST_MODALITIES
    shares = contributions(task, networks, targets, metric=metric) if few else []
    regression = _regression(task, unimodal, targets)
    courses = {modality: tuple(some) for modality, some in overfitting.items() if some}
    return Diagnosis(
        additivity=additivity,
        contributions=tuple(shares),
        regression=tuple(regression),
        overfitting=courses,
        in_words=(
            _additivity_in_words(metric, additivity, networks[0].modalities),
            *_contributions_in_words(task, metric, shares),
            *_regression_in_words(regression),
            *_overfitting_in_words(courses),
        ),
    )


def _additivity(metric: str, projections: Sequence[Projection], targets: NDArray[np.generic]) -> Additivity:
    rows = projections[0].rows
    outputs = [sample_statistics(metric, one.outputs, targets[rows]) for one in projections]
    projected = [sample_statistics(metric, one.projected, targets[rows]) for one in projections]
    return Additivity(
        score=interval(metric, outputs),
        additive_score=interval(metric, projected),
        gain=paired_interval(metric, outputs, projected),
        samples=len(rows),
        of=len(targets),
        grid=projections[0].grid,
        standard_error=float(np.mean([one.standard_error for one in projections])),
    )


def _additivity_in_words(metric: str, found: Additivity, modalities: Sequence[str]) -> str:
    if len(modalities) < 2:
        read = f"{modalities[0]} alone" if modalities else "nothing"
        return f"It reads {read}, so that nothing of its score comes from cross-modal interaction"
    part = amount(metric, found.gain)
    of = {"micro_f1": "F1", "mae": "error"}.get(metric, METRICS[metric].title)
    some = [f"on {found.samples} of {found.of} test samples"] if found.samples < found.of else []
    some += [f"by {found.grid:,} random recombinations"] if found.grid < found.samples ** len(modalities) else []
    taken = f" (measured {', '.join(some)})" if some else ""
    if found.gain.low > 0:
        what = f"of this {of} come from" if METRICS[metric].higher_is_better else "are saved by"
        return f"{part} {what} cross-modal interaction{taken}"
    if found.gain.high < 0:
        return (
            f"Cross-modal interaction does harm: its best additive approximation is better by {_turned(metric, found)}"
        )
    if found.gain.margin == 0:
        return f"An additive function scores the same: no {of} comes from cross-modal interaction{taken}"
    return f"An additive model would do as well: {part} of this {of} come from cross-modal interaction{taken}"


def _turned(metric: str, found: Additivity) -> str:
    return amount(metric, Interval(-found.gain.mean, -found.gain.high, -found.gain.low))


def _contributions_in_words(task: Task, metric: str, found: Sequence[Contribution]) -> list[str]:
    if len(found) < 2:
        return []
    parts = ", ".join(f"{one.modality} {amount(metric, one.shapley)}" for one in found)
    sentences = [f"Of what it knows about a sample, each modality contributes (Shapley values): {parts}"]
    if not TASKS[task].has_probabilities:
        return sentences
    heedless = [one.modality for one in found if one.unchanged > HEEDLESS]
    verb = "has" if len(heedless) == 1 else "have"
    so = f", so that {' and '.join(heedless)} {verb} next to no say" if heedless else ""
    first, *others = found
    shares = f"{100 * first.unchanged:.0f} % of all cases"
    shares += "".join(f", with {one.modality} in {100 * one.unchanged:.0f} %" for one in others)
    return [*sentences, f"With {first.modality} from another sample it answers the same in {shares}{so}"]


def _regression(
    task: Task, unimodal: Mapping[str, NDArray[np.floating]], targets: NDArray[np.generic]
) -> list[LinearModel]:
    """Of classes, or of one number; not of several labels or numbers, and not where scores say nothing apart."""
    if len(unimodal) < 2 or (targets.ndim == 2 and (TASKS[task].has_probabilities or targets.shape[1] != 1)):
        return []
    if targets.ndim == 1:
        scores, target = matched_scores(unimodal, targets.astype(np.int64))
    else:
        scores = {name: _standardised(outputs[:, 0]) for name, outputs in unimodal.items()}
        target = targets[:, 0].astype(np.float64)
    try:
        return interaction_regression(scores, target, yes_or_no=targets.ndim == 1)
    except ValueError:  # such as the same scores of all samples, where networks answer with a constant
        return []


def _standardised(values: NDArray[np.floating]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = (values - values.mean()) / max(float(values.std()), 1e-12)
    return scaled


def _regression_in_words(models: Sequence[LinearModel]) -> list[str]:
    if not models:
        return []
    last = models[-1]
    products = [one for one in last.coefficients if "×" in one.name]
    names = ", ".join(one.name for one in products)
    one = len(products) == 1
    if last.p < 0.05:
        what = "product matters" if one else "products matter"
        return [f"Beyond what networks of one modality each say, their {what}: {names} ({_p(last.p)})"]
    what = "product explains" if one else "products explain"
    return [f"What networks of one modality each say adds up: their {what} nothing more, {names} ({_p(last.p)})"]


def _p(value: float) -> str:
    return "likelihood ratio, " + ("p < 0.001" if value < 0.001 else f"p = {value:.2g}")


def _overfitting_in_words(courses: Mapping[str, Sequence[Overfitting]]) -> list[str]:
    ratios = {modality: float(np.mean([one.ratio for one in some])) for modality, some in courses.items()}
    finite = {modality: ratio for modality, ratio in ratios.items() if math.isfinite(ratio)}
    sentences = [f"Trained alone, {modality} generalizes nothing" for modality in ratios if modality not in finite]
    if len(finite) > 1:
        fast, slow = max(finite, key=finite.__getitem__), min(finite, key=finite.__getitem__)
        if finite[fast] > FASTER * finite[slow]:
            times = f"{finite[fast] / finite[slow]:.1f} times" if finite[slow] > 0 else "many times"
            sentences.append(f"Trained alone, {fast} overfits {times} as fast as {slow} for what it generalizes")
    return sentences
