"""PC-DARTS: the mixture works on a random part of the channels, and what a node reads is its own competitor.

Xu et al. 2020, "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search". Every step a quarter
of the channels is the mixture's, and the others carry a node's inputs past it, see
`nas.network.fusion_network.PartialChannels`; which inputs are read and what is done with them have logits of their own,
see `nas.supernet.relaxation.edge_normalised`; and the architecture rests for the first 30 % of the search, while the
weights learn.

Departures: see `nas.strategies.bilevel`. Operations are as wide as they are in the derived network, since its weights
have to fit the supernet's: they run on all channels, and their output is used on some. So this is the paper's
regularisation, without its saving of memory. The paper takes the first channels and shuffles them behind every edge, so
that each gets its turn; here the channels are shuffled anew at every draw before the first ones are taken, which leaves
the supernet's channels in place. The supernet is judged, as after dropout, by the mean over all draws. A single path of
it has hardly been trained without the inputs that are carried past it, so that its loss says little.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nas.network.fusion_network import PartialChannels
from nas.strategies.base import SearchProblem, StrategyResult
from nas.strategies.bilevel import bilevel, first_order
from nas.supernet.relaxation import edge_normalised, partial_channels
from nas.supernet.supernet import Supernet

PARTS = 4
"""The paper's K for its smaller search: one of so many parts of the channels goes through the mixture."""

FROZEN_SHARE = 0.3
"""The authors' first 15 of 50 epochs."""


def choice_weights(supernet: Supernet) -> dict[str, Tensor]:
    """Node to the products of edge and operation shares, (choices,)."""
    return edge_normalised(supernet.network.space, supernet.logits(), dict(supernet.edge_logits.items()))


def sampled_channels(num_channels: int, generator: torch.Generator) -> Tensor:
    """1 for the first `num_channels` / `PARTS` channels of a shuffled order, at least one, 0 for the others."""
    mask = torch.zeros(num_channels)
    mask[torch.randperm(num_channels, generator=generator)[: max(1, num_channels // PARTS)]] = 1
    return mask


def select(supernet: Supernet, generator: torch.Generator, _progress: float) -> dict[str, PartialChannels]:
    """The mixture on sampled channels, the same ones at every node."""
    return _on(supernet, sampled_channels(supernet.network.channels, generator))


def mixture(supernet: Supernet) -> dict[str, PartialChannels]:
    """The mean of `select` over all draws."""
    channels = supernet.network.channels
    return _on(supernet, torch.full((channels,), max(1, channels // PARTS) / channels))


def _on(supernet: Supernet, share: Tensor) -> dict[str, PartialChannels]:
    share = share.to(supernet.network.head.scale.device)
    edge_logits = dict(supernet.edge_logits.items())
    return partial_channels(supernet.network.space, choice_weights(supernet), edge_logits, share)


def pc_darts(problem: SearchProblem) -> StrategyResult:
    """Searches by PC-DARTS."""
    return bilevel(
        problem,
        select,
        first_order,
        mixture=mixture,
        choice_weights=choice_weights,
        frozen_share=FROZEN_SHARE,
        edges=True,
    )
