"""What a trained network does with its modalities: does fusion help, and why?"""

from nas.analysis.advice import Advice, advise
from nas.analysis.contribution import Contribution, contributions
from nas.analysis.diagnosis import Additivity, Diagnosis, diagnose
from nas.analysis.emap import MAX_GRID, Projection, emap
from nas.analysis.interaction import Coefficient, LinearModel, interaction_regression, matched_scores
from nas.analysis.mistakes import mistakes
from nas.analysis.overfitting import Overfitting, overfitting_ratio
from nas.analysis.recombined import Recombined

__all__ = [
    "MAX_GRID",
    "Additivity",
    "Advice",
    "Coefficient",
    "Contribution",
    "Diagnosis",
    "LinearModel",
    "Overfitting",
    "Projection",
    "Recombined",
    "advise",
    "contributions",
    "diagnose",
    "emap",
    "interaction_regression",
    "matched_scores",
    "mistakes",
    "overfitting_ratio",
]
