"""Training many networks of one architecture at once: the same steps as `nas.training.train.train`, in batched kernels.

Networks of a few thousand weights spend their time in the overhead of each kernel. Stacked along a new first axis
(`torch.func.vmap`), dozens of them share that overhead. Each has data, initial weights, order of samples and dropout of
its own, its own gradient clipping, and its own best epoch; those that have run out of patience leave the stack.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from nas.config import TrainingConfig
from nas.data.batches import Batch, batch_bounds
from nas.metrics import sample_losses
from nas.network.fusion_network import FusionNetwork
from nas.seeding import seeded
from nas.training.epoch_loop import steps_per_epoch

State = dict[str, Tensor]
COMPACT_BELOW = 0.75
"""Share of the stack that must still be training, or else the others leave it."""

EVALUATED_AT_ONCE = 20_000
"""Samples, over all networks, that an evaluation takes at once."""


@dataclass(frozen=True, eq=False)
class ManyTrained:
    """What became of many networks.

    Attributes:
        states: Name to stacked parameters of every network's best epoch, and its buffers, (networks, …).
        losses: Of the samples of the architecture split at that epoch, (networks, samples).
        num_epochs: Epochs until each network stopped, (networks,).
    """

    states: State
    losses: Tensor
    num_epochs: Tensor


def train_many(
    networks: Sequence[FusionNetwork],
    weights: Batch,
    architecture: Batch,
    config: TrainingConfig,
    *,
    seeds: Sequence[int],
) -> ManyTrained:
    """Trains networks of one architecture for classification, each by itself.

    Args:
        networks: Of one architecture, with their initial weights.
        weights: The weights split of every network, stacked: every tensor (networks, samples, …).
        architecture: The architecture split likewise.
        config: How to train.
        seeds: Of each network's order of samples; networks of one seed see the same order.
    """
    parameters, buffers = stack_module_state(list(networks))
    parameters = {name: value.detach() for name, value in parameters.items()}
    base = copy.deepcopy(networks[0]).to("meta")
    base.train()

    def loss_of(parameters: State, buffers: State, inputs: Mapping[str, list[Tensor]], targets: Tensor) -> Tensor:
        outputs = functional_call(base, (parameters, buffers), (inputs,))
        return sample_losses("classification", outputs, targets).mean()

    gradients = vmap(grad_and_value(loss_of), randomness="different")
    samples = weights.targets.shape[1]
    per_epoch, num_epochs = steps_per_epoch(samples, config), config.num_epochs(samples)
    optimizer = torch.optim.AdamW(
        [value.requires_grad_() for value in parameters.values()],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=max(2, num_epochs * per_epoch) + 1, pct_start=0.15
    )
    generators = {seed: torch.Generator().manual_seed(seed) for seed in dict.fromkeys(seeds)}
    best = _Best.none(parameters, len(networks), architecture.targets.shape[1])
    left = torch.arange(len(networks))  # those that are still in the stack
    seed_of = torch.tensor(list(seeds))
    stopped_after = torch.full((len(networks),), num_epochs)
    with seeded(seeds[0]):
        for epoch in range(num_epochs):
            order_of = {seed: torch.randperm(samples, generator=generator) for seed, generator in generators.items()}
            orders = torch.stack([order_of[seed] for seed in seed_of[left].tolist()])
            rows = left[:, None]
            for start, end in batch_bounds(samples, config.batch_size):
                some = orders[:, start:end]
                inputs = {name: [a[rows, some] for a in arrays] for name, arrays in weights.inputs.items()}
                found, _ = gradients(parameters, buffers, inputs, weights.targets[rows, some])
                norms = torch.stack([g.flatten(1).norm(dim=1) for g in found.values()]).norm(dim=0)
                scale = (config.gradient_clip / (norms + 1e-6)).clamp(max=1)
                for name, value in parameters.items():
                    value.grad = found[name] * scale.view(-1, *[1] * (value.dim() - 1))
                optimizer.step()
                scheduler.step()
            losses, right = evaluate_many(base, parameters, buffers, architecture, left)
            base.train()
            best.update(epoch, left, parameters, losses, right.float().mean(dim=1))
            alive = (epoch - best.epochs[left] < config.patience) if config.patience else left >= 0
            stopped_after[left[~alive & (stopped_after[left] == num_epochs)]] = epoch + 1
            if not alive.any():
                break
            if alive.float().mean() < COMPACT_BELOW:
                kept = torch.nonzero(alive).flatten()
                left = left[kept]
                buffers = {name: value[kept] for name, value in buffers.items()}
                parameters = _keep(optimizer, parameters, kept)
    states = {**best.parameters, **stack_module_state(list(networks))[1]}
    return ManyTrained(states, best.losses, stopped_after)


def _keep(optimizer: torch.optim.Optimizer, parameters: State, rows: Tensor) -> State:
    """The parameters of some networks alone, the optimizer's memory of them along with them."""
    kept = {name: value.detach()[rows].requires_grad_() for name, value in parameters.items()}
    for old, new in zip(parameters.values(), kept.values(), strict=True):
        memory = optimizer.state.pop(old)
        optimizer.state[new] = {
            key: value[rows] if value.shape == old.shape else value for key, value in memory.items()
        }
    optimizer.param_groups[0]["params"] = list(kept.values())
    return kept


