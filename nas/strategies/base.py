"""What a strategy sees and what it returns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from nas.config import SearchConfig, TrainingConfig
from nas.data.batches import Batch
from nas.data.fusion_data import FusionData
from nas.encoders import EncoderBuilder
from nas.metrics import sample_losses
from nas.network.cost import CostTable
from nas.network.fusion_network import FusionNetwork
from nas.runs.checkpoint import NOWHERE, Checkpoints, Slot
from nas.runs.metrics_log import Log
from nas.seeding import seeded
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.supernet.candidates import Candidates
from nas.supernet.guards import Guarded
from nas.supernet.relaxation import entropy
from nas.training.build import build_network
from nas.training.train import Trained, train


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchProblem:
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
        evaluator: Takes the place of training an architecture from scratch, such as a look-up in a table of trainings
            that were done before; None for the training.
        measure_cost: Takes the place of measuring the supernet on a sample of `weights`, where that is not the raw data
            that encoders run on; None for the measuring.
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
    evaluator: Evaluator | None = None
    measure_cost: Callable[[FusionNetwork], CostTable] | None = None
    checkpoints: Checkpoints = NOWHERE
    started: float = field(default_factory=time.perf_counter)

    def make_network(self, space: SearchSpace | None = None) -> FusionNetwork:
        """A fresh network on the device: the supernet, or another space's, initialised from the seed."""
        with seeded(self.seed):
            return build_network(space or self.space, self.data, self.training, self.builders).to(self.device)

    def slot(self, kind: str, *identity: Any) -> Slot:
        """Where one training of this search keeps its state; see `nas.runs.checkpoint.Checkpoints.slot`."""
        return self.checkpoints.slot(kind, self.seed, *identity)

    def train_from_scratch(self, architecture: Architecture) -> Trained[FusionNetwork]:
        """The derived network of an architecture, initialised and trained from the seed."""
        return self._train(
            "candidate", architecture, self.make_network(self.space.restrict(architecture)), self.training
        )

    def train_on(
        self,
        network: FusionNetwork,
        architecture: Architecture,
        *,
        share: float,
        judges: Batch | None = None,
    ) -> Trained[FusionNetwork]:
        """The derived network of a static architecture, trained on from a supernet's weights.

        Args:
            network: The supernet; left as it is.
            architecture: Of its space.
            share: Length, as a share of a training from scratch.
            judges: The part of the architecture split by which epochs are judged; None for all of it.
        """
        derived = self.make_network(self.space.restrict(architecture))
        inherit(derived, network)
        kind = "trained on" if judges is None else "trained on and judged apart"
        return self._train(kind, architecture, derived, self.shortened(share), judges)

    def shortened(self, share: float) -> TrainingConfig:
        """How networks are trained, for a share of the epochs of a training from scratch."""
        return replace(self.training, epochs=max(1, round(share * self.training.num_epochs(len(self.weights)))))

    def _train(
        self,
        kind: str,
        architecture: Architecture,
        network: FusionNetwork,
        training: TrainingConfig,
        judges: Batch | None = None,
    ) -> Trained[FusionNetwork]:
        return train(
            network,
            self.data.task,
            self.weights,
            judges or self.architecture,
            training,
            seed=self.seed,
            device=self.device,
            slot=self.slot(kind, architecture.to_dict(), asdict(training)),
        )

    def log_search(
        self,
        log: Log,
        *,
        step: int,
        epoch: int,
        train_loss: float | None,
        architecture_loss: float,
        choice_weights: Mapping[str, Sequence[float]],
        **more: Any,
    ) -> None:
        """Logs how the search goes, in the form that all strategies share.

        Args:
            log: Where to; a slot may keep the record on its way.
            step: Steps, or trainings, that were taken.
            epoch: Epochs, likewise.
            train_loss: Mean over the epoch on the weights split; None where there is none.
            architecture_loss: On the architecture split.
            choice_weights: Node to a weight for each of its choices.
            more: What a strategy adds.
        """
        log(
            {
                "phase": "search",
                "step": step,
                "epoch": epoch,
                "seconds": self.elapsed_seconds(),
                "train_loss": train_loss,
                "architecture_loss": architecture_loss,
                "mixing_weights": dict(choice_weights),
                "entropy": {name: float(entropy(torch.tensor(values))) for name, values in choice_weights.items()},
                **more,
            }
        )

    def evaluate(self, architecture: Architecture) -> Tensor:
        """The loss of every sample of the architecture split under an architecture by itself, (samples,), on the CPU.

        It is trained from scratch unless an `evaluator` knows the answer; see `nas.training.train.Trained.held_out`.
        """
        if self.evaluator is not None:
            return self.evaluator(self, architecture)
        trained = self.train_from_scratch(architecture)
        targets, scale = self.architecture.targets.cpu(), trained.network.head.scale.cpu()
        return sample_losses(self.data.task, trained.held_out, targets, scale)

    def cost(self, network: FusionNetwork | None = None) -> CostTable:
        """Multiply-adds of every part of the supernet for one raw sample, pretrained encoders included.

        Args:
            network: The supernet, whatever its weights are; None makes one.
        """
        network = network or self.make_network()
        if self.measure_cost is not None:
            return self.measure_cost(network)
        return CostTable.measure(network, self.weights.take(slice(0, 1)).to(self.device).inputs)

    def generator(self) -> random.Random:
        """A generator of choices, from the seed."""
        return random.Random(self.seed)

    def num_epochs(self, network: FusionNetwork, *, on_cached_taps: float = 1.0, with_encoders: float = 2.0) -> int:
        """Passes over the weights split that a search with this supernet takes.

        Args:
            network: The supernet.
            on_cached_taps: Automatic length where no encoder trains along.
            with_encoders: Automatic length where encoders do.
        """
        length = self.search.length or (with_encoders if encoders_train(network) else on_cached_taps)
        return max(1, round(length * self.training.num_epochs(len(self.weights))))

    def elapsed_seconds(self) -> float:
        """Wall time since the search began, without that between a stop and its resumption."""
        return self.checkpoints.now() - self.started

    def spent(self) -> float:
        """Share of the budget that is spent; 0 when there is no limit."""
        budget = self.search.budget_seconds
        return self.elapsed_seconds() / budget if budget else 0.0


