"""Relaxations: how the discrete choice of every node becomes something that a gradient or a coin can move."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.network.fusion_network import PartialChannels, StraightThrough
from nas.seeding import seeded
from nas.space.search_space import SearchSpace


def softmax(arch_logits: Mapping[str, Tensor], *, temperature: float = 1.0) -> dict[str, Tensor]:
    """Mixing weights of every node, (choices,) each, positive and summing to one.

    Liu et al. 2019, "DARTS: Differentiable Architecture Search", Eq. 2. The paper has no temperature; 1.0 gives its
    form.

    Raises:
        ValueError: If the temperature is not positive.
    """
    _check_temperature(temperature)
    return {node: (logits / temperature).softmax(dim=0) for node, logits in arch_logits.items()}


def gumbel(
    arch_logits: Mapping[str, Tensor], *, temperature: float, generator: torch.Generator
) -> dict[str, StraightThrough]:
    """A one-hot draw of every node by straight-through Gumbel-softmax.

    Dong and Yang 2019, "Searching for a Robust Neural Architecture in Four GPU Hours" (GDAS), Eqs. 5 to 7:
    p = softmax((log_softmax(logits) + Gumbel noise) / temperature), h = onehot(argmax p) − stopgrad(p) + p. Here the
    uniform draw behind the noise is kept away from 0 and 1, so no draw is infinite and none has to be repeated.

    Args:
        arch_logits: Node to logits, (choices,).
        temperature: Positive; the paper goes from 10 down to 0.1.
        generator: On the CPU, so that draws are the same on every device.

    Raises:
        ValueError: If the temperature is not positive.
    """
    _check_temperature(temperature)
    selection = {}
    for node, logits in arch_logits.items():
        drawn = one_hot_draw(logits, temperature, generator)
        selection[node] = StraightThrough(int(drawn.argmax()), drawn)
    return selection


def one_hot_draw(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """A one-hot draw by straight-through Gumbel-softmax, in value and shape as the logits, (…, choices).

    With p = softmax((log_softmax(logits) + Gumbel noise) / temperature) it is onehot(argmax p) + (p − stopgrad(p)). The
    uniform draw behind the noise is kept away from 0 and 1, so no draw is infinite and none has to be repeated; and in
    this order the value is one-hot by construction, since x − x is zero in floating point.

    Args:
        logits: (…, choices).
        temperature: Positive.
        generator: On the CPU, so that draws are the same on every device.
    """
    uniform = torch.rand(logits.shape, generator=generator, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
    noise = -torch.log(-torch.log(uniform)).to(dtype=logits.dtype, device=logits.device)
    probabilities = ((logits.log_softmax(dim=-1) + noise) / temperature).softmax(dim=-1)
    hard = F.one_hot(probabilities.argmax(dim=-1), logits.shape[-1]).to(logits.dtype)
    return hard + (probabilities - probabilities.detach())


def concentrations(arch_logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Concentrations of a Dirichlet distribution for every node, (choices,) each: ELU(logits) + 1, positive.

    Chen et al. 2021, "DrNAS: Dirichlet Neural Architecture Search". ELU(x) + 1 is computed as exp(x) below zero, where
    the sum would round to zero, which is no concentration.
    """
    return {
        node: torch.where(logits > 0, logits + 1, logits.clamp(max=0).exp()) for node, logits in arch_logits.items()
    }


def dirichlet(arch_logits: Mapping[str, Tensor], *, generator: torch.Generator) -> dict[str, Tensor]:
    """Mixing weights of every node drawn from its Dirichlet distribution, (choices,) each, summing to one.

    Chen et al. 2021, "DrNAS: Dirichlet Neural Architecture Search": the draw carries the pathwise gradient of the
    concentrations, that of keeping the quantile of the draw where it is (Jankowiak and Obermeyer 2018, "Pathwise
    Derivatives Beyond the Reparameterization Trick"), as torch implements it.

    Args:
        arch_logits: Node to logits, (choices,).
        generator: On the CPU, so that draws are the same on every device.
    """
    drawn = {}
    # torch's draw knows the global generator alone.
    with seeded(int(torch.randint(2**31, (), generator=generator))):
        for node, concentration in concentrations(arch_logits).items():
            weights = torch.distributions.Dirichlet(concentration.double().cpu()).rsample()
            drawn[node] = weights.to(dtype=concentration.dtype, device=concentration.device)
    return drawn