@torch.no_grad()
def evaluate_many(
    network: FusionNetwork, parameters: State, buffers: State, batch: Batch, left: Tensor
) -> tuple[Tensor, Tensor]:
    """Losses of networks on their samples, and whether each is right: (networks, samples) both.

    Args:
        network: Of the architecture of all.
        parameters: Stacked, (networks, …) each.
        buffers: Likewise.
        batch: Of these networks and perhaps more: every tensor (all networks, samples, …).
        left: Which of the batch's networks these are, (networks,).
    """
    network.eval()

    def outputs_of(parameters: State, buffers: State, inputs: Mapping[str, list[Tensor]]) -> Tensor:
        outputs: Tensor = functional_call(network, (parameters, buffers), (inputs,))
        return outputs

    run = vmap(outputs_of)
    at_once = max(1, EVALUATED_AT_ONCE // batch.targets.shape[1])
    losses, right = [], []
    for start in range(0, len(left), at_once):
        rows = slice(start, start + at_once)
        inputs = {name: [a[left[rows]] for a in arrays] for name, arrays in batch.inputs.items()}
        outputs = run({k: v[rows] for k, v in parameters.items()}, {k: v[rows] for k, v in buffers.items()}, inputs)
        targets = batch.targets[left[rows]]
        flat = sample_losses("classification", outputs.flatten(0, 1), targets.flatten())
        losses.append(flat.view(targets.shape))
        right.append(outputs.argmax(dim=2) == targets)
    return torch.cat(losses), torch.cat(right)


@dataclass(eq=False)
class _Best:
    """The best epoch of every network so far, as `nas.training.train.train` picks it: by accuracy, then by loss."""

    parameters: State
    losses: Tensor
    scores: Tensor
    epochs: Tensor

    @classmethod
    def none(cls, parameters: State, networks: int, samples: int) -> _Best:
        copied = {name: value.detach().clone() for name, value in parameters.items()}
        return cls(
            copied,
            torch.full((networks, samples), math.inf),
            torch.full((networks,), -1.0),
            torch.full((networks,), -1),
        )

    def update(self, epoch: int, left: Tensor, parameters: State, losses: Tensor, scores: Tensor) -> None:
        """Takes in an epoch of those networks that are left in the stack."""
        tie = (scores == self.scores[left]) & (losses.mean(dim=1) < self.losses[left].mean(dim=1))
        now = torch.nonzero((scores > self.scores[left]) | tie).flatten()
        rows = left[now]
        for name, value in parameters.items():
            self.parameters[name][rows] = value.detach()[now]
        self.losses[rows], self.scores[rows], self.epochs[rows] = losses[now], scores[now], epoch