Evaluator = Callable[[SearchProblem, Architecture], Tensor]
"""From a problem and an architecture to the losses of the samples of the architecture split, (samples,)."""


@dataclass(frozen=True, kw_only=True)
class ParetoPoint:
    """An architecture that no other one that was tried beats in loss without costing more, or in cost without losing.

    Attributes:
        architecture: Trained from scratch.
        loss: Its mean loss on the architecture split.
        multiply_adds: Of its whole network for one sample.
    """

    architecture: Architecture
    loss: float
    multiply_adds: int


@dataclass(frozen=True, kw_only=True, eq=False)
class StrategyResult:
    """What a strategy learned.

    Attributes:
        network: The trained supernet, or None for a strategy that has none.
        choice_weights: Node to a weight for each of its choices, summing to one.
        architecture: The strategy's own decision, for one that has no supernet to read out.
        loss: Loss on the architecture split before discretization.
        candidates: Architectures that were scored already, for a strategy that has the best path to judge by.
        pareto: What nothing that was tried beats in loss and multiply-adds, the cheapest first; empty for a strategy
            that does not weigh them.
        guards: How a guarded search ended; None for one without guards.
    """

    network: FusionNetwork | None
    choice_weights: Mapping[str, Sequence[float]]
    architecture: Architecture | None = None
    loss: float = float("nan")
    candidates: Candidates | None = None
    pareto: tuple[ParetoPoint, ...] = ()
    guards: Guarded | None = None


Strategy = Callable[[SearchProblem], StrategyResult]


def inherit(derived: FusionNetwork, supernet: FusionNetwork) -> None:
    """Gives a derived network what a supernet of its space has learned."""
    learned = supernet.weights_of(derived.architecture)
    derived.load_state_dict({name: learned[name] for name in derived.state_dict()})


def encoders_train(network: FusionNetwork) -> bool:
    """Whether encoders have weights to learn, and not only ready-made features to pass on."""
    return any(parameter.requires_grad for parameter in network.encoders.parameters())
