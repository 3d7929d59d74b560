"""DrNAS: mixing weights are drawn from a Dirichlet distribution whose concentrations are learned.

Chen et al. 2021, "DrNAS: Dirichlet Neural Architecture Search". Every loss draws its own weights, see
`nas.supernet.relaxation.dirichlet`; the anchor that keeps concentrations near one is the authors' L2 penalty on the
logits, which is the weight decay of the architecture; and the architecture rests for the first fifth of the search.
Mixture and choice weights are the mean of the distribution, c / Σ c, whose largest weight is that of the largest logit.

Departures: see `nas.strategies.bilevel`; there is one stage, without the progressive narrowing of partial channels and
operations, which the paper adds for large searches.
"""

from __future__ import annotations

from torch import Tensor

from nas.strategies.base import SearchProblem, StrategyResult
from nas.strategies.bilevel import bilevel, first_order
from nas.supernet.relaxation import concentrations, dirichlet
from nas.supernet.supernet import Supernet

FROZEN_SHARE = 0.2
"""The authors' first 10 of 50 epochs."""


def mean_weights(supernet: Supernet) -> dict[str, Tensor]:
    """Node to the means of its Dirichlet distribution, (choices,)."""
    return {node: values / values.sum() for node, values in concentrations(supernet.logits()).items()}


def drnas(problem: SearchProblem) -> StrategyResult:
    """Searches by DrNAS."""
    return bilevel(
        problem,
        lambda supernet, generator, _progress: dirichlet(supernet.logits(), generator=generator),
        first_order,
        mixture=mean_weights,
        choice_weights=mean_weights,
        frozen_share=FROZEN_SHARE,
    )
