"""GDAS: one path drawn by straight-through Gumbel-softmax per step.

Dong and Yang 2019, "Searching for a Robust Neural Architecture in Four GPU Hours". The temperature falls linearly from
10 to 0.1. Departures: see `nas.strategies.bilevel`; there is one draw per node, and architecture and weights steps
draw their own.
"""

from __future__ import annotations

from nas.strategies.base import SearchProblem, StrategyResult
from nas.strategies.bilevel import bilevel, first_order
from nas.supernet.relaxation import gumbel

FIRST_TEMPERATURE, LAST_TEMPERATURE = 10.0, 0.1


def temperature(progress: float) -> float:
    """Linear from 10 at progress 0 to 0.1 at progress 1."""
    return FIRST_TEMPERATURE + (LAST_TEMPERATURE - FIRST_TEMPERATURE) * min(1.0, progress)


def gdas(problem: SearchProblem) -> StrategyResult:
    """Searches by GDAS."""
    return bilevel(
        problem,
        lambda supernet, generator, progress: gumbel(
            supernet.logits(), temperature=temperature(progress), generator=generator
        ),
        first_order,
    )
