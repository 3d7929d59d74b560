"""The sum of the networks that were trained on one modality each: late fusion that takes no training of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from nas.architecture import Choice
from nas.data.fusion_data import Task
from nas.graph import FusionNetwork, Head
from nas.space import FusionNode, SearchSpace

PULL = 1e-3
"""How strongly weights are pulled towards 1: loss per squared logarithm."""

FOLDS = 5
"""Parts of the architecture split, by which the score of the sum is told there."""


def can_be_summed(space: SearchSpace) -> bool:
    """Whether the space names a network for every modality alone, each of which carries one tap to the head."""
    alone = [reference.architecture for reference in space.references if reference.kind == "modality"]
    active = [[choice.operation for _, choice in one.choices if choice.inputs] for one in alone]
    read = [name for one in alone for name in one.modalities()]
    return all(operations == ["carry"] for operations in active) and sorted(read) == sorted(space.modalities)


def trust(task: Task, outputs: Tensor, targets: Tensor, constant: Tensor) -> list[float]:
    """How much each network's evidence is to count, fitted to held-out samples: what it claims may be too sure.

    For classes and labels the weights w_i of `summed`, of the lowest mean loss; they are inverse temperatures (Guo et
    al. 2017, "On Calibration of Modern Neural Networks", section 4.2), fitted together. For regression the inverse of
    the mean squared errors, with the sum one: the precision-weighted mean.

    Args:
        task: What the target is.
        outputs: Of every network, (networks, n, outputs).
        targets: (n,) or (n, outputs).
        constant: The best constant answer, (outputs,).
    """
    outputs, constant = outputs.double().cpu(), constant.double().cpu()
    if task == "regression":
        precision = 1 / (outputs - targets.cpu()).square().mean(dim=(1, 2)).clamp(min=1e-30)
        return [float(one) for one in precision / precision.sum()]
    logs = torch.zeros(len(outputs), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logs], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        evidence = _combined(task, outputs, constant, logs.exp())
        # `sample_losses` would round to float32. The last term keeps weights of perfect answers finite.
        loss = cross_entropy if task == "classification" else binary_cross_entropy_with_logits
        total = loss(evidence, targets.cpu()) + PULL * logs.square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimizer.step(closure)
    return [float(one) for one in logs.detach().exp()]


def cross_fitted(task: Task, outputs: Tensor, targets: Tensor, constant: Tensor) -> Tensor:
    """What the sum says of the samples that its weights are fitted to, each time by weights fitted to the others.

    So its score on the architecture split can be compared with those of networks that learn nothing from that split.

    Args:
        task: As in `trust`, like the others.
        outputs: (networks, n, outputs).
        targets: (n,) or (n, outputs).
        constant: (outputs,).

    Returns:
        (n, outputs).
    """
    found = torch.empty_like(outputs[0])
    count = len(found)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    for fold in range(min(FOLDS, count)):
        held_out, rest = order[fold::FOLDS], torch.ones(count, dtype=torch.bool)
        rest[held_out] = count == 1  # there are no others
        weights = torch.tensor(trust(task, outputs[:, rest], targets[rest], constant))
        found[held_out] = _combined(task, outputs[:, held_out], constant, weights)
    return found


def _combined(task: Task, outputs: Tensor, constant: Tensor, weights: Tensor) -> Tensor:
    """The outputs of `summed` from those of its networks, (n, outputs); of classes up to what all of them share."""
    weights = weights.to(outputs)[:, None, None]
    if task == "regression":
        return (weights * outputs).sum(dim=0)
    return (weights * (outputs - constant)).sum(dim=0) + constant


def summed(
    task: Task, alone: Mapping[str, FusionNetwork], constant: Tensor, weights: Sequence[float] | None = None
) -> FusionNetwork:
    """One network that puts out what independent evidence comes to.

    log p(y | x_1, …, x_m) = Σ_i w_i log p_i(y | x_i) − (Σ_i w_i − 1) log p(y) + a constant, with all w_i = 1 naive
    Bayes over modalities; for labels the same of each one's logits, and for regression Σ_i w_i f_i(x_i). Every network
    here is a head on the mean over time of one adapted tap, so their sum is one head on these means side by side: the
    adapters write to channels of their own, and nodes that carry them add them up.

    Args:
        task: What the target is.
        alone: Modality to the trained network that carries its tap to the head, at least one.
        constant: The best constant answer, log p(y), (outputs,).
        weights: Of every network, see `trust`; None for ones, or for equal shares in regression.

    Returns:
        The network, in evaluation mode; its weights are copies.
    """
    networks = list(alone.values())
    taps = {name: network.needed_taps(network.routes[0])[0] for name, network in alone.items()}
    names = [f"fusion{number}" for number in range(len(taps))]
    nodes = tuple(
        FusionNode(name, (Choice("carry", (tap,)),), residual=before)
        for name, tap, before in zip(names, taps.values(), [None, *names], strict=False)
    )
    first = networks[0]
    depths = {name: network.space.depths[name] for name, network in alone.items()}
    space = SearchSpace(first.space.name, depths, nodes, first.space.operations)
    channels = sum(network.channels for network in networks)
    head = Head(channels, first.head.linear.out_features, first.head.shift, first.head.scale)
    encoders = {name: copy.deepcopy(network.encoder(name)) for name, network in alone.items()}
    whole = FusionNetwork(space, encoders, head, channels=channels, dropout_rate=0.0, task=task)
    whole.to(first.head.shift.device)
    shares = weights or [1 / len(networks) if task == "regression" else 1.0] * len(networks)
    with torch.no_grad():
        for parameter in [*whole.adapters.parameters(), *head.parameters()]:
            parameter.zero_()
        start = 0
        for (name, network), share in zip(alone.items(), shares, strict=True):
            own = slice(start, start + network.channels)
            _linear(whole, taps[name]).weight[own] = _linear(network, taps[name]).weight
            _linear(whole, taps[name]).bias[own] = _linear(network, taps[name]).bias
            head.linear.weight[:, own] = share * network.head.linear.weight
            head.linear.bias.add_(share * network.head.linear.bias)
            start = own.stop
        if task != "regression":
            head.linear.bias.sub_((sum(shares) - 1) * constant.to(head.linear.bias))
    return whole.eval()


def _linear(network: FusionNetwork, tap: str) -> torch.nn.Linear:
    linear = network.adapter(tap).get_submodule("linear")
    assert isinstance(linear, torch.nn.Linear)
    return linear


__all__ = ["can_be_summed", "cross_fitted", "summed", "trust"]
