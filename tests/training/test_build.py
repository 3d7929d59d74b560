"""Training from scratch: the best epoch stays, seeds stay inside, and every mistake is told."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.config import TrainingConfig
from nas.data.batches import split_batch
from nas.data.fusion_data import FusionData
from nas.device import pick_device
from nas.errors import UserError
from nas.metrics import sample_losses
from nas.network.fusion_network import FusionNetwork
from nas.network.prediction import evaluation_losses, losses, predict
from nas.seeding import seeded
from nas.training.build import build_network
from nas.training.criteria import Reached, StaticCriterion
from nas.training.epoch_loop import make_optimizer, step, steps_per_epoch
from nas.training.folds import folds
from nas.training.train import Trained, train
from search_spaces import layerwise
from tests.helpers import CPU
from tests.strategies.problems import same_tensors
from tests.tiny_runs import as_data, tiny_arrays

CONFIG = TrainingConfig(epochs=4, channels=8, batch_size=24)

_SPACE = layerwise({"sound": 3, "sight": 3}, operations=["additive"])
_LATE = _SPACE.only(next(r.architecture for r in _SPACE.references if r.kind == "late"))


def network_of(data: FusionData, config: TrainingConfig = CONFIG, *, seed: int = 0) -> FusionNetwork:
    with seeded(seed):
        return build_network(_LATE, data, config)


def train_tiny(
    data: FusionData, config: TrainingConfig = CONFIG, *, seed: int = 0
) -> tuple[Trained[FusionNetwork], list[Mapping[str, Any]]]:
    """Trains late fusion and returns what was logged besides."""
    records: list[Mapping[str, Any]] = []
    batches = split_batch(data, "weights", CPU), split_batch(data, "architecture", CPU)
    network = network_of(data, config)
    return train(network, data.task, *batches, config, seed=seed, device=CPU, log=records.append), records


def mislabelled() -> FusionData:
    """The architecture split's classes are all wrong: the better the weights split is learned, the worse there."""
    arrays = tiny_arrays()
    held_out = arrays["split"] == 1
    arrays["label"][held_out] = (arrays["label"][held_out] + 1) % 3
    return as_data(arrays)


def drawn_by_lot(seed: int) -> FusionData:
    """The architecture split's classes say nothing, so that no network is better than chance there."""
    arrays = tiny_arrays()
    held_out = arrays["split"] == 1
    arrays["label"][held_out] = np.random.default_rng(seed).integers(0, 3, held_out.sum())
    return as_data(arrays)


def regression() -> FusionData:
    arrays = tiny_arrays()
    return as_data({**arrays, "label": (arrays["sight"][:, 0] * 7 + 300).astype(np.float32)})


@pytest.mark.parametrize("make_data", [mislabelled, regression, lambda: as_data(tiny_arrays())])
def test_the_best_epoch_is_kept(make_data: Any) -> None:
    data = make_data()
    trained, records = train_tiny(data, replace(CONFIG, epochs=6, learning_rate=2e-2, patience=0))
    assert [record["epoch"] for record in records] == list(range(6))
    sign = -1 if data.task == "regression" else 1  # an error is better when it is lower
    best = max(records, key=lambda record: (sign * record["architecture_score"], -record["architecture_loss"]))
    assert trained.chosen_epochs == best["epoch"] + 1
    # The weights are those of that epoch, not of the last: they repeat its loss.
    outputs, targets = predict(trained.network, split_batch(data, "architecture", CPU), CPU)
    repeated = sample_losses(data.task, outputs, targets, trained.network.head.scale)
    assert float(repeated.mean()) == pytest.approx(best["architecture_loss"], rel=1e-6)
    assert not trained.network.training


def test_patience_ends_a_training_that_gets_no_better() -> None:
    config = replace(CONFIG, epochs=30, learning_rate=2e-2, patience=2)
    trained, records = train_tiny(mislabelled(), config)
    best = max(range(len(records)), key=lambda i: (records[i]["architecture_score"], -records[i]["architecture_loss"]))
    assert len(records) == trained.num_epochs == best + 1 + 2 < 30


