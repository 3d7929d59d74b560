"""Class weights: what they are, that every training of weights uses them, and that nothing is judged by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nas import UserError
from nas.config import TrainingConfig
from nas.data.batches import Batch, in_order, shuffled
from nas.metrics import balanced_importance, sample_losses
from nas.network.prediction import evaluation_losses, losses
from nas.objectives import make_objective
from nas.objectives.base import ForwardPass
from nas.retraining.preparation import TrainingSetup, raw
from nas.retraining.retrain import train_from_scratch
from nas.routing.loss import gated_loss, routes_loss
from nas.routing.network import RoutedNetwork
from nas.space.architecture import Architecture, Choice
from nas.strategies.sampled import losses_of_paths
from nas.training.augmentation import drop_modalities
from search_spaces import layerwise
from tests.helpers import CPU
from tests.strategies.problems import tiny_problem
from tests.tiny_runs import TRAINING, as_data, tiny_arrays, tiny_search

PROBLEM = tiny_problem()
BOTH = Architecture.chain(
    "layerwise", (("fusion0", Choice("none")), ("fusion1", Choice("multiplicative", ("sound@1", "sight@1"))))
)
SOUND = Architecture.chain("layerwise", (("fusion0", Choice("none")), ("fusion1", Choice("carry", ("sound@1",)))))


def test_weights_by_hand() -> None:
    # Three of four are of class 0: 4 / (2 · 3) and 4 / (2 · 1). Class 1 is not there and takes nothing.
    assert balanced_importance(torch.tensor([0, 0, 2, 0])).tolist() == pytest.approx([2 / 3, 2 / 3, 2, 2 / 3])
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    expected = [[2, 1], [2 / 3, 1], [2 / 3, 1], [2 / 3, 1]]  # nobody has the second label, so that it stays as it is
    torch.testing.assert_close(balanced_importance(labels), torch.tensor(expected))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_weighted_losses_are_those_of_torch(label_smoothing: float) -> None:
    targets = torch.tensor([0, 1, 2, 0, 0, 1])
    outputs = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    importance = balanced_importance(targets)
    found = sample_losses("classification", outputs, targets, label_smoothing=label_smoothing, importance=importance)
    plain = F.cross_entropy(outputs, targets, reduction="none", label_smoothing=label_smoothing)
    torch.testing.assert_close(found, importance * plain)
    labels = (torch.arange(18) % 5 < 2).float().reshape(6, 3)
    found = sample_losses("multilabel", outputs, labels, importance=balanced_importance(labels))
    each = F.binary_cross_entropy_with_logits(outputs, labels, reduction="none")
    torch.testing.assert_close(found, (balanced_importance(labels) * each).mean(dim=1))


def _static(batch: Batch) -> Tensor:
    return losses("classification", PROBLEM.make_network(PROBLEM.space.only(BOTH)).eval(), batch).mean()


def _supernet(batch: Batch) -> Tensor:
    paths = [PROBLEM.space.path(one) for one in (BOTH, SOUND)]
    return losses_of_paths("classification", PROBLEM.make_network().eval(), batch, paths).mean()


def _objective(batch: Batch) -> Tensor:
    network = PROBLEM.make_network(PROBLEM.space.only(BOTH)).eval()
    torch.manual_seed(0)
    objective = make_objective("gradient_blending", network, "classification")
    assert objective is not None
    return objective.loss(ForwardPass.run("classification", network, batch, more_taps=objective.reads), 0.0)


def _cascade(batch: Batch) -> Tensor:
    space = PROBLEM.space.restrict(Architecture.cascaded([SOUND, BOTH]))
    network = RoutedNetwork.of(PROBLEM.make_network(space), "classification").eval()
    return routes_loss("classification", network, batch)


def _gated(batch: Batch) -> Tensor:
    space = PROBLEM.space.restrict(Architecture.gated([SOUND, BOTH], ["sound@0"]))
    network = RoutedNetwork.of(PROBLEM.make_network(space), "classification").eval()
    config, generator = PROBLEM.training, torch.Generator().manual_seed(0)
    return gated_loss("classification", network, batch, PROBLEM.architecture, config, 0.1, 100, generator)


@pytest.mark.parametrize("loss", [_static, _supernet, _objective, _cascade, _gated])
def test_every_training_of_weights_uses_them(loss: Callable[[Batch], Tensor]) -> None:
    with torch.random.fork_rng():
        plain = loss(PROBLEM.weights)
        twice = loss(replace(PROBLEM.weights, importance=torch.full((len(PROBLEM.weights),), 2.0)))
    torch.testing.assert_close(twice, 2 * plain)


def test_nothing_is_judged_by_them() -> None:
    network = PROBLEM.make_network(PROBLEM.space.only(BOTH))
    weighted = replace(PROBLEM.weights, importance=balanced_importance(PROBLEM.weights.targets))
    plain = evaluation_losses("classification", network, PROBLEM.weights, CPU)
    assert torch.equal(evaluation_losses("classification", network, weighted, CPU), plain)


def test_they_stay_with_their_samples() -> None:
    weighted = replace(PROBLEM.weights, importance=PROBLEM.weights.targets * 10.0)
    generator = torch.Generator().manual_seed(0)
    parts = [*shuffled(weighted, 8, generator, CPU), *in_order(weighted, 8, CPU)]
    for part in [*parts, *(drop_modalities(part, 0.5, generator) for part in parts)]:
        assert part.importance is not None
        assert torch.equal(part.importance, part.targets * 10.0)


def test_the_weights_split_alone_has_them() -> None:
    data, space = PROBLEM.data, PROBLEM.space
    for asked in ("none", "balanced"):
        prepared = raw(
            TrainingSetup(data=data, space=space, training=TrainingConfig(class_weights=asked), device=CPU), 0
        )
        assert prepared.architecture.importance is None
        assert (prepared.weights.importance is not None) == (asked == "balanced")


def test_they_find_a_rare_class() -> None:
    generator = np.random.default_rng(0)
    label = (generator.random(450) < 0.08).astype(np.int64)
    arrays = {"label": label, "split": np.repeat([0, 1, 2], (300, 140, 10))}
    for name in ("sound", "sight"):
        arrays[name] = (generator.normal(size=(450, 3)) + 0.7 * label[:, None]).astype(np.float32)
    data, space = as_data(arrays), layerwise({"sound": 3, "sight": 3}, operations=["additive"])
    late = next(one.architecture for one in space.references if one.kind == "late")
    scores = {}
    for asked in ("none", "balanced"):
        training = replace(TRAINING, epochs=8, class_weights=asked, metric="balanced_accuracy")
        setup = TrainingSetup(data=data, space=space, training=training, device=CPU)
        scores[asked] = train_from_scratch(setup, raw(setup, 0), late, "late").architecture_score
    assert scores["balanced"] > scores["none"] + 0.1


def test_mistakes_are_told_in_one_line() -> None:
    with pytest.raises(UserError, match="unknown class_weights 'balance'; did you mean 'balanced'"):
        TrainingConfig(class_weights="balance")  # type: ignore[arg-type]  # the mistake
    arrays = tiny_arrays()
    arrays["label"] = 3 * arrays["sight"]
    with pytest.raises(UserError, match="class_weights 'balanced' need classes or labels, the task is regression"):
        tiny_search(as_data(arrays, task="regression"), class_weights="balanced")
