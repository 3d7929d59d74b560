"""Multimodal fusion architecture search: the public names, nothing else.

A name is imported when it is first asked for, since torch takes seconds to import and `fusenas --help` does without.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.config import EvaluationConfig, OutputConfig, RunConfig, SearchConfig, SourceConfig, TrainingConfig
    from nas.data import FusionData, load_data
    from nas.errors import UserError
    from nas.export import export
    from nas.pipeline.cross_validate import CrossValidation, cross_validate
    from nas.pipeline.estimators import FusionClassifier, FusionRegressor
    from nas.pipeline.plan import RunPlan, plan, plan_retraining
    from nas.pipeline.predict import Predictions, predict
    from nas.pipeline.retrain import evaluate, retrain
    from nas.pipeline.search import RunResult, search
    from nas.report import report
    from nas.saved.run import Run, load_run
    from nas.space.architecture import Architecture, Choice

_MODULES = {
    "Architecture": "space.architecture",
    "Choice": "space.architecture",
    "CrossValidation": "pipeline.cross_validate",
    "EvaluationConfig": "config",
    "FusionClassifier": "pipeline.estimators",
    "FusionData": "data",
    "FusionRegressor": "pipeline.estimators",
    "OutputConfig": "config",
    "Predictions": "pipeline.predict",
    "Run": "saved.run",
    "RunConfig": "config",
    "RunPlan": "pipeline.plan",
    "RunResult": "pipeline.search",
    "SearchConfig": "config",
    "SourceConfig": "config",
    "TrainingConfig": "config",
    "UserError": "errors",
    "cross_validate": "pipeline.cross_validate",
    "evaluate": "pipeline.retrain",
    "export": "export",
    "load_data": "data",
    "load_run": "saved.run",
    "plan": "pipeline.plan",
    "plan_retraining": "pipeline.plan",
    "predict": "pipeline.predict",
    "report": "report",
    "retrain": "pipeline.retrain",
    "search": "pipeline.search",
}

__all__ = [
    "Architecture",
    "Choice",
    "CrossValidation",
    "EvaluationConfig",
    "FusionClassifier",
    "FusionData",
    "FusionRegressor",
    "OutputConfig",
    "Predictions",
    "Run",
    "RunConfig",
    "RunPlan",
    "RunResult",
    "SearchConfig",
    "SourceConfig",
    "TrainingConfig",
    "UserError",
    "cross_validate",
    "evaluate",
    "export",
    "load_data",
    "load_run",
    "plan",
    "plan_retraining",
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
