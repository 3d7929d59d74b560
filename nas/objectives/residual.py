"""Residual training: simple interactions first, each higher one on what the simpler ones left over.

Multimodal residual optimization (MRO; its sequential form sMRO), with ŷ = y_1 + y_2 + … a sum of single-modality,
pairwise, three-way … predictions, and sg the stop-gradient:

    joint:       loss = sum_i L(y, sg(y_1 + … + y_{i−1}) + y_i)
    sequential:  the losses of the sum one after another, each level frozen when the next one is trained

Here the levels are the network's own nodes, so that the derived network predicts with all of them: level 1 holds what
carries or adds modalities (interaction order 0 or 1), level i the operations of order 2 and 3 that join i modalities.
y_i is the output with the nodes of levels up to i less the output with those below i, where nodes of higher levels put
out nothing. Where each node adds to the state of the one before, as in the space `layerwise`, y_i is the sum of what
the nodes of its level add. Nodes that share a level, and networks of a single level, are trained as without.

Departures: encoders and the head's weights serve all levels, where the paper has a model for each (the head's bias is
in y_1). In sequential training, what the levels below read, encoders and head included, is held fixed while a level
is trained, but for the running statistics of BatchNorm. Each level has all epochs of a training and a learning-rate
cycle of its own, as if it were a network of its own; only the last one may stop early, and only its epochs may be the
best one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nas.errors import UserError
from nas.network.fusion_network import FusionNetwork, Selection
from nas.objectives.base import ForwardPass, Objective, only_choices
from nas.space.architecture import Architecture, is_tap, tap_modality


class Residual(Objective):
    """Trains the levels of each path on what the simpler levels leave over.

    Args:
        network: To be trained.
        sequential: Whether one level is trained after another. A supernet, whose paths differ in their levels, is
            trained jointly all the same.
    """

    replaces_loss = True

    def __init__(self, network: FusionNetwork, *, sequential: bool) -> None:
        super().__init__()
        self.sequential = sequential and network.space.fixed is not None
        self.stages = max(1, len(levels(network, only_choices(network)))) if self.sequential else 1
        self._fixed: list[nn.Parameter] = []
        self._stage = 0

    def loss(self, forward: ForwardPass, progress: float) -> Tensor:
        """Mean over the paths."""
        self._stage = min(self.stages - 1, int(progress * self.stages + 1e-9))
        self._fixed = []
        return torch.stack([self._loss_of(forward, path) for path in forward.selections]).mean()

    def _loss_of(self, forward: ForwardPass, path: Selection) -> Tensor:
        upto = [outputs_up_to(forward, path, level) for level in levels(forward.network, path)]
        if not upto:
            return forward.losses(outputs_up_to(forward, path, 0)).mean()
        if self.sequential:
            below = upto[self._stage - 1] if self._stage else None
            if below is not None:
                self._fixed = _reached(forward.network, below)
            return forward.losses(_on_residual(upto[self._stage], below)).mean()
        pairs = zip(upto, [None, *upto], strict=False)
        return torch.stack([forward.losses(_on_residual(now, below)).mean() for now, below in pairs]).sum()

    def before_step(self, network: FusionNetwork) -> None:  # noqa: ARG002  # the interface of all objectives
        """Holds fixed what the levels below read."""
        for parameter in self._fixed:
            parameter.grad = None

    def counts(self, progress: float) -> bool:
        """Whether the last level has been trained for a while."""
        return self.stages == 1 or progress > (self.stages - 1) / self.stages + 1e-9


def _on_residual(now: Tensor, below: Tensor | None) -> Tensor:
    """sg(y_1 + … + y_{i−1}) + y_i, whose value is that of all levels up to i; gradients reach level i alone."""
    return now if below is None else below.detach() + (now - below)


def levels(network: FusionNetwork, path: Selection) -> list[int]:
    """Levels of the choices that a path makes, each once, the simplest first."""
    return sorted(set(_level_of(network, path).values()))


def _level_of(network: FusionNetwork, path: Selection) -> Mapping[str, int]:
    """Step of a path to its level.

    A step that reads earlier steps joins what they join, and is of no lower level than they, without which it is idle.
    """
    joined: dict[str, set[str]] = {}
    found: dict[str, int] = {}
    for step in _architecture(network, path).steps:
        joined[step.name] = {tap_modality(name) for name in step.inputs if is_tap(name)}
        read = [name for name in step.inputs if not is_tap(name)]
        for name in read:
            joined[step.name] |= joined[name]
        interacts = network.space.operations[step.operation].order > 1
        found[step.name] = max(len(joined[step.name]) if interacts else 1, *(found[name] for name in read), 1)
        if step.add_to is not None:
            joined[step.name] = joined[step.name] | joined[step.add_to]
    return found


def _architecture(network: FusionNetwork, path: Selection) -> Architecture:
    """What a path computes.

    Raises:
        UserError: If the path is a mixture of choices.
    """
    if isinstance(path, Architecture):
        return path
    index = [chosen for chosen in path.values() if isinstance(chosen, int)]
    if len(index) < len(path):
        raise UserError("residual trains single paths: search with the strategy sampled, or retrain with it")
    return network.space.at(index)


def outputs_up_to(forward: ForwardPass, path: Selection, level: int) -> Tensor:
    """What a network puts out with the nodes of levels up to one, the others putting out nothing, (batch, outputs)."""
    silent = [name for name, own in _level_of(forward.network, path).items() if own > level]
    return forward.network.fuse(forward.taps, path, batch_size=len(forward.batch), silent=silent)


def _reached(network: FusionNetwork, outputs: Tensor) -> list[nn.Parameter]:
    """Parameters of the network that some outputs depend on."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    found = torch.autograd.grad(outputs.sum(), parameters, retain_graph=True, allow_unused=True)
    return [parameter for parameter, gradient in zip(parameters, found, strict=True) if gradient is not None]
