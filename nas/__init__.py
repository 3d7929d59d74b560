"""Multimodal fusion architecture search: the public names, nothing else.

A name is imported when it is first asked for, since torch takes seconds to import and `fusenas --help` does without.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.architecture import Architecture, Choice
    from nas.config import EvaluationConfig, OutputConfig, RunConfig, SearchConfig, SourceConfig, TrainingConfig
    from nas.data import FusionData, load_data
    from nas.errors import UserError
    from nas.estimators import FusionClassifier, FusionRegressor
    from nas.export import export
    from nas.load import Run, load_run
    from nas.predict import Predictions, predict
    from nas.report import report
    from nas.rerun import evaluate, retrain
    from nas.search import RunResult, search

_MODULES = {
    "Architecture": "architecture",
    "Choice": "architecture",
    "EvaluationConfig": "config",
    "FusionClassifier": "estimators",
    "FusionData": "data",
    "FusionRegressor": "estimators",
    "OutputConfig": "config",
    "Predictions": "predict",
    "Run": "load",
    "RunConfig": "config",
    "RunResult": "search",
    "SearchConfig": "config",
    "SourceConfig": "config",
    "TrainingConfig": "config",
    "UserError": "errors",
    "evaluate": "rerun",
    "export": "export",
    "load_data": "data",
    "load_run": "load",
    "predict": "predict",
    "report": "report",
    "retrain": "rerun",
    "search": "search",
}

__all__ = [
    "Architecture",
    "Choice",
    "EvaluationConfig",
    "FusionClassifier",
    "FusionData",
    "FusionRegressor",
    "OutputConfig",
    "Predictions",
    "Run",
    "RunConfig",
    "RunResult",
    "SearchConfig",
    "SourceConfig",
    "TrainingConfig",
    "UserError",
    "evaluate",
    "export",
    "load_data",
    "load_run",
    "predict",
    "report",
    "retrain",
    "search",
]


class _Package(ModuleType):
    """This package, in which `nas.search` is the function, whoever imports the module of that name, and when."""

    def __getattr__(self, name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{self.__name__}.{_MODULES[name]}"), name)
        self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULES and isinstance(value, ModuleType)):  # as the import system binds a module
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *__all__]


sys.modules[__name__].__class__ = _Package
