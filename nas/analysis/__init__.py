"""What a trained network does with its modalities: does fusion help, and why?"""

from nas.analysis.advice import advise
from nas.analysis.contribution import contributions
from nas.analysis.diagnosis import diagnose
from nas.analysis.emap import MAX_GRID, Projection, emap
from nas.analysis.interaction import interaction_regression, matched_scores
from nas.analysis.mistakes import mistakes
from nas.analysis.overfitting import overfitting_ratio
from nas.analysis.recombined import Recombined

__all__ = [
    "MAX_GRID",
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