def sigmoid(arch_logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mixing weights of every node, (choices,) each, every one from 0 to 1 by itself.

    Chu et al. 2020, "Fair DARTS: Eliminating Unfair Advantages in Differentiable Architecture Search".
    """
    return {node: logits.sigmoid() for node, logits in arch_logits.items()}


def edge_normalised(
    space: SearchSpace, arch_logits: Mapping[str, Tensor], edge_logits: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Mixing weights of every node, (choices,) each, summing to one: which inputs, times what is done with them.

    After the edge normalization of Xu et al. 2020, "PC-DARTS: Partial Channel Connections for Memory-Efficient
    Architecture Search", where softmax(beta) weighs the edges into a node and softmax(alpha) the operations on an edge.
    Our fusion node has no edges: its choices read sets of taps, and several read the same set. Here such a set is an
    edge, the empty one included; beta goes over the sets, alpha over the choices of a set, and a choice weighs the
    product of both.

    Args:
        space: With the choices of every node.
        arch_logits: Node to alpha, (choices,).
        edge_logits: Node to beta, (edges,), in the order of `FusionNode.edges`.
    """
    weights = {}
    for node in space.nodes:
        alpha, shares = arch_logits[node.name], edge_logits[node.name].softmax(dim=0)
        found = torch.zeros_like(alpha)
        for share, members in zip(shares, node.edges().values(), strict=True):
            index = torch.tensor(members, device=alpha.device)
            found = found.index_copy(0, index, share * alpha[index].softmax(dim=0))
        weights[node.name] = found
    return weights


def partial_channels(
    space: SearchSpace, weights: Mapping[str, Tensor], edge_logits: Mapping[str, Tensor], share: Tensor
) -> dict[str, PartialChannels]:
    """The mixture of every node on some channels, and the sum of what its edges read on the others.

    As in the authors' code, an edge's share weighs what it carries past the operations, too.

    Args:
        space: With the choices of every node.
        weights: Node to mixing weights, (choices,).
        edge_logits: Node to logits of its edges, (edges,).
        share: Of the mixture in every channel, (channels,), 0 to 1.
    """
    selection = {}
    for node in space.nodes:
        shares = edge_logits[node.name].softmax(dim=0)
        carried: dict[str, Tensor] = {}
        for weight, edge in zip(shares, node.edges(), strict=True):
            for name in sorted(edge):
                carried[name] = carried[name] + weight if name in carried else weight
        selection[node.name] = PartialChannels(weights[node.name], carried, share)
    return selection


def fair_paths(
    space: SearchSpace, generator: random.Random, *, nothing_rate: float = 0.6, nested_rate: float = 0.5
) -> list[dict[str, int]]:
    """One sampled path of every interaction order that the space offers: 1, 2 and 3, whatever has order 0 among 1.

    Guo et al. 2020, "Single Path One-Shot Neural Architecture Search with Uniform Sampling", samples all choices alike,
    one path a step. Chu et al. 2021, "FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture
    Search", trains every choice equally often, by several paths a step. Here it is the orders that are trained equally
    often, so that the supernet serves simple architectures as well as complex ones, which are far more. Of a path one
    node, drawn among those that can, bears an operation of exactly the path's order; the others do nothing at a rate of
    its own, or what is of this order or below. Operations are alike, whatever the number of modality subsets that each
    comes with.

    Where nodes stand for one another, the last one bears the order, and reads nodes before it at a rate of its own:
    most of what such a space offers reads some, and what reads none is what most is built of.

    Args:
        space: With its nodes' choices.
        generator: Of the draw.
        nothing_rate: How often a node that may read nothing, and need not bear the order, does so, 0 to 1.
        nested_rate: How often the last node of interchangeable ones reads some of these, 0 to 1.

    Returns:
        One path per order, simple first: node to the index of its choice. A space in which nothing can be read has the
        one path that does nothing.
    """
    choices = [node.by_operation for node in space.nodes]
    if space.interchangeable:
        return [_nested_path(space, choices, order, generator, nested_rate) for order in _orders(space, choices[-1:])]
    orders = _orders(space, choices)
    return [_path_of_order(space, choices, order, generator, nothing_rate) for order in orders or [0]]


def _path_of_order(
    space: SearchSpace,
    choices: Sequence[Mapping[str, Sequence[int]]],
    order: int,
    generator: random.Random,
    nothing_rate: float,
) -> dict[str, int]:
    able = [number for number, some in enumerate(choices) if any(_order(space, name) == order for name in some)]
    bearer = generator.choice(able) if able else -1
    path = {}
    for number, (node, some) in enumerate(zip(space.nodes, choices, strict=True)):
        nothing = node.idle
        if number == bearer:
            within = [indices for name, indices in some.items() if _order(space, name) == order]
        else:
            within = [indices for name, indices in some.items() if _order(space, name) <= order]
            if nothing and (not within or generator.random() < nothing_rate):
                within = [list(nothing)]
        # A node that must read something and has nothing within the order takes what it has.
        path[node.name] = generator.choice(generator.choice(within or list(some.values())))
    return path


def _nested_path(
    space: SearchSpace,
    choices: Sequence[Mapping[str, Sequence[int]]],
    order: int,
    generator: random.Random,
    nested_rate: float,
) -> dict[str, int]:
    """A path whose last node has an order; nodes that nobody reads keep their first choice."""
    last, is_nested = space.nodes[-1], generator.random() < nested_rate
    index = [generator.choice(generator.choice(list(some.values()))) for some in choices]
    able = []
    for name, some in choices[-1].items():
        if _order(space, name) == order:
            reading = [i for i in some if last.nested[i] == is_nested]
            able += [reading] if reading else []
    index[-1] = generator.choice(generator.choice(able)) if able else index[-1]
    return dict(zip((node.name for node in space.nodes), space.own_spelling(tuple(index)), strict=True))


def _orders(space: SearchSpace, choices: Sequence[Mapping[str, Sequence[int]]]) -> list[int]:
    """The interaction orders that some choices have, low to high."""
    return sorted({_order(space, name) for some in choices for name in some})


def _order(space: SearchSpace, operation: str) -> int:
    """Interaction order of an operation; carrying several modalities at several nodes adds them, so carry has 1."""
    return max(1, space.operations[operation].order)


def entropy(mixing_weights: Tensor) -> Tensor:
    """Entropy of mixing weights in nats; 0 when one choice has it all, log(choices) when all are alike."""
    return -(mixing_weights * mixing_weights.clamp(min=1e-12).log()).sum(dim=-1)


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}; 1.0 is the paper's value")
