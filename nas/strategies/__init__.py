"""Search strategies: name to function from a problem to what was learned about it."""

from __future__ import annotations

from collections.abc import Mapping

from nas.strategies.base import Explored, Problem, SearchConfig, Strategy
from nas.strategies.darts import darts
from nas.strategies.darts_second_order import darts_second_order
from nas.strategies.gdas import gdas
from nas.strategies.random import random
from nas.strategies.sampled import sampled

STRATEGIES: Mapping[str, Strategy] = {
    "sampled": sampled,
    "darts": darts,
    "darts_second_order": darts_second_order,
    "gdas": gdas,
    "random": random,
}

__all__ = ["STRATEGIES", "Explored", "Problem", "SearchConfig", "Strategy"]
