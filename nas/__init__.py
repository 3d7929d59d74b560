"""Multimodal fusion architecture search: the public names, nothing else."""

from __future__ import annotations

from nas.architecture import Architecture, Choice
from nas.data import FusionData, load_data
from nas.errors import UserError
from nas.export import export
from nas.load import Run, load_run
from nas.report import report
from nas.rerun import evaluate, retrain
from nas.search import RunResult, search
from nas.strategies import SearchConfig
from nas.training import TrainingConfig

__all__ = [
    "Architecture",
    "Choice",
    "FusionData",
    "Run",
    "RunResult",
    "SearchConfig",
    "TrainingConfig",
    "UserError",
    "evaluate",
    "export",
    "load_data",
    "load_run",
    "report",
    "retrain",
    "search",
]
