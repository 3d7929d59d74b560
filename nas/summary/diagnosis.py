"""What the networks of the found architecture do with their modalities, where they are wrong, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nas.errors import UserError
from nas.fields import Number, Whole
from nas.records import checked
from nas.statistics import Interval
from nas.summary.leaderboard import COUNT

TEMPERATURE = Number("from 0.001 to 1000", low=1e-3, high=1e3, below=False)
"""What a temperature may be."""

MAX_CLASSES = 100
"""Rows of a confusion matrix: more than three times as many as one of ours has, where rare classes share the last."""


@dataclass(frozen=True, kw_only=True)
class Additivity:
    """How much of a score needs modalities to interact; see `nas.diagnostics.emap`.

    Attributes:
        score: Of the networks on the samples that were taken.
        additive_score: Of their additive projections there.
        gain: How much better the networks are, paired.
        samples: That were taken.
        of: So many.
        grid: Recombinations of them that were run, for every network.
        standard_error: Of what the projections put out, mean over networks; 0 where all recombinations were run.
    """

    score: Interval
    additive_score: Interval
    gain: Interval
    samples: int = checked(COUNT)
    of: int = checked(COUNT)
    grid: int = checked(COUNT)
    standard_error: float


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """Of one modality, in units of the metric, positive where it helps; intervals are over networks and samples.

    Attributes:
        modality: Its name.
        left_out: Loss of score when its taps are zero, as of a sample that lacks it. A network that was not trained
            with missing modalities has never seen that.
        permuted: Loss of score when it comes from another sample (Breiman 2001, "Random Forests", section 10).
        shapley: Its Shapley value, where the value of a subset is the score when all other modalities come from other
            samples, each from one of its own (Shapley 1953; Lundberg and Lee 2017). All add up to the score minus that
            of answers that have nothing to do with the sample.
        unchanged: How often the answer stays the same when it comes from another sample, 0 to 1: near 1, it has no say.
            NaN for regression.
    """

    modality: str
    left_out: Interval
    permuted: Interval
    shapley: Interval
    unchanged: float


@dataclass(frozen=True, kw_only=True)
class Coefficient:
    """One estimate: of the term `name`, with its 95 % interval.

    `p` is that of a t-test against zero, of a yes-or-no target that of a z-test.
    """

    name: str
    estimate: float
    standard_error: float
    t: float
    p: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class LinearModel:
    """One fitted model of the interaction regression; see `nas.diagnostics.interaction`.

    Attributes:
        coefficients: The constant first.
        r_squared: Share of the variance that it explains; of a yes-or-no target that of McFadden (1974), 1 − its
            log-likelihood over that of a constant.
        log_likelihood: With normal errors.
        samples: It was fitted on.
        likelihood_ratio: Twice the gain in log-likelihood over the model before; NaN for the first.
        p: Of the likelihood-ratio test against the model before; NaN for the first.
    """

    coefficients: tuple[Coefficient, ...]
    r_squared: float
    log_likelihood: float
    samples: int = checked(COUNT)
    likelihood_ratio: float
    p: float


@dataclass(frozen=True, kw_only=True)
class Overfitting:
    """Of one training between its first and its best epoch.

    With the gap O = held-out loss − training loss: ratio = |ΔO / ΔG|, where ΔO is the growth of the gap and ΔG the fall
    of the held-out loss. Departure: training losses are means over an epoch with dropout, so that the gap is smaller
    than that of the network at the end of it; held-out is the architecture split.

    Attributes:
        overfitting: ΔO; negative when the gap closed.
        generalization: ΔG, in the unit of the loss.
        ratio: Infinite if nothing was generalized; read back from JSON it is then NaN.
        best_epoch: Of the lowest held-out loss, from 0.
    """

    overfitting: float
    generalization: float
    ratio: float
    best_epoch: int = checked(COUNT)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What the networks of the found architecture do with their modalities.

    Attributes:
        additivity: Whether an additive function would do as well.
        contributions: Of every modality that is read; empty if these are too many.
        regression: Nested models of the target on what modalities say by themselves; empty where that is not known.
        overfitting: Modality to the course of its training alone, of every seed.
        in_words: A sentence for each finding.
    """

    additivity: Additivity
    contributions: tuple[Contribution, ...]
    regression: tuple[LinearModel, ...]
    overfitting: Mapping[str, tuple[Overfitting, ...]]
    in_words: tuple[str, ...] = checked(fewest=1)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How far probabilities may be believed; see `nas.evaluation.calibration`.

    Attributes:
        temperature: That logits are divided by.
        error_before: Expected calibration error on the test split without it.
        error_after: The same with it.
        bins: Of confidence.
    """

    temperature: float = checked(TEMPERATURE)
    error_before: float
    error_after: float
    bins: int = checked(Whole(1, 1000))


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """Where the networks are wrong on the test split: of classes a confusion matrix, of numbers points.

    Attributes:
        classes: Names; of many the last one stands for all that are rare.
        counts: How often one of the row was taken for one of the column, summed over networks, (classes, classes).
        others: How many classes share the last row and column; 0 if each has its own.
        points: For each output pairs of target and prediction of the first network, on an even draw of samples.
    """

    classes: tuple[str, ...] = checked(most=MAX_CLASSES, default=())
    counts: tuple[tuple[int, ...], ...] = checked(COUNT, most=MAX_CLASSES, default=())
    others: int = checked(COUNT, default=0)
    points: tuple[tuple[tuple[float, float], ...], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.classes)
        if {len(self.counts), *map(len, self.counts)} != {count}:
            raise UserError(f"{count} classes and another number of counts")
