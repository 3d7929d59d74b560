"""Scores of architectures on the architecture split with the supernet's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.data.batches import Batch, in_order
from nas.metrics import sample_losses
from nas.network.fusion_network import FusionNetwork, add_states
from nas.network.prediction import EVALUATION_BATCH, autocast
from nas.space.architecture import Architecture, is_tap
from nas.tasks import Task

MAX_SAMPLES = 2048
"""At most so many samples of the architecture split are read: a standard error needs no more."""

_CHUNK_ELEMENTS = 4_000_000


def scored_samples(batch: Batch, max_samples: int = MAX_SAMPLES) -> Batch:
    """The architecture split, or a fixed random subset of it if it is larger."""
    if len(batch) <= max_samples:
        return batch
    return batch.take(drawn(len(batch), max_samples).to(batch.targets.device))


def drawn(num_samples: int, max_samples: int) -> Tensor:
    """Indices of so many samples at most, always the same ones, ascending."""
    order = torch.randperm(num_samples, generator=torch.Generator().manual_seed(0))
    return order[:max_samples].sort().values


class _Key(NamedTuple):
    """What decides the state of a node: its choice, and the states that it reads."""

    node: str
    choice: int
    read: tuple[_Key, ...]


class PathScorer:
    """Losses of one-hot selections of a supernet.

    Taps are computed once, and architectures that begin alike share the states of the nodes in which they are alike.
    Where every node reads taps alone and adds to the node before, nothing but sums differs: the head is linear in the
    sum of the nodes' outputs, so every choice runs once, and an architecture costs a few additions.

    Args:
        network: The supernet; put into evaluation mode.
        task: What the target is.
        batch: The architecture split; of more than `max_samples`, a fixed random subset is read.
        device: Where the network is.
        max_samples: See `MAX_SAMPLES`.
    """

    def __init__(
        self, network: FusionNetwork, task: Task, batch: Batch, device: torch.device, *, max_samples: int = MAX_SAMPLES
    ) -> None:
        self.network = network.eval()
        self.task: Task = task
        self.batch = scored_samples(batch, max_samples).to(device)
        self.device = device
        self._table = self._contributions() if network.space.is_sum() else None

    @torch.no_grad()
    def _contributions(self) -> list[Tensor]:
        """For every node what each choice adds to the outputs, (choices, samples, outputs)."""
        network, space = self.network, self.network.space
        every = {node.name: torch.ones(len(node.choices)) for node in space.nodes}
        rows: list[list[list[Tensor]]] = [[[] for _ in node.choices] for node in space.nodes]
        for part in in_order(self.batch, EVALUATION_BATCH, self.device):
            with autocast(self.device):
                taps = network.taps(part.inputs, network.needed_taps(every), part.present)
                for node, found in zip(space.nodes, rows, strict=True):
                    for index in range(len(node.choices)):
                        output = network.run_choice(node, index, taps)
                        if output is None:
                            found[index].append(torch.zeros(len(part), network.head.scale.numel(), device=self.device))
                        else:
                            pooled = output.float().mean(dim=1)
                            found[index].append((pooled @ network.head.linear.weight.T.float()) * network.head.scale)
        return [torch.stack([torch.cat(parts) for parts in found]) for found in rows]

    @torch.no_grad()
    def losses(self, indices: NDArray[np.int64] | Sequence[tuple[int, ...]]) -> Tensor:
        """The loss of every sample under every architecture.

        Args:
            indices: Choice index of every node, (architectures, nodes).

        Returns:
            (architectures, samples), on the CPU.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        num_samples, num_outputs = len(self.batch), self.network.head.scale.numel()
        chunk = max(1, _CHUNK_ELEMENTS // (num_samples * num_outputs))
        # Filled in place: small results between large blocks would leave holes in memory that no block fits into again.
        found = torch.empty(len(wanted), num_samples)
        for start in range(0, len(wanted), chunk):
            rows = wanted[start : start + chunk]
            outputs = self._outputs(rows).flatten(0, 1)
            targets = self.batch.targets.repeat(len(rows), *([1] * (self.batch.targets.dim() - 1)))
            losses = sample_losses(self.task, outputs, targets, self.network.head.scale)
            found[start : start + chunk] = losses.view(len(rows), -1)
        return found

    def _outputs(self, rows: NDArray[np.int64]) -> Tensor:
        """(architectures, samples, outputs), from the table if there is one."""
        if self._table is None:
            return self.run(rows)
        head = self.network.head
        chosen = torch.from_numpy(rows).to(self.device)
        outputs = head.linear.bias * head.scale + head.shift
        for column, table in enumerate(self._table):
            outputs = outputs + table[chosen[:, column]]
        return outputs

    @torch.no_grad()
    def run(self, rows: NDArray[np.int64]) -> Tensor:
        """What the network puts out under each architecture, (architectures, samples, outputs), in any space."""
        network, nodes = self.network, self.network.space.nodes
        # An architecture before the one that it shares most nodes with; of the order nothing else depends.
        order = sorted(range(len(rows)), key=lambda row: tuple(rows[row]))
        every = {node.name: torch.ones(len(node.choices)) for node in nodes}
        found: list[list[Tensor]] = [[] for _ in rows]
        for part in in_order(self.batch, EVALUATION_BATCH, self.device):
            with autocast(self.device):
                taps = network.taps(part.inputs, network.needed_taps(every), part.present)
                states: dict[_Key, Tensor | None] = {}
                for row in order:
                    path = {node.name: int(chosen) for node, chosen in zip(nodes, rows[row], strict=True)}
                    states, last = self._states(taps, path, states)
                    found[row].append(network.answer(last, len(part)).float())
        return torch.stack([torch.cat(parts) for parts in found])

    def _states(
        self, taps: Mapping[str, Tensor], path: Mapping[str, int], known: Mapping[_Key, Tensor | None]
    ) -> tuple[dict[_Key, Tensor | None], Tensor | None]:
        """The states of the nodes that a path depends on, by all that decides them, and the last of them.

        Args:
            taps: All that are read.
            path: Of every node the choice, by index.
            known: States of another path, of which those that are the same are not computed again.
        """
        network, live = self.network, self.network.live_nodes(path)
        values: dict[str, Tensor | None] = dict(taps)
        keys: dict[str, _Key] = {}
        for node in network.space.nodes:
            if node.name not in live:
                continue
            index = path[node.name]
            before = [node.residual] if node.residual else []
            read = [name for name in (*node.choices[index].inputs, *before) if not is_tap(name)]
            key = keys[node.name] = _Key(node.name, index, tuple(keys[name] for name in read))
            if key in known:
                values[node.name] = known[key]
            else:
                output = network.run_choice(node, index, values)
                values[node.name] = add_states(values[before[0]] if before else None, output)
        return {key: values[name] for name, key in keys.items()}, values[network.space.nodes[-1].name]

    def loss(self, architecture: Architecture) -> float:
        """Mean loss of one architecture."""
        return float(self.losses([self.network.space.index(architecture)]).mean())


def standard_errors(differences: Tensor) -> Tensor:
    """The mean of paired differences in units of its standard error; 0 if there is none.

    Args:
        differences: (…, samples), at least 2 samples.

    Returns:
        (…,).
    """
    errors = differences.std(dim=-1) / differences.shape[-1] ** 0.5
    found: Tensor = differences.mean(dim=-1) / errors.clamp(min=1e-12)
    return found


def paired_z(losses: Tensor, best: Tensor) -> Tensor:
    """How many standard errors each row lies above the best one, by sample-wise differences.

    Args:
        losses: (architectures, samples).
        best: (samples,).

    Returns:
        (architectures,); 0 for rows equal to the best.
    """
    return standard_errors(losses - best)
