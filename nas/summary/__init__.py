"""What a run tells, as types: one `Summary`, which is written to `summary.json`, read back and drawn."""

from nas.summary.attention import Attention, AttentionMap, AttentionSample, AttentionTokens, Picture
from nas.summary.data import DataDescription, ModalityDescription
from nas.summary.diagnosis import (
    Additivity,
    Calibration,
    Coefficient,
    Contribution,
    Diagnosis,
    LinearModel,
    Mistakes,
    Overfitting,
)
from nas.summary.leaderboard import ROW_KINDS, Costs, Row, RowKind
from nas.summary.objectives import Advice, Objectives, TriedObjective
from nas.summary.routes import Confidence, Decisions, Route, Sample, Without
from nas.summary.search import (
    Compromise,
    GateTrial,
    Guards,
    Search,
    SearchedChoice,
    SearchedNode,
    SearchedReference,
    TriedGate,
)
from nas.summary.stability import Agreement, NodeVotes, OneSearch, Spread, Votes
from nas.summary.summary import FORMAT_VERSION, Preprocessing, Provenance, Results, Standings, Summary
from nas.summary.verdict import Answer, BetterRow, Verdict

__all__ = [
    "FORMAT_VERSION",
    "ROW_KINDS",
    "Additivity",
    "Advice",
    "Agreement",
    "Answer",
    "Attention",
    "AttentionMap",
    "AttentionSample",
    "AttentionTokens",
    "BetterRow",
    "Calibration",
    "Coefficient",
    "Compromise",
    "Confidence",
    "Contribution",
    "Costs",
    "DataDescription",
    "Decisions",
    "Diagnosis",
    "GateTrial",
    "Guards",
    "LinearModel",
    "Mistakes",
    "ModalityDescription",
    "NodeVotes",
    "Objectives",
    "OneSearch",
    "Overfitting",
    "Picture",
    "Preprocessing",
    "Provenance",
    "Results",
    "Route",
    "Row",
    "RowKind",
    "Sample",
    "Search",
    "SearchedChoice",
    "SearchedNode",
    "SearchedReference",
    "Spread",
    "Standings",
    "Summary",
    "TriedGate",
    "TriedObjective",
    "Verdict",
    "Votes",
    "Without",
]
