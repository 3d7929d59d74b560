"""The options of a run: each is declared once, in `nas.config.sections`, and everything else follows from that."""

from __future__ import annotations

from nas.config.run_config import Option, RunConfig
from nas.config.sections import (
    RELAXATIONS,
    Baselines,
    EncoderMode,
    EvaluationConfig,
    OutputConfig,
    Preference,
    Relaxation,
    RoutingConfig,
    Schedule,
    SearchConfig,
    Section,
    SourceConfig,
    TrainingConfig,
)

__all__ = [
    "RELAXATIONS",
    "Baselines",
    "EncoderMode",
    "EvaluationConfig",
    "Option",
    "OutputConfig",
    "Preference",
    "Relaxation",
    "RoutingConfig",
    "RunConfig",
    "Schedule",
    "SearchConfig",
    "Section",
    "SourceConfig",
    "TrainingConfig",
]