def test_without_patience_the_whole_cycle_is_run_and_its_best_epoch_kept() -> None:
    trained, records = train_tiny(mislabelled(), replace(CONFIG, epochs=25, learning_rate=2e-2, patience=0))
    assert len(records) == trained.num_epochs == 25
    assert trained.chosen_epochs < 15  # patience would have ended it long before
    assert trained.chosen_epochs - 1 == max(
        range(25), key=lambda i: (records[i]["architecture_score"], -records[i]["architecture_loss"])
    )


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_what_it_says_of_a_fold_is_from_the_epoch_that_the_other_folds_choose(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = drawn_by_lot(0) if task == "classification" else regression()
    every: list[Tensor] = []
    judge = StaticCriterion.judge

    def seen(criterion: StaticCriterion) -> Reached:
        every.append(judge(criterion).outputs.clone())  # type: ignore[union-attr]
        return judge(criterion)

    monkeypatch.setattr(StaticCriterion, "judge", seen)
    trained, _ = train_tiny(data, replace(CONFIG, epochs=12, learning_rate=2e-2))
    targets = torch.from_numpy(data.targets[data.splits["architecture"]])
    scale = trained.network.head.scale
    chosen = set()
    for part, rest in folds(len(targets)):

        def merit(epoch: int, rest: Tensor = rest) -> tuple[float, float]:
            outputs = every[epoch][rest]
            loss = -float(sample_losses(data.task, outputs, targets[rest], scale).mean())
            if task == "regression":
                return -float((outputs - targets[rest]).abs().mean()), loss
            return float((outputs.argmax(dim=1) == targets[rest]).float().mean()), loss

        best = max(range(12), key=merit)
        chosen.add(best)
        assert torch.equal(trained.held_out[part], every[best][part])
    assert len(chosen) > 1 or task == "regression"  # else the test could not tell folds apart
    error = (trained.held_out - targets).abs().mean() if task == "regression" else None
    right = (trained.held_out.argmax(dim=1) == targets).float().mean() if error is None else error
    assert trained.architecture_score == pytest.approx(float(right))


def test_the_choice_of_the_epoch_does_not_flatter_what_is_held_out() -> None:
    gained, told = [], []
    for seed in range(8):
        trained, records = train_tiny(drawn_by_lot(seed), replace(CONFIG, epochs=20, learning_rate=1e-2), seed=seed)
        gained.append(max(record["architecture_score"] for record in records) - trained.architecture_score)
        told.append(trained.architecture_score)
    assert np.mean(gained) > 0.03
    assert np.mean(told) == pytest.approx(1 / 3, abs=0.06)  # three standard errors of eight times 48 samples


def test_a_training_learns() -> None:
    trained, records = train_tiny(as_data(tiny_arrays()), replace(CONFIG, epochs=10, learning_rate=1e-2))
    assert records[-1]["train_loss"] < 0.5 * records[0]["train_loss"]
    assert trained.architecture_score > 0.8  # a third by chance
    assert trained.train_seconds > 0


@pytest.mark.parametrize("objective", ["", "rubi:sound"])
def test_a_network_is_less_sure_of_smoothed_labels_and_judged_by_plain_ones(objective: str) -> None:
    data = as_data(tiny_arrays())
    config = replace(CONFIG, epochs=10, learning_rate=2e-2, patience=0, objective=objective)
    sure = {}
    for smoothing in (0.0, 0.5):
        trained, _ = train_tiny(data, replace(config, label_smoothing=smoothing))
        outputs, targets = trained.held_out, torch.from_numpy(data.targets[data.splits["architecture"]])
        assert trained.architecture_loss == pytest.approx(float(sample_losses(data.task, outputs, targets).mean()))
        sure[smoothing] = float(outputs.softmax(dim=1).amax(dim=1).mean())
    assert sure[0.5] < sure[0.0] - 0.1


def test_a_regression_starts_from_the_mean_and_in_units_of_the_deviation_of_the_weights_split() -> None:
    data = regression()
    values = data.targets[data.splits["weights"]]
    head = network_of(data).head
    assert float(head.shift) == pytest.approx(values.mean(), rel=1e-5)
    assert float(head.scale) == pytest.approx(values.std(ddof=1), rel=1e-5)


def test_the_seed_decides_order_and_dropout() -> None:
    data = as_data(tiny_arrays())
    one, same, other = (train_tiny(data, seed=seed)[0].network.state_dict() for seed in (0, 0, 1))
    assert same_tensors(one, same)
    assert not same_tensors(one, other)


def test_seeds_leave_the_outer_random_states_alone() -> None:
    def states() -> list[Any]:
        everyones = np.random.get_state(legacy=False)["state"]  # noqa: NPY002  # the global state must not change
        return [torch.get_rng_state().tolist(), random.getstate(), everyones["key"].tolist(), everyones["pos"]]

    before = states()
    with seeded(3) as generator:
        torch.rand(5)
        torch.rand(5, generator=generator)
    train_tiny(as_data(tiny_arrays()))
    assert states() == before


def test_a_seed_gives_the_same_numbers_whatever_came_before() -> None:
    drawn: list[list[Tensor]] = []
    for _ in range(2):
        torch.rand(3)
        with seeded(3) as generator:
            drawn.append([torch.rand(2), torch.rand(2, generator=generator)])
    assert all(torch.equal(one, other) for one, other in zip(*drawn, strict=True))


def test_compile_really_compiles_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    calls: list[int] = []

    class Compiled(nn.Module):
        def __init__(self, network: FusionNetwork) -> None:
            super().__init__()
            self.network, self.head = network, network.head

        def forward(self, *arguments: Any) -> Any:
            calls.append(1)
            return self.network(*arguments)

    def fake_compile(network: FusionNetwork, **_options: Any) -> nn.Module:
        compiled.append(network)
        return Compiled(network)

    monkeypatch.setattr(torch, "compile", fake_compile)
    plain, _ = train_tiny(as_data(tiny_arrays()))
    assert not compiled
    trained, _ = train_tiny(as_data(tiny_arrays()), replace(CONFIG, compile=True))
    assert compiled == [trained.network]
    assert len(calls) == 4 * 3  # every one of three steps in four epochs
    assert same_tensors(plain.network.state_dict(), trained.network.state_dict())


def test_a_step_leaves_alone_what_did_not_run() -> None:
    network = nn.ModuleDict({"ran": nn.Linear(2, 1), "idle": nn.Linear(2, 1)})
    before = copy.deepcopy(network.state_dict())
    optimizer, scheduler = make_optimizer(network, CONFIG, 10)
    for _ in range(2):
        step(network["ran"](torch.ones(3, 2)).mean(), optimizer, scheduler, CONFIG)
        assert all(parameter.grad is None for parameter in network.parameters())
        assert optimizer.param_groups[0]["params"] == [*network.parameters()]
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"ran.weight", "ran.bias"}  # the idle one not even by weight decay


