"""The sum of the networks that were trained on one modality each: late fusion that takes no training of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from nas.network.fusion_network import FusionNetwork, Head
from nas.space.architecture import Architecture, tap_modality
from nas.space.search_space import SearchSpace
from nas.tasks import TASKS, Task
from nas.training.folds import folds

PULL = 1e-3
"""How strongly weights are pulled towards 1: loss per squared logarithm."""


def can_be_summed(space: SearchSpace) -> bool:
    """Whether the space names a network for every modality alone, and a late fusion that adds up the very same taps."""
    late = late_fusion(space)
    unimodal = [one.architecture.steps for one in space.references if one.kind == "modality"]
    carried = {
        steps[0].inputs[0] for steps in unimodal if [space.operations[s.operation].carries for s in steps] == [True]
    }
    steps = late.steps if late else ()
    is_linear = [space.operations[step.operation].is_linear for step in steps] == [True]
    return is_linear and set(steps[0].inputs) <= carried


def late_fusion(space: SearchSpace) -> Architecture | None:
    """The space's late fusion; None if it names none."""
    return next((one.architecture for one in space.references if one.kind == "late"), None)


def trust(task: Task, outputs: Tensor, targets: Tensor, constant: Tensor, *, pull: float = PULL) -> list[float]:
    """How much each network's evidence is to count, fitted to held-out samples: what it claims may be too sure.

    For classes and labels the weights w_i of `summed`, of the lowest mean loss; they are inverse temperatures (Guo et
    al. 2017, "On Calibration of Modern Neural Networks", section 4.2), fitted together. For regression the inverse of
    the mean squared errors, with the sum one: the precision-weighted mean.

    Args:
        task: What the target is.
        outputs: Of every network, (networks, n, outputs).
        targets: (n,) or (n, outputs).
        constant: The best constant answer, (outputs,).
        pull: How strongly weights are pulled towards 1: loss per squared logarithm.
    """
    outputs, constant = outputs.double().cpu(), constant.double().cpu()
    if not TASKS[task].has_probabilities:
        precision = 1 / (outputs - targets.cpu()).square().mean(dim=(1, 2)).clamp(min=1e-30)
        return [float(one) for one in precision / precision.sum()]
    logs = torch.zeros(len(outputs), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logs], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        evidence = TASKS[task].combined(outputs, constant, logs.exp())
        # `sample_losses` would round to float32. The last term keeps weights of perfect answers finite.
        loss = cross_entropy if task == "classification" else binary_cross_entropy_with_logits
        total = loss(evidence, targets.cpu()) + pull * logs.square().sum()
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
    for part, rest in folds(len(found)):
        weights = torch.tensor(trust(task, outputs[:, rest], targets[rest], constant))
        found[part] = TASKS[task].combined(outputs[:, part], constant, weights)
    return found


def summed(
    task: Task,
    late: Architecture,
    unimodal: Mapping[str, FusionNetwork],
    constant: Tensor,
    weights: Sequence[float] | None = None,
) -> FusionNetwork:
    """One network that puts out what independent evidence comes to.

    log p(y | x_1, …, x_m) = Σ_i w_i log p_i(y | x_i) − (Σ_i w_i − 1) log p(y) + a constant, with all w_i = 1 naive
    Bayes over modalities; for labels the same of each one's logits, and for regression Σ_i w_i f_i(x_i). It is late
    fusion as the space names it: each network's adapter comes first, the sum's maps are the networks' own heads, and
    the head is the identity. So it is saved, exported and explained as any other network is. Where the lengths of taps
    do not divide each other it is a little off: steps are repeated unevenly when they are matched.

    Args:
        task: What the target is.
        late: The space's late fusion, see `can_be_summed`.
        unimodal: Modality to the trained network that carries its tap to the head, for all of a space's modalities.
        constant: The best constant answer, log p(y), (outputs,).
        weights: Of every network, see `trust`; None for ones, or for equal shares in regression.

    Returns:
        The network, in evaluation mode; its weights are copies. It has as many channels as the networks, or as outputs
        if these are more.
    """
    networks = list(unimodal.values())
    first = networks[0]
    (step,) = late.steps
    outputs = first.head.linear.out_features
    channels = max(first.channels, outputs)
    head = Head(channels, outputs, first.head.shift, first.head.scale)
    encoders = {name: copy.deepcopy(network.encoder(name)) for name, network in unimodal.items()}
    whole = FusionNetwork(first.space.only(late), encoders, head, channels=channels, dropout_rate=0.0)
    whole.to(first.head.shift.device)
    shares = weights or [1.0 if TASKS[task].has_probabilities else 1 / len(networks)] * len(networks)
    operation = whole.operation(step.name, step.choice.key)
    maps = dict(zip(step.inputs, operation.get_submodule("maps").children(), strict=True))
    bias = operation.get_parameter("bias")
    with torch.no_grad():
        for parameter in [*whole.adapters.parameters(), *operation.parameters(), *head.parameters()]:
            parameter.zero_()
        head.linear.weight.fill_diagonal_(1)
        for network, share in zip(networks, shares, strict=True):
            (tap,) = network.needed_taps(network.selection)
            (source,) = (one for one in step.inputs if tap_modality(one) == tap_modality(tap))
            _linear(whole, source).weight[: network.channels] = _linear(network, tap).weight
            _linear(whole, source).bias[: network.channels] = _linear(network, tap).bias
            adapted = maps[source].get_parameter("weight")
            adapted[:outputs, : network.channels] = share * network.head.linear.weight
            bias[:outputs] += share * network.head.linear.bias
        if TASKS[task].has_probabilities:
            bias[:outputs] -= (sum(shares) - 1) * constant.to(bias)
    return whole.eval()


def _linear(network: FusionNetwork, tap: str) -> torch.nn.Linear:
    linear = network.adapter(tap).get_submodule("linear")
    assert isinstance(linear, torch.nn.Linear)
    return linear


__all__ = ["can_be_summed", "cross_fitted", "late_fusion", "summed", "trust"]
