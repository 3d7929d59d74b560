"""What a strategy sees and what it returns."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from nas.architecture import Architecture
from nas.candidates import Candidates
from nas.checkpoint import NOWHERE, Checkpoints, Slot
from nas.data.batches import Batch
from nas.data.fusion_data import FusionData
from nas.encoders import EncoderBuilder
from nas.errors import UserError
from nas.graph import FusionNetwork
from nas.space import SearchSpace
from nas.training import Log, Trained, TrainingConfig, build_network, seeded, train


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How the search is done.

    Attributes:
        length: Length of the search in epochs, as a multiple of the epochs of one fixed training; 0 for automatic: 1 on
            cached taps, 2 where encoders train along and have to be shared first.
        architecture_learning_rate: Of Adam on the architecture logits.
        architecture_weight_decay: Of the same.
        trainings: How many architectures `random` trains from scratch.
        budget_seconds: Wall time after which the search comes to its end; 0 for no limit.
    """

    length: float = 0.0
    architecture_learning_rate: float = 3e-3
    architecture_weight_decay: float = 1e-3
    trainings: int = 3
    budget_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not self.length >= 0:
            raise UserError(f"length must be 0 (automatic) or positive, got {self.length}")
        if self.trainings < 1:
            raise UserError(f"trainings must be at least 1, got {self.trainings}")
        if self.budget_seconds < 0:
            raise UserError(f"budget must not be negative, got {self.budget_seconds}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """All that a strategy sees. The test split is not among it.

    Attributes:
        space: What may be chosen.
        data: For its sizes and the statistics of its weights split.
        weights: The weights split, on the device if it fits.
        architecture: The architecture split, likewise.
        training: How networks are trained.
        search: How the search is done.
        seed: Of every draw.
        device: Where networks are.
        builders: Encoder builders that replace the defaults.
        log: Called with a record of the search now and then.
        alone_loss: Lowest loss on the architecture split of a modality trained alone; infinite if none was.
        checkpoints: Where trainings keep their states.
        started: When the search began, by the clock of `checkpoints`.
    """

    space: SearchSpace
    data: FusionData
    weights: Batch
    architecture: Batch
    training: TrainingConfig
    search: SearchConfig
    seed: int
    device: torch.device
    builders: Mapping[str, EncoderBuilder] | None = None
    log: Log = lambda _record: None
    alone_loss: float = math.inf
    checkpoints: Checkpoints = NOWHERE
    started: float = field(default_factory=time.perf_counter)

    def make_network(self, space: SearchSpace | None = None) -> FusionNetwork:
        """A fresh network on the device: the supernet, or another space's, initialised from the seed."""
        with seeded(self.seed):
            return build_network(space or self.space, self.data, self.training, self.builders).to(self.device)

    def slot(self, kind: str, *identity: Any) -> Slot:
        """Where one training of this search keeps its state; see `nas.checkpoint.Checkpoints.slot`."""
        return self.checkpoints.slot(kind, self.seed, *identity)

    def train_from_scratch(self, architecture: Architecture) -> Trained:
        """The derived network of an architecture, initialised and trained from the seed."""
        return train(
            self.make_network(self.space.restrict(architecture)),
            self.data.task,
            self.weights,
            self.architecture,
            self.training,
            seed=self.seed,
            device=self.device,
            slot=self.slot("candidate", architecture.to_dict(), asdict(self.training)),
        )

    def generator(self) -> random.Random:
        """A generator of choices, from the seed."""
        return random.Random(self.seed)

    def num_epochs(self, network: FusionNetwork) -> int:
        """Passes over the weights split that a search with this supernet takes."""
        length = self.search.length or (2.0 if encoders_train(network) else 1.0)
        return max(1, round(length * self.training.num_epochs(len(self.weights))))

    def elapsed_seconds(self) -> float:
        """Wall time since the search began, without that between a stop and its resumption."""
        return self.checkpoints.now() - self.started

    def spent(self) -> float:
        """Share of the budget that is spent; 0 when there is no limit."""
        budget = self.search.budget_seconds
        return self.elapsed_seconds() / budget if budget else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Explored:
    """What a strategy learned.

    Attributes:
        network: The trained supernet, or None for a strategy that has none.
        beliefs: Node to a weight for each of its choices, summing to one.
        architecture: The strategy's own decision, for one that has no supernet to read out.
        loss: Loss on the architecture split before discretization.
        candidates: Architectures that were scored already, for a strategy that has the best path to judge by.
    """

    network: FusionNetwork | None
    beliefs: Mapping[str, Sequence[float]]
    architecture: Architecture | None = None
    loss: float = float("nan")
    candidates: Candidates | None = None


Strategy = Callable[[Problem], Explored]


def encoders_train(network: FusionNetwork) -> bool:
    """Whether encoders have weights to learn, and not only ready-made features to pass on."""
    return any(parameter.requires_grad for parameter in network.encoders.parameters())