def test_a_step_clips_the_gradient() -> None:
    moved = []
    for scale in (1.0, 1e6):
        network = nn.Linear(2, 1, bias=False)
        nn.init.ones_(network.weight)
        optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
        scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
        # The gradient is (3, 4) times the scale; its norm is five times that.
        step(scale * (network.weight @ torch.tensor([3.0, 4.0])).sum(), optimizer, scheduler, CONFIG)
        moved.append((1 - network.weight).flatten().tolist())
    for one in moved:
        assert one == pytest.approx([3.0, 4.0], rel=1e-4)  # CONFIG clips at a norm of 5


def test_evaluation_losses_are_those_of_evaluation_mode_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    data = regression()
    network, batch = network_of(data).train(), split_batch(data, "architecture", CPU)
    with torch.no_grad():
        expected = losses("regression", copy.deepcopy(network).eval(), batch)
    monkeypatch.setattr("nas.network.prediction.EVALUATION_BATCH", 7)
    torch.testing.assert_close(evaluation_losses("regression", network, batch, CPU), expected)


def test_a_training_that_diverges_is_told() -> None:
    with pytest.raises(UserError, match=r"training diverged in epoch 1: .* lower the learning_rate"):
        train_tiny(regression(), replace(CONFIG, learning_rate=1e30))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", -1, "epochs must be 0"),
        ("batch_size", 1, "batch_size must be at least 2"),
        ("learning_rate", 0.0, "learning_rate must be positive"),
        ("learning_rate", math.nan, "learning_rate must be positive"),
        ("learning_rate", math.inf, "learning_rate must be positive"),
        ("weight_decay", -0.1, "weight_decay must be 0 or more"),
        ("weight_decay", math.nan, "weight_decay must be 0 or more"),
        ("patience", -1, "patience must be 0"),
        ("gradient_clip", 0.0, "gradient_clip must be positive"),
        ("gradient_clip", math.nan, "gradient_clip must be positive"),
        ("channels", 0, "channels must be at least 1"),
        ("dropout_rate", 1.0, "dropout_rate must be at least 0 and below 1"),
        ("dropout_rate", -0.1, "dropout_rate must be at least 0 and below 1"),
        ("dropout_rate", math.nan, "dropout_rate must be at least 0 and below 1"),
        ("label_smoothing", 1.0, "label_smoothing must be at least 0 and below 1"),
        ("label_smoothing", -0.1, "label_smoothing must be at least 0 and below 1"),
        ("label_smoothing", math.nan, "label_smoothing must be at least 0 and below 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(field: str, value: float, message: str) -> None:
    with pytest.raises(UserError, match=f"{message}.*got {value}"):
        TrainingConfig(**{field: value})  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    ("samples", "epochs"),
    [
        (1, 60),
        (1_500, 60),  # 90 000 / 1 500
        (4_500, 20),
        (9_000, 10),
        (1_000_000, 10),
    ],
)
def test_small_sets_are_passed_over_more_often(samples: int, epochs: int) -> None:
    assert TrainingConfig().num_epochs(samples) == epochs
    assert TrainingConfig(epochs=7).num_epochs(samples) == 7


