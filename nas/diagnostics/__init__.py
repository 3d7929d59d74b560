"""What a trained network does with its modalities: does fusion help, and why?"""

from nas.diagnostics.advice import advise
from nas.diagnostics.attention import attention
from nas.diagnostics.contribution import contributions
from nas.diagnostics.diagnosis import diagnose
from nas.diagnostics.emap import MAX_GRID, Projection, emap
from nas.diagnostics.interaction import interaction_regression, matched_scores
from nas.diagnostics.mistakes import mistakes
from nas.diagnostics.overfitting import overfitting_ratio
from nas.diagnostics.recombined import Recombined

__all__ = [
    "MAX_GRID",
    "Projection",
    "Recombined",
    "advise",
    "attention",
    "contributions",
    "diagnose",
    "emap",
    "interaction_regression",
    "matched_scores",
    "mistakes",
    "overfitting_ratio",
]
