"""The sum of the networks that were trained on one modality each: late fusion that takes no training of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from nas.architecture import Choice
from nas.data.fusion_data import Task
from nas.graph import FusionNetwork, Head
from nas.metrics import constant_outputs
from nas.space import FusionNode, SearchSpace


def can_be_summed(space: SearchSpace) -> bool:
    """Whether the space names a network for every modality alone, each of which carries one tap to the head."""
    alone = [reference.architecture for reference in space.references if reference.kind == "modality"]
    active = [[choice.operation for _, choice in one.choices if choice.inputs] for one in alone]
    read = [name for one in alone for name in one.modalities()]
    return all(operations == ["carry"] for operations in active) and sorted(read) == sorted(space.modalities)


def summed(task: Task, alone: Mapping[str, FusionNetwork], fitted_on: Tensor) -> FusionNetwork:
    """One network that puts out what independent evidence comes to.

    log p(y | x_1, …, x_m) = Σ_i log p_i(y | x_i) − (m − 1) log p(y) + a constant (naive Bayes over modalities), for
    labels the same of each one's logits, and for regression the mean of the predictions. Every network here is a head
    on the mean over time of one adapted tap, so their sum is one head on these means side by side: the adapters write
    to channels of their own, and nodes that carry them add them up.

    Args:
        task: What the target is.
        alone: Modality to the trained network that carries its tap to the head, at least one.
        fitted_on: Targets of the weights split, from which p(y) is measured.

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
    share = 1 / len(networks) if task == "regression" else 1.0
    with torch.no_grad():
        for parameter in [*whole.adapters.parameters(), *head.parameters()]:
            parameter.zero_()
        start = 0
        for name, network in alone.items():
            own = slice(start, start + network.channels)
            _linear(whole, taps[name]).weight[own] = _linear(network, taps[name]).weight
            _linear(whole, taps[name]).bias[own] = _linear(network, taps[name]).bias
            head.linear.weight[:, own] = share * network.head.linear.weight
            head.linear.bias.add_(share * network.head.linear.bias)
            start = own.stop
        if task != "regression":
            prior = constant_outputs(task, fitted_on[:1], fitted_on)[0].to(head.linear.bias)
            head.linear.bias.sub_((len(networks) - 1) * prior)
    return whole.eval()


def _linear(network: FusionNetwork, tap: str) -> torch.nn.Linear:
    linear = network.adapter(tap).get_submodule("linear")
    assert isinstance(linear, torch.nn.Linear)
    return linear


__all__ = ["can_be_summed", "summed"]