@pytest.mark.parametrize(("samples", "epochs"), [(1, 100), (900, 100), (2_250, 40), (1_000_000, 10)])
def test_automatic_epochs_have_a_limit(samples: int, epochs: int) -> None:
    assert TrainingConfig(max_epochs=100).num_epochs(samples) == epochs
    assert TrainingConfig(max_epochs=10).num_epochs(samples) == 10


def test_steps_are_counted_up() -> None:
    config = TrainingConfig(batch_size=24)
    assert [steps_per_epoch(count, config) for count in (1, 24, 25, 72)] == [1, 1, 2, 3]


def test_the_learning_rate_rises_to_its_highest_and_falls_to_nothing() -> None:
    network = nn.Linear(2, 1)
    optimizer, scheduler = make_optimizer(network, TrainingConfig(learning_rate=0.5), 100)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert max(rates) == pytest.approx(0.5, rel=1e-2)  # of a hundred steps, none need be the peak
    assert rates.index(max(rates)) in range(13, 18)  # 15 % of the way
    assert rates[-1] < 0.5 / 100


def test_devices_that_are_there() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_auto_takes_a_gpu_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == torch.device("cuda")
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UserError, match="device 'cuda:2' is not there"):
        pick_device("cuda:2")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "unknown device ''"),
        ("gpu", "unknown device 'gpu'"),
        ("cuda:x", "unknown device 'cuda:x'"),
        ("meta", "device 'meta' is not supported"),
        ("cuda:99", "device 'cuda:99' is not there"),
    ],
)
def test_devices_that_cannot_be_used_are_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pick_device(name)
