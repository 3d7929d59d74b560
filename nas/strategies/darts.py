"""First-order DARTS: softmax mixture, gradient at the present weights.

Liu et al. 2019, "DARTS: Differentiable Architecture Search". Departures: see `nas.strategies.bilevel`; the choices of a
node are mixed instead of the operations of an edge, and `none` competes with the others in the read-out.
"""

from __future__ import annotations

from nas.strategies.base import SearchProblem, StrategyResult
from nas.strategies.bilevel import bilevel, first_order
from nas.supernet.relaxation import softmax


def darts(problem: SearchProblem) -> StrategyResult:
    """Searches by first-order DARTS."""
    return bilevel(problem, lambda supernet, _generator, _progress: softmax(supernet.logits()), first_order)
