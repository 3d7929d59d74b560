"""Search strategies: name to function from a problem to what was learned about it."""

from __future__ import annotations

from collections.abc import Mapping

from nas.strategies.base import ParetoPoint, SearchProblem, Strategy, StrategyResult
from nas.strategies.beta_darts import beta_darts
from nas.strategies.darts import darts
from nas.strategies.darts_second_order import darts_second_order
from nas.strategies.drnas import drnas
from nas.strategies.evolution import evolution
from nas.strategies.exhaustive import exhaustive
from nas.strategies.fair_darts import fair_darts
from nas.strategies.gdas import gdas
from nas.strategies.mfas import mfas
from nas.strategies.nsga2 import nsga2
from nas.strategies.pc_darts import pc_darts
from nas.strategies.random import random
from nas.strategies.sampled import sampled
from nas.strategies.tpe import tpe

STRATEGIES: Mapping[str, Strategy] = {
    "sampled": sampled,
    "darts": darts,
    "darts_second_order": darts_second_order,
    "gdas": gdas,
    "pc_darts": pc_darts,
    "drnas": drnas,
    "fair_darts": fair_darts,
    "beta_darts": beta_darts,
    "random": random,
    "evolution": evolution,
    "tpe": tpe,
    "nsga2": nsga2,
    "mfas": mfas,
    "exhaustive": exhaustive,
}

WITH_SUPERNET = (
    "sampled",
    "darts",
    "darts_second_order",
    "gdas",
    "pc_darts",
    "drnas",
    "fair_darts",
    "beta_darts",
)
"""Names of those that leave a trained supernet."""

__all__ = ["STRATEGIES", "WITH_SUPERNET", "ParetoPoint", "SearchProblem", "Strategy", "StrategyResult"]
